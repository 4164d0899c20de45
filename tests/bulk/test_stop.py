"""Signals during a run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.bulk.jobs import run
from tests.bulk.support import Stub, contents, save_images
from tests.support import NAMES
from zeroshot.bulk.stop import Interrupted, Stop
from zeroshot.classifier import Classifier
from zeroshot.head import Head


class Signaling(Stub):
    """Sends a signal to this process when it has embedded some images."""

    def __init__(self, number: int, after: int) -> None:
        super().__init__()
        self.number, self.after = number, after

    def encode_pixels(self, pixels: Any, **options: Any) -> Any:
        before = self.images
        found = super().encode_pixels(pixels, **options)
        if before < self.after <= self.images:
            os.kill(os.getpid(), self.number)
        return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_within_a_batch_and_the_run_continues(number: int, tmp_path: Path) -> None:
    images = save_images(tmp_path / "images", 300)
    encoder = Signaling(number, 150)
    classifier = Classifier(encoder, Head.build(encoder, NAMES, "{}"))

    with pytest.raises(KeyboardInterrupt) as caught:
        run(images, tmp_path / "out", part_rows=80, classifier=classifier)

    assert isinstance(caught.value, Interrupted)
    assert caught.value.signal == number
    assert "run the same command again" in str(caught.value)
    assert 0 < caught.value.rows < 80
    assert encoder.images <= 150 + 3 * 32  # what was in flight
    done = len(contents(tmp_path / "out"))
    assert 1 <= done <= 2
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith((".", "_l"))]

    summary = run(images, tmp_path / "out", part_rows=80)
    run(images, tmp_path / "whole", part_rows=80)

    assert summary.computed == 300 - 80 * done
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_handlers_are_restored() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Stop() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.is_requested
        assert stop.signal == signal.SIGTERM

    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_the_second_signal_ends_the_process() -> None:
    program = (
        "import os, signal\n"
        "from zeroshot.bulk.stop import Stop\n"
        "with Stop():\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('first', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('second')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.stdout == "first\n"
    assert done.returncode == -signal.SIGTERM


def test_other_threads_install_no_handler() -> None:
    before = signal.getsignal(signal.SIGTERM)
    found = []

    def work() -> None:
        with Stop() as stop:
            found.append((stop.is_requested, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert found == [(False, before)]
