"""A tiny MetaCLIP 2, in the layouts of open_clip and transformers."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from safetensors.torch import save_file

from tests.checkpoint import forms
from tests.checkpoint.families import tensors_of
from tests.checkpoint.forms import Tensors, write_json
from tests.tokenizers import training
from zeroshot.spec import (
    NetworkConfig,
    PreprocessConfig,
    Spec,
    TextConfig,
    TokenizerConfig,
    ViTConfig,
)

VOCABULARY = 320
LENGTH = 12
IMAGE = ViTConfig(32, 8, 48, 2, 3, 192, "quick_gelu")
TEXT = TextConfig(LENGTH, VOCABULARY, 32, 2, 2, 128, "quick_gelu", pool="end", end_id=2)
XLM_V = Spec(
    NetworkConfig(40, IMAGE, TEXT),
    PreprocessConfig(32),
    tokenizer=TokenizerConfig(LENGTH, "whitespace", start=0, end=2, pad=1, piece_ids="fairseq"),
)
MT5 = replace(
    XLM_V,
    network=replace(XLM_V.network, text=replace(TEXT, vocab_size=450, end_id=1)),
    tokenizer=TokenizerConfig(LENGTH, "canonicalize", end=1, pad=0),
)
NAMES = {2: "facebook/xlm-v-base", 1: "google/mt5-base"}
FILES = {2: "sentencepiece.bpe.model", 1: "spiece.model"}


@cache
def vocabulary(end: int) -> bytes:
    return training.train(**(training.XLM_R if end == 2 else training.SIGLIP))


def _write_tokenizer(folder: Path, spec: Spec) -> None:
    end = spec.network.text.last_id or 0
    (folder / FILES[end]).write_bytes(vocabulary(end))


def write_open_clip(folder: Path, spec: Spec = XLM_V, tensors: Tensors | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    tensors = tensors_of(spec) if tensors is None else tensors
    save_file(forms.openai(tensors), folder / "open_clip_model.safetensors")
    document = forms.open_clip_config(spec)
    end = spec.network.text.last_id or 0
    document["model_cfg"]["text_cfg"] |= {
        "hf_tokenizer_name": NAMES[end],
        "pool_type": "eos",
        "eos_id": end,
    }
    if end == 1:
        document["model_cfg"]["text_cfg"]["tokenizer_kwargs"] = {"clean": "canonicalize"}
    write_json(folder / "open_clip_config.json", document)
    _write_tokenizer(folder, spec)
    return folder


def write_transformers(folder: Path, spec: Spec = XLM_V, tensors: Tensors | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    tensors = tensors_of(spec) if tensors is None else tensors
    save_file(forms.huggingface(tensors), folder / "model.safetensors", {"format": "pt"})
    document = forms.huggingface_config(spec) | {"model_type": "metaclip_2"}
    document["text_config"]["eos_token_id"] = spec.network.text.last_id
    write_json(folder / "config.json", document)
    write_json(folder / "preprocessor_config.json", forms.huggingface_preprocess(spec))
    _write_tokenizer(folder, spec)
    return folder
