"""Open any supported image input as one upright RGB image.

All inputs use the same decoder and rules, so an image gives the same result as a file, bytes, a PIL
image or an array.
"""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast

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
from zeroshot.images.decoding import decode, load, to_upright_rgb
from zeroshot.images.download import download_image
from zeroshot.images.locks import get_lock

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    ImageLike: TypeAlias = (
        str | os.PathLike[str] | bytes | BinaryIO | Image.Image | NDArray[Any] | Tensor | "Sample"
    )
else:
    ImageLike: TypeAlias = Any


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
    source: ImageLike, *, parity: bool = False, at_least: int | None = None
) -> Image.Image:
    """Open one image: upright, RGB, fully decoded.

    Supported inputs:
    - a path, an http(s) URL, bytes, or a file opened in binary mode (read from its start, as in
      Pillow): any of FORMATS; the first frame of an animation; rotated by its EXIF orientation;
    - a PIL image: the same rules;
    - a numpy array: [h, w, 3], [h, w, 4], [h, w, 1] or [h, w], either uint8 (0..255) or float
      (0..1);
    - a torch tensor: channels first, [3, h, w], [1, h, w] or [h, w]; uint8 or float as above.

    Palette and 1-bit images are converted to RGB before resampling. 16-bit gray is scaled (not
    clipped) to 8 bits. Transparency is dropped, as in OpenAI's preprocessing. With `parity` the
    image is returned in its own mode and orientation, as OpenAI's code would resample it. With
    `at_least` a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, as long as its short side keeps
    that many pixels.

    A truncated file is an error even if another library has set Pillow's LOAD_TRUNCATED_IMAGES,
    which would fill the missing part with gray.

    Raises ImageError; its `kind` gives the reason and `source` the image.
    """
    image, name = _load_source(source, at_least)
    if parity:
        return image
    try:
        return to_upright_rgb(image, name)
    except ImageError:
        raise
    except (OSError, ValueError, MemoryError) as error:
        raise image_error(
            "decode_failed", name, f"cannot convert the pixels to RGB ({error})"
        ) from error


def is_single(images: object) -> bool:
    """Return whether this is one image rather than a collection."""
    if isinstance(
        images, str | os.PathLike | bytes | bytearray | memoryview | Image.Image | Sample
    ):
        return True
    if hasattr(images, "read"):
        return True
    # 1-D is a column of paths, as in a data frame; 4-D is a batch of images
    return getattr(images, "ndim", None) in (2, 3)


def iterate(images: ImageLike | Iterable[ImageLike]) -> Iterable[ImageLike]:
    """Return an iterable of images; one image becomes a list of one."""
    if is_single(images):
        return [cast(ImageLike, images)]
    if isinstance(images, Iterable):
        return cast(Iterable[ImageLike], images)
    raise image_error(
        "bad_type",
        None,
        f"expected an image or an iterable of images, got {type(images).__name__} "
        f"{shortened(repr(images))}; pass a list of paths",
    )


def describe(source: ImageLike) -> str | None:
    """Return the path, URL or key of an image for messages and results, or None."""
    if isinstance(source, str | os.PathLike):
        return os.fsdecode(source)
    if isinstance(source, Sample):
        return source.key
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    return name if isinstance(name, str) and name else None


def _load_source(source: ImageLike, at_least: int | None) -> tuple[Image.Image, str]:
    """Return the image with its pixels loaded, and a name for messages."""
    named: str | None = None
    if isinstance(source, Sample):
        named, source = source.key, source.image
    name = named or describe(source) or f"<{type(source).__name__}>"
    if isinstance(source, Image.Image):
        with get_lock(source):
            return load(source, name), name
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        return decode(io.BytesIO(download_image(source)), name, at_least), name
    if isinstance(source, str | os.PathLike):
        return _open_path(source, name, at_least), name
    if isinstance(source, bytes | bytearray | memoryview):
        return decode(io.BytesIO(bytes(source)), name, at_least), name
    if hasattr(source, "read"):
        content = _read_file(cast(BinaryIO, source), name)
        return decode(io.BytesIO(content), name, at_least), name
    if isinstance(source, np.ndarray):
        return from_array(source, name), name
    torch = sys.modules.get("torch")  # a tensor exists only if torch is imported
    if torch is not None and isinstance(source, torch.Tensor):
        return from_tensor(source, name), name
    raise image_error(
        "bad_type",
        describe(source) if named is None else named,
        f"unsupported image type {type(source).__name__}: {shortened(repr(source))}; pass a path, "
        "URL, bytes, file, PIL image, array or tensor",
    )


def _read_file(file: BinaryIO, name: str) -> bytes:
    """Read a file from its start, whatever its position."""
    try:
        with get_lock(file):
            if hasattr(file, "seekable") and file.seekable():
                file.seek(0)
            content: object = file.read()
    except (OSError, ValueError) as error:  # closed, or not opened for reading
        raise image_error("decode_failed", name, f"cannot read the file ({error})") from error
    if not isinstance(content, bytes | bytearray | memoryview):
        raise image_error(
            "bad_type", name, "expected a binary file, got text; open it with mode 'rb'"
        )
    return bytes(content)


def _open_path(source: str | os.PathLike[str], name: str, at_least: int | None) -> Image.Image:
    """Decode the image file at a path."""
    path = Path(os.fsdecode(source))
    try:
        # Opening a FIFO or device would block, so check the type first.
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            if stat.S_ISDIR(mode):
                fix = (
                    "expected an image file, got a folder; pass its files, as in "
                    f"sorted(Path({shortened(name)!r}).rglob('*.jpg'))"
                )
                raise image_error("not_image", name, fix)
            raise image_error("not_image", name, "not a regular file; pass the path of an image")
        with path.open("rb") as file:
            return decode(file, name, at_least)
    except FileNotFoundError as error:
        message = f"{shortened(name, 300)}: no such image file{seen_from(path)}{_suggest_fix(name)}"
        raise ImageNotFound(message, kind="not_found", source=name) from error
    except PermissionError as error:
        raise image_error("permission", name, "permission denied; fix its permissions") from error
    except ImageError:
        raise
    except (OSError, ValueError) as error:  # name too long, symlink loop, NUL in the name
        reason = getattr(error, "strerror", None) or error
        message = f"{shortened(name, 300)}: cannot open the file ({reason}); pass a path or bytes"
        raise ImageError(message, kind="not_found", source=name) from error


def _suggest_fix(name: str) -> str:
    """Suggest a fix for text that is probably not meant as a path."""
    if "://" in name:
        return "; unsupported URL scheme, use http:// or https://"
    if name.startswith("~"):
        return "; pass Path(...).expanduser()"
    return "; for a pattern pass Path(...).glob(pattern)" if has_magic(name) else ""
