"""Anything a user calls an image becomes one upright RGB picture.

One decoder and one set of rules for every kind of input, so the same image gives the same answer
whether it comes as a file, bytes, a PIL image or an array. No codec beyond an allow-list is
tried, and the size is checked before pixels are decoded.
"""

from __future__ import annotations

import http.client
import io
import os
import stat
import struct
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from zeroshot.errors import ImageError, ImageNotFound, ImageProblem, seen_from

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    ImageLike: TypeAlias = (
        str | os.PathLike[str] | bytes | BinaryIO | Image.Image | NDArray[Any] | Tensor
    )
else:
    ImageLike: TypeAlias = Any

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "HEIF", "JXL")
MAX_PIXELS = 64_000_000  # width x height; an RGB picture of that size takes 192 MB
MAX_DOWNLOAD = 20_000_000  # bytes of an image fetched from a URL
DOWNLOAD_SECONDS = 15.0
GREY_16_BIT = 257  # 65535 / 255
UPRIGHT = {  # EXIF orientation: what turns the stored picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Pillow decodes a picture when it is first used, and files have one position: neither may happen
# on two threads at once, as it would for [picture, picture]. Locks are shared by address.
_LOCKS = [threading.Lock() for _ in range(64)]


def open_image(
    source: ImageLike, *, parity: bool = False, at_least: int | None = None
) -> Image.Image:
    """Open one image: upright, RGB, fully decoded.

    What may come, and how it is read:
    - a path, an http(s) URL, bytes, or a file opened in binary mode (read from its start, as
      Pillow does): any format of FORMATS; the first frame of an animation; turned upright by its
      EXIF orientation;
    - a PIL image: the same rules;
    - a numpy array: [h, w, 3], [h, w, 4], [h, w, 1] or [h, w], either uint8 (0..255) or float
      (0..1);
    - a torch tensor: channels first, [3, h, w], [1, h, w] or [h, w]; uint8 or float as above.

    Palette and 1-bit pictures become RGB before anything is resampled, 16-bit grey is scaled (not
    clipped) to 8 bits, transparency is dropped as OpenAI's preprocessing drops it. With `parity`
    the picture comes back in its own mode and orientation, as OpenAI's code would resample it.
    With `at_least` a JPEG may be decoded at a half, quarter or eighth, whichever still leaves
    that many pixels on its short side.

    A file that ends too early is an error, also where another library has set Pillow's
    LOAD_TRUNCATED_IMAGES, which would fill the missing part with grey.

    Raises ImageError; its `kind` says what was wrong and `source` with which image.
    """
    picture, name = _decoded(source, at_least)
    if parity:
        return picture
    try:
        return _rgb(_upright(picture), name)
    except ImageError:
        raise
    except (OSError, ValueError, MemoryError) as error:
        raise _fail("decode_failed", name, f"its pixels cannot be converted ({error})") from error


def is_single(images: object) -> bool:
    """Tell one image from a collection of images."""
    if isinstance(images, str | os.PathLike | bytes | bytearray | memoryview | Image.Image):
        return True
    if hasattr(images, "read"):
        return True
    # one dimension is a column of paths, as of a data frame; four are a stack of images
    return getattr(images, "ndim", None) in (2, 3)


def each(images: ImageLike | Iterable[ImageLike]) -> Iterable[ImageLike]:
    """Iterate over images, one alone being a collection of one."""
    if is_single(images):
        return [cast(ImageLike, images)]
    if isinstance(images, Iterable):
        return cast(Iterable[ImageLike], images)
    raise _fail(
        "bad_type", None, f"got {type(images).__name__}, which is neither an image nor many"
    )


def describe(source: ImageLike) -> str | None:
    """Name an image for messages and results: its path or URL, or None when it has none."""
    if isinstance(source, str | os.PathLike):
        return os.fsdecode(source)
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    return name if isinstance(name, str) and name else None


def _decoded(source: ImageLike, at_least: int | None) -> tuple[Image.Image, str]:
    """Return the picture with its pixels loaded, and a name for messages."""
    name = describe(source) or f"<{type(source).__name__}>"
    if isinstance(source, Image.Image):
        with _LOCKS[id(source) // 64 % len(_LOCKS)]:
            return _load(source, name), name
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        return _open(io.BytesIO(_fetch(source)), name, at_least), name
    if isinstance(source, str | os.PathLike):
        return _open_path(source, name, at_least), name
    if isinstance(source, bytes | bytearray | memoryview):
        return _open(io.BytesIO(bytes(source)), name, at_least), name
    if hasattr(source, "read"):
        content = _content(cast(BinaryIO, source), name)
        return _open(io.BytesIO(content), name, at_least), name
    if isinstance(source, np.ndarray):
        return _from_array(source, name), name
    torch = sys.modules.get("torch")  # where there is a tensor, torch is imported already
    if torch is not None and isinstance(source, torch.Tensor):
        return _from_tensor(source, name), name
    raise _fail(
        "bad_type",
        None,
        f"got {type(source).__name__}; pass a path, URL, bytes, file, PIL image, array or tensor",
    )


def _content(file: BinaryIO, name: str) -> bytes:
    """Read a file from its start, wherever it stands."""
    try:
        with _LOCKS[id(file) // 64 % len(_LOCKS)]:
            if hasattr(file, "seekable") and file.seekable():
                file.seek(0)
            content: object = file.read()
    except (OSError, ValueError) as error:  # closed, or not opened for reading
        raise _fail("decode_failed", name, f"the file cannot be read ({error})") from error
    if not isinstance(content, bytes | bytearray | memoryview):
        raise _fail("bad_type", name, "the file is opened as text; open it with mode 'rb'")
    return bytes(content)


def _open_path(source: str | os.PathLike[str], name: str, at_least: int | None) -> Image.Image:
    path = Path(os.fsdecode(source))
    try:
        # A FIFO or device would block for ever, so look before opening.
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            if stat.S_ISDIR(mode):
                fix = f"it is a folder; pass its files, as in sorted(Path({name!r}).rglob('*.jpg'))"
                raise _fail("not_image", name, fix)
            raise _fail("not_image", name, "it is no regular file; pass the path of an image file")
        with path.open("rb") as file:
            return _open(file, name, at_least)
    except FileNotFoundError as error:
        message = f"{name}: no such image file{seen_from(path)}{_misread(name)}"
        raise ImageNotFound(message, kind="not_found", source=name) from error
    except PermissionError as error:
        raise _fail("permission", name, "reading it is not permitted") from error
    except ImageError:
        raise
    except (OSError, ValueError) as error:  # name too long, symlink loop, NUL in the name
        raise _fail("not_found", name, f"it cannot be opened ({error})") from error


def _misread(name: str) -> str:
    """Say what to do with text that is meant otherwise than as a path."""
    if "://" in name:
        return "; of addresses only http:// and https:// are read"
    if name.startswith("~"):
        return "; pass Path(...).expanduser()"
    return "; for a pattern pass Path(...).glob(pattern)" if has_magic(name) else ""


def _open(file: Any, name: str, at_least: int | None) -> Image.Image:
    try:
        picture = _identified(file)
    except UnidentifiedImageError as error:
        raise _fail("not_image", name, _unidentified(file)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _fail("too_many_pixels", name, f"it exceeds {MAX_PIXELS} pixels") from error
    except Exception as error:  # codecs raise anything at all on damaged headers
        raise _fail("decode_failed", name, f"its header is damaged ({error})") from error
    if at_least is not None and picture.format == "JPEG":
        picture.draft(None, (at_least, at_least))
    return _load(picture, name)


def _identified(file: Any) -> Image.Image:
    """Open a file with the codecs of FORMATS; the rarer ones are imported when they are needed."""
    Image.preinit()
    try:
        return Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN])
    except UnidentifiedImageError:
        if not Image.init():  # nothing new
            raise
        file.seek(0)
        return Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN])


def _unidentified(file: Any) -> str:
    file.seek(0)
    head = file.read(16)
    if not head:
        return "it is empty"
    if head.lstrip()[:1] == b"<":
        return "it is a web page or SVG, not a picture of pixels"
    return f"it begins with {head[:8]!r} and is of none of the formats {', '.join(FORMATS[:9])}"


def _load(picture: Image.Image, name: str) -> Image.Image:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise _fail(
            "too_many_pixels", name, f"{width}x{height} exceeds {MAX_PIXELS} pixels; shrink it"
        )
    if not width or not height:
        raise _fail("bad_shape", name, f"its size is {width}x{height}")
    try:
        if ImageFile.LOAD_TRUNCATED_IMAGES:
            _refuse_early_end(picture)
        picture.load()
    except Exception as error:  # codecs raise OSError, SyntaxError, struct.error, EOFError ...
        kind: ImageProblem = "truncated" if "truncated" in str(error) else "decode_failed"
        raise _fail(kind, name, f"its pixels cannot be decoded ({error})") from error
    return picture


def _refuse_early_end(picture: Image.Image) -> None:
    """Make `load` fail where the file ends too early, whatever LOAD_TRUNCATED_IMAGES says.

    That switch belongs to the process, and other libraries set it: it is read here, never set.
    """
    if not isinstance(picture, ImageFile.ImageFile) or picture.fp is None:
        return
    read = getattr(picture, "load_read", None)
    if picture.format in ("JPEG", "MPO"):  # their own load_read makes up an end of image
        read = None

    def strict(size: int) -> bytes:
        try:
            content: bytes = (read or cast(BinaryIO, picture.fp).read)(size)
        except (IndexError, struct.error) as error:
            raise OSError("image file is truncated") from error
        if not content:  # a decoder only reads on while it lacks something
            raise OSError("image file is truncated")
        return content

    cast(Any, picture).load_read = strict  # where `load` looks for a reader before the file's


def _upright(picture: Image.Image) -> Image.Image:
    """Turn a picture as its EXIF or XMP orientation says; a damaged one says nothing."""
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # the parser raises (or warns of) anything at all; the pixels are good
        return picture
    method = UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return picture if method is None else picture.transpose(method)


def _rgb(picture: Image.Image, name: str) -> Image.Image:
    """Convert any mode to RGB without losing brightness."""
    mode = picture.mode
    if mode == "RGB":
        return picture
    if mode.startswith("I;16"):
        grey = np.asarray(picture).astype(np.float32)
        return _grey(grey / GREY_16_BIT)
    if mode == "I":
        grey = np.asarray(picture)
        if grey.min() < 0 or grey.max() > 65535:
            raise _fail(
                "bad_values", name, f"32-bit values {grey.min()}..{grey.max()}; scale to 0..65535"
            )
        return _grey(grey.astype(np.float32) / GREY_16_BIT)
    if mode == "F":
        return _grey(_unit_range(np.asarray(picture), name) * 255)
    if mode == "P" and "transparency" in picture.info:
        # by way of RGBA: Pillow warns when palette transparency is given as bytes
        return picture.convert("RGBA").convert("RGB")
    return picture.convert("RGB")


def _grey(values: NDArray[np.floating[Any]]) -> Image.Image:
    return Image.fromarray(np.rint(values).astype(np.uint8)).convert("RGB")


def _unit_range(values: NDArray[Any], name: str) -> NDArray[np.float32]:
    if not np.isfinite(values).all():
        raise _fail("bad_values", name, "it holds NaN or infinity")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise _fail(
            "bad_values",
            name,
            f"float values {low:.3g}..{high:.3g}, wanted 0..1; divide by 255, or give pixels that "
            "are normalised already to model.encode_pixels",
        )
    return values.astype(np.float32)


def _from_array(array: NDArray[Any], name: str) -> Image.Image:
    shape = "x".join(map(str, array.shape))
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        first = array.ndim == 3 and array.shape[0] in (1, 3, 4)
        fix = "transpose it with array.transpose(1, 2, 0)" if first else "give one image at a time"
        if array.ndim == 3 and not first:
            fix = f"{array.shape[2]} channels are no picture"
        raise _fail("bad_shape", name, f"array of {shape}, wanted h x w x 3 or h x w; {fix}")
    if array.size == 0:
        raise _fail("bad_shape", name, f"array of {shape} holds no pixels")
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise _fail("too_many_pixels", name, f"array of {shape} exceeds {MAX_PIXELS} pixels")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif np.issubdtype(array.dtype, np.floating):
        array = np.rint(_unit_range(array, name) * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise _fail(
            "bad_values",
            name,
            f"array of {array.dtype}, wanted uint8 (0..255) or float (0..1); convert it first",
        )
    return Image.fromarray(np.ascontiguousarray(array))


def _from_tensor(tensor: Any, name: str) -> Image.Image:
    shape = "x".join(map(str, tensor.shape))
    if tensor.ndim == 3 and tensor.shape[0] not in (1, 3, 4):
        fix = "permute(2, 0, 1) it" if tensor.shape[2] in (1, 3, 4) else "give one image at a time"
        raise _fail("bad_shape", name, f"tensor of {shape}, wanted 3 x h x w; {fix}")
    try:
        tensor = tensor.detach().cpu()
        array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()  # no bfloat16
    except (RuntimeError, TypeError) as error:  # on no device, sparse, quantised
        raise _fail("bad_values", name, f"the tensor's values cannot be had ({error})") from error
    return _from_array(array.transpose(1, 2, 0) if array.ndim == 3 else array, name)


def _fetch(url: str) -> bytes:
    """Download an image: at most MAX_DOWNLOAD bytes within DOWNLOAD_SECONDS."""
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    # people write spaces and accents in URLs; what is escaped already stays
    plain = urllib.parse.quote(url, safe="%/:=&?~#+!$,;'@()*[]")
    content = bytearray()
    try:
        request = urllib.request.Request(
            plain, headers={"User-Agent": "zeroshot", "Accept": "image/*"}
        )
        with urllib.request.urlopen(request, timeout=DOWNLOAD_SECONDS) as response:
            while piece := response.read1(65_536):
                content += piece
                if len(content) > MAX_DOWNLOAD:
                    raise _fail("too_large_bytes", url, f"more than {MAX_DOWNLOAD} bytes")
                if time.monotonic() > deadline:
                    raise _fail("timeout", url, f"not there after {DOWNLOAD_SECONDS:.0f} s")
    except urllib.error.HTTPError as error:
        error.close()
        kind: ImageProblem = "not_found" if error.code in (404, 410) else "url_refused"
        raise _fail(kind, url, f"the server answers {error.code} {error.reason}") from error
    except TimeoutError as error:
        raise _fail("timeout", url, f"no answer within {DOWNLOAD_SECONDS:.0f} s") from error
    except (http.client.HTTPException, OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise _fail("url_refused", url, f"it cannot be fetched ({error})") from error
    return bytes(content)


def _fail(kind: ImageProblem, name: str | None, what: str) -> ImageError:
    return ImageError(f"{name}: {what}" if name else what, kind=kind, source=name)
