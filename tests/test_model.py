"""A model embeds images and sentences, one or many, in any batch size."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import zeroshot
from tests.devices import CHOICE, DEVICE
from tests.support import TINY_SIZE, photograph, tiny_spec, tiny_tensors
from zeroshot.checkpoint.layouts import native
from zeroshot.errors import ImageError, IncompatibleWeights, InputError, SaveError, TokenLimitError
from zeroshot.head import Head

SENTENCES = ["a cat", "a photo of a dog on grass", "x", "", "a cat"]


def write(folder: Path, change: dict[str, Any] | None = None, **spec: Any) -> zeroshot.Model:
    """Write the tiny model with one change, and load it."""
    from dataclasses import replace

    described = replace(tiny_spec(), **spec)
    path = folder / "changed.safetensors"
    native.save(path, "changed", described, tiny_tensors(described) | (change or {}))
    return zeroshot.load(path, device="cpu", dtype="float32")


def test_one_image_is_a_vector_and_many_are_rows(tiny: zeroshot.Model, photos: list[Path]) -> None:
    one, many = tiny.encode_image(photos[0]), tiny.encode_image(photos)
    assert one.shape == (16,)
    assert many.shape == (7, 16)
    assert one.dtype == many.dtype == torch.float32
    torch.testing.assert_close(many[0], one, atol=1e-5, rtol=0)


def test_image_embeddings_have_unit_length_by_default(
    tiny: zeroshot.Model, photos: list[Path]
) -> None:
    raw = tiny.encode_image(photos, normalize=False)
    unit = tiny.encode_image(photos)
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(7, device=unit.device))
    assert (raw.norm(dim=1) - 1).abs().min() > 0.01
    torch.testing.assert_close(unit, torch.nn.functional.normalize(raw, dim=1))


def test_different_images_have_different_embeddings(
    tiny: zeroshot.Model, photos: list[Path]
) -> None:
    cosines = tiny.similarity(tiny.encode_image(photos), tiny.encode_image(photos))
    assert (cosines.cpu() - torch.eye(7) * 2).max() < 0.999


def test_no_images_give_no_rows(tiny: zeroshot.Model) -> None:
    assert tiny.encode_image([]).shape == (0, 16)
    assert tiny.encode_pixels(np.zeros((0, 3, TINY_SIZE, TINY_SIZE), np.float32)).shape == (0, 16)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_batch_size_does_not_change_image_embeddings(
    tiny: zeroshot.Model, photos: list[Path], size: int
) -> None:
    torch.testing.assert_close(
        tiny.encode_image(iter(photos), batch_size=size),
        tiny.encode_image(photos),
        atol=1e-5,
        rtol=0,
    )


def test_every_input_kind_of_an_image_gives_the_same_embedding(tiny: zeroshot.Model) -> None:
    photo = photograph()
    kinds: list[Any] = [
        photo,
        Image.fromarray(photo),
        photo.astype(np.float32) / 255,
        torch.tensor(photo.transpose(2, 0, 1)),
    ]
    for embedding in tiny.encode_image(kinds):
        torch.testing.assert_close(embedding, tiny.encode_image(photo), atol=1e-5, rtol=0)


def test_an_unreadable_image_among_many_is_named(tiny: zeroshot.Model, photos: list[Path]) -> None:
    with pytest.raises(ImageError) as caught:
        tiny.encode_image([*photos, "missing.jpg"])
    assert caught.value.source == "missing.jpg"


def test_pixels_are_prepared_and_encoded_in_two_steps(
    tiny: zeroshot.Model, photos: list[Path]
) -> None:
    pixels = np.stack([tiny.prepare(path) for path in photos])
    assert pixels.shape == (7, 3, TINY_SIZE, TINY_SIZE)
    assert pixels.dtype == np.float32
    wanted = tiny.encode_image(photos)
    torch.testing.assert_close(tiny.encode_pixels(pixels), wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        tiny.encode_pixels(torch.from_numpy(pixels)), wanted, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(
    "shape", [(3, 32, 32), (1, 3, 31, 32), (1, 1, 32, 32), (1, 32, 32, 3), (2, 3, 224, 224)]
)
def test_pixels_of_another_shape_are_rejected(tiny: zeroshot.Model, shape: tuple[int, ...]) -> None:
    with pytest.raises(
        InputError, match=r"expected pixels of shape \(n, 3, 32, 32\), got .*; use model\.prepare"
    ):
        tiny.encode_pixels(np.zeros(shape, np.float32))


def test_one_text_is_a_vector_and_many_are_rows(tiny: zeroshot.Model) -> None:
    one, many = tiny.encode_text("a cat"), tiny.encode_text(SENTENCES)
    assert one.shape == (16,)
    assert many.shape == (5, 16)
    assert one.dtype == many.dtype == torch.float32
    torch.testing.assert_close(many[0], one, atol=1e-5, rtol=0)
    torch.testing.assert_close(many[0], many[4], atol=1e-5, rtol=0)


def test_text_embeddings_have_unit_length_by_default(tiny: zeroshot.Model) -> None:
    raw, unit = tiny.encode_text(SENTENCES, normalize=False), tiny.encode_text(SENTENCES)
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(5, device=unit.device))
    assert (raw.norm(dim=1) - 1).abs().min() > 0.01
    torch.testing.assert_close(unit, torch.nn.functional.normalize(raw, dim=1))


def test_no_texts_give_no_rows(tiny: zeroshot.Model) -> None:
    assert tiny.encode_text([]).shape == (0, 16)


@pytest.mark.parametrize("size", [1, 2, 100])
def test_batch_size_does_not_change_text_embeddings(tiny: zeroshot.Model, size: int) -> None:
    sentences = [f"a photo of {'very ' * (n * 7 % 11)}thing {n}" for n in range(23)]
    found = tiny.encode_text(sentences, batch_size=size)
    for row, sentence in zip(found, sentences, strict=True):
        torch.testing.assert_close(row, tiny.encode_text(sentence), atol=1e-5, rtol=0)


def test_text_embeddings_equal_the_padded_reference(tiny: zeroshot.Model) -> None:
    """Shortened or packed rows must equal rows padded to 77 tokens."""
    with torch.inference_mode():
        wanted = tiny.network.text(torch.from_numpy(tiny.tokenizer(SENTENCES)))
    found = tiny.encode_text(SENTENCES, normalize=False)
    torch.testing.assert_close(found.cpu(), wanted, atol=1e-4, rtol=1e-4)


def test_a_text_over_the_token_limit_is_rejected_or_truncated(tiny: zeroshot.Model) -> None:
    long = "cat " * 100
    with pytest.raises(TokenLimitError) as caught:
        tiny.encode_text(["a dog", long])
    assert caught.value.text == long
    cut = tiny.encode_text(["a dog", long], truncate=True)
    fits = len(tiny.tokenizer.rows([long], truncate=True)[0])
    assert fits == 77
    torch.testing.assert_close(cut[1], tiny.encode_text("cat " * 300, truncate=True))


@pytest.mark.parametrize("texts", [[5], [None], [b"cat"], ["a", 5]])
def test_inputs_that_are_not_text_are_rejected(tiny: zeroshot.Model, texts: Any) -> None:
    with pytest.raises(InputError, match="expected text"):
        tiny.encode_text(texts)


def test_similarity_is_the_cosine_similarity(tiny: zeroshot.Model, photos: list[Path]) -> None:
    images, texts = tiny.encode_image(photos), tiny.encode_text(SENTENCES)
    found = tiny.similarity(images * 3, texts * 0.1)
    assert found.shape == (7, 5)
    wanted = torch.nn.functional.cosine_similarity(images[:, None], texts[None], dim=2)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


def test_similarity_accepts_single_embeddings(tiny: zeroshot.Model, photos: list[Path]) -> None:
    found = tiny.similarity(tiny.encode_image(photos[0]), tiny.encode_text("a cat"))
    assert found.shape == (1, 1)


def test_head_and_classifier_are_built_from_the_model(
    tiny: zeroshot.Model, photos: list[Path]
) -> None:
    head = tiny.head(["a", "b"], "imagenet7")
    assert isinstance(head, Head)
    assert (head.model, head.logit_scale) == (tiny.identity, tiny.logit_scale)
    made, given = tiny.classifier(["a", "b"], "imagenet7"), tiny.classifier(head)
    np.testing.assert_array_equal(made.predict_proba(photos), given.predict_proba(photos))


@pytest.mark.parametrize("encode", ["encode_image", "encode_text"])
@pytest.mark.parametrize("many", [False, True])
def test_embeddings_are_not_inference_tensors(
    tiny: zeroshot.Model, photos: list[Path], encode: str, many: bool
) -> None:
    """A linear probe in torch needs ordinary tensors: autograd refuses inference tensors."""
    inputs: Any = photos if encode == "encode_image" else SENTENCES
    embeddings = getattr(tiny, encode)(inputs if many else inputs[0])
    assert not embeddings.requires_grad
    assert not embeddings.is_inference()


def test_embeddings_feed_a_linear_probe(tiny: zeroshot.Model, photos: list[Path]) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    probe = linear_model.LogisticRegression(C=100).fit(
        tiny.encode_image(photos).cpu().numpy(), [0, 1, 0, 1, 0, 1, 0]
    )
    assert probe.predict(tiny.encode_image(photos).cpu().numpy()).shape == (7,)


def test_properties_of_a_model(tiny: zeroshot.Model) -> None:
    assert repr(tiny) == f"<Model tiny.safetensors 16-d on {DEVICE}, float32>"
    assert tiny.embed_dim == 16
    assert tiny.logit_scale == pytest.approx(np.exp(3.0))
    assert tiny.logit_bias is None
    assert (tiny.device, tiny.dtype) == (torch.device(DEVICE), torch.float32)
    assert tiny.tokenizer.vocab_size == 512 + 2_000 + 2
    assert tiny.preprocess.size == TINY_SIZE


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 0.06), ("float16", 0.01)])
def test_half_precision_is_close_and_returns_float32(
    tiny: zeroshot.Model, photos: list[Path], dtype: str, tolerance: float
) -> None:
    half = tiny.to(dtype=dtype)
    assert str(half.dtype) == f"torch.{dtype}"
    assert tiny.dtype == torch.float32
    assert half.identity == tiny.identity
    for mine, other in (
        (half.encode_image(photos), tiny.encode_image(photos)),
        (half.encode_text(SENTENCES), tiny.encode_text(SENTENCES)),
    ):
        assert mine.dtype == torch.float32
        assert (mine - other).abs().max() < tolerance
        torch.testing.assert_close(mine.norm(dim=1).cpu(), torch.ones(len(mine)))


def test_converting_back_to_float32_restores_the_embeddings(
    tiny: zeroshot.Model, photos: list[Path]
) -> None:
    back = tiny.to(dtype="bfloat16").to(dtype=torch.float32)
    torch.testing.assert_close(back.encode_image(photos), tiny.encode_image(photos))


def test_a_head_built_in_half_precision_works_with_the_float32_model(tiny: zeroshot.Model) -> None:
    tiny.classifier(tiny.to(dtype="bfloat16").head(["a", "b"]))


def test_the_activation_changes_the_embeddings(
    tiny: zeroshot.Model, photos: list[Path], tmp_path: Path
) -> None:
    from dataclasses import replace

    network = tiny_spec().network
    vision = replace(network.vision, activation="gelu")  # type: ignore[type-var]
    other = write(tmp_path, network=replace(network, vision=vision)).to(tiny.device, "float32")
    assert (other.encode_image(photos) - tiny.encode_image(photos)).abs().max() > 1e-4
    torch.testing.assert_close(other.encode_text(SENTENCES), tiny.encode_text(SENTENCES))


@pytest.mark.parametrize("pixels", [np.zeros((1, 3, 32, 32), np.uint8), "x", None, [[1], [1, 2]]])
def test_pixels_that_are_not_floating_point_are_rejected(tiny: zeroshot.Model, pixels: Any) -> None:
    with pytest.raises(zeroshot.errors.InputError):
        tiny.encode_pixels(pixels)


def test_pixels_of_any_memory_layout_are_accepted(tiny: zeroshot.Model, photo: Any) -> None:
    pixels = np.stack([tiny.prepare(photo)] * 2)
    wanted = tiny.encode_pixels(pixels)
    frozen = pixels.copy()
    frozen.flags.writeable = False

    for odd in (frozen, pixels[::-1], pixels.astype(">f4")):
        assert torch.equal(tiny.encode_pixels(odd), wanted)


@pytest.mark.parametrize("size", ["2", 2.5, 0, -1])
def test_an_invalid_batch_size_is_rejected(tiny: zeroshot.Model, photo: Any, size: Any) -> None:
    with pytest.raises(zeroshot.errors.InputError, match="must be an integer"):
        tiny.encode_image([photo], batch_size=size)


@pytest.mark.parametrize("wrong", [torch.zeros(2, 3), "a cat", [1.0]])
def test_similarity_rejects_values_that_are_not_embeddings(
    tiny: zeroshot.Model, wrong: Any
) -> None:
    right = torch.zeros(2, 16)
    with pytest.raises(InputError, match=r"expected images as a tensor .* \[n, 16\], got"):
        tiny.similarity(wrong, right)
    with pytest.raises(InputError, match=r"expected texts as a tensor .* \[n, 16\], got"):
        tiny.similarity(right, wrong)


# properties and files


@pytest.mark.parametrize(
    "name",
    [
        *("checkpoint", "device", "dtype", "embed_dim", "logit_bias", "name", "network"),
        *("preprocess", "scoring", "spec", "tokenizer"),
    ],
)
def test_properties_of_a_model_are_read_only(tiny: zeroshot.Model, name: str) -> None:
    value = getattr(tiny, name)

    with pytest.raises(AttributeError):
        setattr(tiny, name, value)

    assert getattr(tiny, name) is value or getattr(tiny, name) == value


@pytest.mark.parametrize("part", ["spec", "preprocess"])
def test_fields_of_spec_and_preprocess_are_read_only(tiny: zeroshot.Model, part: str) -> None:
    with pytest.raises(FrozenInstanceError):
        getattr(tiny, part).size = 5


@pytest.mark.parametrize("half", [False, True])
def test_a_saved_model_keeps_identity_and_embeddings(
    tiny: zeroshot.Model, photos: list[Path], tmp_path: Path, half: bool
) -> None:
    path = tmp_path / "saved.safetensors"

    tiny.save(path, half=half)

    found = zeroshot.load(path, device=DEVICE, dtype="float32")
    assert (found.spec, found.name) == (tiny.spec, "saved.safetensors")
    assert (found.identity == tiny.identity) is not half  # float32 weights are rounded
    embeddings = found.encode_image(photos).cpu(), tiny.encode_image(photos).cpu()
    np.testing.assert_allclose(*embeddings, atol=5e-3 if half else 0)
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["saved.safetensors"]


def test_a_model_with_nan_weights_is_not_saved(tmp_path: Path) -> None:
    projection = tiny_tensors(tiny_spec())["visual.proj"].clone()
    projection[0, 0] = float("nan")

    with pytest.raises(IncompatibleWeights):
        write(tmp_path, {"visual.proj": projection}).save(tmp_path / "saved.safetensors")

    assert not (tmp_path / "saved.safetensors").exists()


def test_saving_into_a_missing_folder_is_an_error(tiny: zeroshot.Model, tmp_path: Path) -> None:
    with pytest.raises(SaveError, match=r"m\.safetensors: cannot write the file \(no such folder"):
        tiny.save(tmp_path / "absent" / "m.safetensors")


@pytest.mark.skipif(CHOICE == "simulated", reason="a simulated GPU has no autocast")
def test_a_callers_autocast_does_not_round_similarities(tiny: zeroshot.Model) -> None:
    texts = tiny.encode_text(["a cat", "a dog"])

    with torch.autocast(tiny.device.type, dtype=torch.bfloat16):
        found = tiny.similarity(texts, texts)

    assert found.dtype == torch.float32
    assert torch.allclose(found.diagonal().cpu(), torch.ones(2), atol=1e-6)


def test_a_resized_half_precision_model_keeps_its_identity_when_saved(
    tiny: zeroshot.Model, tmp_path: Path
) -> None:
    tiny.save(tmp_path / "half.safetensors", half=True)
    resized = zeroshot.load(tmp_path / "half.safetensors", image_size=48)

    resized.save(tmp_path / "resized.safetensors")

    assert zeroshot.load(tmp_path / "resized.safetensors").identity == resized.identity
