"""Clean a text as the publisher of a checkpoint did before training.

The rules are those of open_clip's `HFTokenizer` and of big_vision, and published accuracy depends
on them: without "canonicalize", SigLIP 2 loses about 12 points on ImageNet.
"""

from __future__ import annotations

import html
import string
from collections.abc import Callable

from zeroshot.arguments import SURROGATE
from zeroshot.spec import Cleaning

PUNCTUATION = str.maketrans("", "", string.punctuation)  # ASCII only


def clean_text(text: str, cleaning: Cleaning) -> str:
    """Clean a text.

    Args:
        text: Any text.
        cleaning: What to do; see `zeroshot.spec.Cleaning`.

    Returns:
        The text. Halves of surrogate pairs, which have no UTF-8 form, are U+FFFD.
    """
    return SURROGATE.sub("\ufffd", CLEANERS[cleaning](text))


def _repair(text: str) -> str:
    """Repair wrongly decoded text and unescape HTML."""
    if text.isascii() and text.isprintable() and "&" not in text:
        return text
    import ftfy  # takes 60 ms to import, and most labels do not need it

    # unescape twice, as open_clip does: some pages were escaped twice
    return html.unescape(html.unescape(ftfy.fix_text(text)))


def _single_spaces(text: str) -> str:
    return " ".join(text.split())


def _whitespace(text: str) -> str:
    return _single_spaces(_repair(text))


def _lower(text: str) -> str:
    return _whitespace(text).lower()


def _canonicalize(text: str) -> str:
    text = _repair(text).replace("_", " ").translate(PUNCTUATION)
    return _single_spaces(text.lower())


CLEANERS: dict[Cleaning, Callable[[str], str]] = {
    "none": str,
    "whitespace": _whitespace,
    "lower": _lower,
    "canonicalize": _canonicalize,
}
