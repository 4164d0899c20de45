"""The package's own layout: one safetensors file that says everything about itself.

The metadata key `zeroshot.checkpoint/1` holds the configuration as JSON; tensors bear this
package's names. An int8 tensor NAME comes with NAME.scale, one number a row, and is widened when
read.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from zeroshot.checkpoint.config import Spec, from_json, parse_json, to_json
from zeroshot.errors import IncompatibleWeights

METADATA_KEY = "zeroshot.checkpoint/1"


def read_spec(metadata: dict[str, str], source: str) -> Spec:
    """Read the configuration from a file's metadata."""
    return from_json(parse_json(metadata[METADATA_KEY], source))


def row_scales(tensors: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """Take the row scales out of `tensors`, and return them by the name of the int8 tensor."""
    scales: dict[str, Tensor] = {}
    for name, tensor in list(tensors.items()):
        scale = tensors.get(f"{name}.scale")
        if scale is None or name.endswith(".scale"):
            continue
        if tensor.dtype != torch.int8 or not tensor.ndim or scale.shape != tensor.shape[:1]:
            raise IncompatibleWeights(
                f"{source}: {name} and its .scale are not int8 and one number a row",
                source=source,
            )
        scales[name] = tensors.pop(f"{name}.scale")
    return scales


def save(path: Path, name: str, spec: Spec, tensors: dict[str, Tensor]) -> None:
    """Write a checkpoint in this layout; the file appears whole or not at all."""
    metadata = {METADATA_KEY: json.dumps({"name": name, **to_json(spec)}, sort_keys=True)}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file(_apart(tensors), temporary, metadata)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def halve(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Store matrices in half precision, as OpenAI does; vectors keep theirs.

    Raises IncompatibleWeights when one holds numbers that half precision does not reach.
    """
    halved: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.ndim > 1 and tensor.is_floating_point():
            tensor = tensor.half()
            if not torch.isfinite(tensor).all():
                raise IncompatibleWeights(
                    f"tensor {name} holds numbers beyond 65504, which half precision cannot; "
                    "convert it without --half"
                )
        halved[name] = tensor
    return halved


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Make tensors contiguous, each with memory of its own, as the format wants them."""
    memory: set[int] = set()
    apart: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        tensor = tensor.contiguous()
        place = tensor.data_ptr()
        apart[name] = tensor.clone() if place in memory else tensor
        memory.add(place)
    return apart
