"""Stored label embeddings are reused, and never for another model, label or template."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import zeroshot
from tests.support import FakeEncoder
from zeroshot import label_store
from zeroshot.head import Head
from zeroshot.label_store import LabelStore


class Counting(FakeEncoder):
    """A fake encoder that records the sentences it receives."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        self.sentences += texts
        return super().encode_text(texts)


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    return LabelStore(tmp_path / "labels", "model float32")


def test_a_second_head_of_the_same_labels_embeds_nothing(store: LabelStore) -> None:
    first, second = Counting(), Counting()
    built = Head.build(first, ["red", "green"], ["a {}."], store=store)

    again = Head.build(second, ["red", "green"], ["a {}."], store=store)

    assert first.sentences == ["a red.", "a green."]
    assert second.sentences == []
    assert torch.equal(again.weight, built.weight)


def test_a_changed_label_set_embeds_the_new_labels_only(store: LabelStore) -> None:
    Head.build(Counting(), ["red", "green"], ["a {}."], store=store)
    encoder = Counting()

    head = Head.build(encoder, ["blue", "red"], ["a {}."], store=store)

    assert encoder.sentences == ["a blue."]
    assert torch.equal(head.weight, Head.build(FakeEncoder(), ["blue", "red"], ["a {}."]).weight)


def test_synonyms_templates_and_models_have_separate_entries(store: LabelStore) -> None:
    Head.build(Counting(), {"red": ["red", "brown"]}, ["a {}."], store=store)
    other_names, other_templates, other_model = Counting(), Counting(), Counting()

    Head.build(other_names, ["red"], ["a {}."], store=store)
    Head.build(other_templates, {"red": ["red", "brown"]}, ["the {}."], store=store)
    other = LabelStore(store.folder, "model bfloat16")
    Head.build(other_model, {"red": ["red", "brown"]}, ["a {}."], store=other)

    assert len(other_names.sentences) == 1
    assert len(other_templates.sentences) == len(other_model.sentences) == 2


@pytest.mark.parametrize("damage", ["cut", "scaled", "not ours", "empty"])
def test_a_damaged_file_is_rebuilt(store: LabelStore, damage: str) -> None:
    built = Head.build(Counting(), ["red", "green"], ["a {}."], store=store)
    path = store.path(["a {}."])
    content = path.read_bytes()
    changed = {
        "cut": content[:-4],
        "scaled": content[:-24] + bytes(24),
        "not ours": content.replace(b"zeroshot.labels/2", b"zeroshot.labels/9"),
        "empty": b"",
    }
    path.write_bytes(changed[damage])
    encoder = Counting()

    again = Head.build(encoder, ["red", "green"], ["a {}."], store=store)

    assert len(encoder.sentences) == 2
    assert torch.equal(again.weight, built.weight)


def test_a_folder_that_cannot_be_created_disables_the_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = LabelStore(tmp_path / "file" / "labels", "model")

    assert len(Head.build(Counting(), ["red", "green"], ["a {}."], store=store)) == 2


def test_the_store_evicts_the_least_recently_used_files(
    store: LabelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n, template in enumerate(["one {}", "two {}", "three {}"]):
        Head.build(Counting(), ["red", "green"], [template], store=store)
        os.utime(store.path([template]), (n, n))
    size = store.path(["one {}"]).stat().st_size
    monkeypatch.setattr(label_store, "LIMIT", 3 * size)
    Head.build(Counting(), ["red", "green"], ["one {}"], store=store)  # used again just now

    Head.build(Counting(), ["red", "green"], ["four {}"], store=store)

    left = [t for t in ("one", "two", "three", "four") if store.path([f"{t} {{}}"]).exists()]
    assert left == ["one", "three", "four"]


def test_a_file_keeps_the_newest_labels(store: LabelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_store, "ROWS", 2)
    Head.build(Counting(), ["red", "green", "blue"], ["{}"], store=store)
    encoder = Counting()

    Head.build(encoder, ["red", "green", "blue"], ["{}"], store=store)

    assert encoder.sentences == ["red"]


def test_stored_labels_are_reused_after_reloading_a_model(
    tiny: zeroshot.Model, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = tiny.head(["cat", "dog"]).weight
    again = zeroshot.load(tiny_path, dtype="float32")
    monkeypatch.setattr(type(again), "encode_text", lambda self, texts: pytest.fail("embedded"))

    assert torch.equal(again.head(["dog", "cat"]).weight, weight[[1, 0]])


@pytest.mark.parametrize("off", ["off", "OFF", "Off", "0", "false", "False", "no", "none", " off "])
def test_the_store_can_be_switched_off(
    tiny: zeroshot.Model,
    label_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    off: str,
) -> None:
    monkeypatch.setenv("ZEROSHOT_CACHE", off)
    monkeypatch.chdir(tmp_path)

    tiny.head(["cat", "dog"])

    assert not label_cache.exists()
    assert not (tmp_path / off).exists()


def test_a_path_may_end_in_a_word_that_switches_the_store_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for folder in ("./off", "offline", "00"):
        monkeypatch.setenv("ZEROSHOT_CACHE", folder)
        assert label_store.default_folder() == Path(folder) / "labels"


def test_a_valid_file_with_unexpected_content_is_rebuilt(store: LabelStore) -> None:
    odd = {
        "other width": (torch.eye(2, 7), '[["red"], ["green"]]'),
        "other type": (torch.eye(2, 3, dtype=torch.float64), '[["red"], ["green"]]'),
        "no list": (torch.eye(2, 3), "5"),
        "names of no text": (torch.eye(2, 3), '[[{}], ["green"]]'),
        "deep": (torch.eye(2, 3), "[" * 100_000),
    }
    for weight, names in odd.values():
        store.folder.mkdir(exist_ok=True)
        path = store.path(["a {}."])
        save_file({"weight": weight}, path, {label_store.METADATA_KEY: names})
        encoder = Counting()

        narrow = LabelStore(store.folder, store.key, width=3)
        head = Head.build(encoder, ["red", "green"], ["a {}."], store=narrow)

        assert len(encoder.sentences) == 2
        assert head.weight.shape == (2, 3)


def test_a_user_without_a_home_has_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("ZEROSHOT_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)

    assert label_store.default_folder() is None


def test_a_tilde_in_the_setting_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEROSHOT_CACHE", "~/kept")

    assert label_store.default_folder() == Path.home() / "kept" / "labels"


def test_stored_labels_are_readable_under_another_default_dtype(store: LabelStore) -> None:
    Head.build(Counting(), ["red", "green"], ["a {}."], store=store)
    encoder = Counting()
    torch.set_default_dtype(torch.float64)
    try:
        Head.build(encoder, ["red", "green"], ["a {}."], store=store)
    finally:
        torch.set_default_dtype(torch.float32)

    assert encoder.sentences == []
