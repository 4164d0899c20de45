"""CLIPA: the mean of the patches, texts that are read at their last place, BERT's word pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import zeroshot
from tests.checkpoint import families_clipa as clipa
from tests.checkpoint.support import changed
from tests.support import photograph
from zeroshot.checkpoint.layouts import open_clip
from zeroshot.errors import IncompatibleWeights

TEXTS = ["a photo of the cats", "two dogs, asleep", "Rivering", "x", "", "river " * 30]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> zeroshot.Model:
    folder = clipa.write(tmp_path_factory.mktemp("clipa"))
    return zeroshot.load(folder, device="cpu", dtype="float32")


def test_config_gives_the_spec(model: zeroshot.Model) -> None:
    assert model.spec == clipa.CLIPA


def test_rows_end_with_padding_instead_of_the_end_token(model: zeroshot.Model) -> None:
    rows = model.tokenizer.rows(TEXTS, truncate=True)
    names = clipa.vocabulary().decode().split("\n")

    assert {len(row) for row in rows} == {clipa.LENGTH}
    assert not any(102 in row for row in rows)
    assert {row[0] for row in rows} == {clipa.START}
    assert [names[i] for i in rows[0][1:7]] == ["a", "photo", "of", "the", "cat", "##s"]
    assert [names[i] for i in rows[2][1:4]] == ["river", "##ing", "[PAD]"]
    assert rows[0][7:] == [0] * 5
    assert rows[5] == [clipa.START, *[names.index("river")] * (clipa.LENGTH - 2), clipa.END]


def test_texts_are_read_at_their_last_place_without_a_mask(model: zeroshot.Model) -> None:
    ids = torch.from_numpy(model.tokenizer(TEXTS, truncate=True))
    tower = model.network.text
    x = tower.token_embedding(ids) + tower.positional_embedding
    x = tower.ln_final(tower.transformer(x))[:, -1] @ tower.text_projection
    expected = F.normalize(x, dim=1)

    found = model.encode_text(TEXTS, truncate=True)

    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert float((found - found.roll(1, 0)).norm(dim=1).min()) > 0.02


def test_image_is_the_norm_of_the_mean_of_its_patches(model: zeroshot.Model) -> None:
    images = [photograph(40 + n, 50, n) for n in range(3)]
    pixels = torch.stack([torch.from_numpy(model.prepare(image)) for image in images])
    tower = model.network.visual
    x = tower.conv1(pixels).flatten(2).transpose(1, 2)
    x = torch.cat([tower.class_embedding.expand(3, 1, -1), x], dim=1) + tower.positional_embedding
    x = tower.ln_post(tower.transformer(x)[:, 1:].mean(dim=1)) @ tower.proj
    expected = F.normalize(x, dim=1)

    found = model.encode_image(images)

    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert float((found - found.roll(1, 0)).norm(dim=1).min()) > 0.02


def test_saved_model_has_its_tokenizer(model: zeroshot.Model, tmp_path: Path) -> None:
    model.save(tmp_path / "saved.safetensors")

    saved = zeroshot.load(tmp_path / "saved.safetensors", device="cpu", dtype="float32")

    assert saved.identity == model.identity
    found = saved.encode_text(TEXTS, truncate=True)
    expected = model.encode_text(TEXTS, truncate=True)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("no_causal_mask", False, "text pool is 'last', expected 'largest' or 'end' for a causal"),
        ("pool_type", "argmax", "pool_type is 'argmax', expected 'eos' or 'last'"),
        ("hf_tokenizer_name", None, "strip_sep_token is True, expected false with CLIP's"),
        ("hf_tokenizer_name", "bert-base-german", "hf_tokenizer_name is 'bert-base-german'"),
    ],
)
def test_unsupported_value_is_rejected(field: str, value: Any, expected: str) -> None:
    with pytest.raises(IncompatibleWeights, match=expected):
        open_clip.from_config(changed(clipa.config(), f"model_cfg.text_cfg.{field}", value))
