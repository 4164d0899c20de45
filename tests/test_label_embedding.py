"""Labels are embedded in chunks, and labels that the tokenizer cannot distinguish are rejected."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from copy import copy
from typing import Any

import pytest
import torch

import zeroshot
from tests.support import FakeEncoder
from zeroshot import Head, PromptSet
from zeroshot import label_embedding as module
from zeroshot.errors import LabelError

TEMPLATES = PromptSet(("{}", "a photo of a {}.", "the {}, on green grass"), "mine")


@pytest.mark.parametrize("sentences", [1, 2, 4, 7, 1_000])
def test_building_in_chunks_gives_the_same_head(
    encoder: FakeEncoder, sentences: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = {f"label {n} {'r' * n}": ["x" * n or "y", f"name g{n}"] for n in range(10)}
    whole = Head.build(encoder, labels, TEMPLATES)
    asked: list[int] = []

    class Counting(FakeEncoder):
        def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
            asked.append(len(texts))
            return super().encode_text(texts)

    monkeypatch.setattr(module, "SENTENCES", sentences)
    parts = Head.build(Counting(), labels, TEMPLATES)
    torch.testing.assert_close(parts.weight, whole.weight, atol=1e-6, rtol=0)
    assert sum(asked) == 10 * 2 * 3
    assert max(asked) <= max(sentences, 3) * 2  # two names a label


def test_sentences_are_embedded_in_one_call(encoder: FakeEncoder) -> None:
    asked: list[int] = []

    class Counting(FakeEncoder):
        def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
            asked.append(len(texts))
            return super().encode_text(texts)

    Head.build(Counting(), [f"label {n}" for n in range(100)], TEMPLATES)
    assert asked == [300]


@pytest.mark.parametrize("replaced", [False, True])
def test_only_the_models_own_encoder_is_called_by_several_threads(
    replaced: bool, tiny: zeroshot.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny._engine.backend, "text_workers", 2)
    rows, threads = tiny.tokenizer.rows, set[int]()

    def log(*given: Any, **options: Any) -> Any:
        threads.add(threading.get_ident())
        return rows(*given, **options)

    class Subclass(zeroshot.Model):
        def encode_text(self, *given: Any, **options: Any) -> torch.Tensor:
            return super().encode_text(*given, **options)

    monkeypatch.setattr(tiny.tokenizer, "rows", log)
    model = copy(tiny)
    if replaced:
        model.__class__ = Subclass
    module._embed(model, [("cat",), ("dog",)], TEMPLATES, False)

    assert (threads == {threading.get_ident()}) is replaced


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Cat", "cat"),
        ("cat", "ｃａｔ"),
        ("cat", "&#99;at"),
        ("black & white", "black &amp; white"),
        ("ﬁre", "fire"),
        ("café", "cafÃ©"),
        ("it's", "it\u2019s"),
    ],
)
def test_labels_with_the_same_tokens_are_rejected(
    first: str, second: str, tiny: zeroshot.Model
) -> None:
    with pytest.raises(LabelError, match="cannot distinguish the labels") as caught:
        tiny.classifier([first, "dog", second])

    assert repr(first) in str(caught.value)
    assert repr(second) in str(caught.value)
    head = tiny.head([first, "dog", second], allow_equal=True)
    assert head.labels == (first, "dog", second)
    torch.testing.assert_close(head.weight[0], head.weight[2])


def test_names_not_labels_are_compared(tiny: zeroshot.Model) -> None:
    assert len(tiny.head({"cat": "tabby", "Cat": "siamese"})) == 2
    assert len(tiny.head({"a": ["cat"], "b": ["cat", "kitten"]})) == 2
    with pytest.raises(LabelError, match="the labels 'a' and 'b'"):
        tiny.head({"a": ["cat", "kitten"], "b": ["Kitten", "cat"]})


@pytest.mark.parametrize(
    ("first", "second"),
    [(["cat", "cat"], ["cat"]), (["cat", "cat", "dog", "dog"], ["dog", "cat"])],
)
def test_a_repeated_name_does_not_distinguish_labels(
    first: list[str], second: list[str], tiny: zeroshot.Model
) -> None:
    with pytest.raises(LabelError, match="the labels 'a' and 'b'"):
        tiny.head({"a": first, "b": second})
    assert len(tiny.head({"a": ["cat", "cat", "dog"], "b": ["cat", "dog"]})) == 2


def test_labels_that_differ_in_an_article_need_a_template_that_keeps_it(
    tiny: zeroshot.Model,
) -> None:
    with pytest.raises(LabelError, match="ignores the label's article"):
        tiny.head(["cat", "a cat"], ["a photo of a {}.", "the {}."])
    assert len(tiny.head(["cat", "a cat"], ["a photo of a {}.", "{}"])) == 2


def test_a_label_without_tokens_is_rejected(tiny: zeroshot.Model) -> None:
    with pytest.raises(LabelError, match=r"label '\\ufeff': the tokenizer reads no text"):
        tiny.head(["cat", "\ufeff"])
