"""Token rows become padded arrays of similar length, each text once."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zeroshot.engine.cuda.text_batches import FEW, TEXTS, TOKENS, arrange

LENGTHS = st.lists(st.integers(1, 77), min_size=0, max_size=200)


def make_rows(lengths: list[int]) -> list[tuple[int, ...]]:
    return [tuple(range(n + 1, n + 1 + length)) for n, length in enumerate(lengths)]


@given(lengths=LENGTHS, texts=st.integers(1, 50), tokens=st.integers(1, 500))
def test_every_text_is_in_one_batch_with_its_tokens(
    lengths: list[int], texts: int, tokens: int
) -> None:
    rows, seen = make_rows(lengths), []

    for batch in arrange(rows, 0, texts=texts, tokens=tokens):
        assert len(batch.texts) == len(batch.ids) <= texts
        assert batch.ids.size <= tokens or len(batch.ids) == 1
        for number, ids in zip(batch.texts.tolist(), batch.ids.tolist(), strict=True):
            row = rows[number]
            assert tuple(ids) == row + (0,) * (len(ids) - len(row))
            seen.append(number)

    assert sorted(seen) == list(range(len(rows)))


def test_many_texts_of_one_length_are_one_batch() -> None:
    batches = list(arrange(make_rows([8] * TEXTS), 0))

    assert [batch.ids.shape for batch in batches] == [(TEXTS, 8)]


def test_long_texts_make_smaller_batches() -> None:
    batches = list(arrange(make_rows([77] * TEXTS), 0))

    assert max(batch.ids.size for batch in batches) <= TOKENS
    assert len(batches) == math.ceil(TEXTS / (TOKENS // 77))


def test_few_texts_of_different_lengths_are_one_batch() -> None:
    batches = list(arrange(make_rows([3, 40, 77, 9]), 7))

    assert [batch.ids.shape for batch in batches] == [(4, 77)]
    assert batches[0].ids[0, 3:].tolist() == [7] * 74


def test_many_texts_of_different_lengths_get_little_padding() -> None:
    lengths = [5, 6, 7, 10, 12, 30, 40, 60, 77]
    rows = make_rows([length for length in lengths for _ in range(2 * FEW)])
    batches = list(arrange(rows, 0))

    padded, real = sum(batch.ids.size for batch in batches), sum(map(len, rows))
    assert padded < 1.2 * real


def test_order_of_equal_lengths_is_kept() -> None:
    (batch,) = arrange(make_rows([5, 3, 5, 3]), 0)

    assert batch.texts.tolist() == [1, 3, 0, 2]
    assert batch.ids.dtype == np.int64
