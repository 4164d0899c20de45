"""safetensors files with invalid or excessive headers."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.checkpoint import forms
from tests.checkpoint.hostile.base import GOOD, Case, plain_zip, program, safetensors
from zeroshot.checkpoint.config_fields import Fields
from zeroshot.checkpoint.layouts import native
from zeroshot.checkpoint.layouts.native import from_json, to_json
from zeroshot.checkpoint.weights import on_meta

METADATA = "__metadata__"


def headers() -> Iterator[Case]:
    one: dict[str, object] = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    entry = json.dumps(one).encode()
    many = b",".join(
        b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % n for n in range(12_000)
    )
    contents: dict[str, bytes | dict[str, object]] = {
        "duplicate-keys": b'{"w":%s,"w":%s}' % (entry, entry),
        "duplicate-fields": b'{"w":{"dtype":"F16",%s}' % entry[1:],
        "overlap": {"w": one, "x": one},
        "hole": {"w": one | {"shape": [2], "data_offsets": [8, 16]}},
        "past-the-end": {"w": one | {"shape": [8], "data_offsets": [0, 32]}},
        "trailing": {"w": one | {"shape": [2], "data_offsets": [0, 8]}},
        "backwards": {"w": one | {"data_offsets": [16, 0]}},
        "negative-offset": {"w": one | {"data_offsets": [-16, 0]}},
        "negative-shape": {"w": one | {"shape": [-4]}},
        "overflowing-shape": {"w": one | {"shape": [2**33, 2**33]}},
        "shape-lie": {"w": one | {"shape": [5]}},
        "shape-of-text": {"w": one | {"shape": ["4"]}},
        "dtype-unknown": {"w": one | {"dtype": "F1"}},
        "dtype-unusable": {"w": one | {"dtype": "F8_E4M3", "shape": [16]}},
        "dtype-complex": {"w": one | {"dtype": "C64", "shape": [2]}},
        "dtype-a-list": {"w": one | {"dtype": ["F32"]}},
        "no-dtype": {"w": {"shape": [4], "data_offsets": [0, 16]}},
        "entry-is-text": {"w": "F32"},
        "metadata-is-a-list": {"__metadata__": [], "w": one},
        "metadata-of-numbers": {"__metadata__": {"a": 1}, "w": one},
        "not-json": b"{hello}",
        "nan-json": b'{"w": NaN}',
        "list": b"[]",
        "nothing": b"{}",
        "not-utf8": b'{"\xff\xfe": 1}',
        "null-byte": b'{"w\0": 1}',
        "deep": b'{"a":' + b"[" * 18_000 + b"]" * 18_000 + b"}",
        "deep-objects": b'{"a":' * 9_000 + b"1" + b"}" * 9_000,
        "crowd": b"{" + many + b"}",
        "a-million-lists": b'{"a":[' + b"[]," * 1_300_000 + b"[]]}",
        "a-million-numbers": b'{"a":[' + b"1," * 1_900_000 + b"1]}",
        "a-number-of-a-million-digits": b'{"a":' + b"9" * 1_000_000 + b"}",
        "wide-text": b'{"' + "😀".encode() + b"x" * 4_000_000 + b'":1}',
        "five-megabytes": b"{" + b" " * 5_000_000 + b"}",
        "names-as-paths-and-lies": {"../../etc/x": one, "/etc/y": one},
    }  # fmt: skip
    for what, content in contents.items():

        def write(path: Path, _: Path, content: bytes | dict[str, object] = content) -> None:
            safetensors(path, content)

        yield Case(f"header-{what}", ".safetensors", write)
    raws = {
        "empty": b"",
        "seven-bytes": b"1234567",
        "length-0": bytes(8),
        "length-2-63": struct.pack("<Q", 2**63) + b"{}",
        "length-2-64": b"\xff" * 8 + b"{}",
        "length-past-the-end": struct.pack("<Q", 3) + b"{}",
        "a-pickle": program(GOOD),
        "a-zip": plain_zip(),
    }
    for what, raw in raws.items():

        def bare(path: Path, _: Path, raw: bytes = raw) -> None:
            path.write_bytes(raw)

        yield Case(f"safetensors-{what}", ".safetensors", bare)

    def paths(path: Path, _: Path) -> None:
        names = {"../../etc/passwd": torch.zeros(2), "/tmp/x": torch.zeros(2)}
        save_file(names, path)

    yield Case("header-names-as-paths", ".safetensors", paths, harmless=True)

    def empty_layers(path: Path, _: Path, layers: int = 96) -> None:
        content = to_json(forms.VIT)
        for tower in ("vision", "text"):
            content["architecture"][tower]["layers"] = layers
        spec = from_json(Fields(content, ""))
        names = on_meta(spec.network).state_dict()
        header: dict[str, object] = {METADATA: {native.METADATA_KEY: json.dumps(content)}}
        header |= {
            name: one | {"shape": [1], "data_offsets": [4 * n, 4 * n + 4]}
            for n, name in enumerate(names)
        }
        safetensors(path, header, bytes(4 * len(names)))

    def too_many_layers(path: Path, canary: Path) -> None:
        empty_layers(path, canary, 256)

    yield Case("checkpoint-of-192-layers-of-nothing", ".safetensors", empty_layers, harmless=True)
    yield Case("checkpoint-of-512-layers", ".safetensors", too_many_layers, harmless=True)
