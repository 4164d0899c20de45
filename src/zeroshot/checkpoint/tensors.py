"""Represent the tensors of a network as a file stores them.

Values are read on demand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from zeroshot.checkpoint.folding import Fold
from zeroshot.checkpoint.formats.mapping import concatenate
from zeroshot.checkpoint.positions import resize

NOT_WEIGHTS = ("num_batches_tracked", "attn_mask", "position_ids")  # counters and constants


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a network as a file stores it.

    `parts` are consecutive blocks of rows: some layouts store queries, keys and values separately.
    `scale` has one number per row of an int8 tensor. `positions` is the number of positions that
    position embeddings are resampled to, besides `extra` rows. `fold` computes the tensor from the
    parts, which are then the tensors of training branches.
    """

    parts: tuple[Tensor, ...]
    scale: Tensor | None = None
    positions: int | None = None
    extra: int = 1
    fold: Fold | None = None

    @property
    def shape(self) -> torch.Size:
        """Shape of the tensor that `read` returns."""
        if self.fold is not None:
            return self.fold.shape
        first = self.parts[0].shape
        if self.positions is not None:
            return torch.Size((self.extra + self.positions, *first[1:]))
        if len(self.parts) == 1:
            return first
        return torch.Size((sum(len(part) for part in self.parts), *first[1:]))

    @property
    def is_computed(self) -> bool:
        """Whether the values are computed from the stored ones, so have float32's precision."""
        return any(each is not None for each in (self.scale, self.positions, self.fold))

    @property
    def dtype(self) -> torch.dtype:
        """Data type that holds the values of the file: that of all parts, or float32."""
        if len(self.parts) == 1:  # the usual case
            return self.parts[0].dtype
        dtypes = {part.dtype for part in self.parts}
        if len(dtypes) == 1:
            return self.parts[0].dtype
        return next((kind for kind in dtypes if not kind.is_floating_point), torch.float32)

    def read(self) -> Tensor:
        """Return the float32 values.

        They may be views of the mapped file: do not write to them.
        """
        if self.fold is not None:
            return self.fold(self.parts).float()
        parts = [part.to(self.dtype) for part in self.parts]
        tensor = (parts[0] if len(parts) == 1 else concatenate(parts)).float()
        if self.scale is not None:
            tensor = tensor * self.scale.float().reshape(-1, *[1] * (tensor.ndim - 1))
        return tensor if self.positions is None else resize(tensor, self.positions, self.extra)

    def rows(self, ids: Tensor) -> Tensor:
        """Return the float32 rows at `ids` [...] of a table: [..., w]. Only they are read."""
        if len(self.parts) > 1 or self.positions is not None or self.fold is not None:
            return self.read()[ids]
        rows = F.embedding(ids, self.parts[0]).float()
        return rows if self.scale is None else rows * self.scale.float()[ids].unsqueeze(-1)

    def compact(self) -> StoredTensor:
        """Return a copy that does not keep a larger storage in memory."""
        parts = tuple(
            part.clone() if part.untyped_storage().nbytes() > part.nbytes else part
            for part in self.parts
        )
        return replace(self, parts=parts)

    def sample(self, start: int, stop: int) -> Tensor:
        """Return float32 values from `start` to `stop` of the flattened tensor."""
        if self.positions is not None or self.fold is not None:
            return self.read().reshape(-1)[start:stop]
        if self.scale is not None:
            values = self.parts[0].reshape(-1)[start:stop].float()
            row = self.shape[1:].numel()
            first = torch.arange(start, start + len(values), device="cpu") // row
            return values * self.scale.float()[first]
        pieces: list[Tensor] = []
        for part in self.parts:
            if start < part.numel() and stop > 0:
                pieces.append(part.reshape(-1)[max(start, 0) : stop].float())
            start, stop = start - part.numel(), stop - part.numel()
        return torch.cat(pieces) if pieces else torch.empty(0, device="cpu")
