"""The bytes that requests keep in memory."""

from __future__ import annotations

import pytest

from zeroshot.serving.errors import ApiError
from zeroshot.serving.memory import REQUESTS, Memory


def test_a_request_takes_at_most_its_share() -> None:
    memory = Memory(100)
    share = memory.share()
    share.take(60)
    assert (share.left, memory.used) == (40, 60)

    with pytest.raises(ApiError, match="at most 100 bytes") as caught:
        share.take(41)

    assert caught.value.status == 413
    assert memory.used == 60


def test_all_requests_together_are_bounded() -> None:
    memory = Memory(100)
    shares = [memory.share() for _ in range(REQUESTS + 1)]
    for share in shares[:-1]:
        share.take(100)

    for ask in (shares[-1].check, shares[-1].take):
        with pytest.raises(ApiError) as caught:
            ask(1)
        assert caught.value.status == 503
    shares[0].release()
    shares[-1].take(100)


def test_what_ends_after_its_request_does_not_count() -> None:
    memory = Memory(100)
    share = memory.share()
    share.take(10)
    share.release()

    share.take(50)

    assert memory.used == 0
