"""Recognize files of other formats, which cannot be read, and say what to do.

Files are recognized by their suffix or their first bytes, and are not parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

FROM_PUBLISHER = (
    "download model.safetensors or pytorch_model.bin of the same model, or convert it with the "
    "library that wrote it"
)
TENSORFLOW = (
    "TensorFlow weights",
    "convert them with CLIPModel.from_pretrained(folder, from_tf=True).save_pretrained(...) of "
    "transformers 4, or download model.safetensors of the same model",
)
ONNX = ("an ONNX graph", FROM_PUBLISHER)
GGUF = ("a GGUF file of llama.cpp", FROM_PUBLISHER)
NUMPY = (
    "a NumPy file",
    "convert it with safetensors.numpy.save_file(dict(numpy.load(path)), 'model.safetensors')",
)
ARCHIVE = ("a compressed archive", "unpack it and load the file or folder inside")
SHARDED = (
    "a distributed checkpoint of torch (DCP)",
    "convert it with `python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER "
    "model.pt`",
)
LITE = ("a TensorFlow Lite model", FROM_PUBLISHER)

# A pattern of file names, in lowercase -> what it is, and what to do.
NAMES = (
    (r".*\.distcp", SHARDED),
    (r".*\.(h5|hdf5|keras)|saved_model\.pb|.*\.ckpt\.(index|data-.*)", TENSORFLOW),
    (
        r".*\.msgpack",
        (
            "Flax weights",
            "convert them with CLIPModel.from_pretrained(folder, from_flax=True)"
            ".save_pretrained(...) of transformers 4, or download model.safetensors of the same "
            "model",
        ),
    ),
    (r".*\.(onnx|ort)|.*\.onnx_data", ONNX),
    (r".*\.(gguf|ggml)", GGUF),
    (r".*\.(npz|npy)", NUMPY),
    (r".*\.tflite", LITE),
    (r".*\.(mlmodel|mlpackage|mlmodelc)", ("a Core ML model", FROM_PUBLISHER)),
    (r".*\.(engine|plan|trt)", ("a TensorRT engine", FROM_PUBLISHER)),
    (r".*\.(pdparams|pdiparams)", ("Paddle weights", FROM_PUBLISHER)),
    (r".*\.ot", ("weights for Rust's tch", FROM_PUBLISHER)),
    (r".*\.(tar|tgz|gz|xz|bz2|zst|7z|rar)", ARCHIVE),
)
# The first bytes of a file, as a pattern -> the same.
HEADS = (
    (rb"\x89HDF\r\n\x1a\n", ("an HDF5 file, as TensorFlow and Keras write it", TENSORFLOW[1])),
    (rb"GGUF|GGML|ggml|lmgg", GGUF),
    (rb"\x93NUMPY", NUMPY),
    (rb".{4}TFL3", LITE),
    (rb"\x08[\x01-\x20][\x12\x1a\x22\x3a\x42].{5}[^{]", ONNX),
    (rb"\x1f\x8b|\xfd7zXZ\0|BZh[1-9]|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!", ARCHIVE),
    (
        rb"\s*<(!doctype|html|\?xml|head)",
        ("a web page", "download the file again; a proxy or login page replaced it"),
    ),
    (rb"[\t\n\r\x20-\x7e]{16}", ("a text file", "pass the weights file or its folder")),
)
HEAD = 16  # bytes that `explain` needs


def explain(name: str, head: bytes = b"") -> str:
    """Return what a file is and what to do, or "" if it may be a checkpoint."""
    for pattern, (what, advice) in NAMES:
        if re.fullmatch(pattern, name.lower()):
            return f"expected a safetensors file or a file of torch.save, got {what}; {advice}"
    for start, (what, advice) in HEADS:
        if re.match(start, head, re.DOTALL | re.IGNORECASE):
            return f"expected a safetensors file or a file of torch.save, got {what}; {advice}"
    return ""


def explain_folder(names: Iterable[str]) -> str:
    """Return the explanation of the first file in a folder that has one, or ""."""
    for name in sorted(names):
        if problem := explain(name):
            return f"{name}: {problem}"
    return ""
