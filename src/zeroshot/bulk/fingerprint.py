"""Describe a run, and refuse to continue it with something else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL

from zeroshot import __version__
from zeroshot.bulk.rows import FORMAT
from zeroshot.errors import InputError, shortened, some

if TYPE_CHECKING:
    from zeroshot.classifier import Classifier
    from zeroshot.head import Head

LONGEST = 1 << 16  # bytes of the labels in a part's metadata; for longer ones it has their digest
CONTENT = ("size", "digest", "index", "count", "rows")  # facts of a source, of its content
ADVICE = "use the same options, another folder, or force=True to start over"


def describe_classifier(classifier: Classifier) -> dict[str, Any]:
    """Return what decides the answers, as JSON data by field."""
    encoder: Any = classifier.encoder
    answers = classifier.answers
    return {
        "model": encoder.identity,
        "dtype": str(getattr(encoder, "dtype", "")).removeprefix("torch."),
        "preprocessing": str(getattr(encoder, "preprocess", "")),
        "decoder": f"Pillow {PIL.__version__}",
        **describe_head(classifier.head),
        "answers": None if answers is None else repr(answers),
    }


def describe_head(head: Head) -> dict[str, Any]:
    """Return what decides the answers of a head, as JSON data by field."""
    plain = not head.is_calibrated and not head.has_temperature and not head.examples
    return {
        "labels": digest([head.labels, head.names]),
        "templates": list(head.templates),
        # of other heads too: the rows of a head may differ by rounding on another machine
        "head": "" if plain else head.digest(),
        "scoring": head.scoring,
        "words": None if head.background is None else digest(head.background.words),
    }


def digest(content: Any) -> str:
    """Return a digest of JSON data: 16 hex digits."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def make_run(
    classifier: Classifier, options: Mapping[str, Any], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the content of `_run.json`: `options` are part of the fingerprint, `facts` are not."""
    head, encoder = classifier.head, classifier.encoder
    fingerprint = describe_classifier(classifier) | dict(options)
    return {
        "table": FORMAT,
        "version": __version__,
        "model": str(getattr(encoder, "name", encoder.identity)),
        "identity": encoder.identity,
        "dtype": fingerprint["dtype"],
        "prompts": head.prompts,
        "templates": list(head.templates),
        "labels": {
            label: list(names) for label, names in zip(head.labels, head.names, strict=True)
        },
        "dim": int(head.weight.shape[1]),
        **options,
        **facts,
        "fingerprint": fingerprint,
    }


def check_same(run: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Raise InputError, with the first field that differs, unless two runs are the same.

    `run` and `now` are contents of `_run.json`: that of the folder, and that of this call.
    """
    before, after = run["fingerprint"], now["fingerprint"]
    for name in [*after, *before]:
        old, new = before.get(name), json.loads(json.dumps(after.get(name)))
        if new != old:
            differing = _differing(name, run, now)
            raise InputError(
                f"{shortened(str(folder), 150)}: this folder contains a run with {differing}; "
                f"{ADVICE}"
            )


def _differing(name: str, run: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return a field with both values, in words where it is a digest."""
    old, new = run["fingerprint"].get(name), now["fingerprint"].get(name)
    if name == "labels":
        return _differing_labels(run["labels"], now["labels"])
    if name == "head":
        return "another head: its examples or its calibration differ"
    if name == "words":
        if old and new:
            return "other background words"
        name, old, new = "none_of_these", bool(old), bool(new)
    if name == "dedupe" and old and new:
        return f"dedupe in {old} shards, got {new}"
    if name == "dedupe" or not {bool, type(None)}.isdisjoint({type(old), type(new)}):
        return f"{_given(name, old)}, got {_given(name, new)}"
    return f"{name} {_show(old, new)}, got {_show(new, old)}"


def _given(name: str, value: Any) -> str:
    """Return an option that may be absent or a flag."""
    if not value:
        return f"no {name}"
    return name if value is True or name == "dedupe" else f"{name} {_show(value)}"


def _differing_labels(old: Mapping[str, Sequence[str]], new: Mapping[str, Sequence[str]]) -> str:
    """Return the labels of two runs, or the first ones that differ of many."""
    texts = [
        [
            label if list(names) == [label] else f"{label} ({', '.join(names)})"
            for label, names in each.items()
        ]
        for each in (old, new)
    ]
    if list(old) == list(new):  # the names differ
        pairs = list(zip(*texts, strict=True))
        place = next((n for n, (a, b) in enumerate(pairs) if a != b), 0)
        return f"label {shortened(pairs[place][0], 100)!r}, got {shortened(pairs[place][1], 100)!r}"
    found = [", ".join(old), ", ".join(new)]
    if max(map(len, found)) <= 150:
        return f"labels {found[0]}, got {found[1]}"
    gone = [label for label in old if label not in new]
    added = [label for label in new if label not in old]
    if not gone and not added:
        return f"the same {len(old)} labels in another order"
    parts = [f"new: {shortened(some(added, 3), 100)}"] * bool(added)
    parts += [f"missing: {shortened(some(gone, 3), 100)}"] * bool(gone)
    return f"{len(old):,} labels, got {len(new):,} ({'; '.join(parts)})"


def check_sources(run: Mapping[str, Any], sources: list[dict[str, Any]], folder: Path) -> None:
    """Raise InputError unless the sources are those of the run."""
    before = run["sources"]
    name = shortened(str(folder), 150)
    if len(before) != len(sources):
        raise InputError(
            f"{name}: this folder contains a run of {len(before)} inputs, got {len(sources)}; "
            f"{ADVICE}"
        )
    for number, (old, new) in enumerate(zip(before, sources, strict=True)):
        now = json.loads(json.dumps(new))
        differing = {key for key in {*old, *now} if old.get(key) != now.get(key)}
        is_list = old.get("kind") == now.get("kind") == "list"  # its name is made of its images
        if differing and differing.issubset({*CONTENT, "name"} if is_list else CONTENT):
            what = shortened(str(old.get("name")), 200)
            if is_list:
                what = f"the list of images {what!r}"
            raise InputError(
                f"{name}: {what} has changed since the run started; restore it, label it into "
                "another folder, or pass force=True to start over"
            )
        for key in sorted({*old, *new}):
            if old.get(key) != json.loads(json.dumps(new.get(key))):
                raise InputError(
                    f"{name}: input {number} of the run in this folder, "
                    f"{shortened(str(old.get('name')))!r}, had {key} {_show(old.get(key))}, got "
                    f"{_show(new.get(key))}; {ADVICE}"
                )


def _show(value: Any, other: Any = None) -> str:
    """Return a value for a message; of a long one the part around the first difference."""
    text = value if isinstance(value, str) else json.dumps(value)
    rest = other if isinstance(other, str) else json.dumps(other)
    pairs = enumerate(zip(text, rest, strict=False))
    same = next((place for place, (a, b) in pairs if a != b), min(len(text), len(rest)))
    start = max(0, same - 20) if len(text) > 80 else 0
    return "..." * bool(start) + shortened(text[start:], 80) or "''"


def describe_part(run: Mapping[str, Any], source: int, chunk: int, last: bool) -> dict[str, Any]:
    """Return the metadata of a part: no time stamps, so a part that is written again is equal."""
    names = ("version", "model", "identity", "dtype", "prompts", "templates", "labels", "top")
    facts = {name: run[name] for name in names}
    text = json.dumps(run["labels"])
    # in order: the keys of an object are sorted
    facts["labels"] = [[label, names] for label, names in run["labels"].items()]
    if len(text) > LONGEST:
        facts["labels"] = hashlib.sha256(text.encode()).hexdigest()
    facts["fingerprint"] = digest(run["fingerprint"])
    return facts | {"source": source, "chunk": chunk, "last": last}
