"""The package's own layout: one safetensors file that says everything about itself.

The metadata key `zeroshot.checkpoint/1` holds the configuration as JSON; tensors bear this
package's names. An int8 tensor NAME comes with NAME.scale, one number a row, and is widened when
read.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from zeroshot.checkpoint.config import Facts, Spec, from_json, to_json

METADATA_KEY = "zeroshot.checkpoint/1"


def read_spec(metadata: dict[str, str], source: str) -> Spec:
    """Read the configuration from a file's metadata."""
    return from_json(Facts(json.loads(metadata[METADATA_KEY]), source))


def widen(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Turn int8 tensors and their row scales into float32."""
    widened: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith(".scale") and name.removesuffix(".scale") in tensors:
            continue
        scale = tensors.get(f"{name}.scale")
        if scale is not None:
            rows = scale.float().reshape(-1, *[1] * (tensor.ndim - 1))
            tensor = tensor.float() * rows
        widened[name] = tensor
    return widened


def save(path: Path, name: str, spec: Spec, tensors: dict[str, Tensor]) -> None:
    """Write a checkpoint in this layout; the file appears whole or not at all."""
    metadata = {METADATA_KEY: json.dumps({"name": name, **to_json(spec)}, sort_keys=True)}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        contiguous = {key: tensor.contiguous() for key, tensor in tensors.items()}
        save_file(contiguous, temporary, metadata)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
