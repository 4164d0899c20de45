"""Files that try to run code: every way in which a pickle or a TorchScript archive could."""

from __future__ import annotations

import os
import pickle
import struct
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from tests.checkpoint.hostile.base import (
    BUILD,
    GOOD,
    LEGACY,
    MARK,
    PROTO,
    REDUCE,
    STOP,
    Case,
    archive,
    legacy,
    mapping,
    name,
    numbers,
    program,
    tensor,
    text,
    together,
    whole,
)


class Pack(Protocol):
    """Write a file that contains a pickle."""

    def __call__(self, path: Path, content: bytes, /) -> None: ...


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
    formats: dict[str, Pack] = {"zip": archive, "legacy": legacy}
    for kind, pack in formats.items():
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
        start: tuple[object, ...] = (LEGACY, 1001, {})
        head = b"".join(pickle.dumps(x, 2) for x in start)
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
