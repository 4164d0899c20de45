"""The Engine: a network on a device, with checked and normalized embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zeroshot.engine.backend import Backend, NetworkWeights
from zeroshot.engine.cpu.backend import CpuBackend, not_finite
from zeroshot.engine.plain import PlainBackend
from zeroshot.errors import NonFiniteError
from zeroshot.spec import NetworkConfig

BACKENDS: dict[str, type[Backend]] = {"cpu": CpuBackend}  # torch's other devices: PlainBackend


class Engine:
    """Runs a network's two towers; each is made ready when it is first used.

    With `plain` the modules of `zeroshot.nn` are run, which is what faster towers are compared
    with.
    """

    def __init__(
        self,
        weights: NetworkWeights,
        config: NetworkConfig,
        device: torch.device,
        dtype: torch.dtype,
        *,
        plain: bool = False,
    ) -> None:
        self.device = device
        self.dtype = dtype
        self._made_of = (weights, config, device, dtype)
        self._plain = plain
        self._config = config
        kind = PlainBackend if plain else BACKENDS.get(device.type, PlainBackend)
        self.backend: Backend = kind(weights, config, device, dtype)

    def __getstate__(self) -> dict[str, Any]:
        # Packed weights and locks cannot be pickled; the backend is made again.
        return {"made_of": self._made_of, "plain": self._plain}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Engine.__init__(self, *state["made_of"], plain=state["plain"])

    # Towers run in inference mode, but what is returned is made outside of it, under no_grad:
    # an inference tensor could not be used in training a layer on top.
    @torch.no_grad()
    def encode_pixels(
        self, pixels: Tensor, *, batch_size: int | None = None, normalize: bool = True
    ) -> Tensor:
        """Embed normalized pixels [n, 3, s, s] as float32 [n, d].

        `batch_size` bounds what is run at once; by default it is chosen for the device.
        """
        return _finished(self.backend.embed_pixels(pixels, batch_size), normalize)

    @torch.no_grad()
    def encode_ids(
        self,
        rows: Sequence[Sequence[int]],
        *,
        batch_size: int | None = None,
        normalize: bool = True,
    ) -> Tensor:
        """Embed token rows (start and end included, no padding) as float32 [n, d]."""
        end = self._config.text.vocab_size - 1
        # cut after the first end token, where a row is pooled: a text may spell out another
        texts = [tuple(row[: row.index(end) + 1]) for row in rows]
        distinct = list(dict.fromkeys(texts))
        embeddings = self.backend.embed_ids(distinct, batch_size)
        if len(distinct) < len(texts):
            place = {text: i for i, text in enumerate(distinct)}
            embeddings = embeddings[[place[text] for text in texts]]
        return _finished(embeddings, normalize)


def _finished(embeddings: Tensor, normalize: bool) -> Tensor:
    """Check for NaN and infinity, and scale rows to unit length."""
    if rows := not_finite(embeddings):
        raise NonFiniteError(
            f"the network gave NaN or infinity for inputs {rows[:10]}; if they are finite "
            "themselves, try dtype='float32'",
            rows=rows,
        )
    return F.normalize(embeddings, dim=-1) if normalize else embeddings
