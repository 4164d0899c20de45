"""Rankings of many embeddings at once equal those of `zeroshot.scoring.rank`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bulk.tables import DIM, unit_rows
from zeroshot.bulk.rankings import STEP, Ranker, to_arrow
from zeroshot.errors import InputError
from zeroshot.head import Head
from zeroshot.scoring import rank
from zeroshot.vocabulary import Background


def make_head(labels: int = 4, **facts: Any) -> Head:
    names = tuple(f"label {n}" for n in range(labels))
    return Head(
        labels=names,
        weight=torch.from_numpy(unit_rows(labels, seed=1)),
        logit_scale=20.0,
        logit_bias=facts.pop("logit_bias", None),
        model="fake",
        names=tuple((name,) for name in names),
        templates=("{}",),
        prompts="plain",
        **facts,
    )


def words(number: int = 5) -> Background:
    rows = torch.from_numpy(unit_rows(number, seed=2))
    return Background(tuple(f"word {n}" for n in range(number)), rows)


HEADS = {
    "softmax": make_head(),
    "temperature": make_head(inverse_temperature=0.3),
    "bias": make_head(logit_bias=-3.0),
    "none of these": make_head(background=words(), none_offset=0.7, inverse_temperature=1.4),
    "sigmoid": make_head(scoring="sigmoid", logit_bias=-5.0),
    "fitted sigmoid": make_head(scoring="sigmoid", logit_bias=-5.0, logistic=(0.5, 1.0)),
    "sigmoid, none": make_head(scoring="sigmoid", logit_bias=-5.0, background=words()),
    "one label": make_head(1),
}


@pytest.mark.parametrize("kind", HEADS)
@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), number=st.integers(1, 30), top=st.integers(1, 6))
def test_rankings_equal_those_of_predictions(kind: str, seed: int, number: int, top: int) -> None:
    rows = torch.from_numpy(unit_rows(number, seed=seed))

    found = Ranker(HEADS[kind], top, with_scores=True).rank(rows)

    expected = rank(HEADS[kind], rows, top=top)
    labels = HEADS[kind].labels
    for image, prediction in enumerate(expected):
        names, values = zip(*prediction.ranking, strict=True)
        assert found.probabilities[image] == pytest.approx(values, rel=1e-4, abs=1e-7)
        assert tuple(labels[n] for n in found.best[image]) == names
        assert found.answered[image] == (prediction.label is not None)
    assert found.scores is not None
    assert found.scores.shape == (number, len(labels))


def test_more_rows_than_a_step_are_in_order() -> None:
    rows = torch.from_numpy(unit_rows(2 * STEP + 3))
    ranker = Ranker(make_head(), 2)

    found = ranker.rank(rows)

    assert len(found.best) == len(found.probabilities) == len(found.answered) == len(rows)
    last = ranker.rank(rows[-3:])
    assert found.best[-3:].tolist() == last.best.tolist()
    assert found.scores is None


def test_no_rows_give_empty_columns() -> None:
    found = Ranker(make_head(), 2, with_scores=True).rank(torch.zeros(0, DIM))

    columns = to_arrow(found, np.zeros(0, bool), pa.array(["a", "b", "c", "d"]))

    assert {len(column) for column in columns.values()} == {0}


def test_independent_scores_are_refused() -> None:
    head = replace(make_head(), background=words(), scoring="independent")

    with pytest.raises(InputError, match="embeddings of whole images only"):
        Ranker(head, 3)


def test_failed_images_have_null_labels_and_zero_scores() -> None:
    rows = torch.from_numpy(unit_rows(3))
    rows[1] = 0
    found = Ranker(make_head(), 2, with_scores=True).rank(rows)

    made = to_arrow(found, np.array([True, False, True]), pa.array(make_head().labels))

    for name in ("label", "probability", "labels", "probabilities"):
        assert made[name].is_null().to_pylist() == [False, True, False]
    assert made["labels"][2].as_py()[0] == made["label"][2].as_py()
    assert len(made["probabilities"][2].as_py()) == 2
    assert made["scores"].null_count == 0
    assert made["scores"][1].as_py() == [0, 0, 0, 0]


def test_an_image_without_an_answer_keeps_its_ranking() -> None:
    head = make_head(background=words())
    rows = head.words.rows[:1]  # the image is a background word

    found = Ranker(head, 2).rank(rows)
    made = to_arrow(found, np.ones(1, bool), pa.array(head.labels))

    assert made["label"].to_pylist() == [None]
    assert made["labels"].null_count == 0
    assert made["probability"].null_count == 0
