"""Image towers of timm in open_clip's layout: SigLIP and the Perception Encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.checkpoint import families, forms
from tests.checkpoint.forms import write_json
from tests.checkpoint.support import changed
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.config_fields import Fields
from zeroshot.checkpoint.layouts import open_clip, timm
from zeroshot.errors import IncompatibleWeights

pytestmark = pytest.mark.usefixtures("tiny_towers")
NAME = "model_cfg.vision_cfg.timm_model_name"
SIGLIP = families.open_clip_config()


@pytest.mark.parametrize(
    ("spec", "tower"),
    [
        (families.SIGLIP, "vit_tiny_patch8_siglip"),
        (families.PE, "vit_pe_core_test_patch8"),
        (families.PE_WITHOUT_CLASS, "vit_pe_core_plain_patch8"),
    ],
    ids=["siglip", "pe", "pe without class token"],
)
def test_every_tensor_is_read_by_its_own_name(spec: Any, tower: str, tmp_path: Path) -> None:
    tensors = families.tensors_of(spec)
    families.write_open_clip(tmp_path, spec, tower, tensors)

    found = reader.read(tmp_path)

    assert (found.spec, found.layout) == (spec, "open_clip")
    state = found.network.state_dict()
    assert state.keys() == tensors.keys()
    assert [name for name in tensors if not torch.equal(state[name], tensors[name])] == []


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("vit_base_patch16_siglip_224", 224, (768, 12, 16, "gelu")),
        ("vit_base_patch16_siglip_512", 512, (768, 12, 16, "gelu")),
        ("vit_large_patch16_siglip_512", 512, (1024, 24, 16, "gelu_tanh")),
        ("vit_so400m_patch14_siglip_378", 378, (1152, 27, 14, "gelu")),
        ("vit_pe_core_tiny_patch16_384", 384, (192, 12, 16, "gelu")),
    ],
)
def test_name_of_a_tower_gives_its_sizes(name: str, size: int, expected: tuple[Any, ...]) -> None:
    found = open_clip.read_timm_tower(
        Fields({"timm_model_name": name, "image_size": size}, "x.json")
    )

    assert found.image_size == size
    assert (found.width, found.layers, found.patch_size, found.activation) == expected


@pytest.mark.parametrize("config", timm.TOWERS.values(), ids=timm.TOWERS)
def test_every_tower_of_the_table_is_valid(config: Any) -> None:
    assert list(config.resized(16 * config.patch_size).problems()) == []


@pytest.mark.parametrize(
    "name", ["vit_base_patch16_siglip_gap_224", "eva02_base_patch14_224", "resnet50", 5, ["x"]]
)
def test_unknown_tower_is_rejected_by_the_field_name(name: Any) -> None:
    with pytest.raises(IncompatibleWeights, match=r"vision_cfg\.timm_model_name is ") as caught:
        open_clip.from_config(changed(SIGLIP, NAME, name))

    assert "expected a tower of a supported CLIP" in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        ("model_cfg.vision_cfg.timm_pool", "avg", r"timm_pool is 'avg', expected 'map'"),
        ("model_cfg.vision_cfg.image_size", 0, r"image_size is 0"),
        ("model_cfg.vision_cfg.use_rope", True, r"unsupported fields model_cfg\.vision_cfg"),
        ("model_cfg.embed_dim", 40, r"vision width is 48, expected 40, because it is not projec"),
        ("model_cfg.text_cfg.tokenizer_kwargs.clean", "upper", "tokenizer_kwargs.clean is"),
        ("model_cfg.text_cfg.hf_tokenizer_name", None, "tokenizer_kwargs.clean is 'canonicalize'"),
        ("model_cfg.text_cfg.no_causal_mask", None, "text pool is 'last'"),
    ],
)
def test_unsupported_value_of_siglip_is_rejected(path: str, value: Any, what: str) -> None:
    with pytest.raises(IncompatibleWeights, match=what):
        open_clip.from_config(changed(SIGLIP, path, value))


def test_tower_with_other_tensors_than_its_name_says_is_rejected(tmp_path: Path) -> None:
    folder = families.write_open_clip(tmp_path)
    document = families.open_clip_config(tower="vit_pe_core_plain_patch8")
    document["model_cfg"]["embed_dim"] = 48
    write_json(folder / "open_clip_config.json", document)

    with pytest.raises(IncompatibleWeights, match=r"do not match the architecture; \d+ missing"):
        reader.read(folder)


def test_incomplete_attention_pool_is_reported_by_its_names(tmp_path: Path) -> None:
    spec = families.SIGLIP
    tensors = families.timm_tensors(families.tensors_of(spec))
    del tensors["visual.trunk.attn_pool.q.weight"]
    folder = families.write_open_clip(tmp_path)
    save_file(tensors, folder / "open_clip_model.safetensors")

    with pytest.raises(IncompatibleWeights, match=r"attn_pool\.kv\.weight"):
        reader.read(folder)


def test_siglip_without_the_scores_bias_is_scored_by_softmax() -> None:
    spec = open_clip.from_config(changed(SIGLIP, "model_cfg.init_logit_bias", None))

    assert (spec.scoring, spec.network.logit_bias) == ("softmax", False)


def test_plain_clip_with_a_bias_is_scored_by_sigmoid() -> None:
    document = forms.open_clip_config(forms.VIT)
    spec = open_clip.from_config(changed(document, "model_cfg.init_logit_bias", -10))

    assert (spec.scoring, spec.network.logit_bias, spec.tokenizer) == ("sigmoid", True, None)
