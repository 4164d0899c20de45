"""Generate captioned images of colored shapes, to try pre-training without a download.

    python -m examples.paper.shapes OUT --count 4000

writes OUT/train, OUT/test and OUT/unseen, each with PNG images and a `captions.csv`. `train` and
`test` have the same captions and different images: place, size, color, angle and background vary.
The captions of `unseen` are new combinations of the same words. The same seed gives the same files.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from examples.paper import options
from zeroshot.arguments import count as whole
from zeroshot.errors import InputError
from zeroshot.files import write_atomically

COLORS = {
    "red": (215, 35, 35),
    "green": (35, 155, 55),
    "blue": (40, 75, 215),
    "yellow": (240, 215, 40),
    "purple": (140, 50, 170),
    "black": (25, 25, 25),
}
SIZES = {"small": 0.11, "large": 0.2}  # mean radius, as a share of the side of the image
CORNERS = {  # corners of a shape as (angle in turns, radius), 0 turns is up
    "square": [(n / 4 + 1 / 8, 1.15) for n in range(4)],
    "triangle": [(n / 3, 1.25) for n in range(3)],
    "star": [(n / 10, 1.3 if n % 2 == 0 else 0.52) for n in range(10)],
    "cross": [
        (math.atan2(x, y) / math.tau, 1.2 * math.hypot(x, y))
        for x, y in (
            *((-0.3, 1), (0.3, 1), (0.3, 0.3), (1, 0.3), (1, -0.3), (0.3, -0.3)),
            *((0.3, -1), (-0.3, -1), (-0.3, -0.3), (-1, -0.3), (-1, 0.3), (-0.3, 0.3)),
        )
    ],
}
SHAPES = ("circle", *CORNERS)
PLACES = {  # center, as a share of the side; x to the right, y down
    "on the left": (0.25, 0.5),
    "on the right": (0.75, 0.5),
    "at the top": (0.5, 0.25),
    "at the bottom": (0.5, 0.75),
    "in the middle": (0.5, 0.5),
}
RELATIONS = {  # centers of two shapes; not "below", which would describe the same images as "above"
    "above": ((0.5, 0.27), (0.5, 0.73)),
    "to the left of": ((0.27, 0.5), (0.73, 0.5)),
}
SCALE = 4  # images are drawn this much larger and reduced, which smooths edges


@dataclass(frozen=True)
class Shape:
    """One shape of a caption and the center around which it is drawn."""

    size: str
    color: str
    shape: str
    center: tuple[float, float]

    @property
    def words(self) -> str:
        """The part of the caption about this shape."""
        return f"a {self.size} {self.color} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """A caption and the shapes that it describes."""

    caption: str
    shapes: tuple[Shape, ...]


def scenes() -> list[Scene]:
    """List all scenes: one shape at a place, or two shapes of different words in a relation."""
    kinds = list(product(SIZES, COLORS, SHAPES))
    single = [
        Scene(f"{shape.words} {place}", (shape,))
        for kind in kinds
        for place, center in PLACES.items()
        for shape in (Shape(*kind, center),)
    ]
    double = [
        Scene(f"{first.words} {relation} {second.words}", (first, second))
        for relation, (start, end) in RELATIONS.items()
        for one, two in product(kinds, kinds)
        if one != two
        for first, second in ((Shape(*one, start), Shape(*two, end)),)
    ]
    return single + double


def draw(scene: Scene, side: int, random: np.random.Generator) -> Image.Image:
    """Draw a scene with random place, size, angle, color and background: RGB, side x side."""
    canvas = side * SCALE
    background = random.uniform(185, 250) + random.uniform(-8, 8, 3)
    image = Image.new("RGB", (canvas, canvas), _color(background))
    pencil = ImageDraw.Draw(image)
    for shape in scene.shapes:
        radius = SIZES[shape.size] * random.uniform(0.88, 1.12) * canvas
        x, y = (
            np.clip((at + random.uniform(-0.05, 0.05)) * canvas, radius, canvas - radius)
            for at in shape.center
        )
        fill = _color(np.array(COLORS[shape.color]) + random.uniform(-22, 22, 3))
        if shape.shape == "circle":
            pencil.ellipse((x - radius, y - radius, x + radius, y + radius), fill)
        else:
            turn = random.uniform(-0.03, 0.03)
            angles = [
                (math.tau * (angle + turn), far * radius) for angle, far in CORNERS[shape.shape]
            ]
            pencil.polygon(
                [(x + far * math.sin(a), y - far * math.cos(a)) for a, far in angles], fill
            )
    small = np.asarray(image.reduce(SCALE), dtype=np.float64)
    noisy = small + random.normal(0, 5, small.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def _color(values: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in np.clip(values, 0, 255))
    return red, green, blue


def write(
    out: Path, *, count: int = 4000, captions: int = 300, side: int = 64, seed: int = 0
) -> dict[str, int]:
    """Write the three parts, and return the number of images in each.

    `train` has `count` images of `captions` captions, half of them with two shapes. `test` and
    `unseen` have a quarter as many. Raises InputError if the folder is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"{out}: expected a new or empty folder, got one with files; choose another"
        )
    everything = scenes()
    limit = sum(len(scene.shapes) == 1 for scene in everything)
    if not 4 <= captions <= limit or count < captions or side < 16:
        raise InputError(
            f"expected 4 to {limit} captions, an image or more for each, of 16 pixels or more, "
            f"got {captions} captions, {count} images and {side} pixels"
        )
    seed = whole("seed", seed, 0)
    random = np.random.default_rng(seed)
    shuffled = [everything[n] for n in random.permutation(len(everything))]
    single, double = ([each for each in shuffled if len(each.shapes) == k] for k in (1, 2))
    half, new = captions // 2, captions // 8
    trained = single[:half] + double[: captions - half]
    unseen = single[half : half + new] + double[captions : captions + new]
    parts = {"train": (trained, count), "test": (trained, max(count // 4, captions))}
    parts["unseen"] = (unseen, max(count // 4, len(unseen)))
    for number, (part, (chosen, images)) in enumerate(parts.items()):
        _write_part(out / part, chosen, images, side, (seed, number))
    return {part: images for part, (_, images) in parts.items()}


def _write_part(
    folder: Path, chosen: list[Scene], images: int, side: int, seed: tuple[int, int]
) -> None:
    """Write the images of one part, the same number of each caption, and their captions."""
    folder.mkdir(parents=True)
    rows = []
    for n in range(images):
        scene = chosen[n % len(chosen)]
        name = f"{n:06}.png"
        draw(scene, side, np.random.default_rng((*seed, n))).save(folder / name)
        rows.append((name, scene.caption))
    with (
        write_atomically(folder / "captions.csv") as path,
        path.open("w", newline="", encoding="utf-8") as file,
    ):
        csv.writer(file).writerows([("path", "caption"), *rows])


def main(arguments: list[str]) -> None:
    """Write the images of the arguments, and print the number of images in each part."""
    parser = options.parser(__doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="new or empty folder")
    for name, default, what in (
        ("count", 4000, "number of images to train on"),
        ("captions", 300, "number of different captions"),
        ("side", 64, "side of the images in pixels"),
    ):
        parser.add_argument(
            f"--{name}", type=int, default=default, help=f"{what} (default: {default})"
        )
    options.add_seed(parser, "seed of captions and images")
    given = vars(parser.parse_args(arguments))
    out = given.pop("out")
    for part, images in write(out, **given).items():
        print(f"{out / part}: {images} images")


if __name__ == "__main__":
    options.run(main)
