"""ConvNeXt of timm in open_clip's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import zeroshot
from tests.checkpoint import families_convnext as families
from tests.checkpoint.support import changed
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.config_fields import Fields
from zeroshot.checkpoint.layouts import open_clip
from zeroshot.errors import IncompatibleWeights, InputError

pytestmark = pytest.mark.usefixtures("tiny_towers")
VISION = "model_cfg.vision_cfg."


@pytest.mark.parametrize("projection", families.SPECS)
def test_every_tensor_is_read_by_its_own_name(projection: str, tmp_path: Path) -> None:
    spec = families.SPECS[projection]
    tensors = families.tensors_of(spec)

    found = reader.read(families.write(tmp_path, projection))

    assert (found.spec, found.layout) == (spec, "open_clip")
    state = found.network.state_dict()
    assert state.keys() == tensors.keys()
    assert [name for name in tensors if not torch.equal(state[name], tensors[name])] == []


@pytest.mark.parametrize("projection", families.SPECS)
@pytest.mark.parametrize("size", [32, 96])
def test_any_multiple_of_32_pixels_is_an_image_size(
    projection: str, size: int, tmp_path: Path
) -> None:
    folder = families.write(tmp_path, projection)
    model = zeroshot.load(folder, device="cpu", dtype="float32", image_size=size)
    pixels = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))

    found = model.encode_pixels(pixels)

    expected = F.normalize(model.network.visual(pixels), dim=1)
    assert float((found - expected).abs().max()) < 1e-5
    assert float((found - found.roll(1, 0)).norm(dim=1).min()) > 1e-2
    assert model.encode_text("a cat").shape == (24,)
    with pytest.raises(InputError, match="expected a multiple of 32 pixels"):
        zeroshot.load(folder, image_size=size + 16)


@pytest.mark.parametrize("projection", families.SPECS)
def test_model_is_saved_and_loaded_again(projection: str, tmp_path: Path) -> None:
    model = zeroshot.load(families.write(tmp_path / "a", projection), device="cpu")
    model.save(tmp_path / "copy.safetensors")

    again = zeroshot.load(tmp_path / "copy.safetensors", device="cpu")

    assert (again.identity, again.spec) == (model.identity, model.spec)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("convnext_base", (128, (3, 3, 27, 3), 1e-6)),
        ("convnext_large", (192, (3, 3, 27, 3), 1e-6)),
        ("convnext_xxlarge", (384, (3, 4, 30, 3), 1e-5)),
    ],
)
def test_name_of_a_tower_gives_its_sizes(name: str, expected: tuple[Any, ...]) -> None:
    fields = {"timm_model_name": name, "timm_pool": "", "timm_proj": "mlp", "image_size": 320}

    found = open_clip.read_timm_tower(Fields(fields, "x.json"))

    assert (found.width, found.layers, found.eps) == expected
    assert (found.image_size, found.deep_projection) == (320, True)
    assert list(found.problems()) == []


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        (f"{VISION}timm_pool", "max", r"timm_pool is 'max', expected '' or 'avg'"),
        (f"{VISION}timm_proj", None, r"timm_proj is None, expected one of linear, mlp"),
        (f"{VISION}timm_proj", ["mlp"], r"timm_proj is \['mlp'\], expected one of linear, mlp"),
        (f"{VISION}timm_proj_bias", True, "timm_proj_bias is True"),
        (f"{VISION}timm_model_name", "convnextv2_base", "timm_model_name is 'convnextv2_base'"),
        (f"{VISION}image_size", 40, "image_size is 40, expected a multiple of 32"),
        (f"{VISION}conv_mlp", True, "unsupported fields"),
    ],
)
def test_unsupported_value_is_rejected_by_field_name(path: str, value: Any, what: str) -> None:
    with pytest.raises(IncompatibleWeights, match=what) as caught:
        open_clip.from_config(changed(families.config_of("linear"), path, value))

    assert len(str(caught.value)) < 600


def test_projection_of_another_depth_than_in_the_config_is_rejected(tmp_path: Path) -> None:
    tensors = families.timm_tensors(families.tensors_of(families.SPECS["linear"]), "linear")

    with pytest.raises(IncompatibleWeights, match=r"2 missing: visual\.hidden"):
        reader.read(families.write(tmp_path, "mlp", tensors))
