from __future__ import annotations

import contextlib
import http.server
import io
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from tests.support import encoded, photograph
from zeroshot.errors import ImageError, ImageNotFound
from zeroshot.images import arrays as image_arrays
from zeroshot.images import decoding, describe, download, is_single, iterate, open_image

PHOTO = photograph()
PICTURE = Image.fromarray(PHOTO)
TENSOR = torch.tensor(PHOTO.transpose(2, 0, 1))
BROKEN_AT = range(20)  # twentieths of a file


def pixels(source: Any, **options: Any) -> NDArray[np.uint8]:
    return np.asarray(open_image(source, **options))


def failure(source: Any) -> ImageError:
    with pytest.raises(ImageError) as caught:
        open_image(source)
    return caught.value


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A web server on this machine that serves a picture and some trouble."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if path in ("/photo.png", "/mit%20Leerzeichen%20%C3%A9.png"):
                self.answer(200, encoded(PICTURE, "PNG"))
            elif path == "/page.png":
                self.answer(200, b"<!DOCTYPE html><html></html>", "text/html")
            elif path == "/moved.png":
                self.answer(302, b"", location="/photo.png")
            elif path == "/to-file.png":
                self.answer(302, b"", location="file:///etc/hostname")
            elif path == "/endless.png":
                self.answer(200, b"x" * 30_000)
            elif path == "/cut.png":
                self.answer(200, encoded(PICTURE, "PNG")[:500], length=100_000)
            elif path == "/nonsense":
                self.wfile.write(b"nonsense\r\n\r\n")
            elif path == "/slow.png":
                self.send_response(200)
                self.end_headers()
                stop.wait(5)
            else:
                self.answer(404, b"no")

        def answer(
            self,
            code: int,
            body: bytes,
            kind: str = "image/png",
            location: str = "",
            length: int | None = None,
        ) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(length or len(body)))
            if location:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    stop = threading.Event()
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.05,))
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "127.0.0.1")
        yield f"http://127.0.0.1:{httpd.server_port}"
    stop.set()
    httpd.shutdown()
    thread.join()
    httpd.server_close()


# every kind of input


EVERY_KIND: dict[str, Callable[[Path, str], Any]] = {
    "path": lambda path, server: path,
    "str": lambda path, server: str(path),
    "url": lambda path, server: f"{server}/photo.png",
    "bytes": lambda path, server: path.read_bytes(),
    "bytearray": lambda path, server: bytearray(path.read_bytes()),
    "memoryview": lambda path, server: memoryview(path.read_bytes()),
    "file in memory": lambda path, server: io.BytesIO(path.read_bytes()),
    "PIL, decoded": lambda path, server: PICTURE,
    "PIL, not decoded yet": lambda path, server: Image.open(io.BytesIO(path.read_bytes())),
    "uint8 array": lambda path, server: PHOTO,
    "array not contiguous": lambda path, server: np.asfortranarray(PHOTO),
    "read-only array": lambda path, server: np.asarray(PICTURE),
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
def test_the_same_image_is_the_same_whatever_it_comes_as(
    kind: str, tmp_path: Path, server: str
) -> None:
    path = tmp_path / "photo.png"
    PICTURE.save(path)
    np.testing.assert_array_equal(pixels(EVERY_KIND[kind](path, server)), PHOTO)


def test_an_open_file_is_read_from_its_start_and_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    PICTURE.save(path)
    with path.open("rb") as file:
        file.read(10)
        first = pixels(file)
        second = pixels(file)
        assert not file.closed
    np.testing.assert_array_equal(first, PHOTO)
    np.testing.assert_array_equal(second, PHOTO)


def test_a_pipe_is_a_file_too() -> None:
    reading, writing = os.pipe()
    with open(writing, "wb") as sink:
        sink.write(encoded(PICTURE, "PNG"))
    with open(reading, "rb") as source:
        np.testing.assert_array_equal(pixels(source), PHOTO)


@pytest.mark.parametrize(
    "grey",
    [
        PHOTO[:, :, 0],
        PHOTO[:, :, :1],
        torch.tensor(PHOTO[:, :, 0]),
        torch.tensor(PHOTO[None, ..., 0]),
    ],
    ids=["[h, w]", "[h, w, 1]", "tensor [h, w]", "tensor [1, h, w]"],
)
def test_grey_arrays_become_three_equal_channels(grey: Any) -> None:
    np.testing.assert_array_equal(pixels(grey), np.repeat(PHOTO[:, :, :1], 3, axis=2))


def test_a_bfloat16_tensor_is_read() -> None:
    tensor = (torch.tensor(PHOTO.transpose(2, 0, 1)) / 255).bfloat16()
    assert np.abs(pixels(tensor).astype(int) - PHOTO).max() <= 1


def test_black_and_white_arrays_become_black_and_white() -> None:
    checks = np.indices((6, 8)).sum(0) % 2 == 1
    np.testing.assert_array_equal(pixels(checks)[:, :, 1], checks * 255)


def test_one_lazy_picture_given_many_times_is_decoded_once_at_a_time(tmp_path: Path) -> None:
    big = photograph(900, 700)
    path = tmp_path / "big.png"
    Image.fromarray(big).save(path)
    wrong: list[object] = []
    for _ in range(4):
        with Image.open(path) as picture:

            def work(picture: Image.Image = picture) -> None:
                try:
                    if not np.array_equal(pixels(picture), big):
                        wrong.append("other pixels")
                except Exception as error:
                    wrong.append(error)

            threads = [threading.Thread(target=work) for _ in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert wrong == []


# URLs


def test_a_url_with_spaces_and_accents_is_escaped(server: str) -> None:
    np.testing.assert_array_equal(pixels(f"{server}/mit Leerzeichen é.png?a=b%20c"), PHOTO)


def test_a_redirect_is_followed(server: str) -> None:
    np.testing.assert_array_equal(pixels(f"{server}/moved.png"), PHOTO)


@pytest.mark.parametrize(
    ("path", "kind", "says"),
    [
        ("/missing.png", "not_found", "404"),
        ("/page.png", "not_image", "web page"),
        ("/cut.png", "truncated", "truncated"),
        ("/to-file.png", "url_refused", "302"),
        ("/nonsense", "url_refused", "download failed"),
    ],
)
def test_trouble_with_a_url_is_told(server: str, path: str, kind: str, says: str) -> None:
    error = failure(server + path)
    assert (error.kind, error.source) == (kind, server + path)
    assert says in str(error)


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http://127.0.0.1:1/x.png",
        "http://[::1/x",
        "http://a\nb/",
        "http://" + "a" * 300,
        "https://127.0.0.1:99999/x",
        "http://127.0.0.1:x/",
    ],
)
def test_urls_that_lead_nowhere_are_image_errors(url: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(download, "DOWNLOAD_SECONDS", 2.0)
    assert failure(url).kind in ("url_refused", "timeout")


def test_a_download_is_bounded_in_bytes(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MAX_DOWNLOAD", 20_000)
    assert failure(f"{server}/endless.png").kind == "too_large_bytes"


def test_a_download_is_bounded_in_time(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "DOWNLOAD_SECONDS", 0.2)
    assert failure(f"{server}/slow.png").kind == "timeout"


# orientation


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    marks = np.zeros((32, 48, 3), np.uint8)
    marks[:16, :24] = (255, 0, 0)
    marks[:16, 24:] = (0, 255, 0)
    marks[16:, :24] = (0, 0, 255)  # and black: every corner has a colour of its own
    back = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}[orientation]
    other = Image.Exif()
    other[0x0112] = back
    turned = Image.fromarray(marks)
    turned.info["exif"] = other.tobytes()
    stored = ImageOps.exif_transpose(turned)
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(stored, kind, exif=exif.tobytes(), **options)
    found = pixels(content).astype(int)
    assert found.shape == (32, 48, 3)
    for row, column in [(4, 4), (4, 44), (28, 4), (28, 44)]:
        assert np.abs(found[row, column] - marks[row, column]).max() < 12


def test_damaged_exif_leaves_the_picture_as_it_lies() -> None:
    content = encoded(PICTURE, "PNG", exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff garbage")
    np.testing.assert_array_equal(pixels(content), PHOTO)


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_orientations_that_do_not_exist_are_left_alone(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(pixels(encoded(PICTURE, "PNG", exif=exif.tobytes())), PHOTO)


# modes


def test_a_palette_picture_gets_the_colours_of_its_palette() -> None:
    palette = PICTURE.quantize(16)
    np.testing.assert_array_equal(
        pixels(encoded(palette, "PNG")), np.asarray(palette.convert("RGB"))
    )


@pytest.mark.parametrize("transparency", [3, b"\x00\x80\xff" * 5])
def test_palette_transparency_is_dropped_without_a_warning(transparency: int | bytes) -> None:
    palette = PICTURE.quantize(16)
    content = encoded(palette, "PNG", transparency=transparency)
    np.testing.assert_array_equal(pixels(content), np.asarray(palette.convert("RGB")))


def test_one_bit_pictures_are_black_and_white() -> None:
    bits = PICTURE.convert("1")
    found = pixels(encoded(bits, "PNG"))
    assert set(np.unique(found)) == {0, 255}
    np.testing.assert_array_equal(found[:, :, 0] > 0, np.asarray(bits))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(kind: str) -> None:
    levels = np.array([[0, 256, 4080, 16_000, 32_768, 65_535]], np.uint16)
    found = pixels(encoded(Image.fromarray(levels), kind))
    assert found[0, :, 0].tolist() == [0, 1, 16, 62, 128, 255]


def test_big_endian_sixteen_bit_grey_is_the_same() -> None:
    levels = np.array([[0, 4080, 65_535]], np.uint16)
    picture = Image.frombytes("I;16B", (3, 1), levels.astype(">u2").tobytes())
    assert pixels(picture)[0, :, 0].tolist() == [0, 16, 255]


def test_thirty_two_bit_grey_counts_as_sixteen_bit() -> None:
    picture = Image.fromarray(np.array([[0, 4080, 65_535]], np.int32))
    assert (picture.mode, pixels(picture)[0, :, 0].tolist()) == ("I", [0, 16, 255])


@pytest.mark.parametrize("value", [-1, 65_536])
def test_thirty_two_bit_grey_outside_sixteen_bit_is_refused(value: int) -> None:
    assert failure(Image.fromarray(np.array([[0, value]], np.int32))).kind == "bad_values"


def test_float_pictures_are_read_as_zero_to_one() -> None:
    picture = Image.fromarray(np.array([[0, 0.5, 1]], np.float32))
    assert (picture.mode, pixels(picture)[0, :, 2].tolist()) == ("F", [0, 128, 255])


@pytest.mark.parametrize("value", [np.nan, np.inf, 255.0, -0.5])
def test_float_pictures_outside_zero_to_one_are_refused(value: float) -> None:
    assert failure(Image.fromarray(np.array([[0, value]], np.float32))).kind == "bad_values"


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_dropped_as_openai_drops_it(mode: str) -> None:
    picture = PICTURE.convert(mode)
    picture.putalpha(0)
    wanted = PICTURE.convert("L").convert("RGB") if mode == "LA" else PICTURE
    np.testing.assert_array_equal(pixels(encoded(picture, "PNG")), np.asarray(wanted))


def test_cmyk_jpegs_have_their_colours() -> None:
    red = Image.new("RGB", (32, 32), (200, 30, 40)).convert("CMYK")
    found = pixels(encoded(red, "JPEG", quality=95)).reshape(-1, 3).mean(axis=0)
    assert np.abs(found - (200, 30, 40)).max() < 8


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX"])
@pytest.mark.parametrize("parity", [False, True])
def test_every_common_mode_is_read(mode: str, parity: bool) -> None:
    base = PICTURE.convert("RGBA" if mode == "RGBa" else "LA" if mode == "PA" else "RGB")
    picture = base.convert("P").convert("PA") if mode == "PA" else base.convert(mode)
    assert picture.mode == mode
    found = open_image(picture, parity=parity)
    assert (found.size, found.mode) == (PICTURE.size, mode if parity else "RGB")


@pytest.mark.parametrize("mode", ["YCbCr", "HSV"])
def test_other_colour_spaces_are_converted(mode: str) -> None:
    assert np.abs(pixels(PICTURE.convert(mode)).astype(int) - PHOTO).mean() < 3


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_read(kind: str) -> None:
    frames = [Image.new("RGB", (20, 10), c) for c in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    found = pixels(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert found.shape == (10, 20, 3)
    assert np.abs(found.astype(int) - (250, 0, 0)).max() < 12


def test_the_content_counts_not_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(PICTURE, "PNG"))
    np.testing.assert_array_equal(pixels(path), PHOTO)


# what cannot be read


def test_a_missing_file_is_told_with_the_working_folder() -> None:
    error = failure("none.jpg")
    assert isinstance(error, ImageNotFound)
    assert isinstance(error, FileNotFoundError)
    assert str(Path.cwd()) in str(error)


def test_a_missing_file_is_told_also_from_a_deleted_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    assert "the working folder was deleted" in str(failure("none.jpg"))


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
            path.write_text("no picture at all, only some words")
        case "loop":
            path.symlink_to(path)
        case "dangling":
            path.symlink_to(folder / "nothing")
        case "device":
            path.symlink_to("/dev/zero")
        case "eps":
            PICTURE.save(path, "EPS")
        case "ico":
            PICTURE.save(path, "ICO")
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
        ("text", "not_image", "b'no pictu'"),
        ("loop", "not_found", "cannot open the file"),
        ("dangling", "not_found", "no such image file"),
        ("eps", "not_image", "unsupported image format"),
        ("ico", "not_image", "unsupported image format"),
    ],
)
def test_each_bad_path_has_its_own_message(
    kind: str, problem: str, says: str, tmp_path: Path
) -> None:
    path = bad_path(kind, tmp_path)
    error = failure(path)
    assert (error.kind, error.source) == (problem, str(path))
    assert str(error).startswith(f"{path}: ")
    assert says in str(error)


def test_a_file_without_permission_is_told(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    PICTURE.save(path)
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # root may read everything: become nobody for a moment
        for folder in list(tmp_path.parents)[:2]:
            folder.chmod(0o755)
        tmp_path.chmod(0o755)
        os.seteuid(65_534)
    try:
        assert failure(path).kind == "permission"
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("name", ["a\x00b.jpg", "x" * 5_000, "\udcff.jpg", ""])
def test_odd_names_are_image_errors(name: str) -> None:
    assert failure(name).kind in ("not_found", "not_image")


def test_a_name_that_is_no_utf8_is_read(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.png"
    with open(raw, "wb") as file:
        file.write(encoded(PICTURE, "PNG"))
    path = Path(os.fsdecode(raw))
    np.testing.assert_array_equal(pixels(path), PHOTO)
    assert describe(path) == str(path)


def test_a_path_of_bytes_is_read(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "photo.png")
    with os.scandir(os.fsencode(tmp_path)) as entries:
        entry = next(entries)
    np.testing.assert_array_equal(pixels(entry), PHOTO)
    assert describe(entry) == str(tmp_path / "photo.png")  # type: ignore[arg-type]


@pytest.mark.parametrize("source", [None, 5, 1.5, object(), {"a": 1}, torch.float32, np.uint8(3)])
def test_what_is_no_image_at_all_is_told(source: object) -> None:
    error = failure(source)
    assert error.kind in ("bad_type", "bad_shape")
    assert "pass a path" in str(error) or "expected an array of h x w" in str(error)


def test_a_text_file_is_told_to_be_opened_as_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with (tmp_path / "a.txt").open() as file:
        assert "mode 'rb'" in str(failure(file))


def test_a_closed_or_write_only_file_is_an_image_error(tmp_path: Path) -> None:
    closed = io.BytesIO(b"x")
    closed.close()
    assert failure(closed).kind == "decode_failed"
    with (tmp_path / "out.png").open("wb") as file:
        assert failure(file).kind == "decode_failed"


def test_a_closed_picture_is_an_image_error(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "a.png")
    picture = Image.open(tmp_path / "a.png")
    picture.close()
    assert failure(picture).kind == "decode_failed"


# damage


def files() -> dict[str, bytes]:
    picture = Image.fromarray(photograph(160, 120))
    frames = [Image.fromarray(photograph(160, 120, seed)) for seed in (1, 2)]
    return {
        "JPEG": encoded(picture, "JPEG"),
        "progressive": encoded(picture, "JPEG", progressive=True),
        "PNG": encoded(picture, "PNG"),
        "GIF": encoded(picture, "GIF", save_all=True, append_images=frames),
        "WEBP": encoded(picture, "WEBP"),
        "BMP": encoded(picture, "BMP"),
        "TIFF": encoded(picture, "TIFF"),
        "PPM": encoded(picture, "PPM"),
        "AVIF": encoded(picture, "AVIF"),
    }


FILES = files()


@pytest.mark.parametrize("twentieth", BROKEN_AT)
@pytest.mark.parametrize("kind", FILES)
def test_a_cut_file_is_an_image_error(kind: str, twentieth: int) -> None:
    content = FILES[kind]
    if kind == "GIF":  # its first frame is whole long before the file is
        content = encoded(Image.fromarray(photograph(160, 120)), "GIF")
    error = failure(content[: len(content) * twentieth // len(BROKEN_AT)])
    assert error.kind in ("truncated", "decode_failed", "not_image")


@pytest.mark.parametrize("twentieth", range(4, 20, 3))
@pytest.mark.parametrize(
    "kind", ["JPEG", "progressive", "PNG", "GIF", "BMP", "PPM", "TIFF", "WEBP"]
)
def test_a_cut_file_is_an_error_also_when_pillow_is_told_to_accept_it(
    kind: str, twentieth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    content = FILES[kind]
    if kind == "GIF":
        content = encoded(Image.fromarray(photograph(160, 120)), "GIF")
    error = failure(content[: len(content) * twentieth // 20])
    assert error.kind in ("truncated", "decode_failed", "not_image")
    assert ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("kind", FILES)
def test_a_whole_file_is_read_also_when_pillow_is_told_to_accept_cut_ones(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = pixels(FILES[kind])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    np.testing.assert_array_equal(pixels(FILES[kind]), wanted)


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("strict", [False, True], ids=["warnings shown", "warnings are errors"])
def test_flipped_bits_give_a_picture_or_an_image_error(kind: str, strict: bool) -> None:
    random = np.random.default_rng(7)
    for _ in range(25):
        content = bytearray(FILES[kind])
        for place in random.integers(0, len(content), random.integers(1, 6)):
            content[place] ^= 1 << random.integers(0, 8)
        with warnings.catch_warnings():
            warnings.simplefilter("error" if strict else "ignore")
            with contextlib.suppress(ImageError):
                assert open_image(bytes(content)).mode == "RGB"


@given(st.binary(max_size=200), st.sampled_from([b"", *(c[:40] for c in FILES.values())]))
def test_arbitrary_bytes_give_a_picture_or_an_image_error(tail: bytes, head: bytes) -> None:
    with contextlib.suppress(ImageError):
        assert open_image(head + tail).mode == "RGB"


def png_of_size(width: int, height: int) -> bytes:
    """Return a PNG that announces a size and holds no pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    end = chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + end


@pytest.mark.parametrize(
    "size", [(8001, 8000), (10_000, 10_000), (13_000, 13_000), (60_000, 60_000)]
)
@pytest.mark.parametrize("strict", [False, True])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(
    size: tuple[int, int], strict: bool
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error" if strict else "ignore")
        assert failure(png_of_size(*size)).kind == "too_many_pixels"


def test_a_picture_of_exactly_the_limit_is_not_refused_for_its_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (image_arrays, decoding):
        monkeypatch.setattr(module, "MAX_PIXELS", PICTURE.width * PICTURE.height)
    open_image(PICTURE)
    for module in (image_arrays, decoding):
        monkeypatch.setattr(module, "MAX_PIXELS", PICTURE.width * PICTURE.height - 1)
    for source in (PICTURE, PHOTO, encoded(PICTURE, "PNG")):
        assert failure(source).kind == "too_many_pixels"


# arrays


@pytest.mark.parametrize(
    ("array", "kind", "says"),
    [
        (np.zeros((3, 20, 30), np.uint8), "bad_shape", "transpose(1, 2, 0)"),
        (torch.zeros(20, 30, 3), "bad_shape", "permute(2, 0, 1)"),
        (np.zeros((2, 20, 30, 3), np.uint8), "bad_shape", "one image at a time"),
        (torch.zeros(2, 3, 20, 30), "bad_shape", "expected an array of h x w x 3"),
        (np.zeros(20, np.uint8), "bad_shape", "20"),
        (np.zeros((), np.uint8), "bad_shape", "expected an array of h x w x 3"),
        (torch.zeros(()), "bad_shape", "expected an array of h x w x 3"),
        (np.zeros((20, 30, 2), np.uint8), "bad_shape", "20x30x2"),
        (np.zeros((0, 30, 3), np.uint8), "bad_shape", "array with pixels"),
        (torch.zeros(3, 0, 0), "bad_shape", "array with pixels"),
        (Image.new("RGB", (0, 5)), "bad_shape", "0x5"),
        (np.full((4, 4), np.nan), "bad_values", "NaN"),
        (np.full((4, 4), np.inf), "bad_values", "infinity"),
        (np.full((4, 4), 1e300), "bad_values", "divide by 255"),
        (PHOTO.astype(np.float32), "bad_values", "divide by 255"),
        (np.full((4, 4, 3), -0.5), "bad_values", "encode_pixels"),
        (PHOTO.astype(np.uint16), "bad_values", "uint16"),
        (PHOTO.astype(np.int64), "bad_values", "int64"),
        (PHOTO.astype(complex), "bad_values", "complex128"),
        (PHOTO.astype(object), "bad_values", "object"),
        (torch.zeros(3, 4, 4, dtype=torch.int32), "bad_values", "int32"),
        (torch.zeros(3, 4, 4, device="meta"), "bad_values", "cannot read the tensor's values"),
        (torch.zeros(4, 4).to_sparse(), "bad_values", "cannot read the tensor's values"),
    ],
    ids=lambda value: None if isinstance(value, str) else " ",
)
def test_arrays_of_other_shapes_or_values_are_told_the_fix(
    array: Any, kind: str, says: str
) -> None:
    error = failure(array)
    assert error.kind == kind
    assert says in str(error)


@given(
    arrays.arrays(
        dtype=st.one_of(
            arrays.floating_dtypes(),
            arrays.integer_dtypes(),
            arrays.unsigned_integer_dtypes(),
            arrays.boolean_dtypes(),
            arrays.complex_number_dtypes(),
        ),
        shape=arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    )
)
def test_any_array_gives_a_picture_or_an_image_error(array: NDArray[Any]) -> None:
    try:
        picture = open_image(array)
    except ImageError:
        return
    assert picture.size == (array.shape[1], array.shape[0])


# one or many


@pytest.mark.parametrize(
    ("images", "single"),
    [
        ("a.jpg", True),
        (Path("a.jpg"), True),
        (b"...", True),
        (bytearray(b"..."), True),
        (memoryview(b"..."), True),
        (io.BytesIO(), True),
        (PICTURE, True),
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
def test_one_image_is_told_from_many(images: object, single: bool) -> None:
    assert is_single(images) is single


def test_a_stack_of_arrays_is_many_images() -> None:
    stack = np.stack([PHOTO, PHOTO[::-1]])
    found = [np.asarray(open_image(image)) for image in iterate(stack)]
    np.testing.assert_array_equal(np.stack(found), stack)


def test_what_is_neither_one_nor_many_is_refused() -> None:
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
        (PICTURE, None),
        (io.BytesIO(), None),
    ],
)
def test_images_are_named_after_where_they_come_from(source: Any, name: str | None) -> None:
    assert describe(source) == name


def test_files_and_lazy_pictures_are_named_after_their_path(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    PICTURE.save(path)
    with path.open("rb") as file, Image.open(path) as picture:
        assert describe(file) == describe(picture) == str(path)


@pytest.mark.parametrize("make", [lambda p: p, lambda p: p.read_bytes()], ids=["path", "bytes"])
def test_no_file_stays_open(make: Callable[[Path], Any], tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(FILES["GIF"])
    before = len(os.listdir("/proc/self/fd"))
    pictures = [open_image(make(path)) for _ in range(5)]
    assert len(os.listdir("/proc/self/fd")) == before
    assert len(pictures) == 5
