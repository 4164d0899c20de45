"""Tests of samples of a data set."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from examples.paper.datasets.base import DataSet
from examples.paper.datasets.files import Picture
from examples.paper.samples import sample
from zeroshot.errors import InputError


@pytest.fixture
def data() -> DataSet:
    return DataSet(
        [f"{n}.jpg" for n in range(100)], [[n % 3] for n in range(100)], ("a",), [()] * 100
    )


def test_sample_keeps_images_and_truth_together(data):
    found = sample(data, 10)
    assert len(found.images) == len(found.truth) == len(found.ignored) == 10
    assert all([int(i[:-4]) % 3] == t for i, t in zip(found.images, found.truth, strict=True))


def test_sample_is_in_order_and_the_same_each_time(data):
    names = list(sample(data, 10).images)
    assert names == sorted(names, key=lambda name: int(name[:-4])) == list(sample(data, 10).images)
    assert names != list(data.images)[:10]


@pytest.mark.parametrize("limit", [None, 100, 1000])
def test_limit_that_is_not_below_the_images_changes_nothing(data, limit):
    assert sample(data, limit) is data


def test_limit_below_1_is_rejected(data):
    with pytest.raises(InputError, match="expected a limit of at least 1 image, got 0"):
        sample(data, 0)


def test_images_of_a_sample_are_not_made(data):
    made: list[int] = []
    images = [Picture(str(n), partial(made.append, n)) for n in range(100)]
    assert len(sample(replace(data, images=images), 10).images) == 10
    assert made == []
