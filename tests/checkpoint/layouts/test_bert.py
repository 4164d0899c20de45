"""BERT encoders as text towers in open_clip's layout: LAION's XLM-R and RoBERTa, BiomedCLIP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.checkpoint import families_bert
from tests.checkpoint.families import tensors_of
from tests.checkpoint.support import changed
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.config_fields import Fields
from zeroshot.checkpoint.layouts import bert, open_clip
from zeroshot.errors import IncompatibleWeights
from zeroshot.spec import BertConfig, Spec

pytestmark = pytest.mark.usefixtures("tiny_berts")
TEXT = "model_cfg.text_cfg."
BOTH = [families_bert.LAION, families_bert.BIOMED]


def named(name: str, **fields: Any) -> BertConfig:
    return bert.read_tower(Fields({"hf_model_name": name, **fields}, "x.json"))


@pytest.mark.parametrize("spec", BOTH, ids=["laion", "biomed"])
def test_every_tensor_is_read_by_its_own_name(spec: Spec, tmp_path: Path) -> None:
    tensors = tensors_of(spec)

    found = reader.read(families_bert.write_open_clip(tmp_path, spec, tensors))

    assert (found.spec, found.layout) == (spec, "open_clip")
    state = found.network.state_dict()
    assert state.keys() == tensors.keys()
    assert [name for name in tensors if not torch.equal(state[name], tensors[name])] == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("roberta-base", (50_265, 768, 12, 12, 3072, 1e-5, 514, 1, 2)),
        ("xlm-roberta-base", (250_002, 768, 12, 12, 3072, 1e-5, 514, 1, 2)),
        ("FacebookAI/xlm-roberta-large", (250_002, 1024, 24, 16, 4096, 1e-5, 514, 1, 2)),
        (
            "microsoft/BiomedNLP-PubMedBERT-base-uncased-abstract",
            (30_522, 768, 12, 12, 3072, 1e-12, 512, 0, 0),
        ),
    ],
)
def test_name_of_a_model_gives_its_sizes(name: str, expected: tuple[Any, ...]) -> None:
    found = named(name)

    numbers = (found.vocab_size, found.width, found.layers, found.heads, found.mlp_width)
    places = (found.eps, found.positions, found.pad, found.first_position)
    assert (*numbers, *places) == expected
    assert (found.context_length, found.pool, found.head) == (77, "mean", "mlp")


@pytest.mark.parametrize("config", bert.BERTS.values(), ids=bert.BERTS)
def test_every_model_of_the_table_is_valid(config: BertConfig) -> None:
    assert list(config.problems()) == []


def test_pool_head_and_length_are_those_of_the_config() -> None:
    options = {"hf_pooler_type": "cls_last_hidden_state_pooler", "context_length": 256}

    found = named("bert-base-uncased", hf_proj_type="linear", **options)

    assert (found.context_length, found.pool, found.head) == (256, "first", "linear")
    assert named("roberta-base", hf_proj_type=None).head == "none"


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("hf_model_name", "google/mt5-base", r"hf_model_name is 'google/mt5-base', expected one"),
        ("hf_model_name", ["roberta-base"], r"hf_model_name is \['roberta-base'\]"),
        ("hf_model_name", None, "'eos' or 'last' with hf_tokenizer_name"),
        ("hf_pooler_type", "cls_pooler", "hf_pooler_type is 'cls_pooler', expected one of mean_p"),
        ("hf_pooler_type", None, "hf_pooler_type is None"),
        ("hf_proj_type", "mean", "hf_proj_type is 'mean', expected one of mlp, linear, null"),
        ("hf_proj_type", None, "text width is 32, expected 24, because it is not projected"),
        ("hf_tokenizer_name", None, "hf_tokenizer_name is None, expected the tokenizer of hf_mod"),
        ("hf_tokenizer_name", "bert-base-uncased", "tokenizer pad is 0, expected 1, which the"),
        ("context_length", 19, "text context_length is 19, expected at most 18, its positions"),
        ("hf_adapter", "x", r"unsupported fields model_cfg\.text_cfg\.hf_adapter"),
        ("embed_cls", True, "embed_cls is True"),
    ],
)
def test_unsupported_value_is_rejected_by_its_field(field: str, value: Any, what: str) -> None:
    with pytest.raises(IncompatibleWeights, match=what) as caught:
        open_clip.from_config(changed(families_bert.open_clip_config(), TEXT + field, value))

    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("timm_pool", "avg", "timm_pool is 'avg', expected '' or 'token'"),
        ("timm_pool", "map", "timm_pool is 'map'"),
        ("timm_proj", "mlp", "timm_proj is 'mlp', expected 'linear'"),
        ("timm_proj", None, "timm_proj is None"),
        ("timm_proj_bias", True, "timm_proj_bias is True"),
    ],
)
def test_other_heads_of_the_image_tower_are_rejected(field: str, value: Any, what: str) -> None:
    document = families_bert.open_clip_config(families_bert.BIOMED)

    with pytest.raises(IncompatibleWeights, match=what):
        open_clip.from_config(changed(document, f"model_cfg.vision_cfg.{field}", value))


def test_incomplete_attention_is_reported_by_its_names(tmp_path: Path) -> None:
    path = families_bert.write_open_clip(tmp_path) / "open_clip_model.safetensors"
    tensors = load_file(path)
    del tensors["text.transformer.encoder.layer.0.attention.self.key.weight"]
    save_file(tensors, path)

    with pytest.raises(IncompatibleWeights, match=r"blocks\.0\.attn\.q_proj\.weight"):
        reader.read(tmp_path)


def test_pooler_that_the_config_does_not_use_is_rejected(tmp_path: Path) -> None:
    path = families_bert.write_open_clip(tmp_path) / "open_clip_model.safetensors"
    tensors = load_file(path) | {"text.transformer.pooler.dense.bias": torch.zeros(32)}
    save_file(tensors, path)

    with pytest.raises(IncompatibleWeights, match=r"1 unexpected: text\.pooler\.dense\.bias"):
        reader.read(tmp_path)
