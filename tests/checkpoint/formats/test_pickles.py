"""The pickle interpreter builds plain data, calls nothing and keeps within its limits."""

from __future__ import annotations

import argparse
import collections
import datetime
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.checkpoint import hostile
from zeroshot.checkpoint.formats import pickles
from zeroshot.checkpoint.formats.pickles import SKIPPED, Call, Global, Interpreter, Record
from zeroshot.errors import UnsafeWeightsError

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False)
    | st.text(max_size=40),
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(max_size=9), inner)
    ),
    max_leaves=20,
)


def run(raw: bytes, **options: Any) -> Any:
    return Interpreter(memoryview(raw), 0, "x.pt", **options).run()


@given(plain, st.integers(1, 5))
def test_plain_data_round_trips(value: object, protocol: int) -> None:
    assert run(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", range(5))
def test_training_metadata_is_read_without_calling_it(protocol: int) -> None:
    content = {
        "args": argparse.Namespace(lr=0.1, name="ü" * 10),
        "when": datetime.datetime(2021, 1, 1, tzinfo=datetime.UTC),
        "best": np.float64(0.3),
        "random": np.random.default_rng(0).integers(9, size=3),
        "set": {1, 2},
        "frozen": frozenset((3,)),
        "counts": collections.Counter("aab"),
        "optimizer": {"state": {0: {"step": 1}}, "groups": [{"lr": 0.1}]},
        "bytes": b"\xff" * 9,
        "array": bytearray(b"1"),
        "kind": int,
    }

    found = run(pickle.dumps(content, protocol))

    assert list(found) == list(content)
    assert found["optimizer"]["groups"] == [{"lr": 0.1}]


def test_python_2_pickle_is_read() -> None:
    raw = b"\x80\x02}U\x01wU\x04\xff\xfe\x00\x01s."  # its texts were bytes

    assert run(raw) == {"w": SKIPPED}


def test_calls_are_recorded_and_not_executed() -> None:
    raw = hostile.PROTO + hostile.name("os", "system") + hostile.together(hostile.text("ls"))

    assert run(raw + b"R.") == Call(Global("os", "system"), ("ls",))


def test_object_state_is_recorded_and_not_applied() -> None:
    found = run(pickle.dumps(argparse.Namespace(a=1), 2))

    assert isinstance(found, Record)
    assert found.state == {"a": 1}


def test_position_is_after_the_pickle() -> None:
    first, second = pickle.dumps([1]), pickle.dumps([2])
    interpreter = Interpreter(memoryview(first + second), 0, "x.pt")
    interpreter.run()

    again = Interpreter(memoryview(first + second), interpreter.position, "x.pt")

    assert again.run() == [2]


def test_overlong_string_is_skipped() -> None:
    assert run(pickle.dumps(["x" * 5000, "y"])) == [SKIPPED, "y"]


def test_non_string_keys_are_dropped() -> None:
    assert run(pickle.dumps({1: 2, "a": 3, None: 4, (5,): 6})) == {"a": 3}


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"N" * 8, "bytes announced"),
        (b"NNNNNNNNNN.", "more than 9 pickle opcodes"),
        (b"\xffN.", "unknown pickle opcode 0xff"),
        (b"R.", "empty stack"),
        (b"(R.", "empty stack"),
        (b"t.", "no mark"),
        (b"h\x07.", "memo entry 7 does not exist"),
        (b"Np400000\n.", "is out of range"),
        (b"Np-1\n.", "is out of range"),
        (b"I1x\n.", "malformed number"),
        (b"L" + b"1" * 65 + b"L\n.", "malformed number"),
        (b"\x8a\x41" + bytes(65) + b".", "integer of 65 bytes"),
        (b"Vabc", "unterminated line"),
        (b"NNNs.", "not a dict"),
        (b"}(Nu.", "not a dict"),
        (b"NNa.", "not a list"),
        (b"NN\x93.", "a name that is not text"),
        (b"X\xff\xff\xff\x7f.", "bytes announced"),
        (b"T\xff\xff\xff\xff.", "bytes announced"),
    ],
)
def test_malformed_pickle_is_rejected_with_a_reason(raw: bytes, what: str) -> None:
    with pytest.raises(UnsafeWeightsError, match=what) as caught:
        run(raw, opcodes=9)

    assert caught.value.source == "x.pt"
    assert "download it again" in str(caught.value)


def test_pickle_larger_than_the_limit_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "MAX_PICKLE", 20)

    with pytest.raises(UnsafeWeightsError, match="the limit of 20"):
        run(pickle.dumps("x" * 30))


def test_limits_allow_the_largest_supported_checkpoint() -> None:
    import io
    import pickletools
    import zipfile

    import torch

    from zeroshot.checkpoint.formats.torch_archive import MAX_TENSORS

    buffer = io.BytesIO()
    torch.save({f"visual.transformer.resblocks.{n}.w": torch.ones(2) for n in range(100)}, buffer)
    raw = zipfile.ZipFile(buffer).read("archive/data.pkl")
    opcodes = sum(1 for _ in pickletools.genops(raw))

    assert opcodes / 100 * MAX_TENSORS < pickles.MAX_OPCODES
    assert len(raw) / 100 * MAX_TENSORS < pickles.MAX_PICKLE
