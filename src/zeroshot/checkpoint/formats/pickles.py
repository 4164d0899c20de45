"""Interpret the pickle opcodes of torch, within limits, without calling anything.

A pickle is a small program that may name and call any function. Here names stay names: a call
becomes a `Call` value, an object a `Record`, a reference to stored bytes a `Reference`, and the
caller selects the few that describe tensors. Everything else in the program is ignored, so a
malicious file can at worst describe meaningless data.

Limits keep that data small: the number of opcodes, each of which allocates at most about 100 bytes;
the number of pickle bytes; and only text keys are hashed, so a file cannot force collisions.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zeroshot.errors import UnsafeWeightsError

MAX_PICKLE = 4 * 2**20  # bytes; 10,000 tensors need about 1.4 MB, the largest CLIP 0.1 MB
MAX_OPCODES = 400_000  # 10,000 tensors need about 330,000
MAX_TEXT = 4096  # bytes; longer texts do not name tensors and are skipped
MAX_LINE = 1024  # bytes
MAX_DIGITS = 64


@dataclass(frozen=True, slots=True)
class Global:
    """A name that the pickle imports; it is not imported here."""

    module: str
    name: str


@dataclass(slots=True)
class Call:
    """A call that the pickle makes; it is not made here."""

    function: Any
    arguments: Any
    state: Any = None
    items: dict[str, Any] | None = None


@dataclass(slots=True)
class Record:
    """An object of some class: its attributes without its behavior."""

    kind: Any
    state: Any = None


@dataclass(frozen=True, slots=True)
class Reference:
    """A persistent id, by which torch refers to a storage outside the pickle."""

    value: Any


class _Marker:
    """A marker on the stack that is not a value of the pickle."""


MARK = _Marker()  # start of a variable number of arguments
SKIPPED = _Marker()  # bytes, or a text too long to be a name


class Interpreter:
    """Run one pickle at `position` in `data`; afterwards `position` is its end."""

    def __init__(
        self, data: memoryview, position: int, source: str, opcodes: int = MAX_OPCODES
    ) -> None:
        self.data = data
        self.opcodes = opcodes
        self.position = position
        self.end = min(len(data), position + MAX_PICKLE)
        self.source = source
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.references: list[Reference] = []  # all references in the pickle, used or not

    def run(self) -> Any:
        """Return the value that the pickle describes.

        Raises UnsafeWeightsError if the pickle is invalid.
        """
        for _ in range(self.opcodes):
            code = self.take(1)[0]
            if code == ord("."):
                return self.pop()
            operation = OPERATIONS.get(code)
            if operation is None:
                raise self.error(f"unknown pickle opcode {code:#04x}")
            operation(self)
        raise self.error(f"more than {self.opcodes} pickle opcodes")

    def error(self, what: str) -> UnsafeWeightsError:
        """Return the error for an invalid pickle."""
        return UnsafeWeightsError(
            f"{self.source}: {what} at byte {self.position} of its pickle; the file is corrupted "
            "or malicious, download it again from its publisher",
            source=self.source,
        )

    def take(self, count: int) -> memoryview:
        """Consume `count` bytes."""
        end = self.position + count
        if count < 0 or end > self.end:
            raise self.error(
                f"{count} bytes announced, which exceeds the pickle or the limit of {MAX_PICKLE}"
            )
        piece = self.data[self.position : end]
        self.position = end
        return piece

    def number(self, layout: str) -> Any:
        """Consume one packed number."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self) -> str:
        """Consume text up to the end of the line."""
        near = bytes(self.data[self.position : min(self.position + MAX_LINE, self.end)])
        size = near.find(b"\n")
        if size < 0:
            raise self.error("unterminated line")
        self.take(size + 1)
        return near[:size].decode("utf-8", "replace")

    def text(self, layout: str) -> None:
        """Push a text that is preceded by its packed size."""
        piece = self.take(self.number(layout))
        try:
            self.push(str(piece, "utf-8") if len(piece) <= MAX_TEXT else SKIPPED)
        except UnicodeDecodeError:  # Python 2 stored bytes in text opcodes
            self.push(SKIPPED)

    def skip(self, layout: str) -> None:
        """Skip bytes that are preceded by their packed size."""
        self.take(self.number(layout))
        self.push(SKIPPED)

    def push(self, value: Any) -> None:
        """Push a value on the stack."""
        self.stack.append(value)

    def pop(self) -> Any:
        """Remove and return the top of the stack."""
        if not self.stack or self.stack[-1] is MARK:
            raise self.error("empty stack")
        return self.stack.pop()

    def top(self) -> Any:
        """Return the top of the stack."""
        if not self.stack or self.stack[-1] is MARK:
            raise self.error("empty stack")
        return self.stack[-1]

    def pop_to_mark(self) -> list[Any]:
        """Remove the last mark and all values above it; return the values."""
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is MARK:
                values = self.stack[index + 1 :]
                del self.stack[index:]
                return values
        raise self.error("no mark on the stack")

    def remember(self, key: int) -> None:
        """Store the top of the stack in the memo."""
        if not 0 <= key < MAX_OPCODES:  # pickle writers count from 0
            raise self.error(f"memo entry {key} is out of range")
        self.memo[key] = self.top()

    def recall(self, key: int) -> None:
        """Push a value from the memo."""
        if key not in self.memo:
            raise self.error(f"memo entry {key} does not exist")
        self.push(self.memo[key])

    def set_items(self, values: list[Any]) -> None:
        """Add key, value, key, value ... to the dict on top of the stack.

        Only text keys are kept. Optimizer states have numbers as keys, and contain no weights.
        (Chosen numbers could be made to collide in a dict; texts cannot, because Python salts their
        hash.)
        """
        target = self.top()
        if isinstance(target, Call) and target.items is None:
            target.items = {}
        items = target.items if isinstance(target, Call) else target
        if not isinstance(items, dict) or len(values) % 2:
            raise self.error("items set on a value that is not a dict")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if isinstance(key, str):
                items[key] = value

    def append(self, values: list[Any]) -> None:
        """Append values to the list (or set) on top of the stack."""
        target = self.top()
        if isinstance(target, list):
            target.extend(values)
        elif not isinstance(target, Call | Record):
            raise self.error("values appended to a value that is not a list")

    def call(self) -> None:
        """Replace arguments and function on the stack by a Call."""
        arguments = self.pop()
        self.push(Call(self.pop(), arguments))

    def make(self) -> None:
        """Replace class and arguments on the stack by a Record."""
        self.pop()
        self.push(Record(self.pop()))

    def build(self) -> None:
        """Attach a state to the object on top of the stack."""
        state = self.pop()
        target = self.top()
        if isinstance(target, Call | Record):
            target.state = state

    def refer(self) -> None:
        """Replace the top of the stack by a Reference to it."""
        self.references.append(Reference(self.pop()))
        self.push(self.references[-1])

    def global_from_lines(self) -> None:
        """Push a name written as two lines."""
        module = self.line()
        self.push(Global(module, self.line()))

    def global_from_stack(self) -> None:
        """Push a name whose two parts are on the stack."""
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise self.error("a name that is not text")
        self.push(Global(module, name))

    def long(self, size: int) -> None:
        """Push a little-endian integer of `size` bytes."""
        if size > 64:
            raise self.error(f"an integer of {size} bytes")
        self.push(int.from_bytes(self.take(size), "little", signed=True))

    def tuple_of(self, count: int) -> None:
        """Push a tuple of the last `count` values."""
        values = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(values)))

    def decimal(self, convert: Callable[[str], Any]) -> Any:
        """Consume a number written as text."""
        text = self.line()
        try:
            if len(text) > MAX_DIGITS:
                raise ValueError(f"{len(text)} digits")
            return convert(text)
        except ValueError as error:
            raise self.error("a malformed number") from error

    def dict_from_mark(self) -> None:
        """Push a dict of the keys and values above the mark."""
        values = self.pop_to_mark()
        self.push({})
        self.set_items(values)

    def set_item(self) -> None:
        """Add the key and value on top of the stack to the dict below them."""
        value = self.pop()
        self.set_items([self.pop(), value])

    def make_with_keywords(self) -> None:
        """Push a Record for an object made with keyword arguments."""
        self.pop()
        self.make()

    def instance_from_lines(self) -> None:
        """Push a Record for an object whose class is written as two lines."""
        self.pop_to_mark()
        module = self.line()
        self.push(Record(Global(module, self.line())))

    def instance(self) -> None:
        """Push a Record for an object made from a class and the values above the mark."""
        values = self.pop_to_mark()
        self.push(Record(values[0] if values else None))


def _int(text: str) -> int | bool:
    return {"00": False, "01": True}[text] if text in ("00", "01") else int(text)


# fmt: off
OPERATIONS: dict[int, Callable[[Interpreter], Any]] = {ord(code): operation for code, operation in {
    "\x80": lambda i: i.take(1),                      # PROTO
    "\x95": lambda i: i.take(8),                      # FRAME
    "(": lambda i: i.push(MARK),
    "0": lambda i: i.stack.pop() if i.stack else i.pop(),  # POP, also of a mark
    "1": lambda i: i.pop_to_mark(),
    "2": lambda i: i.push(i.top()),                   # DUP
    "N": lambda i: i.push(None),
    "\x88": lambda i: i.push(True),
    "\x89": lambda i: i.push(False),
    "I": lambda i: i.push(i.decimal(_int)),
    "L": lambda i: i.push(i.decimal(lambda text: int(text.rstrip("L")))),
    "F": lambda i: i.push(i.decimal(float)),
    "K": lambda i: i.push(i.number("<B")),
    "M": lambda i: i.push(i.number("<H")),
    "J": lambda i: i.push(i.number("<i")),
    "G": lambda i: i.push(i.number(">d")),
    "\x8a": lambda i: i.long(i.number("<B")),
    "\x8b": lambda i: i.long(i.number("<i")),
    "S": lambda i: i.push(i.line().strip("'\"")),
    "V": lambda i: i.push(i.line()),
    "U": lambda i: i.text("<B"),
    "T": lambda i: i.text("<i"),
    "X": lambda i: i.text("<I"),
    "\x8c": lambda i: i.text("<B"),
    "\x8d": lambda i: i.text("<Q"),
    "C": lambda i: i.skip("<B"),
    "B": lambda i: i.skip("<I"),
    "\x8e": lambda i: i.skip("<Q"),
    "\x96": lambda i: i.skip("<Q"),  # BYTEARRAY8
    ")": lambda i: i.push(()),
    "]": lambda i: i.push([]),
    "}": lambda i: i.push({}),
    "\x8f": lambda i: i.push([]),                     # EMPTY_SET
    "t": lambda i: i.push(tuple(i.pop_to_mark())),
    "l": lambda i: i.push(i.pop_to_mark()),
    "\x91": lambda i: i.push(i.pop_to_mark()),        # FROZENSET
    "\x85": lambda i: i.tuple_of(1),
    "\x86": lambda i: i.tuple_of(2),
    "\x87": lambda i: i.tuple_of(3),
    "d": Interpreter.dict_from_mark,
    "s": Interpreter.set_item,
    "u": lambda i: i.set_items(i.pop_to_mark()),
    "a": lambda i: i.append([i.pop()]),
    "e": lambda i: i.append(i.pop_to_mark()),
    "\x90": lambda i: i.append(i.pop_to_mark()),      # ADDITEMS
    "p": lambda i: i.remember(i.decimal(int)),
    "q": lambda i: i.remember(i.number("<B")),
    "r": lambda i: i.remember(i.number("<I")),
    "\x94": lambda i: i.remember(len(i.memo)),        # MEMOIZE
    "g": lambda i: i.recall(i.decimal(int)),
    "h": lambda i: i.recall(i.number("<B")),
    "j": lambda i: i.recall(i.number("<I")),
    "c": Interpreter.global_from_lines,
    "\x93": Interpreter.global_from_stack,
    "R": Interpreter.call,
    "\x81": Interpreter.make,
    "\x92": Interpreter.make_with_keywords,           # NEWOBJ_EX
    "o": Interpreter.instance,
    "i": Interpreter.instance_from_lines,
    "b": Interpreter.build,
    "P": lambda i: i.push(Reference(i.line())),
    "Q": Interpreter.refer,
}.items()}
# fmt: on
