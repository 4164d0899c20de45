"""Compare and inspect the words of labels: same name, plural, article, more than one meaning."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from zeroshot.resources import folder

IRREGULAR = {
    "buses": "bus",
    "calves": "calf",
    "children": "child",
    "feet": "foot",
    "geese": "goose",
    "halves": "half",
    "knives": "knife",
    "leaves": "leaf",
    "lens": "lens",
    "lenses": "lens",
    "loaves": "loaf",
    "men": "man",
    "mice": "mouse",
    "shelves": "shelf",
    "teeth": "tooth",
    "wolves": "wolf",
    "women": "woman",
}
SHORTEST_PLURAL = 4  # letters; "gas" and "bus" are singular
WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
ACCENT = re.compile(r"(?<=[a-z])[\u0300-\u036f]+")
# English words by the sound they start with; other words, such as abbreviations, are uncertain.
VOWEL = re.compile(r"(?!eu|ewe|one\b|once|ou[ij])[aeio]|u(?:mb|n(?!i)|p|lt|rch|rg|tt)")
CONSONANT = re.compile(r"[bcdfgjklmnpqrstvwz]|eu|ewe|one\b|uni[cfqtv]")


def fold(text: str) -> str:
    """Return a text without differences of case, accents, plural, underscores and white space.

    Accents are removed from Latin letters only: in other scripts they make other letters. The last
    word becomes singular.

    >>> fold("Café_Tables"), fold("glasses")
    ('cafe table', 'glasses')
    """
    plain = unicodedata.normalize("NFKD", text.replace("_", " ")).casefold()
    plain = unicodedata.normalize("NFC", ACCENT.sub("", plain))
    *rest, last = plain.split() or [""]
    return " ".join([*rest, singular(last)])


def words(text: str) -> list[str]:
    """Return the words of a text, folded.

    >>> words('A photo of "Red pandas".')
    ['a', 'photo', 'of', 'red', 'panda']
    """
    return [singular(word) for word in WORD.findall(fold(text))]


def singular(word: str) -> str:
    """Return an English noun in the singular; a plural with a meaning of its own is kept.

    >>> singular("foxes"), singular("glasses"), singular("bus")
    ('fox', 'glasses', 'bus')
    """
    return word if word in _plurals() else without_plural(word)


def without_plural(word: str) -> str:
    """Return a noun without the ending of an English plural."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    if len(word) < SHORTEST_PLURAL or word.endswith(("ss", "us", "is")) or not word.endswith("s"):
        return word
    if word.endswith("ies") and len(word) > SHORTEST_PLURAL:
        return f"{word[:-3]}y"
    if word.endswith(("sses", "shes", "ches", "xes", "zzes")):
        return word[:-2]
    return word[:-1]


def senses(name: str) -> Sequence[str]:
    """Return the kinds of things that a word names, such as bird and machine, if they are several.

    A name of several words is not ambiguous in this sense, so it has none.
    """
    listed: Mapping[str, list[str]] = _load()["senses"]
    return listed.get(name.strip().lower(), listed.get(fold(name), ()))


def fits_article(article: str, name: str) -> bool:
    """Return whether "a" or "an" fits the first word of a name; True where that is uncertain."""
    name = name.lstrip()
    if not name[1:2].islower():  # an abbreviation, a number or a single letter
        return True
    wrong = {"a": VOWEL, "an": CONSONANT}.get(article)
    return wrong is None or not wrong.match(name.lower())


@cache
def _plurals() -> frozenset[str]:
    return frozenset(_load()["plurals"])


@cache
def _load() -> dict[str, Any]:
    return tomllib.loads((folder("prompts") / "words" / "senses.toml").read_text("utf-8"))
