"""Resolve the truth of images, given as names, numbers or WordNet ids, to columns of a head."""

from __future__ import annotations

import operator
import re
import unicodedata
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zeroshot import prompts
from zeroshot.arguments import iterator
from zeroshot.errors import InputError, shortened
from zeroshot.head import Head
from zeroshot.vocabulary import NONE

WNID = re.compile(r"n\d{8}")
NEAR = 0.5  # least similarity of a suggested label


class Columns:
    """Finds the column of a truth: a label, a column number, or a WordNet id of ImageNet.

    None is the column of "none of these".

    A text that is no label counts as one if it differs in case, underscores, white space or Unicode
    form only, as names of folders do. Digits are a column number if no label consists of digits.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels
        self._exact = {label: column for column, label in enumerate(labels)}
        self._plain: dict[str, int | None] = {}
        for label, column in self._exact.items():
            plain = _plain(label)
            self._plain[plain] = None if plain in self._plain else column
        self._has_numbers = any(label.isdecimal() for label in labels)

    def find(self, truth: object, place: str) -> int:
        """Return the column of one truth; `place` names it in errors. Raises InputError."""
        if truth is None:
            return self._find_none(place)
        if isinstance(truth, str):
            return self._find_text(truth, place)
        try:
            number = operator.index(truth)  # type: ignore[arg-type]
        except TypeError:
            number = None
        if number is None or isinstance(truth, bool | np.bool_):
            raise InputError(
                f"{place}: expected a label or a column number, got {shortened(repr(truth))} of "
                f"type {type(truth).__name__}; use one of the labels"
            )
        return self._check(number, place)

    def _find_none(self, place: str) -> int:
        if NONE not in self._exact:
            raise InputError(
                f"{place}: None means none of the labels, which this classifier does not know; "
                "make it with none_of_these=True (on the command line --none), or remove such "
                "images"
            )
        return self._exact[NONE]

    def _find_text(self, text: str, place: str) -> int:
        if text in self._exact:
            return self._exact[text]
        named = _wnids().get(text) if WNID.fullmatch(text) else None
        if named in self._exact:
            return self._exact[named]
        if (column := self._plain.get(_plain(text))) is not None:
            return column
        if text.isdecimal() and not self._has_numbers:
            return self._check(int(text), place)
        near = get_close_matches(_plain(text), self._plain, n=1, cutoff=NEAR)
        known = self._plain[near[0]] if near else None
        hint = "" if known is None else f"; did you mean {shortened(repr(self._labels[known]))}?"
        raise InputError(
            f"{place}: {shortened(repr(text))} is not among the {len(self._labels)} labels"
            f"{hint or ';'} use one of them, or a column number"
        )

    def _check(self, number: int, place: str) -> int:
        if not 0 <= number < len(self._labels):
            raise InputError(
                f"{place}: expected a column number within 0..{len(self._labels) - 1}, got "
                f"{number}; numbers start at 0, in the order of the labels"
            )
        return number


@cache
def _wnids() -> dict[str, str]:
    return prompts.wnids("imagenet")


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).casefold().replace("_", " ").split())


def listed(truth: Any) -> list[Any]:
    """Return the truth as a list with one entry per image. Raises InputError."""
    iterator("truth", truth)
    if getattr(truth, "ndim", 1) == 2:
        return [np.flatnonzero(row) for row in _as_matrix(truth)]
    is_array = hasattr(truth, "ndim") and callable(getattr(truth, "tolist", None))
    return list(truth.tolist() if is_array else truth)


def _as_matrix(truth: Any) -> NDArray[np.bool_]:
    """Return a matrix that says which labels each image has: bool [n, L]."""
    matrix = np.asarray(truth)
    if not np.isin(matrix, (0, 1)).all():
        raise InputError(
            f"expected a truth matrix [n, L] of 0 and 1, got other values of type {matrix.dtype}; "
            "pass one label per image, or 1 for each label in an image"
        )
    return matrix.astype(bool)


def check_matrix(truth: Any, labels: int) -> None:
    """Raise InputError for a truth matrix whose columns are not those of the head."""
    shape = tuple(getattr(truth, "shape", ()))
    if len(shape) == 2 and shape[-1] != labels:
        raise InputError(
            f"expected a truth matrix with {labels} columns, one per label, got shape "
            f"{shape}; its columns follow classifier.classes_"
        )


def is_multilabel(truth: Sequence[Any]) -> bool:
    """Return whether each image has a list of labels. Raises InputError for a mix of kinds."""
    lists = [isinstance(each, list | tuple | set | frozenset | np.ndarray) for each in truth]
    if any(lists) and not all(lists):
        at = lists.index(not lists[0])
        raise InputError(
            f"expected one label for each image, or a list of labels for each, got "
            f"{shortened(repr(truth[0]))} and {shortened(repr(truth[at]))} (truth[{at}]); use one "
            "kind"
        )
    return bool(lists) and lists[0]


def columns(
    truth: Sequence[Any], labels: Sequence[str], *, none: int | None = None
) -> NDArray[np.int64]:
    """Return the column of the right label of each image: int64 [n].

    Where the truth is None, it is `none` if that is given. Raises InputError.
    """
    found = Columns(labels)
    each = [
        none if t is None and none is not None else found.find(t, f"truth[{n}]")
        for n, t in enumerate(truth)
    ]
    return np.asarray(each, np.int64)


def memberships(truth: Sequence[Any], labels: Sequence[str]) -> NDArray[np.bool_]:
    """Return which labels each image has: bool [n, L]. Raises InputError."""
    found = Columns(labels)
    result = np.zeros((len(truth), len(labels)), bool)
    for n, each in enumerate(truth):
        for entry in iterator(f"truth[{n}]", each):
            result[n, found.find(entry, f"truth[{n}]")] = True
    return result


def resolve(truth: Any, head: Head) -> NDArray[Any]:
    """Return the column of each image's label: int64 [n], or its labels: bool [n, L].

    The column after the labels means none of them. Raises InputError for a truth that is no label.
    """
    iterator("truth", truth)
    check_matrix(truth, len(head))
    entries = listed(truth)
    if is_multilabel(entries):
        if head.classes != head.labels:
            raise InputError(
                "expected one label or None for each image of a classifier with none_of_these, got "
                "lists of labels; make the classifier with scores='independent'"
            )
        found = memberships(entries, head.labels)
        if not found.any():
            raise InputError(
                f"expected a label for at least one image, got {len(found)} empty lists; pass the "
                "labels of each image"
            )
        return found
    return columns(entries, head.classes)


def named(truth: Any, head: Head) -> list[Any]:
    """Return the label of each image, or None, or a list of labels, as `calibrate` expects them.

    Raises InputError for a truth that is no label.
    """
    found = resolve(truth, head)
    if found.ndim == 2:
        return [[head.labels[column] for column in np.flatnonzero(row)] for row in found]
    return [(*head.labels, None)[column] for column in found.tolist()]
