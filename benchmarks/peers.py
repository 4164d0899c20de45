"""Other libraries, used as documented: transformers, open_clip, OpenAI's clip, OpenVINO.

Each is imported on first use, and only if it is installed.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import types
import warnings
from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zeroshot.machine import cores

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything measured is on this disk
PACKAGES = ("transformers", "open_clip_torch", "clip-anytorch", "openvino")
VERSIONS = ("torch", "torchvision", *PACKAGES, "pillow", "simplejpeg")
OPENVINO_BATCH = 16  # images per request; two such streams are fastest on two cores

Encoder = Callable[[Tensor], Tensor]


def installed(*modules: str) -> bool:
    """Return whether modules can be imported."""
    return all(importlib.util.find_spec(module) is not None for module in modules)


def versions() -> dict[str, str]:
    """Return the versions of the installed libraries."""
    found = {}
    for package in VERSIONS:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


# ---- transformers


@cache
def transformers() -> Any:
    import transformers as module

    module.logging.set_verbosity_error()
    module.logging.disable_progress_bar()
    return module


def transformers_model(folder: Path, dtype: str, attention: str | None = None) -> Any:
    """Load a CLIPModel, ready for inference; `attention` names one of its implementations."""
    model = transformers().CLIPModel.from_pretrained(
        folder,
        local_files_only=True,
        dtype=getattr(torch, dtype),
        attn_implementation=attention,
    )
    return model.eval()


def transformers_images(model: Any, batch: int) -> Encoder:
    """Embed images one batch at a time."""

    @torch.inference_mode()
    def encode(pixels: Tensor) -> Tensor:
        return torch.cat(
            [
                model.get_image_features(pixel_values=part.to(model.dtype)).pooler_output
                for part in pixels.split(batch)
            ]
        )

    return encode


def transformers_texts(model: Any, batch: int) -> Encoder:
    """Embed ids one batch at a time, padded to the context length like CLIP's own code."""

    @torch.inference_mode()
    def encode(ids: Tensor) -> Tensor:
        parts = [model.get_text_features(input_ids=part).pooler_output for part in ids.split(batch)]
        return torch.cat(parts)

    return encode


# ---- OpenVINO


class _ImageFeatures(torch.nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.model.get_image_features(pixel_values=pixels).pooler_output
        return features


def openvino_images(
    model: Any, size: int, dtype: str, *, batch: int = OPENVINO_BATCH, streams: int | None = None
) -> Encoder:
    """Compile the image encoder of a transformers model with `streams` parallel requests."""
    import openvino

    streams = streams or cores()
    example = torch.zeros(1, 3, size, size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = openvino.convert_model(_ImageFeatures(model), example_input=example)
    converted.reshape([batch, 3, size, size])
    compiled = openvino.Core().compile_model(
        converted,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": {"bfloat16": "bf16", "float32": "f32"}[dtype],
            "PERFORMANCE_HINT": "THROUGHPUT" if streams > 1 else "LATENCY",
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": cores(),
        },
    )
    queue = openvino.AsyncInferQueue(compiled, streams)
    answers: dict[int, Any] = {}

    def keep(request: Any, place: int) -> None:
        answers[place] = np.array(request.get_output_tensor(0).data)

    queue.set_callback(keep)

    def encode(pixels: Tensor) -> Tensor:
        parts = pixels.numpy().reshape(-1, batch, 3, size, size)
        for place, part in enumerate(parts):
            queue.start_async([part], place)
        queue.wait_all()
        return torch.from_numpy(np.concatenate([answers[i] for i in range(len(parts))]))

    return encode


# ---- OpenAI's code


@cache
def openai() -> Any:
    """Import clip/ of openai/CLIP."""
    import packaging.version

    # clip/clip.py imports packaging from pkg_resources, which setuptools 70 removed. The pinned
    # torch requires a newer setuptools.
    stand_in = types.ModuleType("pkg_resources")
    stand_in.packaging = packaging  # type: ignore[attr-defined]
    sys.modules.setdefault("pkg_resources", stand_in)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import clip
        import clip.model
        import clip.simple_tokenizer
    logging.getLogger().setLevel(logging.ERROR)
    return clip


def openai_transform(size: int) -> Any:
    """Return OpenAI's preprocessing, the same as from `clip.load`."""
    openai()
    return sys.modules["clip.clip"]._transform(size)


def openai_model(folder: Path) -> Any:
    """Build OpenAI's model from a folder of OpenAI's tensor names, in float32."""
    from safetensors.torch import load_file

    state = load_file(folder / "open_clip_model.safetensors")
    model = openai().model.build_model(state).float()
    model.load_state_dict(state)  # build_model rounds to half precision
    return model


# ---- open_clip


@cache
def open_clip() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import open_clip as module
    logging.getLogger().setLevel(logging.ERROR)
    return module


def open_clip_model(folder: Path) -> tuple[Any, Any]:
    """Load a model and its preprocessing from a folder."""
    model, transform = open_clip().create_model_from_pretrained(f"local-dir:{folder}")
    return model.eval(), transform
