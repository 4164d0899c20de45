"""The tutorial on photo libraries: its queries run on its table, and it changes no photograph."""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import zeroshot
from zeroshot.bulk.sorting import plan_sort, sort, undo_sort
from zeroshot.bulk.tagging import tag
from zeroshot.cli import main
from zeroshot.errors import InputError

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "photo-library.md").read_text("utf-8")
PHOTOS = ROOT / "examples" / "photos"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(folder.iterdir())
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the Python code of the page ran."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "examples").symlink_to(ROOT / "examples")
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in blocks("python"):
            exec(compile(block, "photo-library.md", "exec"), names)
    return folder


def test_the_photographs_are_not_changed(library: Path) -> None:
    before = digests(PHOTOS)

    after = digests(library / "my-photos")

    assert {name: after.get(name) for name in before} == before
    assert all(name in before or name.endswith(".xmp") for name in after)


def test_undo_leaves_no_folder(library: Path) -> None:
    assert not (library / "sorted").exists()


def test_the_queries_run_in_duckdb(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    duckdb = pytest.importorskip("duckdb")
    monkeypatch.chdir(library)

    labels, unsure, same = [duckdb.sql(query).fetchall() for query in blocks("sql")]

    assert sum(images for _, images, _ in labels) == 10
    assert {Path(source).name for source, _, _ in unsure} == {"bee.jpg", "temple.jpg"}
    assert same == []


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_a_table_of_any_format_is_sorted_and_tagged(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(PHOTOS, "photos")
    Path("photos/broken.jpg").write_bytes(b"no image")
    before = digests(Path("photos"))
    zeroshot.label("photos", "table", labels=["cat", "a/b"], model="mini", format=form)

    assert tag("table", min_probability=0.9).skipped == {"error row": 1}
    tag_files = len(list(Path("photos").glob("*.xmp")))
    done = sort("table", "sorted", mode="move")

    assert done.placed == 10 + tag_files
    assert {path.name for path in Path("sorted").iterdir() if path.is_dir()} == {"cat", "a_b"}
    assert Path("sorted/cat/cat.jpg.xmp").is_file()
    assert sort("table", "sorted", mode="move").placed == 0
    assert tag("table").written == 0
    undo_sort("sorted")
    after = digests(Path("photos"))
    assert {name: value for name, value in after.items() if not name.endswith(".xmp")} == before


def test_an_incomplete_table_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(PHOTOS, "photos")
    zeroshot.label("photos", "table", labels=["cat", "dog"], model="mini", part_rows=4)
    (next(Path("table").glob("part-00000-000001.*"))).unlink()

    plan = plan_sort("table", "sorted")

    assert len(plan.actions) == 6
    assert str(plan).endswith("parts of the table that are missing: 1")
    assert tag("table", dry_run=True).missing_parts == 1


@pytest.mark.parametrize("name", ["photos", "gone"])
def test_another_folder_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()

    for action in (lambda: plan_sort(name, "sorted"), lambda: tag(name)):
        with pytest.raises(InputError, match="expected a folder that zeroshot"):
            action()


def test_the_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(PHOTOS, "my-photos")
    commands = re.findall(r"^    zeroshot (.*)$", PAGE, re.M)
    assert len(commands) == 6

    for command in commands:
        model = ["--model", "mini"] if command.startswith("label ") else []
        result = CliRunner().invoke(main, [*shlex.split(command), *model])
        assert result.exit_code == 0, f"{command}\n{result.output}"

    assert len(list(Path("my-photos").glob("*.xmp"))) == 8
    assert not list(Path("sorted").rglob("*.jpg"))
