"""SigLIP and PE-Core as transformers and open_clip write them, with a small trained tokenizer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import checkpoints
import torch
from checkpoints import Peer
from peers import open_clip, transformers
from safetensors.torch import load_file, save_file
from timm.models import eva

from tests.tokenizers.training import SIGLIP, train

HALF = (0.5, 0.5, 0.5)
SQUASH = {"mean": list(HALF), "std": list(HALF), "resize_mode": "squash"}
BIAS = -4.0  # of the logits
SHARPER, SHALLOW = 4.0, 3  # factor of queries of texts, in networks of so many layers
TRUNK = "visual.trunk."  # of timm
META_NAMES = (
    ("patch_embed.proj", "conv1"),
    ("cls_token", "class_embedding"),
    ("pos_embed", "positional_embedding"),
    ("attn_pool.latent", "attn_pool.probe"),
    ("attn_pool.proj", "attn_pool.attn.out_proj"),
    ("attn_pool.norm", "attn_pool.layernorm"),
    ("blocks.", "transformer.resblocks."),
    ("norm_pre", "ln_pre"),
    (".norm1", ".ln_1"),
    (".norm2", ".ln_2"),
    ("attn.qkv.", "attn.in_proj_"),
    ("attn.proj", "attn.out_proj"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
    ("head.weight", "proj"),
)
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


# ---- Meta's own files of PE-Core


def meta_file(name: str, seed: int) -> Callable[[Path], None]:
    """Return a writer of a model of open_clip in the names of Meta's own files.

    timm's code, which converts such files, restores the image tower.
    """

    def write(path: Path) -> None:
        folder = path.parent / "open_clip"
        write_open_clip_folder(folder, name, "bilinear", seed=seed, logit_scale=20.0)
        weights = folder / "open_clip_model.safetensors"
        state = load_file(weights)
        state[f"{TRUNK}head.bias"].zero_()  # Meta's has no bias
        save_file(state, weights)
        trunk = {n.removeprefix(TRUNK): t for n, t in state.items() if n.startswith(TRUNK)}
        content = meta_names(trunk) | {
            n.removeprefix("text."): t for n, t in state.items() if not n.startswith(TRUNK)
        }
        restored = eva._convert_pe(dict(content), None)
        assert restored.keys() == trunk.keys()
        assert all(torch.equal(restored[n], trunk[n]) for n in trunk)
        torch.save(content, path)

    return write


def meta_names(trunk: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename timm's tensors as `pe.py` of perception_models does."""
    found: dict[str, torch.Tensor] = {}
    for name, tensor in trunk.items():
        match name:
            case "head.bias" | "attn_pool.kv.weight" | "attn_pool.kv.bias":
                continue
            case "attn_pool.q.weight" | "attn_pool.q.bias":
                kind = name.rpartition(".")[2]
                tensor = torch.cat([tensor, trunk[f"attn_pool.kv.{kind}"]])
                name = f"attn_pool.attn.in_proj_{kind}"
            case "cls_token":
                tensor = tensor[0, 0]
            case "pos_embed":
                tensor = tensor[0]
            case "head.weight":
                tensor = tensor.T.contiguous()
        for theirs, meta in META_NAMES:
            name = name.replace(theirs, meta)
        name = re.sub(r"^norm\.", "ln_post.", name)
        found[f"visual.{name}"] = tensor
    return found


def read_meta_file(path: Path) -> Peer:
    return read_open_clip_folder(path.parent / "open_clip")
