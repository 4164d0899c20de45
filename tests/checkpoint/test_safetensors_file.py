"""A safetensors file is mapped, its header bounded, and what is wrong with it named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.checkpoint import hostile
from zeroshot.checkpoint.formats.safetensors_file import read_safetensors
from zeroshot.errors import IncompatibleWeights, UnsafeWeightsError


def test_tensors_and_metadata_are_what_was_saved(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(1).half()}
    save_file(tensors, tmp_path / "a.safetensors", {"format": "pt"})

    content = read_safetensors(tmp_path / "a.safetensors")
    found = content.tensors

    assert content.metadata == {"format": "pt"}
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize(
    ("header", "what"),
    [
        (b"{" + b" " * 5_000_000 + b"}", "a header of 5000002 bytes, the limit is 4194304"),
        (b'{"a":[' + b"[]," * 100_000 + b"[]]}", "more than 10000 tensors"),
        (b'{"a": 1, "a": 2}', "a header with a duplicate name"),
        (b'{"' + b"n" * 600 + b'": 1}', "more than 512 characters"),
        (b"[1]", "not a table"),
        (b"{a}", "not valid JSON"),
        (b"[" * 5_000, "not valid JSON"),
    ],
)
def test_a_header_that_is_too_much_or_unclear_is_refused(
    header: bytes, what: str, tmp_path: Path
) -> None:
    hostile.safetensors(tmp_path / "a.safetensors", header)

    with pytest.raises(UnsafeWeightsError, match=what):
        read_safetensors(tmp_path / "a.safetensors")


def test_a_type_that_no_network_uses_is_named(tmp_path: Path) -> None:
    entry = {"dtype": "F8_E5M2", "shape": [16], "data_offsets": [0, 16]}
    hostile.safetensors(tmp_path / "a.safetensors", {"w": entry})

    with pytest.raises(
        IncompatibleWeights, match=r"dtype of tensor 'w' to be one of .*; got 'F8_E5M2'"
    ):
        read_safetensors(tmp_path / "a.safetensors")


def test_a_crowd_of_tensors_within_the_limit_is_read(tmp_path: Path) -> None:
    save_file({str(n): torch.zeros(1) for n in range(9_000)}, tmp_path / "a.safetensors")

    assert len(read_safetensors(tmp_path / "a.safetensors").tensors) == 9_000
