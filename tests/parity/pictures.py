"""Images and sentences that are generated identically in every run, instead of image files.

Uses only numpy and Pillow, and only integers, so results do not depend on the rounding of a
processor or numpy release. Uses RandomState, because numpy keeps its streams unchanged.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

SOME_SENTENCES = (  # inputs for comparing the text encoders
    "a photo of a dog",
    "A bad photo of the cat.",
    "",
    "don't count 1234 sheep & goats!",
    "Ein Foto von fünf Äpfeln — naïve café",
    "東京タワーの写真 🗼",
    "an origami {}, a sculpture of a (plush) toy; 100% cotton?",
    "a very long sentence " * 40,
)
SOME_SIZES = ((97, 61), (61, 97), (64, 64), (200, 150), (33, 41), (48, 130))  # width, height
# Those that the fixtures' answers hold for. They come from Pillow 13, which resamples vertically
# first where that is cheaper, as it is for tall pictures when they shrink. Older releases start
# horizontally, and rounding between the passes moves pixels by up to 4 grey levels.
VERTICAL_FIRST = int(PIL.__version__.partition(".")[0]) >= 13
COMPARED = [i for i, (w, h) in enumerate(SOME_SIZES) if VERTICAL_FIRST or w >= h]


def photograph(width: int, height: int, seed: int, *, grain: int = 16) -> NDArray[np.uint8]:
    """Generate a photograph-like image: slow and fast gradients, two hard edges, grain.

    Returns uint8 [height, width, 3]. `grain` is the range of the noise in gray levels.
    """
    random = np.random.RandomState(seed)
    slow = _surface(random, width, height, cells=3)
    fast = _surface(random, width, height, cells=11)
    picture = (3 * slow + fast) // 4
    y, x = np.mgrid[:height, :width]
    center_x, center_y = random.randint(0, width), random.randint(0, height)
    disc = (x - center_x) ** 2 + (y - center_y) ** 2 < (max(width, height) // 4) ** 2
    picture[disc] = 255 - picture[disc]
    bar = slice(height // 3, height // 3 + 1 + height // 20)
    picture[bar] = random.randint(0, 256, 3)
    picture += random.randint(-grain, grain + 1, picture.shape)
    return picture.clip(0, 255).astype(np.uint8)


def some_photographs() -> list[NDArray[np.uint8]]:
    """Return the images for comparing the image encoders."""
    return [photograph(*size, seed=100 + i) for i, size in enumerate(SOME_SIZES)]


@dataclass(frozen=True)
class Kind:
    """One kind of image: how it is generated, and its Pillow mode."""

    mode: str
    width: int
    height: int
    seed: int
    grain: int = 16
    transparent: bool = False  # palette with a transparent entry

    @property
    def name(self) -> str:
        return f"{self.mode}{'+t' if self.transparent else ''}-{self.width}x{self.height}"

    def draw(self) -> Image.Image:
        """Generate the image in its mode, without Pillow conversions that may change."""
        rgb = photograph(self.width, self.height, self.seed, grain=self.grain)
        second = photograph(self.width, self.height, self.seed + 1, grain=self.grain)
        gray = rgb[..., 1]
        if self.mode in ("RGB", "L", "YCbCr", "LAB", "HSV"):
            return _of_bytes(self.mode, gray if self.mode == "L" else rgb)
        if self.mode == "LA":
            return _of_bytes("LA", np.stack([gray, second[..., 0]], axis=-1))
        if self.mode in ("RGBA", "CMYK"):
            return _of_bytes(self.mode, np.concatenate([rgb, second[..., :1]], axis=-1))
        if self.mode == "1":
            return Image.fromarray(np.where(gray > 127, np.uint8(255), np.uint8(0))).convert("1")
        if self.mode == "P":
            return self._with_palette(rgb)
        wide = gray.astype(np.int64) * 257 - second[..., 0]  # 16 significant bits
        wide = wide.clip(0, 65535)
        if self.mode == "I;16":
            return Image.frombytes("I;16", gray.shape[::-1], wide.astype("<u2").tobytes())
        if self.mode == "I":
            return Image.fromarray(wide.astype(np.int32))
        if self.mode == "F":
            return Image.fromarray((wide // 256).astype(np.float32))
        raise ValueError(f"unsupported mode {self.mode!r}")

    def _with_palette(self, rgb: NDArray[np.uint8]) -> Image.Image:
        """Index a fixed 6 x 6 x 6 color cube in shuffled order, so that adjacent entries differ."""
        levels = rgb.astype(np.int64) * 6 // 256
        cube = levels[..., 0] * 36 + levels[..., 1] * 6 + levels[..., 2]
        order = np.random.RandomState(5).permutation(216)
        palette = np.zeros((256, 3), dtype=np.uint8)
        r, g, b = np.unravel_index(np.arange(216), (6, 6, 6))
        palette[order] = np.stack([r, g, b], axis=-1) * 51
        image = Image.frombytes("P", rgb.shape[1::-1], order[cube].astype(np.uint8).tobytes())
        image.putpalette(palette.tobytes())
        if self.transparent:
            image.info["transparency"] = int(order[cube][0, 0])
        return image


KINDS = (
    *(Kind("RGB", *size, seed=300 + i) for i, size in enumerate((
        (1, 1), (1, 37), (37, 1), (2, 3), (31, 977), (977, 31), (64, 64), (65, 64), (64, 67),
        (69, 64), (64, 63), (224, 224), (225, 224), (500, 375), (375, 501), (640, 427), (63, 200),
        (1001, 50), (128, 128),
    ))),
    *(Kind("L", *size, seed=340 + i) for i, size in enumerate(((64, 64), (301, 200), (1, 1)))),
    *(Kind("LA", *size, seed=350 + i) for i, size in enumerate(((97, 61), (200, 301)))),
    *(Kind("RGBA", *size, seed=360 + i) for i, size in enumerate(((64, 64), (301, 200), (9, 7)))),
    *(Kind("P", *size, seed=370 + i) for i, size in enumerate(((64, 64), (301, 200), (40, 55)))),
    Kind("P", 150, 111, seed=380, transparent=True),
    *(Kind("1", *size, seed=390 + i) for i, size in enumerate(((64, 64), (301, 200), (40, 55)))),
    *(Kind("I;16", *size, seed=400 + i) for i, size in enumerate(((64, 64), (301, 200)))),
    Kind("I", 120, 90, seed=410),
    Kind("F", 120, 90, seed=420),
    *(Kind("CMYK", *size, seed=430 + i) for i, size in enumerate(((64, 64), (301, 200)))),
    Kind("YCbCr", 130, 99, seed=440),
    Kind("HSV", 130, 99, seed=450),
)  # fmt: skip
LARGE_KINDS = (  # used at 224 pixels; little grain keeps the stored outputs small
    Kind("RGB", 500, 375, seed=501, grain=2),
    Kind("L", 300, 451, seed=502, grain=2),
    Kind("P", 333, 256, seed=503, grain=0),
)


def encoded_files() -> dict[str, bytes]:
    """Return encoded files. Fixtures store the bytes, because encoders change between releases."""
    rgb = Image.fromarray(photograph(150, 101, seed=600))
    gray = Image.fromarray(photograph(101, 150, seed=601)[..., 0])
    cmyk = Kind("CMYK", 99, 80, seed=602).draw()
    palette = Kind("P", 99, 80, seed=603).draw()
    deep = Kind("I;16", 90, 77, seed=604).draw()
    turned = Image.Exif()
    turned[0x0112] = 6  # EXIF orientation: rotate by 90 degrees
    return {
        "rgb.jpg": _encode(rgb, "JPEG", quality=90),
        "progressive.jpg": _encode(rgb, "JPEG", quality=60, progressive=True, subsampling=0),
        "grey.jpg": _encode(gray, "JPEG", quality=85),
        "cmyk.jpg": _encode(cmyk, "JPEG", quality=85),
        "turned.jpg": _encode(rgb, "JPEG", quality=85, exif=turned),
        "rgb.png": _encode(rgb.resize((75, 50)), "PNG"),
        "palette.png": _encode(palette, "PNG"),
        "grey16.png": _encode(deep, "PNG"),
        "rgba.png": _encode(Kind("RGBA", 60, 45, seed=605).draw(), "PNG"),
        "lossy.webp": _encode(rgb, "WEBP", quality=80),
        "lossless.webp": _encode(rgb.resize((75, 50)), "WEBP", lossless=True),
        "palette.gif": _encode(palette, "GIF"),
        "rgb.tiff": _encode(rgb.resize((60, 40)), "TIFF", compression="tiff_lzw"),
        "rgb.bmp": _encode(rgb.resize((40, 30)), "BMP"),
    }


def _encode(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def _of_bytes(mode: str, array: NDArray[np.uint8]) -> Image.Image:
    return Image.frombytes(mode, array.shape[1::-1], np.ascontiguousarray(array).tobytes())


def _surface(
    random: np.random.RandomState, width: int, height: int, *, cells: int
) -> NDArray[np.int64]:
    """Interpolate a coarse random grid to [height, width, 3] in fixed-point arithmetic."""
    one = 256
    grid = random.randint(0, 256, (cells + 1, cells + 1, 3)).astype(np.int64)
    y = np.arange(height) * cells * one // height
    x = np.arange(width) * cells * one // width
    row, column = y // one, x // one
    down, right = (y % one)[:, None, None], (x % one)[None, :, None]
    top = grid[row][:, column] * (one - right) + grid[row][:, column + 1] * right
    bottom = grid[row + 1][:, column] * (one - right) + grid[row + 1][:, column + 1] * right
    return np.asarray((top * (one - down) + bottom * down) // (one * one), dtype=np.int64)
