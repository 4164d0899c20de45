"""Arguments of a model in the types that callers have, or an error that says what to write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import zeroshot
from zeroshot.errors import InputError


def test_similarity_and_logits_accept_arrays(tiny: zeroshot.Model, photos: list[Path]) -> None:
    images, texts = tiny.encode_image(photos), tiny.encode_text(["a", "b"])
    arrays = images.cpu().numpy().astype(np.float64), texts.cpu().numpy()
    head = tiny.head(["a", "b"])

    torch.testing.assert_close(tiny.similarity(*arrays), tiny.similarity(images, texts).cpu())
    torch.testing.assert_close(head.logits(arrays[0]), head.logits(images))
    probabilities = head.probabilities(head.logits(images).cpu().numpy())
    torch.testing.assert_close(probabilities, head.probabilities(head.logits(images)))


@pytest.mark.parametrize("wrong", [np.ones((1, 3)), torch.ones(3), [1.0], "a cat", None])
def test_logits_reject_values_that_are_not_embeddings(tiny: zeroshot.Model, wrong: Any) -> None:
    with pytest.raises(InputError, match=r"embeddings as a tensor or an array \[n, 16\], got"):
        tiny.head(["a", "b"]).logits(wrong)


@pytest.mark.parametrize(
    "tokens",
    [
        torch.zeros(1, 77, dtype=torch.long),
        np.zeros((2, 77), np.int64),
        {"input_ids": torch.zeros(1, 7), "attention_mask": torch.ones(1, 7)},
    ],
)
def test_token_ids_instead_of_text_say_what_to_write(tiny: zeroshot.Model, tokens: Any) -> None:
    with pytest.raises(InputError, match=r"got token ids.*write encode_text\(\['a photo") as caught:
        tiny.encode_text(tokens)

    assert len(str(caught.value)) < 200


def test_an_array_of_text_is_text(tiny: zeroshot.Model) -> None:
    expected = tiny.encode_text(["a cat", "a dog"])

    for texts in (np.array(["a cat", "a dog"]), np.array(["a cat", "a dog"], dtype=object)):
        torch.testing.assert_close(tiny.encode_text(texts), expected)


def test_a_default_device_without_values_does_not_matter(
    tiny_path: Path, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = zeroshot.load(tiny_path, device="cpu").head(["meta one", "meta two"]).weight
    monkeypatch.setenv("ZEROSHOT_CACHE", "off")
    torch.set_default_device("meta")
    try:
        model = zeroshot.load(tiny_path, device="cpu")
        classifier = model.classifier(["meta one", "meta two"])
        torch.testing.assert_close(classifier.head.weight, expected)
        assert classifier(photos[0]).label in ("meta one", "meta two")
    finally:
        torch.set_default_device(None)


def test_numpy_integers_are_integers(
    tiny: zeroshot.Model, tiny_path: Path, photos: list[Path]
) -> None:
    two, classifier = np.int64(2), tiny.classifier(["a", "b", "c"])

    assert len(classifier(photos[0], top=two).ranking) == 2
    found = list(classifier.stream(photos, top=two, batch_size=two, workers=np.int8(1)))
    assert [each.label for each in found] == [each.label for each in classifier(photos)]
    torch.testing.assert_close(tiny.encode_image(photos, batch_size=two), tiny.encode_image(photos))
    torch.testing.assert_close(
        tiny.encode_text(["a", "b", "c"], batch_size=two), tiny.encode_text(["a", "b", "c"])
    )
    levels: Any = tuple(np.zeros(3, np.uint8))
    model = zeroshot.load(
        tiny_path,
        dtype="float32",
        image_size=np.int64(32),
        max_pixels=np.int64(9999),
        background=levels,
    )
    np.testing.assert_array_equal(model.prepare(photos[0]), tiny.prepare(photos[0]))
    tokenizer = zeroshot.ClipTokenizer(context_length=np.int64(9), merges=np.int64(99))
    assert tokenizer.decode(np.array(tokenizer.encode("a cat"))) == "a cat"


@pytest.mark.parametrize("wrong", [np.zeros((1, 2), complex), torch.eye(2).to_sparse(), "a", None])
def test_probabilities_reject_values_that_are_not_logits(tiny: zeroshot.Model, wrong: Any) -> None:
    with pytest.raises(InputError, match=r"logits as a tensor or an array \[n, 2\], got"):
        tiny.head(["a", "b"]).probabilities(wrong)


def test_a_revision_of_a_local_file_is_an_error(tiny_path: Path) -> None:
    with pytest.raises(InputError, match=r"revision='v1' selects a version on the Hub, but '"):
        zeroshot.load(tiny_path, revision="v1")


@pytest.mark.parametrize("dtype", [torch.float16, "float16", "bfloat16"])
def test_a_dtype_as_device_says_how_to_pass_it(tiny: zeroshot.Model, dtype: Any) -> None:
    with pytest.raises(InputError, match=r"pass it by name: dtype="):
        tiny.to(dtype)


def test_saving_under_another_suffix_is_rejected(tiny: zeroshot.Model, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a file that ends in \.safetensors, got .*m2\.pt"):
        tiny.save(tmp_path / "m2.pt")


@pytest.mark.parametrize("kind", ["head", "text"])
def test_saving_replaces_only_a_model_unless_forced(
    kind: str, tiny: zeroshot.Model, tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    tiny.head(["a", "b"]).save(path) if kind == "head" else path.write_text("notes")
    before = path.read_bytes()

    with pytest.raises(InputError, match=r"exists and was not written by Model\.save"):
        tiny.save(path)
    assert path.read_bytes() == before

    tiny.save(path, force=True)
    tiny.save(path, half=True)

    assert zeroshot.load(path).embed_dim == tiny.embed_dim
