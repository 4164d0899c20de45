"""Embed images in order, a batch at a time.

An unreadable image raises an error or becomes a Failure. `Model.encode_image`, `Classifier` and
`zeroshot encode` all use this stream. The encoder decides how images are distributed over threads
and batches (`map_batches`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, cast

import numpy as np
from torch import Tensor

from zeroshot.arguments import count
from zeroshot.errors import ImageError, InputError, shortened
from zeroshot.images import ImageLike, describe, is_single, iterate
from zeroshot.predictions import Failure
from zeroshot.progress import Bar, Show, length, track

LARGEST_BATCH = 2**31 - 1
OnError = Literal["raise", "yield"]
Key = str | None  # path, URL or key of an image, if it has one
Item = TypeVar("Item")
Pixels = TypeVar("Pixels")
Result = TypeVar("Result")
IMAGE_METHODS = ("identity", "is_busy", "prepare", "encode_pixels", "map_batches")


class ImageEncoder(Protocol):
    """The part of a model that embedding images requires."""

    @property
    def identity(self) -> str: ...
    @property
    def is_busy(self) -> bool: ...  # other programs use the cores
    def prepare(self, image: ImageLike) -> Any: ...  # pixels
    # Pixels of several images: an array, or a list if their shapes are different.
    def encode_pixels(
        self,
        pixels: Any,
        *,
        batch_size: int | None = None,
        normalize: bool = True,
        project: bool = True,  # into the space shared with texts
    ) -> Tensor: ...

    # Prepare items one by one and embed them in batches, in order; see `lookahead.embed_batches`.
    def map_batches(
        self,
        prepare: Callable[[Item], Pixels],
        embed: Callable[[list[Pixels]], Result],
        items: Iterable[Item],
        *,
        batch_size: int | None = None,
        workers: int | None = None,
    ) -> Iterator[Result]: ...


class Prepared(NamedTuple):
    """An image on its way to the encoder."""

    position: int
    key: Key
    values: Any  # what the encoder's loader returned, or an ImageError


@dataclass(frozen=True)
class Embedded:
    """One batch of the stream.

    `outcomes` contains the key of each image, or a Failure at its position; `rows` contains the
    embeddings of the readable images, in the same order: float32 [m, d], or None when m is 0.
    `scores` contains what `score` returned for them.
    """

    outcomes: list[Key | Failure]
    rows: Tensor | None
    scores: Sequence[Any] = ()


def embed(
    encoder: ImageEncoder,
    images: ImageLike | Iterable[ImageLike],
    *,
    batch_size: int | None = None,
    workers: int | None = None,
    on_error: OnError = "raise",
    normalize: bool = True,
    project: bool = True,
    score: Callable[[Tensor, list[Key]], Sequence[Any]] | None = None,
    progress: Show = None,
) -> Iterator[Embedded]:
    """Embed images in order with bounded memory, in batches.

    The encoder chooses the batch size unless `batch_size` is given. `workers` is the number of
    threads that decode images; by default the encoder decides. A single image is decoded and
    embedded in the caller's thread, using all cores, unless other programs use them. With
    on_error="yield" an image that cannot be read becomes a Failure. `normalize` and `project` are
    those of `ImageEncoder.encode_pixels`. `score` takes the embeddings and the keys of a batch's
    readable images, in the thread that embedded them, and returns one result per image. `progress`
    shows a bar; None shows one on a terminal or in a notebook after two seconds. Raises
    InputError for invalid arguments, and ImageError for the first image that cannot be read if
    `on_error` is "raise".
    """
    batch_size, workers = check_batch_size(batch_size), check_workers(workers)
    single = is_single(images)
    load, decode = get_loader(encoder), get_decoder(encoder)

    def prepare(numbered: tuple[int, ImageLike]) -> Prepared:
        position, image = numbered
        try:
            return Prepared(position, describe(image), load(image))
        except ImageError as error:
            return Prepared(position, describe(image), error)

    def get_outcome(item: Prepared, values: Any) -> Key | Failure:
        if not isinstance(values, ImageError):
            return item.key
        if item.key is None and not single:
            values.args = (f"images[{item.position}]: {values}",)
        return Failure(item.key, values)

    def encode(batch: list[Prepared]) -> Embedded:
        loaded = [item.values for item in batch]
        if not all(isinstance(values, np.ndarray) for values in loaded):  # arrays are pixels
            loaded = decode(loaded)
        outcomes = [get_outcome(*each) for each in zip(batch, loaded, strict=True)]
        pixels = [values for values in loaded if not isinstance(values, ImageError)]
        if not pixels:
            return Embedded(outcomes, None)
        rows = encoder.encode_pixels(
            stack_equal(pixels), batch_size=batch_size, normalize=normalize, project=project
        )
        if score is None:
            return Embedded(outcomes, rows)
        # Here a worker's torch uses one core. In the consumer's thread it would use all of them,
        # against the workers: a stream of images took 20 % more processor time.
        keys = [outcome for outcome in outcomes if not isinstance(outcome, Failure)]
        return Embedded(outcomes, rows, score(rows, keys))

    items = enumerate([cast(ImageLike, images)] if single else iterate(images))
    if single and workers is None and not encoder.is_busy:
        batches: Iterator[Embedded] = (encode([prepare(item)]) for item in items)
    else:
        bar = Bar("images", 1 if single else length(images), progress)
        batches = encoder.map_batches(
            prepare, encode, items, batch_size=batch_size, workers=workers
        )
        batches = track(batches, bar, lambda batch: len(batch.outcomes))
    return _raise_failures(batches) if on_error == "raise" else batches


def get_loader(encoder: ImageEncoder) -> Callable[[ImageLike], Any]:
    """Return the function that converts an image to what the encoder's `encode_pixels` reads.

    A Model has one beside `prepare`, which may return gray levels that its device normalizes, or a
    file that its device decodes.
    """
    return cast(Any, encoder)._load if _loads(encoder) else encoder.prepare


def get_decoder(encoder: ImageEncoder) -> Callable[[list[Any]], list[Any]]:
    """Return the function that decodes files among what the loader returned."""
    return cast(Any, encoder)._decode if _loads(encoder) else list


def _loads(encoder: ImageEncoder) -> bool:
    """Return whether the encoder's `_load` may be used in place of `prepare`.

    Its `prepare` and `encode_pixels` must be of the same class: a wrapper or a subclass may replace
    either, and expects pixels.
    """
    owner = next((each for each in type(encoder).__mro__ if "_load" in vars(each)), None)
    if owner is None:
        return False
    methods = ((name, getattr(encoder, name)) for name in ("prepare", "encode_pixels"))
    return all(getattr(each, "__func__", None) is vars(owner).get(name) for name, each in methods)


def stack_equal(pixels: Sequence[Any]) -> Any:
    """Stack arrays of equal shapes; others, such as those of images of any grid, stay a list."""
    shapes = {getattr(each, "shape", None) for each in pixels}
    return np.stack(pixels) if len(shapes) == 1 and None not in shapes else list(pixels)


def _raise_failures(batches: Iterator[Embedded]) -> Iterator[Embedded]:
    """Raise the error of the first failure, after the images before it."""
    for batch in batches:
        failures = [i for i, outcome in enumerate(batch.outcomes) if isinstance(outcome, Failure)]
        if not failures:
            yield batch
            continue
        first = failures[0]
        if first and batch.rows is not None:
            yield Embedded(batch.outcomes[:first], batch.rows[:first], batch.scores[:first])
        failure = batch.outcomes[first]
        assert isinstance(failure, Failure)
        raise failure.error


def check_batch_size(batch_size: int | None) -> int | None:
    """Return None or a positive int; raise InputError for anything else."""
    if batch_size is None:
        return None
    return count("batch_size", batch_size, 1, ", or None for the default", most=LARGEST_BATCH)


def check_workers(workers: int | None) -> int | None:
    """Return None or an int that is not negative; raise InputError for anything else."""
    if workers is None:
        return None
    return count("workers", workers, 0, ", or None for the default")


def check_many(images: object) -> None:
    """Raise InputError for a single image in place of an iterable of images."""
    if is_single(images):
        raise InputError(
            f"expected an iterable of images, got one image {shortened(repr(images))}; pass [image]"
        )


def check_length(images: int, truths: int) -> None:
    """Raise InputError if there is not one truth per image."""
    if images != truths:
        raise InputError(
            f"expected one truth per image, got {images} images but {truths} truths; pass lists "
            "of equal length"
        )
