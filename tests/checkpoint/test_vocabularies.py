"""The tokenizer file of a checkpoint: beside the weights, or inside the package's own file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import zeroshot
from tests.checkpoint import families, families_metaclip
from tests.tokenizers import training
from zeroshot.checkpoint import vocabularies
from zeroshot.checkpoint.layouts import native
from zeroshot.checkpoint.tensors import StoredTensor
from zeroshot.checkpoint.vocabularies import Vocabulary
from zeroshot.errors import IncompatibleWeights, UnsafeWeightsError, WeightsError
from zeroshot.spec import TokenizerConfig
from zeroshot.tokenizers import tokenizer_files
from zeroshot.weight_files import BYTE_BPE, TOKENIZERS

TEXTS = ["a photo of a Cat!", "a dog", "new_york", ""]


def load(path: Path) -> zeroshot.Model:
    return zeroshot.load(path, device="cpu", dtype="float32")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A SigLIP in the layout of transformers."""
    return families.write_transformers(tmp_path / "siglip")


def test_first_known_name_beside_the_weights_is_used(tmp_path: Path) -> None:
    for name in reversed(TOKENIZERS):
        (tmp_path / name).write_bytes(name.encode())

        found = vocabularies.find(tmp_path / "model.safetensors", {}, {})

        assert (found.name, found.read()) == (name, name.encode())


def write_byte_bpe(folder: Path) -> Path:
    """Write a model with RoBERTa's kind of tokenizer."""
    vocab, merges = training.train_byte_bpe()
    text = replace(families_metaclip.TEXT, vocab_size=700)
    config = TokenizerConfig(families_metaclip.LENGTH, "whitespace", start=0, end=2, pad=1)
    network = replace(families_metaclip.XLM_V.network, text=text)
    spec = replace(families_metaclip.XLM_V, network=network, tokenizer=config)
    families_metaclip.write_open_clip(folder, spec)
    path = folder / "open_clip_config.json"
    path.write_text(path.read_text().replace("facebook/xlm-v-base", "roberta-base"))
    (folder / "sentencepiece.bpe.model").unlink()
    (folder / "vocab.json").write_bytes(vocab)
    (folder / "merges.txt").write_bytes(merges)
    return folder


def test_tokenizer_of_two_files_is_stored_as_one(tmp_path: Path) -> None:
    model = load(write_byte_bpe(tmp_path / "two"))
    model.save(tmp_path / "saved.safetensors")

    found = load(tmp_path / "saved.safetensors")
    found.save(tmp_path / "again.safetensors")

    assert found.checkpoint.vocabulary is not None
    assert found.checkpoint.vocabulary.name == "tokenizer.json"
    rows = model.tokenizer.rows(TEXTS[1:])
    assert [(row[0], row[-1]) for row in rows] == [(0, 2)] * 3
    for each in (found, load(tmp_path / "again.safetensors")):
        assert each.identity == model.identity
        assert each.tokenizer.rows(TEXTS[1:]) == rows


@pytest.mark.parametrize("name", BYTE_BPE)
def test_one_of_two_files_is_not_enough(name: str, tmp_path: Path) -> None:
    folder = write_byte_bpe(tmp_path / "two")
    (folder / name).unlink()

    with pytest.raises(IncompatibleWeights, match=r"or vocab\.json and merges\.txt; download"):
        load(folder)


def test_any_other_tokenizer_file_precedes_two_files(tmp_path: Path) -> None:
    for name in (*BYTE_BPE, TOKENIZERS[-1]):
        (tmp_path / name).touch()

    found = vocabularies.find(tmp_path / "model.safetensors", {}, {})

    assert (found.name, found.stored_name) == (TOKENIZERS[-1], TOKENIZERS[-1])


def test_invalid_second_file_is_an_error_of_the_text(tmp_path: Path) -> None:
    folder = write_byte_bpe(tmp_path / "two")
    (folder / "merges.txt").write_bytes(b"x")
    model = load(folder)

    with pytest.raises(UnsafeWeightsError, match=r"merges\.txt has 'x' in line 1"):
        model.encode_text("a cat")
    with pytest.raises(UnsafeWeightsError, match=r"merges\.txt has 'x' in line 1"):
        model.save(tmp_path / "saved.safetensors")


def test_missing_file_is_an_error_with_the_known_names(folder: Path) -> None:
    (folder / "spiece.model").unlink()

    with pytest.raises(IncompatibleWeights, match="no tokenizer file beside model") as caught:
        load(folder)

    assert all(name in str(caught.value) for name in TOKENIZERS)


def test_file_is_read_when_a_text_is_encoded(folder: Path) -> None:
    (folder / "spiece.model").write_bytes(b"no model")
    model = load(folder)

    assert model.encode_pixels(torch.zeros(1, 3, 32, 32)).shape == (1, 48)
    with pytest.raises(UnsafeWeightsError, match=r"spiece\.model"):
        model.encode_text("a cat")


def test_file_of_another_model_with_more_ids_is_rejected(tmp_path: Path) -> None:
    spec = replace(
        families.SIGLIP,
        network=replace(
            families.SIGLIP.network,
            text=replace(families.SIGLIP_TEXT, vocab_size=100),
        ),
    )
    model = load(families.write_transformers(tmp_path / "small", spec))

    with pytest.raises(IncompatibleWeights, match="at most 100 ids, which the text tower reads"):
        model.encode_text("a cat")


@pytest.mark.parametrize("half", [False, True])
def test_saved_model_contains_the_file_and_the_bias(
    folder: Path, tmp_path: Path, half: bool
) -> None:
    model = load(folder)
    model.save(tmp_path / "saved.safetensors", half=half)

    found = load(tmp_path / "saved.safetensors")

    assert found.spec == model.spec
    assert (found.identity == model.identity) is not half
    assert found.logit_bias == model.logit_bias == pytest.approx(-3.5)
    assert found.scoring == "sigmoid"
    assert found.tokenizer.rows(TEXTS) == model.tokenizer.rows(TEXTS)
    expected = model.encode_text(TEXTS[:3])
    assert torch.allclose(found.encode_text(TEXTS[:3]), expected, atol=0.01 if half else 0)
    found.save(tmp_path / "again.safetensors")
    assert load(tmp_path / "again.safetensors").identity == found.identity


def test_file_of_clip_contains_no_tokenizer(tiny: zeroshot.Model, tmp_path: Path) -> None:
    tiny.save(tmp_path / "clip.safetensors")

    assert vocabularies.TENSOR not in load_file(tmp_path / "clip.safetensors")
    assert tiny.checkpoint.vocabulary is None


@pytest.mark.parametrize(
    ("tensor", "name", "what"),
    [
        (torch.zeros(9), "spiece.model", r"got torch\.float32 \(9,\) of 'spiece\.model'"),
        (torch.zeros(3, 3, dtype=torch.uint8), "spiece.model", r"got torch\.uint8 \(3, 3\)"),
        (torch.tensor(1, dtype=torch.uint8), "spiece.model", r"got torch\.uint8 \(\)"),
        (torch.zeros(9, dtype=torch.uint8), "../../etc/passwd", r"of '\.\./\.\./etc/passwd'"),
        (torch.zeros(9, dtype=torch.uint8), "x" * 9000, r"of 'xxx"),
        (torch.zeros(9, dtype=torch.uint8), None, r"of ''"),
    ],
)
def test_wrong_tensor_or_name_in_a_file_is_rejected(
    folder: Path, tmp_path: Path, tensor: torch.Tensor, name: str | None, what: str
) -> None:
    path = tmp_path / "hostile.safetensors"
    metadata = {native.METADATA_KEY: json.dumps(native.to_json(families.SIGLIP))}
    if name is not None:
        metadata[vocabularies.NAME_KEY] = name
    save_file(families.tensors_of(families.SIGLIP) | {"tokenizer": tensor}, path, metadata)

    with pytest.raises(IncompatibleWeights, match=what) as caught:
        load(path)

    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("content", [b"", b"\xff" * 50, b"\x0a\x80\x80\x80\x80\x08"])
def test_corrupted_content_in_a_file_is_an_error_of_the_text(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "hostile.safetensors"
    vocabulary = Vocabulary("spiece.model", path, content or b"\0")
    native.save(path, "x", families.SIGLIP, families.tensors_of(families.SIGLIP), vocabulary)

    with pytest.raises(UnsafeWeightsError, match=r"spiece\.model"):
        load(path).encode_text("a cat")


def test_tokenizer_in_a_file_of_clip_is_an_unexpected_tensor(tiny: Any, tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    tensors = tiny.checkpoint.weights.as_stored()
    native.save(path, "x", tiny.spec, tensors, Vocabulary("spiece.model", path, b"abc"))

    with pytest.raises(IncompatibleWeights, match="1 unexpected: tokenizer"):
        load(path)


def test_bytes_are_stored_as_they_are() -> None:
    content = bytes(range(256))
    tensor = vocabularies.to_tensor(Vocabulary("vocab.txt", Path("x"), content))
    stored = {vocabularies.TENSOR: StoredTensor((tensor,))}

    found = vocabularies.find(Path("x"), stored, {vocabularies.NAME_KEY: "vocab.txt"})

    assert (found.read(), found.name, stored) == (content, "vocab.txt", {})


@pytest.mark.parametrize("change", ["remove", "enlarge"])
def test_file_that_changed_after_loading_is_a_typed_error(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "spiece.model"
    path.write_bytes(b"x" * 20)
    found = vocabularies.find(tmp_path / "model.safetensors", {}, {})
    if change == "remove":
        path.unlink()
    else:
        monkeypatch.setitem(tokenizer_files.MAX_BYTES, ".model", 10)

    with pytest.raises(WeightsError, match=r"spiece\.model: (cannot read|expected a tokenizer of)"):
        found.read()
