"""Define a layout: how a publisher names tensors and describes their network."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from zeroshot.checkpoint.config_fields import Fields
from zeroshot.checkpoint.tensors import NOT_WEIGHTS, StoredTensor
from zeroshot.errors import IncompatibleWeights, shortened
from zeroshot.spec import ImageTowerConfig, PreprocessConfig, Published, Spec

TEXT_ROOTS = (  # name prefixes of the text tower's tensors in OpenAI's checkpoints
    "token_embedding.",
    "positional_embedding",
    "transformer.",
    "ln_final.",
    "text_projection",
)


@dataclass(frozen=True)
class Checkpointed:
    """Tensors by this package's names, and the metadata, names and path of their file."""

    stored: Mapping[str, StoredTensor]
    metadata: Mapping[str, str]  # of the file; empty for most formats
    path: Path  # of the weights file
    names: Set[str] = frozenset()  # of the tensors in the file, without prefixes of wrappers


@dataclass(frozen=True)
class Layout:
    """One publisher's way to store a checkpoint.

    To add a layout, write a module that creates one, and add it to `LAYOUTS`.
    """

    name: str
    recognizes: Callable[[Set[str], Mapping[str, str]], bool]  # names of tensors, metadata
    rename: Callable[[dict[str, Tensor], str], dict[str, StoredTensor]]
    spec: Callable[[Checkpointed, Published | None], Spec]  # used without a config file
    config_file: str = ""  # name of a file beside the weights
    # Reads that file; the preprocessing is used if no file contains one.
    read_config: Callable[[Path, PreprocessConfig | None], Spec] | None = None
    config_keys: tuple[str, ...] = ()  # a file with one of them describes a model

    def describes(self, config: Mapping[str, object]) -> bool:
        """Return whether the content of a config file says what model it belongs to."""
        return any(config.get(key) for key in self.config_keys)


@dataclass(frozen=True)
class ImageLayout:
    """How timm stores one kind of image tower, inside of another layout."""

    first: tuple[str, ...]  # names of tensors, of which every file has one
    towers: dict[str, Any]  # names in configs, without the image size -> configuration
    # Checks the other fields of `vision_cfg`, and returns the configuration as they change it.
    read: Callable[[Fields, Any], ImageTowerConfig]
    rename: Callable[[Mapping[str, Tensor], str], dict[str, StoredTensor]]  # tensors, source


def join_projections(tensors: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, ...]]:
    """Join the projections of queries, keys and values that a layout stores separately.

    Those of an incomplete group keep their names, and are later reported as unexpected.
    """
    parts: dict[str, tuple[Tensor, ...]] = {name: (each,) for name, each in tensors.items()}
    for name in tensors:
        found = re.match(r"(.*\.attn\.)q_proj\.(weight|bias)$", name)
        names = [f"{found[1]}{each}_proj.{found[2]}" for each in "qkv"] if found else []
        group = [tensors[each] for each in names if each in tensors]
        if found and len(group) == 3 and group[0].ndim and len({each.shape for each in group}) == 1:
            for each in names:
                del parts[each]
            parts[f"{found[1]}in_proj_{found[2]}"] = tuple(group)
    return parts


def to_native_names(
    parts: Mapping[str, tuple[Tensor, ...]], source: str, ignored: tuple[str, ...] = ()
) -> dict[str, StoredTensor]:
    """Prefix names of the text tower with `text.` and drop non-weights.

    Other names are those of OpenAI's checkpoints. `ignored` are additional names to drop.
    """
    stored: dict[str, StoredTensor] = {}
    for name, found in parts.items():
        if name in ignored or name.endswith(NOT_WEIGHTS):
            continue
        if name in ("logit_scale", "logit_bias") and found[0].numel() == 1:
            found = (found[0].reshape(()),)  # stored as a scalar or as a vector of one
        ours = f"text.{name}" if name.startswith(TEXT_ROOTS) else name
        check_new(ours, stored, name, source)
        stored[ours] = StoredTensor(found)
    return stored


def check_new(ours: str, taken: Container[str], name: str, source: str, where: str = "") -> None:
    """Raise IncompatibleWeights if another tensor than `name` has the name `ours` already."""
    if ours in taken:
        raise IncompatibleWeights(
            f"{source}: two tensors, one of them {shortened(repr(name))}, have the name "
            f"{shortened(repr(ours))}{where}; the file mixes layouts, download it again from its "
            "publisher",
            source=source,
        )
