"""Run networks on a CUDA GPU, fed with pictures from threads.

Threads prepare images as uint8 and two more threads embed batches: while the GPU computes one
batch, the next one is copied to it and resampled. Batches are as large as the memory allows. On
another device the same code runs simulated, for tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import cached_property
from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zeroshot import lookahead
from zeroshot.engine import resampling
from zeroshot.engine.backend import (
    Encoded,
    Images,
    Item,
    Levels,
    Loaded,
    NetworkWeights,
    Picture,
    Pixels,
    Result,
    Row,
)
from zeroshot.engine.cpu.workers import get_pool
from zeroshot.engine.cuda.graphs import Graphs
from zeroshot.engine.cuda.jpeg import LARGEST
from zeroshot.engine.cuda.memory import Limit, count_that_fit
from zeroshot.engine.cuda.pictures import PIXELS, Pictures, get_size
from zeroshot.engine.cuda.runtime import make_runtime
from zeroshot.engine.cuda.staging import Staging
from zeroshot.engine.cuda.text_batches import TEXTS, arrange
from zeroshot.engine.cuda.towers import CUDA_TOWERS, count_image_values
from zeroshot.engine.plain import PlainBackend
from zeroshot.engine.torch_state import inference, without_cudnn_attention
from zeroshot.errors import DeviceError
from zeroshot.images import ImageLike, Sample
from zeroshot.images.jpeg import JpegFile
from zeroshot.images.preprocess import Preprocess
from zeroshot.machine import cores
from zeroshot.spec import NetworkConfig

IMAGES = 256  # at once at most: the plain ViT-B/32 was 1.05 times as fast with 1024 on an H200
SIMULATED_IMAGES = 32  # at once where the memory is not known
HELD_BYTES = 256 * 2**20  # of images prepared ahead as levels, unless one batch has more
LARGEST_PICTURE = 400_000  # pixels; with batches of 256 up to 1,024 pictures are held: 1.2 GB
GROUP = 4  # images per task of a thread, if a batch is large enough for all threads
EMBEDDING = 2  # threads that embed: one copies while the batch of the other is computed
SORTED_TEXTS = 16_384  # sorted by length together: more of them differ less within a batch
FEW_TEXTS = 32  # whose length is rounded up, so that they share CUDA graphs
STEP = 8  # tokens

Color = tuple[float, float, float]


class CudaBackend(PlainBackend):
    """Runs rewritten towers on a GPU; each is built on first use.

    Images of different shapes run as in PlainBackend.
    """

    texts_at_once = SORTED_TEXTS
    text_workers = EMBEDDING

    def __init__(
        self,
        weights: NetworkWeights,
        config: NetworkConfig,
        device: torch.device,
        dtype: torch.dtype,
        *,
        tf32: bool = False,
    ) -> None:
        super().__init__(weights, config, device, dtype, tf32=tf32)
        self._runtime = make_runtime(device)
        self._staging = Staging(self._runtime)
        self._graphs = Graphs(self._runtime)
        self._texts = Limit(self._runtime, TEXTS, "text")
        self._normalizations: dict[Any, _Normalization] = {}
        self._pictures = Pictures(self._runtime, self._staging, device)

    @cached_property
    def _visual(self) -> nn.Module:
        return self._build("visual", self._config.vision)

    @cached_property
    def _text(self) -> nn.Module:
        return self._build("text", self._config.text)

    @cached_property
    def _images(self) -> Limit:
        size = count_image_values(self._config.vision) * self.dtype.itemsize
        free = self._runtime.free_memory()
        most = SIMULATED_IMAGES if free is None else IMAGES
        return Limit(self._runtime, count_that_fit(free, size, most), "image")

    def _build(self, name: str, config: Any) -> nn.Module:
        """Copy a tower to the device and rewrite it."""
        try:
            tower = self._weights.materialize(name, device=self.device, dtype=self.dtype)
            rewrite = CUDA_TOWERS.get(type(config))
            with torch.inference_mode(False):
                return rewrite(config, tower, self._weights.values(name)) if rewrite else tower
        except torch.OutOfMemoryError as error:
            raise DeviceError(
                f"out of memory: the {name} tower does not fit on {self.device}; "
                f"{self._runtime.describe_memory()}; close other programs that use it, or load "
                "the model with dtype='float16' or device='cpu'"
            ) from error

    def load(self, image: ImageLike, preprocess: Preprocess) -> Loaded:
        """Convert an image to gray levels, or to pixels if images have different shapes.

        Otherwise an ordinary JPEG is returned decoded, for this device to resample it. With
        decode="fast" it is returned as a file, if this device decodes it.
        """
        if preprocess.resize_mode == "aspect":
            return self.prepare(image, preprocess)
        exact = preprocess.parity or self.dtype == torch.float32
        if self._decodes_files(preprocess):
            opened = preprocess.open_encoded(image, LARGEST)
        elif exact:
            return Levels(preprocess.levels(image), preprocess.mean, preprocess.std)
        else:
            opened = preprocess.open_pixels(image)
        if isinstance(opened, JpegFile):
            encoded = Encoded(opened, preprocess)
            height, width = get_size(encoded)
            if height * width <= PIXELS and resampling.is_usual(height, width, preprocess):
                return encoded
            opened = preprocess.open_pixels(Sample(opened.name, opened.content))
        if not exact and isinstance(opened, np.ndarray) and opened.size <= 3 * LARGEST_PICTURE:
            picture = Picture(opened, preprocess)
            if resampling.is_usual(*get_size(picture), preprocess):
                return picture
        levels = resampling.resample_levels(opened, preprocess, exact=exact)
        return Levels(levels, preprocess.mean, preprocess.std)

    def describe_decoder(self, preprocess: Preprocess) -> str:
        """Return what decodes ordinary JPEG files, and its version."""
        if self._decodes_files(preprocess):
            return str(self._pictures.jpegs)
        return super().describe_decoder(preprocess)

    def _decodes_files(self, preprocess: Preprocess) -> bool:
        """Return whether this device decodes JPEG files itself."""
        is_fast = preprocess.decode == "fast" and not preprocess.parity
        return is_fast and self._pictures.jpegs.is_usable

    def decode(self, images: list[Any]) -> list[Any]:
        """Decode what `load` left to the device: each becomes Levels or an ImageError."""
        self._runtime.check_process()
        return self._pictures.to_levels(images)

    def embed_pixels(
        self, pixels: Images, batch_size: int | None = None, project: bool = True
    ) -> Tensor:
        """Embed images as float32 [n, d], or as features without `project`.

        Raises DeviceError if one image does not fit in the memory of the device, or if the device
        was used before this process was forked.
        """
        self._runtime.check_process()
        if not isinstance(pixels, Tensor) and not _are_levels(pixels):
            return super().embed_pixels(pixels, batch_size, project)
        with self._lock:
            tower: Any = self._visual
            limit = self._images
        run = tower if project else tower.trunk
        rows: Any = [each.values for each in pixels] if _are_levels(pixels) else pixels
        normalize = self._get_normalization(pixels[0]) if _are_levels(pixels) else None

        def step(given: Tensor) -> Tensor:
            prepared = given if normalize is None else normalize(given)
            embeddings: Tensor = run(prepared.to(self.dtype)).float()
            return embeddings

        def work(part: slice) -> Tensor:
            with inference(self.device, self.dtype, tf32=self.tf32):
                name = "visual", project, normalize
                return self._graphs.run(name, step, self._upload(rows[part]))

        return torch.cat(limit.run(len(pixels), batch_size, work))

    def embed_ids(self, rows: list[Row], batch_size: int | None = None) -> Tensor:
        """Embed texts as float32 [n, d], in batches of similar length.

        A batch is padded to its longest text, or a few tokens more, which is exact because
        attention is causal or padding is masked. Raises DeviceError as `embed_pixels` does.
        """
        self._runtime.check_process()
        if not rows:
            return torch.empty(0, self._config.embed_dim, dtype=torch.float32, device=self.device)
        with self._lock:
            tower = self._text
        most = min(batch_size or TEXTS, self._texts.most)
        parts: list[Tensor] = []
        order: list[NDArray[np.int64]] = []

        def step(ids: Tensor) -> Tensor:
            embeddings: Tensor = tower(ids).float()
            return embeddings

        for batch in arrange(rows, self._config.text.pad or 0, texts=most):
            ids = torch.from_numpy(self._widen(batch.ids))

            def work(part: slice, ids: Tensor = ids) -> Tensor:
                with (
                    inference(self.device, self.dtype, tf32=self.tf32),
                    without_cudnn_attention(self.device),
                ):
                    return self._graphs.run("text", step, self._upload(ids[part]))

            parts += self._texts.run(len(ids), batch_size, work)
            order.append(batch.texts)
        places = torch.from_numpy(np.concatenate(order).argsort())
        return torch.cat(parts)[places.to(self.device)]

    def _get_normalization(self, image: Levels) -> _Normalization:
        """Return the normalization of an image's preprocessing.

        It is kept, because CUDA graphs read its constants.
        """
        facts = image.mean, image.std
        with self._lock:
            if facts not in self._normalizations:
                with torch.inference_mode(False):
                    self._normalizations[facts] = _Normalization(*facts, self.device)
            return self._normalizations[facts]

    def _widen(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Pad a few texts to a multiple of STEP tokens: fewer shapes need fewer graphs."""
        count, length = ids.shape
        text = self._config.text
        if not self._runtime.captures or count > FEW_TEXTS:
            return ids
        wide = max(length, min(-(-length // STEP) * STEP, text.context_length))
        return np.pad(ids, ((0, 0), (0, wide - length)), constant_values=text.pad or 0)

    def _upload(self, rows: Tensor | Sequence[NDArray[Any] | Tensor]) -> Tensor:
        """Move rows to the device; those among several that are tensors are there."""
        if isinstance(rows, Tensor):
            is_there = rows.device.type != "cpu" or not len(rows)
            return rows.to(self.device) if is_there else self._staging.upload(rows)
        arrays = [row for row in rows if not isinstance(row, Tensor)]
        if len(arrays) == len(rows):
            return self._staging.upload(arrays)
        uploaded = iter(self._staging.upload(arrays) if arrays else ())
        return torch.stack([row if isinstance(row, Tensor) else next(uploaded) for row in rows])

    def map_batches(
        self,
        prepare: Callable[[Item], Pixels],
        embed: Callable[[list[Pixels]], Result],
        items: Iterable[Item],
        *,
        batch_size: int | None = None,
        workers: int | None = None,
    ) -> Iterator[Result]:
        """Prepare items on threads and embed batches on two more, ahead of the consumer, in order.

        With workers=0 all of it runs in the caller's thread. All work ends with the iterator.
        """
        self._runtime.check_process()
        with self._lock:
            size = batch_size or self._images.most
        pool = get_pool() if workers is None else None  # of threads whose torch uses one core
        threads = cores() if workers is None else workers
        most = HELD_BYTES // (3 * self._config.vision.image_size**2)
        ahead = max(size, min(2 * size, most))
        prepared = lookahead.run_groups_ahead(
            prepare,
            items,
            size=max(1, min(GROUP, size // max(1, threads))),
            workers=threads,
            limit=ahead,
            pool=pool,
        )
        batches = lookahead.split_batches(prepared, size)
        results = lookahead.run_ahead(
            embed, batches, workers=EMBEDDING if threads else 0, limit=EMBEDDING
        )
        # closed in this order, and explicitly: the traceback of an error would keep them alive
        with closing(prepared), closing(batches), closing(results):
            yield from results


class _Normalization:
    """Normalize gray levels on the device, in float32, with the operations of the reference."""

    def __init__(self, mean: Color, std: Color, device: torch.device) -> None:
        self.mean, self.std = (
            torch.tensor(values, dtype=torch.float32, device=device).view(3, 1, 1)
            for values in (mean, std)
        )
        # a tensor, because torch multiplies by the reciprocal of a number on CUDA
        self.white = torch.tensor(255.0, dtype=torch.float32, device=device)

    def __call__(self, levels: Tensor) -> Tensor:
        """Return float32 pixels: uint8 [n, 3, s, s] to [n, 3, s, s]."""
        return levels.float().div_(self.white).sub_(self.mean).div_(self.std)


def _are_levels(pixels: Images) -> TypeGuard[Sequence[Levels]]:
    """Return whether these images are gray levels."""
    return not isinstance(pixels, Tensor) and len(pixels) > 0 and isinstance(pixels[0], Levels)
