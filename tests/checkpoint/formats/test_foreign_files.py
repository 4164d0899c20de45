"""Files of other formats are recognized by suffix or first bytes, and the error says what to do."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from zeroshot.checkpoint.formats import files
from zeroshot.checkpoint.formats.foreign_files import HEAD, explain
from zeroshot.errors import IncompatibleWeights

BY_HEAD = {
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(8),
    "GGUF": b"GGUF\x03\0\0\0" + bytes(8),
    "NumPy": b"\x93NUMPY\x01\0v\0{'descr",
    "TensorFlow Lite": b"\x1c\0\0\0TFL3" + bytes(8),
    "ONNX": b"\x08\x07\x12\x07pytorch\x1a\x052.0",
    "compressed archive": b"\x1f\x8b\x08\x08" + bytes(12),
    "web page": b"<!DOCTYPE html><html>",
    "text file": b"# zeroshot\n\nCLIP inference",
}


@pytest.mark.parametrize("kind", BY_HEAD)
@pytest.mark.parametrize("name", ["model", "model.pt", "model.bin", "model.safetensors"])
def test_a_format_is_recognized_by_its_first_bytes(kind: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(BY_HEAD[kind])

    with pytest.raises(IncompatibleWeights, match=f"got an? .*{kind}.*; ") as caught:
        files.read_content(tmp_path / name)

    assert len(str(caught.value)) - len(str(tmp_path)) < 400


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tf_model.h5", "TensorFlow weights"),
        ("saved_model.pb", "TensorFlow weights"),
        ("model.ckpt.index", "TensorFlow weights"),
        ("flax_model.msgpack", "Flax"),
        ("model.onnx", "ONNX"),
        ("MODEL.ONNX", "ONNX"),
        ("clip-Q4_0.gguf", "GGUF"),
        ("weights.npz", "NumPy"),
        ("__0_0.distcp", "DCP"),
        ("model.tflite", "Lite"),
        ("clip.mlpackage", "Core ML"),
        ("clip.engine", "TensorRT"),
        ("rust_model.ot", "tch"),
        ("clip.tar.gz", "archive"),
    ],
)
def test_a_format_is_recognized_by_its_suffix(name: str, says: str) -> None:
    assert says in explain(name)


def test_checkpoints_are_not_taken_for_another_format() -> None:
    tensors = {"a": torch.zeros(3)}
    for legacy in (False, True):
        content = io.BytesIO()
        torch.save(tensors, content, _use_new_zipfile_serialization=not legacy)
        assert explain("model.ckpt", content.getvalue()[:HEAD]) == ""
    for length in (1, 17, 18, 300, 70_000):  # of the name, so of the header
        assert explain("a.safetensors", save({"n" * min(length, 500): tensors["a"]})[:HEAD]) == ""


@pytest.mark.parametrize("low", range(256))
def test_no_header_length_of_safetensors_is_taken_for_another_format(low: int) -> None:
    for high in (b"\0\0", b"\x07\x12", b"\x20\x12", b"HD"):
        head = bytes([low]) + high + b"\0" * 5 + b'{"a":{"d'
        assert explain("a.safetensors", head) == ""


def test_npz_written_by_numpy_is_recognized(tmp_path: Path) -> None:
    np.savez(tmp_path / "weights.npz", a=np.zeros(3))

    with pytest.raises(IncompatibleWeights, match="got a NumPy file; convert it"):
        files.read_content(tmp_path / "weights.npz")
