"""Find the weights file of a path and read its tensors.

The tensors are in one file, or in shards that an index lists.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from torch import Tensor

from zeroshot.checkpoint.formats.mapping import Content
from zeroshot.checkpoint.formats.safetensors_file import read_safetensors
from zeroshot.checkpoint.formats.torch_archive import read_archive
from zeroshot.errors import (
    IncompatibleWeights,
    ModelNotFound,
    UnsafeWeightsError,
    WeightsError,
    shortened,
    some,
)
from zeroshot.weight_files import INDEX, SUFFIXES, WEIGHTS, read_index

ATTEMPTS = 3  # to read a file that is being replaced


def find_weights(path: Path) -> Path:
    """Return the weights file of a path: the file itself, or the one in the folder.

    Raises ModelNotFound.
    """
    if path.is_file():
        return path
    if path.exists() and not path.is_dir():
        raise ModelNotFound(
            f"{path}: neither a regular file nor a folder; pass a weights file or its folder"
        )
    if not path.is_dir():
        raise ModelNotFound(f"{path}: no such file or folder; check the path")
    for name in WEIGHTS:
        if (path / name).is_file():
            return path / name
    found = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES and p.is_file())
    if len(found) == 1:
        return found[0]
    listed = some([p.name for p in found]) or "none"
    raise ModelNotFound(
        f"{path}: expected one weights file ({', '.join(WEIGHTS)} or any single "
        f"{'/'.join(SUFFIXES)}), found {shortened(listed, 300)}; pass the file itself"
    )


def read_content(path: Path) -> Content:
    """Read the tensors of a file, or of all shards that an index lists."""
    return _read_shards(path) if path.name.endswith(INDEX) else _read_file(path)


def _read_file(path: Path) -> Content:
    """Read a file; again if another process replaced it meanwhile, so parts of two never mix."""
    for _ in range(ATTEMPTS):
        before = _file_identity(path)
        try:
            content = _read_once(path)
        except WeightsError:
            if _file_identity(path) == before:
                raise
        else:
            if _file_identity(path) == before:
                return content
    raise IncompatibleWeights(
        f"{path}: the file changed while it was read, {ATTEMPTS} times; load it when no process "
        "writes to it",
        source=str(path),
    )


def _file_identity(path: Path) -> tuple[int, int, int, int]:
    facts = path.stat()
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


def _read_once(path: Path) -> Content:
    with path.open("rb") as file:
        head = file.read(16)
    if head == b"version https://":
        raise UnsafeWeightsError(
            f"{path}: expected weights, got a Git LFS pointer; download them with `git lfs pull`",
            source=str(path),
        )
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        return read_safetensors(path)
    return read_archive(path)


def _read_shards(index: Path) -> Content:
    """Read the shards beside the index.

    Raises an error unless they match the index exactly.
    """
    locations = read_index(index)
    names = sorted(set(locations.values()))
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise ModelNotFound(
            f"{index}: {len(missing)} of {len(names)} shards are missing: "
            f"{shortened(some(missing), 300)}; download them into the same folder"
        )
    tensors: dict[str, Tensor] = {}
    maps: list[mmap.mmap] = []
    for name in names:
        shard = _read_file(index.parent / name)
        found = shard.tensors
        expected = {key for key, location in locations.items() if location == name}
        if found.keys() != expected:
            differences = some(sorted(found.keys() ^ expected))
            raise IncompatibleWeights(
                f"{index}: the tensors of {name} do not match the index, they differ in "
                f"{shortened(differences, 300)}; download all of these files again, from one "
                "revision",
                source=str(index),
            )
        tensors |= found
        maps += shard.maps
    return Content(tensors, maps=tuple(maps))
