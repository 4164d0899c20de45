"""Meta's own files of PE-Core: sizes by shapes, and the same model as in open_clip's layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import zeroshot
from tests.checkpoint import families
from tests.checkpoint.forms import Tensors, openai
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.layouts import perception_encoder, timm
from zeroshot.errors import IncompatibleWeights
from zeroshot.spec import Spec, TextConfig, ViTConfig

pytestmark = pytest.mark.usefixtures("tiny_towers")
TEXT = TextConfig(12, 49408, 64, 1, 1, 256, "gelu")
PE, PE_WITHOUT_CLASS = (
    replace(spec, network=replace(spec.network, text=TEXT))
    for spec in (families.PE, families.PE_WITHOUT_CLASS)
)
SPECS = {"vit_pe_core_test_patch8": PE, "vit_pe_core_plain_patch8": PE_WITHOUT_CLASS}


def own_names(tensors: Tensors) -> Tensors:
    """Rename tensors as `pe.py` of perception_models does; its projection has no bias."""
    renamed: Tensors = {}
    for name, tensor in openai(tensors).items():
        for part in ("in_proj_", "out_proj."):
            name = name.replace(f"attn_pool.{part}", f"attn_pool.attn.{part}")
        name = name.replace("attn_pool.ln.", "attn_pool.layernorm.")
        if name != "visual.proj_bias":
            renamed[name] = tensor.reshape(1, 1, -1) if name.endswith("probe") else tensor
    return renamed


def tensors_of(spec: Spec) -> Tensors:
    tensors = families.tensors_of(spec)
    tensors["visual.proj_bias"] = torch.zeros(spec.network.embed_dim)
    return tensors


def write(path: Path, spec: Spec = PE) -> Path:
    torch.save(own_names(tensors_of(spec)), path)
    return path


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_every_tensor_is_read_by_its_own_name(spec: Spec, tmp_path: Path) -> None:
    tensors = tensors_of(spec)

    found = reader.read(write(tmp_path / "PE-Core.pt", spec))

    assert (found.spec, found.layout) == (spec, "perception_encoder")
    state = found.network.state_dict()
    assert state.keys() == tensors.keys()
    assert [name for name in tensors if not torch.equal(state[name], tensors[name])] == []


@pytest.mark.parametrize(("tower", "spec"), SPECS.items())
def test_identity_is_equal_in_the_layout_of_open_clip(
    tower: str, spec: Spec, tmp_path: Path
) -> None:
    folder = families.write_open_clip(tmp_path / "oc", spec, tower, tensors_of(spec))

    first, second = (
        zeroshot.load(path, device="cpu") for path in (write(tmp_path / "PE.pt", spec), folder)
    )

    assert first.identity == second.identity


@pytest.mark.parametrize("wrapper", ["state_dict", "weights", "module"])
def test_prefix_of_the_training_script_is_removed(wrapper: str, tmp_path: Path) -> None:
    content: Any = own_names(tensors_of(PE))
    if wrapper == "module":
        content = {f"module.{name}": tensor for name, tensor in content.items()}
    torch.save(content if wrapper == "module" else {wrapper: content}, tmp_path / "PE.pt")

    assert reader.read(tmp_path / "PE.pt").spec == PE


# name in perception_models/core/vision_encoder/config.py: patch, width, layers, heads, MLP, class
PUBLISHED = {
    "T16-384": (16, 192, 12, 3, 768, True),
    "S16-384": (16, 384, 12, 6, 1536, True),
    "B16-224": (16, 768, 12, 12, 3072, True),
    "L14-336": (14, 1024, 24, 16, 4096, True),
    "G14-448": (14, 1536, 50, 16, 8960, False),
}


def test_sizes_of_the_table_are_those_that_meta_published() -> None:
    found = {
        (each.patch_size, each.width, each.layers, each.heads, each.mlp_width, each.class_token)
        for name, each in timm.TOWERS.items()
        if name.startswith(perception_encoder.TOWERS) and name not in families.TOWERS
    }

    assert found == set(PUBLISHED.values())


def test_heads_are_those_of_the_published_size_and_not_of_width_64(tmp_path: Path) -> None:
    found = reader.read(write(tmp_path / "PE.pt")).spec.network.vision

    assert isinstance(found, ViTConfig)
    assert (found.width, found.heads) == (64, 2)


def test_unknown_size_is_rejected_because_its_heads_are_unknown(tmp_path: Path) -> None:
    spec = replace(PE, network=replace(PE.network, vision=replace(families.PE_IMAGE, layers=1)))

    with pytest.raises(
        IncompatibleWeights, match=r"sizes of PE-Core .* width 64, 1 layers"
    ) as caught:
        reader.read(write(tmp_path / "PE.pt", spec))

    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "name",
    ["visual.positional_embedding", "text_projection", "ln_final.weight", "visual.proj"],
)
def test_missing_tensor_is_an_error_that_names_it(name: str, tmp_path: Path) -> None:
    tensors = own_names(tensors_of(PE))
    del tensors[name]
    torch.save(tensors, tmp_path / "PE.pt")

    with pytest.raises(IncompatibleWeights, match=name):
        reader.read(tmp_path / "PE.pt")


@pytest.mark.parametrize("shape", [(3,), (), (0, 64), (2, 2, 2, 2)])
@pytest.mark.parametrize(
    "name",
    [
        *("visual.conv1.weight", "visual.proj", "visual.attn_pool.probe", "text_projection"),
        *("visual.positional_embedding", "visual.transformer.resblocks.0.mlp.c_fc.weight"),
    ],
)
def test_tensor_of_another_shape_is_an_error(
    name: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    torch.save(own_names(tensors_of(PE)) | {name: torch.zeros(shape)}, tmp_path / "PE.pt")

    with pytest.raises(IncompatibleWeights):
        reader.read(tmp_path / "PE.pt")
