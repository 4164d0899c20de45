"""Rows have start, end and padding as the text tower reads them; texts that are too long raise."""

from __future__ import annotations

import copy
import pickle
from functools import cache
from typing import Any

import numpy as np
import pytest
import sentencepiece

from tests.tokenizers.training import texts
from zeroshot.errors import InputError, TokenLimitError, UnsafeWeightsError
from zeroshot.spec import TokenizerConfig
from zeroshot.tokenizers import Tokenizer
from zeroshot.tokenizers.cleaning import clean_text
from zeroshot.tokenizers.sentencepiece_encoder import build_encoder
from zeroshot.tokenizers.sentencepiece_model import parse_model
from zeroshot.tokenizers.subword import SubwordTokenizer
from zeroshot.tokenizers.wordpiece import parse_vocabulary

SIGLIP = TokenizerConfig(16, "canonicalize", end=1, pad=1, full_rows=True)
SIGLIP_2 = TokenizerConfig(16, "canonicalize", end=1, pad=0, full_rows=True)
XLM_R = TokenizerConfig(16, "whitespace", start=0, end=2, pad=1, piece_ids="fairseq")
CONFIGS = {"siglip": SIGLIP, "gemma": SIGLIP_2, "xlm-r": XLM_R}
VOCABULARY = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\ncat\ndog\n##s\n[\n]\nsep\n"


@cache
def tokenizer_of(kind: str, content: bytes) -> SubwordTokenizer:
    config = CONFIGS[kind]
    return SubwordTokenizer(
        build_encoder(parse_model(content, kind), kind, config.piece_ids), config
    )


@pytest.fixture(params=list(CONFIGS))
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def tokenizer(kind: str, trained: dict[str, bytes]) -> SubwordTokenizer:
    return tokenizer_of(kind, trained[kind])


def words(**options: Any) -> SubwordTokenizer:
    """Return a tokenizer of word pieces."""
    encoder = parse_vocabulary(VOCABULARY, "vocab.txt", lowercase=True)
    return SubwordTokenizer(encoder, TokenizerConfig(**{"context_length": 6} | options))


def expected_row(kind: str, oracle: sentencepiece.SentencePieceProcessor, text: str) -> list[int]:
    """Build a row as the peers do: cut, add special ids, pad."""
    config = CONFIGS[kind]
    ids = oracle.encode(clean_text(text, config.cleaning))
    if kind == "xlm-r":
        ids = [0, *(3 if i == 0 else i + 1 for i in ids)]
    ids = [*ids[: config.context_length - 1], config.end]
    return ids + [config.pad] * (config.context_length - len(ids))


def test_padded_rows_equal_those_of_the_peers(
    kind: str, tokenizer: SubwordTokenizer, trained: dict[str, bytes]
) -> None:
    oracle = sentencepiece.SentencePieceProcessor(model_proto=trained[kind])
    tried = [*texts(2000), "", "a " * 100, "A Photo of a CAT!", "new_york, it's 3d"]

    ids = tokenizer(tried, truncate=True)

    assert ids.tolist() == [expected_row(kind, oracle, text) for text in tried]
    assert (ids.dtype, ids.shape) == (np.int64, (len(tried), 16))
    assert ids.max() < tokenizer.vocab_size


def test_it_implements_the_protocol(tokenizer: SubwordTokenizer) -> None:
    assert isinstance(tokenizer, Tokenizer)
    assert tokenizer.context_length == 16
    assert "context_length=16, vocab_size=" in repr(tokenizer)


def test_rows_have_no_padding_unless_the_text_tower_reads_it(
    kind: str, tokenizer: SubwordTokenizer
) -> None:
    tried = ["a cat", "a photo of a dog", ""]
    config = CONFIGS[kind]

    rows = tokenizer.rows(tried)

    if kind == "xlm-r":
        assert rows == [[0, *tokenizer.encode(text), 2] for text in tried]
    else:
        assert [len(row) for row in rows] == [16, 16, 16]
        assert rows == tokenizer(tried).tolist()
        assert set(rows[2]) == {config.end, config.pad}


def test_one_text_is_one_row_and_none_are_no_rows(tokenizer: SubwordTokenizer) -> None:
    assert tokenizer("a cat").tolist() == tokenizer(["a cat"]).tolist()
    assert tokenizer([]).shape == (0, 16)
    assert tokenizer.rows(iter(["a cat"])) == tokenizer.rows(["a cat"])
    assert tokenizer.rows([]) == []


@pytest.mark.parametrize(
    ("options", "row"),
    [
        ({}, [4, 5, 6, 4, 5, 6]),
        ({"end": 3}, [4, 5, 6, 4, 5, 3]),
        ({"start": 2}, [2, 4, 5, 6, 4, 5]),
        ({"start": 2, "end": 3}, [2, 4, 5, 6, 4, 3]),
        ({"start": 2, "end": 0}, [2, 4, 5, 6, 4, 0]),  # CLIPA
    ],
)
def test_a_text_that_is_too_long_is_cut_before_the_end(
    options: dict[str, int], row: list[int]
) -> None:
    tokenizer = words(**options)

    assert tokenizer.rows(["a cat dog a cat dog a"], truncate=True) == [row]
    assert tokenizer("a cat dog a cat dog a", truncate=True).tolist() == [row]


def test_a_text_that_fits_exactly_is_not_cut() -> None:
    assert words(start=2, end=3).rows(["a cat dog a"]) == [[2, 4, 5, 6, 4, 3]]


def test_a_text_that_is_too_long_is_an_error_with_the_number_of_tokens() -> None:
    text = "a cat dog a cat"
    problem = "'a cat dog a cat' has 7 tokens including start and end, the model reads 6; use a sh"

    for function in (words(start=2, end=3), words(start=2, end=3).rows):
        with pytest.raises(TokenLimitError, match=problem) as caught:
            function(["a", text])
        assert (caught.value.text, caught.value.tokens) == (text, 7)


def test_special_tokens_in_a_text_are_plain_text(kind: str, tokenizer: SubwordTokenizer) -> None:
    for name in ("</s>", "<eos>", "<pad>", "<unk>"):
        assert CONFIGS[kind].end not in tokenizer.encode(f"a {name} b")
    assert words(cleaning="none").encode("a [SEP] cat") == [4, 8, 10, 9, 5]


def test_texts_decode_up_to_the_end(tokenizer: SubwordTokenizer) -> None:
    row = tokenizer(["a photo of the cat"])[0]

    assert tokenizer.decode(row) == "a photo of the cat"
    assert tokenizer.decode([*row, *row]) == "a photo of the cat"
    assert tokenizer.decode(tokenizer.encode("a dog")) == "a dog"
    assert tokenizer.decode([]) == ""


def test_word_pieces_decode_without_start_and_padding() -> None:
    assert words(start=2, end=3).decode([2, 4, 5, 7, 0, 0]) == "a cats"


@pytest.mark.parametrize("given", [-1, 11, 2.5, None, "a", True, 10**9])
def test_an_id_outside_the_vocabulary_is_an_error(given: Any) -> None:
    with pytest.raises(InputError, match="is outside the vocabulary of 11 ids; pass ids of this"):
        words().decode([4, given])


@pytest.mark.parametrize("given", [None, 3, b"cat", ["a"]])
def test_a_value_that_is_no_text_is_an_error(given: Any) -> None:
    with pytest.raises(InputError, match=r"expected text, got \w+ .*; pass a str"):
        words().encode(given)
    with pytest.raises(InputError, match=r"expected text, got \w+ .*; pass a str"):
        words().rows(["a", given])


def test_a_str_is_no_list_of_texts() -> None:
    with pytest.raises(InputError, match="expected texts to be a list, got str 'cat'"):
        words().rows("cat")
    with pytest.raises(InputError, match="truncate=1 must be True or False"):
        words().rows(["cat"], truncate=1)  # type: ignore[arg-type]


def test_half_a_character_is_encoded_as_a_sign() -> None:
    assert words(cleaning="none").encode("a \ud800 cat") == [4, 5]
    assert words(cleaning="whitespace").encode("a \udc80") == [4]


def test_the_number_of_ids_includes_special_ids() -> None:
    assert words().vocab_size == 11
    assert words(end=20).vocab_size == 21


def test_a_tokenizer_can_be_copied_and_pickled(tokenizer: SubwordTokenizer) -> None:
    tried = texts(100)
    for other in (pickle.loads(pickle.dumps(tokenizer)), copy.deepcopy(tokenizer)):
        assert (other(tried, truncate=True) == tokenizer(tried, truncate=True)).all()


def test_a_failure_of_the_library_is_an_error_that_names_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokenizer = words()

    class Broken:
        def encode(self, text: str, *, add_special_tokens: bool) -> None:
            raise Exception("index out of bounds")

    object.__setattr__(tokenizer.encoder, "library", Broken())
    with pytest.raises(UnsafeWeightsError, match=r"vocab\.txt: invalid .*index out of bounds"):
        tokenizer.rows(["a"])
