"""A tiny SigLIP 2 NaFlex, whose images keep their aspect ratio, in the layout of transformers."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from tests.checkpoint import families
from tests.checkpoint.forms import Tensors, write_json
from tests.tokenizers import training
from zeroshot.checkpoint.layouts.open_clip_tokenizers import siglip_tokenizer
from zeroshot.spec import NetworkConfig, PreprocessConfig, Spec, ViTConfig

PATCH = 8
SIDE = 4  # of the grid of positions
MOST = 20  # patches of an image
VOCABULARY = 700
IMAGE = replace(families.SIGLIP_IMAGE, image_size=SIDE * PATCH, any_grid=True)
LENGTH = 64  # tokens of a text, so that all templates fit
TEXT = replace(families.SIGLIP_TEXT, context_length=LENGTH, vocab_size=VOCABULARY)
NAFLEX = Spec(
    NetworkConfig(48, IMAGE, TEXT, logit_bias=True),
    PreprocessConfig(
        SIDE * PATCH,
        families.HALF,
        families.HALF,
        "bilinear",
        "aspect",
        patch=PATCH,
        max_patches=MOST,
    ),
    scoring="sigmoid",
    tokenizer=replace(siglip_tokenizer(LENGTH, VOCABULARY), pad=0),
)


@cache
def vocabulary() -> bytes:
    """A small SentencePiece model with the special ids of Gemma."""
    return training.train(**training.GEMMA)


def tensors() -> Tensors:
    return families.tensors_of(NAFLEX)


def huggingface(tensors: Tensors) -> Tensors:
    """Rename tensors; patches are stored by rows, columns and channels."""
    renamed = families.huggingface(tensors)
    name = "vision_model.embeddings.patch_embedding.weight"
    weight = renamed[name]
    renamed[name] = weight.permute(0, 2, 3, 1).reshape(len(weight), -1).contiguous()
    return renamed


def huggingface_config(spec: Spec = NAFLEX) -> dict[str, Any]:
    vision = spec.network.vision
    assert isinstance(vision, ViTConfig)
    config = families.huggingface_config(spec) | {"model_type": "siglip2"}
    del config["vision_config"]["image_size"]
    config["vision_config"]["num_patches"] = (vision.image_size // vision.patch_size) ** 2
    return config


def huggingface_preprocess(spec: Spec = NAFLEX) -> dict[str, Any]:
    return {
        "image_processor_type": "Siglip2ImageProcessor",
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "image_mean": list(spec.preprocess.mean),
        "image_std": list(spec.preprocess.std),
        "max_num_patches": spec.preprocess.max_patches,
        "patch_size": spec.preprocess.patch,
        "resample": 2,
        "rescale_factor": 1 / 255,
    }


def write_transformers(folder: Path, spec: Spec = NAFLEX) -> Path:
    """Write a folder as `Siglip2Model.save_pretrained` does, and the tokenizer's file."""
    folder.mkdir(exist_ok=True)
    save_file(huggingface(tensors()), folder / "model.safetensors", {"format": "pt"})
    write_json(folder / "config.json", huggingface_config(spec))
    write_json(folder / "preprocessor_config.json", huggingface_preprocess(spec))
    (folder / "tokenizer.model").write_bytes(vocabulary())
    return folder
