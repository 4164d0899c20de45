"""Describe a run, and refuse to continue it with something else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL

from zeroshot import __version__
from zeroshot.bulk.rows import FORMAT
from zeroshot.errors import InputError, shortened

if TYPE_CHECKING:
    from zeroshot.classifier import Classifier
    from zeroshot.head import Head

LONGEST = 1 << 16  # bytes of the labels in a part's metadata; for longer ones it has their digest
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


def check_same(run: Mapping[str, Any], fingerprint: Mapping[str, Any], folder: Path) -> None:
    """Raise InputError, with the first field that differs, unless a run has this fingerprint."""
    before = run["fingerprint"]
    for name in [*fingerprint, *before]:
        old, new = before.get(name), fingerprint.get(name)
        if json.loads(json.dumps(new)) != old:
            raise InputError(
                f"{shortened(str(folder), 150)}: this folder contains a run with {name} "
                f"{_show(old, new)}, got {_show(new, old)}; {ADVICE}"
            )


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
