"""Embed parts of an image too, so that several things in one image are found.

The windows are the whole image, its four quarters and its middle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from torch import Tensor

from zeroshot.embedding import ImageEncoder, Item, Pixels, Result, get_loader, stack_equal
from zeroshot.images import ImageLike, open_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

CORNERS = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5), (0.25, 0.25))  # left, top of each half
WINDOWS = 1 + len(CORNERS)
SMALLEST = 16  # pixels of the image's shorter side, below which only the whole image is used


def encoder_for(encoder: ImageEncoder, scoring: str) -> ImageEncoder:
    """Return what embeds images for a head: their windows for independent scores."""
    return WindowEncoder(encoder) if scoring == "independent" else encoder


class WindowEncoder:
    """Embeds each image as the embeddings of its windows: [n, WINDOWS, d]."""

    def __init__(self, encoder: ImageEncoder) -> None:
        self._encoder = encoder

    @property
    def identity(self) -> str:
        """Identity of the model."""
        return self._encoder.identity

    @property
    def is_busy(self) -> bool:
        """Whether other programs use the cores."""
        return self._encoder.is_busy

    def prepare(self, image: ImageLike) -> NDArray[np.float32] | list[NDArray[np.float32]]:
        """Convert the windows of an image to pixels: float32 [WINDOWS, 3, size, size].

        Windows of different shapes are a list, each [3, height, width], and so are gray levels that
        the model's device normalizes.
        """
        preprocess = getattr(self._encoder, "preprocess", None)  # has the options of the model
        opened = open_image(image) if preprocess is None else preprocess.open(image)
        boxes = [(0, 0, opened.width, opened.height)]
        width, height = opened.width // 2, opened.height // 2
        for left, top in CORNERS:
            x, y = int(left * opened.width), int(top * opened.height)
            small = min(opened.size) < SMALLEST
            boxes.append(boxes[0] if small else (x, y, x + width, y + height))
        load = get_loader(self._encoder)
        windows = [opened.crop(box) for box in boxes]
        for window in windows:
            window.info = {}  # an orientation, which was applied, would be applied again
        loaded = [load(window) for window in windows]
        return cast("NDArray[np.float32] | list[NDArray[np.float32]]", stack_equal(loaded))

    def encode_pixels(
        self,
        pixels: NDArray[np.float32] | Sequence[Sequence[NDArray[np.float32]]],
        *,
        batch_size: int | None = None,
        normalize: bool = True,
        project: bool = True,
    ) -> Tensor:
        """Embed the windows of n images: [n, WINDOWS, d]."""
        flat: Any
        if isinstance(pixels, np.ndarray):
            flat = pixels.reshape(-1, *pixels.shape[2:])
        else:
            flat = [window for image in pixels for window in image]
        rows = self._encoder.encode_pixels(
            flat, batch_size=batch_size, normalize=normalize, project=project
        )
        return rows.view(len(pixels), WINDOWS, -1)

    def map_batches(
        self,
        prepare: Callable[[Item], Pixels],
        embed: Callable[[list[Pixels]], Result],
        items: Iterable[Item],
        **options: Any,
    ) -> Iterator[Result]:
        """Prepare and embed in batches, as the encoder does."""
        return self._encoder.map_batches(prepare, embed, items, **options)
