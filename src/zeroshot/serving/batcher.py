"""Embed images of concurrent requests in batches, in one thread with a bounded queue."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from zeroshot.errors import ImageError

log = logging.getLogger("zeroshot.serving")

FEW = 4  # images for which a batch waits
WAIT_SECONDS = 0.002
STOP_SECONDS = 5.0
FAILURES = 8  # batches in a row without a result, after which the encoder counts as failed

Outcome: TypeAlias = "NDArray[np.float32] | ImageError"


@dataclass
class _Item:
    image: bytes
    expires: float  # time.monotonic()
    future: Future[Outcome] = field(default_factory=Future)


class Batcher:
    """One thread that embeds the images that wait, at most `max_batch` at once.

    `embed` returns an embedding, float32 [d], or an ImageError for each image. If it raises, only
    the images of that batch fail: each is tried alone, so that one bad image fails alone. Images
    that waited longer than `deadline` seconds are dropped before they are decoded. One whose future
    is canceled leaves the queue at once, so that clients who left keep no place in it.
    """

    def __init__(
        self,
        embed: Callable[[list[bytes]], Sequence[Outcome]],
        *,
        max_queue: int = 256,
        max_batch: int = 32,
        deadline: float = 10.0,
    ) -> None:
        self._embed = embed
        self._max_queue, self._max_batch, self._deadline = max_queue, max_batch, deadline
        self._waiting: deque[_Item] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._failures = 0
        self.batches = 0
        self.images = 0
        self._thread = threading.Thread(target=self._run, name="zeroshot-batcher", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs, and the last batches did not all fail."""
        return self._thread.is_alive() and not self._closed and self._failures < FAILURES

    @property
    def waiting(self) -> int:
        """Number of images in the queue."""
        return len(self._waiting)

    @property
    def room(self) -> int:
        """Number of images that the queue accepts."""
        return self._max_queue - len(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether the queue accepts an image."""
        return self.room > 0

    def submit(self, image: bytes) -> Future[Outcome]:
        """Add an image to the queue; the result is its embedding, float32 [d], or an ImageError.

        Raises queue.Full if the queue is full or the batcher is closed. The future raises
        TimeoutError if the image waited too long, RuntimeError if the batcher was closed, and what
        `embed` raised.
        """
        item = _Item(image, time.monotonic() + self._deadline)
        with self._changed:
            if self._closed or not self.has_room or not self._thread.is_alive():
                raise queue.Full
            self._waiting.append(item)
            self._changed.notify()
        item.future.add_done_callback(self._drop)
        return item.future

    def close(self) -> None:
        """Stop the thread after the batch that runs; images that wait fail."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(STOP_SECONDS)
        self._fail_waiting()

    def _drop(self, future: Future[Outcome]) -> None:
        """Remove an image from the queue if its future was canceled."""
        if future.cancelled():
            with self._changed:
                self._waiting = deque(each for each in self._waiting if each.future is not future)

    def _run(self) -> None:
        try:
            while self._run_batch():
                pass
        except BaseException:
            log.exception("the batcher stopped")
            raise
        finally:
            self._closed = True
            self._fail_waiting()

    def _run_batch(self) -> bool:
        """Answer a batch and release its images; return False if the batcher is closed."""
        batch = self._take()
        if batch is None:
            return False
        done = self.batches
        wanted = [item for item in batch if _is_wanted(item)]
        self._answer(wanted)
        if self.batches > done:
            self._failures = 0
        elif wanted:
            self._failures += 1
        return True

    def _take(self) -> list[_Item] | None:
        """Wait for images and return a batch, or None if the batcher is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if len(self._waiting) < FEW:
                self._changed.wait_for(
                    lambda: len(self._waiting) >= FEW or self._closed, WAIT_SECONDS
                )
            if self._closed:
                return None
            count = min(len(self._waiting), self._max_batch)
            return [self._waiting.popleft() for _ in range(count)]

    def _answer(self, items: list[_Item]) -> None:
        """Embed the images of a batch and set their futures; never raises an Exception."""
        if not items:
            return
        try:
            outcomes = self._embed([item.image for item in items])
            pairs = list(zip(items, outcomes, strict=True))
        except Exception as error:
            if len(items) == 1:
                items[0].future.set_exception(error)
                return
            log.warning("a batch failed with %s; trying its images alone", type(error).__name__)
            for item in items:
                if not _has_expired(item):
                    self._answer([item])
            return
        self.batches += 1
        self.images += len(items)
        for item, outcome in pairs:
            item.future.set_result(outcome)

    def _fail_waiting(self) -> None:
        with self._changed:
            items, self._waiting = list(self._waiting), deque()
        for item in items:
            if item.future.set_running_or_notify_cancel():
                item.future.set_exception(RuntimeError("the batcher is closed"))


def _is_wanted(item: _Item) -> bool:
    """Return whether a result is still awaited, and mark the item as running."""
    return item.future.set_running_or_notify_cancel() and not _has_expired(item)


def _has_expired(item: _Item) -> bool:
    """Return whether an image waited too long, and fail it if so."""
    if time.monotonic() <= item.expires:
        return False
    item.future.set_exception(TimeoutError())
    return True
