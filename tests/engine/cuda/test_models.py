"""A whole model on the CUDA backend, simulated: the same answers through the same interface."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import zeroshot
from tests.checkpoint import families_naflex
from tests.support import photograph
from zeroshot.embedding import embed
from zeroshot.engine import runner
from zeroshot.engine.backend import Levels
from zeroshot.engine.cuda.backend import CudaBackend
from zeroshot.errors import ImageError, InputError
from zeroshot.windows import WindowEncoder

EXACT = 1e-5


@pytest.fixture
def model(tiny_path: Path, device: torch.device, monkeypatch: pytest.MonkeyPatch) -> zeroshot.Model:
    """The tiny model on the CUDA backend."""
    monkeypatch.setitem(runner.BACKENDS, "cpu", CudaBackend)
    found = zeroshot.load(tiny_path, device=device, dtype="float32")
    assert isinstance(found._engine.backend, CudaBackend)
    return found


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one.cpu() - other.cpu()).norm(dim=-1).max())


def test_embeddings_are_those_of_the_cpu(
    model: zeroshot.Model, tiny: zeroshot.Model, photos: list[Path]
) -> None:
    expected = tiny.encode_image(photos)

    assert distance(model.encode_image(photos), expected) < EXACT
    assert distance(model.encode_image(photos, batch_size=2), expected) < EXACT
    assert distance(model.encode_image(photos[0])[None], expected[:1]) < EXACT
    assert float((expected - expected.roll(1, 0)).norm(dim=1).min()) > 0.01
    texts = ["a cat", "a photo of a dog", "a cat"]
    assert distance(model.encode_text(texts), tiny.encode_text(texts)) < EXACT


@pytest.fixture
def uploaded(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """The dtypes of what was copied to the device."""
    seen: list[torch.dtype] = []
    upload = CudaBackend._upload

    def watched(self: CudaBackend, rows: object) -> torch.Tensor:
        found = upload(self, rows)  # type: ignore[arg-type]
        seen.append(found.dtype)
        return found

    monkeypatch.setattr(CudaBackend, "_upload", watched)
    return seen


def test_images_reach_the_device_as_gray_levels(
    model: zeroshot.Model, photos: list[Path], uploaded: list[torch.dtype]
) -> None:
    model.encode_image(photos)
    model.encode_image(photos[0])

    assert uploaded == [torch.uint8, torch.uint8]


def test_public_interface_keeps_float32_pixels(
    model: zeroshot.Model, tiny: zeroshot.Model, photos: list[Path]
) -> None:
    pixels = np.stack([model.prepare(path) for path in photos])

    assert pixels.dtype == np.float32
    assert np.array_equal(pixels, np.stack([tiny.prepare(path) for path in photos]))
    assert distance(model.encode_pixels(pixels), tiny.encode_image(photos)) < EXACT


def test_levels_are_refused_by_the_public_interface(model: zeroshot.Model) -> None:
    size = model.preprocess.size

    with pytest.raises(InputError, match="floating-point dtype"):
        model.encode_pixels(np.zeros((1, 3, size, size), np.uint8))


def test_stream_of_a_classifier_reports_bad_images_at_their_position(
    model: zeroshot.Model, tiny: zeroshot.Model, photos: list[Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    images = [*photos[:3], bad, *photos[3:]]
    labels = ["cat", "dog", "car"]

    found = list(model.classifier(labels).stream(images, on_error="yield", batch_size=2))

    expected = list(tiny.classifier(labels).stream(images, on_error="yield"))
    assert [type(each) for each in found] == [type(each) for each in expected]
    good = [n for n in range(len(images)) if n != 3]
    assert [found[n].label for n in good] == [expected[n].label for n in good]
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        model.encode_image(images)


class Wrapper:
    """An encoder with a method of its own; the others are those of a model."""

    def __init__(self, model: zeroshot.Model, **methods: Any) -> None:
        self.model = model
        vars(self).update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)


@pytest.mark.parametrize("windows", [False, True])
def test_wrapper_that_embeds_itself_gets_pixels(
    model: zeroshot.Model, photos: list[Path], windows: bool
) -> None:
    given: list[Any] = []

    def encode_pixels(pixels: Any, **options: Any) -> torch.Tensor:
        given.append(pixels.dtype)
        return model.encode_pixels(pixels, **options)

    wrapper: Any = Wrapper(model, encode_pixels=encode_pixels)
    list(embed(WindowEncoder(wrapper) if windows else wrapper, photos))

    assert set(given) == {np.dtype("float32")}


@pytest.mark.parametrize("replace", ["in a wrapper", "in a subclass", "in the model"])
def test_images_are_prepared_by_a_replaced_method(
    model: zeroshot.Model, photos: list[Path], replace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    encoder: Any = model

    def prepare(image: Any) -> Any:
        seen.append(image)
        return zeroshot.Model.prepare(model, image)

    if replace == "in a wrapper":
        encoder = Wrapper(model, prepare=prepare)
    elif replace == "in a subclass":
        methods = {"prepare": lambda _, image: prepare(image)}
        monkeypatch.setattr(model, "__class__", type("Subclass", (zeroshot.Model,), methods))
    else:
        monkeypatch.setattr(model, "prepare", prepare, raising=False)
    list(embed(encoder, photos, workers=0))

    assert seen == photos


def test_parts_of_images_are_embedded_as_gray_levels_too(
    model: zeroshot.Model, tiny: zeroshot.Model, photos: list[Path], uploaded: list[torch.dtype]
) -> None:
    classifier = model.classifier(["cat", "dog"], scores="independent")
    uploaded.clear()
    found = classifier(photos)
    assert set(uploaded) == {torch.uint8}
    expected = tiny.classifier(["cat", "dog"], scores="independent")(photos)

    for one, other in zip(found, expected, strict=True):
        assert one.label == other.label
        assert one.probability == pytest.approx(other.probability, abs=1e-5)


def test_images_of_any_grid_keep_the_plain_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = families_naflex.write_transformers(tmp_path / "tiny")
    sizes = ((50, 40), (40, 50), (90, 30), (1, 90), (50, 40))
    images = [photograph(*size, seed) for seed, size in enumerate(sizes)]
    expected = zeroshot.load(folder, device="cpu", dtype="float32").encode_image(images)
    monkeypatch.setitem(runner.BACKENDS, "cpu", CudaBackend)

    model = zeroshot.load(folder, device="cpu", dtype="float32")

    assert not isinstance(model._load(images[0]), Levels)
    assert distance(model.encode_image(images), expected) < EXACT
    assert distance(model.encode_image(images[0])[None], expected[:1]) < EXACT


def test_head_of_many_prompts_is_that_of_the_cpu(
    model: zeroshot.Model, tiny: zeroshot.Model
) -> None:
    labels = {f"label {n}": [f"thing {n}", f"a long name of the thing {n}"] for n in range(40)}

    found, expected = (each.head(labels, "photo").weight for each in (model, tiny))

    assert distance(found, expected) < EXACT
