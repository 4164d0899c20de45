"""What a layout is: how one publisher names tensors, and how it says which network they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from zeroshot.checkpoint.tensors import NOT_WEIGHTS, StoredTensor
from zeroshot.errors import IncompatibleWeights
from zeroshot.spec import PreprocessConfig, Published, Spec

TEXT_ROOTS = (  # names of the text tower's tensors where nothing stands before them
    "token_embedding.",
    "positional_embedding",
    "transformer.",
    "ln_final.",
    "text_projection",
)


@dataclass(frozen=True)
class Checkpointed:
    """Tensors by this package's names, and what came with them."""

    stored: Mapping[str, StoredTensor]
    metadata: Mapping[str, str]  # of the file; empty for most formats
    path: Path  # of the weights file


@dataclass(frozen=True)
class Layout:
    """One publisher's way to store a checkpoint.

    A new layout is one module that makes one of these, and a row in `LAYOUTS`.
    """

    name: str
    recognizes: Callable[[Set[str], Mapping[str, str]], bool]  # names of tensors, metadata
    rename: Callable[[dict[str, Tensor], str], dict[str, StoredTensor]]
    spec: Callable[[Checkpointed, Published | None], Spec]  # where no config file says it
    config_file: str = ""  # beside the weights
    # Reads that file; the preprocessing holds where no file says another.
    read_config: Callable[[Path, PreprocessConfig | None], Spec] | None = None


def by_our_names(
    parts: Mapping[str, tuple[Tensor, ...]], source: str, ignored: tuple[str, ...] = ()
) -> dict[str, StoredTensor]:
    """Put `text.` before the text tower's names and leave out what is not a weight.

    Our names are otherwise those of OpenAI's checkpoints. `ignored` are further names to leave out.
    """
    stored: dict[str, StoredTensor] = {}
    for name, found in parts.items():
        if name in ignored or name.endswith(NOT_WEIGHTS):
            continue
        if name == "logit_scale" and found[0].numel() == 1:
            found = (found[0].reshape(()),)  # both scalars and vectors of one occur
        ours = f"text.{name}" if name.startswith(TEXT_ROOTS) else name
        if ours in stored:
            raise IncompatibleWeights(
                f"{source}: two tensors, one of them {name!r}, both are {ours!r}; the file mixes "
                "layouts, download it again from its publisher",
                source=source,
            )
        stored[ours] = StoredTensor(found)
    return stored
