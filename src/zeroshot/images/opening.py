"""Open anything a user calls an image as one upright RGB image.

One decoder and one set of rules for every kind of input, so the same image gives the same answer
whether it comes as a file, bytes, a PIL image or an array.
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

from zeroshot.errors import ImageError, ImageNotFound, image_error, seen_from
from zeroshot.images.arrays import from_array, from_tensor
from zeroshot.images.decoding import decode, load, to_rgb, upright
from zeroshot.images.download import download_image
from zeroshot.images.locks import lock_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    ImageLike: TypeAlias = (
        str | os.PathLike[str] | bytes | BinaryIO | Image.Image | NDArray[Any] | Tensor | "Sample"
    )
else:
    ImageLike: TypeAlias = Any


@dataclass(frozen=True)
class Sample:
    """An image and the name it has where it came from: a tar member, video frame or table row.

    It can be given wherever an image can, and results and errors have `key` as source.
    """

    key: str
    image: ImageLike


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
        return to_rgb(upright(picture), name)
    except ImageError:
        raise
    except (OSError, ValueError, MemoryError) as error:
        raise image_error(
            "decode_failed", name, f"its pixels cannot be converted ({error})"
        ) from error


def is_single(images: object) -> bool:
    """Tell one image from a collection of images."""
    if isinstance(
        images, str | os.PathLike | bytes | bytearray | memoryview | Image.Image | Sample
    ):
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
    raise image_error(
        "bad_type", None, f"got {type(images).__name__}, which is neither an image nor many"
    )


def describe(source: ImageLike) -> str | None:
    """Name an image for messages and results: its path or URL, or None when it has none."""
    if isinstance(source, str | os.PathLike):
        return os.fsdecode(source)
    if isinstance(source, Sample):
        return source.key
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    return name if isinstance(name, str) and name else None


def _decoded(source: ImageLike, at_least: int | None) -> tuple[Image.Image, str]:
    """Return the picture with its pixels loaded, and a name for messages."""
    name = describe(source) or f"<{type(source).__name__}>"
    if isinstance(source, Sample):
        source = source.image
    if isinstance(source, Image.Image):
        with lock_of(source):
            return load(source, name), name
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        return decode(io.BytesIO(download_image(source)), name, at_least), name
    if isinstance(source, str | os.PathLike):
        return _open_path(source, name, at_least), name
    if isinstance(source, bytes | bytearray | memoryview):
        return decode(io.BytesIO(bytes(source)), name, at_least), name
    if hasattr(source, "read"):
        content = _content(cast(BinaryIO, source), name)
        return decode(io.BytesIO(content), name, at_least), name
    if isinstance(source, np.ndarray):
        return from_array(source, name), name
    torch = sys.modules.get("torch")  # where there is a tensor, torch is imported already
    if torch is not None and isinstance(source, torch.Tensor):
        return from_tensor(source, name), name
    raise image_error(
        "bad_type",
        None,
        f"got {type(source).__name__}; pass a path, URL, bytes, file, PIL image, array or tensor",
    )


def _content(file: BinaryIO, name: str) -> bytes:
    """Read a file from its start, wherever it stands."""
    try:
        with lock_of(file):
            if hasattr(file, "seekable") and file.seekable():
                file.seek(0)
            content: object = file.read()
    except (OSError, ValueError) as error:  # closed, or not opened for reading
        raise image_error("decode_failed", name, f"the file cannot be read ({error})") from error
    if not isinstance(content, bytes | bytearray | memoryview):
        raise image_error("bad_type", name, "the file is opened as text; open it with mode 'rb'")
    return bytes(content)


def _open_path(source: str | os.PathLike[str], name: str, at_least: int | None) -> Image.Image:
    path = Path(os.fsdecode(source))
    try:
        # A FIFO or device would block for ever, so look before opening.
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            if stat.S_ISDIR(mode):
                fix = f"it is a folder; pass its files, as in sorted(Path({name!r}).rglob('*.jpg'))"
                raise image_error("not_image", name, fix)
            raise image_error(
                "not_image", name, "it is no regular file; pass the path of an image file"
            )
        with path.open("rb") as file:
            return decode(file, name, at_least)
    except FileNotFoundError as error:
        message = f"{name}: no such image file{seen_from(path)}{_misread(name)}"
        raise ImageNotFound(message, kind="not_found", source=name) from error
    except PermissionError as error:
        raise image_error("permission", name, "reading it is not permitted") from error
    except ImageError:
        raise
    except (OSError, ValueError) as error:  # name too long, symlink loop, NUL in the name
        raise image_error("not_found", name, f"it cannot be opened ({error})") from error


def _misread(name: str) -> str:
    """Say what to do with text that is meant otherwise than as a path."""
    if "://" in name:
        return "; of addresses only http:// and https:// are read"
    if name.startswith("~"):
        return "; pass Path(...).expanduser()"
    return "; for a pattern pass Path(...).glob(pattern)" if has_magic(name) else ""
