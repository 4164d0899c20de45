"""Ids equal those of the sentencepiece library."""

from __future__ import annotations

import pickle
from functools import cache
from typing import Any

import pytest
import sentencepiece

from tests.tokenizers.protobuf import PIECES, written
from tests.tokenizers.training import GEMMA, KINDS, SIGLIP, XLM_R, texts, train
from zeroshot.errors import IncompatibleWeights
from zeroshot.tokenizers.encoder import Encoder
from zeroshot.tokenizers.sentencepiece_encoder import build_encoder
from zeroshot.tokenizers.sentencepiece_model import parse_model

COUNT = 20_000
# Settings that no known checkpoint has, alone
VARIANTS: dict[str, dict[str, Any]] = {
    "case-folded": SIGLIP | {"normalization_rule_name": "nmt_nfkc_cf"},
    "user-defined": SIGLIP | {"user_defined_symbols": ["<extra_id_0>", "<b>"]},
    "identity": XLM_R | {"normalization_rule_name": "identity"},
    "all-spaces": XLM_R | {"remove_extra_whitespaces": False},
    "over-spaces": XLM_R | {"split_by_whitespace": False, "size": 500},
    "normalized-bpe": GEMMA
    | {"normalization_rule_name": "nmt_nfkc", "add_dummy_prefix": True, "byte_fallback": False}
    | {"remove_extra_whitespaces": True, "user_defined_symbols": ["<b>"]},
}


@cache
def encoder_of(content: bytes, **options: Any) -> Encoder:
    return build_encoder(parse_model(content, "x.model"), "x.model", **options)


def differences(content: bytes, tried: list[str]) -> list[tuple[str, list[int], list[int]]]:
    """Return texts with other ids than those of sentencepiece."""
    oracle = sentencepiece.SentencePieceProcessor(model_proto=content)
    encoder = encoder_of(content)
    pairs = zip(tried, oracle.encode(tried), map(encoder.encode, tried), strict=True)
    return [(text, expected, ids) for text, expected, ids in pairs if expected != ids]


@pytest.mark.parametrize("kind", KINDS)
def test_ids_of_20000_texts_equal_those_of_sentencepiece(
    kind: str, trained: dict[str, bytes]
) -> None:
    assert differences(trained[kind], texts(COUNT)) == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_ids_of_other_settings_equal_those_of_sentencepiece(variant: str) -> None:
    assert differences(train(**VARIANTS[variant]), texts(4000, seed=1)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_texts_decode_as_with_sentencepiece(kind: str, trained: dict[str, bytes]) -> None:
    oracle = sentencepiece.SentencePieceProcessor(model_proto=trained[kind])
    encoder = encoder_of(trained[kind])
    tried = [text for text in texts(4000) if "extra_id" not in text]  # its space is dropped there
    known = [ids for ids in oracle.encode(tried) if encoder.unknown not in ids]

    assert [encoder.decode(ids) for ids in known] == oracle.decode(known)
    assert len(known) > 500


@pytest.mark.parametrize("kind", KINDS)
def test_names_of_control_pieces_are_plain_text(kind: str, trained: dict[str, bytes]) -> None:
    encoder = encoder_of(trained[kind])

    for name in ("<s>", "</s>", "<pad>", "<unk>", "<eos>", "<bos>", "<0x41>"):
        ids = encoder.encode(f"a cat {name} a dog")
        assert encoder.controls.isdisjoint(ids), name
        assert len(ids) > len(encoder.encode("a cat a dog")) + 1, name


def test_fairseq_ids_are_one_higher_with_four_control_ids(trained: dict[str, bytes]) -> None:
    oracle = sentencepiece.SentencePieceProcessor(model_proto=trained["xlm-r"])
    encoder = encoder_of(trained["xlm-r"], piece_ids="fairseq")

    tried = texts(2000)
    expected = [[3 if i == 0 else i + 1 for i in ids] for ids in oracle.encode(tried)]
    assert [encoder.encode(text) for text in tried] == expected
    assert (encoder.unknown, encoder.controls) == (3, {0, 1, 2})
    assert encoder.size == oracle.vocab_size() + 1


def test_fairseq_ids_require_the_control_pieces_of_xlm_r(trained: dict[str, bytes]) -> None:
    with pytest.raises(IncompatibleWeights, match=r"x\.model: XLM-R's ids require <unk>, <s>"):
        encoder_of(trained["siglip"], piece_ids="fairseq")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("   ", ""),
        ("a", "▁a"),
        ("  a   b ", "▁a▁b"),
        ("\x0e", ""),
        ("a▁ ", "▁a"),
        ("ﬁ\u3000½", "▁fi▁1⁄2"),
        ("Ａ\u0301", "▁\u00c1"),
        ("①\u0301", "▁1\u0301"),
    ],
)
def test_text_is_normalized_as_by_sentencepiece(
    text: str, expected: str, trained: dict[str, bytes]
) -> None:
    oracle = sentencepiece.SentencePieceProcessor(model_proto=trained["siglip"])

    assert encoder_of(trained["siglip"]).normalize(text) == expected
    assert oracle.normalize(text) == expected


def test_an_unused_piece_of_a_unigram_model_is_not_matched() -> None:
    pieces = [*PIECES, ("\u2581cats", -0.1, 5), ("s", -5.0, 1)]
    encoder = encoder_of(written(pieces))

    assert encoder.encode("cats") == [5, 8]
    assert differences(written(pieces), ["cats", "cat", "a cats"]) == []


def test_an_unused_piece_of_a_bpe_model_that_text_can_reach_is_unsupported() -> None:
    pieces = [*PIECES, ("at", -5.0, 5)]

    with pytest.raises(IncompatibleWeights, match="the piece 'at' is marked as unused"):
        encoder_of(written(pieces, {3: 2}))


def test_an_encoder_can_be_pickled(trained: dict[str, bytes]) -> None:
    encoder = encoder_of(trained["gemma"])
    copy: Encoder = pickle.loads(pickle.dumps(encoder))

    assert [copy.encode(text) for text in texts(200)] == list(map(encoder.encode, texts(200)))
