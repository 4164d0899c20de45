"""JPEG files decoded by the device: pixels, orientation, files it declines, order and memory."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import zeroshot
from tests.engine.cuda.nvimgcodec import FAST, LEVELS, FakeLibrary, install, jpeg, load, worst
from tests.engine.cuda.support import MEAN, STD, backend_of
from tests.engine.support import CONFIGS
from tests.support import photograph
from zeroshot.engine.backend import Encoded, Levels
from zeroshot.engine.cuda.backend import CudaBackend
from zeroshot.engine.cuda.jpeg import JpegDecoder
from zeroshot.engine.cuda.runtime import make_runtime
from zeroshot.errors import ImageError
from zeroshot.images.preprocess import Preprocess
from zeroshot.predictions import Failure

CONFIG = CONFIGS["quick_gelu"]
ORIENTATION = 274
CPU = torch.device("cpu")
DAMAGE = b"\xff" * 16


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> FakeLibrary:
    fake = FakeLibrary()
    install(fake, monkeypatch)
    return fake


def damaged() -> bytes:
    """A file with a table that no decoder accepts."""
    content = bytearray(jpeg())
    table = content.index(b"\xff\xc4") + 5
    content[table : table + 16] = DAMAGE
    return bytes(content)


def rotated(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return jpeg(exif=exif)


def test_files_are_decoded_by_the_device_with_interpolated_colors(library: FakeLibrary) -> None:
    contents = [jpeg(90, 70, 1), jpeg(60, 80, 2), jpeg(90, 70, 3, progressive=True)]

    found = load(backend_of(CONFIG), *contents)

    assert library.sizes == [1, 3]  # the probe, and the files
    assert library.options == ":fancy_upsampling=1"
    assert [isinstance(each, Levels) and torch.is_tensor(each.values) for each in found] == [
        True
    ] * 3
    assert max(map(worst, found, contents)) <= LEVELS


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int, library: FakeLibrary) -> None:
    content = rotated(orientation)

    (found,) = load(backend_of(CONFIG), content)

    assert worst(found, content) <= LEVELS


def test_embeddings_agree_with_those_of_files_decoded_on_the_cpu(library: FakeLibrary) -> None:
    backend = backend_of(CONFIG)
    contents = [jpeg(50 + n, 60, n) for n in range(5)]

    found = backend.embed_pixels(load(backend, *contents))

    exact = backend.embed_pixels(
        [backend.load(each, Preprocess(40, mean=MEAN, std=STD)) for each in contents]
    )
    cosines = torch.nn.functional.cosine_similarity(found, exact)
    assert float(cosines.min()) > 0.999
    assert float(torch.nn.functional.cosine_similarity(found, exact.roll(1, 0)).max()) < 0.999


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (lambda: jpeg()[:-2], "it has no end marker"),
        (lambda: jpeg() + b"\0", "something follows its end"),
        (lambda: jpeg(keep_rgb=True, subsampling=0), "it is stored as RGB"),
        (
            lambda: jpeg()[:2] + b"\xff\xe2\0\x08MPF\0ab" + jpeg()[2:],
            "it may hold several pictures",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unusual_files_are_not_given_to_the_device(
    content: Callable[[], bytes], why: str, library: FakeLibrary
) -> None:
    backend = backend_of(CONFIG)
    backend._pictures.jpegs.is_usable  # noqa: B018  (the probe)

    try:
        found = backend.load(content(), FAST)
    except ImageError:
        found = None

    assert not isinstance(found, Encoded), why
    assert library.sizes == [1]


def test_large_files_and_other_formats_are_decoded_on_the_cpu(
    library: FakeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zeroshot.engine.cuda.backend.LARGEST", 1000)
    backend = backend_of(CONFIG)
    buffer = io.BytesIO()
    Image.fromarray(photograph()).save(buffer, "PNG")

    for content in (jpeg(400, 300), buffer.getvalue()):
        assert not isinstance(backend.load(content, FAST), Encoded)


@pytest.mark.parametrize("leaves_out", [False, True], ids=["None", "left out"])
def test_a_file_that_the_device_declines_is_decoded_on_the_cpu(
    leaves_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = jpeg(seed=2)
    install(
        FakeLibrary(declines=lambda content: content == second, leaves_out=leaves_out), monkeypatch
    )
    contents = [jpeg(seed=1), second, jpeg(seed=3)]

    found = load(backend_of(CONFIG), *contents)

    assert max(map(worst, found, contents)) <= LEVELS
    embeddings = backend_of(CONFIG).embed_pixels(found)  # from both places
    assert len(embeddings) == 3


def test_a_damaged_file_is_an_error_of_its_own_row(
    library: FakeLibrary, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.declines = lambda content: DAMAGE in content
    model = zeroshot.load(tiny_path, device="cpu", dtype="float32", decode="fast")
    model._engine.backend = backend_of_model(model)
    good, bad = tmp_path / "good.jpg", tmp_path / "bad.jpg"
    good.write_bytes(jpeg())
    bad.write_bytes(damaged())
    classifier = model.classifier(["a", "b"])

    found = list(classifier.stream([good, bad, good], on_error="yield"))

    assert [type(each).__name__ for each in found] == ["Prediction", "Failure", "Prediction"]
    assert found[0].source == str(good)
    assert isinstance(found[1], Failure)
    assert (found[1].source, found[1].error.kind) == (str(bad), "decode_failed")
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        list(classifier.stream([good, bad, good]))


def test_an_unnamed_damaged_image_is_named_by_its_position(
    library: FakeLibrary, tiny_path: Path
) -> None:
    library.declines = lambda content: DAMAGE in content
    model = zeroshot.load(tiny_path, device="cpu", dtype="float32", decode="fast")
    model._engine.backend = backend_of_model(model)

    with pytest.raises(ImageError, match=r"^images\[1\]: "):
        model.encode_image([jpeg(), damaged()])


def backend_of_model(model: zeroshot.Model) -> CudaBackend:
    weights, config, _, _ = model._engine._arguments
    return CudaBackend(weights, config, torch.device("cpu"), torch.float32)


@pytest.mark.parametrize(
    ("fake", "reason"),
    [
        (None, "not installed; pip install 'zeroshot-clip[nvjpeg]'"),
        (FakeLibrary(offset=20), "differ by 20 gray levels"),
        (FakeLibrary(declines=lambda _: True), "decodes no JPEG file on this device"),
    ],
    ids=["missing", "different", "no hardware"],
)
def test_the_cpu_decodes_if_the_library_is_not_usable(
    fake: FakeLibrary | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nvidia.nvimgcodec", fake)  # None: not found
    backend = backend_of(CONFIG)

    assert reason in str(backend._pictures.jpegs)
    assert not isinstance(backend.load(jpeg(), FAST), Encoded)


def test_a_library_that_fails_is_reported_and_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeLibrary()
    monkeypatch.setattr(fake, "Decoder", lambda **_: 1 / 0, raising=False)
    install(fake, monkeypatch)

    assert "nvImageCodec fails (ZeroDivisionError" in str(JpegDecoder(make_runtime(CPU), CPU))


def test_files_are_decoded_on_the_cpu_if_the_library_fails_later(
    library: FakeLibrary, caplog: pytest.LogCaptureFixture
) -> None:
    backend = backend_of(CONFIG)
    contents = [jpeg(seed=1), jpeg(seed=2)]
    loaded = [backend.load(content, FAST) for content in contents]
    library.declines = lambda _: bool(1 / 0)

    found = backend.decode(loaded)

    assert max(map(worst, found, contents)) <= LEVELS
    assert "nvImageCodec fails (ZeroDivisionError" in caplog.text


def test_the_exact_decoder_does_not_use_the_device(library: FakeLibrary) -> None:
    assert isinstance(backend_of(CONFIG).load(jpeg(), Preprocess(40)), Levels)
    assert library.sizes == []


def test_files_are_loaded_while_the_device_decodes(library: FakeLibrary) -> None:
    backend = backend_of(CONFIG)
    encoded = backend.load(jpeg(), FAST)
    started, loaded = threading.Event(), threading.Event()

    def wait(content: bytes) -> bool:
        started.set()
        return not loaded.wait(10)

    library.declines = wait
    decoding = threading.Thread(target=backend.decode, args=([encoded],))
    decoding.start()
    assert started.wait(10)
    loading = threading.Thread(target=lambda: (backend.load(jpeg(), FAST), loaded.set()))
    loading.start()
    loading.join(5)

    assert loaded.is_set()
    decoding.join()


def test_other_images_of_a_reference_model_stay_exact(library: FakeLibrary) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    buffer = io.BytesIO()
    Image.fromarray(photograph(150, 111)).save(buffer, "PNG", exif=exif)

    found = backend_of(CONFIG).load(buffer.getvalue(), FAST)

    assert isinstance(found, Levels)
    expected = Preprocess(40, mean=MEAN, std=STD).levels(buffer.getvalue())
    assert np.array_equal(np.asarray(found.values), expected)


def test_files_of_many_pixels_are_decoded_on_the_cpu(
    library: FakeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zeroshot.engine.cuda.backend.PIXELS", 5000)

    assert not isinstance(backend_of(CONFIG).load(jpeg(90, 70), FAST), Encoded)


def test_threads_do_not_use_one_decoder_at_once(library: FakeLibrary) -> None:
    backend = backend_of(CONFIG)
    contents = [jpeg(seed=n) for n in range(4)]
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(10):
                assert max(map(worst, load(backend, *contents), contents)) <= LEVELS
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
