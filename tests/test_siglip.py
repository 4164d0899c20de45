"""A model with sigmoid scores and another tokenizer, used as any other model."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import zeroshot
from tests.checkpoint import families, forms
from tests.support import photograph
from zeroshot import catalog
from zeroshot.checkpoint.layouts import native
from zeroshot.checkpoint.layouts.open_clip_tokenizers import siglip_tokenizer
from zeroshot.checkpoint.reader import check_configs
from zeroshot.errors import IncompatibleWeights, InputError, LabelError
from zeroshot.spec import Spec

LABELS = ["cat", "dog", "river"]
LENGTH = 64
TEXT = replace(families.SIGLIP_TEXT, context_length=LENGTH)
SPEC = replace(
    families.SIGLIP,
    network=replace(families.SIGLIP.network, text=TEXT),
    tokenizer=siglip_tokenizer(LENGTH, TEXT.vocab_size),
)


def load(path: Path, **options: Any) -> zeroshot.Model:
    return zeroshot.load(path, device="cpu", dtype="float32", **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return families.write_transformers(tmp_path_factory.mktemp("siglip") / "tiny", SPEC)


@pytest.fixture(scope="module")
def model(folder: Path) -> zeroshot.Model:
    return load(folder)


@pytest.fixture(scope="module")
def images() -> list[Any]:
    return [photograph(40 + seed, 50, seed) for seed in range(6)]


# ---- scores


def test_probability_of_each_label_is_its_own_sigmoid(
    model: zeroshot.Model, images: list[Any]
) -> None:
    texts = model.encode_text([f"a photo of a {label}" for label in LABELS])
    cosines = model.similarity(model.encode_image(images), texts)
    expected = torch.sigmoid(model.logit_scale * cosines + families.BIAS)

    found = model.classifier(LABELS, "a photo of a {}").predict_proba(images)

    assert model.scoring == "sigmoid"
    assert model.logit_bias == families.BIAS
    assert np.allclose(found, expected.numpy(), atol=1e-6)
    assert (found.sum(axis=1) < 0.9).all()  # not normalized over labels


def test_other_labels_change_neither_probability_nor_order(
    model: zeroshot.Model, images: list[Any]
) -> None:
    few, more = model.classifier(LABELS, "{}"), model.classifier([*LABELS, "tree", "car"], "{}")

    assert np.allclose(few.predict_proba(images), more.predict_proba(images)[:, :3], atol=1e-6)
    logits = few.decision_function(images)
    for prediction, row, own in zip(few(images), logits, few.predict_proba(images), strict=True):
        order = [LABELS[i] for i in np.argsort(-row)]
        assert [label for label, _ in prediction.ranking] == order
        assert prediction.probability == pytest.approx(own.max())


def test_single_label_has_a_probability(
    model: zeroshot.Model, images: list[Any], recwarn: pytest.WarningsRecorder
) -> None:
    found = model.classifier(["cat"], "{}").predict_proba(images)

    assert len(recwarn) == 0
    assert (found < 0.9).all()


def test_saved_head_keeps_scoring_and_bias(
    model: zeroshot.Model, images: list[Any], tmp_path: Path
) -> None:
    head = model.head(LABELS, "{}")
    head.save(tmp_path / "head.safetensors")

    found = zeroshot.Head.load(tmp_path / "head.safetensors")

    assert (found.scoring, found.logit_bias) == ("sigmoid", families.BIAS)
    expected = model.classifier(head).predict_proba(images)
    assert np.allclose(model.classifier(found).predict_proba(images), expected, atol=1e-3)


def test_none_of_these_is_answered_where_a_word_fits_better(
    model: zeroshot.Model, images: list[Any]
) -> None:
    classifier = model.classifier(LABELS, "{}", none_of_these=True)
    labels, words = classifier.head.similarities(model.encode_image(images))
    assert words is not None

    found = classifier(images)

    better = (words.amax(dim=1) > labels.amax(dim=1)).tolist()
    assert [prediction.label is None for prediction in found] == better
    assert [prediction.instead is not None for prediction in found] == better


def with_context(length: int) -> Spec:
    text = replace(TEXT, context_length=length)
    network = replace(families.SIGLIP.network, text=text)
    rows = siglip_tokenizer(length, TEXT.vocab_size)
    return replace(families.SIGLIP, network=network, tokenizer=rows)


def test_background_words_that_are_too_long_for_the_model_are_left_out(
    tmp_path: Path,
) -> None:
    short = load(families.write_transformers(tmp_path / "short", with_context(24)))

    head = short.head(["cat", "dog"], "{}", none_of_these=True)

    assert head.background is not None
    words = head.background.words
    assert 0 < len(words) < len(zeroshot.prompts.background_words())
    assert head.background.rows.shape == (len(words), short.embed_dim)
    longest = [f"a close-up photo of a {word}." for word in words]
    assert len(short.tokenizer.rows(longest)) == len(words)  # raises for a text that is too long
    assert isinstance(zeroshot.lint(["cat", "dog"], "a {}", model=short), list)


def test_independent_scores_do_not_depend_on_the_bias(
    model: zeroshot.Model, images: list[Any]
) -> None:
    head = model.head(LABELS, "{}", scores="independent")
    without = replace(head, logit_bias=None)

    found, expected = (model.classifier(each).predict_proba(images) for each in (head, without))

    assert np.allclose(found, expected, atol=1e-5)


# ---- the tower and the tokenizer


@pytest.mark.parametrize("size", [48, 16])
def test_positions_are_resampled_without_a_class_token(folder: Path, size: int) -> None:
    model = load(folder, image_size=size)
    pixels = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))

    with torch.no_grad():
        expected = F.normalize(model.network.visual(pixels), dim=1)

    assert model.network.visual.positional_embedding.shape == ((size // 8) ** 2, 48)
    assert torch.allclose(model.encode_pixels(pixels), expected, atol=1e-5)


@pytest.mark.usefixtures("tiny_towers")
@pytest.mark.parametrize(
    ("spec", "tower"),
    [
        (families.PE, "vit_pe_core_test_patch8"),
        (families.PE_WITHOUT_CLASS, "vit_pe_core_plain_patch8"),
    ],
)
def test_rotary_places_follow_the_image_size(spec: Spec, tower: str, tmp_path: Path) -> None:
    model = load(families.write_open_clip(tmp_path, spec, tower), image_size=48)
    pixels = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))

    with torch.no_grad():
        expected = F.normalize(model.network.visual(pixels), dim=1)

    assert torch.allclose(model.encode_pixels(pixels), expected, atol=1e-5)
    assert model.encode_text("a cat").shape == (24,)


def test_size_that_patches_do_not_fill_is_rejected(folder: Path) -> None:
    with pytest.raises(InputError, match="expected a multiple of 8 pixels"):
        load(folder, image_size=50)


def test_features_are_those_of_the_pool(model: zeroshot.Model, images: list[Any]) -> None:
    features = model.encode_image(images, project=False)

    assert torch.allclose(F.normalize(features, dim=1), model.encode_image(images), atol=1e-6)


def test_rows_are_padded_because_the_tower_reads_the_pads(model: zeroshot.Model) -> None:
    (row,) = model.tokenizer.rows(["a cat"])

    assert len(row) == LENGTH
    assert row[-1] == 1
    assert row.count(1) > 30


def test_labels_that_the_tokenizer_cannot_distinguish_are_rejected(model: zeroshot.Model) -> None:
    with pytest.raises(LabelError, match="it ignores case, punctuation, spaces and characters"):
        model.head(["new york", "new_york"], "{}")


def test_lint_counts_the_tokens_of_this_tokenizer(model: zeroshot.Model) -> None:
    fits, too_long = "dog " * (LENGTH - 2), "cat " * LENGTH
    assert len(model.tokenizer.encode(fits)) < LENGTH <= len(model.tokenizer.encode(too_long))

    found = zeroshot.lint([fits, too_long], "{}", model=model)

    (problem,) = [each for each in found if each.kind == "tokens"]
    assert problem.labels == (too_long,)
    assert f"reads {LENGTH - 1} tokens" in problem.message


def test_copy_of_a_model_has_the_same_tokenizer(model: zeroshot.Model) -> None:
    copy = pickle.loads(pickle.dumps(model))

    assert copy.identity == model.identity
    torch.testing.assert_close(copy.encode_text("a cat"), model.encode_text("a cat"))


def test_html_of_a_model_does_not_read_the_tokenizer(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zeroshot import model as module

    monkeypatch.setattr(module, "build_tokenizer", lambda *a, **o: pytest.fail("not needed"))

    assert f"{LENGTH} tokens" in load(folder)._repr_html_()


def test_config_says_whether_a_tokenizer_file_is_needed(folder: Path, tmp_path: Path) -> None:
    clip = forms.transformers(forms.VIT, forms.tensors_of(forms.VIT), tmp_path)

    assert check_configs([folder / "config.json"])
    assert not check_configs([clip / "config.json"])
    assert not check_configs([])


# ---- plain CLIP with a bias, and files of before


def test_clip_with_a_bias_is_saved_with_it(tmp_path: Path, images: list[Any]) -> None:
    spec = replace(
        forms.VIT, network=replace(forms.VIT.network, logit_bias=True), scoring="sigmoid"
    )
    tensors = forms.tensors_of(spec) | {"logit_bias": torch.tensor(-9.0)}
    native.save(tmp_path / "biased.safetensors", "biased", spec, tensors)
    model = load(tmp_path / "biased.safetensors")
    model.save(tmp_path / "again.safetensors")

    found = load(tmp_path / "again.safetensors")

    assert (found.logit_bias, found.scoring, found.identity) == (-9.0, "sigmoid", model.identity)
    assert (model.classifier(["cat", "dog"], "{}").predict_proba(images) < 0.5).all()


def test_bias_that_is_not_finite_is_rejected(tmp_path: Path) -> None:
    tensors = families.tensors_of(SPEC) | {"logit_bias": torch.tensor(float("nan"))}
    folder = families.write_transformers(tmp_path, SPEC, tensors)

    with pytest.raises(IncompatibleWeights, match="logit_bias contains NaN or infinity"):
        load(folder).head(LABELS, "{}")


def test_json_of_clip_has_no_new_field() -> None:
    document = native.to_json(forms.VIT)

    assert document == {
        "architecture": {
            "embed_dim": 32,
            "vision": {
                "kind": "vit",
                "image_size": 32,
                "patch_size": 8,
                "width": 64,
                "layers": 2,
                "heads": 1,
                "mlp_width": 256,
                "activation": "quick_gelu",
                "eps": 1e-5,
            },
            "text": {
                "kind": "clip",
                "context_length": 16,
                "vocab_size": 49408,
                "width": 64,
                "layers": 1,
                "heads": 1,
                "mlp_width": 256,
                "activation": "quick_gelu",
                "eps": 1e-5,
            },
        },
        "preprocess": {
            "size": 32,
            "mean": forms.VIT.preprocess.mean,
            "std": forms.VIT.preprocess.std,
            "interpolation": "bicubic",
            "resize_mode": "shortest",
        },
        "tokenizer": {"merges": 48894},
    }


@pytest.mark.usefixtures("tiny_towers")
def test_bare_file_gets_its_network_from_a_catalog_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = families.write_open_clip(tmp_path / "whole")
    expected = zeroshot.load(folder, device="cpu", dtype="float32")
    config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    (folder / "open_clip_config.json").unlink()
    monkeypatch.setattr(catalog, "_networks", lambda: {"ViT-B-16-SigLIP": config})

    found = zeroshot.load(folder, device="cpu", dtype="float32", like="ViT-B-16-SigLIP:webli")

    assert found.scoring == "sigmoid"
    assert found.preprocess.resize_mode == "squash"
    assert torch.equal(found.encode_text("a cat"), expected.encode_text("a cat"))
    assert found.identity == expected.identity
