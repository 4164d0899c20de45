"""SigLIP and PE-Core as transformers and open_clip write them, with a small trained tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import checkpoints
import torch
from checkpoints import Peer
from peers import open_clip, transformers

from tests.tokenizers.training import SIGLIP, train

HALF = (0.5, 0.5, 0.5)
SQUASH = {"mean": list(HALF), "std": list(HALF), "resize_mode": "squash"}
BIAS = -4.0  # of the logits
SHARPER, SHALLOW = 4.0, 3  # factor of queries of texts, in networks of so many layers
SETTINGS = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "pad_token": "</s>"}


def write_tokenizer(folder: Path) -> None:
    (folder / "spiece.model").write_bytes(train(**SIGLIP))
    (folder / "tokenizer_config.json").write_text(json.dumps(SETTINGS))


def siglip_tokenizer(folder: Path, length: int) -> Callable[[Sequence[str]], torch.Tensor]:
    """Return open_clip's tokenizer for SigLIP, with the vocabulary of this folder."""
    tokenizer: Callable[..., torch.Tensor] = open_clip.tokenizer.HFTokenizer(
        str(folder), context_length=length, clean="canonicalize"
    )
    return lambda texts: tokenizer(list(texts))


def write_hf_folder(
    folder: Path, *, text: dict[str, Any], vision: dict[str, Any], seed: int, logit_scale: float
) -> None:
    """Write a SiglipModel folder with save_pretrained, and its tokenizer."""
    model = transformers.SiglipModel(
        transformers.SiglipConfig(text_config=text, vision_config=vision)
    )
    checkpoints.randomize(model, seed, logit_scale=logit_scale)
    adjust(model)
    model.save_pretrained(folder)
    processor(model).save_pretrained(folder)
    write_tokenizer(folder)


def read_hf_folder(folder: Path) -> Peer:
    """Load with transformers. Pixels are those of its processor, as PIL computes them."""
    model = transformers.SiglipModel.from_pretrained(folder, local_files_only=True).eval()
    prepare, text = processor(model), model.config.text_config
    tokenizer = transformers.SiglipTokenizer(str(folder / "spiece.model"))
    options = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}

    def tokenize(texts: Sequence[str]) -> torch.Tensor:
        length = text.max_position_embeddings
        ids: torch.Tensor = tokenizer(list(texts), max_length=length, **options).input_ids
        return ids

    return Peer(
        transform=lambda image: prepare(images=image, return_tensors="pt").pixel_values[0],
        image_tower=lambda pixels: model.get_image_features(pixel_values=pixels).pooler_output,
        text_tower=lambda ids: model.get_text_features(input_ids=ids).pooler_output,
        logits=lambda pixels, ids: model(pixel_values=pixels, input_ids=ids).logits_per_image,
        logit_scale=model.logit_scale.exp().item(),
        context_length=text.max_position_embeddings,
        mean=HALF,
        std=HALF,
        model=model,
        tokenizer=tokenize,
        logit_bias=model.logit_bias.item(),
    )


def processor(model: Any) -> Any:
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    size = model.config.vision_config.image_size
    return SiglipImageProcessorPil(size={"height": size, "width": size})


def write_open_clip_folder(
    folder: Path, name: str, interpolation: str, *, seed: int, logit_scale: float
) -> None:
    """Write a named model of open_clip with a tower of timm, and the tokenizer of SigLIP."""
    config = open_clip.get_model_config(name)
    preprocess = SQUASH | {"interpolation": interpolation}
    checkpoints.write_open_clip_folder(
        folder, config, preprocess, seed=seed, logit_scale=logit_scale, adjust=adjust
    )
    if "hf_tokenizer_name" in config["text_cfg"]:
        write_tokenizer(folder)


def read_open_clip_folder(folder: Path) -> Peer:
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    tokenizer = bias = None
    if getattr(model, "logit_bias", None) is not None:
        tokenizer = siglip_tokenizer(folder, model.context_length)
        bias = model.logit_bias.item()
    return checkpoints.open_clip_peer(model.eval(), transform, tokenizer, bias)


def adjust(model: Any) -> None:
    """Set the bias; in a network of few layers, let tokens of a text attend to few others.

    With the even attention of the other checkpoints, embeddings of short texts would be similar. In
    a deep network sharp attention amplifies rounding, so that two correct results differ.
    """
    with torch.no_grad():
        if getattr(model, "logit_bias", None) is not None:
            model.logit_bias.fill_(BIAS)
        state = model.state_dict()
        queries = [n for n in state if n.startswith("text_model") and "q_proj.weight" in n]
        if len(queries) <= SHALLOW:
            for name in queries:
                state[name].mul_(SHARPER)
