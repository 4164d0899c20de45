"""Garbage collection is paused only where it is safe, and restored."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest

from tests.support import run_python
from zeroshot import collector


def test_a_command_exits_without_a_final_collection() -> None:
    code = """
import atexit, gc
atexit.register(lambda: print(gc.get_freeze_count() > 1000))  # the first to be registered runs last
import sys
from zeroshot.cli import run
sys.argv[1:] = ["prompts"]
run()
"""
    assert run_python(code).splitlines()[-1] == "True"


@pytest.mark.parametrize(
    ("before", "meanwhile"),
    [
        ("", "off"),
        ("gc.disable()", "off"),
        ("gc.freeze(); frozen = gc.get_freeze_count()", "on"),
        ("threading.Thread(target=time.sleep, args=[30], daemon=True).start()", "on"),
    ],
    ids=["default", "disabled", "frozen", "beside another thread"],
)
def test_collection_is_paused_for_importing_torch_and_restored(before: str, meanwhile: str) -> None:
    code = f"""
import gc, sys, threading, time
frozen, seen = 0, set()
from zeroshot.collector import FROZEN_AT_START as least
{before}
sys.addaudithook(lambda name, args: seen.add("on" if gc.isenabled() else "off")
    if name == "import" and str(args[0]).startswith("torch.nn") else None)
import zeroshot
zeroshot.load
assert "torch.nn" in sys.modules
print(*seen, gc.isenabled(), (gc.get_freeze_count() > least) == (frozen > least))
"""
    assert run_python(code).split() == [meanwhile, str(before != "gc.disable()"), "True"]


@pytest.fixture
def collecting() -> Iterator[None]:
    """Enable garbage collection for this test, and afterwards."""
    gc.enable()
    yield
    gc.enable()


@pytest.mark.usefixtures("collecting")
def test_collection_is_paused_in_the_block_and_restored() -> None:
    with collector.paused():
        assert not gc.isenabled()
    assert gc.isenabled()


@pytest.mark.usefixtures("collecting")
def test_collection_is_restored_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), collector.paused():
        raise ZeroDivisionError
    assert gc.isenabled()


@pytest.mark.usefixtures("collecting")
def test_disabled_collection_stays_disabled() -> None:
    gc.disable()
    with collector.paused(), collector.paused():
        assert not gc.isenabled()
    assert not gc.isenabled()


@pytest.mark.usefixtures("collecting")
def test_collection_is_not_paused_for_an_import_once_torch_is_imported() -> None:
    assert "torch" in sys.modules
    with collector.paused_for_import():
        assert gc.isenabled()
