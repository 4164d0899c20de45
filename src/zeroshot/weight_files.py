"""Which files of a folder or repository hold a model: configuration, weights, shards.

One list for local folders and for the hub. safetensors files come before pickles.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

from zeroshot.errors import UnsafeWeightsError

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")  # in no model's name
INDEX = ".index.json"  # after a name below: which shard holds which tensor
CONFIGS = (
    "open_clip_config.json",
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
)
WEIGHTS = (  # the first that exists is loaded
    "open_clip_model.safetensors",
    "model.safetensors",
    "model.safetensors.index.json",
    "open_clip_model.safetensors.index.json",
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_pytorch_model.bin.index.json",
)
MAX_INDEX = 8 * 2**20  # bytes; the index of 10,000 tensors has about 1.3 MB
MAX_SHARDS = 1000


def read_index(path: Path) -> dict[str, str]:
    """Read the index of a sharded checkpoint: which file beside it holds which tensor.

    Raises UnsafeWeightsError when it is damaged or names files elsewhere.
    """
    try:
        if path.stat().st_size > MAX_INDEX:
            raise ValueError(f"more than {MAX_INDEX} bytes")
        places = dict(json.loads(path.read_bytes())["weight_map"])
        if not places:
            raise ValueError("it names no files")
        if len(set(map(str, places.values()))) > MAX_SHARDS:
            raise ValueError(f"it names more than {MAX_SHARDS} files")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnsafeWeightsError(
            f"{path}: not an index of a sharded checkpoint ({type(error).__name__}: {error}); "
            "expected JSON with a weight_map of tensor to file",
            source=str(path),
        ) from error
    for name in places.values():
        if not isinstance(name, str) or not _is_beside(name):
            raise UnsafeWeightsError(
                f"{path}: weight_map names {name!r}, expected weights files beside it; download it "
                "again from its publisher",
                source=str(path),
            )
    return places


def _is_beside(name: str) -> bool:
    return PurePosixPath(name).name == name and "\\" not in name and name.endswith(SUFFIXES)


def check_name(name: str, source: str) -> None:
    """Refuse a file name that leads out of the folder it is looked up in."""
    path = PurePosixPath(name)
    if not name or "\\" in name or "\0" in name or path.is_absolute() or ".." in path.parts:
        raise UnsafeWeightsError(
            f"{source}: names a file {name!r}, which lies outside the repository; not fetched",
            source=source,
        )
