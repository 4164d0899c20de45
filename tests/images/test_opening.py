"""Every kind of input opens as the same RGB image, or raises an ImageError."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import zeroshot
from tests.support import encoded, image_error_of, image_files, photograph, pixels_of
from zeroshot.errors import ImageError, ImageNotFound
from zeroshot.images import describe, is_single, iterate, open_image
from zeroshot.images.opening import open_pixels, read_encoded

PHOTO = photograph()
IMAGE = Image.fromarray(PHOTO)
TENSOR = torch.tensor(PHOTO.transpose(2, 0, 1))
EVERY_KIND: dict[str, Callable[[Path, str], Any]] = {
    "path": lambda path, server: path,
    "str": lambda path, server: str(path),
    "url": lambda path, server: f"{server}/photo.png",
    "bytes": lambda path, server: path.read_bytes(),
    "bytearray": lambda path, server: bytearray(path.read_bytes()),
    "memoryview": lambda path, server: memoryview(path.read_bytes()),
    "file in memory": lambda path, server: io.BytesIO(path.read_bytes()),
    "PIL, decoded": lambda path, server: IMAGE,
    "PIL, not decoded yet": lambda path, server: Image.open(io.BytesIO(path.read_bytes())),
    "uint8 array": lambda path, server: PHOTO,
    "array not contiguous": lambda path, server: np.asfortranarray(PHOTO),
    "read-only array": lambda path, server: np.asarray(IMAGE),
    "RGBA array": lambda path, server: np.dstack([PHOTO, PHOTO[:, :, 0]]),
    "float16 array": lambda path, server: (PHOTO / 255).astype(np.float16),
    "float32 array": lambda path, server: PHOTO.astype(np.float32) / 255,
    "float64 array": lambda path, server: PHOTO / 255,
    "uint8 tensor": lambda path, server: TENSOR,
    "float tensor": lambda path, server: TENSOR / 255,
    "tensor with a gradient": lambda path, server: (TENSOR / 255).requires_grad_(),
    "parameter": lambda path, server: torch.nn.Parameter(TENSOR / 255),
}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_every_input_kind_gives_the_same_pixels(kind: str, tmp_path: Path, server: str) -> None:
    path = tmp_path / "photo.png"
    IMAGE.save(path)
    np.testing.assert_array_equal(pixels_of(EVERY_KIND[kind](path, server)), PHOTO)


def test_an_open_file_is_read_from_its_start_and_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    IMAGE.save(path)
    with path.open("rb") as file:
        file.read(10)
        first = pixels_of(file)
        second = pixels_of(file)
        assert not file.closed
    np.testing.assert_array_equal(first, PHOTO)
    np.testing.assert_array_equal(second, PHOTO)


def test_a_pipe_is_read_as_a_file() -> None:
    reading, writing = os.pipe()
    with open(writing, "wb") as sink:
        sink.write(encoded(IMAGE, "PNG"))
    with open(reading, "rb") as source:
        np.testing.assert_array_equal(pixels_of(source), PHOTO)


def test_a_missing_file_error_names_the_working_folder() -> None:
    error = image_error_of("none.jpg")
    assert isinstance(error, ImageNotFound)
    assert isinstance(error, FileNotFoundError)
    assert str(Path.cwd()) in str(error)


def test_a_missing_file_is_reported_from_a_deleted_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    assert "the working folder was deleted" in str(image_error_of("none.jpg"))


def bad_path(kind: str, folder: Path) -> Path:
    path = folder / "bad.jpg"
    match kind:
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "empty":
            path.touch()
        case "html":
            path.write_text("\n <!doctype html><html><body>404</body></html>")
        case "svg":
            path.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
        case "text":
            path.write_text("no image at all, only some words")
        case "loop":
            path.symlink_to(path)
        case "dangling":
            path.symlink_to(folder / "nothing")
        case "device":
            path.symlink_to("/dev/zero")
        case "eps":
            IMAGE.save(path, "EPS")
        case "ico":
            IMAGE.save(path, "ICO")
    return path


@pytest.mark.parametrize(
    ("kind", "problem", "says"),
    [
        ("folder", "not_image", "a folder"),
        ("fifo", "not_image", "not a regular file"),
        ("device", "not_image", "not a regular file"),
        ("empty", "not_image", "the file is empty"),
        ("html", "not_image", "web page"),
        ("svg", "not_image", "SVG"),
        ("text", "not_image", "text that begins with 'no image"),
        ("loop", "not_found", "cannot open the file"),
        ("dangling", "not_found", "broken link to /"),
        ("eps", "unsupported_format", "image format EPS; convert it to PNG"),
        ("ico", "unsupported_format", "image format ICO; convert it to PNG"),
    ],
)
def test_each_bad_path_has_its_own_message(
    kind: str, problem: str, says: str, tmp_path: Path
) -> None:
    path = bad_path(kind, tmp_path)
    error = image_error_of(path)
    assert (error.kind, error.source) == (problem, str(path))
    assert str(error).startswith(f"{path}: ")
    assert says in str(error)


def test_a_file_without_read_permission_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    IMAGE.save(path)
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # root may read everything: become nobody for a moment
        for folder in list(tmp_path.parents)[:2]:
            folder.chmod(0o755)
        tmp_path.chmod(0o755)
        os.seteuid(65_534)
    try:
        assert image_error_of(path).kind == "permission"
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("name", ["a\x00b.jpg", "x" * 5_000, "\udcff.jpg", ""])
def test_invalid_file_names_raise_image_errors(name: str) -> None:
    assert image_error_of(name).kind in ("not_found", "not_image")


def test_a_file_name_that_is_not_utf8_is_read(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.png"
    with open(raw, "wb") as file:
        file.write(encoded(IMAGE, "PNG"))
    path = Path(os.fsdecode(raw))
    np.testing.assert_array_equal(pixels_of(path), PHOTO)
    assert describe(path) == str(path)


def test_a_path_of_bytes_is_read(tmp_path: Path) -> None:
    IMAGE.save(tmp_path / "photo.png")
    with os.scandir(os.fsencode(tmp_path)) as entries:
        entry = next(entries)
    np.testing.assert_array_equal(pixels_of(entry), PHOTO)
    assert describe(entry) == str(tmp_path / "photo.png")  # type: ignore[arg-type]


@pytest.mark.parametrize("source", [None, 5, 1.5, object(), {"a": 1}, torch.float32, np.uint8(3)])
def test_an_unsupported_type_is_rejected(source: object) -> None:
    error = image_error_of(source)
    assert error.kind in ("bad_type", "bad_shape")
    assert (
        "pass a path" in str(error)
        or "row['image']" in str(error)
        or "expected an array of h x w" in str(error)
    )


def test_a_file_opened_as_text_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with (tmp_path / "a.txt").open() as file:
        assert "mode 'rb'" in str(image_error_of(file))


def test_a_closed_or_write_only_file_is_rejected(tmp_path: Path) -> None:
    closed = io.BytesIO(b"x")
    closed.close()
    assert image_error_of(closed).kind == "decode_failed"
    with (tmp_path / "out.png").open("wb") as file:
        assert image_error_of(file).kind == "decode_failed"


def test_a_closed_pil_image_is_rejected(tmp_path: Path) -> None:
    IMAGE.save(tmp_path / "a.png")
    image = Image.open(tmp_path / "a.png")
    image.close()
    with Image.open(tmp_path / "a.png") as left:
        pass
    for closed in (image, left):
        error = image_error_of(closed)
        assert error.kind == "decode_failed"
        assert "the PIL image is closed" in str(error)
    with Image.open(tmp_path / "a.png") as loaded:
        loaded.load()
    np.testing.assert_array_equal(pixels_of(loaded), PHOTO)


def test_an_empty_path_is_named() -> None:
    error = image_error_of("")
    assert error.kind == "not_found"
    assert "expected the path of an image, got an empty string" in str(error)


@pytest.mark.parametrize("images", [{"image": IMAGE}, {}, dict.fromkeys(range(999), IMAGE)])
def test_a_dictionary_is_not_a_collection(images: Any) -> None:
    assert not is_single(images)
    with pytest.raises(ImageError, match="got dict with keys") as caught:
        iterate(images)
    assert "row['image']" in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("images", "single"),
    [
        ("a.jpg", True),
        (Path("a.jpg"), True),
        (b"...", True),
        (bytearray(b"..."), True),
        (memoryview(b"..."), True),
        (io.BytesIO(), True),
        (IMAGE, True),
        (PHOTO, True),
        (PHOTO[:, :, 0], True),
        (torch.zeros(3, 4, 4), True),
        (np.zeros((2, 4, 4, 3)), False),
        (torch.zeros(2, 3, 4, 4), False),
        (np.array(["a.jpg", "b.jpg"]), False),
        (["a.jpg"], False),
        ([], False),
        ((path for path in ["a.jpg"]), False),
    ],
)
def test_a_single_image_is_distinguished_from_many(images: object, single: bool) -> None:
    assert is_single(images) is single


def test_a_stack_of_arrays_is_many_images() -> None:
    stack = np.stack([PHOTO, PHOTO[::-1]])
    found = [np.asarray(open_image(image)) for image in iterate(stack)]
    np.testing.assert_array_equal(np.stack(found), stack)


def test_a_value_that_is_not_iterable_is_rejected() -> None:
    with pytest.raises(ImageError, match="expected an image or an iterable of images"):
        iterate(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("a/b.jpg", "a/b.jpg"),
        (Path("a/b.jpg"), "a/b.jpg"),
        ("http://x/y.jpg", "http://x/y.jpg"),
        (b"...", None),
        (PHOTO, None),
        (IMAGE, None),
        (io.BytesIO(), None),
    ],
)
def test_an_image_is_named_by_its_path_or_url(source: Any, name: str | None) -> None:
    assert describe(source) == name


def test_files_and_lazy_images_are_named_by_their_path(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    IMAGE.save(path)
    with path.open("rb") as file, Image.open(path) as image:
        assert describe(file) == describe(image) == str(path)


@pytest.mark.parametrize("make", [lambda p: p, lambda p: p.read_bytes()], ids=["path", "bytes"])
def test_no_file_stays_open(make: Callable[[Path], Any], tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(image_files()["GIF"])
    before = len(os.listdir("/proc/self/fd"))
    images = [open_image(make(path)) for _ in range(5)]
    assert len(os.listdir("/proc/self/fd")) == before
    assert len(images) == 5


@pytest.mark.parametrize("images", [zeroshot.sample_image, [zeroshot.sample_image]])
def test_a_function_instead_of_its_result_is_named(images: Any) -> None:
    with pytest.raises(ImageError, match=r"; call it: zeroshot\.sample_image\(\)$"):
        zeroshot.classify(images, ["cat", "dog"], model="mini")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("file:///a.jpg", "unsupported URL scheme; pass the path without file://"),
        ("s3://bucket/a.jpg", "unsupported URL scheme; use http:// or https://, or download"),
    ],
)
def test_another_url_scheme_is_the_only_cause(name: str, says: str) -> None:
    with pytest.raises(ImageError) as caught:
        open_image(name)

    assert str(caught.value).startswith(f"{name}: {says}")


def test_a_broken_link_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to("gone.jpg")

    with pytest.raises(ImageError, match=r"broken link to gone\.jpg; correct or remove it"):
        open_image(tmp_path / "a.jpg")


def test_camera_raw_is_not_read_as_tiff(tmp_path: Path) -> None:
    path = tmp_path / "a.NEF"
    path.write_bytes(encoded(Image.new("RGB", (4, 4)), "TIFF"))

    with pytest.raises(ImageError, match="camera RAW is not supported; convert it") as caught:
        open_image(path)

    assert caught.value.kind == "unsupported_format"


# ---- arrays of a faster decoder

JPEG_KINDS: dict[str, Callable[[Path], Any]] = {
    "path": lambda path: path,
    "str": str,
    "bytes": Path.read_bytes,
    "data URI": lambda path: b"data:image/jpeg;base64," + base64.b64encode(path.read_bytes()),
    "file in memory": lambda path: io.BytesIO(path.read_bytes()),
    "sample": lambda path: zeroshot.Sample("key", path),
}


@pytest.mark.parametrize("kind", JPEG_KINDS)
def test_a_jpeg_file_of_every_kind_opens_as_the_array_of_its_image(
    kind: str, tmp_path: Path
) -> None:
    pytest.importorskip("simplejpeg")
    path = tmp_path / "photo.jpg"
    IMAGE.save(path)

    found = open_pixels(JPEG_KINDS[kind](path))

    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, pixels_of(path))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF"])
def test_files_of_other_formats_open_as_images(kind: str) -> None:
    content = encoded(IMAGE, kind)

    found = open_pixels(content, background="white")

    assert isinstance(found, Image.Image)
    np.testing.assert_array_equal(np.asarray(found), pixels_of(content))


@pytest.mark.parametrize("name", ["missing.jpg", "", ".", "empty.jpg", "text.jpg"])
def test_files_that_cannot_be_opened_raise_the_same_errors_as_arrays(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("text")
    path = str(tmp_path / name) if name else ""

    with pytest.raises(ImageError) as caught:
        open_pixels(path)

    expected = image_error_of(path)
    assert (str(caught.value), caught.value.kind) == (str(expected), expected.kind)
    assert type(caught.value) is type(expected)


@pytest.mark.parametrize("kind", ["path", "str", "url", "bytes", "memoryview", "file in memory"])
def test_encoded_image_is_the_bytes_of_its_file(kind: str, tmp_path: Path, server: str) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(IMAGE, "PNG"))

    assert read_encoded(EVERY_KIND[kind](path, server), largest=10**6) == path.read_bytes()
    with pytest.raises(ImageError, match="expected at most 9 bytes"):
        read_encoded(EVERY_KIND[kind](path, server), largest=9)


@pytest.mark.parametrize("image", [IMAGE, PHOTO, TENSOR], ids=["PIL", "array", "tensor"])
def test_image_that_is_no_file_is_not_encoded(image: Any) -> None:
    assert read_encoded(image, largest=1) is image


def test_a_file_of_unknown_size_is_read_to_its_end() -> None:
    status = Path("/proc/self/status")  # a regular file of 0 bytes, as stat says
    if status.exists():
        assert b"Threads:" in read_encoded(status, largest=10**6)  # type: ignore[operator]
