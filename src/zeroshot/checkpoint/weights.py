"""The values of a network, borrowed one tensor at a time or copied into modules that own them.

A network in float32 takes twice the memory of the same in bfloat16, and reading all of a mapped
file makes all of it resident. So whoever rewrites a network borrows one tensor at a time
(`values`) and releases the file's pages between. A borrowed tensor stays valid as long as it is
referenced: its pages come back from the file. A module that will be run gets values of its own
(`materialize`).
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

PIECE = 4 * 2**20  # values checked at a time; a layer of ViT-L/14 has no more in one tensor


class Values:
    """The float32 values of one module, borrowed by name; they must not be written to.

    Reading one raises IncompatibleWeights when it holds NaN or infinity.
    """

    def __init__(self, weights: Weights, prefix: str) -> None:
        self._weights, self._prefix = weights, prefix

    def __getitem__(self, name: str) -> Tensor:
        return self._weights.read(f"{self._prefix}{name}")

    def of(self, name: str) -> Values:
        """Return the values of a submodule."""
        return Values(self._weights, f"{self._prefix}{name}.")

    def release(self) -> None:
        """Let the system take back the memory of what was read of a mapped file."""
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
        """Take the values that a network in memory has; it must not be changed afterwards."""
        state = network.state_dict()
        stored = {name: StoredTensor((tensor.detach(),)) for name, tensor in state.items()}
        return cls(config, stored)

    @cached_property
    def on_meta(self) -> Network:
        """The network without memory: its structure only."""
        return on_meta(self.config)

    def values(self, module: str) -> Values:
        """Return the values of a module of the network, to be borrowed one at a time."""
        return Values(self, f"{module}." if module else "")

    def materialize(
        self,
        module: str = "",
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> nn.Module:
        """Build a module of the network, or all of it, which owns its values.

        Raises IncompatibleWeights when one holds NaN or infinity.
        """
        # an inference tensor, as a caller's mode would make here, could never be trained
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
        """Return the float32 values of one tensor, which must not be written to.

        Raises IncompatibleWeights when one is NaN or infinity.
        """
        if name.endswith(NOT_WEIGHTS):
            return torch.zeros((), dtype=torch.long, device="cpu")  # counts training steps
        tensor = self.stored[name].read()
        for piece in tensor.reshape(-1).split(PIECE):
            # One pass at memory speed: a sum is finite unless an addend is not, or it overflows.
            if not torch.isfinite(piece.sum()) and not torch.isfinite(piece).all():
                raise IncompatibleWeights(
                    f"{self.source}: tensor {name} holds NaN or infinity", source=self.source
                )
            if len(piece) < tensor.numel():
                self.release()  # of a token table, of which few rows will be read again
        return tensor

    def check(self) -> None:
        """Read every value once. Raises IncompatibleWeights when one is NaN or infinity."""
        for name in self.on_meta.state_dict():
            self.read(name)
            self.release()

    def as_stored(self) -> dict[str, Tensor]:
        """Return the tensors in the precision of the file, int8 widened."""
        return {
            name: value.read().to(torch.float32 if value.scale is not None else value.dtype)
            for name, value in self.stored.items()
        }

    def release(self) -> None:
        """Let the system take back the memory of what was read of mapped files."""
        for data in self._maps:
            release(data)

    def __getstate__(self) -> dict[str, Any]:
        # Maps cannot be pickled: what is read then stays in memory.
        alone = {name: value.alone() for name, value in self.stored.items()}
        return dict(vars(self)) | {"stored": alone, "_maps": ()}


class _SkipInitialization(TorchFunctionMode):
    """Skip the random initialization of parameters: meta tensors have no values.

    It takes 70 ms for ViT-L/14, and torch 2.6 imports sympy for it.
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
    """Build a network without memory."""
    with torch.device("meta"), _SkipInitialization():
        network = Network(config)
    return network.requires_grad_(False).eval()
