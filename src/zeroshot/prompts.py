"""Templates and label sets: plain text in, sentences out.

A template is a sentence with one `{}`, where the label goes, replaced literally and never
formatted. A label set names each label by one or more synonyms.
"""

from __future__ import annotations

import json
import os
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from zeroshot.errors import LabelError, PromptError, shortened
from zeroshot.resources import folder

SLOT = "{}"
DEFAULT = "photo"
MAX_LABELS = 100_000

Labels: TypeAlias = Sequence[str] | Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class PromptSet:
    """Templates to ensemble over."""

    templates: tuple[str, ...]
    name: str = "custom"
    source: str | None = None  # where the templates come from

    def __post_init__(self) -> None:
        if isinstance(self.templates, str):
            raise PromptError(
                f"templates is a bare str {self.templates!r}; pass a list: [{self.templates!r}]"
            )
        templates = tuple(self.templates)
        if not templates:
            raise PromptError(f"prompt set {self.name!r} has no templates; give at least one")
        for template in templates:
            if not isinstance(template, str) or template.count(SLOT) != 1:
                raise PromptError(
                    f"template {template!r} must be text with exactly one {SLOT}, which is where "
                    "the label goes; other braces are kept as they are"
                )
        object.__setattr__(self, "templates", templates)

    def render(self, label: str) -> list[str]:
        """Put a label into every template.

        >>> PromptSet(("a photo of a {}.",)).render("{x}")
        ['a photo of a {x}.']
        """
        return [template.replace(SLOT, label) for template in self.templates]

    def __add__(self, other: PromptSet) -> PromptSet:
        """Join two sets; a template in both is kept once."""
        templates = tuple(dict.fromkeys(self.templates + other.templates))
        return PromptSet(templates, f"{self.name}+{other.name}")

    def __len__(self) -> int:
        return len(self.templates)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> PromptSet:
        """Read templates from a file.

        TOML and JSON hold `templates`, a list of text (JSON may also be the bare list); any other
        file is read as one template a line, with empty lines and lines that begin with # left out.
        """
        content = _read(Path(path))
        templates = content.get("templates")
        if not isinstance(templates, list):
            raise PromptError(f"{path}: no list named 'templates' in it")
        return cls(tuple(templates), str(content.get("name", Path(path).stem)), str(path))


Prompts: TypeAlias = PromptSet | str | os.PathLike[str] | Sequence[str]


def available() -> list[str]:
    """List the names of the prompt sets that ship with the package."""
    return sorted(path.stem for path in folder("prompts").glob("*.toml"))


def get(prompts: Prompts) -> PromptSet:
    """Return the prompt set meant by a name, a file, one template, a list of them, or itself."""
    if isinstance(prompts, PromptSet):
        return prompts
    if isinstance(prompts, os.PathLike):
        return PromptSet.read(prompts)
    if not isinstance(prompts, str):
        try:
            return PromptSet(tuple(prompts))
        except TypeError as error:
            raise PromptError(
                f"prompts is {type(prompts).__name__}; pass the name of a set, a file, a template "
                "or a list of templates"
            ) from error
    if SLOT in prompts:
        return PromptSet((prompts,))
    if prompts in available():
        content = _shipped(prompts)
        return PromptSet(tuple(content["templates"]), prompts, content["source"])
    if is_file(prompts):
        return PromptSet.read(prompts)
    raise PromptError(_unknown(prompts))


def labels(name: str | os.PathLike[str]) -> dict[str, list[str]]:
    """Return a data set's labels: display name to the names used in sentences, in class order.

    `name` is a shipped set such as "imagenet", or a TOML/JSON file with `labels`, or a text file
    of one label a line.
    """
    if isinstance(name, str) and name in available():
        content = _shipped(name)
        if "labels_from" in content:
            content = _shipped(content["labels_from"])
        if "labels" not in content:
            sets = [other for other in available() if "labels" in _shipped(other)]
            raise PromptError(
                f"prompt set {name!r} has templates only; sets with labels are {', '.join(sets)}"
            )
    elif is_file(name):
        content = _read(Path(name), key="labels")
        if not isinstance(content.get("labels"), list | dict):
            raise PromptError(
                f'{name}: no list named \'labels\' in it; wanted is {{"labels": ["cat", ...]}}, or '
                "in place of the list a table of names by label"
            )
    else:
        raise PromptError(_unknown(str(name)))
    try:
        return named(_mapping(content["labels"]))
    except LabelError as error:
        raise LabelError(f"{name}: {error}") from error


def is_file(name: str | os.PathLike[str]) -> bool:
    """Tell whether a file has this name; text too long for a file name is none."""
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        return False


def named(labels: Labels) -> dict[str, list[str]]:
    """Check a label set and return it as display name to synonyms, order kept.

    Raises LabelError for a bare str, nothing at all, and labels that are empty, not text, hold
    control characters, or equal one another once white space and Unicode form are normalised.
    """
    if isinstance(labels, str):
        raise LabelError(f"labels is a bare str {shortened(labels)!r}; pass {_meant(labels)}")
    if isinstance(labels, Mapping):
        pairs = [(label, names) for label, names in labels.items()]
    else:
        try:
            pairs = [(label, label) for label in labels]
        except TypeError as error:
            raise LabelError(
                f"labels is {type(labels).__name__}; pass a list or a dict of text"
            ) from error
    if not pairs:
        raise LabelError("no labels given; pass at least two")
    if len(pairs) > MAX_LABELS:
        raise LabelError(f"{len(pairs)} labels given, the limit is {MAX_LABELS}")
    result: dict[str, list[str]] = {}
    seen: dict[str, str] = {}
    for label, names in pairs:
        _check(label)
        try:
            listed = [names] if isinstance(names, str) else list(names or [])
        except TypeError as error:
            raise LabelError(f"label {label!r} has names {names!r}, wanted a list") from error
        if not listed:
            raise LabelError(f"label {label!r} has no names; give it at least one")
        for text in listed:
            _check(text)
        plain = " ".join(unicodedata.normalize("NFC", label).split())
        if plain in seen:
            raise LabelError(
                f"label {label!r} is given twice (as {seen[plain]!r} before); drop one, or tell "
                "them apart, as in 'crane (bird)' and 'crane (machine)'"
            )
        seen[plain] = label
        result[label] = listed
    return result


def _meant(text: str) -> str:
    """Say what a bare str given for labels should have been."""
    if text in available():
        return f"the labels of that set: zeroshot.prompts.labels({text!r})"
    if is_file(text):
        return f"the labels in that file: zeroshot.prompts.labels({text!r})"
    if "," in text:
        return f"a list of labels: {[part.strip() for part in text.split(',')][:5]}"
    return f"a list of labels: [{shortened(text)!r}, ...]"


def _check(text: Any) -> None:
    if not isinstance(text, str):
        raise LabelError(f"label {text!r} is {type(text).__name__}, wanted text; pass str(label)")
    if not text.strip():
        raise LabelError(f"label {text!r} is empty")
    if any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n" for c in text):
        raise LabelError(f"label {text!r} holds control characters; remove them")


def _mapping(labels: Any) -> Labels:
    """Accept a list whose members are names or lists of synonyms, as prompt files write them."""
    if isinstance(labels, Mapping):
        return labels
    pairs: dict[str, str | Sequence[str]] = {}
    for entry in labels:
        display = entry[0] if isinstance(entry, list) and entry else entry
        if not isinstance(display, str) or display in pairs:
            raise LabelError(f"label {display!r} is given twice or is not text")
        pairs[display] = entry
    return pairs


@cache
def _shipped(name: str) -> dict[str, Any]:
    return tomllib.loads((folder("prompts") / f"{name}.toml").read_text("utf-8"))


def _read(path: Path, key: str = "templates") -> dict[str, Any]:
    try:
        text = path.read_text("utf-8-sig")
        if path.suffix == ".toml":
            return tomllib.loads(text)
        if path.suffix == ".json":
            content = json.loads(text)
            return content if isinstance(content, dict) else {key: content}
    except OSError as error:
        raise PromptError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise PromptError(
            f"{path}: not UTF-8 ({error.reason}); save it in that encoding"
        ) from error
    except (ValueError, RecursionError) as error:
        raise PromptError(f"{path}: malformed ({error})") from error
    lines = (line.strip() for line in text.splitlines())
    return {key: [line for line in lines if line and not line.startswith("#")]}


def _unknown(name: str) -> str:
    names = available()
    near = get_close_matches(name.lower(), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return (
        f"no prompt set or file named {name!r}{hint} shipped sets: {', '.join(names)}; a template "
        f"of your own needs one {SLOT} in it"
    )
