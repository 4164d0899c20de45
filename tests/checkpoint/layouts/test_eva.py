"""Original files of EVA-CLIP: sizes by shapes, and the same model as in open_clip's layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import zeroshot
from tests.checkpoint import families_eva_own as families
from tests.checkpoint.forms import Tensors
from tests.support import photograph
from zeroshot import catalog
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.layouts import eva, timm
from zeroshot.errors import IncompatibleWeights

EVA02, EVA01, ENORMOUS = families.TOWERS


@pytest.fixture(autouse=True)
def _tiny_towers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, config in families.TOWERS.items():
        monkeypatch.setitem(timm.TOWERS, name, config)


def tensors_of(tower: str) -> Tensors:
    return families.own_names(families.open_clip_tensors(tower))


@pytest.mark.parametrize("tower", families.SPECS)
def test_model_equals_that_of_the_layout_of_open_clip(tower: str, tmp_path: Path) -> None:
    folder = families.write_open_clip(tmp_path / "oc", tower)
    path = families.write(tmp_path / "EVA_CLIP.pt", tower)

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
    found = reader.read(families.write(tmp_path / "EVA_CLIP.pt", tower))

    assert (found.spec, found.layout) == (families.SPECS[tower], "eva")


def test_published_towers_have_different_shapes() -> None:
    sizes = [
        (each.patch_size, each.width, each.layers, each.mlp_width)
        for name, each in timm.TOWERS.items()
        if name.startswith(eva.TOWERS) and name not in families.TOWERS
    ]

    assert len(set(sizes)) == 4  # two names mean the same tower
    assert len(sizes) == 5


@pytest.mark.parametrize(
    "name",
    [
        *("EVA01-g-14", "EVA01-g-14-plus", "EVA02-B-16", "EVA02-L-14", "EVA02-L-14-336"),
        *("EVA02-E-14", "EVA02-E-14-plus"),
    ],
)
def test_published_texts_have_heads_of_64_channels_and_pixels_are_those_of_openai(
    name: str,
) -> None:
    published = catalog.find(name).published

    assert published.model_cfg is not None
    text = published.model_cfg["text_cfg"]
    assert text["heads"] * 64 == text["width"]
    assert published.model_cfg.get("quick_gelu", False) is False
    assert published.preprocess == replace(
        families.SPECS[EVA01].preprocess, size=published.preprocess.size
    )


@pytest.mark.parametrize("wrapper", ["module", "model", "state_dict", "clip"])
def test_prefix_of_a_training_script_is_removed(wrapper: str, tmp_path: Path) -> None:
    content: Any = tensors_of(EVA02)
    if wrapper == "clip":
        content = {f"{wrapper}.{name}": tensor for name, tensor in content.items()}
    else:
        content = {wrapper: content, "epoch": 3}

    assert reader.read(families.write(tmp_path / "EVA.pt", EVA02, content)).layout == "eva"


def test_text_tower_has_its_prefix_or_not(tmp_path: Path) -> None:
    tensors = tensors_of(EVA02)
    plain = {name.removeprefix("text."): tensor for name, tensor in tensors.items()}
    moved = {n.replace("logit_scale", "text.logit_scale"): each for n, each in tensors.items()}

    identities = {
        zeroshot.load(families.write(tmp_path / f"{n}.pt", EVA02, each), device="cpu").identity
        for n, each in enumerate((tensors, plain, moved))
    }

    assert len(identities) == 1
    assert "token_embedding.weight" in plain


def test_tables_of_rotary_positions_are_computed_and_not_read(tmp_path: Path) -> None:
    tensors = tensors_of(EVA02)
    rotary = [name for name in tensors if "rope" in name]
    rest = {name: tensor for name, tensor in tensors.items() if name not in rotary}

    found = reader.read(families.write(tmp_path / "EVA.pt", EVA02, rest))

    assert len(rotary) == 2 + 2 * 3
    assert found.spec == families.SPECS[EVA02]


@pytest.mark.parametrize(
    ("tower", "name", "what"),
    [
        (EVA02, "visual.blocks.1.mlp.w1.weight", r"1 missing: .*mlp\.c_gate\.weight"),
        (EVA02, "visual.blocks.0.mlp.w2.weight", r"resblocks\.0\.mlp\.c_fc\.weight"),
        (EVA02, "visual.blocks.1.mlp.ffn_ln.bias", r"mlp\.ln\.bias"),
        (EVA02, "visual.blocks.1.attn.inner_attn_ln.weight", r"attn\.ln\.weight"),
        (EVA01, "visual.blocks.1.attn.q_bias", r"in_proj_bias"),
        (EVA01, "visual.blocks.1.attn.v_bias", r"in_proj_bias"),
        (ENORMOUS, "visual.pos_embed", r"positional_embedding"),
        (ENORMOUS, "visual.head.weight", r"visual\.proj"),
        (ENORMOUS, "text.text_projection", r"text\.text_projection"),
        (ENORMOUS, "logit_scale", "1 missing: logit_scale"),
    ],
)
def test_missing_tensor_is_an_error_that_names_it(
    tower: str, name: str, what: str, tmp_path: Path
) -> None:
    tensors = tensors_of(tower)
    del tensors[name]

    with pytest.raises(IncompatibleWeights, match=what) as caught:
        reader.read(families.write(tmp_path / "EVA.pt", tower, tensors))

    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("shape", [(3,), (), (0, 64), (2, 2, 2, 2)])
@pytest.mark.parametrize(
    "name",
    [
        *("visual.patch_embed.proj.weight", "visual.pos_embed", "visual.head.weight"),
        *("visual.cls_token", "visual.blocks.0.mlp.w2.weight", "visual.blocks.1.attn.q_bias"),
        *("visual.blocks.1.attn.q_proj.weight", "text.text_projection"),
        *("text.positional_embedding", "text.token_embedding.weight"),
    ],
)
def test_tensor_of_another_shape_is_an_error(
    name: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    tensors = tensors_of(EVA02) | {name: torch.zeros(shape)}

    with pytest.raises(IncompatibleWeights) as caught:
        reader.read(families.write(tmp_path / "EVA.pt", EVA02, tensors))

    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "name", ["visual.blocks.0.gamma_1", "visual.fc_norm.weight", "visual.rope.scale", "extra"]
)
def test_unknown_tensor_is_an_error(name: str, tmp_path: Path) -> None:
    tensors = tensors_of(EVA02) | {name: torch.zeros(3)}

    with pytest.raises(IncompatibleWeights, match="1 unexpected"):
        reader.read(families.write(tmp_path / "EVA.pt", EVA02, tensors))


@pytest.mark.parametrize("name", ["text.logit_scale", "text_projection"])
def test_two_tensors_with_one_name_are_an_error(name: str, tmp_path: Path) -> None:
    tensors = tensors_of(EVA02) | {name: torch.zeros(())}

    with pytest.raises(IncompatibleWeights, match="two tensors, one of them"):
        reader.read(families.write(tmp_path / "EVA.pt", EVA02, tensors))


def test_unknown_size_is_rejected_because_its_heads_are_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(timm.TOWERS, EVA02)

    with pytest.raises(
        IncompatibleWeights, match=r"sizes of EVA-CLIP .* width 64, 3 layers"
    ) as caught:
        reader.read(families.write(tmp_path / "EVA.pt", EVA02))

    assert len(str(caught.value)) < 600


def test_file_without_one_tower_is_not_recognized() -> None:
    names = tensors_of(EVA02).keys()

    for prefix in ("visual.", "text."):
        rest = {name for name in names if not name.startswith(prefix)}
        assert not eva.LAYOUT.recognizes(rest, {})
    assert eva.LAYOUT.recognizes(names, {})
