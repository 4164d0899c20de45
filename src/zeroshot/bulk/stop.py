"""Stop a run at the first signal, and end the process at the second."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A run stopped at a signal; what it wrote is complete as far as it goes.

    Attributes: `rows`, the number of finished rows that belonged to no finished part and were
    discarded, `out`, the folder, and `signal`, the number of the signal.
    """

    def __init__(self, rows: int, out: str, number: int) -> None:
        super().__init__(
            f"stopped; {rows} rows of unfinished parts were discarded; call zeroshot.label with "
            f"the same arguments to continue in {out!r}, or run the same command again"
        )
        self.rows = rows
        self.out = out
        self.signal = number


class Stop:
    """Watches for SIGINT and SIGTERM while it is open; use it in a `with` statement.

    Python delivers signals to the main thread only; in another thread nothing is watched.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            # None: a handler that was not installed from Python
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()

    @property
    def is_requested(self) -> bool:
        """Whether a signal arrived."""
        return self.signal is not None

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.signal is None:
            self.signal = number
            return
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
