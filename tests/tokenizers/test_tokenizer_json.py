"""A tokenizer.json gives the ids of the library; invalid files are errors that name the file."""

from __future__ import annotations

import base64
import json
import random
from contextlib import suppress
from functools import cache
from typing import Any

import pytest
import sentencepiece
from tokenizers import Tokenizer

from tests.fuzz.mutations import damaged
from tests.tokenizers.published import CONTROLS, LENGTH, added, tiny, tokenizer_of, written
from tests.tokenizers.training import texts
from zeroshot.errors import IncompatibleWeights, UnsafeWeightsError, WeightsError
from zeroshot.tokenizers import tokenizer_json as module
from zeroshot.tokenizers.encoder import Encoder
from zeroshot.tokenizers.tokenizer_json import parse_tokenizer

SOURCE = "folder/tokenizer.json"


@cache
def published(kind: str, content: bytes) -> Encoder:
    """Return the encoder of a tokenizer.json that was converted from a SentencePiece model."""
    return parse_tokenizer(written(kind, content), SOURCE)


def parse(content: Any) -> Any:
    return parse_tokenizer(json.dumps(content).encode(), SOURCE)


def with_parts(**parts: Any) -> Any:
    return tiny() | parts


@pytest.mark.parametrize("kind", CONTROLS)
def test_ids_equal_those_of_the_library(kind: str, trained: dict[str, bytes]) -> None:
    oracle = Tokenizer.from_str(written(kind, trained[kind]).decode())
    oracle.no_truncation()
    oracle.no_padding()
    encoder = published(kind, trained[kind])
    tried = [t for t in texts(8000) if not any(name in t for name in CONTROLS[kind])]

    expected = [oracle.encode(text, add_special_tokens=False).ids for text in tried]

    assert [encoder.encode(text) for text in tried] == expected


@pytest.mark.parametrize("kind", CONTROLS)
def test_ids_of_words_equal_those_of_the_sentencepiece_model(
    kind: str, trained: dict[str, bytes]
) -> None:
    oracle = sentencepiece.SentencePieceProcessor(model_proto=trained[kind])
    encoder = published(kind, trained[kind])
    tried = [text for n, text in enumerate(texts(8000)) if n % 4 < 2]  # others have rare signs
    expected = oracle.encode(tried)
    if kind == "xlm-r":
        expected = [[3 if i == 0 else i + 1 for i in ids] for ids in expected]

    assert [encoder.encode(text) for text in tried] == expected


@pytest.mark.parametrize("kind", CONTROLS)
def test_post_processor_truncation_and_padding_of_the_file_are_ignored(
    kind: str, trained: dict[str, bytes]
) -> None:
    text = "a photo of a cat " * LENGTH
    raw = tokenizer_of(kind, trained[kind])
    encoder = published(kind, trained[kind])

    assert len(raw.encode(text).ids) == len(raw.encode("a cat").ids) == LENGTH
    assert len(encoder.encode(text)) > LENGTH
    assert len(encoder.encode("a cat")) < LENGTH


@pytest.mark.parametrize("kind", CONTROLS)
def test_names_of_special_tokens_are_plain_text(kind: str, trained: dict[str, bytes]) -> None:
    raw = tokenizer_of(kind, trained[kind])
    encoder = published(kind, trained[kind])

    for name in CONTROLS[kind]:
        control = raw.token_to_id(name)
        assert control in raw.encode(f"a {name} b").ids
        assert encoder.controls.isdisjoint(encoder.encode(f"a {name} b")), name
        assert control in encoder.controls or control == encoder.unknown


@pytest.mark.parametrize("kind", CONTROLS)
def test_known_text_decodes(kind: str, trained: dict[str, bytes]) -> None:
    encoder = published(kind, trained[kind])

    assert encoder.decode(encoder.encode("a photo of the cat")) == "a photo of the cat"
    assert encoder.decode([0, 1]) == ""


def test_the_number_of_ids_includes_added_tokens() -> None:
    content = with_parts(added_tokens=[added(1, "</s>"), added(9, "<mask>")])
    content["added_tokens"][1]["id"] = 6

    assert parse(content).size == 7
    assert parse(tiny()).size == 6


def test_added_tokens_that_are_not_special_are_matched() -> None:
    encoder = parse(with_parts(added_tokens=[added(6, "<mask>"), added(7, "cab", special=False)]))

    assert encoder.encode("abcabc") == [4, 7, 5]
    assert encoder.controls == {6}


def test_merges_of_special_tokens_are_dropped() -> None:
    vocab = {"<unk>": 0, "<s>": 1, "<": 2, "s>": 3, "s": 4, ">": 5}
    encoder = parse(
        with_parts(
            model=tiny(vocab=vocab, merges=["s >", "< s>"])["model"], added_tokens=[added(1, "<s>")]
        )
    )

    assert encoder.encode("<s>") == [2, 3]


def test_old_merges_are_strings() -> None:
    assert parse(tiny(merges=["a b"])).encode("abc") == [4, 5]


def test_word_pieces_are_read() -> None:
    content = tiny(type="WordPiece", vocab={"<unk>": 0, "</s>": 1, "cat": 2, "##s": 3})
    content["pre_tokenizer"] = {"type": "WhitespaceSplit"}
    content["decoder"] = {"type": "WordPiece", "prefix": "##", "cleanup": True}
    content["model"] |= {"continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
    encoder = parse(content)

    assert encoder.encode("cats </s> cat") == [2, 3, 0, 2]
    assert encoder.decode([2, 3, 0, 2]) == "cats \u2047 cat"


UNIGRAM: dict[str, Any] = {"type": "Unigram", "unk_id": 0}
CHARSMAP = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(bytes(9)).decode()}
LONGER = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 99}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "JSONDecodeError"),
        (b"\x00\x01\x02", "JSONDecodeError|UnicodeDecodeError"),
        (b"\xff\xfe\x00", "UnicodeDecodeError"),
        (b"<html>not found</html>", "JSONDecodeError"),
        (b"[" * 50_000, "RecursionError|JSONDecodeError"),
        (json.dumps(tiny()).encode()[:-9], "JSONDecodeError"),
        ([], "ValueError: it has no model"),
        ({"model": None}, "ValueError: it has no model"),
        (tiny(type="WordLevel"), "model.type is 'WordLevel', expected Unigram, BPE or WordPiece"),
        (tiny(type=None), "model.type is None"),
        (tiny(type={}), "model.type is {}"),
        (tiny(vocab={}), "model.vocab is {}"),
        (tiny(vocab=[["a", 0]]), "model.vocab is"),
        (tiny(vocab={"<unk>": 0, "a": 0}), "model.vocab has a duplicate id"),
        (tiny(vocab={"<unk>": 0, "a": -1}), "model.vocab has a duplicate id, or one that is no id"),
        (tiny(vocab={"<unk>": 0, "a": 10**9}), "one that is no id"),
        (tiny(vocab={"<unk>": 0, "a": True}), "one that is no id"),
        (tiny(vocab={"<unk>": 0, "a" * 1001: 1}), "model.vocab has the token 'aaa"),
        (tiny(unk_token="<no>"), "model.unk_token '<no>' is not in the vocabulary"),
        (tiny(unk_token=[]), r"model.unk_token \[\] is not"),
        (tiny(merges=None), "model.merges is None"),
        (tiny(merges=[["a"]]), "ValueError"),
        (tiny(merges=[[["a"], "b"]]), "TypeError"),
        (tiny(merges=[["a", "x"]]), "Exception"),
        (tiny(**UNIGRAM, vocab=[["a"]]), "ValueError"),
        (tiny(**UNIGRAM, vocab=[["a", "0"]]), r"model.vocab\[0\] has the score '0'"),
        (tiny(**UNIGRAM, vocab=[["a", float("nan")]]), r"model.vocab\[0\] has the score nan"),
        (tiny(**UNIGRAM, vocab=[["a", 0], ["a", 0]]), "model.vocab has a duplicate token"),
        (tiny(**UNIGRAM, vocab=[[["a"], 0]]), "TypeError"),
        (tiny(**UNIGRAM | {"unk_id": 1}, vocab=[["a", 0]]), "model.unk_id is 1"),
        (tiny(**UNIGRAM | {"unk_id": -1}, vocab=[["a", 0]]), "model.unk_id is -1"),
        (with_parts(added_tokens={"a": 1}), r"added_tokens is \{'a': 1\}, expected a list"),
        (with_parts(added_tokens=[3]), "added_tokens has 3"),
        (with_parts(added_tokens=[added(-1, "b")]), "added_tokens has"),
        (with_parts(added_tokens=[added(2, "b", special=False)]), "has id 2, the vocabulary gives"),
        (with_parts(added_tokens=[added(9, "<x>")]), "has id 9, the vocabulary gives it 6"),
        (with_parts(normalizer=CHARSMAP), "its trie of 0 bytes"),
        (with_parts(normalizer=[CHARSMAP]), "its trie of 0 bytes"),
        (with_parts(normalizer=CHARSMAP | {"precompiled_charsmap": "?"}), "Error"),
        (with_parts(normalizer={"type": "Shell"}), "unsupported tokenizer|Exception"),
        (with_parts(normalizer={"type": "Prepend", "prepend": "x" * 1001}), "prepend has 1001 cha"),
        (with_parts(pre_tokenizer={"type": "Split"}), "Exception"),
        (with_parts(normalizer=[LONGER] * 20), "can make a text 10{40} times as long"),
        (with_parts(added_tokens=[added(2, "b" * 1001)]), "added_tokens has"),
        (with_parts(model=tiny(vocab={"<unk>": 0, "\ud800": 1})["model"]), "Error"),
    ],
)
def test_an_invalid_file_is_an_error_that_names_it(content: Any, problem: str) -> None:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()

    with pytest.raises(UnsafeWeightsError, match=problem) as caught:
        parse_tokenizer(raw, SOURCE)

    assert str(caught.value).startswith(f"{SOURCE}: ")
    assert "download it again from its publisher" in str(caught.value)
    assert len(str(caught.value)) < 600
    assert caught.value.source == SOURCE


def test_a_pattern_that_backtracks_without_end_is_an_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    pattern = {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}
    encoder = parse(with_parts(normalizer=pattern))

    with pytest.raises(UnsafeWeightsError, match=r"tokenizer\.json: invalid or unsupported"):
        encoder.encode("a" * 1000 + "c")
    capfd.readouterr()  # the library reports it on stderr too


def test_random_ids_are_unsupported() -> None:
    with pytest.raises(IncompatibleWeights, match=r"dropout of 0\.1, so ids would be random; set"):
        parse(tiny(dropout=0.1))


@pytest.mark.parametrize("limit", ["MAX_TOKEN_IDS", "MAX_MARKS"])
def test_a_tokenizer_that_is_too_large_is_unsupported(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, limit, 5 if limit == "MAX_TOKEN_IDS" else {b",": 5})

    with pytest.raises(IncompatibleWeights, match="got a larger one; it is not the tokenizer of"):
        parse(tiny())


def test_corrupted_files_are_rejected_or_encode(trained: dict[str, bytes]) -> None:
    content = json.dumps(tiny() | {"pre_tokenizer": {"type": "WhitespaceSplit"}}).encode()
    dice = random.Random(11)
    counts = {"read": 0, "rejected": 0}
    for _ in range(3000):
        try:
            parse_tokenizer(damaged(content, dice), SOURCE).encode("abc </s> a")
            counts["read"] += 1
        except WeightsError:
            counts["rejected"] += 1
    assert min(counts.values()) > 100, counts


def test_a_corrupted_table_of_replacements_never_reaches_the_library(
    trained: dict[str, bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    content = json.loads(written("siglip", trained["siglip"]))
    table = content["normalizer"]["normalizers"][0]
    raw = base64.b64decode(table["precompiled_charsmap"])
    dice = random.Random(2)
    for _ in range(10):
        places = dict.fromkeys(dice.randrange(4, 200_000) for _ in range(40))
        changed = bytearray(raw)
        for place in places:
            changed[place] = dice.randrange(256)
        table["precompiled_charsmap"] = base64.b64encode(changed).decode()
        with suppress(WeightsError):
            encoder = parse_tokenizer(json.dumps(content).encode(), SOURCE)
            for text in texts(400):
                encoder.encode(text)
    assert "panicked" not in capfd.readouterr().err
