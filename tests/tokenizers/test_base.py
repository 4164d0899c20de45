"""The protocol of a tokenizer, which CLIP's tokenizer and a user's own implement."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

import zeroshot
from zeroshot import ClipTokenizer, Tokenizer

MEMBERS = ("context_length", "vocab_size", "encode", "decode", "rows", "__call__")


class Letters:
    """A tokenizer of another kind: one id per letter."""

    context_length = 8
    vocab_size = 130
    special_tokens = 2

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(map(chr, ids))

    def rows(self, texts: Iterable[str], *, truncate: bool = False) -> list[list[int]]:
        return [[128, *self.encode(text), 129] for text in texts]

    def __call__(self, texts: str | Iterable[str], *, truncate: bool = False) -> NDArray[np.int64]:
        return np.zeros((len(list(texts)), self.context_length), np.int64)


def test_the_clip_tokenizer_implements_the_protocol(tiny: zeroshot.Model) -> None:
    assert isinstance(ClipTokenizer(merges=10), Tokenizer)
    assert isinstance(tiny.tokenizer, Tokenizer)


def test_another_tokenizer_implements_the_protocol_without_inheriting() -> None:
    assert isinstance(Letters(), Tokenizer)


@pytest.mark.parametrize("member", [name for name in MEMBERS if name != "__call__"])
def test_an_object_without_a_member_does_not_implement_the_protocol(member: str) -> None:
    members = {name: value for name, value in vars(Letters).items() if name != member}

    assert not isinstance(type("Incomplete", (), members)(), Tokenizer)


def test_the_protocol_documents_every_member() -> None:
    assert all(getattr(Tokenizer, name).__doc__ for name in MEMBERS)
