"""Define the interface of a backend, which runs a network on one kind of device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zeroshot.images import ImageLike
from zeroshot.images.jpeg import JpegFile
from zeroshot.images.preprocess import Preprocess
from zeroshot.spec import NetworkConfig

Row = tuple[int, ...]  # token ids of one text, start and end included


@dataclass(frozen=True)
class Levels:
    """The gray levels of an image, which a device normalizes itself: a quarter of the bytes."""

    values: NDArray[np.uint8] | Tensor  # [3, s, s]; a tensor is on the device
    mean: tuple[float, float, float]  # of the preprocessing
    std: tuple[float, float, float]


@dataclass(frozen=True)
class Encoded:
    """A JPEG file that a device decodes itself."""

    file: JpegFile
    preprocess: Preprocess


@dataclass(frozen=True)
class Picture:
    """A decoded picture that a device resamples."""

    values: NDArray[np.uint8] | Tensor  # [h, w, 3]; a tensor is on the device
    preprocess: Preprocess


# Pixels [n, 3, s, s], n of [3, h, w] for a tower of any grid, or the levels of n images.
Images = Tensor | Sequence[Tensor] | Sequence[Levels]
Loaded = NDArray[np.float32] | Levels | Picture | Encoded
Item = TypeVar("Item")
Pixels = TypeVar("Pixels")
Result = TypeVar("Result")


class Values(Protocol):
    """The float32 values of one module, borrowed by name; do not write to them.

    A value stays valid while it is referenced.
    """

    def __getitem__(self, name: str) -> Tensor: ...
    def rows(self, name: str, ids: Tensor) -> Tensor: ...  # of a large table, others stay unread
    def of(self, name: str) -> Values: ...  # of a submodule
    def release(self) -> None: ...  # allow the system to reclaim the memory of values read


class NetworkWeights(Protocol):
    """The weights of a network, borrowed tensor by tensor or copied into a module."""

    @property
    def on_meta(self) -> nn.Module: ...  # the network's structure without values
    def values(self, module: str) -> Values: ...
    def materialize(
        self, module: str, *, device: torch.device | str, dtype: torch.dtype
    ) -> nn.Module: ...


class Backend(Protocol):
    """Runs both towers of a network on one device in one precision.

    To add a kind of device, write a class with these methods and add it to `runner.BACKENDS`.
    """

    texts_at_once: int  # given to `embed_ids`; progress is shown between them
    text_workers: int  # threads that embed texts at once; 0: the caller's
    busy_until: float  # time.monotonic() until which a single image is faster on one core

    def __init__(
        self,
        weights: NetworkWeights,
        config: NetworkConfig,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None: ...

    def prepare(self, image: ImageLike, preprocess: Preprocess) -> NDArray[np.float32]:
        """Convert an image to normalized pixels: float32 [3, size, size] or [3, height, width]."""

    def load(self, image: ImageLike, preprocess: Preprocess) -> Loaded:
        """Convert an image to what `embed_pixels` reads fastest: levels, or as by `prepare`.

        What the device decodes or resamples must be given to `decode` first.
        """

    def decode(self, images: list[Any]) -> list[Any]:
        """Decode what `load` left to the device: each becomes Levels or an ImageError.

        Everything else is returned as it is.
        """

    def describe_decoder(self, preprocess: Preprocess) -> str:
        """Return what decodes ordinary JPEG files, and its version."""

    def embed_pixels(self, pixels: Images, batch_size: int | None, project: bool = True) -> Tensor:
        """Embed pixels of n images as float32 [n, d]; at most `batch_size` at once.

        Levels are accepted only from the same backend's `load`. Without `project`, return the
        features before the tower's projection to the shared space.
        """

    def embed_ids(self, rows: list[Row], batch_size: int | None) -> Tensor:
        """Embed distinct texts as float32 [n, d]; at most `batch_size` at once."""

    def map_batches(
        self,
        prepare: Callable[[Item], Pixels],
        embed: Callable[[list[Pixels]], Result],
        items: Iterable[Item],
        *,
        batch_size: int | None = None,
        workers: int | None = None,
    ) -> Iterator[Result]:
        """Prepare items and embed them in batches, in order, with bounded memory."""
