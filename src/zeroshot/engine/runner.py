"""The Engine: a network on a device, fed in batches of a good size."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import cached_property, wraps
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zeroshot.engine import workers
from zeroshot.engine.blocks import Filled, in_memory
from zeroshot.engine.concept import FastConceptTower
from zeroshot.engine.resnet import FastResNet
from zeroshot.engine.text import Batch, FastTextTransformer, Row, plan
from zeroshot.engine.vision import FastVisionTransformer
from zeroshot.errors import NonFiniteError
from zeroshot.nn.concept import ConceptTower
from zeroshot.nn.config import NetworkConfig, ViTConfig
from zeroshot.nn.network import Network
from zeroshot.nn.resnet import ModifiedResNet
from zeroshot.nn.vision_transformer import VisionTransformer

CPU_IMAGES = 8  # of a micro-batch: beyond it activations leave a core's cache
ACCELERATOR_BATCH = 256

Vision = Callable[[Tensor], Tensor]
Task = TypeVar("Task")
Result = TypeVar("Result")


class Engine:
    """Runs a network's two towers; each is made ready when it is first used.

    `network` is on the CPU; `filled` gives a module of it float32 values while it is rewritten or
    moved. With `plain` the modules themselves are run, which is what the fast towers are compared
    with: on a CPU they need values of their own.
    """

    def __init__(
        self,
        network: Network,
        config: NetworkConfig,
        device: torch.device,
        dtype: torch.dtype,
        *,
        plain: bool = False,
        filled: Filled = in_memory,
    ) -> None:
        self.device = device
        self.dtype = dtype
        self._network = network
        self._config = config
        self._plain = plain or device.type != "cpu"
        self._filled = filled
        self._making = threading.Lock()  # workers may ask for a tower all at once

    @property
    def pool(self) -> Executor | None:
        """The one-thread workers, for work that shall run beside the towers; None off the CPU."""
        return workers.pool() if self.device.type == "cpu" else None

    @cached_property
    def _vision(self) -> Vision:
        tower, config = self._network.visual, self._config.vision
        with torch.inference_mode():
            if not self._plain and isinstance(tower, VisionTransformer):
                assert isinstance(config, ViTConfig)
                return FastVisionTransformer(tower, config, self.dtype, self._filled)
            if not self._plain and isinstance(tower, ModifiedResNet):
                return FastResNet(tower, self.dtype, self._filled)
            if not self._plain and isinstance(tower, ConceptTower):
                return FastConceptTower(tower, self.dtype, self._filled)
            return self._moved(tower)

    @cached_property
    def _fast_text(self) -> FastTextTransformer:
        text, config = self._network.text, self._config.text
        with torch.inference_mode():
            return FastTextTransformer(text, config, self.dtype, self._filled)

    @cached_property
    def _plain_text(self) -> nn.Module:
        return self._moved(self._network.text)

    def _blank(self, count: int) -> Tensor:
        shape = (count, self._config.embed_dim)
        return torch.empty(shape, dtype=torch.float32, device=self.device)

    def __getstate__(self) -> dict[str, Any]:
        # Towers that were made ready are made again; packed weights and locks cannot travel.
        made = ("_making", "_vision", "_fast_text", "_plain_text")
        return {name: value for name, value in dict(vars(self)).items() if name not in made}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _making=threading.Lock())

    def _moved(self, tower: nn.Module) -> nn.Module:
        with self._filled(tower):
            if self.device.type == "cpu" and self.dtype == torch.float32:
                return tower
            return copy.deepcopy(tower).to(self.device, self.dtype)

    # Towers run in inference mode, but what is returned is made outside of it, under no_grad:
    # an inference tensor could not be used in training a layer on top.
    @torch.no_grad()
    def encode_pixels(
        self, pixels: Tensor, *, batch_size: int | None = None, normalize: bool = True
    ) -> Tensor:
        """Embed normalised pixels [n, 3, s, s] as float32 [n, d].

        `batch_size` bounds what is run at once; by default it is chosen for the device.
        """
        if self.device.type == "cpu":
            # Also a few images are worth a worker each.
            share = -(-len(pixels) // workers.count())
            size = min(batch_size or CPU_IMAGES, max(share, 1))
        else:
            size = batch_size or ACCELERATOR_BATCH
        with self._making:
            vision = self._vision

        @_in_inference
        def embed(batch: Tensor) -> Tensor:
            return vision(batch.to(self.device, self.dtype)).float()

        return _finished(torch.cat(workers.run(embed, pixels.split(size))), normalize)

    @torch.no_grad()
    def encode_ids(
        self,
        rows: Sequence[Sequence[int]],
        *,
        batch_size: int | None = None,
        normalize: bool = True,
    ) -> Tensor:
        """Embed token rows (start and end included, no padding) as float32 [n, d]."""
        texts = [self._cut(row) for row in rows]
        distinct = list(dict.fromkeys(texts))
        if self._plain:
            embeddings = self._encode_plain(distinct, batch_size or ACCELERATOR_BATCH)
        else:
            embeddings = self._encode_planned(distinct)
        if len(distinct) < len(texts):
            place = {text: i for i, text in enumerate(distinct)}
            embeddings = embeddings[[place[text] for text in texts]]
        return _finished(embeddings, normalize)

    def _cut(self, row: Sequence[int]) -> Row:
        """Cut a row after its first end token, where it is pooled: a text may spell out another."""
        end = self._config.text.vocab_size - 1
        return tuple(row[: row.index(end) + 1])

    def _encode_planned(self, rows: list[tuple[int, ...]]) -> Tensor:
        with self._making:
            tower = self._fast_text
        batches = plan(rows, workers.count())
        prefixes = list({batch.prefix: None for batch in batches})
        kept = dict(zip(prefixes, workers.run(_in_inference(tower.prefix), prefixes), strict=True))

        @_in_inference
        def embed(batch: Batch) -> Tensor:
            return tower.run(batch, kept[batch.prefix]).float()

        embeddings = self._blank(len(rows))
        for batch, part in zip(batches, workers.run(embed, batches), strict=True):
            embeddings[batch.texts] = part
        if bad := _not_finite(embeddings):
            # Or only beside one: a key that is not seen counts nothing, but 0 * NaN is NaN.
            embeddings[bad] = self._encode_plain([rows[i] for i in bad], ACCELERATOR_BATCH)
        return embeddings

    def _encode_plain(self, rows: list[tuple[int, ...]], size: int) -> Tensor:
        """Run rows sorted by length, each batch cut to its longest: exact, being causal."""
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        embeddings = self._blank(len(rows))
        for first in range(0, len(rows), size):
            places = order[first : first + size]
            length = len(rows[places[-1]])
            padded = [rows[i] + (0,) * (length - len(rows[i])) for i in places]
            ids = torch.tensor(padded, device=self.device)
            embeddings[places] = self._plain_text(ids).float()
        return embeddings


def _in_inference(work: Callable[[Task], Result]) -> Callable[[Task], Result]:
    """Run work in inference mode and without the caller's autocast: both hold for a thread only."""

    @wraps(work)
    def run(task: Task) -> Result:
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            return work(task)

    return run


def _finished(embeddings: Tensor, normalize: bool) -> Tensor:
    """Check for numbers that are none, and scale rows to unit length."""
    if rows := _not_finite(embeddings):
        raise NonFiniteError(
            f"the network gave NaN or infinity for inputs {rows[:10]}; if they are finite "
            "themselves, try dtype='float32'",
            rows=rows,
        )
    return F.normalize(embeddings, dim=-1) if normalize else embeddings


def _not_finite(embeddings: Tensor) -> list[int]:
    """List the rows that hold NaN or infinity."""
    return [int(row) for row in (~torch.isfinite(embeddings).all(dim=1)).nonzero()]
