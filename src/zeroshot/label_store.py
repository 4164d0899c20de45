"""A cache on disk for the embeddings of labels.

There is one file per model, precision and list of templates. A label set that shares labels with an
earlier one embeds only the new labels. If the cache exceeds its size limit, the least recently used
files are removed. A file that cannot be read or written costs time but never changes a result.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from zeroshot.files import write_atomically

METADATA_KEY = "zeroshot.labels/2"  # 1: labels kept their article after that of a template
LIMIT = 256 * 2**20  # bytes, total of all files
ROWS = 20_000  # labels per file, the newest are kept; 40 MB at 512 dimensions
VARIABLE = "ZEROSHOT_CACHE"  # a folder that replaces the default, or one of OFF
OFF = ("off", "0", "false", "no", "none", "disabled")  # in any case; "./off" is a folder

Names = tuple[str, ...]  # the synonyms of one label
log = logging.getLogger("zeroshot")


def default_folder() -> Path | None:
    """Return the cache folder of this user, or None if ZEROSHOT_CACHE disables it."""
    chosen = os.environ.get(VARIABLE)
    if chosen is not None and chosen.strip().lower() in OFF:
        return None
    if chosen:
        return Path(os.path.expanduser(chosen)) / "labels"
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # no home folder, as in many containers
        return None
    return Path(base) / "zeroshot" / "labels"


@dataclass(frozen=True)
class LabelStore:
    """The cached labels of one model in one precision, identified by `key`."""

    folder: Path
    key: str
    width: int | None = None  # expected embedding dimension, if known

    def path(self, templates: Sequence[str]) -> Path:
        """Return the path of the cache file for these templates."""
        digest = hashlib.sha256(json.dumps([self.key, list(templates)]).encode())
        return self.folder / f"{digest.hexdigest()[:32]}.safetensors"

    def read(self, templates: Sequence[str], labels: Iterable[Names]) -> dict[Names, Tensor]:
        """Return the cached embeddings of these labels: each float32 [d], unit length."""
        cached, weight = self._open(self.path(templates))
        return {names: weight[cached[names]] for names in labels if names in cached}

    def write(self, templates: Sequence[str], vectors: Mapping[Names, Tensor]) -> None:
        """Add embeddings, and remove old files if the cache exceeds its limit."""
        path = self.path(templates)
        cached, weight = self._open(path)
        rows = {names: weight[row] for names, row in cached.items()} | dict(vectors)
        kept = dict(list(rows.items())[-ROWS:])
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            metadata = {METADATA_KEY: json.dumps(list(kept), ensure_ascii=False)}
            with write_atomically(path) as temporary:
                save_file({"weight": torch.stack(list(kept.values())).cpu()}, temporary, metadata)
            self._trim(path)
        except (OSError, SafetensorError, RuntimeError, ValueError) as error:
            log.info("%s: cannot cache label embeddings (%s)", self.folder, error)

    def _open(self, path: Path) -> tuple[dict[Names, int], Tensor]:
        """Return row indices by label, and the rows; both empty without a valid file."""
        try:
            with safe_open(path, framework="pt") as file:
                names = json.loads((file.metadata() or {})[METADATA_KEY])
                weight = file.get_tensor("weight").clone()
        except FileNotFoundError:
            return {}, torch.empty(0, 0)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            log.info("%s: cannot read cached labels (%s)", path, error)
            return {}, torch.empty(0, 0)
        if not _is_valid(names, weight) or self.width not in (None, weight.shape[1]):
            log.info("%s: cached labels are corrupted", path)
            return {}, torch.empty(0, 0)
        with suppress(OSError):
            os.utime(path)  # marks the file as recently used
        return {tuple(each): row for row, each in enumerate(names)}, weight

    def _trim(self, newest: Path) -> None:
        """Remove least recently used files down to LIMIT, but never `newest`."""
        files = [(path.stat(), path) for path in self.folder.glob("*.safetensors")]
        total = sum(facts.st_size for facts, _ in files)
        for facts, path in sorted(files, key=lambda file: file[0].st_mtime):
            if total <= LIMIT:
                return
            if path != newest:
                path.unlink(missing_ok=True)
                total -= facts.st_size


def _is_valid(names: Any, weight: Tensor) -> bool:
    """Return whether names are lists of strings, with one float32 unit row per label."""
    if weight.ndim != 2 or weight.dtype != torch.float32 or not isinstance(names, list):
        return False
    if len(names) != len(weight) or not all(
        isinstance(each, list) and all(isinstance(name, str) for name in each) for each in names
    ):
        return False
    lengths = weight.norm(dim=1)
    return torch.allclose(lengths, torch.ones_like(lengths), atol=1e-3)
