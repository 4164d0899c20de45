"""Find the tokenizer file of a checkpoint, beside its weights or inside the package's own file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from zeroshot.checkpoint.tensors import StoredTensor
from zeroshot.errors import IncompatibleWeights, shortened
from zeroshot.tokenizers.tokenizer_files import find_tokenizer, read_content
from zeroshot.weight_files import BYTE_BPE, TOKENIZERS

TENSOR = "tokenizer"  # uint8: the bytes of the file, in a file of the native layout
NAME_KEY = "zeroshot.tokenizer"  # metadata: the name of that file
COMBINED = "tokenizer.json"  # what a tokenizer of two files is stored as


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer file: its name, and its bytes or where they are."""

    name: str
    place: Path  # of the file, or of the file that contains it
    content: bytes | None = None

    @property
    def stored_name(self) -> str:
        """Name of what `read` returns."""
        return COMBINED if self.name == BYTE_BPE[0] else self.name

    def read(self) -> bytes:
        """Return the bytes of the file; those of two files become a tokenizer.json.

        Raises WeightsError if they cannot be used.
        """
        return read_content(self.place) if self.content is None else self.content


def find(weights: Path, stored: dict[str, StoredTensor], metadata: Mapping[str, str]) -> Vocabulary:
    """Return the tokenizer file of these weights; its tensor is removed from `stored`.

    Raises IncompatibleWeights if there is none.
    """
    if TENSOR in stored:
        values = stored.pop(TENSOR).parts[0]
        name = metadata.get(NAME_KEY, "")
        if name not in TOKENIZERS or values.dtype != torch.uint8 or values.ndim != 1:
            raise IncompatibleWeights(
                f"{weights}: expected the bytes of one of {', '.join(TOKENIZERS)} in the tensor "
                f"{TENSOR}, got {values.dtype} {shortened(str(tuple(values.shape)))} of "
                f"{shortened(repr(name))}; convert the checkpoint again",
                source=str(weights),
            )
        return Vocabulary(name, weights, values.numpy().tobytes())
    if (path := find_tokenizer(weights.parent)) is not None:
        return Vocabulary(path.name, path)
    raise IncompatibleWeights(
        f"{weights.parent}: no tokenizer file beside {weights.name}; expected one of "
        f"{', '.join(TOKENIZERS)}, or {' and '.join(BYTE_BPE)}; download it from the repository of "
        "the weights",
        source=str(weights),
    )


def to_tensor(vocabulary: Vocabulary) -> torch.Tensor:
    """Return the bytes of a tokenizer file as a tensor for the native layout: uint8 [n]."""
    return torch.frombuffer(bytearray(vocabulary.read()), dtype=torch.uint8)
