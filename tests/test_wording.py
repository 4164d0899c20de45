"""Words of labels are compared without spelling, and words of several meanings are known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zeroshot import wording


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Cat", "cat"),
        ("café", "Cafe"),
        ("red_panda", "red  panda"),
        ("dogs", "dog"),
        ("foxes", "fox"),
        ("city", "cities"),
        ("glass dishes", "glass dish"),
        ("mice", "mouse"),
        ("lens", "lenses"),
        ("dress", "dresses"),
        ("ＣＡＴ", "cat"),
    ],
)
def test_spellings_of_one_name_are_folded_to_one_text(first: str, second: str) -> None:
    assert wording.fold(first) == wording.fold(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("cat", "cap"),
        ("sunglass", "sunglasses"),  # a plural with a meaning of its own
        ("short", "shorts"),
        ("bus", "bu"),
        ("gas", "ga"),
        ("iris", "iri"),
        ("t-shirt", "tshirt"),
        ("red panda", "redpanda"),
        ("мой", "мои"),  # an accent that makes another letter
        ("かき", "かぎ"),
    ],
)
def test_different_names_stay_different(first: str, second: str) -> None:
    assert wording.fold(first) != wording.fold(second)


@given(st.text())
def test_folding_raises_on_no_text(text: str) -> None:
    assert isinstance(wording.fold(text), str)
    assert all(wording.words(text))


@given(st.lists(st.text("bcdfghjklmnpqrtvwxz ", min_size=1).map(str.strip), unique=True))
def test_names_without_plural_accent_and_case_are_folded_to_themselves(names: list[str]) -> None:
    distinct = {" ".join(name.split()) for name in names}

    assert len({wording.fold(name) for name in names}) == len(distinct)


def test_words_are_folded_one_by_one() -> None:
    assert wording.words('A photo of "Red pandas", a type of animal.') == (
        ["a", "photo", "of", "red", "panda", "a", "type", "of", "animal"]
    )


@pytest.mark.parametrize("name", ["crane", "Cranes", "bat", "mouse", "seal", "bass", "palm"])
def test_a_word_for_things_of_several_kinds_has_senses(name: str) -> None:
    assert len(wording.senses(name)) > 1


@pytest.mark.parametrize(
    "name", ["crane (bird)", "baseball bat", "dog", "cat", "car", "elephant", "", "cran"]
)
def test_other_words_have_no_senses(name: str) -> None:
    assert wording.senses(name) == ()


def test_the_shipped_list_has_a_few_hundred_words_with_distinct_kinds() -> None:
    senses = wording._load()["senses"]

    assert 200 < len(senses) < 600
    assert all(len(set(kinds)) == len(kinds) > 1 for kinds in senses.values())
    assert all(wording.senses(word) == kinds for word, kinds in senses.items())


@pytest.mark.parametrize(
    ("article", "name"),
    [
        *[("a", "apple"), ("a", "Egyptian Mau"), ("a", "umbrella"), ("a", "ant"), ("an", "cat")],
        *[("an", "European robin"), ("an", "unicorn"), ("an", "one-piece suit"), ("a", "oak")],
    ],
)
def test_an_article_that_does_not_fit_is_recognized(article: str, name: str) -> None:
    assert not wording.fits_article(article, name)


@pytest.mark.parametrize(
    ("article", "name"),
    [
        *[("a", "cat"), ("a", "unicorn"), ("a", "European robin"), ("a", "one-way street")],
        *[("an", "apple"), ("an", "hour"), ("an", "FBI agent"), ("an", "M-shaped hill")],
        *[("the", "apple"), ("", "apple"), ("a", "A"), ("a", ""), ("an", "8-track tape")],
    ],
)
def test_a_fitting_or_uncertain_article_is_accepted(article: str, name: str) -> None:
    assert wording.fits_article(article, name)
