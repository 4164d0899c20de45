"""The examples in docstrings of internal modules run; tests/test_docstrings runs public ones."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import shutil
from pathlib import Path

import pytest

import zeroshot
import zeroshot.integrations


def examples() -> list[doctest.DocTest]:
    found = []
    public = {f"{getattr(zeroshot.bulk, name).__module__}.{name}" for name in zeroshot.bulk.__all__}
    public.add("zeroshot.bulk.job.label")
    for package in (zeroshot.bulk, zeroshot.integrations):
        for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(each.name)
            found += doctest.DocTestFinder().find(module)
    return [test for test in found if test.examples and test.name not in public]


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_an_example_runs(
    example: doctest.DocTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(zeroshot.sample_image(), tmp_path / "cat.jpg")
    monkeypatch.chdir(tmp_path)
    example.globs["zeroshot"] = zeroshot
    shown: list[str] = []

    result = doctest.DocTestRunner().run(example, out=shown.append)

    assert result.failed == 0, "".join(shown)
