from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import zeroshot
from tests.support import TINY_SIZE, photograph, tiny_spec, tiny_tensors
from zeroshot.checkpoint.layouts import native
from zeroshot.errors import ImageError, InputError, ModelNotFound, TokenLimitError
from zeroshot.head import Head

SENTENCES = ["a cat", "a photo of a dog on grass", "x", "", "a cat"]


def write(folder: Path, change: dict[str, Any] | None = None, **spec: Any) -> zeroshot.Model:
    """Write the tiny model with one thing changed, and load it."""
    from dataclasses import replace

    described = replace(tiny_spec(), **spec)
    path = folder / "changed.safetensors"
    native.save(path, "changed", described, tiny_tensors(described) | (change or {}))
    return zeroshot.load(path, device="cpu", dtype="float32")


# images


def test_one_image_is_a_vector_and_many_are_rows(tiny: zeroshot.Model, photos: list[Path]) -> None:
    one, many = tiny.encode_image(photos[0]), tiny.encode_image(photos)
    assert one.shape == (16,)
    assert many.shape == (7, 16)
    assert one.dtype == many.dtype == torch.float32
    torch.testing.assert_close(many[0], one, atol=1e-5, rtol=0)


def test_image_embeddings_have_unit_length_unless_told_otherwise(
    tiny: zeroshot.Model, photos: list[Path]
) -> None:
    raw = tiny.encode_image(photos, normalize=False)
    unit = tiny.encode_image(photos)
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(7))
    assert (raw.norm(dim=1) - 1).abs().min() > 0.01
    torch.testing.assert_close(unit, torch.nn.functional.normalize(raw, dim=1))


def test_different_images_have_different_embeddings(
    tiny: zeroshot.Model, photos: list[Path]
) -> None:
    cosines = tiny.similarity(tiny.encode_image(photos), tiny.encode_image(photos))
    assert (cosines - torch.eye(7) * 2).max() < 0.999


def test_no_images_give_no_rows(tiny: zeroshot.Model) -> None:
    assert tiny.encode_image([]).shape == (0, 16)
    assert tiny.encode_pixels(np.zeros((0, 3, TINY_SIZE, TINY_SIZE), np.float32)).shape == (0, 16)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_images_in_batches_of_any_size_are_the_same(
    tiny: zeroshot.Model, photos: list[Path], size: int
) -> None:
    torch.testing.assert_close(
        tiny.encode_image(iter(photos), batch_size=size),
        tiny.encode_image(photos),
        atol=1e-5,
        rtol=0,
    )


def test_every_input_kind_of_an_image_has_one_embedding(tiny: zeroshot.Model) -> None:
    photo = photograph()
    kinds: list[Any] = [
        photo,
        Image.fromarray(photo),
        photo.astype(np.float32) / 255,
        torch.tensor(photo.transpose(2, 0, 1)),
    ]
    for embedding in tiny.encode_image(kinds):
        torch.testing.assert_close(embedding, tiny.encode_image(photo), atol=1e-5, rtol=0)


def test_a_bad_image_among_many_is_named(tiny: zeroshot.Model, photos: list[Path]) -> None:
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
def test_pixels_of_another_shape_are_refused(tiny: zeroshot.Model, shape: tuple[int, ...]) -> None:
    with pytest.raises(
        InputError, match=r"expected pixels of shape \(n, 3, 32, 32\), got .*; use model\.prepare"
    ):
        tiny.encode_pixels(np.zeros(shape, np.float32))


# text


def test_one_text_is_a_vector_and_many_are_rows(tiny: zeroshot.Model) -> None:
    one, many = tiny.encode_text("a cat"), tiny.encode_text(SENTENCES)
    assert one.shape == (16,)
    assert many.shape == (5, 16)
    assert one.dtype == many.dtype == torch.float32
    torch.testing.assert_close(many[0], one, atol=1e-5, rtol=0)
    torch.testing.assert_close(many[0], many[4], atol=1e-5, rtol=0)


def test_text_embeddings_have_unit_length_unless_told_otherwise(tiny: zeroshot.Model) -> None:
    raw, unit = tiny.encode_text(SENTENCES, normalize=False), tiny.encode_text(SENTENCES)
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(5))
    assert (raw.norm(dim=1) - 1).abs().min() > 0.01
    torch.testing.assert_close(unit, torch.nn.functional.normalize(raw, dim=1))


def test_no_texts_give_no_rows(tiny: zeroshot.Model) -> None:
    assert tiny.encode_text([]).shape == (0, 16)


@pytest.mark.parametrize("size", [1, 2, 100])
def test_texts_in_batches_of_any_size_are_the_same_in_order(
    tiny: zeroshot.Model, size: int
) -> None:
    sentences = [f"a photo of {'very ' * (n * 7 % 11)}thing {n}" for n in range(23)]
    found = tiny.encode_text(sentences, batch_size=size)
    for row, sentence in zip(found, sentences, strict=True):
        torch.testing.assert_close(row, tiny.encode_text(sentence), atol=1e-5, rtol=0)


def test_text_equals_the_padded_reference(tiny: zeroshot.Model) -> None:
    """Cut or packed rows must give what OpenAI's full 77 places give."""
    with torch.inference_mode():
        wanted = tiny.network.text(torch.from_numpy(tiny.tokenizer(SENTENCES)))
    found = tiny.encode_text(SENTENCES, normalize=False)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_a_text_that_is_too_long_is_an_error_or_cut(tiny: zeroshot.Model) -> None:
    long = "cat " * 100
    with pytest.raises(TokenLimitError) as caught:
        tiny.encode_text(["a dog", long])
    assert caught.value.text == long
    cut = tiny.encode_text(["a dog", long], truncate=True)
    fits = len(tiny.tokenizer.rows([long], truncate=True)[0])
    assert fits == 77
    torch.testing.assert_close(cut[1], tiny.encode_text("cat " * 300, truncate=True))


@pytest.mark.parametrize("texts", [[5], [None], [b"cat"], ["a", 5]])
def test_what_is_no_text_is_refused(tiny: zeroshot.Model, texts: Any) -> None:
    with pytest.raises(InputError, match="expected text"):
        tiny.encode_text(texts)


# both


def test_similarity_is_the_cosine(tiny: zeroshot.Model, photos: list[Path]) -> None:
    images, texts = tiny.encode_image(photos), tiny.encode_text(SENTENCES)
    found = tiny.similarity(images * 3, texts * 0.1)
    assert found.shape == (7, 5)
    wanted = torch.nn.functional.cosine_similarity(images[:, None], texts[None], dim=2)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


def test_similarity_takes_single_embeddings(tiny: zeroshot.Model, photos: list[Path]) -> None:
    found = tiny.similarity(tiny.encode_image(photos[0]), tiny.encode_text("a cat"))
    assert found.shape == (1, 1)


def test_head_and_classifier_come_from_the_model(tiny: zeroshot.Model, photos: list[Path]) -> None:
    head = tiny.head(["a", "b"], "imagenet7")
    assert isinstance(head, Head)
    assert (head.model, head.logit_scale) == (tiny.identity, tiny.logit_scale)
    made, given = tiny.classifier(["a", "b"], "imagenet7"), tiny.classifier(head)
    np.testing.assert_array_equal(made.predict_proba(photos), given.predict_proba(photos))


@pytest.mark.parametrize("encode", ["encode_image", "encode_text"])
@pytest.mark.parametrize("many", [False, True])
def test_embeddings_can_be_trained_on(
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
        tiny.encode_image(photos).numpy(), [0, 1, 0, 1, 0, 1, 0]
    )
    assert probe.predict(tiny.encode_image(photos).numpy()).shape == (7,)


def test_the_facts_of_a_model(tiny: zeroshot.Model) -> None:
    assert repr(tiny) == "<Model tiny.safetensors 16-d on cpu, float32>"
    assert tiny.embed_dim == 16
    assert tiny.logit_scale == pytest.approx(np.exp(3.0))
    assert tiny.logit_bias is None
    assert (tiny.device, tiny.dtype) == (torch.device("cpu"), torch.float32)
    assert tiny.tokenizer.vocab_size == 512 + 2_000 + 2
    assert tiny.preprocess.size == TINY_SIZE


# precision


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
        torch.testing.assert_close(mine.norm(dim=1), torch.ones(len(mine)))


def test_back_in_single_precision_all_is_as_before(
    tiny: zeroshot.Model, photos: list[Path]
) -> None:
    back = tiny.to(dtype="bfloat16").to(dtype=torch.float32)
    torch.testing.assert_close(back.encode_image(photos), tiny.encode_image(photos))


def test_a_head_built_in_half_precision_fits_the_model(tiny: zeroshot.Model) -> None:
    tiny.classifier(tiny.to(dtype="bfloat16").head(["a", "b"]))


def test_loading_takes_device_and_dtype(tiny_path: Path) -> None:
    model = zeroshot.load(str(tiny_path), device=torch.device("cpu"), dtype="bfloat16")
    assert (model.device.type, model.dtype) == ("cpu", torch.bfloat16)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"device": "gpu"}, "unsupported device 'gpu'"),
        ({"device": "cuda"}, "no CUDA GPU"),
        ({"dtype": "int8"}, "dtype='int8'"),
        ({"dtype": "fp16"}, "choose one of"),
    ],
)
def test_impossible_devices_and_precisions_are_told(
    tiny_path: Path, options: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=says):
        zeroshot.load(tiny_path, **options)


# identity


def test_the_identity_is_the_same_each_time(tiny: zeroshot.Model, tmp_path: Path) -> None:
    assert write(tmp_path).identity == tiny.identity


def test_the_identity_does_not_depend_on_stored_precision_or_name(tmp_path: Path) -> None:
    halved = {k: v.half() for k, v in tiny_tensors(tiny_spec()).items()}
    widened = {k: v.float() for k, v in halved.items()}
    first, second = write(tmp_path, halved).identity, write(tmp_path, widened).identity
    assert first == second


@pytest.mark.parametrize(
    "name",
    [
        "logit_scale",
        "visual.proj",
        "text.text_projection",
        "visual.conv1.weight",
        "text.token_embedding.weight",
        "visual.ln_post.bias",
    ],
)
def test_the_identity_changes_with_a_weight(
    name: str, tiny: zeroshot.Model, tmp_path: Path
) -> None:
    tensor = tiny_tensors(tiny_spec())[name].clone()
    tensor.reshape(-1)[-1] += 0.01
    assert write(tmp_path, {name: tensor}).identity != tiny.identity


def changed_specs() -> Iterator[Any]:
    from dataclasses import replace

    spec = tiny_spec()
    network = spec.network
    vision = replace(network.vision, activation="gelu")  # type: ignore[type-var]
    yield pytest.param({"network": replace(network, vision=vision)}, id="image activation")
    text = replace(network.text, activation="gelu")
    yield pytest.param({"network": replace(network, text=text)}, id="text activation")
    text = replace(network.text, heads=4)
    yield pytest.param({"network": replace(network, text=text)}, id="heads")
    for change in (
        {"mean": (0.5, 0.5, 0.5)},
        {"resize_mode": "squash"},
        {"interpolation": "bilinear"},
    ):
        preprocess = replace(spec.preprocess, **change)  # type: ignore[arg-type]
        yield pytest.param({"preprocess": preprocess}, id=next(iter(change)))


@pytest.mark.parametrize("change", list(changed_specs()))
def test_the_identity_changes_with_activation_heads_and_preprocessing(
    change: dict[str, Any], tiny: zeroshot.Model, tmp_path: Path
) -> None:
    assert write(tmp_path, **change).identity != tiny.identity


def test_the_activation_changes_the_embeddings(
    tiny: zeroshot.Model, photos: list[Path], tmp_path: Path
) -> None:
    from dataclasses import replace

    network = tiny_spec().network
    vision = replace(network.vision, activation="gelu")  # type: ignore[type-var]
    other = write(tmp_path, network=replace(network, vision=vision))
    assert (other.encode_image(photos) - tiny.encode_image(photos)).abs().max() > 1e-4
    torch.testing.assert_close(other.encode_text(SENTENCES), tiny.encode_text(SENTENCES))


# loading


def test_paths_may_be_relative_and_strings(
    tiny: zeroshot.Model, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_path.parent)
    for name in ("tiny.safetensors", "./tiny.safetensors", ".", Path("tiny.safetensors")):
        assert zeroshot.load(name, device="cpu").identity == tiny.identity


@pytest.mark.parametrize("name", ["./none", "/none/at/all", Path("none"), "~/none.safetensors"])
def test_a_path_that_is_not_there_is_told(name: str | Path) -> None:
    with pytest.raises(ModelNotFound, match="no such file or folder"):
        zeroshot.load(name)


@pytest.mark.parametrize(
    ("name", "near"), [("ViT-B-33", "ViT-B/32"), ("vit b 32x", "ViT-B/32"), ("RN5O", "RN50")]
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ModelNotFound, match=f"did you mean '{near}'"):
        zeroshot.load(name, offline=True)


@pytest.mark.parametrize("name", [None, 5, b"ViT-B/32", ["ViT-B/32"]])
def test_what_is_no_name_is_refused(name: Any) -> None:
    with pytest.raises(InputError, match=type(name).__name__):
        zeroshot.load(name)


def test_available_models_are_names() -> None:
    names = zeroshot.available_models()
    assert "ViT-B/32" in names
    assert "mini" in names
    assert len(names) == len(set(names))


def test_use_warns_of_nothing(tiny_path: Path, photos: list[Path]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = zeroshot.load(tiny_path, device="cpu")
        model.classifier(["a", "b"])(photos)


@pytest.mark.parametrize("pixels", [np.zeros((1, 3, 32, 32), np.uint8), "x", None, [[1], [1, 2]]])
def test_pixels_that_are_not_normalised_numbers_are_refused(
    tiny: zeroshot.Model, pixels: Any
) -> None:
    with pytest.raises(zeroshot.errors.InputError):
        tiny.encode_pixels(pixels)


def test_pixels_may_lie_in_memory_as_they_like(tiny: zeroshot.Model, photo: Any) -> None:
    pixels = np.stack([tiny.prepare(photo)] * 2)
    wanted = tiny.encode_pixels(pixels)
    frozen = pixels.copy()
    frozen.flags.writeable = False

    for odd in (frozen, pixels[::-1], pixels.astype(">f4")):
        assert torch.equal(tiny.encode_pixels(odd), wanted)


@pytest.mark.parametrize("size", ["2", 2.5, 0, -1])
def test_a_batch_size_that_is_none_is_refused(tiny: zeroshot.Model, photo: Any, size: Any) -> None:
    with pytest.raises(zeroshot.errors.InputError, match="must be an integer"):
        tiny.encode_image([photo], batch_size=size)


# what users pass by mistake


@pytest.mark.parametrize("name", ["nofile.pt", "weights/none.safetensors"])
def test_a_weights_file_that_is_not_there_is_no_unknown_name(name: str) -> None:
    with pytest.raises(ModelNotFound, match=r"no such file \(working folder"):
        zeroshot.load(name)


def test_an_empty_name_is_not_the_working_folder() -> None:
    with pytest.raises(InputError, match="name is empty"):
        zeroshot.load("")


@pytest.mark.parametrize("wrong", [torch.zeros(2, 3), "a cat", [1.0]])
def test_similarity_of_what_is_no_embedding_says_what_is_wanted(
    tiny: zeroshot.Model, wrong: Any
) -> None:
    right = torch.zeros(2, 16)
    with pytest.raises(InputError, match=r"expected images to be embeddings \[n, 16\]"):
        tiny.similarity(wrong, right)
    with pytest.raises(InputError, match=r"expected texts to be embeddings \[n, 16\]"):
        tiny.similarity(right, wrong)
