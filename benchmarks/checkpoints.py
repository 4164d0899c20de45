"""Seeded checkpoints in formats that zeroshot and other libraries read, with the same weights.

They are written without the other libraries. Speed does not depend on the weights, but agreement
does: they are generated so that different inputs get clearly different embeddings
(`zeroshot.bench.draw`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from table import Run
from torch import Tensor

from zeroshot.diagnostics.bench import BASE, draw, random_pixels
from zeroshot.nn.network import Network
from zeroshot.spec import (
    OPENAI_MEAN,
    OPENAI_STD,
    NetworkConfig,
    ResNetConfig,
    TextConfig,
    ViTConfig,
)
from zeroshot.tokenizers.clip import END, START, ClipTokenizer

VOCABULARY = 49_408  # size of CLIP's vocabulary
WIDE = TextConfig(77, VOCABULARY, 768, 12, 12, 3072, "quick_gelu")
RN50_TEXT = TextConfig(77, VOCABULARY, 512, 12, 8, 2048, "quick_gelu")
FULL = {  # paper, appendix F
    "ViT-B/32": BASE,
    "ViT-B/16": NetworkConfig(512, ViTConfig(224, 16, 768, 12, 12, 3072, "quick_gelu"), BASE.text),
    "ViT-L/14": NetworkConfig(768, ViTConfig(224, 14, 1024, 24, 16, 4096, "quick_gelu"), WIDE),
    "RN50": NetworkConfig(1024, ResNetConfig(224, 64, (3, 4, 6, 3), 32), RN50_TEXT),
}
TINY_TEXT = TextConfig(77, VOCABULARY, 64, 2, 1, 256, "quick_gelu")
TINY_VIT = NetworkConfig(32, ViTConfig(32, 8, 64, 2, 1, 256, "quick_gelu"), TINY_TEXT)
TINY = dict.fromkeys(("ViT-B/32", "ViT-B/16", "ViT-L/14"), TINY_VIT) | {
    "RN50": NetworkConfig(32, ResNetConfig(64, 8, (1, 1, 1, 1), 4), TINY_TEXT)
}
TO_HUGGINGFACE = (
    (r"^visual\.class_embedding$", "vision_model.embeddings.class_embedding"),
    (r"^visual\.conv1\.", "vision_model.embeddings.patch_embedding."),
    (r"^visual\.positional_embedding$", "vision_model.embeddings.position_embedding.weight"),
    (r"^visual\.ln_pre\.", "vision_model.pre_layrnorm."),  # spelled like this in the files
    (r"^visual\.ln_post\.", "vision_model.post_layernorm."),
    (r"^visual\.transformer\.resblocks\.", "vision_model.encoder.layers."),
    (r"^visual\.proj$", "visual_projection.weight"),
    (r"^text\.token_embedding\.", "text_model.embeddings.token_embedding."),
    (r"^text\.positional_embedding$", "text_model.embeddings.position_embedding.weight"),
    (r"^text\.ln_final\.", "text_model.final_layer_norm."),
    (r"^text\.transformer\.resblocks\.", "text_model.encoder.layers."),
    (r"^text\.text_projection$", "text_projection.weight"),
    (r"\.ln_([12])\.", r".layer_norm\1."),
    (r"\.attn\.", ".self_attn."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)


def config(run: Run, name: str) -> NetworkConfig:
    """Return the network with this name, or its tiny substitute."""
    return run.size(FULL, TINY)[name]


def transformers_folder(run: Run, name: str) -> Path:
    """Return a folder in the format of transformers' CLIPModel; create it if missing."""
    return _made(run.work / f"{name.replace('/', '-')}-transformers", config(run, name), _write_hf)


def open_clip_folder(run: Run, name: str) -> Path:
    """Return a folder in open_clip's format with OpenAI's names; create it if missing."""
    return _made(run.work / f"{name.replace('/', '-')}-open_clip", config(run, name), _write_open)


def _made(folder: Path, network: NetworkConfig, write: object) -> Path:
    if not folder.is_dir():
        part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
        part.mkdir()
        try:
            write(part, network)  # type: ignore[operator]
            os.replace(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folder


def _write_hf(folder: Path, network: NetworkConfig) -> None:
    vision, text = network.vision, network.text
    assert isinstance(vision, ViTConfig)
    assert isinstance(text, TextConfig)
    save_file(_huggingface(draw(network)), folder / "model.safetensors", {"format": "pt"})
    tower = {"attention_dropout": 0.0, "dropout": 0.0, "layer_norm_eps": 1e-5}
    _json(
        folder / "config.json",
        {
            "architectures": ["CLIPModel"],
            "model_type": "clip",
            "projection_dim": network.embed_dim,
            "logit_scale_init_value": 2.6592,
            "text_config": tower
            | {
                "model_type": "clip_text_model",
                "hidden_act": text.activation,
                "hidden_size": text.width,
                "intermediate_size": text.mlp_width,
                "max_position_embeddings": text.context_length,
                "num_attention_heads": text.heads,
                "num_hidden_layers": text.layers,
                "vocab_size": text.vocab_size,
                "projection_dim": network.embed_dim,
                "bos_token_id": text.vocab_size - 2,
                "eos_token_id": text.vocab_size - 1,
                "pad_token_id": 1,
            },
            "vision_config": tower
            | {
                "model_type": "clip_vision_model",
                "hidden_act": vision.activation,
                "hidden_size": vision.width,
                "intermediate_size": vision.mlp_width,
                "image_size": vision.image_size,
                "num_attention_heads": vision.heads,
                "num_channels": 3,
                "num_hidden_layers": vision.layers,
                "patch_size": vision.patch_size,
                "projection_dim": network.embed_dim,
            },
        },
    )
    size = vision.image_size
    _json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "CLIPImageProcessor",
            "do_resize": True,
            "size": {"shortest_edge": size},
            "resample": 3,
            "do_center_crop": True,
            "crop_size": {"height": size, "width": size},
            "do_rescale": True,
            "do_normalize": True,
            "do_convert_rgb": True,
            "image_mean": OPENAI_MEAN,
            "image_std": OPENAI_STD,
        },
    )
    _write_tokenizer(folder, text.context_length)


def _write_tokenizer(folder: Path, context_length: int) -> None:
    """Write the vocabulary in the format of transformers' CLIPTokenizer."""
    from zeroshot.tokenizers.clip import MERGES, _merges, _symbols

    assert ClipTokenizer().vocab_size == VOCABULARY
    symbols = _symbols(MERGES)
    _json(folder / "vocab.json", {symbol: i for i, symbol in enumerate(symbols)})
    lines = ["#version: 0.2", *_merges()]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")
    _json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "CLIPTokenizer",
            "model_max_length": context_length,
            "bos_token": START,
            "eos_token": END,
            "pad_token": END,
            "unk_token": END,
        },
    )


def _huggingface(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        theirs = name
        for pattern, replacement in TO_HUGGINGFACE:
            theirs = re.sub(pattern, replacement, theirs)
        if name in ("visual.proj", "text.text_projection"):
            tensor = tensor.T
        if ".in_proj_" in theirs:
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                named[re.sub(r"in_proj_(\w+)$", rf"{letter}_proj.\1", theirs)] = part.contiguous()
        else:
            named[theirs] = tensor.contiguous()
    return named


def _write_open(folder: Path, network: NetworkConfig) -> None:
    vision, text = network.vision, network.text
    tensors = draw(network)
    if isinstance(vision, ResNetConfig):
        tensors = _settled(network, tensors)
    tensors = {name.removeprefix("text."): tensor for name, tensor in tensors.items()}
    save_file(tensors, folder / "open_clip_model.safetensors")
    shared = {"image_size": vision.image_size}
    if isinstance(vision, ResNetConfig):
        head_width = vision.width * 32 // vision.heads
        tower = {"layers": vision.layers, "width": vision.width, "head_width": head_width}
    else:
        assert isinstance(vision, ViTConfig)
        tower = {
            "layers": vision.layers,
            "width": vision.width,
            "patch_size": vision.patch_size,
            "head_width": vision.width // vision.heads,
            "mlp_ratio": vision.mlp_width / vision.width,
        }
    _json(
        folder / "open_clip_config.json",
        {
            "model_cfg": {
                "embed_dim": network.embed_dim,
                "quick_gelu": True,
                "vision_cfg": shared | tower,
                "text_cfg": {
                    "context_length": text.context_length,
                    "vocab_size": text.vocab_size,
                    "width": text.width,
                    "heads": text.heads,
                    "layers": text.layers,
                    "mlp_ratio": text.mlp_width / text.width,
                },
            },
            "preprocess_cfg": {"mean": OPENAI_MEAN, "std": OPENAI_STD, "interpolation": "bicubic"},
        },
    )


def _settled(config: NetworkConfig, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Set batch norm statistics from images, so that values stay near one."""
    network = Network(config)
    network.load_state_dict(tensors)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # cumulative mean
    with torch.no_grad():
        network.train().visual(random_pixels(8, config.vision.image_size))
    return network.state_dict()


def _json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1), "utf-8")


def unit(embeddings: Tensor) -> Tensor:
    """L2-normalize rows in float32."""
    return torch.nn.functional.normalize(embeddings.float(), dim=-1)


def agreement(ours: Tensor, theirs: Tensor) -> float:
    """Return the lowest cosine between rows of embeddings."""
    return float((unit(ours) * unit(theirs)).sum(dim=1).min())
