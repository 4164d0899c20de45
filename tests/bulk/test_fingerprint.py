"""What identifies a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import zeroshot
from tests.bulk.support import make_classifier
from zeroshot.bulk import fingerprint
from zeroshot.bulk.fingerprint import (
    check_same,
    check_sources,
    describe_classifier,
    describe_part,
    make_run,
)
from zeroshot.errors import InputError


def test_every_property_of_the_answers_is_described(tiny: zeroshot.Model) -> None:
    base = tiny.classifier(["cat", "dog"])
    others = [
        tiny.classifier(["cat", "cow"]),
        tiny.classifier(["dog", "cat"]),
        tiny.classifier({"cat": ["kitten"], "dog": ["dog"]}),
        tiny.classifier(["cat", "dog"], "a {}."),
        tiny.classifier(["cat", "dog"], none_of_these=True),
        tiny.classifier(["cat", "dog"], scores="independent"),
        base.answering(below=0.9),
        zeroshot.Classifier(tiny, replace(base.head, inverse_temperature=0.5)),
        tiny.to(dtype="bfloat16").classifier(["cat", "dog"]),
    ]
    described = [json.dumps(describe_classifier(each)) for each in [base, *others]]

    assert len(set(described)) == len(described)
    assert describe_classifier(base) == describe_classifier(tiny.classifier(["cat", "dog"]))


def make(**options: Any) -> dict[str, Any]:
    facts = {"sources": [{"kind": "zip", "name": "a.zip", "size": 3}]}
    run = make_run(make_classifier(), {"top": 5} | options, facts)
    loaded: dict[str, Any] = json.loads(json.dumps(run))
    return loaded


def test_the_first_field_that_differs_is_named_with_both_values() -> None:
    check_same(make(), make(), Path("out"))
    with pytest.raises(InputError, match="a run with top 5, got 2; use the same options"):
        check_same(make(), make(top=2), Path("out"))
    long = "x" * 300
    with pytest.raises(InputError, match=r"x+a.* got .*x+b") as caught:
        check_same(make(note=f"{long}a"), make(note=f"{long}b"), Path("out"))
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"top": True}, {"top": False}, "a run with top, got no top;"),
        ({"dedupe": 0}, {"dedupe": 1}, "a run with no dedupe, got dedupe;"),
        ({"dedupe": 4}, {"dedupe": 2}, "a run with dedupe in 4 shards, got 2;"),
        ({"limit": None}, {"limit": 3}, "a run with no limit, got limit 3;"),
        ({"head": "0a"}, {"head": "0b"}, "another head: its examples or its calibration differ"),
        ({"words": None}, {"words": "0a"}, "a run with no none_of_these, got none_of_these;"),
        ({"words": "0b"}, {"words": "0a"}, "other background words"),
    ],
)
def test_options_and_digests_are_compared_in_words(
    before: dict[str, Any], after: dict[str, Any], expected: str
) -> None:
    old, new = make(), make()
    old["fingerprint"] |= before
    new["fingerprint"] |= after

    with pytest.raises(InputError) as caught:
        check_same(old, new, Path("out"))

    assert expected in str(caught.value)


MANY = {f"label {n}": [f"label {n}"] for n in range(1000)}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"cat": ["cat"]}, {"dog": ["dog"]}, "labels cat, got dog;"),
        ({"pet": ["cat"]}, {"pet": ["cat", "dog"]}, "label 'pet (cat)', got 'pet (cat, dog)';"),
        (MANY, MANY | {"new": ["new"]}, "1,000 labels, got 1,001 (new: new);"),
        (MANY, dict(list(MANY.items())[5:]), "1,000 labels, got 995 (missing: label 0, label 1, "),
        (MANY, dict(reversed(MANY.items())), "the same 1000 labels in another order;"),
    ],
)
def test_labels_are_compared_by_name(
    before: dict[str, list[str]], after: dict[str, list[str]], expected: str
) -> None:
    runs = [make() | {"labels": labels} for labels in (before, after)]
    for run in runs:
        run["fingerprint"] = run["fingerprint"] | {"labels": str(run["labels"])}

    with pytest.raises(InputError) as caught:
        check_same(runs[0], runs[1], Path("out"))

    assert expected in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_source_that_changed_is_named() -> None:
    run = make()
    check_sources(run, [{"kind": "zip", "name": "a.zip", "size": 3}], Path("out"))
    with pytest.raises(InputError, match=r"out: a.zip has changed since the run started; restore"):
        check_sources(run, [{"kind": "zip", "name": "a.zip", "size": 4}], Path("out"))
    with pytest.raises(InputError, match=r"input 0 .*'a.zip', had name a.zip, got b.zip"):
        check_sources(run, [{"kind": "zip", "name": "b.zip", "size": 4}], Path("out"))
    run["sources"][0] |= {"kind": "list", "name": "a.png, b.png", "digest": "0"}
    with pytest.raises(InputError, match=r"the list of images 'a.png, b.png' has changed"):
        check_sources(run, [run["sources"][0] | {"digest": "1"}], Path("out"))
    run = make()
    with pytest.raises(InputError, match="a run of 1 inputs, got 2"):
        check_sources(run, run["sources"] * 2, Path("out"))


def test_the_metadata_of_a_part_has_no_time_and_keeps_the_order_of_labels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metadata = describe_part(make(), 1, 2, last=True)

    assert metadata["labels"] == [["red", ["rrrr"]], ["green", ["gggg"]], ["blue", ["bbbb"]]]
    assert (metadata["source"], metadata["chunk"], metadata["last"]) == (1, 2, True)
    assert set(metadata) == {
        *("version", "model", "identity", "dtype", "prompts", "templates", "labels", "top"),
        *("fingerprint", "source", "chunk", "last"),
    }
    monkeypatch.setattr(fingerprint, "LONGEST", 10)
    assert len(describe_part(make(), 1, 2, last=True)["labels"]) == 64
