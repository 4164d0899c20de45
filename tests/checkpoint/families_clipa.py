"""A tiny CLIPA in the layout of open_clip, with a vocabulary of BERT."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from tests.checkpoint import families, forms
from tests.checkpoint.forms import Tensors, write_json
from zeroshot.spec import (
    NetworkConfig,
    PreprocessConfig,
    Spec,
    TextConfig,
    TokenizerConfig,
    ViTConfig,
)

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
START, END = 101, 0  # of rows; [SEP] is replaced by the id of padding
LENGTH = 12
VISION = ViTConfig(
    image_size=32,
    patch_size=8,
    width=64,
    layers=2,
    heads=1,
    mlp_width=256,
    activation="gelu",
    pre_norm=False,
    pool="mean",
    norm_after_pool=True,
)
TEXT = TextConfig(
    LENGTH, 400, 32, 2, 2, 128, "gelu", causal=False, pool="last", projection="matrix"
)
CLIPA = Spec(
    NetworkConfig(24, VISION, TEXT),
    PreprocessConfig(32, *IMAGENET, "bilinear", "squash"),
    tokenizer=TokenizerConfig(LENGTH, "whitespace", start=START, end=END, pad=0, full_rows=True),
)
SPECIAL = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}
WORDS = ("a", "photo", "of", "the", "cat", "dog", "river", "##ing", "two", "asleep")


def vocabulary() -> bytes:
    """A vocab.txt with BERT's special ids, a few words and all letters."""
    tokens = [SPECIAL.get(i, f"[unused{i}]") for i in range(104)]
    tokens += [*string.punctuation, *string.digits, *string.ascii_lowercase[1:]]
    tokens += [f"##{letter}" for letter in string.ascii_lowercase + string.digits]
    return "\n".join((*tokens, *WORDS)).encode() + b"\n"


def config(spec: Spec = CLIPA) -> dict[str, Any]:
    document = forms.open_clip_config(spec)
    options = {"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True}
    document["model_cfg"]["vision_cfg"] |= options
    document["model_cfg"]["text_cfg"] |= {
        "hf_tokenizer_name": "bert-base-uncased",
        "tokenizer_kwargs": {"strip_sep_token": True},
        "no_causal_mask": True,
        "pool_type": "last",
    }
    return document


def write(folder: Path, tensors: Tensors | None = None) -> Path:
    """Write a checkpoint; its tensors have OpenAI's names."""
    tensors = families.tensors_of(CLIPA) if tensors is None else tensors
    save_file(forms.openai(tensors), folder / "open_clip_model.safetensors", {"format": "pt"})
    write_json(folder / "open_clip_config.json", config())
    (folder / "vocab.txt").write_bytes(vocabulary())
    return folder
