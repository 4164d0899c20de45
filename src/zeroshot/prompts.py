"""Define prompt templates and label sets.

A template is a sentence with one `{}`, which is replaced by the label. The replacement is literal;
no format syntax is evaluated. A label set gives each label one or more synonyms.
"""

from __future__ import annotations

import logging
import math
import os
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from zeroshot import label_files
from zeroshot.arguments import file_path, instance, is_text, iterator
from zeroshot.errors import (
    LabelError,
    PromptError,
    TokenLimitError,
    seen_from,
    short_errors,
    short_errors_in,
    shortened,
)
from zeroshot.resources import folder

ARTICLE = re.compile(r"(?:an?|the)\s+(?=\S)", re.IGNORECASE)
ENDS_IN_ARTICLE = re.compile(r"(?:^|\W)(?:an?|the)\s+$", re.IGNORECASE)
SLOT = "{}"  # what a label replaces in a template
DEFAULT = "photo"
MAX_LABELS = 100_000
BACKGROUND = (
    *("imagenet", "sun397", "dtd", "food101", "kinetics700", "caltech101", "cifar100", "ucf101"),
    *("resisc45", "voc2007", "stl10"),
)

# A mapping of mappings is a tree of labels, for `Model.classifier` and `Model.head`.
Labels: TypeAlias = Sequence[str] | Mapping[str, str | Sequence[str] | Mapping[str, Any]]

log = logging.getLogger("zeroshot")


@short_errors_in
@dataclass(frozen=True)
class PromptSet:
    """Prompt templates whose embeddings are averaged.

    Args:
        templates: A list of texts with exactly one `{}` each.
        name: Name that heads record.
        source: Where the templates come from, or None.

    Raises:
        PromptError: There are no templates, or one is malformed.

    Example:
        >>> len(zeroshot.PromptSet(("a photo of a {}.", "a drawing of a {}.")))
        2
    """

    templates: tuple[str, ...]
    name: str = "custom"
    source: str | None = None  # where the templates come from

    def __post_init__(self) -> None:
        if isinstance(self.templates, str):
            raise PromptError(
                f"expected a list of templates, got the str {shortened(repr(self.templates))}; "
                f"pass a list: [{shortened(repr(self.templates))}]"
            )
        templates = tuple(iterator("templates", self.templates, PromptError))
        if not templates:
            raise PromptError(
                f"prompt set {shortened(repr(self.name))} has no templates; pass at least one"
            )
        for template in templates:
            if not is_text(template) or template.count(SLOT) != 1:
                raise PromptError(
                    f"template {shortened(repr(template))} must be text with exactly one {SLOT}, "
                    "which is replaced by the label; other braces are kept unchanged"
                )
        if not is_text(self.name):
            raise PromptError(
                f"expected the name of a prompt set as text, got {shortened(repr(self.name))}; "
                "pass a str"
            )
        object.__setattr__(self, "templates", templates)

    def __repr__(self) -> str:
        more = f", and {len(self) - 1} more" if len(self) > 1 else ""
        return f"<PromptSet {self.name!r}: {shortened(repr(self.templates[0]))}{more}>"

    def render(self, label: str) -> list[str]:
        """Return every template with a label inserted.

        After an article, the label's own article is omitted.

        Args:
            label: The text that replaces `{}`.

        Returns:
            One text for each template.

        Raises:
            InputError: The label is not text.

        Example:
            >>> zeroshot.PromptSet(("a photo of a {}.", "{} outdoors")).render("a cat")
            ['a photo of a cat.', 'a cat outdoors']
        """
        instance("label", label, str, "pass str(label)")
        return [insert(template, label) for template in self.templates]

    def __add__(self, other: PromptSet) -> PromptSet:
        """Concatenate two sets; a template that is in both is kept once.

        Args:
            other: Another prompt set.

        Returns:
            A set of the templates of both.

        Raises:
            InputError: `other` is not a prompt set.

        Example:
            >>> zeroshot.prompts.get("photo") + zeroshot.PromptSet(("a drawing of a {}.",))
            <PromptSet 'photo+custom': ...>
        """
        instance("other", other, PromptSet, "make one with zeroshot.prompts.get()")
        templates = tuple(dict.fromkeys(self.templates + other.templates))
        return PromptSet(templates, f"{self.name}+{other.name}")

    def __len__(self) -> int:
        return len(self.templates)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> PromptSet:
        """Read templates from a file.

        TOML and JSON files contain `templates`, a list of texts (a JSON file may also be the list
        itself); CSV files a column `template`. Any other file is read as one template per line;
        empty lines and lines that start with # are ignored.

        Args:
            path: File to read.

        Returns:
            The prompt set, named by the file.

        Raises:
            PromptError: The file cannot be read or is malformed.

        Example:
            >>> from pathlib import Path
            >>> _ = Path("mine.txt").write_text("a photo of a {}.")
            >>> zeroshot.PromptSet.read("mine.txt")
            <PromptSet 'mine': 'a photo of a {}.'>
        """
        path = file_path(path, PromptError)
        content = label_files.read(path, "templates")
        templates = content.get("templates")
        if not isinstance(templates, list):
            raise PromptError(
                f"{path}: expected a list named 'templates', got "
                f"{shortened(repr(templates))}; see the files of the shipped prompt sets"
            )
        stem = path.stem.encode(errors="backslashreplace").decode()  # may be invalid UTF-8
        return cls(tuple(templates), str(content.get("name", stem)), str(path))


def insert(template: str, label: str) -> str:
    """Replace the `{}` of a template with a label.

    If the text before `{}` ends in an article, the label's own article is omitted: "a photo of a
    {}" and "a cat" become "a photo of a cat".

    Args:
        template: Text with one `{}`.
        label: The text that replaces it.
    """
    before, _, after = template.partition(SLOT)
    if (article := ARTICLE.match(label)) and drops_article(template):
        label = label[article.end() :]
    return f"{before}{label}{after}"


def drops_article(template: str) -> bool:
    """Return whether `insert` omits the article of a label, as in "a photo of a {}".

    Args:
        template: Text with one `{}`.
    """
    return ENDS_IN_ARTICLE.search(template.partition(SLOT)[0]) is not None


def fits(label: str, prompt_set: PromptSet, tokenizer: Any) -> bool:
    """Return whether a model reads a label in every template without truncation.

    Args:
        label: The text that replaces the `{}` of the templates.
        prompt_set: The templates.
        tokenizer: The tokenizer of the model.
    """
    try:
        tokenizer.rows(prompt_set.render(label))
    except TokenLimitError:
        return False
    return True


Prompts: TypeAlias = PromptSet | str | os.PathLike[str] | Sequence[str]


def available() -> list[str]:
    """List the names of the prompt sets that ship with the package.

    Returns:
        Names, sorted.

    Example:
        >>> "imagenet" in zeroshot.prompts.available()
        True
    """
    return sorted(path.stem for path in folder("prompts").glob("*.toml"))


@short_errors
def get(prompts: Prompts) -> PromptSet:
    """Return a prompt set by name, or from a file or templates.

    Args:
        prompts: Name of a shipped set, a file, one template, a list of templates, or a `PromptSet`,
            which is returned unchanged.

    Returns:
        The prompt set.

    Raises:
        PromptError: No set or file has that name, or the templates are malformed.

    Example:
        >>> len(zeroshot.prompts.get("imagenet"))
        80
    """
    if isinstance(prompts, PromptSet):
        return prompts
    if isinstance(prompts, os.PathLike):
        return PromptSet.read(prompts)
    if not isinstance(prompts, str):
        return PromptSet(tuple(iterator("prompts", prompts, PromptError)))
    if SLOT in prompts:
        return PromptSet((prompts,))
    if prompts in available():
        _note_namesake(prompts)
        content = _shipped(prompts)
        return PromptSet(tuple(content["templates"]), prompts, content["source"])
    if is_file(prompts):
        return PromptSet.read(prompts)
    raise PromptError(_unknown_message(prompts))


@short_errors
def labels(name: str | os.PathLike[str]) -> dict[str, list[str]]:
    r"""Return a data set's labels: display name to synonyms, in class order.

    Args:
        name: A shipped set such as "imagenet", or a file. Its suffix decides how it is read. `.csv`
            and `.tsv`: the column `label`, `name`, `class` or `category`, or the only column.
            `.json`: a list, {"labels": ...} (or `names` or `classes`), {"pet": ["cat", "dog"]}, or
            numbered labels such as {"0": "cat"} or an `id2label`. `.jsonl`: the field `label`,
            `name`, `class` or `category`. `.toml`: `labels`. `.yaml`: a list, or `names` or
            `labels`, as in YOLO's data.yaml. Other text files: one label per line; lines that start
            with # are comments, and \# starts a label with #.

    Returns:
        A dict from each label to its list of synonyms, which `Model.classifier` accepts as labels.
        `list()` of it gives the labels alone.

    Raises:
        PromptError: No set or file has that name, or it contains no labels or cannot be read.
        LabelError: A label is invalid.

    Example:
        >>> list(zeroshot.prompts.labels("cifar10"))[:3]
        ['airplane', 'automobile', 'bird']
    """
    try:
        return named(_to_mapping(read_labels(name)))
    except LabelError as error:
        raise LabelError(f"{name}: {error}") from error


def read_labels(name: str | os.PathLike[str]) -> Any:
    """Return the labels of a shipped set or a file as they are written, without checking them.

    Raises:
        PromptError: As in `labels`.
    """
    file = file_path(name, PromptError)
    if isinstance(name, str) and name in available():
        _note_namesake(name)
        content = _shipped(name)
        if "labels_from" in content:
            content = _shipped(content["labels_from"])
        if "labels" not in content:
            sets = [other for other in available() if "labels" in _shipped(other)]
            raise PromptError(
                f"prompt set {name!r} has templates only; use a set with labels: {', '.join(sets)}"
            )
    elif is_file(file):
        content = label_files.read(file, "labels")
        if not isinstance(content.get("labels"), list | dict):
            raise PromptError(
                f"{name}: no list named 'labels'; expected "
                '{"labels": ["cat", ...]} or {"labels": {"cat": ["cat", "tabby"]}}'
            )
    elif not isinstance(name, str) or os.path.dirname(name) or label_files.has_suffix(name):
        raise PromptError(
            f"no such label file: {shortened(str(file), 300)}{seen_from(file)}; check the path"
        )
    else:
        raise PromptError(_unknown_message(name))
    return content["labels"]


@cache
def background_words() -> tuple[str, ...]:
    """Return the names of the shipped sets that together cover what photographs show.

    They stand for everything that a label is compared with: things, scenes, textures, food and
    actions; 2,483 different labels, always in the same order.
    """
    found: dict[str, str] = {}
    for label in (label for each in BACKGROUND for label in labels(each)):
        found.setdefault(label.casefold(), label)
    return tuple(found.values())


@short_errors
def wnids(name: str) -> dict[str, str]:
    """Return the WordNet ids of a label set: id to label, in class order.

    The folders of ImageNet have these ids as names, so they give the true label of an image.

    Args:
        name: A shipped set with ids: "imagenet", or a set that uses its labels.

    Returns:
        A dict from each id to its label.

    Raises:
        PromptError: There is no such set, or it has no WordNet ids.

    Example:
        >>> zeroshot.prompts.wnids("imagenet")["n01440764"]
        'tench'
    """
    listed = list(labels(name))
    content = _shipped(name) if name in available() else {}
    content = _shipped(content["labels_from"]) if "labels_from" in content else content
    if "wnids" not in content:
        raise PromptError(f"label set {shortened(repr(name))} has no WordNet ids; use 'imagenet'")
    return dict(zip(content["wnids"], listed, strict=True))


def flatten(labels: Labels) -> tuple[Labels, tuple[tuple[str, ...], ...] | None]:
    """Return the labels of a tree, and the names from the top to each; (labels, None) for others.

    A tree is a dict of which at least one value is a dict: {"bird": {"wren": "wren"}, "fish": []}.
    Other values are the names of a label, as usual. Raises LabelError for a label given twice.
    """
    if not isinstance(labels, Mapping) or not any(
        isinstance(value, Mapping) for value in labels.values()
    ):
        return labels, None
    leaves: dict[str, Any] = {}
    paths: list[tuple[str, ...]] = []

    def walk(branch: Mapping[str, Any], above: tuple[str, ...]) -> None:
        for name, value in branch.items():
            path = (*above, name)
            if isinstance(value, Mapping):
                if not value:
                    raise LabelError(
                        f"expected labels below {shortened(repr(name))}, got an empty dict; remove "
                        "it, or give its names as a list"
                    )
                walk(value, path)
            elif name in leaves:
                raise LabelError(
                    f"label {shortened(repr(name))} is in the tree twice; use names that differ"
                )
            else:
                leaves[name] = value
                paths.append(path)

    walk(labels, ())
    return leaves, tuple(paths)


def is_file(name: str | os.PathLike[str]) -> bool:
    """Return whether a file or named pipe with this name exists.

    Text that is too long for a file name is not a file.
    """
    try:
        path = Path(name)
        return path.is_file() or path.is_fifo()
    except (OSError, ValueError):
        return False


def _note_namesake(name: str) -> None:
    """Log a warning if a local file has the name of a shipped set, which is used."""
    if is_file(name):
        log.warning(
            "%r is both a set of the package and a local file; using the set (write './%s' for the "
            "file)",
            name,
            name,
        )


@short_errors
def named(labels: Labels) -> dict[str, list[str]]:
    """Check a label set and return it as display name to synonyms, in order.

    Args:
        labels: A list of names, or a dict from each name to one or more synonyms.

    Raises:
        LabelError: `labels` is a str or empty, or a label is empty, not text, contains control
            characters, or equals another one after white space and Unicode form are normalized.
    """
    if isinstance(labels, str):
        raise LabelError(
            f"expected a list of labels, got the str {shortened(labels)!r}; pass "
            f"{_suggest_labels(labels)}"
        )
    if isinstance(labels, Mapping):
        pairs = [(label, names) for label, names in labels.items()]
    else:
        pairs = [(label, label) for label in iterator("labels", labels, LabelError)]
    if not pairs:
        raise LabelError("no labels given; pass a list of labels")
    if len(pairs) > MAX_LABELS:
        raise LabelError(f"expected at most {MAX_LABELS} labels, got {len(pairs)}; split them")
    result: dict[str, list[str]] = {}
    seen: dict[str, str] = {}
    for label, names in pairs:
        _check_name(label)
        listed = [names] if isinstance(names, str) else _list_names(label, names)
        for text in listed:
            _check_name(text)
        plain = " ".join(unicodedata.normalize("NFC", label).split())
        if plain in seen:
            first = f" (first given as {shortened(repr(seen[plain]))})"
            raise LabelError(
                f"duplicate label {shortened(repr(label))}"
                f"{first if seen[plain] != label else ''}; remove one, or distinguish them, as in "
                "'crane (bird)' and 'crane (machine)'"
            )
        seen[plain] = label
        result[label] = listed
    return result


def _list_names(label: str, names: Any) -> list[Any]:
    what = f"names of {shortened(label)!r}"
    found = [] if names is None else list(iterator(what, names, LabelError))
    if not found:
        raise LabelError(f"label {shortened(repr(label))} has no names; pass at least one")
    return found


def _suggest_labels(text: str) -> str:
    """Return what to pass instead of this str as labels."""
    if text in available():
        return f"the labels of that set: zeroshot.prompts.labels({text!r})"
    if is_file(text):
        return f"the labels in that file: zeroshot.prompts.labels({text!r})"
    if "," in text:
        return f"a list of labels: {[shortened(part.strip()) for part in text.split(',')[:5]]}"
    return f"a list of labels: [{shortened(text)!r}, ...]"


def _text_advice(value: object) -> str:
    """Say what to do with a label that is not text."""
    missing = isinstance(value, float) and math.isnan(value)
    if value is None or missing or type(value).__name__ in ("NAType", "NaTType"):  # of pandas
        return "remove it, or fill in the missing name"
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return "pass one flat list, or a dict from each label to its synonyms"
    return "pass str(label)"


def _check_name(text: Any) -> None:
    if not isinstance(text, str):
        raise LabelError(
            f"label {shortened(repr(text))} is {type(text).__name__}, expected text; "
            f"{_text_advice(text)}"
        )
    if not text.strip():
        raise LabelError(f"label {shortened(repr(text))} is empty; remove it")
    if has_control_characters(text):
        raise LabelError(f"label {shortened(repr(text))} contains control characters; remove them")


def has_control_characters(text: str) -> bool:
    """Return whether a text contains control characters or surrogates, which no label may."""
    return any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n" for c in text)


def _to_mapping(labels: Any) -> Labels:
    """Convert a list of names or lists of synonyms, as prompt files contain them."""
    if isinstance(labels, Mapping):
        return labels
    pairs: dict[str, str | Sequence[str]] = {}
    for entry in labels:
        display = entry[0] if isinstance(entry, list) and entry else entry
        if not isinstance(display, str):
            raise LabelError(
                f"label {shortened(repr(display))} is {type(display).__name__}, expected text; "
                "correct the file"
            )
        if display in pairs:
            raise LabelError(f"duplicate label {shortened(repr(display))}; remove one")
        pairs[display] = entry
    return pairs


@cache
def _shipped(name: str) -> dict[str, Any]:
    return tomllib.loads((folder("prompts") / f"{name}.toml").read_text("utf-8"))


def _unknown_message(name: str) -> str:
    if "{" in name or " " in name.strip():
        return (
            f"expected a template with one {SLOT}, which is replaced by the label, got "
            f"{shortened(repr(name))}; try 'a photo of a {SLOT}.'"
        )
    names = available()
    near = get_close_matches(name.lower(), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return (
        f"no prompt set or file named {shortened(repr(name))}{hint} shipped sets: "
        f"{', '.join(names)}; a custom template must contain one {SLOT}"
    )
