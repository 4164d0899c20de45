"""The catalog of published checkpoints, read from weights/*.toml."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

from zeroshot.errors import ModelNotFound, seen_from, shortened
from zeroshot.resources import folder
from zeroshot.spec import Activation, PreprocessConfig, Published
from zeroshot.weight_files import SUFFIXES

DEFAULT = "ViT-B/32"
EMBEDDED = "mini"
PREFIX = "catalog:"  # before a name that is also a local file or folder
FAMILIES = (  # the files in weights/, in the order of listing
    "embedded",
    "openai",
    "laion",
    "datacomp",
    "dfn",
    "metaclip",
    "resnets",
    "tinyclip",
)
SPEEDS = {  # upper bound of each class in GFLOPs per image; the comments name typical models
    "fastest": 10.0,  # ViT-B/32
    "fast": 60.0,  # ViT-B/16, the small ResNets
    "medium": 200.0,  # ViT-L/14
    "slow": 550.0,  # ViT-L/14@336px, ViT-H/14, ViT-g/14
    "slowest": float("inf"),
}
# Words in names of architectures that are not supported -> the architecture.
UNSUPPORTED = {
    "naflex": "SigLIP 2 with NaFlex",
    "eva": "EVA",
    "coca": "CoCa",
    "convnextv2": "ConvNeXt",
    "pe-spatial": "a Perception Encoder without a text tower",
    "multilingual": "a multilingual text encoder",
    "mt5": "a multilingual text encoder",
    "xlm": "a multilingual text encoder",
    "roberta": "a RoBERTa text encoder",
    "nllb": "a multilingual text encoder",
    "blip": "BLIP",
    "instructblip": "BLIP",
    "align": "ALIGN",
    "chinese-clip": "Chinese-CLIP",
    "altclip": "AltCLIP",
    "groupvit": "GroupViT",
    "clipseg": "CLIPSeg",
    "flava": "FLAVA",
    "owlvit": "OWL-ViT",
    "owlv2": "OWL-ViT",
    "vitamin": "ViTamin",
    "clipa": "CLIPA",
    "swin": "Swin",
    "imagebind": "ImageBind",
    "clap": "CLAP",
    "naflexvit": "NaFlexViT",
    "jina": "Jina CLIP",
    "tulip": "TULIP",
    "worldwide": "MetaCLIP 2",
}
# Words in names of families without names in the catalog -> the family, and one of the repositories
# that are loaded. Those of facebook/PE-Core have another format.
REPOSITORIES = {
    "convnext": ("ConvNeXt", "laion/CLIP-convnext_base_w-laion2B-s13B-b82K"),
    "mobileclip2?": ("MobileCLIP", "timm/MobileCLIP2-S0-OpenCLIP"),
    "siglip2?": ("SigLIP", "google/siglip-base-patch16-224"),
    "pe-core": ("PE-Core", "timm/PE-Core-B-16"),
}
# Owners of the published repositories of these families; others may use the words freely.
PUBLISHERS = (
    *("google", "timm", "apple", "baai", "laion", "salesforce", "kakaobrain", "facebook", "nvidia"),
    *("microsoft", "quansun", "jinaai", "cidas", "visheratin", "ucsc-vlaa", "jienengchen"),
    *("ofa-sys", "sentence-transformers"),
)
TAGS_LISTED = 8  # tags of an architecture in an error; `zeroshot models` lists all of them

Layout = Literal["native", "open_clip", "huggingface"]


@dataclass(frozen=True)
class Entry:
    """One published checkpoint: a table of weights/*.toml."""

    name: str
    repository: str  # on the Hugging Face Hub; empty for the embedded model
    files: tuple[str, ...]  # to download, weights last; empty: try the known names in order
    architecture: str  # name in open_clip
    activation: str  # quick_gelu or gelu
    image_size: int  # pixels
    embed_dim: int
    license: str = ""  # empty if unknown
    family: str = ""  # name of its file in weights/
    tag: str = ""  # name of the training data in open_clip
    layout: Layout = "open_clip"
    context_length: int = 77  # tokens
    parameters: float | None = None  # millions, image and text tower together
    gflops: float | None = None  # image tower, one image; a multiply-add counts as two
    accuracy: float | None = None  # zero-shot ImageNet top-1 in percent, 80 templates
    accuracy_source: str = ""
    activation_source: str = ""  # reference; empty if the checkpoint's config takes precedence
    revision: str = ""  # commit, if verified
    sha256: str = ""  # of the weights file on the Hub, if verified
    url: str = ""  # the publisher's archive, in addition to the Hub
    url_sha256: str = ""
    aliases: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()  # repositories with the same weights in the transformers layout
    note: str = ""
    preprocess: dict[str, Any] = field(default_factory=dict)  # where it differs from OpenAI's

    @property
    def path(self) -> Path | None:
        """Path of the weights in this package, or None if they must be downloaded."""
        return None if self.repository else folder("weights") / self.files[-1]

    @property
    def published(self) -> Published:
        """The published facts that loading uses as defaults or checks against."""
        return Published(
            activation=cast(Activation, self.activation),
            preprocess=PreprocessConfig(self.image_size, **self.preprocess),
            embed_dim=self.embed_dim,
            context_length=self.context_length,
            activation_is_sourced=bool(self.activation_source),
        )

    @property
    def speed(self) -> str:
        """The speed class for images, a key of `SPEEDS`; empty if the cost is unknown."""
        if self.gflops is None:
            return ""
        return next(word for word, limit in SPEEDS.items() if self.gflops < limit)


@cache
def entries() -> dict[str, Entry]:
    """Return all checkpoints by name, ordered by family."""
    return {name: entry for family in FAMILIES for name, entry in _family(family).items()}


@cache
def _family(family: str) -> dict[str, Entry]:
    """Read the checkpoints of one file in weights/."""
    tables = tomllib.loads((folder("weights") / f"{family}.toml").read_text("utf-8"))
    return {
        name: Entry(name=name, **{key: _freeze(value) for key, value in table.items()})
        for name, table in tables.items()
    }


def _freeze(value: Any) -> Any:
    """Convert lists to tuples, recursively."""
    if isinstance(value, dict):
        return {key: _freeze(each) for key, each in value.items()}
    return tuple(map(_freeze, value)) if isinstance(value, list) else value


def available_models() -> list[str]:
    """List the catalog names that `load` accepts.

    The model "mini" is included in the package; the others are downloaded.

    Returns:
        Names such as "ViT-B/32", in the order of the catalog.

    Example:
        >>> zeroshot.available_models()[0]
        'mini'
    """
    return list(entries())


def find(name: str) -> Entry:
    """Return the checkpoint of a name, alias or Hub repository.

    Case and punctuation are ignored. `name` may be an OpenAI name ("ViT-B/32"), an open_clip name
    ("ViT-B-32:laion2b_s34b_b79k", also with "/", with or without "-quickgelu"), an architecture
    with a family ("ViT-B/16:datacomp"), or a repository of the catalog
    ("openai/clip-vit-base-patch32", also after "hf-hub:"). "catalog:" may precede any of them.

    Raises ModelNotFound with the closest name, or with the tags of a known architecture.
    """
    name = name.removeprefix(PREFIX)
    if name in _family(FAMILIES[0]):  # included in the package: skip the other files
        return _family(FAMILIES[0])[name]
    plain = _normalize(name)
    if plain in _names():
        return _names()[plain]
    repository = name.removeprefix("hf-hub:").removeprefix("hf_hub:").rstrip("/").lower()
    if repository in _repositories():
        return _repositories()[repository]
    if kind := unsupported(name):
        raise ModelNotFound(
            f"{shortened(name)!r} has an unsupported architecture, {kind}; expected a CLIP with a "
            "ViT or ResNet image tower and CLIP's text tower, such as those in "
            "zeroshot.available_models(), SigLIP, PE-Core, MobileCLIP or ConvNeXt; use open_clip "
            "or transformers for other models"
        )
    if like := repository_like(name):
        raise ModelNotFound(
            f"no model named {shortened(name)!r} in the catalog; models of that family are loaded "
            f"by repository, as in zeroshot.load({like!r})"
        )
    known, tag = _split(name)
    if known:
        raise ModelNotFound(_tag_message(name, known, tag))
    if is_file_name(name):
        folder = shortened(seen_from(Path(name)), 150)
        raise ModelNotFound(f"{shortened(name, 300)}: no such file{folder}; check the path")
    near = nearest(name)
    hint = f"; did you mean {near!r}?" if near else ";"
    raise ModelNotFound(
        f"no model named {shortened(name)!r}{hint} expected one of the {len(entries())} names in "
        "zeroshot.available_models(), a path, or a Hub repository 'owner/name'"
    )


def nearest(name: str) -> str:
    """Return the catalog name that is most similar to an unknown one, or ""."""
    near = get_close_matches(_normalize(name), _names(), n=1, cutoff=0.6)
    return _names()[near[0]].name if near else ""


def is_file_name(name: str) -> bool:
    """Return whether a name has the suffix of a weights file."""
    return name.lower().endswith(SUFFIXES)


def unsupported(name: str) -> str:
    """Return the architecture that a name says if it is known and not supported, else "".

    A repository of an owner who is not a known publisher gives "": its name may mean anything.
    """
    said = _said_architecture(name)
    return next((kind for word, kind in UNSUPPORTED.items() if _says(said, word)), "")


def repository_like(name: str) -> str:
    """Return a repository of the family that a name says and the catalog lacks, else "".

    A repository of such a family gives "", except for those of another format.
    """
    said = _said_architecture(name)
    owner, slash, _ = said.partition("/")
    if slash and owner != "facebook":
        return ""
    found = (repository for word, (_, repository) in REPOSITORIES.items() if _says(said, word))
    return next(found, "")


def _said_architecture(name: str) -> str:
    """Return the part of a name that says an architecture, in lowercase; "" if none does."""
    name = name.removeprefix(PREFIX).removeprefix("hf-hub:").removeprefix("hf_hub:").lower()
    owner, slash, _ = name.partition("/")
    if is_file_name(name):
        return ""
    if slash and owner not in PUBLISHERS:
        # "ViT-B-16-SigLIP/webli" is a name of open_clip; "coca/clip" is a repository of coca.
        return owner if re.search(r"[-_]\w*\d|convnext", owner) else ""
    return name


def _says(name: str, word: str) -> bool:
    return bool(re.search(rf"(?<![a-z]){word}(?![a-z])", name))


def find_remote(name: str) -> Entry | None:
    """Return the downloadable checkpoint of a name, or None.

    "mini" and unknown names give None.
    """
    try:
        entry = find(name)
    except ModelNotFound:
        return None
    return entry if entry.repository else None


def looks_like_catalog_name(name: str) -> bool:
    """Return whether a name is a misspelled catalog name and not a repository.

    An example is "ViT-B/23".
    """
    owners = {known.partition("/")[0].lower() for known in entries() if "/" in known}
    return bool(architecture(name)) or name.partition("/")[0].lower() in owners


def architecture(name: str) -> str:
    """Return the known architecture at the start of a name, or "".

    A name such as "ViT-B-32/no_such_tag" has a wrong tag and is not a Hub repository.
    """
    return _split(name)[0]


def _split(name: str) -> tuple[str, str]:
    """Split a name into a known architecture and a tag, each "" if missing.

    The tag follows the last ":" or "/", as in "ViT-B-32:laion" and "ViT-B/32/laion".
    """
    known = {_normalize(entry.architecture): entry.architecture for entry in entries().values()}
    known |= {_normalize(e.name): e.architecture for e in entries().values() if e.tag == "openai"}
    for before, _, after in (name.rpartition(":"), name.rpartition("/"), (name, "", "")):
        if _normalize(before) in known:
            return known[_normalize(before)], after
    return "", ""


def _tag_message(name: str, known: str, tag: str) -> str:
    """Describe a missing or unknown tag, and list the tags of the architecture."""
    tags = [e.tag for e in entries().values() if e.architecture == known]
    near = get_close_matches(tag.lower(), tags, n=len(tags), cutoff=0.4)
    listed = [*near, *(each for each in tags if each not in near)]
    more = len(listed) - TAGS_LISTED
    problem = (
        f"no model named {shortened(name)!r}: {known} has no tag {shortened(tag)!r}"
        if tag
        else f"{shortened(name)!r} is an architecture, not a checkpoint"
    )
    hint = f"; did you mean '{known}:{near[0]}'?" if near else ";"
    rest = f" and {more} more" if more > 0 else ""
    return f"{problem}{hint} expected one of the tags {', '.join(listed[:TAGS_LISTED])}{rest}"


@cache
def _names() -> dict[str, Entry]:
    """Return checkpoints by normalized name; names take precedence over aliases."""
    known = {_normalize(f"{e.architecture}:{e.tag}"): e for e in entries().values() if e.tag}
    known |= {_normalize(e.architecture): e for e in entries().values() if e.tag == "openai"}
    known |= {_normalize(alias): e for e in entries().values() for alias in e.aliases}
    return known | {_normalize(entry.name): entry for entry in entries().values()}


@cache
def _repositories() -> dict[str, Entry]:
    """Return checkpoints by lowercase repository.

    Mirrors use the transformers layout.
    """
    known: dict[str, Entry] = {}
    for entry in entries().values():
        for mirror in entry.mirrors:
            known[mirror.lower()] = replace(
                entry, repository=mirror, files=(), layout="huggingface", revision="", sha256=""
            )
        if entry.repository:
            known[entry.repository.lower()] = entry
    return known


def _normalize(name: str) -> str:
    """Keep the lowercase letters and digits of a name, without "quickgelu"."""
    letters = "".join(c for c in name.lower() if c.isalnum())
    return letters.replace("quickgelu", "")
