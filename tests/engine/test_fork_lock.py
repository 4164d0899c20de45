"""A lock that a thread of the parent holds does not hang a forked child."""

from __future__ import annotations

import os
import sys

import pytest

from zeroshot.engine.fork_lock import ForkLock


def test_two_blocks_do_not_run_at_once() -> None:
    lock = ForkLock()

    with lock:
        assert not lock._lock.acquire(blocking=False)

    assert lock._lock.acquire(blocking=False)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_a_forked_child_can_take_a_lock_that_the_parent_holds() -> None:
    lock = ForkLock()
    with lock:
        child = os.fork()
        if not child:
            os._exit(0 if lock._lock.acquire(timeout=5) else 1)
        _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0, sys.platform
