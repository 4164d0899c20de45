"""File names of checkpoints: configuration, weights, shards and tokenizers.

The same names apply to local folders and to the Hub. safetensors files come before pickles.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

from zeroshot.errors import UnsafeWeightsError

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")  # no model name ends in one of these
INDEX = ".index.json"  # suffix of a shard index, which maps tensors to files
CONFIGS = (
    "open_clip_config.json",
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
)
WEIGHTS = (  # the first existing file is loaded
    "open_clip_model.safetensors",
    "model.safetensors",
    "model.safetensors.index.json",
    "open_clip_model.safetensors.index.json",
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_pytorch_model.bin.index.json",
)
TOKENIZERS = (  # the first existing file is loaded; a .model has a tenth of a tokenizer.json's size
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    "tokenizer.json",
    "vocab.txt",
)
BYTE_BPE = ("vocab.json", "merges.txt")  # a tokenizer of two files; used without any of the others
NESTED = "0_CLIPModel/"  # folder of a repository of sentence-transformers that has these files
MAX_INDEX = 8 * 2**20  # bytes; the index of 10,000 tensors has about 1.3 MB
MAX_SHARDS = 1000


def read_index(path: Path) -> dict[str, str]:
    """Read the index of a sharded checkpoint: file names by tensor name.

    Raises UnsafeWeightsError if it is corrupted or names files in other folders.
    """
    try:
        if path.stat().st_size > MAX_INDEX:
            raise ValueError(f"larger than {MAX_INDEX} bytes")
        places = dict(json.loads(path.read_bytes())["weight_map"])
        if not places:
            raise ValueError("it names no files")
        if len(set(map(str, places.values()))) > MAX_SHARDS:
            raise ValueError(f"it names more than {MAX_SHARDS} files")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnsafeWeightsError(
            f"{path}: not an index of a sharded checkpoint ({type(error).__name__}: {error}); "
            "expected JSON with a weight_map from tensor to file; download it again",
            source=str(path),
        ) from error
    for name in places.values():
        if not isinstance(name, str) or not _is_beside(name):
            raise UnsafeWeightsError(
                f"{path}: expected file names in the same folder in weight_map, got {name!r}; "
                "download the index again from its publisher",
                source=str(path),
            )
    return places


def _is_beside(name: str) -> bool:
    return PurePosixPath(name).name == name and "\\" not in name and name.endswith(SUFFIXES)


def check_name(name: str, source: str) -> None:
    """Raise UnsafeWeightsError for a file name that is outside its folder."""
    path = PurePosixPath(name)
    if not name or "\\" in name or "\0" in name or path.is_absolute() or ".." in path.parts:
        raise UnsafeWeightsError(
            f"{source}: expected a file name inside the repository, got {name!r}, which is "
            "outside and is not downloaded; check the source of the file list",
            source=source,
        )
