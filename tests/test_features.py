"""Features before the projection: `encode_image(project=False)`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import zeroshot
from tests.engine.support import RESNET, network_of
from tests.support import photograph
from zeroshot.checkpoint.layouts import native
from zeroshot.errors import ImageError, InputError, NonFiniteError
from zeroshot.spec import PreprocessConfig, Spec

IMAGES: list[Any] = [photograph(50 + 7 * n, 60, seed=n) for n in range(11)]
WIDTHS = {"vit": 32, "resnet": 512, "mini": 1280}
CLOSE = 2e-5  # of a row's length, float32


@pytest.fixture(scope="module")
def models(
    tiny: zeroshot.Model, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, zeroshot.Model]:
    path = tmp_path_factory.mktemp("resnet") / "resnet.safetensors"
    spec = Spec(RESNET, PreprocessConfig(64), RESNET.text.vocab_size - 514)
    native.save(path, "resnet", spec, dict(network_of(RESNET).state_dict()))
    return {
        "vit": tiny,
        "resnet": zeroshot.load(path, device="cpu", dtype="float32"),
        "mini": zeroshot.load("mini", device="cpu", dtype="float32"),
    }


@pytest.fixture(params=WIDTHS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model(kind: str, models: dict[str, zeroshot.Model]) -> zeroshot.Model:
    return models[kind]


def seen_by_the_projection(model: zeroshot.Model, kind: str) -> torch.Tensor:
    """Run the plain network, and return what its last linear map receives."""
    seen: list[torch.Tensor] = []
    visual: Any = model.network.visual
    if kind == "vit":  # the map is a matrix without a module
        hook = visual.ln_post.register_forward_hook(lambda *call: seen.append(call[2]))
    else:
        last = visual.attnpool.c_proj if kind == "resnet" else visual.classifier.classifier
        hook = last.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    pixels = torch.from_numpy(np.stack([model.prepare(image) for image in IMAGES]))
    with torch.inference_mode():
        visual(pixels)
    hook.remove()
    return seen[0]


def far(found: torch.Tensor, expected: torch.Tensor) -> float:
    found, expected = found.cpu(), expected.cpu()
    return float(((found - expected).norm(dim=1) / expected.norm(dim=1)).max())


def test_features_are_what_the_last_linear_map_of_the_plain_network_receives(
    model: zeroshot.Model, kind: str
) -> None:
    expected = seen_by_the_projection(model, kind)

    found = model.encode_image(IMAGES, project=False)

    assert found.shape == (len(IMAGES), WIDTHS[kind])
    assert found.dtype == torch.float32
    assert far(expected, expected.roll(1, 0)) > 0.01  # the images differ
    assert far(found, expected) < CLOSE


def test_projected_features_are_the_embeddings(model: zeroshot.Model) -> None:
    visual: Any = model.network.visual

    features = model.encode_image(IMAGES, project=False)

    assert far(visual.project(features.cpu()), model.encode_image(IMAGES, normalize=False)) < CLOSE


def test_features_have_unit_length_only_on_request(model: zeroshot.Model) -> None:
    raw = model.encode_image(IMAGES, project=False)

    assert float((raw.norm(dim=1) - 1).abs().min()) > 0.1
    assert torch.equal(model.encode_image(IMAGES, project=False, normalize=False), raw)
    unit = model.encode_image(IMAGES, project=False, normalize=True)
    torch.testing.assert_close(unit, F.normalize(raw, dim=1))
    default = model.encode_image(IMAGES)
    torch.testing.assert_close(default.norm(dim=1).cpu(), torch.ones(len(IMAGES)))


@pytest.mark.parametrize("size", [1, 4])
def test_features_do_not_depend_on_the_batch_size(model: zeroshot.Model, size: int) -> None:
    together = model.encode_image(IMAGES, project=False)

    found = model.encode_image(iter(IMAGES), batch_size=size, project=False)

    assert far(found, together) < CLOSE
    one = model.encode_image(IMAGES[0], project=False)
    assert one.shape == together[0].shape
    assert far(one[None], together[:1]) < CLOSE


def test_features_of_pixels_are_those_of_the_images(model: zeroshot.Model) -> None:
    pixels = np.stack([model.prepare(image) for image in IMAGES])

    found = model.encode_pixels(pixels, project=False)

    assert far(found, model.encode_image(IMAGES, project=False)) < CLOSE


def test_no_images_give_no_rows_of_the_features_width(model: zeroshot.Model, kind: str) -> None:
    size = model.preprocess.size

    assert model.encode_image([], project=False).shape == (0, WIDTHS[kind])
    pixels = np.zeros((0, 3, size, size), np.float32)
    assert model.encode_pixels(pixels, project=False).shape == (0, WIDTHS[kind])


def test_features_in_bfloat16_are_close_to_float32(model: zeroshot.Model) -> None:
    exact = model.encode_image(IMAGES, project=False)

    found = model.to(dtype="bfloat16").encode_image(IMAGES, project=False)

    assert found.dtype == torch.float32
    assert float(F.cosine_similarity(found, exact).min()) > 0.99


def test_features_that_are_not_finite_are_an_error(tiny: zeroshot.Model) -> None:
    pixels = np.stack([tiny.prepare(image) for image in IMAGES[:3]])
    pixels[1] = np.inf

    with pytest.raises(NonFiniteError) as caught:
        tiny.encode_pixels(pixels, project=False)

    assert caught.value.rows == [1]


def test_unreadable_image_is_an_error_with_its_position(tiny: zeroshot.Model) -> None:
    with pytest.raises(ImageError, match=r"images\[1\]"):
        tiny.encode_image([IMAGES[0], b"not an image"], project=False)


@pytest.mark.parametrize("wrong", [1, None, "no"])
def test_project_is_a_bool(tiny: zeroshot.Model, wrong: Any) -> None:
    with pytest.raises(InputError, match="project="):
        tiny.encode_image(IMAGES, project=wrong)


def test_head_rejects_features_of_another_width(tiny: zeroshot.Model) -> None:
    features = tiny.encode_image(IMAGES, project=False)

    with pytest.raises(InputError, match=r"expected embeddings as a tensor or an array \[n, 16\]"):
        tiny.head(["cat", "dog"]).logits(features)
