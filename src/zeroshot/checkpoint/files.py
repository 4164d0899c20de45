"""Which files a path means, and the named tensors in them: one file, or shards with an index."""

from __future__ import annotations

import mmap
from pathlib import Path

from torch import Tensor

from zeroshot.catalog import WEIGHTS_SUFFIXES
from zeroshot.checkpoint.archive import read_archive
from zeroshot.checkpoint.config import read_json
from zeroshot.checkpoint.layouts import some
from zeroshot.checkpoint.mapped import Content
from zeroshot.checkpoint.safetensors_file import read_safetensors
from zeroshot.errors import IncompatibleWeights, ModelNotFound, UnsafeWeightsError

WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)
INDEX = ".index.json"  # after such a name: which shard holds which tensor
MAX_SHARDS = 1000


def find_weights(path: Path) -> Path:
    """Return the weights file that a path means: itself, or the one in the folder."""
    if path.is_file():
        return path
    if path.exists() and not path.is_dir():
        raise ModelNotFound(f"{path}: neither a file nor a folder, so it holds no weights")
    if not path.is_dir():
        raise ModelNotFound(f"{path}: no such file or folder")
    for name in (*WEIGHTS, *(name + INDEX for name in WEIGHTS)):
        if (path / name).is_file():
            return path / name
    found = sorted(p for p in path.iterdir() if p.suffix in WEIGHTS_SUFFIXES and p.is_file())
    if len(found) == 1:
        return found[0]
    listed = some([p.name for p in found]) or "none"
    raise ModelNotFound(
        f"{path}: wanted one weights file ({', '.join(WEIGHTS)} or any single "
        f"{'/'.join(WEIGHTS_SUFFIXES)}), found {listed}; name the file itself"
    )


def read_content(path: Path) -> Content:
    """Read the tensors of a file, or of all the shards that an index names."""
    return _read_shards(path) if path.name.endswith(INDEX) else _read_file(path)


def _read_file(path: Path) -> Content:
    with path.open("rb") as file:
        head = file.read(16)
    if head == b"version https://":
        raise UnsafeWeightsError(
            f"{path}: a Git LFS pointer, not the weights; fetch them with `git lfs pull`",
            source=str(path),
        )
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        return read_safetensors(path)
    return read_archive(path)


def _read_shards(index: Path) -> Content:
    """Put together what the index says lies in which file beside it, and nothing else."""
    places = read_json(index).part("weight_map").content
    names = sorted({name for name in places.values() if isinstance(name, str)})
    proper = all(isinstance(name, str) for name in places.values()) and all(
        Path(name).name == name and name.endswith(WEIGHTS_SUFFIXES) for name in names
    )
    if not names or not proper or len(names) > MAX_SHARDS:
        raise UnsafeWeightsError(
            f"{index}: weight_map does not name files beside it; get it again from its publisher",
            source=str(index),
        )
    absent = [name for name in names if not (index.parent / name).is_file()]
    if absent:
        raise ModelNotFound(
            f"{index}: {len(absent)} of {len(names)} shards are not beside it: {some(absent)}; "
            "copy them from where the index came from"
        )
    tensors: dict[str, Tensor] = {}
    maps: list[mmap.mmap] = []
    for name in names:
        shard = _read_file(index.parent / name)
        held = shard.tensors
        wanted = {key for key, place in places.items() if place == name}
        if held.keys() != wanted:
            odd = some(sorted(held.keys() ^ wanted))
            raise IncompatibleWeights(
                f"{index}: {name} does not hold what the index says, it differs in {odd}; get "
                "all of these files again, from one revision",
                source=str(index),
            )
        tensors |= held
        maps += shard.maps
    return Content(tensors, maps=tuple(maps))
