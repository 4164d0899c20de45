"""Checks arrays of scores and truths that a user passes, so that no wrong figure comes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zeroshot.errors import InputError, shortened

ROUNDING = 1e-4  # allowed deviation of a probability from 0..1
AXES = {1: "[n]", 2: "[n, L]"}


def numbers(
    name: str,
    values: ArrayLike,
    dimensions: int | None = 1,
    *,
    allow_infinite: bool = False,
    like: tuple[str, int] | None = None,
) -> NDArray[np.float64]:
    """Return real numbers without NaN as float64; `like` is an array of equal length, named.

    Infinity is allowed where only the order of the numbers counts.
    """
    given = _array(name, values, dimensions)
    _check_length(name, given, like)
    usable = ~np.isnan(given) if allow_infinite else np.isfinite(given)
    if not usable.all():
        raise InputError(
            f"expected {name} without NaN{'' if allow_infinite else ' and infinity'}, got "
            f"{int((~usable).sum())} of {given.size} values that are; remove these images or "
            "correct the values"
        )
    return given


def probabilities(
    name: str, values: ArrayLike, dimensions: int = 1, *, like: tuple[str, int] | None = None
) -> NDArray[np.float64]:
    """Return numbers in 0..1 as float64."""
    given = numbers(name, values, dimensions, like=like)
    if given.size and not (given.min() >= -ROUNDING and given.max() <= 1 + ROUNDING):
        raise InputError(
            f"expected {name} within 0..1, got values from {given.min():.3g} to {given.max():.3g}; "
            "convert logits with softmax"
        )
    return given


def flags(
    name: str, values: ArrayLike, dimensions: int = 1, *, like: tuple[str, int] | None = None
) -> NDArray[np.float64]:
    """Return bool values, or numbers that are 0 or 1, as float64."""
    given = _array(name, values, dimensions)
    _check_length(name, given, like)
    if not ((given == 0) | (given == 1)).all():
        raise InputError(
            f"expected {name} as True and False, or 1 and 0, got other values of type "
            f"{np.asarray(values).dtype}; compare answers and truth to compute it"
        )
    return given


def columns(
    name: str, values: ArrayLike, labels: int | None = None, *, like: tuple[str, int] | None = None
) -> NDArray[np.int64]:
    """Return indexes of labels, 0..labels - 1, as int64."""
    _array(name, values, 1)
    given = np.asarray(values)
    _check_length(name, given, like)
    if given.size and given.dtype.kind not in "iu":
        raise InputError(
            f"expected {name} as integers, got values of type {given.dtype}; pass the index of "
            "each label"
        )
    found = given.astype(np.int64)
    bound = "at least 0" if labels is None else f"within 0..{labels - 1}"
    if found.size and (found.min() < 0 or (labels is not None and found.max() >= labels)):
        raise InputError(
            f"expected {name} as indexes of labels {bound}, got {found.min()} to {found.max()}; "
            "remove images of none of the labels"
        )
    return found


def at_least_one(name: str, values: NDArray[Any]) -> None:
    """Raise InputError for an array without values."""
    if not values.size:
        raise InputError(f"expected at least one value in {name}, got none; pass one per image")


def _array(name: str, values: ArrayLike, dimensions: int | None) -> NDArray[np.float64]:
    try:
        raw = np.asarray(values)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raw = np.asarray(None)
    if raw.dtype.kind not in "biuf":  # text and complex numbers would be converted
        raise InputError(
            f"expected {name} as an array of real numbers, got {type(values).__name__} "
            f"{shortened(repr(values))}; pass one value per image"
        )
    given = raw.astype(np.float64, copy=False)
    if dimensions is not None and given.ndim != dimensions:
        raise InputError(
            f"expected {name} {AXES[dimensions]}, got shape {given.shape}; check the array"
        )
    return given


def _check_length(name: str, given: NDArray[Any], like: tuple[str, int] | None) -> None:
    if like is not None and len(given) != like[1]:
        raise InputError(
            f"expected {name} and {like[0]} of one length, got {len(given)} and {like[1]}; pass "
            "one value per image in each"
        )
