"""Apple's own files of MobileCLIP: sizes by shapes, and the same model as in open_clip's layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import zeroshot
from tests.checkpoint import families_eva, families_fastvit
from tests.checkpoint import families_mobileclip as families
from tests.checkpoint.forms import Tensors
from tests.support import photograph
from zeroshot import catalog
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.layouts import mobileclip, timm, timm_fastvit
from zeroshot.errors import IncompatibleWeights

FASTVIT, VIT = families.SPECS


@pytest.fixture(autouse=True)
def _tiny_towers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(timm_fastvit.TOWERS, FASTVIT, families_fastvit.SMALL)
    monkeypatch.setitem(timm.TOWERS, VIT, families_eva.MOBILECLIP_B)


def tensors_of(tower: str) -> Tensors:
    return families.apple_names(families.open_clip_tensors(tower))


@pytest.mark.parametrize("tower", families.SPECS)
def test_model_equals_that_of_the_layout_of_open_clip(tower: str, tmp_path: Path) -> None:
    folder = families.write_open_clip(tmp_path / "oc", tower)
    path = families.write(tmp_path / "mobileclip.pt", tower)

    first, second = (zeroshot.load(each, device="cpu", dtype="float32") for each in (path, folder))

    assert (first.identity, first.spec) == (second.identity, second.spec)
    for encode, values in (
        ("encode_image", [photograph(seed=1), photograph(seed=2)]),
        ("encode_text", ["a cat", "two dogs in the snow"]),
    ):
        found, expected = (getattr(model, encode)(values) for model in (first, second))
        assert torch.equal(found, expected)
        assert float((found[0] - found[1]).norm()) > 1e-2


@pytest.mark.parametrize("tower", families.SPECS)
def test_network_is_that_of_the_published_size(tower: str, tmp_path: Path) -> None:
    found = reader.read(families.write(tmp_path / "mobileclip.pt", tower))

    assert (found.spec, found.layout) == (families.SPECS[tower], "mobileclip")
    assert found.spec.network.text.causal == (tower == VIT)


@pytest.mark.parametrize(
    ("name", "tower"),
    [
        ("MobileCLIP-S1", "fastvit_mci1"),
        ("MobileCLIP-S2", "fastvit_mci2"),
        ("MobileCLIP-B", "vit_base_mci"),
    ],
)
def test_published_sizes_have_different_widths_or_layers(name: str, tower: str) -> None:
    entry = catalog.find(name)
    towers: dict[str, Any] = timm_fastvit.TOWERS | {
        each: found for each, found in timm.TOWERS.items() if found.stem == "convolutions"
    }
    sizes = [(each.width, each.layers) for each in towers.values()]

    assert len(sizes) == len(set(sizes))
    assert entry.published.model_cfg is not None
    assert entry.published.model_cfg["vision_cfg"]["timm_model_name"].startswith(tower)
    text = entry.published.model_cfg["text_cfg"]
    assert text["no_causal_mask"] == name.startswith("MobileCLIP-S")
    assert (text["heads"] * 64, text["layers"]) == (text["width"], 12)
    assert entry.published.preprocess.mean == (0.0, 0.0, 0.0)
    if name != "MobileCLIP-B":  # whose positions say it
        assert entry.image_size == timm_fastvit.TOWERS[tower].image_size


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "module", "clip"])
def test_prefix_of_a_training_script_is_removed(wrapper: str, tmp_path: Path) -> None:
    content: Any = tensors_of(VIT)
    if wrapper in ("module", "clip"):
        content = {f"{wrapper}.{name}": tensor for name, tensor in content.items()}
    else:
        content = {wrapper: content, "epoch": 3}

    found = reader.read(families.write(tmp_path / "mobileclip.pt", VIT, content))

    assert found.layout == "mobileclip"


@pytest.mark.parametrize(
    ("tower", "name", "what"),
    [
        (FASTVIT, "image_encoder.model.head.proj", r"visual\.proj"),
        (FASTVIT, "image_encoder.model.network.6.pe.bias", "'bias' is missing"),
        (FASTVIT, "image_encoder.model.network.7.0.layer_scale_2", "gamma' is missing"),
        (
            FASTVIT,
            "image_encoder.model.network.1.proj.0.lkb_origin.bn.running_var",
            r"large_conv\.bn\.running_var' is missing",
        ),
        (FASTVIT, "text_encoder.projection_layer", r"text\.text_projection"),
        (VIT, "image_encoder.model.cls_token", r"visual\.class_embedding"),
        (VIT, "image_encoder.model.pos_embed.pos_embed.pos_embed", "positional_embedding"),
        (VIT, "text_encoder.positional_embedding.pos_embed.pos_embed", "positional_embedding"),
        (VIT, "image_encoder.model.classifier.proj", r"visual\.proj"),
        (VIT, "text_encoder.transformer.1.pre_norm_mha.0.weight", r"resblocks\.1\.ln_1\.weight"),
    ],
)
def test_missing_tensor_is_an_error_that_names_it(
    tower: str, name: str, what: str, tmp_path: Path
) -> None:
    tensors = tensors_of(tower)
    del tensors[name]

    with pytest.raises(IncompatibleWeights, match=what) as caught:
        reader.read(families.write(tmp_path / "mobileclip.pt", tower, tensors))

    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("shape", [(3,), (), (0, 64), (2, 2, 2, 2)])
@pytest.mark.parametrize(
    ("tower", "name"),
    [
        (FASTVIT, "image_encoder.model.patch_embed.0.rbr_conv.0.conv.weight"),
        (FASTVIT, "image_encoder.model.network.0.0.token_mixer.layer_scale"),
        (FASTVIT, "image_encoder.model.head.proj"),
        (VIT, "image_encoder.model.pos_embed.pos_embed.pos_embed"),
        (VIT, "image_encoder.model.patch_emb.2.block.conv.weight"),
        (VIT, "text_encoder.projection_layer"),
        (VIT, "text_encoder.positional_embedding.pos_embed.pos_embed"),
    ],
)
def test_tensor_of_another_shape_is_an_error(
    tower: str, name: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    tensors = tensors_of(tower) | {name: torch.zeros(shape)}

    with pytest.raises(IncompatibleWeights) as caught:
        reader.read(families.write(tmp_path / "mobileclip.pt", tower, tensors))

    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "name", ["image_encoder.model.adapter", "text_encoder.gate", "image_encoder.scale", "extra"]
)
def test_unknown_tensor_is_an_error(name: str, tmp_path: Path) -> None:
    tensors = tensors_of(VIT) | {name: torch.zeros(3)}

    with pytest.raises(IncompatibleWeights, match="1 unexpected"):
        reader.read(families.write(tmp_path / "mobileclip.pt", VIT, tensors))


@pytest.mark.parametrize(
    "name", ["image_encoder.model.head.fc.weight", "text.ln_final.weight", "text.text_projection"]
)
def test_two_tensors_with_one_name_are_an_error(name: str, tmp_path: Path) -> None:
    tensors = tensors_of(FASTVIT) | {name: torch.zeros(24, 24)}

    with pytest.raises(IncompatibleWeights, match="two tensors, one of them") as caught:
        reader.read(families.write(tmp_path / "mobileclip.pt", FASTVIT, tensors))

    assert len(str(caught.value)) < 600


def test_s0_is_refused_by_name_because_its_text_encoder_is_convolutional(tmp_path: Path) -> None:
    tensors = tensors_of(FASTVIT)
    tensors["text_encoder.transformer.0.token_mixer.layer_scale"] = torch.zeros(64, 1, 1, 1)

    with pytest.raises(IncompatibleWeights, match="MobileCLIP-S0 in Apple's own format") as caught:
        reader.read(families.write(tmp_path / "mobileclip_s0.pt", FASTVIT, tensors))

    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(("tower", "table"), [(FASTVIT, timm_fastvit.TOWERS), (VIT, timm.TOWERS)])
def test_unknown_size_is_rejected_because_its_heads_are_unknown(
    tower: str, table: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(table, tower, replace(table[tower], width=table[tower].width * 2))

    with pytest.raises(IncompatibleWeights, match=r"sizes of MobileCLIP \(S1, S2, B\)") as caught:
        reader.read(families.write(tmp_path / "mobileclip.pt", tower))

    assert len(str(caught.value)) < 600


def test_file_without_one_tower_is_not_recognized() -> None:
    names = tensors_of(VIT).keys()

    for prefix in (mobileclip.IMAGE, mobileclip.TEXT):
        rest = {name for name in names if not name.startswith(prefix)}
        assert not mobileclip.LAYOUT.recognizes(rest, {})
    assert mobileclip.LAYOUT.recognizes(names, {})
