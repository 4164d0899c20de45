"""Metrics and calibration reject arrays that would give a plausible wrong figure."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from zeroshot import calibration, metrics
from zeroshot.array_arguments import columns, flags, numbers, probabilities
from zeroshot.errors import InputError

NAN, INF = math.nan, math.inf
P = [[0.6, 0.4], [0.3, 0.7]]


@pytest.mark.parametrize(
    ("function", "given", "message"),
    [
        (metrics.softmax, ([NAN, 0.0],), "logits without NaN, got 1 of 2"),
        (metrics.softmax, ([INF, 0.0],), "none of plus infinity"),
        (metrics.softmax, ([-INF, -INF],), "a finite logit in each row"),
        (metrics.softmax, (np.zeros((2, 0)),), r"at least one label, got shape \(2, 0\)"),
        (metrics.is_in_top, ([[NAN, 1.0]], [0]), "scores without NaN"),
        (metrics.is_in_top, (P, [0, -1]), r"truth as indexes of labels within 0\.\.1, got -1"),
        (metrics.is_in_top, (P, [0, 2]), r"within 0\.\.1, got 0 to 2"),
        (metrics.is_in_top, (P, [0]), "truth and scores of one length, got 1 and 2"),
        (metrics.is_in_top, (P, [0.4, 0.6]), "truth as integers, got values of type float64"),
        (metrics.is_in_top, (P, [0, 1], 0), "k=0 must be an integer of at least 1"),
        (metrics.is_in_top, ([0.6, 0.4], [0]), r"scores \[n, L\], got shape \(2,\)"),
        (metrics.mean, ([NAN],), "values without NaN"),
        (metrics.mean, (["1"],), "values as an array of real numbers, got list"),
        (metrics.mean, (np.array([1j]),), "values as an array of real numbers, got ndarray"),
        (metrics.mean, (torch.zeros(2, device="meta"),), "of real numbers, got Tensor"),
        (metrics.mean, ([[1], [1, 2]],), "of real numbers, got list"),
        (metrics.mean, ([1.0, 2.0], [[1.0]]), r"weights \[..., 2\], one per image, got shape"),
        (metrics.mean_per_label, ([True], [-1]), "labels at least 0, got -1"),
        (metrics.mean_per_label, ([True, False], [0]), "truth and right of one length"),
        (metrics.mean_per_label, ([0.5], [0]), "right as True and False, or 1 and 0"),
        (metrics.confusion, ([0, 2], [0, 1], 2), "predicted as indexes of labels within"),
        (metrics.confusion, ([0], [0, 1], 2), "predicted and truth of one length"),
        (metrics.confusion, ([-1], [1], 2), "got -1 to -1"),
        (metrics.average_precision, ([NAN], [1]), "scores without NaN"),
        (metrics.average_precision, ([0.1, 0.2], [1]), "truth and scores of one length"),
        (metrics.mean_average_precision, (P, [[1, 0]]), "of one length"),
        (metrics.mean_average_precision, (P, [[1], [0]]), r"one shape, got \(2, 2\) and \(2, 1"),
        (metrics.calibration_bins, (-1,), "must be an integer of at least 0"),
        (metrics.calibration_error, ([NAN], [1]), "confidence without NaN"),
        (metrics.calibration_error, ([3.0], [1]), "confidence within 0..1, got values from 3 to 3"),
        (metrics.calibration_error, ([0.1], [1, 0]), "right and confidence of one length"),
        (metrics.calibration_floor, ([],), "at least one value in confidence"),
        (metrics.calibration_floor, ([NAN],), "confidence without NaN"),
        (metrics.brier_score, (P, [0, -1]), "within"),
        (metrics.brier_score, ([[NAN, 1.0]], [0]), "probabilities without NaN"),
        (metrics.brier_score, ([[5.0, -2.0]], [0]), "convert logits with softmax"),
        (metrics.log_loss, (P, [0]), "truth and probabilities of one length"),
        (metrics.log_loss, (P, [0, 2]), "within"),
        (metrics.risk_coverage, ([NAN], [1]), "confidence without NaN"),
        (metrics.area_under_risk, ([0.1, 0.2], [1]), "right and confidence of one length"),
        (metrics.auroc, ([NAN], [0.5]), "positive without NaN"),
        (metrics.auroc, ([0.5], [NAN]), "negative without NaN"),
        (metrics.wilson_interval, (0, 0), "of=0 must be an integer of at least 1"),
        (metrics.wilson_interval, (3, 2), "count=3 must be an integer of at most 2"),
        (metrics.wilson_interval, (1, 2, 1.0), "expected confidence between 0 and 1"),
        (metrics.bootstrap, (lambda w: w[:, 0], 0), "images=0 must be an integer of at least 1"),
        (calibration.fit_inverse_temperature, ([[NAN, 0.0]], [0]), "without NaN and infinity"),
        (calibration.fit_inverse_temperature, ([[INF, 0.0]], [0]), "without NaN and infinity"),
        (calibration.fit_inverse_temperature, (P, [0, -1]), "within"),
        (calibration.fit_inverse_temperature, (P, [0]), "of one length"),
        (calibration.fit_inverse_temperature, (P, [0, 1], 0), "expected a positive number prior"),
        (calibration.fit_inverse_temperature, (np.zeros((0, 2)), [], None), "at least one value"),
        (calibration.fit_logistic, ([1.0], [0, 1]), "right and scores of one length"),
        (calibration.fit_logistic, ([NAN], [0]), "scores without NaN"),
        (calibration.score_labels, (P, "lca"), "score='lca' must be 'lac' or 'aps' or 'raps'"),
        (calibration.score_labels, ([[NAN, 1.0]],), "probabilities without NaN"),
        (calibration.score_labels, (P, "aps", [0.5]), "shares and probabilities of one length"),
        (calibration.conformal_rank, (9, 1.0), "expected coverage between 0 and 1"),
        (calibration.conformal_rank, (9, 0.9, 0.0), "expected confidence between 0 and 1"),
        (calibration.images_for, (1.0,), "expected coverage between 0 and 1"),
        (calibration.set_threshold, ([NAN, 0.1], 0.5), "scores without NaN, got 1 of 2"),
        (calibration.coverage_interval, (99, 0.9, 1.0), "expected confidence between 0 and 1"),
        (calibration.keep_threshold, ([NAN], 0.9), "surety without NaN"),
        (calibration.keep_threshold, ([0.5], 1), "expected keep between 0 and 1"),
        (calibration.error_threshold, ([0.5], [1], 1.0), "expected error between 0 and 1"),
        (calibration.error_threshold, ([0.5], [1, 0], 0.1), "right and surety of one length"),
        (calibration.error_threshold, ([NAN], [1], 0.1), "surety without NaN"),
        (calibration.answers_for, (0,), "expected error between 0 and 1, got 0"),
        (calibration.lowest_error, ([NAN], [1]), "surety without NaN"),
        (calibration.has_shifted, ([NAN], [0.5]), "calibrated without NaN"),
        (calibration.has_shifted, ([0.5], [NAN]), "new without NaN"),
    ],
)
def test_arrays_that_would_give_a_wrong_figure_are_rejected(
    function: Callable[..., Any], given: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        function(*given)
    assert len(str(caught.value)) < 600


def test_infinite_scores_are_ranked() -> None:
    assert metrics.softmax([-INF, 0.0]).tolist() == [0.0, 1.0]
    assert metrics.is_in_top([[INF, 0.0], [-INF, 0.0]], [0, 0]).tolist() == [True, False]
    assert metrics.auroc([INF], [0.0]) == 1.0
    assert metrics.average_precision([-INF, 1.0], [0, 1]) == 1.0


def test_lists_arrays_and_tensors_are_accepted() -> None:
    for given in ([0, 1], np.array([0, 1], np.uint8), torch.tensor([0, 1]), range(2)):
        assert columns("truth", given, 2).tolist() == [0, 1]
        assert flags("right", given).tolist() == [0.0, 1.0]
        assert numbers("scores", given).tolist() == [0.0, 1.0]
    assert columns("truth", []).tolist() == []
    # float32 probabilities are rounded
    assert probabilities("confidence", np.float32([1.00001, 0])).shape == (2,)
