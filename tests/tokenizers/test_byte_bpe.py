"""A vocab.json and a merges.txt give the ids of the library; others are errors."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from tests.fuzz.mutations import damaged
from tests.tokenizers.training import read_tokenizer, texts, train_byte_bpe
from zeroshot.errors import IncompatibleWeights, UnsafeWeightsError, WeightsError
from zeroshot.spec import TokenizerConfig
from zeroshot.tokenizers import byte_bpe as module
from zeroshot.tokenizers.byte_bpe import CONTROLS, combine
from zeroshot.tokenizers.encoder import Encoder
from zeroshot.tokenizers.tokenizer_json import parse_tokenizer

VOCAB, MERGES = train_byte_bpe()
TINY = {"<s>": 0, "<pad>": 1, "</s>": 2, "a": 3, "b": 4, "ab": 5}
ROBERTA = TokenizerConfig(16, "whitespace", start=0, end=2, pad=1)


def encoder_of(vocab: bytes = VOCAB, merges: bytes = MERGES) -> Encoder:
    return parse_tokenizer(combine(vocab, merges, "vocab.json"), "vocab.json")


def plain_library() -> Tokenizer:
    """Return the tokenizer that transformers builds for RoBERTa, without special tokens."""
    lines = MERGES.decode().splitlines()[1:]
    left_right = [(line.split(" ")[0], line.split(" ")[1]) for line in lines]
    library = Tokenizer(models.BPE(json.loads(VOCAB), left_right))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    return library


def test_ids_equal_those_of_the_library() -> None:
    encoder, library = encoder_of(), plain_library()

    different = [t for t in texts(4000) if encoder.encode(t) != library.encode(t).ids]

    assert different == []


def test_any_text_becomes_bytes_and_decodes() -> None:
    encoder = encoder_of()

    for text in ("a photo of the cat", " 東京タワー 🗼", "naïve\n\t\x00", "Ġ Ċ"):
        assert encoder.decode(encoder.encode(text)) == text


def test_word_after_a_space_is_another_word() -> None:
    encoder = encoder_of()

    assert encoder.encode("cat") != encoder.encode(" cat")


def test_names_of_special_tokens_are_plain_text() -> None:
    encoder = encoder_of()

    assert encoder.controls == {0, 1, 2, 3, 4}
    for name in CONTROLS:
        assert encoder.controls.isdisjoint(encoder.encode(f"a {name} b"))


def test_rows_have_the_special_ids_of_roberta(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_bytes(VOCAB)
    (tmp_path / "merges.txt").write_bytes(MERGES)
    tokenizer = read_tokenizer(tmp_path / "vocab.json", ROBERTA)

    (row,) = tokenizer.rows(["  the  cat "])

    assert (row[0], row[-1]) == (0, 2)
    assert tokenizer.decode(row[1:]) == "the cat"
    assert tokenizer("cat")[0, -1] == 1


@pytest.mark.parametrize("merges", [b"a b\n", b"a b", b"#version: 0.2\na b\n", b"a b\r\n"])
def test_first_line_and_line_ends_of_merges_do_not_matter(merges: bytes) -> None:
    assert encoder_of(json.dumps(TINY).encode(), merges).encode("ab") == [5]


def test_merge_of_number_signs_is_not_taken_for_the_version() -> None:
    vocab = json.dumps(TINY | {"#": 6, "##": 7}).encode()

    assert encoder_of(vocab, b"# #\na b\n").encode("##ab") == [7, 5]


@pytest.mark.parametrize(
    ("vocab", "merges", "problem"),
    [
        (b"", MERGES, "an invalid file"),
        (b"[]", MERGES, "vocab.json is no JSON object"),
        (b"[" * 50_000, MERGES, "an invalid file"),
        (b"\xff\xfe", MERGES, "an invalid file"),
        (VOCAB[:-5], MERGES, "an invalid file"),
        (VOCAB, b"", "merges.txt is empty"),
        (VOCAB, b"\xff\n", "an invalid file"),
        (VOCAB, b"#version: 0.2\na b c\n", "merges.txt has 'a b c' in line 2, expected two"),
        (VOCAB, b"ab\n", "merges.txt has 'ab' in line 1"),
        (VOCAB, b"a \n", "merges.txt has 'a ' in line 1"),
        (VOCAB, b"a b\n\nb a\n", "merges.txt has '' in line 2"),
    ],
)
def test_invalid_file_is_an_error(vocab: bytes, merges: bytes, problem: str) -> None:
    with pytest.raises(UnsafeWeightsError, match=problem) as caught:
        combine(vocab, merges, "x/vocab.json")

    assert str(caught.value).startswith("x/vocab.json: expected a vocab.json and a merges.txt, got")
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "value", [float("nan"), -1, 10**12, "3", None, [1], {"a": 1}, True, 3], ids=repr
)
def test_id_that_is_no_id_is_an_error_of_the_parser(value: Any) -> None:
    for name in ("</s>", "ab"):
        with pytest.raises(WeightsError, match=r"vocab\.json"):
            encoder_of(json.dumps(TINY | {name: value}).encode(), b"a b\n")


def test_half_of_a_surrogate_pair_is_an_error() -> None:
    with pytest.raises(UnsafeWeightsError, match=r"vocab\.json"):
        encoder_of(json.dumps(TINY | {"\ud800": 6}).encode(), b"a b\n")


@pytest.mark.parametrize("missing", ["<s>", "<pad>", "</s>"])
def test_vocabulary_of_another_tokenizer_is_rejected(missing: str) -> None:
    vocab = {name: i for name, i in TINY.items() if name != missing}

    with pytest.raises(
        IncompatibleWeights, match=f"vocabulary of RoBERTa, got one without {missing}"
    ):
        combine(json.dumps(vocab).encode(), b"a b\n", "vocab.json")


def test_merge_of_an_unknown_token_is_an_error() -> None:
    with pytest.raises(UnsafeWeightsError, match=r"vocab\.json"):
        encoder_of(json.dumps(TINY).encode(), b"a x\n")


@pytest.mark.parametrize(("limit", "value"), [("MAX_TOKEN_IDS", 100), ("MAX_MERGES", 100)])
def test_too_many_tokens_are_unsupported(
    limit: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, limit, value)

    with pytest.raises(IncompatibleWeights, match=r"expected at most .* got more"):
        combine(VOCAB, MERGES, "vocab.json")


def test_file_that_is_too_large_is_rejected_before_it_is_parsed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 100)

    with pytest.raises(UnsafeWeightsError, match="one of more than 100 bytes"):
        combine(VOCAB, MERGES, "vocab.json")


def test_damaged_files_are_read_or_rejected() -> None:
    dice = random.Random(5)
    counts = {"read": 0, "rejected": 0}
    small = json.dumps(TINY).encode(), b"#version: 0.2\na b\n"
    for n in range(3000):
        vocab, merges = VOCAB, MERGES
        if n % 30:
            vocab, merges = small
        try:
            vocab, merges = (
                (damaged(vocab, dice), merges) if n % 2 else (vocab, damaged(merges, dice))
            )
            encoder_of(vocab, merges).encode("a photo of the cat 東")
            counts["read"] += 1
        except WeightsError:
            counts["rejected"] += 1
    assert min(counts.values()) > 100, counts
