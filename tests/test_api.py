"""`classify` keeps one model and its recent heads between calls."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import zeroshot
from tests.support import succeeds_in_child
from zeroshot import Head, Prediction, PromptSet, api
from zeroshot.errors import HeadMismatch, ImageError, InputError, LabelError, PromptError

LABELS = ["cat", "dog", "car"]


@pytest.fixture(autouse=True)
def fresh_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start each test with an empty cache of models and heads."""
    monkeypatch.setattr(api, "_cache", api._Cache())


@pytest.fixture(scope="module")
def default(tiny_path: Path) -> zeroshot.Model:
    """The tiny model as `classify` loads it, in the machine's best precision."""
    return zeroshot.load(tiny_path)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record the models that are loaded."""
    asked: list[Any] = []
    load = api.load

    def counted(name: Any) -> zeroshot.Model:
        asked.append(name)
        return load(name)

    monkeypatch.setattr(api, "load", counted)
    return asked


@pytest.fixture
def heads(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """Record the templates of the heads that are built."""
    built: list[Sequence[str]] = []
    build = Head.build.__func__  # type: ignore[attr-defined]

    def counted(cls: type[Head], *args: Any, **options: Any) -> Head:
        head: Head = build(cls, *args, **options)
        built.append(head.templates)
        return head

    monkeypatch.setattr(Head, "build", classmethod(counted))
    return built


def test_one_image_gives_a_prediction_and_many_a_list(tiny_path: Path, photos: list[Path]) -> None:
    one = zeroshot.classify(photos[0], LABELS, model=tiny_path)
    assert isinstance(one, Prediction)
    assert {label for label, _ in one.ranking} == set(LABELS)
    for many in (photos, tuple(photos), iter(photos)):
        found = zeroshot.classify(many, LABELS, model=tiny_path)
        assert isinstance(found, list)
        assert [p.source for p in found] == [str(p) for p in photos]
        assert found[0].label == one.label
    assert zeroshot.classify([], LABELS, model=tiny_path) == []
    assert isinstance(zeroshot.classify(photos[:1], LABELS, model=tiny_path), list)


def test_classify_equals_the_classifier_of_the_model(
    default: zeroshot.Model, tiny_path: Path, photos: list[Path]
) -> None:
    found = zeroshot.classify(photos, LABELS, prompts="imagenet7", model=tiny_path, top=2)
    assert found == default.classifier(LABELS, "imagenet7")(photos, top=2)


def test_the_model_is_loaded_once(tiny_path: Path, photos: list[Path], loads: list[Any]) -> None:
    for labels in (LABELS, ["x", "y"], LABELS):
        zeroshot.classify(photos[0], labels, model=str(tiny_path))
    zeroshot.classify(photos[0], LABELS, model=tiny_path)
    assert len(loads) == 1


def test_another_model_replaces_the_last(
    tiny_path: Path, photos: list[Path], loads: list[Any], heads: list[Any], tmp_path: Path
) -> None:
    from tests.support import tiny_spec, tiny_tensors
    from zeroshot.checkpoint.layouts import native

    other = tmp_path / "other.safetensors"
    native.save(other, "other", tiny_spec(), tiny_tensors(tiny_spec(), seed=5))
    first = zeroshot.classify(photos[0], LABELS, model=tiny_path)
    second = zeroshot.classify(photos[0], LABELS, model=other)
    again = zeroshot.classify(photos[0], LABELS, model=tiny_path)
    assert loads == [tiny_path, other, tiny_path]
    assert first == again
    assert first.ranking != second.ranking
    assert len(heads) == 3


def test_heads_are_built_once(tiny_path: Path, photos: list[Path], heads: list[Any]) -> None:
    for labels in (LABELS, tuple(LABELS), {label: [label] for label in LABELS}):
        for prompts in ("photo", zeroshot.prompts.get("photo")):
            zeroshot.classify(photos[0], labels, prompts=prompts, model=tiny_path)
    assert len(heads) == 1


def test_different_prompts_are_not_mixed_up(
    default: zeroshot.Model, tiny_path: Path, photos: list[Path]
) -> None:
    kinds: list[Any] = ["photo", "imagenet7", "a drawing of {}.", ["{}", "my {}"]]
    kinds += [PromptSet(("{} at night",), name="photo")]
    for prompts in kinds * 2:
        found = zeroshot.classify(photos[0], LABELS, prompts=prompts, model=tiny_path)
        assert found == default.classifier(LABELS, prompts)(photos[0])


def test_labels_in_another_order_or_with_other_synonyms_are_not_mixed_up(
    default: zeroshot.Model, tiny_path: Path, photos: list[Path]
) -> None:
    kinds: list[Any] = [
        LABELS,
        LABELS[::-1],
        {"cat": ["cat", "kitten"], "dog": "dog", "car": "car"},
    ]
    kinds += [{"cat": "kitten", "dog": "dog", "car": "car"}, ["cat", "dog", "car", "tree"]]
    for labels in kinds * 2:
        found = zeroshot.classify(photos[0], labels, model=tiny_path, top=9)
        assert found == default.classifier(labels)(photos[0], top=9)


def test_only_the_most_recent_heads_are_cached(
    tiny_path: Path, photos: list[Path], heads: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "HEADS", 2)
    for labels in (["a", "b"], ["c", "d"], ["a", "b"], ["e", "f"], ["a", "b"], ["c", "d"]):
        zeroshot.classify(photos[0], labels, model=tiny_path)
    assert len(heads) == 4  # ab, cd, ef, and cd again, which ef evicted
    assert len(api._cache.classifiers) == 2


def test_a_head_can_be_passed_as_labels(
    default: zeroshot.Model, tiny_path: Path, photos: list[Path], heads: list[Any]
) -> None:
    head = default.head(LABELS, "imagenet7")
    heads.clear()
    found = zeroshot.classify(photos, head, model=tiny_path)
    assert found == default.classifier(head)(photos)
    assert heads == []


def test_a_head_of_another_model_is_rejected(
    tiny_path: Path, photos: list[Path], encoder: Any
) -> None:
    with pytest.raises(HeadMismatch):
        zeroshot.classify(photos, Head.build(encoder, LABELS), model=tiny_path)


def test_a_loaded_model_is_used_directly(
    tiny: zeroshot.Model, photos: list[Path], loads: list[Any], heads: list[Any]
) -> None:
    for _ in range(3):
        zeroshot.classify(photos[0], LABELS, model=tiny)
    assert (loads, len(heads)) == ([], 1)


@pytest.mark.parametrize(
    ("labels", "options", "error"),
    [
        ("cat", {}, LabelError),
        ([], {}, LabelError),
        (["a", "a"], {}, LabelError),
        (LABELS, {"prompts": "imagnet"}, PromptError),
        (LABELS, {"prompts": ["no slot"]}, PromptError),
    ],
)
def test_invalid_labels_are_rejected_before_a_model_is_loaded(
    labels: Any, options: dict[str, Any], error: type[Exception], loads: list[Any]
) -> None:
    with pytest.raises(error):
        zeroshot.classify("cat.jpg", labels, **options)
    assert loads == []


@pytest.mark.parametrize("model", [5, None, b"mini"])
def test_a_model_of_another_type_is_rejected(model: Any, photos: list[Path]) -> None:
    with pytest.raises(InputError, match=type(model).__name__):
        zeroshot.classify(photos, LABELS, model=model)


def test_a_failed_load_keeps_the_cached_model(
    tiny_path: Path, photos: list[Path], loads: list[Any]
) -> None:
    first = zeroshot.classify(photos[0], LABELS, model=tiny_path)
    with pytest.raises(LookupError):
        zeroshot.classify(photos[0], LABELS, model="./none")
    assert zeroshot.classify(photos[0], LABELS, model=tiny_path) == first


def test_image_errors_are_raised(tiny_path: Path) -> None:
    with pytest.raises(ImageError, match=r"missing\.jpg"):
        zeroshot.classify("missing.jpg", LABELS, model=tiny_path)


def test_images_can_come_from_a_generator(tiny_path: Path, photos: list[Path]) -> None:
    def some() -> Iterator[Path]:
        yield from photos[:3]

    assert len(zeroshot.classify(some(), LABELS, model=tiny_path)) == 3


def test_many_threads_load_one_model(
    tiny_path: Path, photos: list[Path], loads: list[Any], heads: list[Any]
) -> None:
    found: list[object] = []

    def work() -> None:
        try:
            found.append(zeroshot.classify(photos[0], LABELS, model=tiny_path))
        except Exception as error:
            found.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [found[0]] * 8
    assert isinstance(found[0], Prediction)
    assert (len(loads), len(heads)) == (1, 1)


def test_a_path_is_not_treated_as_a_model_name(photo: Any) -> None:
    zeroshot.classify(photo, ["cat", "dog"], model="mini")

    with pytest.raises(zeroshot.errors.ModelNotFound):
        zeroshot.classify(photo, ["cat", "dog"], model=Path("mini"))


def test_labels_with_the_same_tokens_need_allow_equal(tiny: zeroshot.Model, photo: Any) -> None:
    labels = ["Cat", "cat"]

    found = zeroshot.classify(photo, labels, model=tiny, allow_equal=True)

    assert found.probability == pytest.approx(0.5)
    with pytest.raises(LabelError, match="pass allow_equal=True"):
        zeroshot.classify(photo, labels, model=tiny)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_a_forked_child_can_classify_while_a_thread_of_the_parent_loads(
    photos: list[Path], default: zeroshot.Model
) -> None:
    with api._cache.lock:  # as held by another thread
        assert succeeds_in_child(
            lambda: zeroshot.classify(photos[0], LABELS, model=default), seconds=20
        )
