"""Bound the bytes of bodies and downloaded images that requests keep in memory at once."""

from __future__ import annotations

from zeroshot.serving.errors import busy, too_large

REQUESTS = 16  # of the largest size; the application copies a body once or twice while it reads it
SHARE = "zeroshot.memory"  # key of a request's share in its scope


class Memory:
    """Counts the bytes of all requests; used in one thread. `used` is their sum."""

    def __init__(self, max_body: int) -> None:
        self.max_body = max_body
        self.used = 0

    def share(self) -> Share:
        """Return the share of a new request."""
        return Share(self)


class Share:
    """The bytes of one request: its body, and what it downloaded."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._used = 0

    def check(self, size: int) -> None:
        """Raise what `take` raises for so many bytes."""
        if size > self.left:
            raise too_large(self._memory.max_body)
        if self._memory.used + size > REQUESTS * self._memory.max_body:
            raise busy()

    @property
    def left(self) -> int:
        """The bytes that the request may still take."""
        return self._memory.max_body - self._used

    def take(self, size: int) -> None:
        """Count some bytes.

        Raises ApiError 413 if the request has too many, 503 if all requests together have.
        """
        self.check(size)
        self._used += size
        self._memory.used += size

    def release(self) -> None:
        """Count the bytes as free, at the end of the request."""
        self._memory.used -= self._used
        self._memory = Memory(self._memory.max_body)  # a download that ends later counts nowhere
