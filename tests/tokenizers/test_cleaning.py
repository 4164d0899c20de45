"""Texts are cleaned as publishers did before training."""

from __future__ import annotations

import html
import string

import ftfy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zeroshot.tokenizers.cleaning import clean_text

# text; as canonicalize, lower and whitespace change it
CASES = [
    ("A Photo of a CAT!", "a photo of a cat", "a photo of a cat!", "A Photo of a CAT!"),
    ("new_york, it's 3d", "new york its 3d", "new_york, it's 3d", "new_york, it's 3d"),
    ("__a__b", "a b", "__a__b", "__a__b"),
    ("  two   spaces\t\n", "two spaces", "two spaces", "two spaces"),
    ("", "", "", ""),
    ("...", "", "...", "..."),
    (" ! a", "a", "! a", "! a"),
    ("a - b", "a b", "a - b", "a - b"),
    ("close-up", "closeup", "close-up", "close-up"),
    ("a.b", "ab", "a.b", "a.b"),
    ("Tom &amp; Jerry", "tom jerry", "tom & jerry", "Tom & Jerry"),
    ("&amp;lt;b&amp;gt; a", "b a", "<b> a", "<b> a"),
    ("caf&eacute;", "café", "café", "café"),
    ("a</s>b <eos>", "asb eos", "a</s>b <eos>", "a</s>b <eos>"),
    (string.punctuation, "", string.punctuation.lower(), string.punctuation),
    ("a\u00a0b", "a b", "a b", "a b"),
    ("a\u3000b\u2003c", "a b c", "a b c", "a b c"),
    ("Ａ１！", "a1", "a1!", "A1!"),
    ("¿Qué? ¡Sí!", "¿qué ¡sí", "¿qué? ¡sí!", "¿Qué? ¡Sí!"),
    ("«Größe» – 北京。", "«größe» – 北京。", "«größe» – 北京。", "«Größe» – 北京。"),
    ("“it’s”", "its", '"it\'s"', '"it\'s"'),  # ftfy writes plain quotes
    ("schÃ¶n", "schön", "schön", "schön"),
    ("ﬁsh", "fish", "fish", "fish"),
    ("e\u0301", "é", "é", "é"),
    ("ΣΑΣ", "σας", "σας", "ΣΑΣ"),
    ("a\x00b\x1b[31mc", "abc", "abc", "abc"),
    ("half \ud800 pair", "half \ufffd pair", "half \ufffd pair", "half \ufffd pair"),
]


@pytest.mark.parametrize(
    ("text", "canonical", "lower", "whitespace"), CASES, ids=[repr(case[0]) for case in CASES]
)
def test_a_text_is_cleaned(text: str, canonical: str, lower: str, whitespace: str) -> None:
    assert clean_text(text, "canonicalize") == canonical
    assert clean_text(text, "lower") == lower
    assert clean_text(text, "whitespace") == whitespace


def test_without_cleaning_only_half_characters_change() -> None:
    assert clean_text(" A_b &amp;\n\t", "none") == " A_b &amp;\n\t"
    assert clean_text("a\udc80", "none") == "a\ufffd"


@given(st.text())
def test_canonicalize_equals_the_code_of_open_clip(text: str) -> None:
    # basic_clean and canonicalize_text of open_clip's tokenizer.py, step by step
    expected = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    expected = expected.replace("_", " ").translate(str.maketrans("", "", string.punctuation))
    expected = " ".join(expected.lower().split()).strip()

    assert clean_text(text, "canonicalize") == expected


@given(st.text())
def test_lower_and_whitespace_equal_the_code_of_open_clip(text: str) -> None:
    expected = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    expected = " ".join(expected.split()).strip()

    assert clean_text(text, "whitespace") == expected
    assert clean_text(text, "lower") == expected.lower()
