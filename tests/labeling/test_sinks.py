"""Predictions are written as JSON lines or CSV, embeddings as .npy with names beside them."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest

from zeroshot import Failure, Prediction
from zeroshot.errors import ImageError, SaveError
from zeroshot.labeling.sinks import Csv, JsonLines, can_encode, names_beside, save_embeddings

RANKING = (("Käfer, 犬", 0.75), ('a "dog"', 0.25))
PREDICTION = Prediction("Käfer, 犬", 0.75, RANKING, "a,b.jpg")
FAILURE = Failure("bad.jpg", ImageError("bad.jpg: it is empty", kind="not_image", source="bad.jpg"))


def stream(encoding: str = "utf-8") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")


def written(target: io.TextIOWrapper) -> str:
    target.flush()
    buffer = target.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode(target.encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_lines_round_trip_in_every_encoding(encoding: str) -> None:
    target = stream(encoding)
    sink = JsonLines(target)

    sink.write(PREDICTION)
    sink.write(FAILURE)

    lines = written(target).splitlines()
    assert [json.loads(line) for line in lines] == [PREDICTION.to_dict(), FAILURE.to_dict()]
    assert ("犬" in lines[0]) is (encoding == "utf-8")


def test_json_lines_are_flushed_one_by_one() -> None:
    target = stream()

    JsonLines(target).write(PREDICTION)

    buffer = target.buffer
    assert isinstance(buffer, io.BytesIO)
    assert buffer.getvalue().endswith(b"\n")


def test_csv_has_a_row_per_label_and_per_failure() -> None:
    target = stream()
    sink = Csv(target)

    sink.write(PREDICTION)
    sink.write(FAILURE)

    assert list(csv.reader(io.StringIO(written(target)))) == [
        ["source", "rank", "label", "probability", "error"],
        ["a,b.jpg", "1", "Käfer, 犬", "0.750000", ""],
        ["a,b.jpg", "2", 'a "dog"', "0.250000", ""],
        ["bad.jpg", "", "", "", "bad.jpg: it is empty"],
    ]


def test_csv_without_results_has_a_header() -> None:
    target = stream()

    Csv(target)

    assert written(target) == "source,rank,label,probability,error\n"


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [("█", "utf-8", True), ("█", "latin-1", False), ("é", "latin-1", True), ("é", "ascii", False)],
)
def test_can_encode_depends_on_the_encoding(text: str, encoding: str, expected: bool) -> None:
    assert can_encode(text, stream(encoding)) is expected


def test_a_stream_without_an_encoding_takes_ascii_only() -> None:
    assert can_encode("a", io.StringIO())
    assert not can_encode("é", io.StringIO())


def test_embeddings_are_saved_with_the_name_of_each_row(tmp_path: Path) -> None:
    embeddings = np.arange(6, dtype=np.float32).reshape(2, 3)
    path = tmp_path / "e.npy"

    save_embeddings(path, embeddings, ["a.jpg", "é.jpg"])

    np.testing.assert_array_equal(np.load(path), embeddings)
    assert names_beside(path) == tmp_path / "e.npy.txt"
    assert names_beside(path).read_text("utf-8") == "a.jpg\né.jpg\n"
    assert sorted(os.listdir(tmp_path)) == ["e.npy", "e.npy.txt"]


def test_names_that_are_not_utf8_are_preserved(tmp_path: Path) -> None:
    path = tmp_path / "e.npy"

    save_embeddings(path, np.zeros((1, 2), np.float32), [os.fsdecode(b"caf\xe9.png")])

    assert names_beside(path).read_bytes() == b"caf\xe9.png\n"


def test_a_failed_write_keeps_the_old_embeddings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "e.npy"
    path.write_bytes(b"old")

    def full(file: object, header: object) -> None:
        raise OSError("12 requested and 3 written")  # an error without a number

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)

    with pytest.raises(SaveError, match="3 written") as caught:
        save_embeddings(path, np.zeros((1, 2), np.float32), ["a"])

    assert caught.value.source == str(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["e.npy"]


def test_line_breaks_in_names_are_escaped(tmp_path: Path) -> None:
    save_embeddings(tmp_path / "e.npy", np.zeros((2, 3), np.float32), ["a\nb", "c\r"])

    assert names_beside(tmp_path / "e.npy").read_text().splitlines() == ["a\\nb", "c\\r"]


def test_embeddings_are_not_replaced_when_their_names_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "e.npy"
    path.write_bytes(b"old")
    names_beside(path).mkdir()

    with pytest.raises(SaveError, match="Is a directory"):
        save_embeddings(path, np.zeros((1, 2), np.float32), ["a"])

    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("shape", [(0, 4), (3, 4), (2, 1)], ids=str)
def test_numpy_loads_what_was_saved(shape: tuple[int, int], tmp_path: Path) -> None:
    embeddings = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)[:, ::-1]

    save_embeddings(tmp_path / "e.npy", embeddings, ["x"] * shape[0])

    np.testing.assert_array_equal(np.load(tmp_path / "e.npy"), embeddings)
