"""SigLIP 2 NaFlex: a model whose images keep their aspect ratio, used as any other model."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch.nn import functional as F

import zeroshot
from tests.checkpoint import families, families_naflex
from tests.checkpoint.families_naflex import MOST, NAFLEX, PATCH
from tests.engine.support import CLOSE, EXACT, worst
from tests.support import encoded, photograph
from zeroshot.checkpoint.weights import Weights
from zeroshot.cli import main
from zeroshot.diagnostics import bench
from zeroshot.engine import Engine
from zeroshot.engine.cpu import backend as cpu_backend
from zeroshot.engine.plain import PlainBackend
from zeroshot.errors import ImageError, InputError
from zeroshot.nn.vision_transformer import resample_positions

LABELS = ["cat", "dog", "river"]
SIZES = ((50, 40), (40, 50), (90, 30), (1, 90), (90, 1), (64, 64), (50, 40), (7, 5))  # w, h


def load(path: Path, **options: Any) -> zeroshot.Model:
    return zeroshot.load(path, device="cpu", **{"dtype": "float32"} | options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return families_naflex.write_transformers(tmp_path_factory.mktemp("naflex") / "tiny")


@pytest.fixture(scope="module")
def model(folder: Path) -> zeroshot.Model:
    return load(folder)


@pytest.fixture(scope="module")
def images() -> list[Any]:
    return [photograph(*size, seed) for seed, size in enumerate(SIZES)]


@pytest.fixture(scope="module")
def expected(model: zeroshot.Model, images: list[Any]) -> torch.Tensor:
    """Embeddings of the plain tower, one image at a time."""
    pixels = [torch.from_numpy(model.prepare(image))[None] for image in images]
    with torch.no_grad():
        return F.normalize(torch.cat([model.network.visual(each) for each in pixels]), dim=1)


# ---- pixels


def test_images_keep_their_aspect_ratio_within_the_limit(
    model: zeroshot.Model, images: list[Any]
) -> None:
    shapes = [model.prepare(image).shape for image in images]

    grids = [(h // PATCH, w // PATCH) for _, h, w in shapes]
    assert grids == [(4, 5), (5, 4), (2, 6), (20, 1), (1, 20), (4, 4), (4, 5), (4, 5)]
    assert all(h % PATCH == w % PATCH == 0 for _, h, w in shapes)
    assert all(rows * columns <= MOST for rows, columns in grids)


def test_more_patches_show_more_of_an_image(folder: Path, images: list[Any]) -> None:
    model = load(folder, max_patches=80)

    found = [model.prepare(image).shape for image in images[:3]]

    assert found == [(3, 64, 80), (3, 80, 64), (3, 40, 120)]
    assert model.spec.preprocess.max_patches == 80
    assert model.identity != load(folder).identity
    assert model.encode_image(images).shape == (len(images), 48)
    assert model.to(dtype="bfloat16").prepare(images[0]).shape == found[0]


def test_pixels_in_lower_precision_differ_by_at_most_one_gray_level(
    folder: Path, model: zeroshot.Model
) -> None:
    lower = load(folder, dtype="bfloat16")

    for size in ((200, 150), (150, 200), (300, 90), (1, 900), (20, 20)):
        image = photograph(*size, 3)
        found, exact = lower.prepare(image), model.prepare(image)
        assert found.shape == exact.shape
        assert np.abs(found - exact).max() * 0.5 * 255 <= 1.001


def test_fast_decoding_leaves_enough_pixels_for_all_patches(folder: Path) -> None:
    image = encoded(Image.fromarray(photograph(320, 240, 1)), "JPEG")
    few, many = (load(folder, decode="fast", max_patches=most) for most in (20, 1000))

    assert few.preprocess.open(image).size == (160, 120)
    assert many.preprocess.open(image).size == (320, 240)


# ---- the tower


@pytest.mark.parametrize(("dtype", "distance"), [("float32", EXACT), ("bfloat16", CLOSE)])
def test_engine_equals_the_plain_tower_for_every_shape(
    folder: Path, images: list[Any], expected: torch.Tensor, dtype: str, distance: float
) -> None:
    found = load(folder, dtype=dtype).encode_image(images)

    assert worst(found, expected) < distance
    different = (expected[:, None] - expected).norm(dim=2) + torch.eye(len(images))
    assert float(different.min()) > 0.05


def test_padding_of_a_mixed_batch_changes_nothing(
    model: zeroshot.Model, images: list[Any], expected: torch.Tensor
) -> None:
    pixels = [torch.from_numpy(model.prepare(image)) for image in images]
    plain = Engine(
        model.checkpoint.weights, NAFLEX.network, model.device, torch.float32, plain=True
    )

    with torch.no_grad():
        together = F.normalize(model.network.visual(pixels), dim=1)

    assert worst(together, expected) < EXACT
    assert isinstance(plain.backend, PlainBackend)
    for batch_size in (1, 3, None):
        assert worst(plain.encode_pixels(pixels, batch_size=batch_size), expected) < EXACT


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_groups_of_equal_shapes_keep_the_order_of_images(
    model: zeroshot.Model,
    images: list[Any],
    expected: torch.Tensor,
    batch_size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cpu_backend, "VALUES", 2 * 3 * 32 * 40)  # two images
    shuffled = [5, 0, 6, 3, 0, 1, 7, 2, 4, 6, 5]

    found = model.encode_image([images[i] for i in shuffled], batch_size=batch_size)

    assert worst(found, expected[shuffled]) < EXACT


def test_positions_are_those_of_the_grid_of_the_image() -> None:
    table = families_naflex.tensors()["visual.positional_embedding"]
    grid = table.T.reshape(1, -1, 4, 4)

    assert torch.equal(resample_positions(table, 4, 4), table)
    for rows, columns in ((2, 7), (20, 1), (9, 5)):
        resized = F.interpolate(
            grid, size=(rows, columns), mode="bilinear", align_corners=False, antialias=True
        )
        found = resample_positions(table, rows, columns)
        assert torch.equal(found.reshape(rows, columns, -1), resized[0].permute(1, 2, 0))
    assert not torch.equal(resample_positions(table, 2, 8), resample_positions(table, 8, 2))


def test_features_are_those_of_the_pool(model: zeroshot.Model, images: list[Any]) -> None:
    features = model.encode_image(images, project=False)

    assert worst(F.normalize(features, dim=1), model.encode_image(images)) < EXACT
    assert model.encode_image([], project=False).shape == (0, 48)


# ---- arguments


def test_encode_pixels_accepts_one_image_a_list_and_a_batch(
    model: zeroshot.Model, images: list[Any], expected: torch.Tensor
) -> None:
    pixels = [model.prepare(image) for image in images]

    assert worst(model.encode_pixels(pixels), expected) < EXACT
    assert worst(model.encode_pixels(np.stack([pixels[0], pixels[6]])), expected[[0, 6]]) < EXACT
    assert model.encode_pixels(pixels[2]).shape == (48,)
    assert model.encode_pixels([]).shape == (0, 48)
    for bad, what in (
        (np.zeros((3, 40, 40), np.float32), r"pixels\[1\] .* at most 20 patches of 8 x 8"),
        (np.zeros((3, 8, 8), np.uint8), "floating-point dtype, normalized, got uint8"),
        ("cat.jpg", "cannot convert pixels of type str"),
    ):
        with pytest.raises(InputError, match=what):
            model.encode_pixels([pixels[0], bad])


def test_image_size_of_a_model_without_one_is_rejected(folder: Path) -> None:
    with pytest.raises(InputError, match=r"keep their aspect ratio.*as in max_patches=1024"):
        load(folder, image_size=64)


@pytest.mark.parametrize(
    ("most", "what"),
    [(0, "integer of at least 1"), (5000, "from 1 to 4096"), ("9", "must be an integer")],
)
def test_invalid_number_of_patches_is_rejected(folder: Path, most: Any, what: str) -> None:
    with pytest.raises(InputError, match=f"max_patches=.*{what}"):
        load(folder, max_patches=most)


def test_number_of_patches_of_a_model_of_one_size_is_rejected(tmp_path: Path) -> None:
    for name in ("mini", families.write_transformers(tmp_path)):
        with pytest.raises(InputError, match="images of this model have one size; use image_size"):
            zeroshot.load(name, max_patches=256)


# ---- text


def test_texts_are_lowered_and_padded_with_the_pad_of_gemma(model: zeroshot.Model) -> None:
    (row,) = model.tokenizer.rows(["A CAT, don't_go!"])

    assert len(row) == families_naflex.LENGTH
    assert (row[row.index(1) :], 2 in row) == ([1] + [0] * (len(row) - row.index(1) - 1), False)
    assert model.tokenizer.rows(["a cat dont go"]) == [row]


# ---- the rest of the package


def test_saved_model_is_the_same(
    model: zeroshot.Model, images: list[Any], tmp_path: Path, folder: Path
) -> None:
    load(folder, max_patches=80).save(tmp_path / "more.safetensors")
    model.save(tmp_path / "same.safetensors")

    same, more = load(tmp_path / "same.safetensors"), load(tmp_path / "more.safetensors")

    assert (same.identity, same.spec) == (model.identity, NAFLEX)
    assert more.preprocess.max_patches == 80
    assert worst(same.encode_image(images), model.encode_image(images)) < EXACT
    assert torch.equal(same.encode_text("a cat"), model.encode_text("a cat"))


def test_copy_of_a_model_is_the_same(model: zeroshot.Model, images: list[Any]) -> None:
    copy = pickle.loads(pickle.dumps(model))

    assert worst(copy.encode_image(images), model.encode_image(images)) < EXACT


@pytest.mark.parametrize("workers", [None, 0, 2])
def test_stream_keeps_the_order_and_reports_a_bad_image(
    model: zeroshot.Model, images: list[Any], workers: int | None
) -> None:
    classifier = model.classifier(LABELS, "{}")
    given = [*images[:3], b"not an image", *images[3:]]

    found = list(classifier.stream(given, batch_size=4, workers=workers, on_error="yield"))

    assert [isinstance(each, zeroshot.Failure) for each in found] == [
        i == 3 for i in range(len(given))
    ]
    alone = [classifier(image).probability for image in images]
    kept = [each.probability for each in found if isinstance(each, zeroshot.Prediction)]
    assert kept == pytest.approx(alone, abs=1e-6)
    with pytest.raises(ImageError):
        classifier(given)


def test_probability_of_each_label_is_its_own_sigmoid(
    model: zeroshot.Model, images: list[Any]
) -> None:
    cosines = model.similarity(model.encode_image(images), model.encode_text(LABELS))

    found = model.classifier(LABELS, "{}").predict_proba(images)

    scores = torch.sigmoid(model.logit_scale * cosines + families.BIAS)
    assert np.allclose(found, scores.numpy(), atol=1e-6)


def test_independent_scores_embed_windows_of_different_shapes(
    model: zeroshot.Model, images: list[Any]
) -> None:
    classifier = model.classifier(LABELS, "{}", scores="independent")
    together = classifier.predict_proba(images)

    alone = np.stack([classifier.predict_proba([image])[0] for image in images])

    assert np.allclose(together, alone, atol=1e-5)


def test_evaluation_runs(model: zeroshot.Model, images: list[Any]) -> None:
    truths = [LABELS[i % 3] for i in range(len(images))]

    report = zeroshot.evaluate(model.classifier(LABELS, "{}"), images, truths)

    assert 0 <= report.figures["top1"].value <= 1


def test_examples_are_fitted(model: zeroshot.Model, images: list[Any]) -> None:
    head = model.head(LABELS, "{}")
    truths = [LABELS[i % 3] for i in range(len(images))]

    found = model.classifier(head).with_examples(images, truths)

    assert found.predict_proba(images).shape == (len(images), 3)


def test_command_line_encodes_and_classifies(
    folder: Path, images: list[Any], tmp_path: Path
) -> None:
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    out, options = tmp_path / "e.npy", ["--model", str(folder), "--dtype", "float32"]

    encoding = CliRunner().invoke(main, ["encode", str(tmp_path), "-o", str(out), *options])
    labels = ["--labels", ",".join(LABELS)]
    answers = CliRunner().invoke(main, ["classify", str(tmp_path), *labels, *options])

    assert (encoding.exit_code, answers.exit_code) == (0, 0), (encoding.output, answers.output)
    expected = load(folder).encode_image(images).numpy()
    np.testing.assert_allclose(np.load(out), expected, atol=1e-5)
    assert all(f"{i}.png" in answers.output for i in range(len(images)))


def test_benchmark_uses_the_largest_square(folder: Path) -> None:
    model = load(folder, max_patches=30)

    report = bench.measure(model, rounds=1, batch=2, labels=2)

    assert model.preprocess.square == 40
    assert min(finding.agreement for finding in report.findings) > 0.999


def test_html_says_the_number_of_patches(model: zeroshot.Model) -> None:
    assert "at most 20 patches of 8 pixels" in model._repr_html_()


def test_kept_positions_do_not_keep_the_tower_alive(model: zeroshot.Model) -> None:
    import gc
    import weakref

    weights = Weights.of_network(model.network, NAFLEX.network)
    engine = Engine(weights, NAFLEX.network, model.device, torch.float32)
    engine.encode_pixels(torch.zeros(1, 3, 16, 24))
    assert isinstance(engine.backend, cpu_backend.CpuBackend)
    tower = weakref.ref(engine.backend._towers["visual"])
    gc.disable()
    try:
        del engine
        assert tower() is None
    finally:
        gc.enable()
