"""Resolve the truth of images, given as names, numbers or WordNet ids, to columns of a head."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zeroshot import prompts
from zeroshot.arguments import in_order, integer, iterator
from zeroshot.errors import InputError, shortened, some
from zeroshot.vocabulary import NONE

if TYPE_CHECKING:
    from zeroshot.answering import Answering
    from zeroshot.head import Head

WNID = re.compile(r"n\d{8}")
NEAR = 0.5  # least similarity of a suggested label
NAMED, NAME = 5, 40  # labels listed in an error, and characters of each
PLACE = 150  # characters of a path
DIGITS = 18  # of a column number; longer ones are no column


class Columns:
    """Finds the column of a truth: a label, a column number, or a WordNet id of ImageNet.

    None, and the text "none of these", is the column `none` if the classifier can give no answer.

    A text that is no label counts as one if it differs in case, underscores, white space or Unicode
    form only, as names of folders do. Digits are a column number if no label consists of digits; if
    one does, a number is an error unless both readings are the same column.
    """

    def __init__(self, labels: Sequence[str], none: int | None = None) -> None:
        self._labels, self._none = labels, none
        self._exact = {label: column for column, label in enumerate(labels)}
        if none is not None:
            self._exact.setdefault(NONE, none)
        self._plain: dict[str, str | None] = {}
        for label in self._exact:
            plain = _plain(label)
            self._plain[plain] = None if plain in self._plain else label
        self._has_numbers = any(label.isdecimal() for label in labels)

    def find(self, truth: object, place: str) -> int:
        """Return the column of one truth; `place` names it in errors. Raises InputError."""
        if truth is None:
            return self._find_none(place)
        if isinstance(truth, str):
            return self._find_text(truth, place)
        number = integer(truth)
        if number is None or isinstance(truth, np.bool_):
            raise InputError(
                f"{place}: expected a label or a column number, got {shortened(repr(truth))} of "
                f"type {type(truth).__name__}; use one of the labels"
            )
        column = self._check(number, _digits(number), place)
        if self._has_numbers and self._exact.get(str(number)) != number:
            raise InputError(
                f"{place}: {number} is ambiguous, because some labels are numbers: it can mean the "
                f"label '{number}' or column {number}, which is {shortened(repr(self._of(column)))}"
                "; pass the label as text"
            )
        return column

    def _find_none(self, place: str) -> int:
        if self._none is None:
            raise InputError(
                f"{place}: None means none of the labels, which this classifier does not "
                "recognize; make it with none_of_these=True (on the command line --none; for "
                "--head, save the head with `zeroshot classify --none --save-head`), or remove "
                "such images"
            )
        return self._none

    def _find_text(self, text: str, place: str) -> int:
        if text in self._exact:
            return self._exact[text]
        named = _wnids().get(text) if WNID.fullmatch(text) else None
        if named in self._exact:
            return self._exact[named]
        if (label := self._plain.get(_plain(text))) is not None:
            return self._exact[label]
        if text.isdecimal() and not self._has_numbers:
            number = int(text) if len(text) <= DIGITS else len(self._exact)
            return self._check(number, shortened(text), place)
        near = get_close_matches(_plain(text), self._plain, n=1, cutoff=NEAR)
        known = self._plain[near[0]] if near else None
        hint = "" if known is None else f"; did you mean {shortened(repr(known))}?"
        listed = some([shortened(repr(label), NAME) for label in self._labels], NAMED)
        raise InputError(
            f"{place}: {shortened(repr(text))} is not among the {len(self._labels)} labels"
            f"{hint or ';'} use one of them, or a column number. Labels: {listed}"
        )

    def _check(self, number: int, shown: str, place: str) -> int:
        end = len(self._labels) + (self._none == len(self._labels))
        if not 0 <= number < end:
            raise InputError(
                f"{place}: expected a column number within 0..{end - 1}, got "
                f"{shown}; numbers start at 0, in the order of the labels"
            )
        return number

    def _of(self, column: int) -> str:
        return self._labels[column] if column < len(self._labels) else NONE


def _digits(number: int) -> str:
    """Return a number as text; Python converts no number of thousands of digits."""
    return str(number) if number.bit_length() < 64 else f"one of {number.bit_length()} bits"


@cache
def _wnids() -> dict[str, str]:
    return prompts.wnids("imagenet")


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).casefold().replace("_", " ").split())


def listed(truth: Any) -> list[Any]:
    """Return the truth as a list with one entry per image. Raises InputError."""
    in_order("truth", truth)
    iterator("truth", truth)
    if is_matrix(truth):
        return [np.flatnonzero(row) for row in as_matrix(truth)]
    is_array = hasattr(truth, "ndim") and callable(getattr(truth, "tolist", None))
    return list(truth.tolist() if is_array else truth)


def is_matrix(truth: Any) -> bool:
    """Return whether the truth is an array with a row per image."""
    return getattr(truth, "ndim", 1) == 2


def as_matrix(truth: Any) -> NDArray[np.bool_]:
    """Return a matrix that says which labels each image has: bool [n, L]. Raises InputError."""
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


def place_of(images: object, row: int) -> str:
    """Name a truth in an error: by the path, URL or key of its image, if there is one."""
    image = images[row] if isinstance(images, list | tuple) and row < len(images) else None
    name = getattr(image, "key", image)
    if isinstance(name, str | os.PathLike):
        return f"{shortened(os.fspath(name), PLACE)} (truth[{row}])"
    return f"truth[{row}]"


def columns(
    truth: Sequence[Any],
    labels: Sequence[str],
    *,
    none: int | None = None,
    images: object = None,
) -> NDArray[np.int64]:
    """Return the column of the right label of each image: int64 [n].

    Where the truth is None, it is `none` if that is given. Raises InputError, which names the image
    if `images` is a list of paths.
    """
    found = Columns(labels, none)
    result = np.zeros(len(truth), np.int64)
    for n, each in enumerate(truth):
        result[n] = found.find(each, place_of(images, n))
    return result


def memberships(
    truth: Sequence[Any], labels: Sequence[str], *, images: object = None
) -> NDArray[np.bool_]:
    """Return which labels each image has: bool [n, L]. Raises InputError."""
    found = Columns(labels)
    result = np.zeros((len(truth), len(labels)), bool)
    for n, each in enumerate(truth):
        for entry in iterator(f"truth[{n}]", each):
            result[n, found.find(entry, place_of(images, n))] = True
    return result


def resolve(
    truth: Any, head: Head, answering: Answering | None = None, *, images: object = None
) -> NDArray[Any]:
    """Return the column of each image's label: int64 [n], or its labels: bool [n, L].

    The column after the labels means none of them; a head with background words and a classifier
    with `answering` have it. Raises InputError for a truth that is no label; it names the image if
    `images` is a list of paths.
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
        found = (
            as_matrix(truth)
            if is_matrix(truth)
            else memberships(entries, head.labels, images=images)
        )
        if not found.any():
            raise InputError(
                f"expected a label for at least one image, got {len(found)} empty lists; pass the "
                "labels of each image"
            )
        return found
    abstains = answering is not None or head.classes != head.labels
    return columns(entries, head.labels, none=len(head) if abstains else None, images=images)


def named(truth: Any, head: Head) -> list[Any]:
    """Return the label of each image, or None, or a list of labels, as `calibrate` expects them.

    Raises InputError for a truth that is no label.
    """
    found = resolve(truth, head)
    if found.ndim == 2:
        return [[head.labels[column] for column in np.flatnonzero(row)] for row in found]
    return [(*head.labels, None)[column] for column in found.tolist()]
