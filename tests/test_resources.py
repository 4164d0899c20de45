"""Shipped data is found, and an unrelated package of the same name is reported."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from zeroshot import resources


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that pretends a distribution of a name is installed."""

    def install(name: str) -> None:
        folder = tmp_path / f"{name.replace('-', '_')}-0.1.11.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.11\n")
        monkeypatch.syspath_prepend(str(tmp_path))

    resources.warn_of_namesake.cache_clear()
    yield install
    resources.warn_of_namesake.cache_clear()


def test_the_unrelated_zeroshot_package_gives_one_warning(installed: Any) -> None:
    installed("zeroshot")
    with pytest.warns(UserWarning, match=r"zeroshot 0\.1\.11.*pip uninstall zeroshot"):
        resources.warn_of_namesake()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resources.warn_of_namesake()


@pytest.mark.parametrize("name", ["zeroshot-clip", "zeroshot-sdk", "zero-shot"])
def test_other_distributions_give_no_warning(installed: Any, name: str) -> None:
    installed(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resources.warn_of_namesake()
