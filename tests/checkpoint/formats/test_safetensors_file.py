"""safetensors files are mapped, their header is bounded, and errors name what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.checkpoint import hostile
from zeroshot.checkpoint.formats.files import read_content
from zeroshot.checkpoint.formats.safetensors_file import read_safetensors
from zeroshot.errors import IncompatibleWeights, UnsafeWeightsError


def test_tensors_and_metadata_round_trip(tmp_path: Path) -> None:
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
def test_oversized_or_ambiguous_header_is_rejected(
    header: bytes, what: str, tmp_path: Path
) -> None:
    hostile.safetensors(tmp_path / "a.safetensors", header)

    with pytest.raises(UnsafeWeightsError, match=what):
        read_safetensors(tmp_path / "a.safetensors")


def test_unsupported_dtype_is_named(tmp_path: Path) -> None:
    entry = {"dtype": "F8_E5M2", "shape": [16], "data_offsets": [0, 16]}
    hostile.safetensors(tmp_path / "a.safetensors", {"w": entry})

    with pytest.raises(
        IncompatibleWeights, match=r"dtype of tensor 'w' to be one of .*; got 'F8_E5M2'"
    ):
        read_safetensors(tmp_path / "a.safetensors")


def test_9000_tensors_are_read(tmp_path: Path) -> None:
    save_file({str(n): torch.zeros(1) for n in range(9_000)}, tmp_path / "a.safetensors")

    assert len(read_safetensors(tmp_path / "a.safetensors").tensors) == 9_000


def test_unaligned_tensor_is_read(tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    header = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    header += b" " * (3 - len(header) % 8 + 8)  # so the tensor begins at no multiple of four
    path.write_bytes(len(header).to_bytes(8, "little") + header + torch.ones(2).numpy().tobytes())

    assert torch.equal(read_content(path).tensors["a"], torch.ones(2))
