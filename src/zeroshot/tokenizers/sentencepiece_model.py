"""Parse a SentencePiece `.model` file within limits.

The file is a protocol buffer; nothing in it is executed. Format: `sentencepiece_model.proto` of
google/sentencepiece.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from zeroshot.errors import IncompatibleWeights, UnsafeWeightsError
from zeroshot.spec import MAX_TOKEN_IDS
from zeroshot.tokenizers.charsmap import read_charsmap

MAX_PIECE = 512  # bytes of UTF-8; training limits pieces to 16 characters by default
UNIGRAM, BPE = 1, 2  # kinds of model; WORD 3 and CHAR 4 are not supported
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # kinds of piece
BYTE_NAME = re.compile(r"<0x[0-9A-F]{2}>")
VARINT, DOUBLE, BYTES, FLOAT = 0, 1, 2, 5  # wire types
Schema = dict[int, tuple[str, int]]  # name and wire type of each field number
MODEL: Schema = {1: ("pieces", BYTES), 2: ("trainer_spec", BYTES), 3: ("normalizer_spec", BYTES)}
PIECE: Schema = {1: ("piece", BYTES), 2: ("score", FLOAT), 3: ("type", VARINT)}
# The bytes of nearly all pieces: text, score, perhaps type, each of them once and with a length or
# value of one byte. Reading them field by field takes twice as long.
PIECE_BYTES = re.compile(rb"\n[\x00-\x7f](.*)\x15(.{4})(?:\x18([\x00-\x7f]))?", re.DOTALL)
TRAINER: Schema = {
    3: ("model_type", VARINT),
    24: ("treat_whitespace_as_suffix", VARINT),
    35: ("byte_fallback", VARINT),
}
NORMALIZER: Schema = {
    2: ("precompiled_charsmap", BYTES),
    3: ("add_dummy_prefix", VARINT),
    4: ("remove_extra_whitespaces", VARINT),
    5: ("escape_whitespaces", VARINT),
}
_read_float = struct.Struct("<f").unpack


@dataclass(frozen=True)
class SentencePieceModel:
    """The content of a SentencePiece model that encoding depends on."""

    pieces: tuple[tuple[str, float, int], ...]  # text, score (log probability or -rank), kind
    kind: int  # UNIGRAM or BPE
    byte_fallback: bool  # an unknown character becomes the pieces of its bytes
    replacements: dict[str, str]  # of normalization
    dummy_prefix: bool  # a space before the text
    collapse_spaces: bool  # and strip them

    @property
    def unknown(self) -> int:
        """Index of the unknown piece."""
        return next(i for i, (_, _, kind) in enumerate(self.pieces) if kind == UNKNOWN)


def parse_model(content: bytes, source: str) -> SentencePieceModel:
    """Parse a SentencePiece model.

    Args:
        content: The bytes of a `.model` file.
        source: Its path, for messages.

    Returns:
        Its pieces and settings.

    Raises:
        UnsafeWeightsError: The file is cut off, corrupted, or not a SentencePiece model.
        IncompatibleWeights: The model is of an unsupported kind or too large.
    """
    try:
        model = _parse(content, source)
        _check(model)
    except ValueError as error:
        if isinstance(error, IncompatibleWeights):
            raise
        raise UnsafeWeightsError(
            f"{source}: expected a SentencePiece model, got an invalid file ({error}); download "
            "it again from its publisher",
            source=source,
        ) from error
    if problem := _unsupported(model):
        raise incompatible(source, problem)
    return model


def incompatible(source: str, problem: str) -> IncompatibleWeights:
    return IncompatibleWeights(
        f"{source}: {problem}, which is not supported; use the tokenizer.json of the same "
        "checkpoint if its publisher has one",
        source=source,
    )


def _parse(content: bytes, source: str) -> SentencePieceModel:
    """Read the messages of the file. Raises ValueError with the name of the field."""
    pieces: list[tuple[str, float, int]] = []
    trainer: dict[str, Any] = {}
    normalizer: dict[str, Any] = {}
    for name, value in _fields(content, MODEL, ""):
        if name == "trainer_spec":
            trainer |= _fields(value, TRAINER, "trainer_spec.")
        elif name == "normalizer_spec":
            normalizer |= _fields(value, NORMALIZER, "normalizer_spec.")
        elif len(pieces) == MAX_TOKEN_IDS:
            raise incompatible(source, f"it has more than {MAX_TOKEN_IDS} pieces")
        else:
            pieces.append(_read_piece(value, len(pieces)))
    for name, expected in (("treat_whitespace_as_suffix", 0), ("escape_whitespaces", 1)):
        if bool((trainer | normalizer).get(name, expected)) != bool(expected):
            raise incompatible(source, f"{name} is {not expected}")
    return SentencePieceModel(
        tuple(pieces),
        trainer.get("model_type", UNIGRAM),
        bool(trainer.get("byte_fallback", 0)),
        _read_replacements(normalizer.get("precompiled_charsmap", b"")),
        bool(normalizer.get("add_dummy_prefix", 1)),
        bool(normalizer.get("remove_extra_whitespaces", 1)),
    )


def _read_replacements(content: bytes) -> dict[str, str]:
    try:
        return read_charsmap(content) if content else {}
    except ValueError as error:
        raise ValueError(f"normalizer_spec.precompiled_charsmap: {error}") from error


def _read_piece(content: bytes, index: int) -> tuple[str, float, int]:
    """Read the text, score and kind of a piece."""
    where = f"pieces[{index}]."
    found: dict[str, Any]
    usual = PIECE_BYTES.fullmatch(content)
    if usual and usual.end(1) - usual.start(1) == content[1]:
        found = {"piece": usual[1], "score": usual[2], "type": usual[3][0] if usual[3] else NORMAL}
    else:
        found = dict(_fields(content, PIECE, where))
    raw: bytes = found.get("piece", b"")
    if not 0 < len(raw) <= MAX_PIECE:
        raise ValueError(f"{where}piece has {len(raw)} bytes, expected 1 to {MAX_PIECE}")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}piece is not UTF-8: {raw[:20]!r}") from error
    (score,) = _read_float(found.get("score", b"\0\0\0\0"))
    if not math.isfinite(score):
        raise ValueError(f"{where}score is {score}, expected a finite number")
    kind: int = found.get("type", NORMAL)
    if not NORMAL <= kind <= BYTE:
        raise ValueError(f"{where}type is {kind}, expected {NORMAL} to {BYTE}")
    return text, score, kind


def _fields(data: bytes, schema: Schema, where: str) -> Iterator[tuple[str, Any]]:
    """Yield name and value of the fields of a message that the schema names; skip others."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at, where)
        number, wire = key >> 3, key & 7
        name, expected = schema.get(number, ("", wire))
        if not number or wire != expected:
            raise ValueError(
                f"{where}{name or f'field {number}'} at byte {at} has wire type {wire}, expected "
                f"{expected if number else 'a field number above 0'}"
            )
        value: int | bytes
        if wire == VARINT:
            value, at = _varint(data, at, where + name)
        else:
            if wire == BYTES:
                size, at = _varint(data, at, where + name)
            elif wire in (FLOAT, DOUBLE):
                size = 4 if wire == FLOAT else 8
            else:
                raise ValueError(f"{where}field {number} at byte {at} has wire type {wire}")
            if size > end - at:
                raise ValueError(
                    f"{where}{name or f'field {number}'} has {size} bytes, {end - at} are left"
                )
            value = data[at : at + size]
            at += size
        if name:
            yield name, value


def _varint(data: bytes, at: int, where: str) -> tuple[int, int]:
    """Return the integer at a position, and the position after it."""
    value = 0
    for n, byte in enumerate(data[at : at + 10]):
        value |= (byte & 127) << 7 * n
        if byte < 128 and value < 1 << 64:
            return value, at + n + 1
    raise ValueError(f"{where or 'the file'}: no valid integer at byte {at}")


def _check(model: SentencePieceModel) -> None:
    """Raise ValueError with what is inconsistent."""
    names = {text for text, _, _ in model.pieces}
    if len(names) != len(model.pieces):
        seen: set[str] = set()
        for i, (text, _, _) in enumerate(model.pieces):
            if text in seen:
                raise ValueError(f"pieces[{i}].piece is a duplicate: {text[:40]!r}")
            seen.add(text)
    kinds = [kind for _, _, kind in model.pieces]
    if kinds.count(UNKNOWN) != 1:
        raise ValueError(f"it has {kinds.count(UNKNOWN)} pieces for unknown text, expected 1")
    if NORMAL not in kinds:
        raise ValueError("it has no pieces of text")
    named = [text for text, _, kind in model.pieces if kind == BYTE and BYTE_NAME.fullmatch(text)]
    expected = 256 if model.byte_fallback else 0
    if kinds.count(BYTE) != expected or len(named) != expected:
        raise ValueError(f"it has {kinds.count(BYTE)} pieces for bytes, expected {expected}")


def _unsupported(model: SentencePieceModel) -> str:
    """Return what is valid but not supported, or ""."""
    if model.kind not in (UNIGRAM, BPE):
        return f"trainer_spec.model_type is {model.kind} (word or character)"
    return ""
