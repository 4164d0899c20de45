"""Inputs become sources in order; all kinds give the same bytes; errors come at the start."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bulk.sources.files import (
    contents,
    pictures,
    write_folder,
    write_parquet,
    write_tar,
    write_video,
    write_zip,
)
from tests.support import encoded, flat
from zeroshot.bulk.sources import SOURCES, Listing, open_sources
from zeroshot.errors import InputError

FILES = pictures(9)
BYTES = list(FILES.values())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "photos", FILES)


def every(inputs: Any, **options: Any) -> list[Any]:
    """The contents of all sources."""
    return [pair for source in open_sources(inputs, **options) for pair in contents(source.items())]


def test_nine_kinds_of_sources_give_equal_bytes(folder: Path, tmp_path: Path) -> None:
    paths = [str(folder / name) for name in FILES]
    (tmp_path / "list.txt").write_text("\n".join(paths))
    (tmp_path / "a.csv").write_text("\n".join(["path", *paths]))
    images = {"image": [{"bytes": content, "path": name} for name, content in FILES.items()]}
    inputs = {
        "folder": folder,
        "pattern": f"{folder}/*/*.*",
        "files": paths,
        "list": tmp_path / "list.txt",
        "table": tmp_path / "a.csv",
        "parquet": write_parquet(tmp_path / "a.parquet", images, row_group_size=2),
        "zip": write_zip(tmp_path / "a.zip", FILES),
        "tar": write_tar(tmp_path / "a.tar", FILES),
        "tar.gz": write_tar(tmp_path / "a.tar.gz", FILES, "w:gz"),
        "bytes": BYTES,
        "generator": (content for content in BYTES),
    }

    differing = {
        name: sorted(content for _, content in every(given)) != sorted(BYTES)
        for name, given in inputs.items()
    }
    assert {name for name, differs in differing.items() if differs} == set()


def test_images_that_follow_each_other_are_one_source(folder: Path, tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", FILES)
    first, second, *_ = (folder / name for name in FILES)
    sources = open_sources([first, str(folder / "0"), archive, second, "https://e.com/a.jpg"])

    assert [source.kind for source in sources] == ["list", "tar", "list"]
    assert [source.count() for source in sources] == [6, None, 2]
    assert sources[0].name == f"{first}, {folder / '0'}"


def test_folder_without_images_stands_for_the_archives_in_it(folder: Path, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    for place in ("b", "a"):
        (shards / place).mkdir(parents=True)
        write_tar(shards / place / "0.tar", FILES)
    write_video(shards / "c.mp4")
    (shards / "notes.txt").write_text("")
    (shards / ".hidden.tar").write_text("")

    names = [Path(source.name).relative_to(shards) for source in open_sources(shards)]
    assert list(map(str, names)) == ["c.mp4", "a/0.tar", "b/0.tar"]
    write_tar(folder / "backup.tar", FILES)
    [source] = open_sources(folder)
    assert (source.count(), source.skipped) == (9, {".tar": 1})  # type: ignore[attr-defined]


def test_pattern_of_archives_is_a_source_each(tmp_path: Path) -> None:
    for name in ("b.tar", "a.tar", "c.json"):
        write_tar(tmp_path / name, FILES)

    assert [source.name for source in open_sources(f"{tmp_path}/*")] == [
        str(tmp_path / name) for name in ("a.tar", "b.tar")
    ]


def test_standard_input_lists_files_folders_and_archives(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_zip(tmp_path / "a.zip", FILES)
    text = f"{folder}\n{archive}\nhttps://e.com/a.jpg\n".encode()
    for content in (text, text.replace(b"\n", b"\0")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        assert [source.count() for source in open_sources("-")] == [9, 9, 1]


def test_image_on_standard_input_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(encoded(flat("red"), "PNG"))))

    with pytest.raises(InputError, match="got an image; save it to a file"):
        open_sources("-")


@pytest.mark.parametrize("kind", ["numpy", "pandas", "tuple"])
def test_columns_of_paths_are_lists(kind: str, folder: Path) -> None:
    paths = [str(folder / name) for name in FILES]
    made = {"numpy": np.array(paths), "pandas": pd.Series(paths), "tuple": tuple(paths)}

    [source] = open_sources(made[kind])
    assert isinstance(source, Listing)
    assert source.names == paths


def test_one_image_is_a_source() -> None:
    for image in (BYTES[0], flat("red"), np.zeros((4, 4, 3), np.uint8)):
        [source] = open_sources(image)
        assert (source.kind, source.count()) == ("iterable", 1)


def test_data_uri_is_an_image_and_no_path() -> None:
    import base64

    [source] = open_sources("data:image/jpeg;base64," + base64.b64encode(BYTES[0]).decode())

    assert [content for _, content in contents(source.items())] == BYTES[:1]


@given(first=st.integers(0, 12), which=st.integers(0, 4))
def test_sources_that_split_start_at_any_row(
    first: int, which: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("sources")
    makers = (
        lambda: write_folder(path / "photos", FILES),
        lambda: write_zip(path / "a.zip", FILES),
        lambda: write_parquet(path / "a.parquet", {"image": BYTES}, row_group_size=2),
        lambda: write_tar(path / "a.tar", FILES),
        lambda: BYTES,
    )
    [source] = open_sources(makers[which]())

    assert contents(source.items(first)) == contents(source.items())[first:]


def test_keep_applies_to_tables_and_is_empty_for_others(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("path,id\na.jpg,7\n")
    inputs = [tmp_path / "a.csv", folder / next(iter(FILES)), write_zip(tmp_path / "a.zip", FILES)]
    sources = open_sources(inputs, keep=["id"])

    kept = [[item.kept for item in source.items()] for source in sources]
    assert kept == [[("7",), (None,)], [(None,)] * 9]
    with pytest.raises(InputError, match="expected a table for the columns id, got none"):
        open_sources(folder, keep=["id"])


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ("missing", {}, "missing: no such file or folder"),
        ("missing.tar", {}, "no such file"),
        ("missing.csv", {}, "no such file"),
        ("nothing-*.jpg", {}, "no file matches the pattern"),
        ([], {}, "nothing was given"),
        (3, {}, "expected paths, URLs, patterns or an iterable of images, got int 3"),
        ({"image": b""}, {}, "got dict"),
        ("https://e.com/a.tar", {}, "download it and pass the file"),
        ("a.jpg", {"keep": "id"}, "expected keep as a list of columns, got 'id'"),
        ("a.jpg", {"keep": ["a", "a"]}, "each column of keep once"),
        ("a.jpg", {"column": 1}, "expected column as text, got 1"),
        ("a.jpg", {"fps": 1, "every": 2}, "expected fps or every, got both"),
        ("a.jpg", {"fps": 0}, "expected fps as frames per second"),
        ("a.jpg", {"fps": float("nan")}, "expected fps as frames per second"),
        ("a.jpg", {"every": 0}, "at least 1, got 0"),
        ("a.jpg", {"every": True}, "at least 1, got True"),
    ],
)
def test_wrong_inputs_and_options_are_errors_at_the_start(
    inputs: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        open_sources(inputs, **options)
    assert len(str(caught.value)) < 600


def test_folder_without_anything_is_an_error_that_says_what_was_skipped(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no images in the folder; it is empty"):
        open_sources(tmp_path)
    (tmp_path / "a.docx").write_text("")
    with pytest.raises(InputError, match=r"skipped 1 in folders: 1 .*\(\.docx\)"):
        open_sources(tmp_path)


def test_a_table_inside_of_the_input_is_no_input(tmp_path: Path) -> None:
    from tests.bulk.jobs import run

    (tmp_path / "data").mkdir()
    write_zip(tmp_path / "data" / "a.zip", FILES)
    write_parquet(tmp_path / "data" / "b.parquet", {"image": BYTES})
    for inputs in (tmp_path / "data", tmp_path / "data" / "*", tmp_path / "data" / "**"):
        for _ in range(2):
            found = run(inputs, tmp_path / "data" / f"out{len(inputs.name)}", part_rows=5)
            assert found.rows == 2 * len(FILES)


def test_a_set_has_no_order_and_is_refused() -> None:
    for inputs in ({"a.jpg", "b.jpg"}, frozenset(BYTES)):
        with pytest.raises(InputError, match=r"a fixed order, got a .*set.* pass sorted"):
            open_sources(inputs)
    assert every(dict.fromkeys(["missing.jpg"]).keys())


def test_standard_input_that_is_closed_is_an_input_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)

    with pytest.raises(InputError, match="which is closed"):
        open_sources("-")


def test_missing_image_is_an_error_row() -> None:
    assert every(["missing.jpg"]) == [("missing.jpg", "ImageNotFound not_found")]


def test_saved_data_set_is_read_from_its_folder(tmp_path: Path) -> None:
    import datasets

    data = datasets.Dataset.from_dict({"image": BYTES})
    data.save_to_disk(tmp_path / "set")

    assert [content for _, content in every(tmp_path / "set")] == BYTES


def test_suffixes_of_sources_are_distinct() -> None:
    suffixes = [suffix for kind in SOURCES for suffix in kind.suffixes]

    assert len(set(suffixes)) == len(suffixes)


def test_importing_sources_imports_no_optional_package() -> None:
    code = (
        "import sys, zeroshot.bulk.sources\n"
        "assert not {'torch', 'pyarrow', 'av', 'fsspec', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))
