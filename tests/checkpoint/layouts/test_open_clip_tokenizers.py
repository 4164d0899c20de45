"""Tokenizers that open_clip's configs name become rows of the ids that its HFTokenizer gives."""

from __future__ import annotations

from typing import Any

import pytest

from tests.checkpoint import families
from tests.checkpoint.support import changed
from zeroshot.checkpoint.config_fields import Fields
from zeroshot.checkpoint.layouts import open_clip
from zeroshot.checkpoint.layouts.open_clip_tokenizers import TOKENIZERS, read_tokenizer
from zeroshot.errors import IncompatibleWeights
from zeroshot.spec import TokenizerConfig

CANONICAL = {"clean": "canonicalize"}
STRIPPED = {"strip_sep_token": True}


def read(
    name: Any, options: Any = None, length: int = 77, *, full_rows: bool = False
) -> TokenizerConfig | None:
    content = {"hf_tokenizer_name": name, "tokenizer_kwargs": options}
    fields = Fields(content, "x.json", "model_cfg.text_cfg.")
    return read_tokenizer(fields, length, full_rows=full_rows)


@pytest.mark.parametrize("name", [None, ""])
@pytest.mark.parametrize("options", [None, {}, {"clean": "lower"}, {"strip_sep_token": False}])
def test_config_without_a_name_has_the_tokenizer_of_clip(name: Any, options: Any) -> None:
    assert read(name, options) is None


# name in model_configs/*.json of open_clip; options; start, end, pad
PUBLISHED = (
    ("timm/ViT-B-16-SigLIP", CANONICAL, None, 1, 1),
    ("timm/ViT-B-16-SigLIP-i18n-256", CANONICAL, None, 1, 1),
    ("timm/ViT-B-16-SigLIP2", CANONICAL, None, 1, 0),
    ("timm/ViT-gopt-16-SigLIP2-384", CANONICAL, None, 1, 0),
    ("timm/ViT-SO400M-14-SigLIP2-378", CANONICAL, None, 1, 0),
    ("facebook/xlm-v-base", None, 0, 2, 1),
    ("google/mt5-base", CANONICAL, None, 1, 0),
    ("google/mt5-xl", None, None, 1, 0),
    ("xlm-roberta-base", None, 0, 2, 1),
    ("xlm-roberta-large", None, 0, 2, 1),
    ("roberta-base", None, 0, 2, 1),
    ("bert-base-uncased", STRIPPED, 101, 0, 0),
    ("bert-base-uncased", None, 101, 102, 0),
    ("microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract", None, 2, 3, 0),
)


@pytest.mark.parametrize(
    ("name", "options", "start", "end", "pad"), PUBLISHED, ids=[row[0] for row in PUBLISHED]
)
def test_name_of_a_published_tokenizer_gives_its_special_ids(
    name: str, options: Any, start: int | None, end: int, pad: int
) -> None:
    found = read(name, options, 32)

    assert found is not None
    assert (found.start, found.end, found.pad) == (start, end, pad)
    assert (found.context_length, list(found.problems())) == (32, [])


def test_only_models_of_xlm_roberta_have_the_ids_of_fairseq() -> None:
    fairseq = [name for name, row in TOKENIZERS.items() if row.piece_ids == "fairseq"]

    assert fairseq == ["facebook/xlm-v-base", "xlm-roberta-*", "FacebookAI/xlm-roberta-*"]


@pytest.mark.parametrize("cleaning", ["whitespace", "lower", "canonicalize"])
def test_texts_are_cleaned_as_the_config_says(cleaning: str) -> None:
    found = read("roberta-base", {"clean": cleaning})

    assert found is not None
    assert found.cleaning == cleaning


def test_texts_are_cleaned_of_white_space_by_default_as_in_open_clip() -> None:
    found = read("timm/ViT-B-16-SigLIP")

    assert found is not None
    assert found.cleaning == "whitespace"


@pytest.mark.parametrize("full", [False, True])
def test_rows_are_padded_if_the_text_tower_reads_padding(full: bool) -> None:
    found = read("bert-base-uncased", full_rows=full)

    assert found is not None
    assert found.full_rows is full


@pytest.mark.parametrize(
    "name",
    ["facebook/nllb-200-distilled-600M", "someone/my-siglip", 5, ["roberta-base"], "x" * 999],
)
def test_unknown_tokenizer_is_rejected_by_the_field_with_those_that_are_known(name: Any) -> None:
    with pytest.raises(IncompatibleWeights, match=r"text_cfg\.hf_tokenizer_name is") as caught:
        read(name)

    assert "facebook/xlm-v-base" in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("name", "options", "what"),
    [
        (None, {"clean": "canonicalize"}, "clean is 'canonicalize', expected 'lower'"),
        (None, {"strip_sep_token": True}, "strip_sep_token is True, expected false with CLIP's"),
        (None, {"reduction_mask": "simple"}, "unsupported fields .*tokenizer_kwargs.reduction_"),
        ("roberta-base", {"clean": "upper"}, "clean is 'upper', expected one of whitespace"),
        ("roberta-base", {"clean": ["lower"]}, r"clean is \['lower'\], expected one of"),
        ("roberta-base", {"strip_sep_token": True}, "strip_sep_token is True, expected false"),
        ("bert-base-uncased", {"strip_sep_token": "yes"}, "strip_sep_token is 'yes'"),
        ("bert-base-uncased", {"language": "de"}, "unsupported fields .*language"),
    ],
)
def test_unsupported_option_is_rejected_by_its_field(name: Any, options: Any, what: str) -> None:
    with pytest.raises(IncompatibleWeights, match=what):
        read(name, options)


def test_tokenizer_of_a_tower_that_projects_the_largest_id_is_rejected() -> None:
    config = changed(families.open_clip_config(), "model_cfg.text_cfg.pool_type", "argmax")

    with pytest.raises(IncompatibleWeights, match=r"pool_type is 'argmax', expected 'eos' or"):
        open_clip.from_config(config)
