"""Find what is wrong with the values of a head."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, get_args

import torch
from torch import Tensor

from zeroshot.arguments import is_text
from zeroshot.calibration import Calibration, calibration_problems
from zeroshot.spec import MAX_SCALE, Scoring, finite
from zeroshot.tensor_arguments import is_dense, kind_of
from zeroshot.vocabulary import Background

if TYPE_CHECKING:
    from zeroshot.head import Head

UNIT = 1e-3  # allowed deviation of a row's length from 1
SCORINGS = (*get_args(Scoring), "independent")


def problems(head: Head) -> Iterator[tuple[str, object, str]]:
    """Yield the fields of a head with unusable values, the values, and what is expected."""
    if not is_text(head.model):
        yield "model", head.model, "text"
    if not is_text(head.prompts):
        yield "prompts", head.prompts, "text"
    if not _are_texts(head.templates):
        yield "templates", head.templates, "a tuple of text"
    if not isinstance(head.names, tuple) or not all(map(_are_texts, head.names)):
        yield "names", head.names, "a tuple of text for each label"
    elif len(head.names) != len(head.labels):
        yield "names", f"{len(head.names)} tuples", f"one for each of {len(head.labels)} labels"
    yield from _weight_problems(head.weight, len(head.labels))
    if not finite(head.logit_scale, above=0) or head.logit_scale > MAX_SCALE:
        yield "logit_scale", head.logit_scale, f"a number within 0..{MAX_SCALE}"
    bias = head.logit_bias
    if bias is not None and not (finite(bias, above=-math.inf) and abs(bias) <= MAX_SCALE):
        yield "logit_bias", bias, f"a number of at most {MAX_SCALE} or None"
    if not isinstance(head.scoring, str) or head.scoring not in SCORINGS:
        yield "scoring", head.scoring, f"one of {', '.join(SCORINGS)}"
    yield from _extra_problems(head)
    if head.source is not None and not is_text(head.source):
        yield "source", head.source, "the name of a model or None"


def _extra_problems(head: Head) -> Iterator[tuple[str, object, str]]:
    """Yield the problems of words, paths and what was fitted to images."""
    if not isinstance(head.calibration, Calibration | None):
        yield "calibration", head.calibration, "a Calibration or None"
    elif head.calibration is not None:
        for array, values, expected in calibration_problems(head.calibration, len(head.labels)):
            yield f"calibration.{array}", values, expected
    if not finite(head.inverse_temperature, above=0):
        yield "inverse_temperature", head.inverse_temperature, "a positive number"
    if not finite(head.none_offset, above=-math.inf):
        yield "none_offset", head.none_offset, "a number"
    if head.background is not None and not _is_background(head.background, head.weight):
        yield "background", head.background, "words with one finite row each"
    if head.scoring == "independent" and head.background is None:
        yield "background", None, "words, because scores are independent"
    if head.paths is not None and not _are_paths(head.paths, head.labels):
        yield "paths", head.paths, "a tuple of names for each label, which ends with the label"
    if not isinstance(head.examples, tuple) or not all(map(is_text, head.examples)):
        yield "examples", head.examples, "a tuple of text"
    pair = head.logistic
    if pair is not None and not (
        isinstance(pair, tuple) and len(pair) == 2 and all(finite(x, above=-math.inf) for x in pair)
    ):
        yield "logistic", pair, "two numbers or None"


def _is_background(background: object, weight: Tensor) -> bool:
    return (
        isinstance(background, Background)
        and _are_texts(background.words)
        and is_dense(background.rows)
        and background.rows.shape == (len(background.words), weight.shape[-1])
        and bool(torch.isfinite(background.rows).all())
    )


def _are_paths(paths: object, labels: tuple[str, ...]) -> bool:
    return (
        isinstance(paths, tuple)
        and all(map(_are_texts, paths))
        and [path[-1] for path in paths] == list(labels)
    )


def _weight_problems(weight: object, labels: int) -> Iterator[tuple[str, object, str]]:
    if not is_dense(weight) or weight.ndim != 2 or len(weight) != labels:
        yield "weight", kind_of(weight), f"a tensor [{labels}, d], one row for each label"
    elif weight.dtype != torch.float32 or not torch.isfinite(weight).all():
        yield "weight", kind_of(weight), "finite and float32"
    elif ((lengths := weight.norm(dim=1)) - 1).abs().max() > UNIT:
        yield "weight", f"lengths {lengths.min():.3g} to {lengths.max():.3g}", "rows of length 1"


def _are_texts(values: object) -> bool:
    return isinstance(values, tuple) and len(values) > 0 and all(map(is_text, values))
