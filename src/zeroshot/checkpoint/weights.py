"""Read a network's values one tensor at a time, or copy them into modules.

A network in float32 takes twice the memory of the same in bfloat16, and reading a whole mapped file
makes it resident. So code that repacks a network borrows one tensor at a time (`values`) and
releases the file's pages between tensors. A borrowed tensor stays valid while it is referenced: its
pages are read from the file again. A module that runs as it is gets its own values (`materialize`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from mmap import mmap
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from zeroshot.checkpoint.formats.mapping import release
from zeroshot.checkpoint.tensors import NOT_WEIGHTS, StoredTensor
from zeroshot.errors import IncompatibleWeights
from zeroshot.nn.network import Network
from zeroshot.spec import NetworkConfig

PIECE = 4 * 2**20  # values checked at once; no tensor in a layer of ViT-L/14 has more


class Values:
    """The float32 values of one module, borrowed by name; do not write to them.

    Reading a tensor raises IncompatibleWeights if it contains NaN or infinity.
    """

    def __init__(self, weights: Weights, prefix: str) -> None:
        self._weights, self._prefix = weights, prefix

    def __getitem__(self, name: str) -> Tensor:
        return self._weights.read(f"{self._prefix}{name}")

    def rows(self, name: str, ids: Tensor) -> Tensor:
        """Return the rows of a table at `ids` [...]: float32 [..., w]; others are not read."""
        return self._weights.read_rows(f"{self._prefix}{name}", ids)

    def of(self, name: str) -> Values:
        """Return the values of a submodule."""
        return Values(self._weights, f"{self._prefix}{name}.")

    def release(self) -> None:
        """Let the system reclaim the memory of values read from a mapped file."""
        self._weights.release()


class Weights:
    """The values of a network by name, in a file or in memory."""

    def __init__(
        self,
        config: NetworkConfig,
        stored: Mapping[str, StoredTensor],
        maps: Sequence[mmap] = (),
        source: str = "memory",
    ) -> None:
        self.config, self.stored, self.source = config, dict(stored), source
        self._maps = tuple(maps)

    @classmethod
    def of_network(cls, network: Network, config: NetworkConfig) -> Weights:
        """Return the values of a network in memory, which must not change afterwards."""
        state = network.state_dict()
        stored = {name: StoredTensor((tensor.detach(),)) for name, tensor in state.items()}
        return cls(config, stored)

    @cached_property
    def on_meta(self) -> Network:
        """The network on the meta device: its structure without values."""
        return on_meta(self.config)

    def values(self, module: str) -> Values:
        """Return the values of a module, to be borrowed one tensor at a time."""
        return Values(self, f"{module}." if module else "")

    def materialize(
        self,
        module: str = "",
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> nn.Module:
        """Build a module of the network, or the whole network, that owns its values.

        Raises IncompatibleWeights if one contains NaN or infinity.
        """
        # In the caller's inference mode these would be inference tensors, which cannot be trained.
        with torch.inference_mode(False):
            built = on_meta(self.config).get_submodule(module)
            values: dict[str, Tensor] = {}
            for name in built.state_dict():
                value = self.read(f"{module}.{name}" if module else name)
                kind = dtype if value.is_floating_point() else value.dtype
                values[name] = value.to(device, kind, copy=True)
                self.release()
            built.load_state_dict(values, assign=True)
            return built

    def read(self, name: str) -> Tensor:
        """Return the float32 values of one tensor; do not write to them.

        Raises IncompatibleWeights if one is NaN or infinity.
        """
        if name.endswith(NOT_WEIGHTS):
            return torch.zeros((), dtype=torch.long, device="cpu")  # counts training steps
        stored = self.stored[name]
        if stored.fold is not None:
            # Folding can hide them: a batch norm divides by a variance of infinity.
            for part in stored.parts:
                self._check_finite(name, part.float())
        tensor = stored.read()
        for piece in tensor.reshape(-1).split(PIECE):
            self._check_finite(name, piece)
            if len(piece) < tensor.numel():
                self.release()  # a token table: few of its rows will be read again
        return tensor

    def read_rows(self, name: str, ids: Tensor) -> Tensor:
        """Return the float32 rows of a table at `ids` [...]: [..., w].

        Only these rows are read: the token table of SigLIP 2 has 0.8 GB, that of MetaCLIP 2 3.7 GB.
        Raises IncompatibleWeights if a value is NaN or infinity.
        """
        rows = self.stored[name].rows(ids)
        self._check_finite(name, rows)
        return rows

    def _check_finite(self, name: str, values: Tensor) -> None:
        # One pass at memory speed: a sum is finite unless a term is not, or it overflows.
        if not torch.isfinite(values.sum()) and not torch.isfinite(values).all():
            raise IncompatibleWeights(
                f"{self.source}: tensor {name} contains NaN or infinity, expected finite "
                "numbers; download the file again",
                source=self.source,
            )

    def check(self) -> None:
        """Read every value once; raise IncompatibleWeights if one is NaN or infinity."""
        for name in self.on_meta.state_dict():
            self.read(name)
            self.release()

    def as_stored(self) -> dict[str, Tensor]:
        """Return the tensors in the precision of the file; int8 becomes float32."""
        return {
            name: value.read().to(torch.float32 if value.is_computed else value.dtype)
            for name, value in self.stored.items()
        }

    def release(self) -> None:
        """Let the system reclaim the memory of values read from mapped files."""
        for data in self._maps:
            release(data)

    def __getstate__(self) -> dict[str, Any]:
        # Memory maps cannot be pickled, so the copy has all values in memory.
        compact = {name: value.compact() for name, value in self.stored.items()}
        return dict(vars(self)) | {"stored": compact, "_maps": ()}


class _SkipInitialization(TorchFunctionMode):
    """Skip the random initialization of parameters: meta tensors have no values.

    Initialization takes 70 ms for ViT-L/14, and torch 2.6 imports sympy for it.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def on_meta(config: NetworkConfig) -> Network:
    """Build a network on the meta device, without memory for values."""
    with torch.device("meta"), _SkipInitialization():
        network = Network(config)
    return network.requires_grad_(False).eval()
