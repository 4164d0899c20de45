"""Files that someone might send to do harm, each made by the few lines that say what is wrong.

A case writes one file into a folder. Pickles are put together by hand, opcode by opcode; the
canary is a file that exists only if something in here was executed.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from tests.checkpoint import forms
from zeroshot.checkpoint.config_fields import Fields
from zeroshot.checkpoint.layouts import native
from zeroshot.checkpoint.layouts.native import from_json, to_json
from zeroshot.checkpoint.weights import on_meta

METADATA = "__metadata__"
Write = Callable[[Path, Path], None]  # the file to write, the canary to threaten
Pack = Callable[[Path, bytes], None]  # the file to write, its pickle
CUTS = 20


@dataclass(frozen=True)
class Case:
    """A hostile file; `harmless` when its tensors can be had and the rest goes unread."""

    name: str
    suffix: str
    write: Write
    harmless: bool = False


# ---- opcodes

PROTO, STOP, REDUCE, BUILD, MARK = b"\x80\x02", b".", b"R", b"b", b"("
LEGACY = 0x1950A86A20F9469CFC6C


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def whole(number: int) -> bytes:
    size = number.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + number.to_bytes(size, "little", signed=True)


def name(module: str, attribute: str) -> bytes:
    return b"c" + f"{module}\n{attribute}\n".encode()


def together(*parts: bytes) -> bytes:
    return MARK + b"".join(parts) + b"t"


def numbers(*values: int) -> bytes:
    return together(*map(whole, values))


def tensor(
    shape: tuple[int, ...] = (4,),
    strides: tuple[int, ...] = (1,),
    offset: int = 0,
    key: str = "0",
    kind: str = "FloatStorage",
    numel: int = 4,
    hooks: bytes = name("collections", "OrderedDict") + b")R",
) -> bytes:
    storage = together(text("storage"), name("torch", kind), text(key), text("cpu"), whole(numel))
    arguments = together(
        storage + b"Q", whole(offset), numbers(*shape), numbers(*strides), b"\x89", hooks
    )
    return name("torch._utils", "_rebuild_tensor_v2") + arguments + REDUCE


def mapping(*pairs: bytes) -> bytes:
    return b"}" + MARK + b"".join(pairs) + b"u"


GOOD = text("w") + tensor()


def program(*pairs: bytes) -> bytes:
    return PROTO + mapping(*pairs) + STOP


# ---- containers


def archive(path: Path, content: bytes, *more: tuple[str, bytes], deflate: bool = False) -> None:
    """Write what torch.save writes: a zip of stored members."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as file:
        warnings.simplefilter("ignore")  # of names that come twice
        kind = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
        file.writestr("archive/data.pkl", content, kind)
        for member, raw in more or (("archive/data/0", bytes(16)),):
            file.writestr(member, raw)


def legacy(path: Path, content: bytes, keys: tuple[str, ...] = ("0",), rest: bytes = b"") -> None:
    """Write what torch.save wrote before 1.6: five pickles, then the storages."""
    head = b"".join(pickle.dumps(x, 2) for x in (LEGACY, 1001, {"little_endian": True}))
    storages = rest or b"".join(struct.pack("<q", 4) + bytes(16) for _ in keys)
    path.write_bytes(head + content + pickle.dumps(list(keys), 2) + storages)


def safetensors(path: Path, header: bytes | dict[str, object], data: bytes = bytes(16)) -> None:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)


# ---- code that wants to run


def commands(canary: Path) -> dict[str, bytes]:
    """Functions that would leave the canary, each with its arguments."""
    shell = f"touch {canary}"
    python = f"open({str(canary)!r}, 'w').close()"
    return {
        "os.system": name("os", "system") + together(text(shell)),
        "posix.system": name("posix", "system") + together(text(shell)),
        "nt.system": name("nt", "system") + together(text(shell)),
        "subprocess.Popen": name("subprocess", "Popen")
        + together(b"]" + MARK + text("touch") + text(str(canary)) + b"e"),
        "builtins.eval": name("builtins", "eval") + together(text(python)),
        "builtins.exec": name("builtins", "exec") + together(text(python)),
        "python2.exec": name("__builtin__", "eval") + together(text(python)),
        "builtins.open": name("builtins", "open") + together(text(str(canary)), text("w")),
        "runpy": name("runpy", "run_path") + together(text(str(canary))),
        "import": name("importlib", "import_module") + together(text("antigravity")),
        "pty.spawn": name("pty", "spawn") + together(text(shell)),
        "nested": name("torch.storage", "_load_from_bytes")
        + together(b"B" + struct.pack("<I", 4) + b"cos\n"),
        "torch.load": name("torch.serialization", "load") + together(text(str(canary))),
        "from_type": name("torch._tensor", "_rebuild_from_type_v2")
        + together(name("os", "system"), name("os", "system"), together(text(shell)), b"N"),
        "lambda": name("types", "FunctionType") + together(text(python), b"}"),
        "getattr": name("builtins", "getattr") + together(name("os", "system"), text("__call__")),
    }


def routes(canary: Path) -> dict[str, bytes]:
    """Every way in which a pickle can make or call something, with os.system."""
    shell = text(f"touch {canary}")
    system = name("os", "system")
    return {
        "REDUCE": system + together(shell) + REDUCE,
        "STACK_GLOBAL": text("os") + text("system") + b"\x93" + together(shell) + REDUCE,
        "INST": MARK + shell + b"ios\nsystem\n",
        "OBJ": MARK + system + shell + b"o",
        "NEWOBJ": system + together(shell) + b"\x81",
        "NEWOBJ_EX": system + together(shell) + b"}" + b"\x92",
        "BUILD_setstate": name("os", "environ") + mapping(text("__setstate__"), system) + BUILD,
        "BUILD_dict": system + together(shell) + REDUCE + mapping(text("a"), shell) + BUILD,
        "BUILD_slots": name("builtins", "object") + b")\x81"
        + together(b"N", mapping(text("__class__"), system)) + BUILD,
        "EXT1": b"\x82\x01",
        "EXT4": b"\x84\x01\x00\x00\x00",
        "PERSID": b"Pos.system\n",
        "BINPERSID": together(text("storage"), system, shell, shell, whole(1)) + b"Q",
        "MEMO": system + b"q\x01" + b"0" + b"h\x01" + together(shell) + REDUCE,
        "DUP": system + b"2" + together(shell) + REDUCE + b"\x86",
        "APPEND": system + together(shell) + REDUCE + shell + b"a",
        "SETITEM": name("os", "environ") + text("PATH") + shell + b"s",
        "NEXT_BUFFER": b"\x97",
    }  # fmt: skip


def running() -> Iterator[Case]:
    anywhere = Path("/nowhere")
    containers: tuple[tuple[str, Pack], ...] = (("zip", archive), ("legacy", legacy))
    for kind, pack in containers:
        for what in commands(anywhere):

            def call(path: Path, canary: Path, what: str = what, pack: Pack = pack) -> None:
                pack(path, program(GOOD, text("x"), commands(canary)[what] + REDUCE))

            yield Case(f"{kind}-calls-{what}", ".pt", call, harmless=True)
        for route in routes(anywhere):

            def way(path: Path, canary: Path, route: str = route, pack: Pack = pack) -> None:
                pack(path, program(GOOD, text("x"), routes(canary)[route]))

            refused = route in ("EXT1", "EXT4", "NEXT_BUFFER", "SETITEM")
            yield Case(f"{kind}-route-{route}", ".pt", way, harmless=not refused)

    def called(path: Path, canary: Path) -> None:
        archive(path, PROTO + commands(canary)["os.system"] + REDUCE + STOP)

    def in_hooks(path: Path, canary: Path) -> None:
        evil = commands(canary)["os.system"] + REDUCE
        archive(path, program(text("w"), tensor(hooks=evil)))

    def in_key(path: Path, canary: Path) -> None:
        archive(path, program(GOOD, commands(canary)["os.system"] + REDUCE, b"N"))

    def in_shape(path: Path, canary: Path) -> None:
        evil = tensor().replace(numbers(4), together(commands(canary)["os.system"] + REDUCE))
        archive(path, program(text("w"), evil))

    def in_constants(path: Path, canary: Path) -> None:
        evil = PROTO + commands(canary)["os.system"] + REDUCE + STOP
        storage = ("archive/data/0", bytes(16))
        archive(path, program(GOOD), storage, ("archive/constants.pkl", evil))

    def before_magic(path: Path, canary: Path) -> None:
        path.write_bytes(PROTO + commands(canary)["os.system"] + REDUCE + STOP)

    def as_keys(path: Path, canary: Path) -> None:
        before: tuple[object, ...] = (LEGACY, 1001, {})
        head = b"".join(pickle.dumps(x, 2) for x in before)
        evil = PROTO + commands(canary)["os.system"] + REDUCE + STOP
        path.write_bytes(head + program(GOOD) + evil + struct.pack("<q", 4) + bytes(16))

    yield Case("pickle-is-a-call", ".pt", called)
    yield Case("call-in-hooks", ".pt", in_hooks, harmless=True)
    yield Case("call-as-key", ".pt", in_key, harmless=True)
    yield Case("call-as-shape", ".pt", in_shape)
    yield Case("call-in-constants", ".pt", in_constants, harmless=True)
    yield Case("call-instead-of-magic", ".bin", before_magic)
    yield Case("call-as-list-of-storages", ".bin", as_keys)
    yield Case("torchscript-setstate", ".pt", setstate_archive)
    yield Case("pickled-class-with-reduce", ".pt", reduce_class, harmless=True)


def setstate_archive(path: Path, canary: Path) -> None:
    """Write a TorchScript archive whose `__setstate__` writes the canary when torch loads it."""

    class Evil(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w: torch.Tensor = nn.Parameter(torch.ones(4))
            self.place = str(canary)

        @torch.jit.export
        def __getstate__(self) -> tuple[torch.Tensor, str, bool]:
            return self.w, self.place, self.training

        @torch.jit.export
        def __setstate__(self, state: tuple[torch.Tensor, str, bool]) -> None:
            torch.save(state[0], state[1])
            self.w = state[0]
            self.place = state[1]
            self.training = state[2]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.")  # deprecated as a whole
        torch.jit.save(torch.jit.script(Evil()), str(path))


class Bomb:
    """What every tutorial on pickles shows."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def reduce_class(path: Path, canary: Path) -> None:
    torch.save({"w": torch.zeros(4), "x": Bomb(canary)}, path)


# ---- pickles that lie or swell


def lying() -> Iterator[Case]:
    tensors = {
        "past-the-storage": tensor((5,)),
        "offset-past-the-storage": tensor(offset=1),
        "stride-past-the-storage": tensor((2,), (4,)),
        "negative-stride": tensor((2,), (-1,)),
        "negative-shape": tensor((-4,)),
        "negative-offset": tensor(offset=-4),
        "huge-shape": tensor((2**62, 2**62), (1, 1)),
        "huge-stride": tensor((2,), (2**62,)),
        "huge-empty-shape": tensor((0, 2**39, 2**39), (1, 1, 1)),
        "number-of-64-bytes": tensor((2**500,)),
        "expanded-by-stride-0": tensor((2**30,), (0,)),
        "more-strides-than-sides": tensor((4,), (1, 1)),
        "a-hundred-sides": tensor((1,) * 100, (1,) * 100),
        "true-as-shape": tensor().replace(numbers(4), together(b"\x88")),
        "float-as-shape": tensor().replace(numbers(4), together(b"G" + struct.pack(">d", 4.0))),
        "list-as-shape": tensor().replace(numbers(4), b"]" + whole(4) + b"a"),
        "unknown-storage": tensor(kind="QInt8Storage"),
        "storage-that-is-not-there": tensor(key="7"),
        "storage-outside": tensor(key="../../../etc/passwd"),
        "wider-type-than-stored": tensor(kind="DoubleStorage"),
        "storage-is-no-reference": tensor().replace(b"Q", b"\x85"),
        "parameter-of-a-parameter": name("torch._utils", "_rebuild_parameter") * 2000
        + tensor()
        + (b"\x85R") * 2000,
    }  # fmt: skip
    for what, content in tensors.items():

        def lie(path: Path, _: Path, content: bytes = content) -> None:
            archive(path, program(text("w"), content))

        yield Case(f"tensor-{what}", ".pt", lie)


def swelling() -> Iterator[Case]:
    million = 1_000_000
    programs = {
        "dicts": b"}" * million,
        "memoized-dicts": b"}\x94" * (million // 2),
        "lists": b"]" * million,
        "lists-of-one": b"]Na" * (million // 3),
        "dicts-of-one": b"}" + (text("k") + b"}" + text("k") + b"Ns" + b"s") * 40_000,
        "calls": b")" + b"2)R" * (million // 3),
        "records": b")" + b")2\x81" * (million // 3),
        "globals": b"c\n\n" * (million // 3),
        "references": b"N" + b"2Q" * (million // 2),
        "nested-tuples": b")" + b"\x85" * 390_000 + b"." ,
        "nested-references": b"N" + b"Q" * 390_000 + b".",
        "nested-calls": b"N" + b")R" * 199_000 + b".",
        "nested-records": b"N" + b")\x81" * 199_000 + b".",
        "nested-lists": b"]" + b"]2a" * 100_000 + b".",
        "memo-key-huge": b"Np99999999999999999999\n.",
        "memo-key-negative": b"Np-1\n.",
        "memo-keys-that-collide": b"N"
        + b"".join(f"p{k * (2**61 - 1)}\n".encode() for k in range(1, 30_000)) + b".",
        "memo-keys-far-apart": b"N" + b"".join(
            b"r" + struct.pack("<I", k * 2**12) for k in range(1, 90_000)) + b".",
        "keys-that-collide": b"}" + b"".join(
            whole(k * (2**61 - 1)) + b"Ns" for k in range(1, 60_000)) + b".",
        "unhashable-keys": b"}" + b"]Ns" * 1000 + b".",
        "list-in-itself": b"]q\x00h\x00a.",
        "dict-in-itself": b"}q\x00" + text("a") + b"h\x00s.",
        "record-in-itself": b"c\n\n)\x81q\x00h\x00b.",
        "text-of-an-exabyte": b"\x8d" + struct.pack("<Q", 2**60),
        "bytearray-of-a-terabyte": b"\x96" + struct.pack("<Q", 2**40),
        "text-of-minus-one": b"T" + struct.pack("<i", -1),
        "integer-of-two-gigabytes": b"\x8b" + struct.pack("<i", 2**31 - 1),
        "integer-of-minus-one": b"\x8b" + struct.pack("<i", -1),
        "decimal-of-a-million-digits": b"I" + b"9" * million + b"\n.",
        "decimal-of-4000-digits": b"L" + b"9" * 4000 + b"L\n.",
        "wide-text": (b"X" + struct.pack("<I", 4000) + "😀".encode() + b"x" * 3996) * 1000 + b".",
        "line-without-end": b"S" + b"'" * 5000,
        "marks-only": b"(" * million,
        "pops-of-nothing": b"000.",
        "marks-and-pops": b"(1" * 500_000,
        "no-stop": b"N" * 1000,
        "no-mark": b"t.",
        "stop-at-once": b".",
        "unknown-opcode": b"\xff.",
        "not-utf8": b"X" + struct.pack("<I", 2) + b"\xff\xfe" + b".",
        "deeper-than-64": (b"}" + text("a")) * 100 + tensor() + b"s" * 100 + b".",
        "names-of-4000-letters": b"}" + text("n" * 4000) + tensor() + b"s.",
        "names-that-add-up": (b"}" + text("n" * 250)) * 60 + tensor() + b"s" * 60 + b".",
        "ten-thousand-names-of-one": b"}(" + text("w0") + tensor() + b"q\x00"
        + b"".join(text(f"w{n}") + b"h\x00" for n in range(1, 12_000)) + b"u.",
        "empty-dict": b"}.",
        "none": b"N.",
    }  # fmt: skip
    for what, content in programs.items():

        def swell(path: Path, _: Path, content: bytes = content) -> None:
            archive(path, PROTO + content)

        yield Case(f"pickle-{what}", ".pt", swell)
    for what in ("memoized-dicts", "calls", "nested-records", "wide-text", "line-without-end"):

        def old(path: Path, _: Path, content: bytes = programs[what]) -> None:
            legacy(path, PROTO + content)

        yield Case(f"legacy-{what}", ".bin", old)
    yield from shared_and_split()


def shared_and_split() -> Iterator[Case]:
    megabyte = 2**20

    def shared(path: Path, _: Path) -> None:
        wide = tensor((megabyte,), numel=megabyte)
        views = b"".join(text(f"w{n}") + wide for n in range(500))
        archive(path, program(views), ("archive/data/0", bytes(4 * megabyte)))

    def shared_askew(path: Path, _: Path) -> None:
        wide = tensor((megabyte,), numel=megabyte)
        views = b"".join(text(f"w{n}") + wide for n in range(500))
        rest = struct.pack("<q", megabyte) + bytes(4 * megabyte)
        legacy(path, PROTO + b"\x8c\x01x0" + program(views)[2:], rest=rest)

    yield Case("storage-shared-by-500-tensors", ".pt", shared)
    yield Case("legacy-storage-shared-by-500-tensors", ".bin", shared_askew)
    rests = {
        "cut": struct.pack("<q", 4) + bytes(15),
        "missing": b"",
        "count-negative": struct.pack("<q", -4) + bytes(16),
        "count-huge": struct.pack("<q", 2**62) + bytes(16),
    }
    for what, rest in rests.items():

        def storage(path: Path, _: Path, rest: bytes = rest) -> None:
            legacy(path, program(GOOD), rest=rest or b"\0")

        yield Case(f"legacy-storage-{what}", ".bin", storage)

    def twice(path: Path, _: Path) -> None:
        legacy(path, program(GOOD), ("0", "0"))

    def unused(path: Path, _: Path) -> None:
        legacy(path, program(GOOD), ("0", "1"))

    yield Case("legacy-storage-listed-twice", ".bin", twice)
    yield Case("legacy-storage-of-no-tensor", ".bin", unused)


# ---- zip files that lie


def good_zip() -> bytes:
    buffer = io.BytesIO()
    torch.save({"w": torch.ones(4), "x": torch.zeros(2, 3).half()}, buffer)
    return buffer.getvalue()


def plain_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a/data.pkl", program(GOOD))
        file.writestr("a/data/0", bytes(16))
    return buffer.getvalue()


def at(raw: bytes, place: int, layout: str, value: int) -> bytes:
    piece = struct.pack(layout, value)
    place %= len(raw)
    return raw[:place] + piece + raw[place + len(piece) :]


def zips() -> Iterator[Case]:
    raw = plain_zip()
    directory = raw.index(b"PK\x01\x02")
    second = raw.index(b"PK\x01\x02", directory + 4)
    end = raw.index(b"PK\x05\x06")
    local = raw.index(b"PK\x03\x04", 4)
    modern = good_zip()
    locator = modern.index(b"PK\x06\x07")
    record = modern.index(b"PK\x06\x06")
    contents = {
        "prefix": b"#!/bin/sh\n" + raw,
        "trailing-bytes": raw + b"\0",
        "comment": at(raw, -2, "<H", 3) + b"abc",
        "comment-with-a-directory": at(raw, -2, "<H", 22) + raw[-22:],
        "count-too-large": at(at(raw, end + 8, "<H", 3), end + 10, "<H", 3),
        "count-too-small": at(at(raw, end + 8, "<H", 1), end + 10, "<H", 1),
        "count-of-65534": at(at(raw, end + 8, "<H", 65534), end + 10, "<H", 65534),
        "two-disks": at(raw, end + 4, "<H", 1),
        "directory-elsewhere": at(raw, end + 16, "<I", 0),
        "directory-past-the-end": at(raw, end + 16, "<I", 2**31),
        "size-lie": at(at(raw, second + 20, "<I", 2**20), second + 24, "<I", 2**20),
        "two-sizes": at(raw, second + 24, "<I", 8),
        "header-elsewhere": at(raw, second + 42, "<I", 5),
        "header-of-another": at(raw, second + 42, "<I", 0),
        "header-past-the-end": at(raw, second + 42, "<I", 2**31),
        "encrypted": at(at(raw, second + 8, "<H", 1), local + 6, "<H", 1),
        "name-mismatch": at(raw, local + 30, "<B", ord("b")),
        "method-mismatch": at(raw, local + 8, "<H", 8),
        "size-mismatch": at(raw, local + 18, "<I", 3),
        "name-past-the-end": at(raw, second + 28, "<H", 60_000),
        "extra-past-the-end": at(raw, second + 30, "<H", 60_000),
        "zip64-locator-lie": at(modern, locator + 8, "<Q", 2**63),
        "zip64-locator-elsewhere": at(modern, locator + 8, "<Q", 0),
        "zip64-count-huge": at(at(modern, record + 24, "<Q", 2**60), record + 32, "<Q", 2**60),
        "zip64-size-huge": at(modern, record + 40, "<Q", 2**63),
        "zip64-offset-huge": at(modern, record + 48, "<Q", 2**64 - 1),
        "zip64-two-directories": at(modern, -12, "<H", 1),
        "unknown-size-without-zip64": at(raw, second + 24, "<I", 2**32 - 1),
        "only-an-end": raw[end:],
        "only-a-header": raw[:30],
    }  # fmt: skip
    for what, content in contents.items():

        def lie(path: Path, _: Path, content: bytes = content) -> None:
            path.write_bytes(content)

        yield Case(f"zip-{what}", ".pt", lie)
    yield from crafted_zips()


def crafted_zips() -> Iterator[Case]:
    storage = ("archive/data/0", bytes(16))

    def twice(path: Path, _: Path) -> None:
        archive(path, program(GOOD), storage, storage)

    def two_pickles(path: Path, _: Path) -> None:
        archive(path, program(GOOD), storage, ("other/data.pkl", program(GOOD)))

    def no_pickle(path: Path, _: Path) -> None:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("readme", "hello")

    def deflated(path: Path, _: Path) -> None:
        archive(path, program(GOOD), deflate=True)

    def bomb(path: Path, _: Path) -> None:
        archive(path, PROTO + b"N" * 50_000_000 + STOP, deflate=True)

    def storage_bomb(path: Path, _: Path) -> None:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("a/data.pkl", program(text("w"), tensor((12_500_000,))))
            file.writestr("a/data/0", bytes(50_000_000), zipfile.ZIP_DEFLATED)

    def big_endian(path: Path, _: Path) -> None:
        archive(path, program(GOOD), storage, ("archive/byteorder", b"big"))

    def crowd(path: Path, _: Path) -> None:
        archive(path, program(GOOD), *((f"archive/data/{n}", b"") for n in range(30_000)))

    def long_names(path: Path, _: Path) -> None:
        names = (("archive/data/" + "n" * 60_000 + str(n), b"") for n in range(200))
        archive(path, program(GOOD), *names)

    def outside(path: Path, _: Path) -> None:
        archive(path, program(GOOD), storage, ("../../../../tmp/out", b"x"), ("/etc/x", b"x"))

    def pickle_too_large(path: Path, _: Path) -> None:
        archive(path, PROTO + b"N0" * 3_000_000 + STOP)

    yield Case("zip-member-twice", ".pt", twice)
    yield Case("zip-two-pickles", ".pt", two_pickles)
    yield Case("zip-without-pickle", ".pt", no_pickle)
    yield Case("zip-deflated-pickle", ".pt", deflated)
    yield Case("zip-bomb", ".pt", bomb)
    yield Case("zip-bomb-as-storage", ".pt", storage_bomb)
    yield Case("zip-big-endian", ".pt", big_endian)
    yield Case("zip-of-30000-members", ".pt", crowd)
    yield Case("zip-long-names", ".pt", long_names)
    yield Case("zip-names-outside", ".pt", outside, harmless=True)
    yield Case("zip-pickle-of-6-mb", ".pt", pickle_too_large)


# ---- safetensors


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


# ---- good files, cut


def good_legacy() -> bytes:
    buffer = io.BytesIO()
    content = {"w": torch.ones(4), "x": torch.zeros(2, 3).half()}
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def good_safetensors() -> bytes:
    header = {
        "__metadata__": {"format": "pt"},
        "w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
        "x": {"dtype": "F16", "shape": [2, 3], "data_offsets": [16, 28]},
    }
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(28)


GOOD_FILES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "zip": (".pt", good_zip),
    "legacy": (".bin", good_legacy),
    "safetensors": (".safetensors", good_safetensors),
}


def truncated() -> Iterator[Case]:
    for kind, (suffix, make) in GOOD_FILES.items():
        for n in range(CUTS):

            def cut(path: Path, _: Path, n: int = n, make: Callable[[], bytes] = make) -> None:
                raw = make()
                path.write_bytes(raw[: len(raw) * n // CUTS])

            yield Case(f"{kind}-cut-at-{n}-of-{CUTS}", suffix, cut)


def noise() -> Iterator[Case]:
    for what, head in (("random", b""), ("zip", b"PK\x03\x04"), ("pickle", b"\x80\x02")):

        def write(path: Path, _: Path, head: bytes = head) -> None:
            path.write_bytes(head + random.Random(3).randbytes(100_000))

        yield Case(f"noise-{what}", ".pt", write)


def cases() -> list[Case]:
    """Return all of them; names are unique."""
    found = [
        *running(), *lying(), *swelling(), *zips(), *headers(), *truncated(), *noise()
    ]  # fmt: skip
    assert len({case.name for case in found}) == len(found)
    return found
