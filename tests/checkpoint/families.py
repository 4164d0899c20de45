"""A tiny SigLIP and a tiny Perception Encoder, in the layouts in which they are published.

The sizes of an image tower of timm are in a table of this package, so tests add rows to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.checkpoint.forms import (
    Tensors,
    open_clip_preprocess,
    open_clip_text,
    write_json,
)
from tests.tokenizers import training
from zeroshot.checkpoint.layouts import timm
from zeroshot.checkpoint.layouts.open_clip_tokenizers import siglip_tokenizer
from zeroshot.nn.network import Network
from zeroshot.spec import (
    NetworkConfig,
    PreprocessConfig,
    Spec,
    TextConfig,
    ViTConfig,
)

HALF = (0.5, 0.5, 0.5)
BIAS = -3.5  # of the logits
LENGTH = 8  # tokens of a text
VOCABULARY = 400
SIGLIP_IMAGE = ViTConfig(
    image_size=32,
    patch_size=8,
    width=48,
    layers=2,
    heads=3,
    mlp_width=80,
    activation="gelu_tanh",
    eps=1e-6,
    class_token=False,
    patch_bias=True,
    pre_norm=False,
    pool="attention",
    pool_heads=3,
    pool_mlp_width=80,
    projection="none",
)
SIGLIP_TEXT = TextConfig(
    context_length=LENGTH,
    vocab_size=VOCABULARY,
    width=32,
    layers=2,
    heads=2,
    mlp_width=64,
    activation="gelu_tanh",
    eps=1e-6,
    causal=False,
    pool="last",
    projection="biased",
)
SIGLIP = Spec(
    NetworkConfig(48, SIGLIP_IMAGE, SIGLIP_TEXT, logit_bias=True),
    PreprocessConfig(32, HALF, HALF, "bicubic", "squash"),
    scoring="sigmoid",
    tokenizer=siglip_tokenizer(LENGTH, VOCABULARY),
)
PE_IMAGE = ViTConfig(
    image_size=32,
    patch_size=8,
    width=64,
    layers=2,
    heads=2,
    mlp_width=96,
    activation="gelu",
    pool="attention",
    pool_heads=8,
    pool_mlp_width=256,
    projection="biased",
    rotary="xy",
    rotary_start=1,
)
PE_IMAGE_WITHOUT_CLASS = replace(PE_IMAGE, class_token=False, rotary_start=0)
PE_TEXT = TextConfig(12, 49408, 32, 1, 2, 128, "gelu")
PE = Spec(
    NetworkConfig(24, PE_IMAGE, PE_TEXT), PreprocessConfig(32, HALF, HALF, "bilinear", "squash")
)
PE_WITHOUT_CLASS = replace(PE, network=replace(PE.network, vision=PE_IMAGE_WITHOUT_CLASS))
TOWERS = {
    "vit_tiny_patch8_siglip": SIGLIP_IMAGE,
    "vit_pe_core_test_patch8": PE_IMAGE,
    "vit_pe_core_plain_patch8": PE_IMAGE_WITHOUT_CLASS,
}


@cache
def vocabulary() -> bytes:
    """A small SentencePiece model with the special ids of SigLIP."""
    return training.train(**training.SIGLIP | {"size": VOCABULARY - 20})


def tensors_of(spec: Spec, seed: int = 11) -> Tensors:
    """Draw weights whose embeddings differ clearly from input to input."""
    random = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        state = Network(spec.network).state_dict()
    tensors: Tensors = {}
    for name, empty in state.items():
        if not empty.is_floating_point():
            continue
        values = torch.randn(empty.shape, generator=random)
        if name.endswith("running_var"):
            values = 0.5 + values.abs()
        elif ".ln" in name or ".bn" in name:
            values = 0.1 * values + name.endswith("weight")
        elif empty.ndim >= 2 and "embedding" not in name:
            values /= empty[0].numel() ** 0.5
        elif empty.ndim == 1 and name.endswith("bias"):
            values *= 0.1
        tensors[name] = values.contiguous()
    tensors["logit_scale"] = torch.tensor(2.5)
    if spec.network.logit_bias:
        tensors["logit_bias"] = torch.tensor(BIAS)
    return tensors


def _renamed(name: str, pairs: Iterable[tuple[str, str]]) -> str:
    for ours, theirs in pairs:
        name = name.replace(ours, theirs)
    return name


# ---- the layout of transformers

HUGGINGFACE = (
    ("visual.attn_pool.probe", "vision_model.head.probe"),
    ("visual.attn_pool.in_proj_", "vision_model.head.attention.in_proj_"),
    ("visual.attn_pool.out_proj.", "vision_model.head.attention.out_proj."),
    ("visual.attn_pool.ln.", "vision_model.head.layernorm."),
    ("visual.attn_pool.mlp.c_fc.", "vision_model.head.mlp.fc1."),
    ("visual.attn_pool.mlp.c_proj.", "vision_model.head.mlp.fc2."),
    ("visual.conv1.", "vision_model.embeddings.patch_embedding."),
    ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
    ("visual.ln_post.", "vision_model.post_layernorm."),
    ("visual.transformer.resblocks.", "vision_model.encoder.layers."),
    ("text.token_embedding.", "text_model.embeddings.token_embedding."),
    ("text.positional_embedding", "text_model.embeddings.position_embedding.weight"),
    ("text.ln_final.", "text_model.final_layer_norm."),
    ("text.transformer.resblocks.", "text_model.encoder.layers."),
    ("text.text_projection_bias", "text_model.head.bias"),
    ("text.text_projection", "text_model.head.weight"),
    (".ln_1.", ".layer_norm1."),
    (".ln_2.", ".layer_norm2."),
    (".attn.out_proj.", ".self_attn.out_proj."),
    (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
)


def huggingface(tensors: Tensors) -> Tensors:
    renamed: Tensors = {}
    for name, tensor in tensors.items():
        theirs = _renamed(name, HUGGINGFACE)
        if name.startswith("logit_"):
            tensor = tensor.reshape(1)
        elif name == "text.text_projection":
            tensor = tensor.T.contiguous()
        elif name.endswith("probe"):
            tensor = tensor.reshape(1, 1, -1)
        if ".attn.in_proj_" in theirs:
            stem, kind = theirs.split(".attn.in_proj_")
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                renamed[f"{stem}.self_attn.{letter}_proj.{kind}"] = part.clone()
        else:
            renamed[theirs] = tensor
    return renamed


def huggingface_config(spec: Spec = SIGLIP) -> dict[str, Any]:
    vision, text = spec.network.vision, spec.network.text
    assert isinstance(vision, ViTConfig)
    assert isinstance(text, TextConfig)

    def tower(config: ViTConfig | TextConfig) -> dict[str, Any]:
        return {
            "hidden_size": config.width,
            "num_hidden_layers": config.layers,
            "num_attention_heads": config.heads,
            "intermediate_size": config.mlp_width,
            "layer_norm_eps": config.eps,
            "hidden_act": {"gelu_tanh": "gelu_pytorch_tanh"}.get(config.activation, "gelu"),
        }

    return {
        "model_type": "siglip",
        "vision_config": tower(vision)
        | {"image_size": vision.image_size, "patch_size": vision.patch_size},
        "text_config": tower(text)
        | {
            "max_position_embeddings": text.context_length,
            "vocab_size": text.vocab_size,
            "projection_size": spec.network.embed_dim,
        },
    }


def huggingface_preprocess(spec: Spec = SIGLIP) -> dict[str, Any]:
    size = spec.preprocess.size
    return {
        "image_processor_type": "SiglipImageProcessor",
        "size": {"height": size, "width": size},
        "image_mean": list(spec.preprocess.mean),
        "image_std": list(spec.preprocess.std),
        "resample": 3,
    }


def write_transformers(folder: Path, spec: Spec = SIGLIP, tensors: Tensors | None = None) -> Path:
    """Write SigLIP as `SiglipModel.save_pretrained` and the tokenizer's file."""
    tensors = tensors_of(spec) if tensors is None else tensors
    folder.mkdir(exist_ok=True)
    save_file(huggingface(tensors), folder / "model.safetensors", {"format": "pt"})
    write_json(folder / "config.json", huggingface_config(spec))
    write_json(folder / "preprocessor_config.json", huggingface_preprocess(spec))
    (folder / "spiece.model").write_bytes(vocabulary())
    return folder


# ---- the layout of open_clip, with a tower of timm

TIMM = (
    ("visual.conv1.", "patch_embed.proj."),
    ("visual.class_embedding", "cls_token"),
    ("visual.positional_embedding", "pos_embed"),
    ("visual.ln_pre.", "norm_pre."),
    ("visual.ln_post.", "norm."),
    ("visual.transformer.resblocks.", "blocks."),
    ("visual.attn_pool.probe", "attn_pool.latent"),
    ("visual.attn_pool.out_proj.", "attn_pool.proj."),
    ("visual.attn_pool.ln.", "attn_pool.norm."),
    ("visual.attn_pool.mlp.", "attn_pool.mlp."),
    ("visual.proj_bias", "head.bias"),
    ("visual.proj", "head.weight"),
    (".ln_1.", ".norm1."),
    (".ln_2.", ".norm2."),
    (".attn.in_proj_", ".attn.qkv."),
    (".attn.out_proj.", ".attn.proj."),
    (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
)


def timm_tensors(tensors: Tensors) -> Tensors:
    """Rename the image tower as timm does, and a biased text projection as open_clip."""
    renamed: Tensors = {}
    for name, tensor in tensors.items():
        if name.startswith("visual.attn_pool.in_proj_"):
            kind = name.rpartition("_")[2]
            width = len(tensor) // 3
            renamed[f"{timm.PREFIX}attn_pool.q.{kind}"] = tensor[:width].clone()
            renamed[f"{timm.PREFIX}attn_pool.kv.{kind}"] = tensor[width:].clone()
        elif name.startswith("visual."):
            if name.endswith(("class_embedding", "probe")):
                tensor = tensor.reshape(1, 1, -1)
            elif name == "visual.positional_embedding":
                tensor = tensor[None]
            elif name == "visual.proj":
                tensor = tensor.T.contiguous()
            renamed[timm.PREFIX + _renamed(name, TIMM)] = tensor
        elif name == "text.text_projection" and "text.text_projection_bias" in tensors:
            renamed["text.text_projection.weight"] = tensor.T.contiguous()
        else:
            renamed[name.replace("projection_bias", "projection.bias")] = tensor
    return renamed


def open_clip_config(spec: Spec = SIGLIP, tower: str = "vit_tiny_patch8_siglip") -> dict[str, Any]:
    vision, text = spec.network.vision, spec.network.text
    assert isinstance(vision, ViTConfig)
    model: dict[str, Any] = {
        "embed_dim": spec.network.embed_dim,
        "custom_text": True,
        "vision_cfg": {
            "image_size": vision.image_size,
            "timm_model_name": tower,
            "timm_model_pretrained": False,
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": open_clip_text(text)
        | {
            "mlp_ratio": text.mlp_width / text.width,
            "norm_kwargs": {"eps": text.eps},
        },
    }
    if spec.tokenizer is not None:
        model |= {"init_logit_bias": -10}
        model["text_cfg"] |= {
            "hf_tokenizer_name": "timm/ViT-B-16-SigLIP",
            "tokenizer_kwargs": {"clean": "canonicalize"},
            "no_causal_mask": True,
            "proj_bias": True,
            "pool_type": "last",
            "act_kwargs": {"approximate": "tanh"},
        }
    return {
        "model_cfg": model,
        "preprocess_cfg": open_clip_preprocess(spec),
    }


def write_open_clip(
    folder: Path,
    spec: Spec = SIGLIP,
    tower: str = "vit_tiny_patch8_siglip",
    tensors: Tensors | None = None,
) -> Path:
    """Write a checkpoint whose image tower is timm's, and the tokenizer's file if it has one."""
    tensors = tensors_of(spec) if tensors is None else tensors
    folder.mkdir(exist_ok=True)
    save_file(timm_tensors(tensors), folder / "open_clip_model.safetensors", {"format": "pt"})
    write_json(folder / "open_clip_config.json", open_clip_config(spec, tower))
    if spec.tokenizer is not None:
        (folder / "spiece.model").write_bytes(vocabulary())
    return folder


def sha256_of_vocabulary() -> str:
    return hashlib.sha256(vocabulary()).hexdigest()
