"""The catalog of published checkpoints, read from weights/*.toml."""

from __future__ import annotations

import json
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
    "siglip",
    "siglip2",
    "pe",
    "metaclip2",
    "roberta",
    "biomedclip",
    "chineseclip",
    "eva",
    "mobileclip",
    "clipa",
    "convnext",
    "longclip",
)
FAMILY_NAMES = {  # other names of families -> the file in weights/
    "clip": "openai",
    "cnclip": "chineseclip",
    "openclip": "laion",
    "evaclip": "eva",
    "mobileclip2": "mobileclip",
    "xlmroberta": "roberta",
    "xlmr": "roberta",
}
SPEEDS = {  # upper bound of each class in GFLOPs per image; the comments name typical models
    "fastest": 10.0,  # ViT-B/32
    "fast": 60.0,  # ViT-B/16, the small ResNets
    "medium": 200.0,  # ViT-L/14
    "slow": 550.0,  # ViT-L/14@336px, ViT-H/14, ViT-g/14
    "slowest": float("inf"),
}
# Words in names of architectures that are not supported -> the architecture, and a model of the
# catalog for the same purpose.
UNSUPPORTED = {
    "coca": ("CoCa", "ViT-L-14:laion2b"),
    "vitamin": ("ViTamin", "ViT-L-14:datacomp"),
    "nllb": ("NLLB-CLIP, a multilingual text encoder", "siglip2-base"),
    "mt5-base-vit": ("a multilingual text encoder of mT5", "siglip2-base"),
    "mt5-xl-vit": ("a multilingual text encoder of mT5", "siglip2-base"),
    "multilingual-v1": ("a multilingual text encoder without an image tower", "siglip2-base"),
    "m-clip": ("a multilingual text encoder without an image tower", "siglip2-base"),
    "altclip": ("AltCLIP", "siglip2-base"),
    "chinese-clip-rn50": ("Chinese-CLIP with a ResNet", "Chinese-CLIP-ViT-B-16"),
    "eva-clip-8b": ("EVA-CLIP of 8 billion parameters", "EVA02-E-14-plus"),
    "eva-clip-18b": ("EVA-CLIP of 18 billion parameters", "EVA02-E-14-plus"),
    "naflex_vit": ("NaFlexViT of open_clip", "siglip2-naflex"),
    "naflexvit": ("NaFlexViT of open_clip", "siglip2-naflex"),
    "mobileclip[-_]s0": ("MobileCLIP-S0 in Apple's own format", "MobileCLIP2-S0"),
    "pe-spatial": ("a Perception Encoder without a text tower", "PE-Core-B-16"),
    "pe-lang": ("a Perception Encoder without a text tower", "PE-Core-B-16"),
    "align": ("ALIGN", "ViT-L-14:datacomp"),
    "aimv2": ("AIMv2", "ViT-L-14:datacomp"),
    "blip": ("BLIP", "ViT-L-14:datacomp"),
    "instructblip": ("BLIP", "ViT-L-14:datacomp"),
    "jina": ("Jina CLIP", "siglip2-base"),
    "groupvit": ("GroupViT", "ViT-B/16"),
    "clipseg": ("CLIPSeg, a model for segmentation", "ViT-B/16"),
    "flava": ("FLAVA", "ViT-B/16"),
    "owlvit": ("OWL-ViT, a model for detection", "ViT-B/16"),
    "owlv2": ("OWL-ViT, a model for detection", "ViT-B/16"),
    "swin": ("Swin", "ViT-B/16"),
    "imagebind": ("ImageBind", "ViT-H-14:laion2b"),
    "clap": ("CLAP, a model for sound", "ViT-B/32"),
    "tulip": ("TULIP", "siglip2-base"),
}
# Repositories of checkpoints in a format that is not read, or of several checkpoints -> the same or
# a similar checkpoint.
OTHER_FORMATS = {
    r"timm/vit-(b|so400m)-16-siglip2-naflex": r"ViT-\1-16-SigLIP2-naflex",
    r"quansun/eva-clip": "EVA02-L-14",
}
# Owners of the published repositories of these families; others may use the words freely.
PUBLISHERS = (
    *("google", "timm", "apple", "baai", "laion", "salesforce", "kakaobrain", "facebook", "nvidia"),
    *("microsoft", "quansun", "jinaai", "cidas", "visheratin", "ucsc-vlaa", "jienengchen"),
    *("ofa-sys", "sentence-transformers", "m-clip"),
)
# Licenses that do not permit commercial use -> what they permit.
RESTRICTED = {
    "CC-BY-NC-4.0": "non-commercial use only",
    "Apple": "research only",  # apple-amlr
}
BYTES = 4  # per parameter: nearly all published weights are float32
NAMES_LISTED = 4  # of a family in an error
TAGS_LISTED = 8  # tags of an architecture in an error; `zeroshot models` lists all of them

Layout = Literal["native", "open_clip", "huggingface", "openai"]
Usage = Literal["commercial", "research", "unknown"]


@dataclass(frozen=True)
class Entry:
    """One published checkpoint: a table of weights/*.toml."""

    name: str
    repository: str  # on the Hugging Face Hub; empty for the embedded model
    files: tuple[str, ...]  # to download, weights last; empty: try the known names in order
    architecture: str  # name in open_clip
    activation: str  # quick_gelu, gelu or gelu_tanh; of the text tower if the towers differ
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
    preprocess_source: str = ""  # likewise
    revision: str = ""  # commit, if verified
    sha256: str = ""  # of the weights file on the Hub, if verified
    url: str = ""  # the publisher's archive, in addition to the Hub
    url_sha256: str = ""
    aliases: tuple[str, ...] = ()
    # Repositories with the same weights in the transformers layout, or "owner/name:file" of a bare
    # state dict.
    mirrors: tuple[str, ...] = ()
    note: str = ""
    preprocess: dict[str, Any] = field(default_factory=dict)  # where it differs from OpenAI's
    languages: str = "English"  # of texts
    tokenizer: str = ""  # the publisher's tokenizer file; empty for CLIP's, which is included
    download: float | None = None  # megabytes of weights, if the repository's file list was seen

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
            preprocess_is_sourced=bool(self.preprocess_source),
            model_cfg=_networks().get(self.architecture),
        )

    @property
    def extra(self) -> str:
        """The extra of this package that encoding text requires, or ""."""
        return "tokenizers" if self.tokenizer else ""

    @property
    def multilingual(self) -> bool:
        """Whether texts in other languages than English are supported."""
        return self.languages != "English"

    @property
    def usage(self) -> Usage:
        """What the license permits: commercial use, or research or non-commercial use only."""
        if not self.license:
            return "unknown"
        return "research" if self.license in RESTRICTED else "commercial"

    @property
    def restriction(self) -> str:
        """What a license that does not permit commercial use permits, else ""."""
        return RESTRICTED.get(self.license, "")

    @property
    def megabytes(self) -> float | None:
        """Size of the weights to download, estimated if not known; None if unknown."""
        if self.path is not None:
            return 0.0
        if self.download is None and self.parameters is not None:
            return self.parameters * BYTES
        return self.download

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


@cache
def _networks() -> dict[str, dict[str, Any]]:
    """Return open_clip's `model_cfg` by architecture, for weights without a config file.

    Architectures whose tensors determine the sizes are not included.
    """
    content = (folder("weights") / "networks.json").read_text("utf-8")
    return cast(dict[str, dict[str, Any]], json.loads(content))


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
    if like := in_other_format(name):
        raise ModelNotFound(
            f"{shortened(name)!r} has weights in a format that is not supported, or several "
            f"checkpoints; load {like!r}, which has the same or similar weights"
        )
    if kind := unsupported(name):
        raise ModelNotFound(
            f"{shortened(name)!r} has an unsupported architecture, {kind}; try "
            f"{alternative(name)!r} or another of zeroshot.available_models(), or use open_clip or "
            "transformers for this model"
        )
    if family := family_of(name):
        raise ModelNotFound(_family_message(name, family))
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


def family_of(name: str) -> str:
    """Return the family with this name, as in FAMILIES, or ""."""
    plain = _normalize(name)
    family = FAMILY_NAMES.get(plain, plain)
    return family if family in FAMILIES[1:] else ""


def nearest(name: str) -> str:
    """Return the catalog name that is most similar to an unknown one, or ""."""
    cutoff = 0.75 if "/" in name else 0.6  # owners of repositories make names similar by chance
    near = get_close_matches(_normalize(name), _names(), n=1, cutoff=cutoff)
    return _names()[near[0]].name if near else ""


def is_file_name(name: str) -> bool:
    """Return whether a name has the suffix of a weights file."""
    return name.lower().endswith(SUFFIXES)


def unsupported(name: str) -> str:
    """Return the architecture that a name says if it is known and not supported, else "".

    A repository of an owner who is not a known publisher gives "": its name may mean anything.
    """
    return _unsupported(name)[0]


def alternative(name: str) -> str:
    """Return a model for the same purpose as that of an unsupported architecture, else ""."""
    return _unsupported(name)[1]


def in_other_format(name: str) -> str:
    """Return the catalog name of a known repository whose own files are not readable, else ""."""
    said = _said_architecture(name).rstrip("/")
    for pattern, instead in OTHER_FORMATS.items():
        if found := re.fullmatch(pattern, said):
            return find(found.expand(instead)).name
    return ""


def _unsupported(name: str) -> tuple[str, str]:
    said = _said_architecture(name)
    return next((kind for word, kind in UNSUPPORTED.items() if _says(said, word)), ("", ""))


def _said_architecture(name: str) -> str:
    """Return the part of a name that says an architecture, in lowercase; "" if none does."""
    name = name.removeprefix(PREFIX).removeprefix("hf-hub:").removeprefix("hf_hub:").lower()
    owner, slash, _ = name.partition("/")
    if is_file_name(name):
        return ""
    if slash and owner not in PUBLISHERS:
        # "ViT-B-16-SigLIP/webli" is a name of open_clip; "coca/clip" is a repository of coca.
        return owner if re.search(r"[-_]\w*\d|convnext|vitamin-", owner) else ""
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
    tagged = [entry for entry in entries().values() if entry.tag]
    known = {_normalize(entry.architecture): entry.architecture for entry in tagged}
    known |= {_normalize(e.name): e.architecture for e in entries().values() if e.tag == "openai"}
    for before, _, after in (name.rpartition(":"), name.rpartition("/"), (name, "", "")):
        if _normalize(before) in known:
            return known[_normalize(before)], after
    return "", ""


def _family_message(name: str, family: str) -> str:
    """List some names of a family that was requested instead of a checkpoint."""
    names = list(_family(family))
    listed = ", ".join(map(repr, names[:NAMES_LISTED]))
    return (
        f"{shortened(name)!r} is a family of models, not a checkpoint; expected one of its "
        f"{len(names)} names, such as {listed}; `zeroshot models --family {family}` lists them"
    )


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
    known = {  # repositories without their owner
        _normalize(repository.partition("/")[2]): entry
        for repository, entry in _repositories().items()
    }
    known |= {_normalize(f"{e.architecture}:{e.tag}"): e for e in entries().values() if e.tag}
    known |= {_normalize(e.architecture): e for e in entries().values() if e.tag == "openai"}
    known |= {_normalize(alias): e for e in entries().values() for alias in e.aliases}
    return known | {_normalize(entry.name): entry for entry in entries().values()}


@cache
def _repositories() -> dict[str, Entry]:
    """Return checkpoints by lowercase repository.

    Mirrors use the transformers layout, or are a bare state dict.
    """
    known: dict[str, Entry] = {}
    for entry in entries().values():
        for mirror in entry.mirrors:
            repository, _, file = mirror.partition(":")
            known[repository.lower()] = replace(
                entry,
                repository=repository,
                files=(file,) if file else (),
                layout="openai" if file else "huggingface",
                revision="",
                sha256="",
            )
        if entry.repository:
            known[entry.repository.lower()] = entry
    return known


def _normalize(name: str) -> str:
    """Keep the lowercase letters and digits of a name, without "quickgelu"."""
    letters = "".join(c for c in name.lower() if c.isalnum())
    return letters.replace("quickgelu", "")
