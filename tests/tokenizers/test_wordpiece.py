"""BERT's word pieces equal a slow plain encoder; invalid vocabularies are errors."""

from __future__ import annotations

import unicodedata

import pytest

from tests.tokenizers.training import SPECIAL, VOCABULARY, texts
from zeroshot.errors import IncompatibleWeights, UnsafeWeightsError
from zeroshot.tokenizers import wordpiece as module
from zeroshot.tokenizers.wordpiece import parse_vocabulary

TOKENS = VOCABULARY.decode().split("\n")


def is_chinese(character: str) -> bool:
    blocks = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2FA1F))
    return any(first <= ord(character) <= last for first, last in blocks)


def plain_words(text: str) -> list[str]:
    """Split a text as BasicTokenizer of google-research/bert does, one character at a time."""
    letters = []
    for c in text:
        category = unicodedata.category(c)
        if c in "\t\n\r" or category == "Zs":
            letters.append(" ")
        elif c not in "\0\ufffd" and not category.startswith("C"):
            letters.append(f" {c} " if is_chinese(c) else c)
    words = []
    for word in "".join(letters).split():
        word = unicodedata.normalize("NFD", word.lower())
        word = "".join(c for c in word if unicodedata.category(c) != "Mn")
        for c in word:
            sign = (c.isascii() and c.isprintable() and not c.isalnum()) or unicodedata.category(
                c
            ).startswith("P")
            words.append(f" {c} " if sign else c)
        words.append(" ")
    return "".join(words).split()


def plain_encode(text: str) -> list[str]:
    """Take the longest piece that matches, from the start of each word."""
    found = []
    for word in plain_words(text):
        pieces, start = [], 0
        while start < len(word) and len(word) <= 100:
            for end in range(len(word), start, -1):
                piece = ("##" if start else "") + word[start:end]
                if piece in TOKENS:
                    pieces.append(piece)
                    start = end
                    break
            else:
                break
        found += pieces if pieces and start == len(word) else ["[UNK]"]
    return found


def test_ids_equal_those_of_a_plain_encoder() -> None:
    encoder = parse_vocabulary(VOCABULARY, "vocab.txt", lowercase=True)
    # Characters of newer Unicode versions have other categories in Python and in the library.
    tried = [text for n, text in enumerate(texts(8000)) if n % 4 != 3]

    found = [[TOKENS[i] for i in encoder.encode(text)] for text in tried]

    assert [
        pair for pair in zip(tried, found, strict=True) if plain_encode(pair[0]) != pair[1]
    ] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("北京的猫", ["北", "京", "[UNK]", "[UNK]"]),
        ("東京.Café!北", ["東", "京", ".", "cafe", "!", "北"]),
        ("NAÏVE北京", ["naive", "北", "京"]),
        ("\u5317\u200d\u4eac\u3000東\u0000", ["北", "京", "東"]),
        ("Größe GRÖßE", ["große", "große"]),
    ],
)
def test_chinese_characters_are_words_and_accents_are_removed(
    text: str, expected: list[str]
) -> None:
    encoder = parse_vocabulary(VOCABULARY, "vocab.txt", lowercase=True)

    assert [TOKENS[i] for i in encoder.encode(text)] == expected == plain_encode(text)


def test_ids_are_line_numbers() -> None:
    encoder = parse_vocabulary(b"[PAD]\n[UNK]\na\ncat\n##s\n", "vocab.txt", lowercase=True)

    assert encoder.encode("A cats dog") == [2, 3, 4, 1]
    assert encoder.decode([0, 2, 3, 4]) == "a cats"
    assert (encoder.size, encoder.unknown, encoder.controls) == (5, 1, {0})


def test_case_is_kept_on_request() -> None:
    encoder = parse_vocabulary(b"[UNK]\r\ncat\r\nCat\r\n", "vocab.txt", lowercase=False)

    assert encoder.encode("Cat cat") == [2, 1]


def test_names_of_special_tokens_are_plain_text() -> None:
    encoder = parse_vocabulary(VOCABULARY, "vocab.txt", lowercase=False)

    for name in SPECIAL:
        ids = encoder.encode(f"a {name} b")
        assert encoder.controls.isdisjoint(ids)
        assert len(ids) > 3


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", r"a file of 1 lines without \[UNK\]"),
        (b"a\ncat\n", r"a file of 2 lines without \[UNK\]"),
        (b"[UNK]\na\nb\na\n", "the token 'a' of line 2 twice"),
        (b"[UNK]\n\n\n", "the token '' of line 2 twice"),
        (b"\xff\xfe[\0", "a file that is not UTF-8"),
    ],
)
def test_an_invalid_vocabulary_is_an_error(content: bytes, problem: str) -> None:
    expected = rf"^x/vocab\.txt: expected BERT's vocabulary, one token per line, got {problem}"

    with pytest.raises(UnsafeWeightsError, match=expected) as caught:
        parse_vocabulary(content, "x/vocab.txt", lowercase=True)

    assert caught.value.source == "x/vocab.txt"


def test_a_vocabulary_that_is_too_large_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TOKEN_IDS", 3)

    with pytest.raises(IncompatibleWeights, match="at most 3 lines, got 4; it is not"):
        parse_vocabulary(b"[UNK]\na\nb\nc\n", "vocab.txt", lowercase=True)
