"""Find the weights file of a path and read its tensors.

The tensors are in one file, or in shards that an index lists.
"""

from __future__ import annotations

import logging
import mmap
import os
import re
from itertools import islice
from pathlib import Path

from torch import Tensor

from zeroshot.checkpoint.formats.foreign_files import HEAD, explain, explain_folder
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

# Folders that hold a model one level below: of sentence-transformers, trainers, the Hub's cache.
NESTED = re.compile(r"\d+_[A-Za-z]\w*|checkpoint-\d+|snapshots")
MAX_NESTED = 3  # levels: models--x--y/snapshots/<commit>/0_CLIPModel
MAX_FOLDERS = 1000  # entries of a folder that are examined
log = logging.getLogger("zeroshot")

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
    found = _weights_in(path)
    if not found and (nested := _nested_weights(path)):
        log.info("%s: loading %s", path, nested)
        return nested
    if len(found) == 1:
        return found[0]
    if not found and (problem := explain_folder(_names_in(path))):
        raise ModelNotFound(f"{path}/{problem}")
    if not found and (broken := _broken_link_in(path)):
        raise ModelNotFound(
            f"{broken}: a broken link to {shortened(os.readlink(broken), 200)}; copy or download "
            "that file"
        )
    listed = some([p.name for p in found]) or "none"
    raise ModelNotFound(
        f"{path}: expected one weights file ({', '.join(WEIGHTS[:2])}, pytorch_model.bin, an index "
        f"of shards, or any single {'/'.join(SUFFIXES)}), found {shortened(listed, 200)}"
        f"{'; pass the file itself' if found else _hint_below(path)}"
    )


def _weights_in(folder: Path) -> list[Path]:
    """Return the weights file with a known name, or all files with a known suffix."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            return [folder / name]
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())


def _broken_link_in(folder: Path) -> Path | None:
    """Return a link with the suffix of weights whose target does not exist, or None."""
    paths = sorted(islice(folder.iterdir(), MAX_FOLDERS))
    weights = (p for p in paths if p.suffix.lower() in SUFFIXES)
    return next((p for p in weights if p.is_symlink() and not p.exists()), None)


def _nested_weights(folder: Path, depth: int = 0) -> Path | None:
    """Return the weights in the only subfolder that is known to contain a model, or None.

    These are folders of sentence-transformers (`0_CLIPModel`), of trainers (`checkpoint-500`), and
    of the Hub's cache (`models--owner--name/snapshots/<commit>`, that of branch main first). Raises
    ModelNotFound if there are several.
    """
    if depth == MAX_NESTED:
        return None
    cached = folder.name == "snapshots"
    folders = [each for each in _folders_in(folder) if cached or NESTED.fullmatch(each.name)]
    if cached:
        main = _commit_of_main(folder.parent)
        folders = [each for each in folders if each.name == main] or folders
    found: dict[Path, Path] = {}
    for each in folders:
        weights = _weights_in(each)
        inner = weights[0] if len(weights) == 1 else None
        if not weights:
            inner = _nested_weights(each, depth + 1)
        if inner is not None:
            found[each] = inner
    if len(found) > 1:
        listed = some([str(each) for each in found], 5)
        raise ModelNotFound(
            f"{folder}: several folders contain a model: {shortened(listed, 300)}; pass one of them"
        )
    return next(iter(found.values()), None)


def _commit_of_main(repository: Path) -> str:
    """Return the commit of branch main in a repository of the Hub's cache, or ""."""
    reference = repository / "refs" / "main"
    if not reference.is_file() or reference.stat().st_size > 100:
        return ""
    return reference.read_text("ascii", "replace").strip()


def _hint_below(folder: Path) -> str:
    """Name the subfolders that contain weights."""
    below = [each for each in _folders_in(folder) if _weights_in(each)]
    if not below:
        return "; pass the weights file or its folder"
    listed = shortened(some([str(each) for each in below], 3), 200)
    return f" there, but weights in {listed}; pass that folder"


def _folders_in(folder: Path) -> list[Path]:
    """Return the subfolders that are readable and not hidden, at most `MAX_FOLDERS`."""
    found = sorted(p for p in islice(folder.iterdir(), MAX_FOLDERS) if p.is_dir())
    return [p for p in found if not p.name.startswith(".") and os.access(p, os.R_OK | os.X_OK)]


def _names_in(folder: Path) -> list[str]:
    return [p.name for p in islice(folder.iterdir(), MAX_FOLDERS)]


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
        head = file.read(HEAD)
    if head == b"version https://":
        raise UnsafeWeightsError(
            f"{path}: expected weights, got a Git LFS pointer; download them with `git lfs pull`",
            source=str(path),
        )
    if problem := explain(path.name, head):
        raise IncompatibleWeights(f"{path}: {problem}", source=str(path))
    if path.suffix.lower() == ".safetensors" or head[8:9] == b"{":
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
