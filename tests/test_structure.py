"""Each module has a test file in the same place, and test files stay small."""

from __future__ import annotations

from pathlib import Path

import pytest

import zeroshot

TESTS = Path(__file__).parent
SOURCE = Path(zeroshot.__file__).parent
LONGEST = 420  # lines
WITHOUT_TESTS: set[str] = set()  # modules; keep it empty
MODULES = sorted(
    str(path.relative_to(SOURCE))
    for path in SOURCE.rglob("*.py")
    if path.name not in ("__init__.py", "__main__.py")
)
FILES = sorted(
    str(path.relative_to(TESTS))
    for path in TESTS.rglob("*.py")
    if path.relative_to(TESTS).parts[0] != "parity"
)
TEST_FILES = [path for path in FILES if Path(path).name.startswith("test_")]


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_test_file_in_the_same_place(module: str) -> None:
    expected = (TESTS / module).with_name(f"test_{Path(module).name}")

    assert expected.is_file() or module in WITHOUT_TESTS, f"{expected} is missing"


def test_exceptions_are_modules_without_a_test_file() -> None:
    assert set(MODULES) >= WITHOUT_TESTS


@pytest.mark.parametrize("path", TEST_FILES)
def test_every_test_file_has_a_test(path: str) -> None:
    assert "\ndef test_" in (TESTS / path).read_text("utf-8")


@pytest.mark.parametrize("path", TEST_FILES)
def test_test_files_are_at_most_420_lines_long(path: str) -> None:
    assert len((TESTS / path).read_text("utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize("path", FILES)
def test_helpers_are_not_imported_from_conftest(path: str) -> None:
    lines = (TESTS / path).read_text("utf-8").splitlines()
    imports = ("from conftest", "import conftest")

    assert not [line for line in lines if line.lstrip().startswith(imports)]


def test_every_folder_of_test_files_is_a_package() -> None:
    folders = {(TESTS / path).parent for path in TEST_FILES}

    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []
