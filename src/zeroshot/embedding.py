"""Images become unit vectors in order, a batch at a time; an image that cannot be read is a row.

This is the one stream of embeddings: `Model.encode_image`, `Classifier` and `zeroshot encode` map
over it. How images are spread over threads and batches is the encoder's business (`map_batches`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

import numpy as np
from torch import Tensor

from zeroshot.errors import ImageError, InputError
from zeroshot.images import ImageLike, describe, each, is_single
from zeroshot.predictions import Failure

if TYPE_CHECKING:
    from numpy.typing import NDArray

OnError = Literal["raise", "yield"]
Key = str | None  # path, URL or key of an image, where it has one
Item = TypeVar("Item")
Pixels = TypeVar("Pixels")
Result = TypeVar("Result")
Prepared = tuple[Key | Failure, "NDArray[np.float32] | None"]


class ImageEncoder(Protocol):
    """What embedding needs of a model."""

    @property
    def identity(self) -> str: ...
    def prepare(self, image: ImageLike) -> NDArray[np.float32]: ...
    def encode_pixels(
        self,
        pixels: NDArray[np.float32],
        *,
        batch_size: int | None = None,
        normalize: bool = True,
    ) -> Tensor: ...

    # Prepare items one by one and embed them in batches, in order; `pipeline.embedded` does it.
    def map_batches(
        self,
        prepare: Callable[[Item], Pixels],
        embed: Callable[[list[Pixels]], Result],
        items: Iterable[Item],
        *,
        batch_size: int | None = None,
        workers: int | None = None,
    ) -> Iterator[Result]: ...


@dataclass(frozen=True)
class Embedded:
    """One batch of the stream.

    `outcomes` has the key of each image, or the Failure in its place; `rows` the embeddings of
    those that could be read, in the same order: float32 [m, d], or None when m is 0.
    """

    outcomes: list[Key | Failure]
    rows: Tensor | None


def embed(
    encoder: ImageEncoder,
    images: ImageLike | Iterable[ImageLike],
    *,
    batch_size: int | None = None,
    workers: int | None = None,
    on_error: OnError = "raise",
    normalize: bool = True,
) -> Iterator[Embedded]:
    """Embed images in order without holding them all, in batches as large as the encoder wants.

    `workers` is the number of threads that decode images; by default the encoder decides. A single
    image is decoded and embedded in the caller's thread, with every core. With on_error="yield" an
    image that cannot be read becomes a Failure. Raises InputError for wrong arguments, and
    ImageError for the first image that cannot be read unless failures are asked for.
    """
    if on_error not in ("raise", "yield"):
        raise InputError(f"on_error={on_error!r} must be 'raise' or 'yield'")
    check_batch_size(batch_size)
    if workers is None and is_single(images):
        workers = 0

    def prepare(image: ImageLike) -> Prepared:
        try:
            return describe(image), encoder.prepare(image)
        except ImageError as error:
            if on_error == "raise":
                raise
            return Failure(describe(image), error), None

    def encode(batch: list[Prepared]) -> Embedded:
        pixels = [made for _, made in batch if made is not None]
        rows = None
        if pixels:
            rows = encoder.encode_pixels(
                np.stack(pixels), batch_size=batch_size, normalize=normalize
            )
        return Embedded([outcome for outcome, _ in batch], rows)

    return encoder.map_batches(
        prepare, encode, each(images), batch_size=batch_size, workers=workers
    )


def check_batch_size(batch_size: int | None) -> None:
    """Raise InputError unless this is None or a positive integer."""
    if batch_size is not None and (type(batch_size) is not int or batch_size < 1):
        raise InputError(f"batch_size={batch_size!r} must be a whole number of at least 1")
