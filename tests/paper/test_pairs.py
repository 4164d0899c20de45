"""Pairs come from folders, tables and tar files; what is not used is counted."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from examples.paper import pairs
from zeroshot import Sample
from zeroshot.errors import InputError
from zeroshot.images import open_image


def jpeg(color: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), color).save(buffer, "JPEG")
    return buffer.getvalue()


def add(folder: Path, name: str, caption: str | bytes | None = None) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg())
    if caption is not None:
        content = caption.encode() if isinstance(caption, str) else caption
        path.with_suffix(".txt").write_bytes(content)


def write_tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def test_a_folder_has_a_txt_file_beside_each_image(tmp_path: Path) -> None:
    add(tmp_path, "b.jpg", "a red\n  square ")
    add(tmp_path, "sub/a.PNG", "ein Fräulein")

    found = pairs.read(tmp_path)

    assert list(found.images) == [str(tmp_path / "b.jpg"), str(tmp_path / "sub" / "a.PNG")]
    assert found.captions == ("a red square", "ein Fräulein")
    assert not found.skipped


def test_images_without_a_usable_caption_are_counted(tmp_path: Path) -> None:
    add(tmp_path, "good.jpg", "a cat")
    add(tmp_path, "alone.jpg")
    add(tmp_path, "empty.jpg", " \n")
    add(tmp_path, "bytes.jpg", b"\xff\xfa\x80")
    add(tmp_path, "long.jpg", "x" * 70_000)

    found = pairs.read(tmp_path)

    assert found.captions == ("a cat",)
    assert {Path(name).name for name in found.skipped} == {
        *("alone.jpg", "empty.jpg", "bytes.jpg", "long.jpg")
    }
    assert str(found.skipped).startswith("skipped 4: 2 whose .txt file is not UTF-8 text")
    assert "1 with an empty caption" in str(found.skipped)
    assert "1 without a caption" in str(found.skipped)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("captions.csv", 'path,caption\na.jpg,"a cat, asleep"\nb.jpg,a dog\n'),
        ("captions.tsv", "caption\tpath\na cat, asleep\ta.jpg\na dog\tb.jpg\n"),
        (
            "metadata.jsonl",
            '{"file_name": "a.jpg", "text": "a cat, asleep"}\n'
            '{"file_name": "b.jpg", "text": "a dog", "id": 3}\n',
        ),
    ],
)
def test_a_table_gives_paths_and_captions(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    add(tmp_path, "a.jpg", "the table has priority")
    add(tmp_path, "b.jpg")
    add(tmp_path, "c.jpg", "not in the table")

    folder, table = pairs.read(tmp_path), pairs.read(tmp_path / name)

    assert folder.captions == ("a cat, asleep", "a dog", "not in the table")
    assert table.captions == ("a cat, asleep", "a dog")
    assert table.images[1] == str(tmp_path / "b.jpg")


def test_tar_files_are_read_when_an_image_is_indexed(tmp_path: Path) -> None:
    tar = tmp_path / "00000.tar"
    files = {"s/000.jpg": jpeg("red"), "s/000.txt": b"a red card", "s/000.json": b"{}"}
    write_tar(tar, {**files, "s/001.png": jpeg("blue"), "s/001.txt": b"a blue card"})

    found = pairs.read(tar)

    assert found.captions == ("a red card", "a blue card")
    second = found.images[1]
    assert isinstance(second, Sample)
    assert second.key == f"{tar}/s/001.png"
    assert open_image(second).getpixel((0, 0)) == pytest.approx((0, 0, 255), abs=3)
    assert pairs.read(tmp_path).captions == found.captions  # a folder of tar files
    tar.unlink()
    with pytest.raises(FileNotFoundError):
        found.images[0]


def test_images_without_a_caption_in_a_tar_file_are_counted(tmp_path: Path) -> None:
    tar = tmp_path / "x.tar"
    write_tar(tar, {"0.jpg": jpeg(), "1.jpg": jpeg(), "1.txt": b"a cat", "2.txt": b"none"})

    found = pairs.read(tar)

    assert found.captions == ("a cat",)
    assert dict(found.skipped) == {f"{tar}/0.jpg": "without a caption"}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("captions.csv", b"path,caption\na.jpg\n", "captions.csv: row 2 has 1 columns"),
        ("captions.csv", b"path,caption\n,a cat\n", "row 1: expected a path, got ''"),
        ("captions.csv", b"path,words\na.jpg,hi\n", "expected one column with captions, got none"),
        ("captions.csv", b"path,text,caption\na.jpg,hi,ho\n", "got 2: text, caption"),
        (
            "captions.jsonl",
            b'{"path": "a.jpg", "caption": 3}\n',
            "row 1: expected text as caption",
        ),
        (
            "captions.jsonl",
            b'["a.jpg", "hi"]\n',
            "expected a JSON object for each",
        ),
        ("captions.jsonl", b'{"path"\n', "malformed jsonl"),
        ("captions.csv", b"\xff\xfa\x80", "captions.csv: not UTF-8"),
        ("x.tar", b"no tar file" * 100, "not a readable tar file"),
        ("captions.pkl", b"\x80\x04.", "expected a folder, or a .csv"),
        ("captions.csv", b"path,caption\n", "expected images with captions, got none"),
    ],
)
def test_malformed_files_are_rejected(
    tmp_path: Path, name: str, content: bytes, expected: str
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(InputError, match=expected):
        pairs.read(tmp_path / name)


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        pairs.read(tmp_path / "missing.csv")
    with pytest.raises(InputError, match="expected images with captions, got none"):
        pairs.read(tmp_path)


def test_two_tables_in_a_folder_are_ambiguous(tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_text("path,caption\na.jpg,hi\n")
    (tmp_path / "captions.jsonl").write_text(json.dumps({"path": "a.jpg", "caption": "ho"}))

    with pytest.raises(InputError, match="expected one table"):
        pairs.read(tmp_path)
