"""FastViT of timm in open_clip's layout: branches of training are folded when a file is read."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import zeroshot
from tests.checkpoint import families_fastvit as families
from tests.checkpoint.support import changed
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.config_fields import Fields
from zeroshot.checkpoint.layouts import open_clip
from zeroshot.errors import IncompatibleWeights, InputError
from zeroshot.spec import FastViTConfig

pytestmark = pytest.mark.usefixtures("tiny_towers")
SMALL, LARGE = families.SPECS
VISION = "model_cfg.vision_cfg."


def pixels(size: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(size)
    colors = 2 * torch.randn(3, 3, 1, 1, generator=random)
    return colors + torch.randn(3, 3, size, size, generator=random)


def unit(rows: torch.Tensor) -> torch.Tensor:
    return F.normalize(rows, dim=1)


@pytest.mark.parametrize("name", families.SPECS)
def test_folded_tower_equals_the_sum_of_its_branches(name: str, tmp_path: Path) -> None:
    spec = families.SPECS[name]
    expected = unit(families.trained(spec.network.vision)(pixels(64)))

    found = reader.read(families.write(tmp_path, name))

    assert (found.spec, found.layout) == (spec, "open_clip")
    assert float((unit(found.network.visual(pixels(64))) - expected).abs().max()) < 2e-6
    assert float((expected - expected.roll(1, 0)).norm(dim=1).min()) > 1e-2


@pytest.mark.parametrize("name", families.SPECS)
@pytest.mark.parametrize("size", [32, 96])
def test_any_multiple_of_32_pixels_is_an_image_size(name: str, size: int, tmp_path: Path) -> None:
    tower = families.trained(families.TOWERS[name])
    model = zeroshot.load(
        families.write(tmp_path, name), device="cpu", dtype="float32", image_size=size
    )

    found = model.encode_pixels(pixels(size))

    assert model.spec.preprocess.size == size
    assert float((found - unit(tower(pixels(size)))).abs().max()) < 1e-5
    assert model.encode_text("a cat").shape == (24,)
    with pytest.raises(InputError, match="expected a multiple of 32 pixels"):
        zeroshot.load(tmp_path, image_size=size + 16)


@pytest.mark.parametrize("name", families.SPECS)
def test_model_is_saved_with_folded_branches(name: str, tmp_path: Path) -> None:
    model = zeroshot.load(families.write(tmp_path / name, name), device="cpu", dtype="float32")
    model.save(tmp_path / "copy.safetensors")

    again = zeroshot.load(tmp_path / "copy.safetensors", device="cpu", dtype="float32")

    assert (again.identity, again.spec) == (model.identity, model.spec)
    assert torch.equal(again.encode_pixels(pixels(64)), model.encode_pixels(pixels(64)))


def test_copy_of_a_model_folds_alike(tmp_path: Path) -> None:
    model = zeroshot.load(families.write(tmp_path, SMALL), device="cpu", dtype="float32")

    copied = pickle.loads(pickle.dumps(model))

    assert copied.identity == model.identity
    assert torch.equal(copied.encode_pixels(pixels(64)), model.encode_pixels(pixels(64)))


@pytest.mark.parametrize("name", families.SPECS)
def test_branches_that_timm_folded_are_read(name: str, tmp_path: Path) -> None:
    spec = families.SPECS[name]
    tower = families.trained(spec.network.vision)
    tensors = families.tensors_of(spec, tower)
    folded = timm_folded(tensors, families.write(tmp_path / "trained", name))

    found = reader.read(families.write(tmp_path / "folded", name, folded)).network.visual

    assert any("reparam_conv" in each for each in folded)
    assert not any("conv_kxk" in each for each in folded)
    expected = unit(tower(pixels(64)))
    assert float((unit(found(pixels(64))) - expected).abs().max()) < 2e-6


def timm_folded(tensors: dict[str, torch.Tensor], trained: Path) -> dict[str, torch.Tensor]:
    """Return the tensors as `reparameterize_model` leaves them: batch norms of MLPs remain."""
    state = reader.read(trained).network.visual.state_dict()
    modules = {
        r"stem.{}": ("stem.{}", range(3)),
        "stages.{}.downsample.proj.0": ("stages.{}.down.conv", range(1, 5)),
        "stages.{}.downsample.proj.1": ("stages.{}.down.point", range(1, 5)),
        "stages.{}.pos_emb": ("stages.{}.positions", range(5)),
        "final_conv": ("conv", range(1)),
        **{
            f"stages.{{}}.blocks.{n}.token_mixer": (f"stages.{{}}.blocks.{n}.conv", range(3))
            for n in range(2)
        },
    }
    folded = dict(tensors)
    for theirs, (ours, numbers) in modules.items():
        for n in numbers:
            module, prefix = ours.format(n), f"visual.trunk.{theirs.format(n)}."
            if f"{module}.weight" not in state:
                continue
            for name in list(folded):
                if name.startswith(prefix) and ".se." not in name:
                    del folded[name]
            for kind in ("weight", "bias"):
                folded[f"{prefix}reparam_conv.{kind}"] = state[f"{module}.{kind}"].clone()
    return folded


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fastvit_mci0", (64, (2, 6, 10, 2), 3, True)),
        ("fastvit_mci1", (64, (4, 12, 20, 4), 3, True)),
        ("fastvit_mci2", (80, (4, 12, 24, 4), 3, True)),
        ("fastvit_mci3", (96, (2, 12, 24, 4, 2), 4, False)),
        ("fastvit_mci4", (128, (2, 12, 24, 4, 4), 4, False)),
    ],
)
def test_name_of_a_tower_gives_its_sizes(name: str, expected: tuple[Any, ...]) -> None:
    found = open_clip.read_timm_tower(
        Fields({"timm_model_name": name, "image_size": 256}, "x.json")
    )

    assert (found.width, found.layers, found.mlp_ratio, found.squeeze) == expected
    assert found.layer_norm is not found.squeeze
    assert list(found.problems()) == []


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        (f"{VISION}timm_pool", "", r"timm_pool is '', expected 'avg'"),
        (f"{VISION}timm_proj", "linear", r"timm_proj is 'linear', expected null"),
        (f"{VISION}timm_model_name", "fastvit_sa12", "timm_model_name is 'fastvit_sa12'"),
        (f"{VISION}image_size", 40, "image_size is 40, expected a multiple of 32"),
        (f"{VISION}inference_mode", True, "unsupported fields"),
    ],
)
def test_unsupported_value_is_rejected_by_field_name(path: str, value: Any, what: str) -> None:
    document = families.config_of(families.SPECS[SMALL], SMALL)

    with pytest.raises(IncompatibleWeights, match=what) as caught:
        open_clip.from_config(changed(document, path, value))

    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("missing", "what"),
    [
        ("stem.0.conv_kxk.0.bn.running_var", r"conv_kxk\.0\.bn\.running_var' is missing"),
        ("stages.0.blocks.0.token_mixer.layer_scale.gamma", r"layer_scale\.gamma' is missing"),
        ("stages.3.blocks.0.norm.running_mean", r"norm\.running_mean' is missing"),
        ("stages.3.blocks.0.layer_scale_2.gamma", "gamma' is missing"),
        ("head.fc.bias", r"1 missing: visual\.proj\.bias"),
    ],
)
def test_missing_tensor_of_a_branch_is_named(missing: str, what: str, tmp_path: Path) -> None:
    tensors = complete(SMALL)
    del tensors[f"visual.trunk.{missing}"]

    with pytest.raises(IncompatibleWeights, match=what) as caught:
        reader.read(families.write(tmp_path, SMALL, tensors))

    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "name",
    [
        "stem.0.conv_scale.bn.weight",
        "stages.1.downsample.proj.0.small_conv.conv.weight",
        "stages.0.blocks.0.mlp.fc2.weight",
        "stages.3.blocks.0.token_mixer.qkv.weight",
    ],
)
def test_branches_of_other_shapes_are_rejected(name: str, tmp_path: Path) -> None:
    tensors = complete(SMALL)
    tensors[f"visual.trunk.{name}"] = tensors[f"visual.trunk.{name}"][:-2].contiguous()

    with pytest.raises(IncompatibleWeights, match=r"do not (fit|match)") as caught:
        reader.read(families.write(tmp_path, SMALL, tensors))

    assert len(str(caught.value)) < 600


def test_number_that_is_not_finite_is_rejected(tmp_path: Path) -> None:
    tensors = complete(SMALL)
    tensors["visual.trunk.stem.1.conv_kxk.0.bn.running_var"][3] = -1.0  # has no square root
    folder = families.write(tmp_path, SMALL, tensors)

    with pytest.raises(IncompatibleWeights, match=r"visual\.stem\.1\.weight contains NaN"):
        _ = reader.read(folder).network


def test_tower_of_another_size_than_its_name_says_is_rejected(tmp_path: Path) -> None:
    folder = families.write(tmp_path, LARGE, complete(SMALL))

    with pytest.raises(IncompatibleWeights, match="do not match the architecture"):
        reader.read(folder)


def complete(name: str) -> dict[str, torch.Tensor]:
    spec = families.SPECS[name]
    config = spec.network.vision
    assert isinstance(config, FastViTConfig)
    tower: nn.Module = families.trained(config)
    return {k: v.clone() for k, v in families.tensors_of(spec, tower).items()}
