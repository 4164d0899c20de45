"""Define the Engine: a network on a device.

Its embeddings are checked and normalized.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from zeroshot.engine.backend import Backend, Images, NetworkWeights
from zeroshot.engine.cpu.backend import CpuBackend
from zeroshot.engine.cuda.backend import CudaBackend
from zeroshot.engine.plain import PlainBackend
from zeroshot.errors import NonFiniteError
from zeroshot.progress import Bar, Show, track
from zeroshot.spec import NetworkConfig

# torch's other devices: PlainBackend
BACKENDS: dict[str, type[Backend]] = {"cpu": CpuBackend, "cuda": CudaBackend}


class Engine:
    """Runs the two towers of a network; each is built on first use.

    With `plain` the modules of `zeroshot.nn` run, as a reference for the optimized towers. `tf32`
    allows TF32 in float32 on CUDA.
    """

    def __init__(
        self,
        weights: NetworkWeights,
        config: NetworkConfig,
        device: torch.device,
        dtype: torch.dtype,
        *,
        plain: bool = False,
        tf32: bool = False,
    ) -> None:
        self.device = device
        self.dtype = dtype
        self.tf32 = tf32
        self._arguments = (weights, config, device, dtype)
        self._plain = plain
        self._config = config
        kind: Any = PlainBackend if plain else BACKENDS.get(device.type, PlainBackend)
        options = {"tf32": True} if tf32 else {}  # only backends of CUDA have it
        self.backend: Backend = kind(weights, config, device, dtype, **options)

    @property
    def precision(self) -> str:
        """The precision as `choose_dtype` reads it: the name of the dtype, or "tf32"."""
        return "tf32" if self.tf32 else str(self.dtype).removeprefix("torch.")

    def __getstate__(self) -> dict[str, Any]:
        # Packed weights and locks cannot be pickled; the backend is built again.
        return {"arguments": self._arguments, "plain": self._plain, "tf32": self.tf32}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Engine.__init__(self, *state["arguments"], plain=state["plain"], tf32=state["tf32"])

    # Towers run in inference mode, but results are created outside of it, under no_grad: an
    # inference tensor could not be used to train a layer on top.
    @torch.no_grad()
    def encode_pixels(
        self,
        pixels: Images,
        *,
        batch_size: int | None = None,
        normalize: bool = True,
        project: bool = True,
    ) -> Tensor:
        """Embed normalized pixels [n, 3, s, s], or n of [3, h, w], as float32 [n, d].

        What the backend's `load` returned for n images is accepted too.

        `batch_size` limits how many run at once; the default depends on the device. Without
        `project`, the rows are the features before the projection. Raises NonFiniteError.
        """
        return _finish(self.backend.embed_pixels(pixels, batch_size, project), normalize)

    @torch.no_grad()
    def encode_ids(
        self,
        rows: Sequence[Sequence[int]],
        *,
        batch_size: int | None = None,
        normalize: bool = True,
        progress: Show = None,
    ) -> Tensor:
        """Embed token rows (with start and end, without padding) as float32 [n, d].

        `progress` shows a bar for many texts. Raises NonFiniteError.
        """
        texts = [self._config.text.trim(row) for row in rows]
        distinct = list(dict.fromkeys(texts))
        size = self.backend.texts_at_once
        parts = [distinct[start : start + size] for start in range(0, len(distinct) or 1, size)]
        bar = Bar("texts", len(distinct), progress)
        embeddings = torch.cat(
            [self.backend.embed_ids(part, batch_size) for part in track(parts, bar)]
        )
        if bad := _find_not_finite(embeddings):
            # A text may only share a tree with the cause: a masked key has weight 0, but 0 * NaN
            # is NaN. The plain tower runs texts apart and shows which ones are not finite.
            plain = PlainBackend(*self._arguments)
            embeddings[bad] = plain.embed_ids([distinct[i] for i in bad])
        if len(distinct) < len(texts):
            index = {text: i for i, text in enumerate(distinct)}
            embeddings = embeddings[[index[text] for text in texts]]
        return _finish(embeddings, normalize)


def _finish(embeddings: Tensor, normalize: bool) -> Tensor:
    """Raise NonFiniteError for NaN or infinity, then scale rows to unit length."""
    lengths = embeddings.norm(dim=-1, keepdim=True)  # not finite also if finite values overflow
    if rows := _find_not_finite(lengths):
        raise NonFiniteError(
            f"the network returned NaN or infinity for inputs {rows[:10]}, expected finite "
            "embeddings; if the inputs are finite, try dtype='float32'",
            rows=rows,
        )
    return embeddings / lengths.clamp_min(1e-12) if normalize else embeddings


def _find_not_finite(embeddings: Tensor) -> list[int]:
    """List the rows that contain NaN or infinity."""
    return [int(row) for row in (~torch.isfinite(embeddings).all(dim=1)).nonzero()]
