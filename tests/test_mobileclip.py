"""MobileCLIP: a text tower that is not causal reads rows of CLIP's tokenizer with their padding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import zeroshot
from tests.checkpoint import forms
from tests.checkpoint.support import changed
from zeroshot.checkpoint.layouts import open_clip
from zeroshot.checkpoint.weights import on_meta
from zeroshot.spec import Spec

TEXTS = ["a cat", "a photo of two dogs, asleep", "!", "", "river " * 20]
CAUSAL = "model_cfg.text_cfg.no_causal_mask"
WIDE = replace(forms.VIT.network.text, layers=2, heads=4)
PLAIN = replace(forms.VIT, network=replace(forms.VIT.network, text=WIDE))


def both_ways(spec: Spec, causal: bool) -> Spec:
    return replace(
        spec, network=replace(spec.network, text=replace(spec.network.text, causal=causal))
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mobileclip")
    forms.open_clip(PLAIN, forms.tensors_of(PLAIN), folder)
    config = changed(forms.open_clip_config(PLAIN), CAUSAL, True)
    forms.write_json(folder / "open_clip_config.json", config.content)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> zeroshot.Model:
    return zeroshot.load(folder, device="cpu", dtype="float32")


def test_mask_of_the_text_tower_is_read_from_the_config() -> None:
    document = forms.open_clip_config(PLAIN)

    assert open_clip.from_config(changed(document, CAUSAL, True)) == both_ways(PLAIN, False)
    assert open_clip.from_config(changed(document, CAUSAL, False)) == both_ways(PLAIN, True)


def test_rows_are_padded_because_the_tower_attends_to_padding(model: zeroshot.Model) -> None:
    rows = model.tokenizer.rows(TEXTS, truncate=True)

    assert {len(row) for row in rows} == {model.tokenizer.context_length}
    assert rows == model.tokenizer(TEXTS, truncate=True).tolist()


def test_texts_are_embedded_with_their_padding(model: zeroshot.Model) -> None:
    ids = torch.from_numpy(model.tokenizer(TEXTS, truncate=True))
    expected = F.normalize(model.network.text(ids), dim=1)

    found = model.encode_text(TEXTS, truncate=True)

    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert float((found - found.roll(1, 0)).norm(dim=1).min()) > 0.05


def test_mask_changes_the_embedding(model: zeroshot.Model) -> None:
    ids = torch.from_numpy(model.tokenizer(TEXTS, truncate=True))
    causal = on_meta(PLAIN.network)
    causal.load_state_dict(model.network.state_dict(), assign=True)

    found = F.normalize(causal.text(ids), dim=1)

    assert float((found - model.encode_text(TEXTS, truncate=True)).norm(dim=1).min()) > 0.01


def test_saved_model_embeds_texts_alike(model: zeroshot.Model, tmp_path: Path) -> None:
    model.save(tmp_path / "saved.safetensors")

    saved = zeroshot.load(tmp_path / "saved.safetensors", device="cpu", dtype="float32")

    assert saved.identity == model.identity
    found = saved.encode_text(["a cat", "dogs"])
    torch.testing.assert_close(found, model.encode_text(["a cat", "dogs"]), rtol=0, atol=1e-6)


def test_labels_are_scored(model: zeroshot.Model) -> None:
    head = model.head(["cat", "dog"], prompts=["a photo of a {}."])

    texts = model.encode_text(["a photo of a cat.", "a photo of a dog."])
    torch.testing.assert_close(head.weight, texts, rtol=0, atol=1e-5)
