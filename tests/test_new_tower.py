"""A new kind of image tower is one module and one row in each table: shown with a toy tower."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import zeroshot
from tests.support import photograph, tiny_spec
from zeroshot import catalog
from zeroshot.checkpoint.layouts import native
from zeroshot.engine.backend import Values
from zeroshot.engine.cpu.towers import CPU_TOWERS
from zeroshot.errors import IncompatibleWeights, InputError
from zeroshot.nn.network import TOWERS, Network
from zeroshot.spec import PreprocessConfig, Problem, Spec

# ---- what someone who adds a tower writes: a configuration, a module, and a CPU version


@dataclass(frozen=True)
class PatchMeanConfig:
    """The mean colors of patches, mapped and summed."""

    image_size: int
    patch_size: int
    width: int
    kind: ClassVar[str] = "patch_mean"
    position_embeddings: ClassVar[tuple[str, ...]] = ("positional_embedding",)
    extra_positions: ClassVar[int] = 1

    @property
    def depth(self) -> int:
        return 0  # no transformer blocks

    @property
    def stride(self) -> int | None:
        return self.patch_size

    def problems(self) -> Iterator[Problem]:
        if type(self.width) is not int or not 0 < self.width <= 512:
            yield "width", self.width, "1 to 512"
        if type(self.patch_size) is not int or self.patch_size < 1:
            yield "patch_size", self.patch_size, "at least 1"

    def resized(self, size: int) -> PatchMeanConfig:
        return replace(self, image_size=size)


class PatchMeanTower(nn.Module):
    """Pixels [b, 3, s, s] become embeddings [b, d]."""

    def __init__(self, config: PatchMeanConfig, embed_dim: int) -> None:
        super().__init__()
        self.patch = config.patch_size
        patches = (config.image_size // config.patch_size) ** 2
        self.embed = nn.Linear(3, config.width)
        self.positional_embedding = nn.Parameter(torch.empty(1 + patches, config.width))
        self.proj = nn.Parameter(torch.empty(config.width, embed_dim))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.project(self.trunk(pixels))

    def trunk(self, pixels: Tensor) -> Tensor:
        means = F.avg_pool2d(pixels, self.patch).flatten(2).transpose(1, 2)  # [b, p, 3]
        x = self.embed(means) * torch.sigmoid(self.positional_embedding[1:])  # [b, p, w]
        x = x.mean(dim=1) + self.positional_embedding[0]  # [b, w]
        return x

    def project(self, features: Tensor) -> Tensor:
        return features @ self.proj  # [b, d]


made: list[torch.dtype] = []  # precisions that the CPU version was made in


class FastPatchMeanTower:
    """The same, from borrowed values."""

    def __init__(self, config: PatchMeanConfig, values: Values, dtype: torch.dtype) -> None:
        made.append(dtype)
        self.patch = config.patch_size
        positions = values["positional_embedding"]
        self.weight = values["embed.weight"].to(dtype, copy=True)
        self.bias = values["embed.bias"].to(dtype, copy=True)
        self.first = positions[0].to(dtype, copy=True)
        self.gates = torch.sigmoid(positions[1:]).to(dtype, copy=True)
        self.proj = values["proj"].to(dtype, copy=True)
        values.release()

    def __call__(self, pixels: Tensor) -> Tensor:
        return self.project(self.trunk(pixels))

    def trunk(self, pixels: Tensor) -> Tensor:
        means = F.avg_pool2d(pixels, self.patch).flatten(2).transpose(1, 2)
        x = F.linear(means, self.weight, self.bias) * self.gates
        return x.mean(dim=1) + self.first

    def project(self, features: Tensor) -> Tensor:
        return features @ self.proj


# ---- its rows, and a checkpoint with an entry in the catalog

NAME = "toy"
SIZE = 32
ENTRY = f"""
["{NAME}"]
family = "toys"
repository = ""
files = ["toy.safetensors"]
layout = "native"
architecture = "patch-mean"
activation = "gelu"
image_size = {SIZE}
embed_dim = 16
license = "MIT"
aliases = ["patch-mean"]
"""
CACHED = (catalog.entries, catalog._family, catalog._names, catalog._repositories)


def toy_spec(width: int = 24) -> Spec:
    tiny = tiny_spec()
    vision = PatchMeanConfig(SIZE, 8, width)
    return Spec(replace(tiny.network, vision=vision), PreprocessConfig(SIZE), tiny.merges)


def toy_tensors(spec: Spec) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(7)
    with torch.device("meta"):
        shapes = Network(spec.network).state_dict()
    tensors = {name: torch.randn(t.shape, generator=random) for name, t in shapes.items()}
    for name, tensor in tensors.items():
        if ".ln_" in name:
            tensor.mul_(0.1).add_(1.0 if name.endswith("weight") else 0.0)
        elif tensor.ndim == 2 and "embedding" not in name:
            tensor.div_(tensor.shape[1] ** 0.5)
    return tensors | {"logit_scale": torch.tensor(2.0)}


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Add the tower's rows, and a folder of weights that the catalog reads; return the folder."""
    monkeypatch.setitem(TOWERS, PatchMeanConfig, PatchMeanTower)
    monkeypatch.setitem(CPU_TOWERS, PatchMeanConfig, FastPatchMeanTower)
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "toys.toml").write_text(ENTRY)
    spec = toy_spec()
    native.save(folder / "toy.safetensors", NAME, spec, toy_tensors(spec))
    monkeypatch.setattr(catalog, "folder", lambda kind: folder)
    monkeypatch.setattr(catalog, "FAMILIES", ("toys",))
    made.clear()
    for cached in CACHED:
        cached.cache_clear()
    yield folder
    for cached in CACHED:
        cached.cache_clear()


def load(name: str = NAME, dtype: str = "float32", **options: int) -> zeroshot.Model:
    return zeroshot.load(name, device="cpu", dtype=dtype, **options)


def plain_embeddings(model: zeroshot.Model, pixels: Tensor) -> Tensor:
    """Embed with the module itself, as a new tower is written."""
    with torch.no_grad():
        return F.normalize(model.network.visual(pixels), dim=1)


def pixels(size: int = SIZE) -> Tensor:
    random = torch.Generator().manual_seed(size)
    shades = 2 * torch.randn(5, 3, 1, 1, generator=random)
    return shades + torch.randn(5, 3, size, size, generator=random)


# ---- what works without any other edit


def test_new_tower_is_loaded_by_its_catalog_name(weights: Path) -> None:
    model = load()

    assert zeroshot.available_models() == [NAME]
    assert model.name == NAME
    assert model.spec == toy_spec()
    assert isinstance(model.network.visual, PatchMeanTower)
    assert load("Patch-Mean").identity == model.identity


@pytest.mark.parametrize(("dtype", "distance"), [("float32", 1e-5), ("bfloat16", 0.05)])
def test_new_tower_runs_as_its_cpu_version(weights: Path, dtype: str, distance: float) -> None:
    model = load(dtype=dtype)

    found = model.encode_pixels(pixels())

    assert made == [getattr(torch, dtype)]
    expected = plain_embeddings(model, pixels())
    assert float((found - expected).norm(dim=1).max()) < distance
    assert float((expected - expected.roll(1, 0)).norm(dim=1).min()) > 0.1  # the inputs differ


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_new_tower_without_a_cpu_version_runs_as_the_plain_module(
    weights: Path, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = load(dtype="float32").encode_pixels(pixels())
    monkeypatch.delitem(CPU_TOWERS, PatchMeanConfig)
    made.clear()
    model = load(dtype=dtype)

    model.encode_text("a cat")
    found = model.encode_pixels(pixels())

    assert made == []
    distance = float((found - expected).norm(dim=1).max())
    assert distance < (1e-5 if dtype == "float32" else 0.05)
    assert model.classifier(["a cat", "a dog"])(photograph()).label in ("a cat", "a dog")


def test_new_tower_classifies_an_image(weights: Path) -> None:
    image, labels = photograph(), ["a cat", "a dog", "a street"]
    model = load()
    scores = model.encode_image(image) @ model.head(labels).weight.T

    found = zeroshot.classify(image, labels, model=model, top=3)

    assert found.label == labels[int(scores.argmax())]
    assert dict(found.ranking).keys() == set(labels)
    assert sum(dict(found.ranking).values()) == pytest.approx(1)


def test_new_tower_is_resized(weights: Path) -> None:
    model = load(image_size=64)

    assert model.spec.network.vision == PatchMeanConfig(64, 8, 24)
    assert model.prepare(photograph()).shape == (3, 64, 64)
    assert model.network.visual.positional_embedding.shape == (65, 24)
    found = model.encode_pixels(pixels(64))
    assert float((found - plain_embeddings(model, pixels(64))).norm(dim=1).max()) < 1e-5
    with pytest.raises(InputError, match="multiple of 8"):
        load(image_size=60)


def test_new_tower_is_saved_and_loaded_again(weights: Path, tmp_path: Path) -> None:
    model = load()
    model.save(tmp_path / "copy.safetensors")

    again = zeroshot.load(tmp_path / "copy.safetensors", device="cpu", dtype="float32")

    assert again.spec == model.spec
    assert again.identity == model.identity
    assert np.array_equal(again.encode_pixels(pixels()), model.encode_pixels(pixels()))
    assert np.array_equal(again.encode_text("a cat"), model.encode_text("a cat"))


@pytest.mark.parametrize(
    ("field", "value"), [("width", 513), ("width", "24"), ("width", [24]), ("patch_size", 0)]
)
def test_problems_of_a_new_tower_are_reported(weights: Path, field: str, value: object) -> None:
    spec = toy_spec()
    wrong = replace(spec.network.vision, **{field: value})
    broken = replace(spec, network=replace(spec.network, vision=wrong))
    native.save(weights / "toy.safetensors", NAME, broken, toy_tensors(spec))

    with pytest.raises(IncompatibleWeights, match=rf"toy\.safetensors: vision {field} is"):
        load()


def test_checkpoint_of_a_tower_without_a_row_is_rejected(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(TOWERS, PatchMeanConfig)

    with pytest.raises(IncompatibleWeights, match="kind is 'patch_mean', expected one of vit"):
        load()


def test_missing_tensor_of_a_new_tower_is_named(weights: Path) -> None:
    tensors = toy_tensors(toy_spec())
    del tensors["visual.embed.bias"]
    native.save(weights / "toy.safetensors", NAME, toy_spec(), tensors)

    with pytest.raises(IncompatibleWeights, match=r"1 missing: visual\.embed\.bias"):
        load()


def test_new_tower_with_layers_of_few_tensors_is_loaded(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PatchMeanConfig, "depth", property(lambda config: 1))

    assert load().encode_pixels(pixels()).shape == (5, 16)
