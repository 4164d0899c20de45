"""Rules about labels within templates: length, repeated words, articles, templates with a label."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from zeroshot import wording
from zeroshot.linting.entries import LabelSet
from zeroshot.linting.problems import Problem, quoted
from zeroshot.linting.text_rules import spans
from zeroshot.prompts import ARTICLE, ENDS_IN_ARTICLE, SLOT, insert

WORD_BEFORE = re.compile(r"([^\W\d_]+)\s+$")
WORD_AFTER = re.compile(r"^\s+([^\W\d_]+)")
FIRST_WORD = re.compile(r"([^\W\d_]+)(?![^\s])")
LAST_WORD = re.compile(r"(?<!\S)([^\W\d_]+)\s*$")
MEDIA = "photo|photograph|picture|image|painting|drawing|sketch|video|illustration|rendering"
IS_MEDIUM = re.compile(rf"\b(?:{MEDIA})s?\b", re.I)
STARTS_AS_MEDIUM = re.compile(rf"(?:(?:an?|the)\s+)?(?:\w+\s+)?(?:{MEDIA})s?\s+of\b", re.I)


@dataclass(frozen=True)
class Gap:
    """What surrounds the label in a template."""

    template: str
    before: str  # the word before, in lower case, or ""
    after: str
    drops_article: bool
    is_medium: bool  # the template is about a photo or another picture

    def fill(self, name: str) -> str:
        """Return the name as the template shows it."""
        article = ARTICLE.match(name) if self.drops_article else None
        return name[article.end() :] if article else name


def _gaps(labels: LabelSet) -> list[Gap]:
    """Return the templates that differ in what surrounds the label, the first of each kind."""
    found: dict[tuple[object, ...], Gap] = {}
    for template in labels.prompts.templates:
        before, _, after = template.partition(SLOT)
        gap = Gap(
            template,
            _first_group(WORD_BEFORE, before),
            _first_group(WORD_AFTER, after),
            ENDS_IN_ARTICLE.search(before) is not None,
            IS_MEDIUM.search(template) is not None,
        )
        found.setdefault((gap.before, gap.after, gap.drops_article, gap.is_medium), gap)
    return list(found.values())


def _first_group(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[1].lower() if match else ""


def find_too_many_tokens(labels: LabelSet) -> Iterator[Problem]:
    """Find labels that exceed the model's token limit in a template."""
    if labels.too_long:
        found = tuple(entry.label for entry in labels.too_long)
        example = next(iter(labels.too_long.values()))
        yield Problem(
            level="error",
            kind="tokens",
            labels=found,
            message=(
                f"{quoted(found)}: too long for the model, which reads {labels.token_limit} "
                f"tokens, as in {quoted([example])}"
            ),
            suggestion="shorten the label, or the template",
        )


def find_repeated(labels: LabelSet) -> Iterator[Problem]:
    """Find words that are repeated where template and label meet: "a photo of a photo of"."""
    yield from _find_filled(
        labels,
        "repeated",
        is_repeated,
        "a word of the template is repeated by the label",
        "remove the word from the labels, or from the template",
    )


def is_repeated(gap: Gap, name: str) -> bool:
    """Return whether a template and a name repeat each other's words."""
    first, last = FIRST_WORD.match(name), LAST_WORD.search(name)
    return (
        (first is not None and first[1].lower() == gap.before)
        or (last is not None and last[1].lower() == gap.after)
        or (gap.is_medium and STARTS_AS_MEDIUM.match(name) is not None)
    )


def find_articles(labels: LabelSet) -> Iterator[Problem]:
    """Find articles of templates that do not fit a label: "a apple"."""
    yield from _find_filled(
        labels,
        "article",
        lambda gap, name: not wording.fits_article(gap.before, name),
        "the article of the template does not fit",
        "give the labels their article, as in 'an apple', and use templates without one, such as "
        "'a photo of {}.'",
    )


def _find_filled(
    labels: LabelSet, kind: str, is_wrong: Callable[[Gap, str], bool], message: str, advice: str
) -> Iterator[Problem]:
    """Find labels that are wrong in the gap of a template."""
    gaps = _gaps(labels)
    found: dict[str, str] = {}
    for entry in labels.sound:
        for name in map(str.strip, entry.names):
            gap = next((gap for gap in gaps if is_wrong(gap, gap.fill(name))), None)
            if gap is not None:
                found.setdefault(entry.label, insert(gap.template, name))
    if found:
        example = [*found.values()][:1]
        yield Problem(
            level="warning",
            kind=kind,
            labels=tuple(found),
            message=f"{quoted(found)}: {message}, as in {quoted(example)}",
            suggestion=advice,
        )


def find_labels_in_templates(labels: LabelSet) -> Iterator[Problem]:
    """Find templates that name one of the labels, so that the texts of all labels name it."""
    of_words = {words: entry.label for entry in labels.sound for words in entry.words if words}
    longest = max(map(len, of_words), default=0)
    found: dict[str, str] = {}
    for template in labels.prompts.templates:
        for side in template.split(SLOT):
            words = tuple(wording.words(side))
            for part in {*spans(words, longest), words} & of_words.keys():
                found.setdefault(of_words[part], template)
    for label, template in sorted(found.items()):
        yield Problem(
            level="warning",
            kind="template",
            labels=(label,),
            message=(
                f"the template {quoted([template])} names the label {quoted([label])}, so the "
                "texts of all labels do"
            ),
            suggestion="use another template, or rename the label",
        )
