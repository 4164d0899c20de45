"""Which files a path means, and the named tensors in them: one file, or shards with an index."""

from __future__ import annotations

import mmap
from pathlib import Path

from torch import Tensor

from zeroshot.checkpoint.formats.mapping import Content
from zeroshot.checkpoint.formats.safetensors_file import read_safetensors
from zeroshot.checkpoint.formats.torch_archive import read_archive
from zeroshot.errors import IncompatibleWeights, ModelNotFound, UnsafeWeightsError, some
from zeroshot.weight_files import INDEX, SUFFIXES, WEIGHTS, read_index


def find_weights(path: Path) -> Path:
    """Return the weights file that a path means: itself, or the one in the folder."""
    if path.is_file():
        return path
    if path.exists() and not path.is_dir():
        raise ModelNotFound(f"{path}: neither a file nor a folder, so it holds no weights")
    if not path.is_dir():
        raise ModelNotFound(f"{path}: no such file or folder")
    for name in WEIGHTS:
        if (path / name).is_file():
            return path / name
    found = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES and p.is_file())
    if len(found) == 1:
        return found[0]
    listed = some([p.name for p in found]) or "none"
    raise ModelNotFound(
        f"{path}: wanted one weights file ({', '.join(WEIGHTS)} or any single "
        f"{'/'.join(SUFFIXES)}), found {listed}; name the file itself"
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
    places = read_index(index)
    names = sorted(set(places.values()))
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
