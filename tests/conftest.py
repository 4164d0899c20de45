"""Fixtures of all tests: a tiny model with random weights, a fake encoder, images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import zeroshot
from tests import devices
from tests.support import MIXED, NAMES, FakeEncoder, flat, photograph, tiny_spec, tiny_tensors
from zeroshot.checkpoint.layouts import native

torch.set_num_threads(2)
hypothesis.settings.register_profile(
    "quick", max_examples=80, deadline=None, derandomize=True, print_blob=True
)
hypothesis.settings.load_profile("quick")


def pytest_configure() -> None:
    devices.prepare()


def pytest_report_header() -> str:
    return devices.header()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    devices.mark(items)


@pytest.fixture(autouse=True, scope="module")
def two_cores() -> None:
    """Let torch use two cores, also after a file that changed it: files run in any order."""
    torch.set_num_threads(2)


@pytest.fixture(autouse=True)
def same_values() -> None:
    """Draw the same random tensors in every run: a tolerance holds for all of them or for none."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def label_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Store label embeddings in a folder of this test."""
    monkeypatch.setenv("ZEROSHOT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint file of the tiny model."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    spec = tiny_spec()
    native.save(path, "tiny", spec, tiny_tensors(spec))
    return path


@pytest.fixture(scope="session")
def tiny(tiny_path: Path) -> zeroshot.Model:
    """A CLIP of two layers, 32 wide, for images of 32 x 32 pixels."""
    return zeroshot.load(tiny_path, device=devices.DEVICE, dtype="float32")


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
def colors(encoder: FakeEncoder) -> zeroshot.Classifier:
    """A classifier of flat images by their color."""
    return zeroshot.Classifier(encoder, zeroshot.Head.build(encoder, NAMES, "{}"))


@pytest.fixture
def mixed() -> list[Image.Image]:
    """The images of the colors in MIXED."""
    return [flat(color) for color in MIXED]


@pytest.fixture
def photo() -> NDArray[np.uint8]:
    return photograph()


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Seven different photographs as files, in order of their names."""
    folder = tmp_path / "photos"
    folder.mkdir()
    paths = [folder / f"{n}.png" for n in range(7)]
    for seed, path in enumerate(paths):
        Image.fromarray(photograph(40 + seed, 50 - seed, seed)).save(path)
    return paths


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of huggingface_hub."""
    from huggingface_hub import constants

    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def no_decoding_threads() -> Iterator[Callable[[], list[str]]]:
    """Return a function that lists decoding threads; none may be left when the test ends."""
    import threading

    def alive() -> list[str]:
        return [t.name for t in threading.enumerate() if t.name.startswith("zeroshot-decode")]

    yield alive
    assert alive() == []


@pytest.fixture
def subprocess_environment() -> dict[str, str]:
    """The environment of a child process without network, GPU and color."""
    return os.environ | {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "2"}


@pytest.fixture
def tiny_towers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the tiny towers of `families` to the tables of timm's towers."""
    from tests.checkpoint import families, families_convnext, families_fastvit
    from zeroshot.checkpoint.layouts import timm, timm_convnext, timm_fastvit

    convnext = families_convnext.TOWER, families_convnext.SHALLOW
    monkeypatch.setitem(timm_convnext.TOWERS, *convnext)
    for name, tower in families_fastvit.TOWERS.items():
        monkeypatch.setitem(timm_fastvit.TOWERS, name, tower)
    for name, config in families.TOWERS.items():
        monkeypatch.setitem(timm.TOWERS, name, config)


@pytest.fixture
def tiny_berts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the tiny towers of `families_bert` to the tables of towers that configs name."""
    from tests.checkpoint import families_bert
    from zeroshot.checkpoint.layouts import bert, timm

    for name, config in families_bert.BERTS.items():
        monkeypatch.setitem(bert.BERTS, name, config)
    for name, tower in families_bert.TOWERS.items():
        monkeypatch.setitem(timm.TOWERS, name, tower)
