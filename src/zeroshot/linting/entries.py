"""Read labels in every form that a classifier or a label file has, without rejecting any text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from zeroshot import prompts, wording
from zeroshot.arguments import iterator
from zeroshot.errors import LabelError, shortened
from zeroshot.prompts import MAX_LABELS, SLOT, Labels, PromptSet
from zeroshot.tokenizers import Tokenizer

Tree: TypeAlias = Mapping[str, Any]  # of label to names, and of group to a tree
MOST_WORDS = 50  # words of a name that are compared; a label with more is reported as long
SLACK = 8  # tokens by which a sentence may differ from the sum of its template and name


@dataclass(frozen=True)
class Entry:
    """One label with its names."""

    label: str
    names: tuple[str, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The label and its names."""
        return (self.label, *self.names)

    @cached_property
    def words(self) -> list[tuple[str, ...]]:
        """The folded words of each name."""
        return [tuple(wording.words(name)[:MOST_WORDS]) for name in self.names]


@dataclass(frozen=True)
class LabelSet:
    """Labels, the groups above them in a tree, and how they become texts and tokens."""

    entries: Sequence[Entry]
    groups: Sequence[str]
    prompts: PromptSet
    tokenizer: Tokenizer

    @cached_property
    def sound(self) -> list[Entry]:
        """The labels that a model can read; rules about their words look at no others."""
        return [entry for entry in self.entries if not is_empty(entry) and not is_broken(entry)]

    @cached_property
    def tokens(self) -> dict[str, tuple[int, ...]]:
        """The tokens of each name of the sound labels."""
        return {
            name: tuple(self.tokenizer.encode(name)) for entry in self.sound for name in entry.names
        }

    @property
    def token_limit(self) -> int:
        """Number of tokens of a text, without start and end."""
        return self.tokenizer.context_length - self.tokenizer.special_tokens

    @cached_property
    def too_long(self) -> dict[Entry, str]:
        """The sound labels that exceed the token limit, and the first sentence that does."""
        templates = [template.replace(SLOT, " ") for template in self.prompts.templates]
        longest = max(len(self.tokenizer.encode(template)) for template in templates)
        most = self.token_limit - longest - SLACK  # names up to this length fit for certain
        found: dict[Entry, str] = {}
        for entry in self.sound:
            for name in entry.names:
                if len(self.tokens[name]) > most and (sentence := self._find_too_long(name)):
                    found.setdefault(entry, sentence)
        return found

    def _find_too_long(self, name: str) -> str | None:
        sentences = self.prompts.render(name)
        lengths = ((len(self.tokenizer.encode(sentence)), sentence) for sentence in sentences)
        return next((sentence for length, sentence in lengths if length > self.token_limit), None)

    @property
    def readable(self) -> list[Entry]:
        """The labels that a model can embed."""
        return [
            entry
            for entry in self.sound
            if entry not in self.too_long and all(self.tokens[name] for name in entry.names)
        ]


def is_empty(entry: Entry) -> bool:
    """Return whether a label has no name, or one without text."""
    return not entry.names or not all(text.strip() for text in entry.texts)


def is_broken(entry: Entry) -> bool:
    """Return whether a label or its names contain control characters."""
    return any(prompts.has_control_characters(text) for text in entry.texts)


def read(labels: Labels | Tree) -> tuple[list[Entry], list[str]]:
    """Return the labels and the groups above them.

    Args:
        labels: A list of names, where a list is one label with several names; a dict from labels to
            names; or a tree: a dict whose values may be such dicts.

    Raises:
        LabelError: `labels` is a str, not a collection of text, or too large.
    """
    groups: list[str] = []
    if isinstance(labels, Mapping):
        entries = list(_read_tree(labels, groups))
    elif isinstance(labels, str) or not isinstance(labels, Iterable):
        prompts.named(labels)  # raises LabelError
        entries = []
    else:
        entries = [_read_entry(names) for names in iterator("labels", labels, LabelError)]
    if len(entries) > MAX_LABELS:
        raise LabelError(f"expected at most {MAX_LABELS} labels, got {len(entries)}; split them")
    return entries, groups


def _read_tree(tree: Tree, groups: list[str]) -> Iterator[Entry]:
    for label, names in tree.items():
        if isinstance(names, Mapping):
            groups.append(_text(label))
            yield from _read_tree(names, groups)
        else:
            yield Entry(_text(label), _names(names))


def _read_entry(names: Any) -> Entry:
    listed = _names(names)
    return Entry(listed[0] if listed else "", listed)


def _names(names: Any) -> tuple[str, ...]:
    if isinstance(names, list | tuple):
        return tuple(_text(name) for name in names)
    return () if names is None else (_text(names),)


def _text(given: Any) -> str:
    if not isinstance(given, str):
        raise LabelError(
            f"label {shortened(repr(given))} is {type(given).__name__}, expected text; pass "
            "str(label)"
        )
    return given
