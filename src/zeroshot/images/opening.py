"""Open any supported image input as one upright RGB image.

All inputs use the same decoder and rules, so an image gives the same result as a file, bytes, a PIL
image or an array.
"""

from __future__ import annotations

import inspect
import io
import os
import stat
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from glob import has_magic
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, TypeVar, cast

import numpy as np
from PIL import Image

from zeroshot.errors import (
    ImageError,
    ImageNotFound,
    InputError,
    image_error,
    seen_from,
    short_errors_in,
    shortened,
)
from zeroshot.images.arrays import from_array, from_tensor
from zeroshot.images.decoding import decode, flatten, load, to_upright_rgb
from zeroshot.images.download import download_image
from zeroshot.images.inputs import (
    decode_text,
    is_base64_image,
    is_data_uri,
    is_wrapper,
    name_of_text,
    name_of_wrapper,
    read_wrapper,
)
from zeroshot.images.jpeg import JpegFile, decode_jpeg, read_jpeg
from zeroshot.images.limits import MAX_PIXELS
from zeroshot.images.locks import get_lock
from zeroshot.images.transparency import Background, parse_background, warn_of_hidden_colors

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    ImageLike: TypeAlias = (
        str | os.PathLike[str] | bytes | BinaryIO | Image.Image | NDArray[Any] | Tensor | "Sample"
    )
else:  # without torch, whose import is slow
    ImageLike: TypeAlias = (
        str | os.PathLike[str] | bytes | BinaryIO | Image.Image | np.ndarray | Any
    )

Decoded = TypeVar("Decoded")


@short_errors_in
@dataclass(frozen=True)
class Sample:
    """An image with a name: a tar member, a video frame or a table row.

    It is accepted wherever an image is. Results and errors have `key` as their source.

    Args:
        key: Name of the image.
        image: A path, an http(s) URL, bytes, a binary file, a PIL image, a numpy array or a torch
            tensor.

    Example:
        >>> from pathlib import Path
        >>> sample = zeroshot.Sample("photos.tar/cat.jpg", Path("cat.jpg").read_bytes())
        >>> zeroshot.classify(sample, ["cat", "dog"], model="mini").source
        'photos.tar/cat.jpg'
    """

    key: str
    image: ImageLike

    def __post_init__(self) -> None:
        if not isinstance(self.key, str) or isinstance(self.image, Sample):
            raise InputError(
                f"expected Sample(key: str, image), got a {type(self.key).__name__} key and a "
                f"{type(self.image).__name__}; pass text and an image that is not a Sample"
            )


def open_image(
    source: ImageLike,
    *,
    parity: bool = False,
    at_least: int | None = None,
    max_pixels: int = MAX_PIXELS,
    background: Background = None,
) -> Image.Image:
    """Open one image: upright, RGB, fully decoded.

    Supported inputs:
    - a path, an http(s) URL, bytes, or a file opened in binary mode (read from its start, as in
      Pillow): JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, PPM, HEIC and JPEG XL (with an extra); the
      first frame of an animation; rotated by its EXIF orientation;
    - a data URI, or base64 text of such a file;
    - an upload, a response, or a path of another file system (see `inputs`);
    - a PIL image: the same rules;
    - a numpy array: [h, w, 3], [h, w, 4], [h, w, 1] or [h, w], either uint8 (0..255) or float
      (0..1);
    - a torch tensor: channels first, [3, h, w], [1, h, w] or [h, w]; uint8 or float as above.

    Palette and 1-bit images are converted to RGB before resampling. 16-bit gray is scaled (not
    clipped) to 8 bits; if no value exceeds 255, the values are 8-bit and kept. Transparency is
    dropped, as in OpenAI's preprocessing, unless `background` is a color to composite on: "white",
    "black" or (r, g, b). With `parity` the image is returned in its own mode and orientation, as
    OpenAI's code would resample it. With `at_least` a JPEG may be decoded at 1/2, 1/4 or 1/8 of its
    size, as long as its short side keeps that many pixels. Images of more than `max_pixels` are
    rejected before their pixels are decoded.

    A truncated file is an error even if another library has set Pillow's LOAD_TRUNCATED_IMAGES,
    which would fill the missing part with gray.

    Raises ImageError; its `kind` gives the reason and `source` the image.
    """
    image, name = _load_source(
        source, partial(decode, at_least=at_least, max_pixels=max_pixels), max_pixels
    )
    return _convert(image, name, parity, background)


def open_pixels(
    source: ImageLike,
    *,
    at_least: int | None = None,
    max_pixels: int = MAX_PIXELS,
    background: Background = None,
) -> Image.Image | NDArray[np.uint8]:
    """Open one image as `open_image` does, as an array if a faster decoder than Pillow reads it.

    The array is uint8 [height, width, 3] with the pixels that `open_image` gives. An ordinary JPEG
    file becomes one if the extra `fast` is installed. The arguments and errors are those of
    `open_image`.
    """

    def read(file: BinaryIO, name: str) -> Image.Image | NDArray[np.uint8]:
        return _decode(file, name, at_least, max_pixels)

    found, name = _load_source(source, read, max_pixels)
    if isinstance(found, np.ndarray):
        return found
    return _convert(found, name, parity=False, background=background)


def open_encoded(
    source: ImageLike,
    *,
    largest: int,
    at_least: int | None = None,
    max_pixels: int = MAX_PIXELS,
    background: Background = None,
) -> Image.Image | NDArray[np.uint8] | JpegFile:
    """Open one image as `open_pixels` does, but leave an ordinary JPEG file for another decoder.

    `largest` is the size in bytes up to which a file is left. The other arguments and the errors
    are those of `open_image`.
    """

    def read(file: BinaryIO, name: str) -> JpegFile | Image.Image | NDArray[np.uint8]:
        return read_jpeg(file, name, max_pixels, largest) or _decode(
            file, name, at_least, max_pixels
        )

    found, name = _load_source(source, read, max_pixels)
    if isinstance(found, np.ndarray | JpegFile):
        return found
    return _convert(found, name, parity=False, background=background)


def _decode(
    file: BinaryIO, name: str, at_least: int | None, max_pixels: int
) -> Image.Image | NDArray[np.uint8]:
    """Decode a file, as an array if a faster decoder than Pillow reads it."""
    pixels = decode_jpeg(file, at_least, max_pixels)
    return decode(file, name, at_least, max_pixels) if pixels is None else pixels


def _convert(image: Image.Image, name: str, parity: bool, background: Background) -> Image.Image:
    """Return a loaded image upright and in RGB, or in its own mode with `parity`."""
    color = None if background is None else parse_background(background)
    try:
        transparent = bool(image.has_transparency_data)
        if parity:
            return flatten(image, name, color) if transparent and color is not None else image
        if transparent and color is None:
            warn_of_hidden_colors(image, name)
        return to_upright_rgb(image, name, color if transparent else None)
    except ImageError:
        raise
    except (OSError, ValueError, MemoryError) as error:
        raise image_error(
            "decode_failed",
            name,
            f"cannot convert the pixels to RGB ({shortened(str(error), 200)})",
        ) from error


def is_single(images: object) -> bool:
    """Return whether this is one image rather than a collection."""
    if isinstance(
        images, str | os.PathLike | bytes | bytearray | memoryview | Image.Image | Sample
    ):
        return True
    # 1-D is a column of paths, as in a data frame; 4-D is a batch of images
    dimensions = getattr(images, "ndim", None)
    if isinstance(dimensions, int):
        return dimensions in (2, 3)
    return not isinstance(images, Mapping | list | tuple) and is_wrapper(images)


def iterate(images: ImageLike | Iterable[ImageLike]) -> Iterable[ImageLike]:
    """Return an iterable of images; raise ImageError for a mapping or another value."""
    if isinstance(images, Mapping):
        keys = shortened(repr(list(islice(images, 4))), 100)
        raise image_error(
            "bad_type",
            None,
            f"expected an image or an iterable of images, got {type(images).__name__} with keys "
            f"{keys}; pass its images, as in row['image'] or list(images.values())",
        )
    try:
        return iter(cast(Iterable[ImageLike], images))
    except TypeError as error:
        raise image_error(
            "bad_type",
            None,
            f"expected an image or an iterable of images, got {type(images).__name__} "
            f"{shortened(repr(images))}; {_call_it(images) or 'pass a list of paths'}",
        ) from error


def _call_it(source: object) -> str:
    """Say how to call a function that was passed instead of its result; "" for other values."""
    if not inspect.isfunction(source):
        return ""
    package = source.__module__.partition(".")[0]
    return f"call it: {'zeroshot.' if package == 'zeroshot' else ''}{source.__name__}()"


def describe(source: ImageLike) -> str | None:
    """Return the path, URL or key of an image for messages and results, or None."""
    if isinstance(source, str):
        return name_of_text(source) or source
    if isinstance(source, os.PathLike):
        return os.fsdecode(source) if _is_on_disk(source) else str(source)
    if isinstance(source, Sample):
        return source.key
    return name_of_wrapper(source)


def _load_source(
    source: ImageLike, read: Callable[[BinaryIO, str], Decoded], max_pixels: int
) -> tuple[Image.Image | Decoded, str]:
    """Return the image with its pixels loaded, and a name for messages; `read` decodes a file."""
    named: str | None = None
    if isinstance(source, Sample):
        named, source = source.key, source.image
    described = describe(source)
    name = named or described or f"<{type(source).__name__}>"
    if isinstance(source, Image.Image):
        with get_lock(source):
            return load(source, name, max_pixels), name
    if isinstance(source, np.ndarray):
        return from_array(source, name, max_pixels), name
    torch = sys.modules.get("torch")  # a tensor exists only if torch is imported
    if torch is not None and isinstance(source, torch.Tensor):
        return from_tensor(source, name, max_pixels), name
    if isinstance(source, str | os.PathLike) and _is_local_path(source, described):
        return _open_path(source, name, read), name
    content = _read_bytes(source, name)
    if content is None:
        raise _unsupported(source, named or described)
    return read(io.BytesIO(content), name), name


def _unsupported(source: object, name: str | None) -> ImageError:
    """Return the error for a value that is no image."""
    fix = _call_it(source) or "pass a path, URL, bytes, file, PIL image, array or tensor"
    if isinstance(source, Mapping):
        fix = "pass one of its values, as in row['image']"
    kind = type(source).__name__
    problem = f"unsupported image type {kind}: {shortened(repr(source))}; {fix}"
    return image_error("bad_type", name, problem)


def _is_local_path(source: str | os.PathLike[str], described: str | None) -> bool:
    """Return whether this is a path on a local disk; other text has a shorter description."""
    if isinstance(source, str):
        return described == source and not source.startswith(("http://", "https://"))
    return _is_on_disk(source)


def _is_on_disk(path: os.PathLike[str]) -> bool:
    """Return whether a path is local; universal-pathlib makes paths of other file systems."""
    return getattr(path, "protocol", "") in ("", "file", "local")


def _read_bytes(source: Any, name: str) -> bytes | None:
    """Return the bytes of an image that is not a local path, or None for other types."""
    if isinstance(source, str):
        remote = source.startswith(("http://", "https://"))
        return download_image(source) if remote else decode_text(source, name)
    if isinstance(source, bytes | bytearray | memoryview):
        content = bytes(source)
        is_text = is_data_uri(content) or is_base64_image(content)
        return decode_text(content, name) if is_text else content
    return read_wrapper(source, name) if is_wrapper(source) else None


def _read_file(largest: int, file: BinaryIO, _: str) -> bytes:
    """Return the content of a file, or more than `largest` bytes of a larger one."""
    size = os.fstat(file.fileno()).st_size
    content = file.read(min(size, largest) + 1)  # a buffer of `largest` takes longer than reading
    if len(content) <= size:
        return content
    return content + file.read(largest + 1 - len(content))  # of a file whose size is unknown


def _open_path(
    source: str | os.PathLike[str], name: str, read: Callable[[BinaryIO, str], Decoded]
) -> Decoded:
    """Decode the image file at a path."""
    if source == "":
        raise image_error(
            "not_found", "''", "expected the path of an image, got an empty string; check the value"
        )
    path = source if type(source) is type(Path()) else Path(os.fsdecode(source))
    try:
        # Opening a FIFO or device would block, so check the type first.
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            if stat.S_ISDIR(mode):
                fix = (
                    "expected an image file, got a folder; pass its files, as in "
                    f"sorted(Path({shortened(name)!r}).rglob('*.jpg'))"
                )
                raise image_error("not_image", name, fix)
            raise image_error("not_image", name, "not a regular file; pass its content as bytes")
        with open(path, "rb") as file:
            return read(file, name)
    except FileNotFoundError as error:
        message = f"{shortened(name, 300)}: {_describe_missing(path, name)}"
        raise ImageNotFound(message, kind="not_found", source=name) from error
    except PermissionError as error:
        raise image_error("permission", name, "permission denied; fix its permissions") from error
    except ImageError:
        raise
    except (OSError, ValueError) as error:  # name too long, symlink loop, NUL in the name
        reason = getattr(error, "strerror", None) or error
        message = f"{shortened(name, 300)}: cannot open the file ({reason}); pass a path or bytes"
        raise ImageError(message, kind="not_found", source=name) from error


def _describe_missing(path: Path, name: str) -> str:
    """Say why there is no file at a path, and what to do."""
    if name.startswith("file://"):
        return "unsupported URL scheme; pass the path without file://"
    if "://" in name:
        return "unsupported URL scheme; use http:// or https://, or download the file first"
    if path.is_symlink():
        return f"broken link to {shortened(os.readlink(path), 150)}; correct or remove it"
    return f"no such image file{shortened(seen_from(path), 150)}{_suggest_fix(name)}"


def _suggest_fix(name: str) -> str:
    """Suggest a fix for text that is probably not meant as a path."""
    if name.startswith("~"):
        return "; ~ is not expanded, write the full path or pass Path(...).expanduser()"
    if has_magic(name):
        return (
            "; patterns are not expanded here, pass Path(...).glob(pattern) (on the command line, "
            "give the pattern as an argument)"
        )
    return ""


def read_encoded(source: ImageLike, *, largest: int) -> ImageLike:
    """Return the bytes of an image file in any accepted form, or an image that is not a file.

    Paths, URLs, uploads, responses and base64 text become bytes; PIL images, arrays and tensors
    are returned as they are. Raises ImageError for a file of more than `largest` bytes, for one
    that cannot be read, and for other types.
    """
    named: str | None = None
    if isinstance(source, Sample):
        named, source = source.key, source.image
    described = describe(source)
    name = named or described or f"<{type(source).__name__}>"
    if isinstance(source, str | os.PathLike) and _is_local_path(source, described):
        content: bytes | None = _open_path(source, name, partial(_read_file, largest))
    else:
        content = _read_bytes(source, name)
    if content is None:
        torch = sys.modules.get("torch")
        is_tensor = torch is not None and isinstance(source, torch.Tensor)
        if is_tensor or isinstance(source, Image.Image | np.ndarray):
            return source
        raise _unsupported(source, named or described)
    if len(content) > largest:
        raise image_error(
            "too_large_bytes", name, f"expected at most {largest} bytes; reduce the image"
        )
    return content
