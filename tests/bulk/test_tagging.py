"""Labels become keywords in sidecars."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.bulk.test_xmp import BOMB, DARKTABLE
from zeroshot.bulk import tagging
from zeroshot.bulk.tagging import probable, tag_rows
from zeroshot.bulk.xmp import HIERARCHY, SUBJECT, TAGS_LIST, read_keywords
from zeroshot.errors import InputError, SaveError


def row(source: str, **labels: float) -> dict[str, Any]:
    best = next(iter(labels.items()), (None, None))
    return {
        "source": source,
        "label": best[0],
        "probability": best[1],
        "labels": list(labels),
        "probabilities": list(labels.values()),
        "error_kind": None,
    }


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.jpg", "c.cr2"):
        (tmp_path / name).write_bytes(b"image")
    return tmp_path


ROWS = [row("a.jpg", cat=0.6, pet=0.35, dog=0.05), row("b.jpg", dog=0.2), row("gone.jpg", cat=1)]


def test_a_sidecar_is_made_beside_the_image(photos: Path) -> None:
    tagged = tag_rows(ROWS, root=photos, prefix="AI")

    assert (tagged.written, tagged.unchanged, tagged.unsure) == (1, 0, 1)
    assert tagged.skipped == {"file not found": 1}
    assert tagged.keywords == {"cat": 1, "pet": 1}
    assert {*content(photos)} == {"a.jpg", "a.jpg.xmp", "b.jpg", "c.cr2"}
    assert (photos / "a.jpg").read_bytes() == b"image"
    assert read_keywords((photos / "a.jpg.xmp").read_bytes()) == {
        SUBJECT: ["cat", "pet"],
        TAGS_LIST: ["AI/cat", "AI/pet"],
        HIERARCHY: ["AI|cat", "AI|pet"],
    }


def test_a_second_run_changes_nothing(photos: Path) -> None:
    tag_rows(ROWS, root=photos)
    before = content(photos)
    stamp = (photos / "a.jpg.xmp").stat().st_mtime_ns

    tagged = tag_rows(ROWS, root=photos)

    assert (tagged.written, tagged.unchanged) == (0, 1)
    assert content(photos) == before
    assert (photos / "a.jpg.xmp").stat().st_mtime_ns == stamp


def test_other_labels_are_added_and_none_is_removed(photos: Path) -> None:
    tag_rows([row("a.jpg", cat=0.9)], root=photos)
    tag_rows([row("a.jpg", dog=0.9)], root=photos)

    assert read_keywords((photos / "a.jpg.xmp").read_bytes())[SUBJECT] == ["cat", "dog"]


@pytest.mark.parametrize("name", ["c.xmp", "c.cr2.xmp"])
def test_an_existing_sidecar_is_merged_into(name: str, photos: Path) -> None:
    (photos / name).write_text(DARKTABLE, "utf-8")
    (photos / name).chmod(0o640)

    tag_rows([row("c.cr2", cat=0.9)], root=photos)

    text = (photos / name).read_text("utf-8")
    assert 'xmp:Rating="4"' in text
    assert "<!-- kept -->" in text
    assert read_keywords(text.encode())[SUBJECT] == ["holiday", "café & bar", "cat"]
    assert [path.name for path in photos.glob("*.xmp")] == [name]
    assert (photos / name).stat().st_mode & 0o777 == 0o640


def test_both_sidecars_are_merged_into_if_both_exist(photos: Path) -> None:
    for name in ("c.xmp", "c.cr2.xmp"):
        (photos / name).write_text(DARKTABLE, "utf-8")

    assert tag_rows([row("c.cr2", cat=0.9)], root=photos).written == 2


@pytest.mark.parametrize("data", [BOMB, b"<x", b"", b"\xff" * 40])
def test_a_bad_sidecar_is_an_error_and_the_others_are_written(data: bytes, photos: Path) -> None:
    (photos / "a.jpg.xmp").write_bytes(data)

    tagged = tag_rows([row("a.jpg", cat=1.0), row("b.jpg", cat=1.0)], root=photos)

    assert (tagged.written, tagged.errors) == (1, {"bad_sidecar": 1})
    assert tagged.problems[0].source == str(photos / "a.jpg.xmp")
    assert len(tagged.problems[0].message) < 400
    assert (photos / "a.jpg.xmp").read_bytes() == data
    assert (photos / "b.jpg.xmp").exists()


def test_a_sidecar_that_is_no_file_is_an_error(photos: Path) -> None:
    (photos / "a.jpg.xmp").mkdir()

    assert tag_rows([row("a.jpg", cat=1.0)], root=photos).errors == {"bad_sidecar": 1}


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.EACCES, "permission"), (errno.EIO, "io"), (errno.ENOENT, "io")]
)
def test_a_sidecar_that_cannot_be_written_is_an_error(
    number: int, kind: str, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tagging.os, "fsync", fail)

    tagged = tag_rows([row("a.jpg", cat=1.0)], root=photos)

    assert tagged.errors == {kind: 1}
    assert not [*photos.glob("*.xmp"), *photos.glob(".*")]


def test_a_name_that_is_too_long_for_a_sidecar_is_an_error(photos: Path) -> None:
    name = "x" * 250 + ".jpg"
    (photos / name).touch()

    assert tag_rows([row(name, cat=1.0)], root=photos).errors == {"io": 1}


def test_a_full_disk_stops(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tagging.os, "fsync", fail)

    with pytest.raises(SaveError, match="free space and tag again") as caught:
        tag_rows([row("a.jpg", cat=1.0)], root=photos)

    assert len(str(caught.value)) < 600


def test_a_dry_run_writes_nothing(photos: Path) -> None:
    before = content(photos)

    tagged = tag_rows(ROWS, root=photos, dry_run=True)

    assert content(photos) == before
    assert str(tagged).splitlines() == [
        "would write 1 sidecars; 0 unchanged",
        "  cat          1",
        "  pet          1",
        "no label is probable enough: 1",
        "skipped, file not found: 1",
    ]


def test_error_rows_members_and_urls_get_no_sidecar(photos: Path) -> None:
    (photos / "x.zip").touch()
    rows = [
        row("a.jpg", cat=1.0) | {"error_kind": "truncated"},
        row("x.zip#a.jpg", cat=1.0),
        row("https://example.org/a.jpg", cat=1.0),
    ]

    tagged = tag_rows(rows, root=photos)

    assert sum(tagged.skipped.values()) == 3
    assert not list(photos.glob("*.xmp"))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (row("a", x=0.5, y=0.3, z=0.1), ["x", "y"]),
        (row("a", x=0.5, y=0.4, z=0.4), ["x", "y"]),
        ({"label": "x", "probability": 0.5}, ["x"]),
        ({"label": "x", "probability": 0.5, "labels": None, "probabilities": None}, ["x"]),
        ({"label": None, "probability": None}, []),
        (row("a", x=float("nan")), []),
    ],
)
def test_labels_are_chosen_by_threshold_and_count(
    given: Mapping[str, Any], expected: list[str]
) -> None:
    assert probable(given, 0.3, 2) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_probability": 30}, "from 0 to 1"),
        ({"max_keywords": 0}, "at least 1"),
        ({"prefix": " "}, "must be a keyword"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tag_rows([], **options)


@pytest.mark.parametrize(
    "command", [["exiftool", "-s", "-s", "-s", "-Subject"], ["exiv2", "-px", "pr"]]
)
def test_another_program_reads_the_keywords(command: list[str], photos: Path) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    (photos / "c.xmp").write_text(DARKTABLE, "utf-8")
    tag_rows([row("a.jpg", cat=1.0), row("c.cr2", cat=1.0)], root=photos, prefix="AI")

    for name in ("a.jpg.xmp", "c.xmp"):
        done = subprocess.run(
            [*command, str(photos / name)], capture_output=True, text=True, check=True
        )
        assert "cat" in done.stdout


def test_exiv2_reads_the_keywords(photos: Path) -> None:
    pyexiv2 = pytest.importorskip("pyexiv2")  # exiv2 as a Python package
    (photos / "c.xmp").write_text(DARKTABLE, "utf-8")
    tag_rows([row("c.cr2", cat=1.0)], root=photos, prefix="AI")

    with pyexiv2.Image(str(photos / "c.xmp")) as image:
        found = image.read_xmp()

    assert found["Xmp.xmp.Rating"] == "4"
    assert found["Xmp.dc.subject"] == ["holiday", "café & bar", "cat"]
    assert found["Xmp.digiKam.TagsList"] == ["AI/cat"]
    assert found["Xmp.lr.hierarchicalSubject"] == ["AI|cat"]
