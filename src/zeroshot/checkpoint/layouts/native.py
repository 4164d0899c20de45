"""Read and write the package's own layout.

It is a safetensors file with the configuration in the metadata. The metadata key
`zeroshot.checkpoint/1` contains the configuration as JSON; tensors have this package's names. An
int8 tensor NAME has a tensor NAME.scale with one number per row, and is converted to float32 when
it is read.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Set
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from zeroshot.checkpoint import vocabularies
from zeroshot.checkpoint.config_fields import Fields, check_spec, parse_config
from zeroshot.checkpoint.layouts.base import Checkpointed, Layout, to_native_names
from zeroshot.checkpoint.tensors import StoredTensor
from zeroshot.checkpoint.vocabularies import Vocabulary
from zeroshot.errors import IncompatibleWeights, shortened
from zeroshot.files import write_atomically
from zeroshot.nn.network import TOWERS
from zeroshot.spec import (
    CLIP_MERGES,
    NetworkConfig,
    PreprocessConfig,
    Published,
    Spec,
    TokenizerConfig,
)

METADATA_KEY = "zeroshot.checkpoint/1"


def _recognizes(names: Set[str], metadata: Mapping[str, str]) -> bool:
    return METADATA_KEY in metadata


def _rename(tensors: dict[str, Tensor], source: str) -> dict[str, StoredTensor]:
    """Combine int8 tensors with their row scales."""
    scales = {name: tensors[f"{name}.scale"] for name in tensors if f"{name}.scale" in tensors}
    for name, scale in scales.items():
        tensor = tensors[name]
        if tensor.dtype != torch.int8 or not tensor.ndim or scale.shape != tensor.shape[:1]:
            raise IncompatibleWeights(
                f"{source}: expected {shortened(name)} to be int8 with one .scale per row, got "
                f"{tensor.dtype} {tuple(tensor.shape)} and a scale {tuple(scale.shape)}",
                source=source,
            )
    stored = to_native_names({name: (tensor,) for name, tensor in tensors.items()}, source)
    for name, scale in scales.items():
        stored.pop(f"{name}.scale", None)
        stored[name] = StoredTensor(stored[name].parts, scale)
    return stored


def _spec(found: Checkpointed, like: Published | None) -> Spec:
    return from_json(parse_config(found.metadata[METADATA_KEY], str(found.path)))


def to_json(spec: Spec) -> dict[str, Any]:
    """Convert a spec to plain data; `Model.identity` hashes it."""
    network = spec.network
    plain = {
        "architecture": {
            "embed_dim": network.embed_dim,
            "vision": _tower_to_json(network.vision),
            "text": _tower_to_json(network.text),
            **({"logit_bias": True} if network.logit_bias else {}),
        },
        "preprocess": asdict(spec.preprocess),
        "tokenizer": {"merges": spec.merges}
        if spec.tokenizer is None
        else {"config": asdict(spec.tokenizer)},
    }
    # Omitted if it is the default, so that older files and identities stay the same.
    return plain if spec.scoring == "softmax" else plain | {"scoring": spec.scoring}


def _tower_to_json(config: Any) -> dict[str, Any]:
    # Options at their defaults are omitted, so that older files and identities stay the same; `eps`
    # was there from the first version on.
    given = {
        field.name: getattr(config, field.name)
        for field in fields(config)
        if field.name == "eps" or getattr(config, field.name) != field.default
    }
    return {"kind": config.kind, **given}


def from_json(facts: Fields) -> Spec:
    """Read a spec that `to_json` wrote."""
    architecture = facts.part("architecture")
    network = NetworkConfig(
        architecture.number("embed_dim"),
        _read_tower(architecture.part("vision"), of_images=True),
        _read_tower(architecture.part("text"), of_images=False),
        architecture.content.get("logit_bias", False) is True,
    )
    vocabulary = facts.part("tokenizer")
    merges: Any = vocabulary.content.get("merges", CLIP_MERGES)
    tokenizer = None
    if "config" in vocabulary.content:
        tokenizer = _fill(TokenizerConfig, vocabulary.part("config"))
    scoring: Any = facts.content.get("scoring", "softmax")
    preprocess = _fill(PreprocessConfig, facts.part("preprocess"))
    return check_spec(Spec(network, preprocess, merges, scoring, tokenizer), facts.source)


def _read_tower(facts: Fields, *, of_images: bool) -> Any:
    """Create the configuration of a tower of the kind that it names."""
    kinds = {
        config.kind: config
        for config in TOWERS
        if hasattr(config, "position_embeddings") == of_images  # only image towers have them
    }
    kind = facts.content.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise facts.field_error("kind", kind, f"one of {', '.join(map(str, kinds))}")
    return _fill(kinds[kind], facts)


def _fill(kind: type[Any], facts: Fields) -> Any:
    """Create a config object from the fields with its names."""
    known = {field.name for field in fields(kind)}
    values = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in facts.content.items()
        if key in known
    }
    try:
        return kind(**values)
    except TypeError as error:
        raise IncompatibleWeights(
            f"{facts.source}: {facts.prefix.rstrip('.')}: {error}", source=facts.source
        ) from error


def is_native(path: Path) -> bool:
    """Return whether a file was written by `save`; False if it cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            return METADATA_KEY in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def save(
    path: Path,
    name: str,
    spec: Spec,
    tensors: dict[str, Tensor],
    vocabulary: Vocabulary | None = None,
) -> None:
    """Write a checkpoint in this layout, to a temporary file that is then renamed."""
    metadata = {METADATA_KEY: json.dumps({"name": name, **to_json(spec)}, sort_keys=True)}
    if vocabulary is not None:
        tensors = tensors | {vocabularies.TENSOR: vocabularies.to_tensor(vocabulary)}
        metadata[vocabularies.NAME_KEY] = vocabulary.stored_name
    with write_atomically(path) as temporary:
        try:
            save_file(_separate(tensors), temporary, metadata)
        except SafetensorError as error:  # also of the file system: "... (os error 28)"
            number = re.search(r"os error (\d+)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def halve(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convert matrices to half precision, as in OpenAI's checkpoints.

    Vectors do not change. Raises IncompatibleWeights if a value is outside the range of half
    precision.
    """
    halved: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.ndim > 1 and tensor.is_floating_point():
            tensor = tensor.half()
            if not torch.isfinite(tensor).all():
                raise IncompatibleWeights(
                    f"tensor {name} contains values beyond 65504, the largest in half precision; "
                    "convert it without --half"
                )
        halved[name] = tensor
    return halved


def _separate(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Make tensors contiguous, each with its own memory, as the format requires."""
    memory: set[int] = set()
    separate: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        tensor = tensor.contiguous()
        address = tensor.data_ptr()
        separate[name] = tensor.clone() if address in memory else tensor
        memory.add(address)
    return separate


LAYOUT = Layout("native", _recognizes, _rename, _spec)
