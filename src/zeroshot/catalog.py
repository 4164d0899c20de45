"""Which checkpoints exist, where they live, how to know them: weights/*.toml, read."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from zeroshot.errors import ModelNotFound
from zeroshot.resources import folder

DEFAULT = "ViT-B/32"
EMBEDDED = "mini"


@dataclass(frozen=True)
class Entry:
    """One published checkpoint, a table of weights/*.toml."""

    name: str
    repository: str  # on the Hugging Face hub; empty for the embedded model
    files: tuple[str, ...]  # what to fetch, the weights last
    architecture: str  # open_clip's name for it
    activation: str  # quick_gelu or gelu
    image_size: int  # pixels
    embed_dim: int
    license: str
    accuracy: float | None = None  # ImageNet top-1 in percent, zero-shot, 80 templates
    accuracy_source: str = ""
    revision: str = ""  # commit, where it could be verified
    sha256: str = ""  # of the weights file, where it could be verified
    aliases: tuple[str, ...] = ()
    note: str = ""
    preprocess: dict[str, Any] = field(default_factory=dict)  # where it is not OpenAI's

    @property
    def path(self) -> Path | None:
        """Where the weights lie in this package, or None when they must be fetched."""
        return None if self.repository else folder("weights") / self.files[-1]


@cache
def entries() -> dict[str, Entry]:
    """Return every known checkpoint by name, in the order of the files."""
    found: dict[str, Entry] = {}
    for path in sorted(folder("weights").glob("*.toml")):
        for name, table in tomllib.loads(path.read_text("utf-8")).items():
            values: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value
                for key, value in table.items()
            }
            found[name] = Entry(name=name, **values)
    return found


def available_models() -> list[str]:
    """List the names that `load` knows; `mini` is in the package, the others are fetched."""
    return list(entries())


def find(name: str) -> Entry:
    """Return the checkpoint of a name or alias, case and punctuation aside.

    Raises ModelNotFound with the nearest name.
    """
    known = entries()
    if name in known:
        return known[name]
    plain = {_plain(alias): e for e in known.values() for alias in (*e.aliases, e.name)}
    if _plain(name) in plain:
        return plain[_plain(name)]
    near = get_close_matches(_plain(name), plain, n=1, cutoff=0.5)
    hint = f"; did you mean {plain[near[0]].name!r}?" if near else ";"
    raise ModelNotFound(
        f"no model named {name!r}{hint} zeroshot.available_models() lists all {len(known)}, and "
        "a path or a hub repository 'owner/name' works too"
    )


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
