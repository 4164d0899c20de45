"""Show a progress bar for work that takes longer than two seconds.

A bar appears on standard error if that is a terminal, or in a notebook, with the rate, and with the
time left if the number of items is known. tqdm draws it and is imported when a bar appears.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from operator import length_hint
from typing import Any, TypeVar

from zeroshot.arguments import flag

DELAY = 2.0  # seconds before a bar appears

Show = bool | None  # None: if the work takes longer than DELAY, on a terminal or in a notebook
Item = TypeVar("Item")


class Bar:
    """Counts finished items, and draws a bar if `show` and the time elapsed say so."""

    def __init__(self, unit: str, total: int | None = None, show: Show = None) -> None:
        if show is not None:
            show = flag("progress", show, ", or None for a bar if the work takes two seconds")
        self._unit, self._total, self._done = unit, total, 0
        if not _has_stderr() or (show is None and not is_interactive()):
            show = False
        self._show = show
        self._start = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def add(self, count: int) -> None:
        """Count finished items."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        elif self._show or (self._show is None and self._is_slow()):
            self._bar = self._draw()

    def _is_slow(self) -> bool:
        """Return whether the work takes long and is not finished."""
        return time.monotonic() - self._start > DELAY and self._done != self._total

    def _draw(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # in notebooks without ipywidgets, tqdm.auto warns
            from tqdm.auto import tqdm  # type: ignore[import-untyped]

            unit = f" {self._unit}"
            # smoothing 0: the rate since the start, which includes the time before the bar
            bar = tqdm(total=self._total, unit=unit, smoothing=0, file=sys.stderr)
        if not bar.disable:  # by TQDM_DISABLE
            bar.start_t -= time.monotonic() - self._start
        bar.update(self._done)
        return bar


def track(
    items: Iterable[Item],
    bar: Bar,
    count: Callable[[Item], int] = len,  # type: ignore[assignment]
) -> Iterator[Item]:
    """Yield items; when the next is requested, the one before counts as `count(item)`."""
    with bar:
        for item in items:
            yield item
            bar.add(count(item))


def length(items: object) -> int | None:
    """Return the number of items, or None if it is not known."""
    try:
        return length_hint(items) or None
    except Exception:  # a data set may have a length that raises any error
        return None


def is_interactive() -> bool:
    """Return whether a person sees standard error: a terminal or a notebook."""
    on_terminal = getattr(sys.stderr, "isatty", bool) if _has_stderr() else bool
    return bool(on_terminal()) or _is_in_notebook()


def _has_stderr() -> bool:
    """Return whether standard error exists; programs without a console and services have none."""
    return sys.stderr is not None and not getattr(sys.stderr, "closed", False)


def _is_in_notebook() -> bool:
    """Return whether this process runs the cells of a notebook."""
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", bool)
    return hasattr(get_shell(), "kernel")
