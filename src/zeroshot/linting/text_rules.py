"""Rules about the text of labels: empty and equal ones, spelling, names within names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from zeroshot import wording
from zeroshot.linting.entries import Entry, LabelSet, is_broken, is_empty
from zeroshot.linting.problems import Problem, quoted

MOST_WORDS = 8  # of a label; longer ones are sentences
FEWEST_LABELS = 3
SUFFIX = re.compile(r"\.(?:jpe?g|png|gif|bmp|webp|tiff?|heic|avif|txt|csv|json|mp4|mov)$", re.I)
DIGITS = re.compile(r"(?<![A-Za-z\d])(?:([A-Za-z][a-z]{2,})(\d+)|(\d+)([a-z]{3,}))(?![A-Za-z\d])")
CAPITALS = re.compile(r"[A-Z]{4,}(?:[ _-]+[A-Z]+)*|[A-Z]+(?:[ _-]+[A-Z]+)*[ _-]+[A-Z]{4,}")
NEGATIVE = re.compile(
    r"(?:none|other|others|nothing|unknown|background|misc|miscellaneous|negative|not|no)\b"
    r"|(?:something|anything|everything) else\b",
    re.I,
)


def find_empty(labels: LabelSet) -> Iterator[Problem]:
    """Find label sets without labels, and labels without text."""
    if not labels.entries:
        yield Problem("error", "empty", (), "there are no labels", "add at least two labels")
    empty = [entry for entry in labels.entries if is_empty(entry)]
    unread = [e for e in labels.sound if not all(labels.tokens[name] for name in e.names)]
    if found := _labels(empty + unread):
        yield Problem(
            *("error", "empty", found),
            f"{quoted(found)}: the label or a name of it has no text that a model can read",
            "remove it, or write a name in letters",
        )


def find_control_characters(labels: LabelSet) -> Iterator[Problem]:
    """Find labels that contain control characters."""
    if found := _labels([entry for entry in labels.entries if is_broken(entry)]):
        yield Problem(
            *("error", "control characters", found),
            f"{quoted(found)}: the label or a name of it contains control characters",
            "remove them; the file may be in another encoding than UTF-8",
        )


def find_equal(labels: LabelSet) -> Iterator[Problem]:
    """Find labels that are equal but for spelling, or that the tokenizer cannot distinguish."""
    groups: list[list[Entry]] = []
    of_key: dict[object, list[Entry]] = {}
    for entry in labels.sound:
        keys = (
            ("label", wording.fold(entry.label)),
            ("names", frozenset(map(wording.fold, entry.names))),
            ("tokens", tuple(sorted(labels.tokens[name] for name in entry.names))),
        )
        group = next((of_key[key] for key in keys if key in of_key), None)
        if group is None:
            groups.append(group := [])
        group.append(entry)
        for key in keys:
            of_key.setdefault(key, group)
    for group in groups:
        if len(group) > 1:
            found = _labels(group)
            yield Problem(
                *("error", "equal", found),
                f"{quoted(found)}: equal but for case, accents, plural or underscores",
                "keep one, or distinguish them, as in 'crane (bird)' and 'crane (machine)'",
            )


def find_shared_names(labels: LabelSet) -> Iterator[Problem]:
    """Find names that belong to several labels."""
    owners: dict[str, list[Entry]] = {}
    for entry in labels.sound:
        for name in dict.fromkeys(map(wording.fold, entry.names)):
            owners.setdefault(name, []).append(entry)
    for name, entries in owners.items():
        if len(entries) > 1 and any(len(entry.names) > 1 for entry in entries):
            found = _labels(entries)
            yield Problem(
                *("warning", "shared name", found),
                f"{quoted(found)}: the labels have the name {quoted([name])} in common",
                "give each name to one label",
            )


def find_contained(labels: LabelSet) -> Iterator[Problem]:
    """Find labels whose words are part of another label, as in "panda" and "red panda"."""
    of_words: dict[tuple[str, ...], Entry] = {}
    for entry in labels.sound:
        for name in entry.words:
            of_words.setdefault(name, entry)
    longest = max(map(len, of_words), default=0)
    parts: dict[str, list[str]] = {}
    for entry in labels.sound:
        for part in dict.fromkeys(part for name in entry.words for part in spans(name, longest)):
            inner = of_words.get(part)
            if inner is not None and inner is not entry:
                parts.setdefault(inner.label, []).append(entry.label)
    for label, outer in parts.items():
        yield Problem(
            *("warning", "contained", tuple(dict.fromkeys((label, *outer)))),
            f"{quoted([label])} is part of {quoted(dict.fromkeys(outer))}",
            f"name {quoted([label])} more exactly, or make both names of one label",
        )


def spans(words: tuple[str, ...], longest: int) -> Iterator[tuple[str, ...]]:
    """Yield the runs of consecutive words that are shorter than the whole."""
    for length in range(1, min(len(words) - 1, longest) + 1):
        for start in range(len(words) - length + 1):
            yield words[start : start + length]


def find_groups(labels: LabelSet) -> Iterator[Problem]:
    """Find labels that are also the name of a group of labels in the tree."""
    groups = {wording.fold(group) for group in labels.groups}
    if found := _labels([e for e in labels.sound if wording.fold(e.label) in groups]):
        yield Problem(
            *("warning", "group", found),
            f"{quoted(found)}: the label is also the name of a group, whose labels compete with it",
            "keep the group or the label, or rename the label, as in 'other bird'",
        )


def find_spelling(labels: LabelSet) -> Iterator[Problem]:
    """Find names that look like file names, identifiers or codes."""
    yield from _find_written(
        *(labels, "underscore", lambda name: name.replace("_", " ")),
        "the name contains underscores, and captions do not",
    )
    yield from _find_written(
        *(labels, "digits", lambda name: DIGITS.sub(r"\1\3 \2\4", name)),
        "the name contains digits without a space before or after them",
    )
    yield from _find_written(
        *(labels, "capitals", lambda name: name.lower() if CAPITALS.fullmatch(name) else name),
        "the name is in capital letters; the model reads lower case, so an abbreviation may be "
        "another word",
    )
    yield from _find_written(
        *(labels, "file extension", lambda name: SUFFIX.sub("", name)),
        "the name ends like a file name",
    )


def _find_written(
    labels: LabelSet, kind: str, correct: Callable[[str], str], message: str
) -> Iterator[Problem]:
    """Find names that a correction changes."""
    corrected = {n: correct(n) for entry in labels.sound for n in entry.names if correct(n) != n}
    found = _labels([e for e in labels.sound if not corrected.keys().isdisjoint(e.names)])
    if found:
        better = [text for text in corrected.values() if text] or ["a name"]
        yield Problem(
            *("warning", kind, found),
            f"{quoted(found)}: {message}",
            f"write {quoted(better)}",
        )


def find_long(labels: LabelSet) -> Iterator[Problem]:
    """Find names of more words than a name has."""
    entries = [e for e in labels.sound if any(len(n.split()) > MOST_WORDS for n in e.names)]
    if found := _labels(entries):
        yield Problem(
            *("warning", "long", found),
            f"{quoted(found)}: the label or a name of it has more than {MOST_WORDS} words",
            "shorten it, or if it is a whole sentence, use the template '{}'",
        )


def find_no_negative(labels: LabelSet) -> Iterator[Problem]:
    """Find label sets that have no answer for images of something else."""
    if not labels.sound or any(NEGATIVE.match(text) for e in labels.sound for text in e.texts):
        return
    # Nearly every label set has no label for something else, and most tasks need none. A warning
    # on each of them would hide the others, so it is a note unless there are few labels.
    few = len(labels.sound) < FEWEST_LABELS
    yield Problem(
        "warning" if few else "note",
        "no negative",
        _labels(labels.sound) if few else (),
        f"an image of something else also gets one of the {len(labels.sound)} labels",
        "if such images occur, offer none_of_these=True, or add labels for what they show",
    )


def find_senses(labels: LabelSet) -> Iterator[Problem]:
    """Find labels that name things of several kinds, such as crane."""
    for entry in labels.sound:
        kinds = [wording.senses(name) for name in entry.names]
        if all(kinds):
            name = entry.names[0].strip()
            yield Problem(
                *("note", "senses", (entry.label,)),
                f"{quoted([entry.label])} can mean things of several kinds: {', '.join(kinds[0])}",
                f"write which one: {quoted(f'{name} ({kind})' for kind in kinds[0])}",
            )


def _labels(entries: list[Entry]) -> tuple[str, ...]:
    return tuple(entry.label for entry in entries)
