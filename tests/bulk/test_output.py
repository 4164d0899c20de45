"""Reading a folder of parts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.bulk.jobs import run
from tests.bulk.support import Stream, make_classifier, save_images
from zeroshot.bulk.output import FIELDS, Output
from zeroshot.bulk.sorting import plan_sort
from zeroshot.bulk.status import Status, read_status
from zeroshot.bulk.tagging import tag
from zeroshot.errors import InputError


def test_rows_of_all_formats_have_the_same_columns_and_order(tmp_path: Path) -> None:
    paths = save_images(tmp_path / "images", 10, broken=[3])
    tables = []
    for form in ("parquet", "csv", "jsonl"):
        run(paths, tmp_path / form, part_rows=4, format=form)
        output = Output.open(tmp_path / form)
        assert output.is_complete
        assert output.columns.labels == ("red", "green", "blue")
        tables.append(list(output.rows()))

    assert [row["row"] for row in tables[0]] == list(range(10))
    for table in tables[1:]:
        assert [list(row) for row in table] == [list(row) for row in tables[0]]
        for name in ("source", "label", "hash", "bytes", "error", "error_kind", "width"):
            assert [row[name] for row in table] == [row[name] for row in tables[0]]


def test_missing_parts_are_found(tmp_path: Path) -> None:
    run(save_images(tmp_path / "images", 10), tmp_path / "out", part_rows=4)
    output = Output.open(tmp_path / "out")
    assert [part.path.name for part in output.parts()] == [
        f"part-00000-00000{chunk}.parquet" for chunk in range(3)
    ]
    output.path_of(0, 1).unlink()

    assert [(part.source, part.chunk) for part in output.gaps()] == [(0, 1)]
    assert not output.is_complete


def test_a_stream_has_a_gap_until_its_end_is_known(tmp_path: Path) -> None:
    images = [path.read_bytes() for path in save_images(tmp_path / "images", 8)]
    run(None, tmp_path / "out", part_rows=4, sources=[Stream(images)])
    output = Output.open(tmp_path / "out")

    assert output.count_rows(0) == 8
    assert output.count_chunks(0) == 3
    assert len(output.parts()) == 3  # the last is empty: the stream ends on a boundary
    assert output.is_complete
    output.path_of(0, 2).unlink()
    output.end_of(0).unlink()
    assert [part.chunk for part in output.gaps()] == [2]


@pytest.mark.parametrize("content", [None, "", "[]", '{"format": "csv"}'])
def test_another_folder_is_an_input_error(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "_run.json").write_text(content)

    with pytest.raises(InputError, match=r"a folder that zeroshot\.label wrote"):
        Output.open(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        Output.open(tmp_path / "missing")


def test_a_damaged_description_is_an_input_error(tmp_path: Path) -> None:
    run(save_images(tmp_path / "images", 2), tmp_path / "out")
    file = tmp_path / "out" / "_run.json"
    content = json.loads(file.read_text())
    for name in FIELDS:
        for value in (None, 5.0, "x", [5], [[]], {}):
            if isinstance(value, FIELDS[name]):
                continue
            file.write_text(json.dumps({**content, name: value}))
            with pytest.raises(InputError, match="damaged"):
                Output.open(tmp_path / "out")
    for name, other in {"rows": ["x"], "sources": [1], "part_rows": 0, "inputs": []}.items():
        file.write_text(json.dumps({**content, name: other}))
        with pytest.raises(InputError, match="damaged"):
            Output.open(tmp_path / "out")


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_part_with_another_number_of_rows_is_refused(form: str, tmp_path: Path) -> None:
    images = save_images(tmp_path / "images", 8)
    options: dict[str, Any] = {"part_rows": 3, "format": form}
    run(images, tmp_path / "out", **options)
    run(images[:4], tmp_path / "other", **options)
    short = tmp_path / "other" / f"part-00000-000001.{form}"
    for name in (f"part-00000-000000.{form}", f"part-00000-000003.{form}"):
        run(images, tmp_path / "out", **options, force=True)
        shutil.copy(short, tmp_path / "out" / name)

        for count in (lambda: run(images, tmp_path / "out", **options), lambda: status(tmp_path)):
            with pytest.raises(InputError, match=r"expected \d rows, got 1; delete it"):
                count()
    (tmp_path / "out" / name).unlink()
    assert run(images, tmp_path / "out", **options).is_complete
    shutil.copy(short, tmp_path / "out" / f"part-00009-000000.{form}")
    with pytest.raises(InputError, match="of another table"):
        run(images, tmp_path / "out", **options)


def test_files_are_those_of_the_folder_in_which_they_were_labeled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for card in ("first", "second"):
        save_images(tmp_path / card / "DCIM", 2)
    monkeypatch.chdir(tmp_path / "first")
    run("DCIM", tmp_path / "out")
    monkeypatch.chdir(tmp_path / "second")

    plan = plan_sort(tmp_path / "out", tmp_path / "sorted", mode="move")
    tag(tmp_path / "out", min_probability=0.0)

    first = [str(tmp_path / "first" / "DCIM" / f"0000{number}.png") for number in range(2)]
    assert [action.source for action in plan.actions] == first
    assert sorted(path.parent.parent.name for path in tmp_path.rglob("*.xmp")) == ["first"] * 2
    shutil.move(tmp_path / "first", tmp_path / "moved")
    assert Output.open(tmp_path / "out").find_root() is None
    assert Output.open(tmp_path / "out").find_root("elsewhere") == "elsewhere"


def status(folder: Path) -> Status:
    return read_status(folder / "out")


def test_the_labels_of_a_run_keep_their_order(tmp_path: Path) -> None:
    run(save_images(tmp_path / "images", 2), tmp_path / "out", classifier=make_classifier())

    assert list(Output.open(tmp_path / "out").run["labels"]) == ["red", "green", "blue"]
