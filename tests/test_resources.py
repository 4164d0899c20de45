"""Shipped data is found, and an unrelated package of the same name is reported."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zeroshot
from zeroshot import resources
from zeroshot.errors import ImageNotFound


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


@pytest.fixture
def fresh_folder() -> Iterator[None]:
    """Look for the folders again in this test."""
    resources.folder.cache_clear()
    yield
    resources.folder.cache_clear()


def test_shipped_folders_contain_their_data() -> None:
    assert (resources.folder("prompts") / "imagenet.toml").is_file()
    assert (resources.folder("weights") / "openai.toml").is_file()
    assert (resources.folder("photos") / "cat.jpg").is_file()


def test_the_sample_image_is_a_small_photograph_of_a_cat() -> None:
    path = zeroshot.sample_image()

    assert path.is_absolute()
    assert path.stat().st_size < 40_000
    assert zeroshot.classify(path, ["cat", "dog", "car"], model="mini").label == "cat"


@pytest.mark.usefixtures("fresh_folder")
def test_a_missing_sample_image_says_how_to_repair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "PACKAGE", tmp_path / "zeroshot")

    with pytest.raises(ImageNotFound, match=r"pip install --force-reinstall --no-deps") as caught:
        zeroshot.sample_image()

    assert caught.value.kind == "not_found"


@pytest.mark.usefixtures("fresh_folder")
def test_a_wheel_has_its_data_inside_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site-packages" / "zeroshot"
    monkeypatch.setattr(resources, "PACKAGE", package)

    assert resources.folder("prompts") == package / "_data" / "prompts"


@pytest.mark.usefixtures("fresh_folder")
@pytest.mark.parametrize("is_checkout", [True, False])
def test_a_checkout_has_its_data_beside_pyproject(
    is_checkout: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "src" / "zeroshot"
    monkeypatch.setattr(resources, "PACKAGE", package)
    if is_checkout:
        (tmp_path / "pyproject.toml").touch()

    expected = tmp_path if is_checkout else package / "_data"
    assert resources.folder("weights") == expected / "weights"
    photos = "examples/photos" if is_checkout else "photos"
    assert resources.folder("photos") == expected / photos
