"""Models with a BERT as text tower, used as any other model."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import zeroshot
from tests.checkpoint import families_bert
from tests.checkpoint.forms import Tensors
from tests.support import photograph
from zeroshot.checkpoint.config_fields import Fields
from zeroshot.checkpoint.layouts import native
from zeroshot.errors import IncompatibleWeights, TokenLimitError
from zeroshot.spec import BertConfig, Spec

pytestmark = pytest.mark.usefixtures("tiny_berts")
TEXTS = ["a cat", "dog", "a photo of the big red car", "北京 cat", "", "old dog house"]
SPECS = {
    "laion": families_bert.LAION,
    "biomed": families_bert.BIOMED,
    "chinese": families_bert.CHINESE_CLIP,
}


def write(name: str, folder: Path, tensors: Tensors | None = None) -> Path:
    if name == "chinese":
        return families_bert.write_transformers(folder, tensors)
    return families_bert.write_open_clip(folder, SPECS[name], tensors)


def load(path: Path, **options: Any) -> zeroshot.Model:
    return zeroshot.load(path, **{"device": "cpu", "dtype": "float32"} | options)


@pytest.fixture(params=list(SPECS))
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def model(name: str, tmp_path: Path) -> zeroshot.Model:
    return load(write(name, tmp_path / name))


def test_embeddings_are_those_of_the_plain_tower_on_padded_rows(model: zeroshot.Model) -> None:
    ids = torch.from_numpy(model.tokenizer(TEXTS, truncate=True))
    with torch.no_grad():
        expected = F.normalize(model.network.text(ids), dim=1)

    found = model.encode_text(TEXTS, truncate=True)

    assert torch.allclose(found, expected, atol=1e-5)
    gaps = torch.cdist(expected, expected) + torch.eye(len(TEXTS))
    assert float(gaps.min()) > 1e-2  # the texts differ


def test_embedding_of_a_text_does_not_depend_on_the_others(model: zeroshot.Model) -> None:
    apart = torch.stack([model.encode_text(text, truncate=True) for text in TEXTS])

    assert torch.allclose(model.encode_text(TEXTS, truncate=True), apart, atol=1e-5)


def test_rows_have_their_own_length_and_the_ids_of_the_family(
    model: zeroshot.Model, name: str
) -> None:
    first, last = {"laion": (0, 2), "biomed": (2, 3), "chinese": (101, 102)}[name]
    rows = model.tokenizer.rows(["dog", "the cat and the dog"], truncate=True)

    assert len(rows[0]) < len(rows[1])
    assert [(row[0], row[-1]) for row in rows] == [(first, last)] * 2
    assert all(model.spec.network.text.pad not in row for row in rows)


def test_bfloat16_is_close(model: zeroshot.Model, name: str, tmp_path: Path) -> None:
    half = load(tmp_path / name, dtype="bfloat16")

    distances = (half.encode_text(TEXTS[:3]) - model.encode_text(TEXTS[:3])).norm(dim=1)

    assert float(distances.max()) < 0.05


def test_image_is_classified(model: zeroshot.Model) -> None:
    labels = ["cat", "dog", "river"]
    images = [photograph(40 + seed, 50, seed) for seed in range(3)]

    found = model.classifier(labels, "a {}").predict_proba(images)

    logits = model.logit_scale * model.similarity(
        model.encode_image(images), model.encode_text([f"a {label}" for label in labels])
    )
    assert np.allclose(found, logits.softmax(dim=1).numpy(), atol=1e-5)


def test_saved_model_is_the_same(model: zeroshot.Model, tmp_path: Path) -> None:
    model.save(tmp_path / "copy.safetensors")

    found = load(tmp_path / "copy.safetensors")

    assert found.spec == model.spec
    assert found.identity == model.identity
    assert torch.equal(
        found.encode_text(TEXTS, truncate=True), model.encode_text(TEXTS, truncate=True)
    )
    assert pickle.loads(pickle.dumps(found)).identity == model.identity


def test_identity_depends_on_the_options_of_the_text_tower() -> None:
    spec = families_bert.LAION
    first, other = (native.to_json(each) for each in (spec, with_text(spec, pool="first")))

    assert first["architecture"]["text"]["kind"] == "bert"
    assert first != other


def with_text(spec: Spec, **change: Any) -> Spec:
    text = replace(spec.network.text, **change)
    return replace(spec, network=replace(spec.network, text=text))


def test_text_of_more_tokens_than_the_model_reads_is_rejected(model: zeroshot.Model) -> None:
    text = "dog " * 60

    with pytest.raises(TokenLimitError, match="the model reads"):
        model.encode_text(text)
    (row,) = model.tokenizer.rows([text], truncate=True)
    assert len(row) == model.spec.network.text.context_length


def test_chinese_texts_are_longer_in_positions_than_in_training(tmp_path: Path) -> None:
    text = load(write("chinese", tmp_path)).spec.network.text

    assert isinstance(text, BertConfig)
    assert (text.context_length, text.positions) == (52, 64)


def test_native_file_of_an_unknown_text_tower_is_rejected() -> None:
    document = native.to_json(families_bert.CHINESE_CLIP)
    document["architecture"]["text"]["kind"] = "gpt"

    with pytest.raises(
        IncompatibleWeights, match=r"text\.kind is 'gpt', expected one of clip, bert"
    ):
        native.from_json(Fields(document, "x.safetensors"))
