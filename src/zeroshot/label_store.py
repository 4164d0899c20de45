"""Unit vectors of labels that were embedded before, kept on this disk.

One file for each model, precision and set of templates; a label set that shares labels with an
earlier one embeds only what is new. The store forgets what was not used for longest when it
outgrows its limit, and a file it cannot read or write costs time, never the answer.
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

METADATA_KEY = "zeroshot.labels/1"
LIMIT = 256 * 2**20  # bytes of all files together
ROWS = 20_000  # labels a file remembers, the newest; 40 MB at 512 dimensions
VARIABLE = "ZEROSHOT_CACHE"  # the folder to use instead of the user's cache, or "off"

Names = tuple[str, ...]  # of one label: its synonyms
log = logging.getLogger("zeroshot")


def default_folder() -> Path | None:
    """Return where this user's labels are kept, or None when ZEROSHOT_CACHE is "off"."""
    chosen = os.environ.get(VARIABLE)
    if chosen == "off":
        return None
    if chosen:
        return Path(chosen).expanduser() / "labels"
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # a user without a home, as in many containers
        return None
    return Path(base) / "zeroshot" / "labels"


@dataclass(frozen=True)
class LabelStore:
    """The labels of one model in one precision: `key` says which."""

    folder: Path
    key: str
    width: int | None = None  # of the vectors, where it is known

    def path(self, templates: Sequence[str]) -> Path:
        """Return the file that keeps labels put into these templates."""
        digest = hashlib.sha256(json.dumps([self.key, list(templates)]).encode())
        return self.folder / f"{digest.hexdigest()[:32]}.safetensors"

    def read(self, templates: Sequence[str], wanted: Iterable[Names]) -> dict[Names, Tensor]:
        """Return the vectors that are known of these labels: each float32 [d]."""
        known, weight = self._open(self.path(templates))
        return {names: weight[known[names]] for names in wanted if names in known}

    def write(self, templates: Sequence[str], vectors: Mapping[Names, Tensor]) -> None:
        """Add vectors, and make room where the store has outgrown its limit."""
        path = self.path(templates)
        known, weight = self._open(path)
        rows = {names: weight[row] for names, row in known.items()} | dict(vectors)
        kept = dict(list(rows.items())[-ROWS:])
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            metadata = {METADATA_KEY: json.dumps(list(kept), ensure_ascii=False)}
            with write_atomically(path) as temporary:
                save_file({"weight": torch.stack(list(kept.values())).cpu()}, temporary, metadata)
            self._trim(path)
        except (OSError, SafetensorError, RuntimeError, ValueError) as error:
            log.info("%s: cannot store label embeddings (%s)", self.folder, error)

    def _open(self, path: Path) -> tuple[dict[Names, int], Tensor]:
        """Return row numbers by label, and the rows; nothing when there is no sound file."""
        try:
            with safe_open(path, framework="pt") as file:
                names = json.loads((file.metadata() or {})[METADATA_KEY])
                weight = file.get_tensor("weight").clone()
        except FileNotFoundError:
            return {}, torch.empty(0, 0)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            log.info("%s: kept labels cannot be read (%s)", path, error)
            return {}, torch.empty(0, 0)
        if not _sound(names, weight) or self.width not in (None, weight.shape[1]):
            log.info("%s: kept labels are damaged", path)
            return {}, torch.empty(0, 0)
        with suppress(OSError):
            os.utime(path)  # used just now
        return {tuple(each): row for row, each in enumerate(names)}, weight

    def _trim(self, newest: Path) -> None:
        """Remove the files unused for longest until the rest fits, but never the newest."""
        files = [(path.stat(), path) for path in self.folder.glob("*.safetensors")]
        total = sum(facts.st_size for facts, _ in files)
        for facts, path in sorted(files, key=lambda file: file[0].st_mtime):
            if total <= LIMIT:
                return
            if path != newest:
                path.unlink(missing_ok=True)
                total -= facts.st_size


def _sound(names: Any, weight: Tensor) -> bool:
    """Say whether these are lists of text and as many unit rows."""
    if weight.ndim != 2 or weight.dtype != torch.float32 or not isinstance(names, list):
        return False
    if len(names) != len(weight) or not all(
        isinstance(each, list) and all(isinstance(name, str) for name in each) for each in names
    ):
        return False
    lengths = weight.norm(dim=1)
    return torch.allclose(lengths, torch.ones_like(lengths), atol=1e-3)
