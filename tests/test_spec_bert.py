"""The configuration of a BERT as text tower, and the tokenizer that it requires."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.checkpoint.families_bert import BERT, ROBERTA
from tests.support import tiny_spec
from zeroshot.spec import BertConfig, Published, Spec, TextConfig, TokenizerConfig

TOKENIZER = TokenizerConfig(ROBERTA.context_length, "whitespace", start=0, end=2, pad=1)


def spec(text: BertConfig = ROBERTA, tokenizer: TokenizerConfig | None = TOKENIZER) -> Spec:
    tiny = tiny_spec()
    return replace(tiny, network=replace(tiny.network, text=text), tokenizer=tokenizer)


def test_bert_with_rows_of_any_length_has_no_problems() -> None:
    assert list(spec().problems()) == []
    assert list(spec(BERT, replace(TOKENIZER, pad=0)).problems()) == []


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        ({"heads": 3}, "text heads", "a divisor of the width 32"),
        ({"layers": 0}, "text layers", "1 to 256"),
        ({"pool": "last"}, "text pool", "one of ('first', 'mean')"),
        ({"head": "matrix"}, "text head", "one of ('none', 'linear', 'mlp')"),
        ({"mlp_activation": "relu"}, "text mlp_activation", "one of ('quick_gelu', "),
        ({"pad": 400}, "text pad", "an id below 400"),
        ({"pad": None}, "text pad", "an id below 400"),
        ({"first_position": -1}, "text first_position", "0 or more"),
        ({"first_position": 9}, "text context_length", "at most 11, its positions"),
        ({"positions": 0}, "text positions", "1 to 16384"),
        ({"eps": 0.0}, "text eps", "a small number above 0"),
        ({"head": "none", "width": 48}, "text width", "because it is not projected"),
    ],
)
def test_invalid_field_is_a_problem(change: dict[str, Any], field: str, expected: str) -> None:
    found = {name: text for name, _, text in spec(replace(ROBERTA, **change)).problems()}

    assert expected in found[field]


def test_padding_of_the_tokenizer_must_be_what_the_tower_masks() -> None:
    problems = list(spec(tokenizer=replace(TOKENIZER, pad=0)).problems())

    assert problems == [("tokenizer pad", 0, "1, which the text tower masks")]


def test_bert_without_its_tokenizer_is_a_problem() -> None:
    problems = list(spec(replace(ROBERTA, vocab_size=9000), tokenizer=None).problems())

    assert ("text pool", "mean", "the end-of-text token of the tokenizer") in problems


def test_padding_at_the_end_of_a_row_is_not_read() -> None:
    assert ROBERTA.trim([0, 7, 1, 9, 2, 1, 1]) == (0, 7, 1, 9, 2)
    assert ROBERTA.trim([0, 2]) == (0, 2)


def test_row_of_a_causal_tower_ends_at_its_first_end_token() -> None:
    text = tiny_spec().network.text
    assert isinstance(text, TextConfig)
    end = text.vocab_size - 1

    assert text.trim([3, end, 5, end]) == (3, end)
    assert replace(text, causal=False).trim([3, end, 5]) == (3, end, 5)


def test_published_activation_is_not_that_of_bert() -> None:
    """LAION's RoBERTa-B/32 has an image tower with QuickGELU."""
    published = Published("quick_gelu", spec().preprocess)
    gelu = replace(spec().network.vision, activation="gelu")  # type: ignore[type-var]
    given = replace(spec(), network=replace(spec().network, vision=gelu))

    found = published.applied_to(given).network

    assert published.recipe_conflicts(given) == ["activation is 'gelu', published as 'quick_gelu'"]
    assert found.text == ROBERTA
    assert getattr(found.vision, "activation", None) == "quick_gelu"
