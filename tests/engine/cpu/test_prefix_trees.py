"""Plans run every text once, compute shared prefixes once, and pad little."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zeroshot.engine.cpu import prefix_trees


@given(
    st.lists(
        st.lists(st.integers(0, 2), max_size=5).map(lambda ids: (8, *ids, 9)),
        min_size=1,
        max_size=400,
        unique=True,
    )
)
def test_plan_runs_every_text_exactly_once(texts: list[tuple[int, ...]]) -> None:
    batches = prefix_trees.plan(texts)

    seen: list[tuple[int, tuple[int, ...]]] = []
    for batch in batches:
        for tree in batch.trees:
            own = [()] * (len(tree.tokens) + 1)  # path to the last token at each depth
            for place, (token, depth) in enumerate(zip(tree.tokens, tree.depths, strict=True)):
                own[depth + 1] = (*own[depth], token)
                if place in tree.ends:
                    which = tree.texts[tree.ends.index(place)]
                    seen.append((which, batch.prefix + own[depth + 1]))
    assert sorted(seen) == list(enumerate(texts))
    assert [text for batch in batches for text in batch.texts] == [which for which, _ in seen]
    if len(batches) == len(batches[0].trees) == 1:
        beginnings = {row[:length] for row in texts for length in range(1, len(row) + 1)}
        assert len(batches[0]) == len(beginnings)  # no prefix is computed twice


@pytest.mark.parametrize("count", [30, 100, 500])
@pytest.mark.parametrize(("shared", "own"), [(73, 2), (60, 10), (30, 5), (5, 4)])
def test_long_shared_prefix_is_computed_once(count: int, shared: int, own: int) -> None:
    texts = [(8, *range(100, 99 + shared), *range(n, n + own), 9) for n in range(200, 200 + count)]
    needed = shared + count * (own + 1)

    batches = prefix_trees.plan(texts, 2)

    run = len({batch.prefix for batch in batches} - {()}) * shared + sum(map(len, batches))
    assert needed <= run < 1.25 * needed
    assert needed > prefix_trees.ALONE or len(batches) == len(batches[0].trees) == 1


def test_short_and_long_texts_are_not_padded_to_one_length() -> None:
    short = [(8, 2 * n, 9) for n in range(340)]
    long = [(8, 2 * n + 1, *range(1000 * n, 1000 * n + 74), 9) for n in range(340)]

    batches = prefix_trees.plan(short + long, 2)

    assert max(map(len, batches)) < 2 * prefix_trees.TOKENS
    assert sum(map(len, batches)) < 1.1 * sum(map(len, short + long))
