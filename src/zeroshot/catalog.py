"""Which checkpoints exist, where they live, how to know them: weights/*.toml, read."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

from zeroshot.errors import ModelNotFound, seen_from
from zeroshot.resources import folder
from zeroshot.spec import Activation, PreprocessConfig, Published
from zeroshot.weight_files import SUFFIXES

DEFAULT = "ViT-B/32"
EMBEDDED = "mini"
FAMILIES = (  # the files of weights/, in the order they are listed
    "embedded",
    "openai",
    "laion",
    "datacomp",
    "dfn",
    "metaclip",
    "resnets",
    "tinyclip",
)
SPEEDS = {  # gflops an image, up to which the class holds: bounds between the usual towers
    "fastest": 10.0,  # ViT-B/32
    "fast": 60.0,  # ViT-B/16, the small ResNets
    "medium": 200.0,  # ViT-L/14
    "slow": 550.0,  # ViT-L/14@336px, ViT-H/14, ViT-g/14
    "slowest": float("inf"),
}
TAGS_LISTED = 8  # of an architecture, in an error; `zeroshot models` has them all

Layout = Literal["native", "open_clip", "huggingface"]


@dataclass(frozen=True)
class Entry:
    """One published checkpoint, a table of weights/*.toml."""

    name: str
    repository: str  # on the Hugging Face hub; empty for the embedded model
    files: tuple[str, ...]  # what to fetch, the weights last; empty: the known names in turn
    architecture: str  # open_clip's name for it
    activation: str  # quick_gelu or gelu
    image_size: int  # pixels
    embed_dim: int
    license: str = ""  # empty where none was found
    family: str = ""  # the file of weights/ it stands in
    tag: str = ""  # open_clip's name for the data it was trained on
    layout: Layout = "open_clip"
    context_length: int = 77  # tokens
    parameters: float | None = None  # millions, both towers
    gflops: float | None = None  # of the image tower for one image; two a multiply-add
    accuracy: float | None = None  # ImageNet top-1 in percent, zero-shot, 80 templates
    accuracy_source: str = ""
    activation_source: str = ""  # who says so; empty where the files' own word is better
    revision: str = ""  # commit, where it could be verified
    sha256: str = ""  # of the weights file on the hub, where it could be verified
    url: str = ""  # the publisher's own archive, beside the hub
    url_sha256: str = ""
    aliases: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()  # repositories with the same weights in transformers' layout
    note: str = ""
    preprocess: dict[str, Any] = field(default_factory=dict)  # where it is not OpenAI's

    @property
    def path(self) -> Path | None:
        """Where the weights lie in this package, or None when they must be fetched."""
        return None if self.repository else folder("weights") / self.files[-1]

    @property
    def published(self) -> Published:
        """What is published about it, for loading to rely on or insist on."""
        return Published(
            activation=cast(Activation, self.activation),
            preprocess=PreprocessConfig(self.image_size, **self.preprocess),
            embed_dim=self.embed_dim,
            context_length=self.context_length,
            activation_is_sourced=bool(self.activation_source),
        )

    @property
    def speed(self) -> str:
        """A word for how fast images go through; empty where the cost is not known."""
        if self.gflops is None:
            return ""
        return next(word for word, limit in SPEEDS.items() if self.gflops < limit)


@cache
def entries() -> dict[str, Entry]:
    """Return every known checkpoint by name, family after family."""
    return {name: entry for family in FAMILIES for name, entry in _family(family).items()}


@cache
def _family(family: str) -> dict[str, Entry]:
    """Read the checkpoints of one file of weights/."""
    tables = tomllib.loads((folder("weights") / f"{family}.toml").read_text("utf-8"))
    return {
        name: Entry(name=name, **{key: _frozen(value) for key, value in table.items()})
        for name, table in tables.items()
    }


def _frozen(value: Any) -> Any:
    """Make tuples of lists, at any depth."""
    if isinstance(value, dict):
        return {key: _frozen(each) for key, each in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def available_models() -> list[str]:
    """List the names that `load` knows; `mini` is in the package, the others are fetched."""
    return list(entries())


def find(name: str) -> Entry:
    """Return the checkpoint of a name, alias or hub repository, case and punctuation aside.

    Understood are OpenAI's names ("ViT-B/32"), open_clip's ("ViT-B-32:laion2b_s34b_b79k", with
    "/" too, and "-quickgelu" as may be), an architecture with a family ("ViT-B/16:datacomp"), and
    repositories of the catalog ("openai/clip-vit-base-patch32", after "hf-hub:" too).

    Raises ModelNotFound with the nearest name, or with the tags of an architecture that is known.
    """
    if name in _family(FAMILIES[0]):  # of the package: no other file needs to be read
        return _family(FAMILIES[0])[name]
    plain = _plain(name)
    if plain in _names():
        return _names()[plain]
    repository = name.removeprefix("hf-hub:").removeprefix("hf_hub:").rstrip("/").lower()
    if repository in _repositories():
        return _repositories()[repository]
    known, tag = _split(name)
    if known:
        raise ModelNotFound(_wrong_tag(name, known, tag))
    if is_file_name(name):
        raise ModelNotFound(f"{name}: no such file{seen_from(Path(name))}")
    near = get_close_matches(plain, _names(), n=1, cutoff=0.6)
    hint = f"; did you mean {_names()[near[0]].name!r}?" if near else ";"
    raise ModelNotFound(
        f"no model named {name!r}{hint} zeroshot.available_models() lists all {len(entries())}, "
        "and a path or a hub repository 'owner/name' works too"
    )


def is_file_name(name: str) -> bool:
    """Say whether this is the name of a weights file rather than of a model."""
    return name.lower().endswith(SUFFIXES)


def published(name: str) -> Entry | None:
    """Return the checkpoint to be fetched under a name, or None for `mini` and unknown names."""
    try:
        entry = find(name)
    except ModelNotFound:
        return None
    return entry if entry.repository else None


def looks_like_ours(name: str) -> bool:
    """Say whether a name is a slip of one of OpenAI's, as "ViT-B/23", and not a repository."""
    owners = {known.partition("/")[0].lower() for known in entries() if "/" in known}
    return bool(architecture(name)) or name.partition("/")[0].lower() in owners


def architecture(name: str) -> str:
    """Return the known architecture that a name begins with, as in "ViT-B-32/no_such_tag".

    Such a name is a mistake in the tag and not a hub repository; "" is returned for others.
    """
    return _split(name)[0]


def _split(name: str) -> tuple[str, str]:
    """Split a name into a known architecture and what stands for a tag; empty where there is none.

    "ViT-B/32/laion" and "ViT-B-32:laion" both do: the tag is what follows the last mark.
    """
    known = {_plain(entry.architecture): entry.architecture for entry in entries().values()}
    known |= {_plain(e.name): e.architecture for e in entries().values() if e.tag == "openai"}
    for before, _, after in (name.rpartition(":"), name.rpartition("/"), (name, "", "")):
        if _plain(before) in known:
            return known[_plain(before)], after
    return "", ""


def _wrong_tag(name: str, known: str, tag: str) -> str:
    tags = [e.tag for e in entries().values() if e.architecture == known]
    near = get_close_matches(tag.lower(), tags, n=len(tags), cutoff=0.4)
    listed = [*near, *(each for each in tags if each not in near)]
    more = len(listed) - TAGS_LISTED
    problem = (
        f"no model named {name!r}: {known} has no tag {tag!r}"
        if tag
        else f"{name!r} is an architecture, not a checkpoint"
    )
    hint = f"; did you mean '{known}:{near[0]}'?" if near else ";"
    rest = f" and {more} more" if more > 0 else ""
    return f"{problem}{hint} it has {', '.join(listed[:TAGS_LISTED])}{rest}"


@cache
def _names() -> dict[str, Entry]:
    """Return checkpoints by plain name: own names win over aliases."""
    known = {_plain(f"{e.architecture}:{e.tag}"): e for e in entries().values() if e.tag}
    known |= {_plain(e.architecture): e for e in entries().values() if e.tag == "openai"}
    known |= {_plain(alias): e for e in entries().values() for alias in e.aliases}
    return known | {_plain(entry.name): entry for entry in entries().values()}


@cache
def _repositories() -> dict[str, Entry]:
    """Return checkpoints by repository in lower case; a mirror's lies in its own layout."""
    known: dict[str, Entry] = {}
    for entry in entries().values():
        for mirror in entry.mirrors:
            known[mirror.lower()] = replace(
                entry, repository=mirror, files=(), layout="huggingface", revision="", sha256=""
            )
        if entry.repository:
            known[entry.repository.lower()] = entry
    return known


def _plain(name: str) -> str:
    """Reduce a name to its letters and digits; the activation goes without saying."""
    letters = "".join(c for c in name.lower() if c.isalnum())
    return letters.replace("quickgelu", "")
