"""Tiny CLIPs with a BERT as text tower, in the layouts in which they are published.

The sizes of towers that a config only names are in tables of this package, so tests add rows.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.checkpoint import forms
from tests.checkpoint.families import tensors_of, timm_tensors
from tests.checkpoint.forms import Tensors, write_json
from tests.tokenizers import training
from zeroshot.checkpoint.layouts.open_clip_tokenizers import BERT as BERT_ROWS
from zeroshot.checkpoint.layouts.open_clip_tokenizers import PUBMED_BERT, XLM_ROBERTA
from zeroshot.spec import BertConfig, NetworkConfig, PreprocessConfig, Spec, ViTConfig

LENGTH = 12  # tokens of a text
# A vocab.txt whose special tokens have the ids of BERT's; that of PubMed has them at its start
CHINESE = "\n".join(
    [
        *("[PAD]", *(f"[unused{n}]" for n in range(1, 100)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
        *dict.fromkeys(training.TOKENS[len(training.SPECIAL) :]),
    ]
).encode()
ROBERTA = BertConfig(  # LAION's: the mean of the tokens, a head of two layers
    context_length=LENGTH,
    vocab_size=400,
    width=32,
    layers=2,
    heads=2,
    mlp_width=64,
    eps=1e-5,
    positions=20,
    pad=1,
    first_position=2,
    pool="mean",
    head="mlp",
)
BERT = BertConfig(  # BiomedCLIP's: the first token, positions from 0
    context_length=LENGTH,
    vocab_size=300,
    width=48,
    layers=2,
    heads=3,
    mlp_width=80,
    eps=1e-12,
    positions=64,
    pad=0,
    pool="first",
    head="mlp",
)
CLIP_IMAGE = ViTConfig(32, 8, 48, 2, 3, 192, "gelu")
TIMM_IMAGE = replace(CLIP_IMAGE, eps=1e-6, patch_bias=True, pre_norm=False)
LAION = Spec(
    NetworkConfig(24, ViTConfig(32, 8, 64, 2, 1, 256, "quick_gelu"), ROBERTA),
    PreprocessConfig(32),
    tokenizer=replace(XLM_ROBERTA, context_length=LENGTH, cleaning="whitespace"),
)
BIOMED = Spec(
    NetworkConfig(24, TIMM_IMAGE, BERT),
    PreprocessConfig(32),
    tokenizer=replace(PUBMED_BERT, context_length=LENGTH, cleaning="whitespace"),
)
CHINESE_CLIP = Spec(
    NetworkConfig(24, CLIP_IMAGE, replace(BERT, vocab_size=400, context_length=52, head="linear")),
    PreprocessConfig(32, resize_mode="squash"),
    tokenizer=replace(BERT_ROWS, context_length=52),
)
BERTS = {"xlm-roberta-tiny": ROBERTA, "microsoft/tiny-abstract": BERT}
TOWERS = {"vit_tiny_patch8": TIMM_IMAGE}
NAMES = (  # ours, theirs
    ("token_embedding.", "embeddings.word_embeddings."),
    ("positional_embedding", "embeddings.position_embeddings.weight"),
    ("token_type_embedding", "embeddings.token_type_embeddings.weight"),
    ("ln_embed.", "embeddings.LayerNorm."),
    (".attn.out_proj.", ".attention.output.dense."),
    (".ln_1.", ".attention.output.LayerNorm."),
    (".mlp.c_fc.", ".intermediate.dense."),
    (".mlp.c_proj.", ".output.dense."),
    (".ln_2.", ".output.LayerNorm."),
)


def bert_tensors(tensors: Tensors, prefix: str) -> Tensors:
    """Rename the text tower, without its head, as BertModel does; `prefix` is put before."""
    renamed: Tensors = {}
    for name, tensor in tensors.items():
        theirs = re.sub(r"^text\.blocks\.", "encoder.layer.", name).removeprefix("text.")
        for ours, other in NAMES:
            theirs = theirs.replace(ours, other)
        if "token_type" in theirs:
            tensor = torch.stack([tensor, 9 - tensor])  # a second type, which is not used
        if ".attn.in_proj_" not in theirs:
            renamed[prefix + theirs] = tensor
            continue
        stem, kind = theirs.split(".attn.in_proj_")
        for part, values in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
            renamed[f"{prefix}{stem}.attention.self.{part}.{kind}"] = values.clone()
    renamed[f"{prefix}embeddings.position_ids"] = torch.arange(64)[None]  # of old files
    return renamed


def _parts(tensors: Tensors) -> tuple[Tensors, Tensors, Tensors]:
    """Split tensors into those of the encoder of texts, of its head, and others."""
    text = {name: each for name, each in tensors.items() if name.startswith("text.")}
    head = {name: each for name, each in text.items() if "head" in name or "projection" in name}
    encoder = {name: each for name, each in text.items() if name not in head}
    return encoder, head, {n: each for n, each in tensors.items() if n not in text}


# ---- the layout of open_clip


def open_clip_tensors(tensors: Tensors) -> Tensors:
    encoder, head, others = _parts(tensors)
    renamed = bert_tensors(encoder, "text.transformer.")
    for name, tensor in head.items():
        if name == "text.text_projection":
            renamed["text.proj.weight"] = tensor.T.contiguous()
        else:
            name = name.replace("text.head.c_fc.", "text.proj.0.")
            renamed[name.replace("text.head.c_proj.", "text.proj.2.")] = tensor
    if "visual.ln_pre.weight" in others:
        return renamed | others
    renamed |= timm_tensors(others)
    renamed["visual.head.proj.weight"] = renamed.pop("visual.trunk.head.weight")
    return renamed


def open_clip_config(spec: Spec = LAION) -> dict[str, Any]:
    plain = replace(spec, network=replace(spec.network, text=forms.TEXT))
    document = forms.open_clip_config(plain)
    model, timm = document["model_cfg"], spec is not LAION
    model["text_cfg"] = {
        "hf_model_name": "microsoft/tiny-abstract" if timm else "xlm-roberta-tiny",
        "hf_tokenizer_name": "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
        if timm
        else "xlm-roberta-base",
        "hf_pooler_type": "cls_last_hidden_state_pooler" if timm else "mean_pooler",
        "context_length": LENGTH,
    }
    if timm:
        model["text_cfg"]["hf_proj_type"] = "mlp"
        model["vision_cfg"] = {
            "image_size": 32,
            "timm_model_name": "vit_tiny_patch8_32",
            "timm_model_pretrained": False,
            "timm_pool": "",
            "timm_proj": "linear",
        }
    return document


def write_open_clip(folder: Path, spec: Spec = LAION, tensors: Tensors | None = None) -> Path:
    """Write LAION's XLM-R or BiomedCLIP, with the tokenizer's file."""
    tensors = tensors_of(spec) if tensors is None else tensors
    folder.mkdir(exist_ok=True)
    save_file(open_clip_tensors(tensors), folder / "open_clip_model.safetensors")
    write_json(folder / "open_clip_config.json", open_clip_config(spec))
    if spec is LAION:
        (folder / "sentencepiece.bpe.model").write_bytes(training.train(**training.XLM_R))
    else:
        (folder / "vocab.txt").write_bytes(training.VOCABULARY)
    return folder


# ---- the layout of transformers


def huggingface_config() -> dict[str, Any]:
    """Return a config with the fields that the published ones of OFA-Sys have."""
    text = CHINESE_CLIP.network.text
    assert isinstance(text, BertConfig)
    clip = replace(CHINESE_CLIP, network=replace(CHINESE_CLIP.network, text=forms.TEXT))
    return forms.huggingface_config(clip) | {
        "model_type": "chinese_clip",
        "architectures": ["ChineseCLIPModel"],
        "text_config": {
            "architectures": ["ChineseCLIPTextModel"],
            "attention_probs_dropout_prob": 0.1,
            "bos_token_id": 0,
            "directionality": "bidi",
            "eos_token_id": 2,
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.1,
            "hidden_size": text.width,
            "intermediate_size": text.mlp_width,
            "layer_norm_eps": text.eps,
            "max_position_embeddings": text.positions,
            "model_type": "chinese_clip_text_model",
            "num_attention_heads": text.heads,
            "num_hidden_layers": text.layers,
            "output_past": True,
            "pad_token_id": 0,
            "pooler_fc_size": 768,
            "pooler_num_attention_heads": 12,
            "pooler_num_fc_layers": 3,
            "pooler_size_per_head": 128,
            "pooler_type": "first_token_transform",
            "position_embedding_type": "absolute",
            "type_vocab_size": 2,
            "vocab_size": text.vocab_size,
        },
    }


def huggingface_preprocess() -> dict[str, Any]:
    return forms.huggingface_preprocess(CHINESE_CLIP) | {
        "image_processor_type": "ChineseCLIPImageProcessor",
        "size": {"height": 32, "width": 32},
        "do_center_crop": False,
    }


def write_transformers(folder: Path, tensors: Tensors | None = None) -> Path:
    """Write a ChineseCLIPModel, with the tokenizer's file."""
    tensors = tensors_of(CHINESE_CLIP) if tensors is None else tensors
    folder.mkdir(exist_ok=True)
    encoder, head, others = _parts(tensors)
    others |= {"text.positional_embedding": torch.zeros(1, 1)}  # a number for forms' constant
    renamed = forms.huggingface(others)
    del renamed["text_model.embeddings.position_embedding.weight"]
    renamed |= bert_tensors(encoder, "text_model.")
    renamed["text_projection.weight"] = head["text.text_projection"].T.contiguous()
    save_file(renamed, folder / "model.safetensors", {"format": "pt"})
    write_json(folder / "config.json", huggingface_config())
    write_json(folder / "preprocessor_config.json", huggingface_preprocess())
    (folder / "vocab.txt").write_bytes(CHINESE)
    return folder
