"""Runs that are continued, refused, limited and stopped."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.bulk.jobs import run
from tests.bulk.support import Stream, Stub, contents, make_classifier, save_images
from tests.support import NAMES
from zeroshot.bulk import running
from zeroshot.bulk.lock import Lock
from zeroshot.bulk.output import Output
from zeroshot.bulk.rows import Row, number_row
from zeroshot.bulk.shards import Shard
from zeroshot.bulk.sinks import parquet
from zeroshot.classifier import Classifier
from zeroshot.errors import InputError, SaveError
from zeroshot.head import Head


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    return save_images(tmp_path / "images", 50, broken=[7])


def test_every_input_is_a_row_and_errors_are_counted(images: list[Path], tmp_path: Path) -> None:
    summary = run(images, tmp_path / "out", part_rows=16)

    assert (summary.rows, summary.errors, summary.computed) == (50, {"not_image": 1}, 50)
    assert summary.is_complete
    content = json.loads((tmp_path / "out" / "_SUCCESS.json").read_text())
    assert content["rows"] == 50
    assert content["errors"] == {"not_image": 1}
    assert content["images_per_second"] > 0
    assert {path.name.partition("-")[0] for path in (tmp_path / "out").iterdir()} == {
        "part", "_run.json", "_inputs", "_SUCCESS.json"
    }  # fmt: skip


def test_a_run_without_work_reads_no_image_and_counts_earlier_errors(
    images: list[Path], tmp_path: Path
) -> None:
    run(images, tmp_path / "out", part_rows=16)
    for path in images:
        path.unlink()
    success = (tmp_path / "out" / "_SUCCESS.json").read_bytes()

    summary = run(images, tmp_path / "out", part_rows=16)

    assert (summary.rows, summary.errors, summary.computed) == (50, {"not_image": 1}, 0)
    assert (tmp_path / "out" / "_SUCCESS.json").read_bytes() == success


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_only_missing_parts_are_computed_and_equal_to_the_byte(
    form: str, images: list[Path], tmp_path: Path
) -> None:
    run(images, tmp_path / "out", part_rows=8, format=form)
    before = contents(tmp_path / "out")
    for chunk in (0, 3, 6):
        (tmp_path / "out" / f"part-00000-00000{chunk}.{form}").unlink()
    classifier = make_classifier()

    summary = run(images, tmp_path / "out", part_rows=8, format=form, classifier=classifier)

    assert summary.computed == 18
    assert classifier.encoder.images == 17  # type: ignore[attr-defined]  # one is damaged
    assert contents(tmp_path / "out") == before


class BatchDependent(Stub):
    """Returns embeddings that depend on the number of images, as a network may."""

    def encode_pixels(self, pixels: Any, **options: Any) -> Any:
        return super().encode_pixels(pixels, **options) + 1e-3 * len(pixels)


@pytest.mark.parametrize("part_rows", [5, 8, 13, 40])
def test_a_batch_never_contains_images_of_two_parts(
    part_rows: int, images: list[Path], tmp_path: Path
) -> None:
    encoder = BatchDependent()
    classifier = Classifier(encoder, Head.build(encoder, NAMES, "{}"))
    run(images, tmp_path / "out", part_rows=part_rows, classifier=classifier, embeddings=True)
    before = contents(tmp_path / "out")
    (tmp_path / "out" / "part-00000-000001.parquet").unlink()

    run(images, tmp_path / "out", part_rows=part_rows, classifier=classifier, embeddings=True)

    assert contents(tmp_path / "out") == before


def test_a_stream_is_continued_without_reading_finished_parts(
    images: list[Path], tmp_path: Path
) -> None:
    content = [path.read_bytes() for path in images]
    run(None, tmp_path / "out", part_rows=16, sources=[Stream(content)])
    before = contents(tmp_path / "out")
    assert parquet.read_metadata(tmp_path / "out" / "part-00000-000003.parquet")["last"] is True
    assert parquet.read_metadata(tmp_path / "out" / "part-00000-000002.parquet")["last"] is False
    (tmp_path / "out" / "part-00000-000002.parquet").unlink()
    source = Stream(content)

    run(None, tmp_path / "out", part_rows=16, sources=[source])

    assert source.reads == 16
    assert contents(tmp_path / "out") == before


def test_rows_of_several_sources_are_numbered_by_source(images: list[Path], tmp_path: Path) -> None:
    sources = [
        Stream([p.read_bytes() for p in images[:3]]),
        Stream([p.read_bytes() for p in images[3:5]]),
    ]
    run(None, tmp_path / "out", part_rows=2, sources=sources)

    rows = [row["row"] for row in Output.open(tmp_path / "out").rows()]
    assert rows == [0, 1, 2, number_row(1, 0), number_row(1, 1)]


def test_files_that_are_added_later_do_not_move_rows(images: list[Path], tmp_path: Path) -> None:
    folder = images[0].parent
    run(folder, tmp_path / "out", part_rows=16)
    before = contents(tmp_path / "out")
    (tmp_path / "out" / "part-00000-000001.parquet").unlink()
    shutil.copy(images[0], folder / "00000-new.png")

    summary = run(folder, tmp_path / "out", part_rows=16)

    assert summary.rows == 50
    assert contents(tmp_path / "out") == before


def test_another_list_of_files_is_refused(images: list[Path], tmp_path: Path) -> None:
    run(images, tmp_path / "out")

    with pytest.raises(InputError, match="has changed since the run started"):
        run(images[:-1] + images[:1], tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 2}, "top 5, got 2"),
        ({"part_rows": 9}, "part_rows 4096, got 9"),
        ({"format": "csv"}, "format parquet, got csv"),
        ({"embeddings": True}, "no embeddings, got embeddings"),
        ({"scores": "all"}, "scores top, got all"),
        ({"limit": 3}, "no limit, got limit 3"),
        ({"dedupe": True}, "no dedupe, got dedupe"),
        ({"batch_size": 4}, "no batch_size, got batch_size 4"),
    ],
)
def test_another_option_is_refused_with_both_values(
    options: dict[str, Any], message: str, images: list[Path], tmp_path: Path
) -> None:
    run(images, tmp_path / "out")
    before = contents(tmp_path / "out")

    with pytest.raises(InputError, match=message) as caught:
        run(images, tmp_path / "out", **options)
    assert "force=True" in str(caught.value)
    assert len(str(caught.value)) < 600
    assert contents(tmp_path / "out") == before


def test_force_deletes_only_the_files_of_the_run(images: list[Path], tmp_path: Path) -> None:
    run(images, tmp_path / "out", part_rows=4)
    (tmp_path / "out" / "notes.txt").write_text("mine")

    summary = run(images[:5], tmp_path / "out", part_rows=3, force=True)

    assert (summary.rows, len(contents(tmp_path / "out"))) == (5, 2)
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_force_never_deletes_files_that_only_look_like_ours(
    images: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("_inputs-mine.csv", "_lock.txt", "_end-notes.md", "part-00000-000000.txt"):
        (out / name).write_text("mine")
        with pytest.raises(InputError, match="expected an empty folder"):
            run(images, out, force=True)
        assert (out / name).read_text() == "mine"
        (out / name).unlink()
    (out / "_run.json").write_text('{"experiment": 1}')
    (out / "part-00000-000000.csv").write_text("mine")

    with pytest.raises(InputError, match="a file of another program") as caught:
        run(images, out, force=True)
    assert len(str(caught.value)) < 600
    assert len(contents(out)) == 1


@pytest.mark.parametrize("content", [None, "", "{"])
def test_parts_of_an_unknown_run_are_not_taken_for_parts_of_this_one(
    content: str | None, images: list[Path], tmp_path: Path
) -> None:
    run(images[:4], tmp_path / "out")
    description = tmp_path / "out" / "_run.json"
    description.unlink()
    if content is not None:
        description.write_text(content)

    with pytest.raises(InputError, match=r"no _run\.json|a damaged _run\.json"):
        run(images[10:14], tmp_path / "out")
    run(images[10:14], tmp_path / "out", force=True)
    rows = Output.open(tmp_path / "out").rows()
    assert [row["source"] for row in rows] == list(map(str, images[10:14]))


def test_force_deletes_nothing_while_another_share_is_computed(
    images: list[Path], tmp_path: Path
) -> None:
    run(images, tmp_path / "out", part_rows=4, shard="1/2")
    before = contents(tmp_path / "out")
    with (
        Lock(tmp_path / "out", Shard(1, 2)),
        pytest.raises(InputError, match="is writing to this folder"),
    ):
        run(images, tmp_path / "out", part_rows=4, shard="1/2", force=True)

    assert contents(tmp_path / "out") == before
    assert run(images, tmp_path / "out", part_rows=4, shard="1/2", force=True).rows == 26


def test_threads_compute_their_shares_of_a_table_at_once(
    images: list[Path], tmp_path: Path
) -> None:
    def share(number: int) -> None:
        start.wait()
        run(images, tmp_path / "out", part_rows=4, shard=f"{number}/4")

    for _ in range(3):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        start = threading.Barrier(4)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(share, range(1, 5)))
        assert Output.open(tmp_path / "out").is_complete


def test_a_folder_with_a_name_that_is_too_long_is_a_save_error(
    images: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(SaveError, match="name too long") as caught:
        run(images, tmp_path / ("x" * 300))
    assert len(str(caught.value)) < 600


def test_a_folder_of_others_is_refused_also_with_force(images: list[Path], tmp_path: Path) -> None:
    for force in (False, True):
        with pytest.raises(InputError, match="expected an empty folder"):
            run(images, images[0].parent, force=force)
    with pytest.raises(InputError, match="got a file"):
        run(images, images[0])
    assert all(path.exists() for path in images)


def test_three_shards_give_the_table_of_one_run(images: list[Path], tmp_path: Path) -> None:
    run(images, tmp_path / "one", part_rows=4)
    found = [run(images, tmp_path / "three", part_rows=4, shard=f"{i}/3") for i in (3, 1, 2)]

    assert [summary.is_complete for summary in found] == [False, False, True]
    assert contents(tmp_path / "three") == contents(tmp_path / "one")


def test_limit_takes_the_first_images_over_all_sources(images: list[Path], tmp_path: Path) -> None:
    assert run(images, tmp_path / "list", limit=5, part_rows=2).rows == 5
    content = [path.read_bytes() for path in images[:4]]
    sources = [Stream(content), Stream(content), Stream(content)]
    for _ in range(2):
        summary = run(None, tmp_path / "out", sources=sources, limit=6, part_rows=2)
        assert (summary.rows, summary.is_complete) == (6, True)
        (tmp_path / "out" / "part-00001-000000.parquet").unlink()


@pytest.mark.parametrize(("most", "rows"), [((1, False), 16), ((2.0, True), 240)])
def test_too_many_errors_stop_the_run_and_keep_finished_parts(
    most: tuple[float, bool], rows: int, tmp_path: Path
) -> None:
    images = [b"red" if n % 10 == 0 else path.read_bytes() for n, path in enumerate(
        save_images(tmp_path / "images", 300)
    )]  # fmt: skip
    options: dict[str, Any] = {"sources": [Stream(images)], "part_rows": 8}

    summary = run(None, tmp_path / "out", most_errors=most, **options)

    assert summary.stopped is not None
    assert "images failed, more than max_errors" in summary.stopped
    assert not summary.is_complete
    assert summary.rows <= rows
    assert summary.rows % 8 == 0
    assert run(None, tmp_path / "out", **options).rows == 300


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_keeps_finished_parts_and_the_run_continues(
    code: int, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = parquet.write, []

    def fill(rows: Sequence[Row], *rest: Any) -> None:
        calls.append(rows)
        if len(calls) == 3:
            rest[-1].write_bytes(b"half")
            raise OSError(code, os.strerror(code))
        write(rows, *rest)

    monkeypatch.setattr(parquet, "write", fill)
    with pytest.raises(SaveError, match="finished parts are kept"):
        run(images, tmp_path / "out", part_rows=8)
    found = sorted(path.name for path in (tmp_path / "out").iterdir() if "part" in path.name)
    assert found == ["part-00000-000000.parquet", "part-00000-000001.parquet"]

    assert run(images, tmp_path / "out", part_rows=8).rows == 50
    run(images, tmp_path / "whole", part_rows=8)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_relative_paths_are_refused_from_another_folder(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run("images", tmp_path / "out")
    save_images(tmp_path / "other" / "images", 1)
    monkeypatch.chdir(tmp_path / "other")

    with pytest.raises(InputError, match="relative to the folder"):
        run("images", tmp_path / "out")


def test_one_relative_path_among_others_is_refused_from_another_folder(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inputs = [images[0], Path("images/00001.png")]
    run(inputs, tmp_path / "out")
    monkeypatch.chdir(tmp_path / "images")

    with pytest.raises(InputError, match="relative to the folder"):
        run(inputs, tmp_path / "out")


def test_a_run_is_not_continued_with_another_fifth_folder(tmp_path: Path) -> None:
    folders = [tmp_path / f"{'long' * 30}{number}" for number in range(6)]
    for folder in folders:
        save_images(folder, 2)
    run(folders[:5], tmp_path / "out")

    for others in (folders[:4], folders, [*folders[:4], folders[5]], folders[1:]):
        with pytest.raises(InputError, match="the list of images") as caught:
            run(others, tmp_path / "out")
        assert len(str(caught.value)) < 600
    assert run(folders[:5], tmp_path / "out").computed == 0


def test_columns_of_several_sources_are_merged(images: list[Path], tmp_path: Path) -> None:
    content = [path.read_bytes() for path in images[:2]]
    sources = [Stream(content, ("id", "row")), Stream(content, ("name",))]
    run(None, tmp_path / "out", sources=sources)

    rows = list(Output.open(tmp_path / "out").rows())
    assert [(r["id"], r["in_row"], r["name"]) for r in rows] == [
        ("0", "0", None), ("1", "1", None), (None, None, "0"), (None, None, "1"),
    ]  # fmt: skip


def test_the_progress_is_logged(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(running, "LOG_SECONDS", -1.0)
    with caplog.at_level("INFO", logger="zeroshot"):
        run(images, tmp_path / "out", part_rows=16)

    assert "images" in caplog.text
    assert "1 errors" in caplog.text
