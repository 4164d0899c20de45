"""How a network runs on this device: precision and batch shapes. The only room that knows hardware.

Text is run at its true length: rows are sorted by length and cut to the longest of their batch,
which changes nothing, since attention is causal and only the end-of-text place is read.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from zeroshot.errors import InputError, NonFiniteError
from zeroshot.nn.network import Network

DType = Literal["float32", "bfloat16", "float16"]
DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
IMAGE_BATCH = {"cpu": 16}  # beyond it the activations leave the caches
TEXT_BATCH = {"cpu": 128}
ACCELERATOR_BATCH = 256


def choose_device(device: str | torch.device | None) -> torch.device:
    """Return the device asked for, or the best there is: CUDA, then MPS, then CPU."""
    if device is not None:
        try:
            chosen = torch.device(device)
        except RuntimeError as error:
            raise InputError(f"device={device!r} is no device torch knows; try 'cpu'") from error
        if chosen.type == "cuda" and not torch.cuda.is_available():
            raise InputError(f"device={device!r}, but torch {torch.__version__} sees no CUDA GPU")
        if chosen.type == "mps" and not torch.backends.mps.is_available():
            raise InputError(f"device={device!r}, but torch {torch.__version__} sees no Apple GPU")
        return chosen
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def choose_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """Return the precision asked for, or the default of the device.

    float32 on CPU and Apple GPUs, float16 on CUDA, in which OpenAI's weights were released.
    """
    if dtype is None:
        return torch.float16 if device.type == "cuda" else torch.float32
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise InputError(f"dtype={dtype!r} is not supported; choose one of {', '.join(DTYPES)}")
    return DTYPES[name]


class Engine:
    """A network on a device, fed in batches of a good size.

    `network` stays as given; the engine runs a copy where device or precision differ.
    """

    def __init__(self, network: Network, device: torch.device, dtype: torch.dtype) -> None:
        self.device = device
        self.dtype = dtype
        same = device.type == "cpu" and dtype == torch.float32
        self._network = network if same else copy.deepcopy(network).to(device, dtype)

    @torch.inference_mode()
    def encode_pixels(
        self, pixels: Tensor, *, batch_size: int | None = None, normalize: bool = True
    ) -> Tensor:
        """Embed normalised pixels [n, 3, s, s] as float32 [n, d]."""
        size = batch_size or IMAGE_BATCH.get(self.device.type, ACCELERATOR_BATCH)
        parts = [
            self._network.visual(batch.to(self.device, self.dtype)).float()
            for batch in pixels.split(size)
        ]
        return _finished(torch.cat(parts), normalize)

    @torch.inference_mode()
    def encode_ids(
        self, rows: Sequence[list[int]], *, batch_size: int | None = None, normalize: bool = True
    ) -> Tensor:
        """Embed token rows (start and end included, no padding) as float32 [n, d]."""
        size = batch_size or TEXT_BATCH.get(self.device.type, ACCELERATOR_BATCH)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        parts = []
        for first in range(0, len(rows), size):
            batch = [rows[i] for i in order[first : first + size]]
            ids = torch.zeros(len(batch), len(batch[-1]), dtype=torch.long)
            for i, row in enumerate(batch):
                ids[i, : len(row)] = torch.tensor(row)
            parts.append(self._network.text(ids.to(self.device)).float())
        embeddings = torch.cat(parts)
        back = torch.empty(len(rows), dtype=torch.long)
        back[torch.tensor(order)] = torch.arange(len(rows))
        return _finished(embeddings[back.to(self.device)], normalize)


def _finished(embeddings: Tensor, normalize: bool) -> Tensor:
    """Check for numbers that are none, and scale rows to unit length."""
    finite = torch.isfinite(embeddings).all(dim=1)
    if not finite.all():
        rows = (~finite).nonzero().flatten().tolist()
        raise NonFiniteError(
            f"the network gave NaN or infinity for inputs {rows[:10]}; if they are finite "
            "themselves, try dtype='float32'",
            rows=rows,
        )
    return F.normalize(embeddings, dim=-1) if normalize else embeddings
