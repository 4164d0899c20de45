"""SentencePiece models are read within limits; invalid ones are errors that name the field."""

from __future__ import annotations

import random
import struct
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.mutations import damaged
from tests.tokenizers.protobuf import PIECES, Value, field, message, varint, written
from tests.tokenizers.training import KINDS
from zeroshot.errors import IncompatibleWeights, UnsafeWeightsError, WeightsError
from zeroshot.tokenizers import sentencepiece_model as module
from zeroshot.tokenizers.sentencepiece_encoder import build_encoder
from zeroshot.tokenizers.sentencepiece_model import BPE, UNIGRAM, parse_model

SOURCE = "folder/spiece.model"
INVALID = "expected a SentencePiece model, got an invalid file"
BYTE_PIECES = [(f"<0x{n:02X}>", 0.0, 6) for n in range(256)]


def piece(text: str | bytes = "b", score: float = 0.0, kind: int = 1) -> bytes:
    """Return a model with one more piece."""
    return written([*PIECES, (text, score, kind)])


def test_a_model_is_read() -> None:
    model = parse_model(written(), SOURCE)

    assert model.pieces == PIECES
    assert (model.kind, model.byte_fallback, model.replacements) == (UNIGRAM, False, {})
    assert (model.dummy_prefix, model.collapse_spaces, model.unknown) == (True, True, 0)


def test_settings_are_read() -> None:
    content = written([*PIECES, *BYTE_PIECES], {3: 2, 35: 1}, {3: 0, 4: 0, 5: 1})

    model = parse_model(content, SOURCE)

    assert (model.kind, model.byte_fallback) == (BPE, True)
    assert (model.dummy_prefix, model.collapse_spaces) == (False, False)


def test_unknown_fields_are_skipped() -> None:
    others = field(4, b"self test") + field(200, 7) + field(201, 1.5) + b"\xd1\x0c" + bytes(8)

    assert parse_model(others + written(), SOURCE) == parse_model(written(), SOURCE)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "0 pieces for unknown text"),
        (b"hello world, this is text", "pieces|wire type|bytes"),
        (b"version https://git-lfs.github.com/spec/v1\n", "wire type"),
        (written(normalizer={3: 0})[:-1], "normalizer_spec has 2 bytes, 1 are left"),
        (written()[:20], "pieces"),
        (b"\x0a" + varint(2**63) + b"a", "pieces has 9223372036854775808 bytes, 1 are left"),
        (b"\xff" * 30, "the file: no valid integer at byte 0"),
        (b"\x0a" + b"\x80" * 40, "pieces: no valid integer at byte 1"),
        (b"\x0a", "pieces: no valid integer at byte 1"),
        (b"\xff" * 9 + b"\x02", "no valid integer at byte 0"),
        (field(0, 5), "wire type 0, expected a field number above 0"),
        (field(1, 5), "pieces at byte 1 has wire type 0, expected 2"),
        (field(2, 1.5), "trainer_spec at byte 1 has wire type 5, expected 2"),
        (b"\x23\x24", "field 4 at byte 1 has wire type 3"),
        (b"\x26", "field 4 at byte 1 has wire type 6"),
        (field(1, field(1, 3)), r"pieces\[0\]\.piece at byte 1 has wire type 0, expected 2"),
        (field(1, field(2, 3)), r"pieces\[0\]\.score at byte 1 has wire type 0, expected 5"),
        (field(1, field(3, b"a")), r"pieces\[0\]\.type at byte 1 has wire type 2, expected 0"),
        (field(1, b"\x15\0"), r"pieces\[0\]\.score has 4 bytes, 1 are left"),
        (field(2, field(3, b"")), r"trainer_spec\.model_type at byte 1 has wire type 2"),
        (field(3, field(2, 1)), r"normalizer_spec\.precompiled_charsmap at byte 1 has wire"),
        (field(1, b""), r"pieces\[0\]\.piece has 0 bytes, expected 1 to 512"),
        (piece("b" * 513), r"pieces\[7\]\.piece has 513 bytes, expected 1 to 512"),
        (piece(b"\xff\xfe"), r"pieces\[7\]\.piece is not UTF-8: b'\\xff\\xfe'"),
        (piece(b"\xed\xa0\x80"), r"pieces\[7\]\.piece is not UTF-8"),
        (piece(score=float("nan")), r"pieces\[7\]\.score is nan, expected a finite number"),
        (piece(score=float("-inf")), r"pieces\[7\]\.score is -inf, expected a finite number"),
        (piece(kind=0), r"pieces\[7\]\.type is 0, expected 1 to 6"),
        (piece(kind=2**64 - 1), r"pieces\[7\]\.type is 18446744073709551615, expected 1 to 6"),
        (piece("a"), r"pieces\[7\]\.piece is a duplicate: 'a'"),
        (piece(kind=2), "2 pieces for unknown text, expected 1"),
        (piece("<0x41>", kind=6), "1 pieces for bytes, expected 0"),
        (written(PIECES[:3]), "no pieces of text"),
        (written([*PIECES, *BYTE_PIECES[1:]], {3: 2, 35: 1}), "255 pieces for bytes, expected 256"),
        (written(normalizer={2: b"abc"}), r"normalizer_spec\.precompiled_charsmap: its trie"),
    ],
)
def test_an_invalid_file_is_an_error_that_names_the_field(content: bytes, problem: str) -> None:
    with pytest.raises(UnsafeWeightsError, match=problem) as caught:
        parse_model(content, SOURCE)

    text = str(caught.value)
    assert text.startswith(f"{SOURCE}: {INVALID}")
    assert text.endswith("download it again from its publisher")
    assert len(text) < 600
    assert caught.value.source == SOURCE


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (written(trainer={3: 3}), r"trainer_spec\.model_type is 3 \(word or character\)"),
        (written(trainer={3: 4}), r"trainer_spec\.model_type is 4"),
        (written(trainer={24: 1}), "treat_whitespace_as_suffix is True"),
        (written(normalizer={5: 0}), "escape_whitespaces is False"),
    ],
)
def test_a_valid_model_of_another_kind_is_unsupported(content: bytes, problem: str) -> None:
    with pytest.raises(IncompatibleWeights, match=f"{problem}.* is not supported; use the tok"):
        parse_model(content, SOURCE)


def test_too_many_pieces_are_rejected_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TOKEN_IDS", 5)

    with pytest.raises(IncompatibleWeights, match="it has more than 5 pieces"):
        parse_model(written(), SOURCE)


def test_a_repeated_setting_has_its_last_value() -> None:
    twice = written(trainer={3: 4}) + field(2, message({3: 2}))

    assert parse_model(twice, SOURCE).kind == BPE


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_rejected(content: bytes) -> None:
    for tried in (content, field(1, content), field(2, content), written() + content):
        with suppress(WeightsError):
            parse_model(tried, SOURCE)


@given(
    st.lists(
        st.tuples(
            st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), st.binary()),
            st.floats(width=32),
            st.integers(0, 7),
        ),
        max_size=12,
    ),
    st.integers(0, 5),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_any_pieces_are_rejected_or_encode(
    pieces: list[tuple[str | bytes, float, int]], kind: int, text: str
) -> None:
    try:
        model = parse_model(written([*PIECES[:5], *pieces], {3: kind}), SOURCE)
        encoder = build_encoder(model, SOURCE)
    except WeightsError:
        return
    assert all(0 <= i < len(model.pieces) for i in encoder.encode(text))


@pytest.mark.parametrize("kind", KINDS)
def test_corrupted_files_are_rejected_or_encode(kind: str, trained: dict[str, bytes]) -> None:
    content = trained[kind]
    if len(content) > 100_000:  # the table of replacements is tested by itself
        content = content[: content.rindex(b"nmt_nfkc") - 6]  # the last message
    dice = random.Random(kind)
    counts = {"read": 0, "rejected": 0}
    last = time.process_time()
    for _ in range(1500):
        try:
            encoder = build_encoder(parse_model(damaged(content, dice), SOURCE), SOURCE)
            encoder.encode("a photo of a cat, кошка")
            counts["read"] += 1
        except WeightsError:
            counts["rejected"] += 1
        now = time.process_time()
        assert now - last < 5
        last = now
    assert min(counts.values()) > 50, counts


def test_a_long_file_of_small_pieces_is_read_in_seconds() -> None:
    count = 100_000
    listed = b"".join(
        field(1, field(1, f"p{n}") + b"\x15" + struct.pack("<f", -n)) for n in range(count)
    )
    before = time.process_time()

    model = parse_model(written() + listed, SOURCE)

    assert len(model.pieces) == count + len(PIECES)
    assert time.process_time() - before < 5


@pytest.mark.parametrize("text", ["a", "cat", "\x15abcd\x18\x01", "\x15\x15\x15\x15\x15", "é" * 90])
@pytest.mark.parametrize("kind", [None, 1, 3, 5])
def test_a_piece_is_read_the_same_from_its_usual_bytes_and_field_by_field(
    text: str, kind: int | None
) -> None:
    fields: dict[int, Value] = {1: text, 2: -0.625}
    if kind is not None:
        fields[3] = kind
    usual = message(fields)
    other = message(dict(reversed(fields.items())))

    found = [module._read_piece(content, 0) for content in (usual, other, usual + b"\x20\x00")]

    assert found == [(text, -0.625, kind or 1)] * 3
