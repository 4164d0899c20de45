"""The values of a network where they lie in their file, read when a part of it is worked with.

A tower of a network in float32 takes twice the memory of the same in bfloat16, and reading all of
a file makes all of it resident. So values are given to a module for as long as they are needed,
and let go of afterwards.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from mmap import mmap
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from zeroshot.checkpoint.layouts import NO_WEIGHTS
from zeroshot.checkpoint.mapped import joined, let_go
from zeroshot.checkpoint.positions import resize
from zeroshot.errors import IncompatibleWeights
from zeroshot.nn.config import NetworkConfig
from zeroshot.nn.network import Network

PIECE = 4 * 2**20  # values checked at a time; a layer of ViT-L/14 has no more in one tensor


@dataclass(frozen=True)
class Stored:
    """One tensor of a network as a file holds it.

    `parts` lie below one another: queries, keys and values are apart in some layouts. `scale`
    holds one number a row of an int8 tensor; `places` is how many positions embeddings are
    resampled to.
    """

    parts: tuple[Tensor, ...]
    scale: Tensor | None = None
    places: int | None = None

    @property
    def shape(self) -> torch.Size:
        """Shape of what is read."""
        first = self.parts[0].shape
        if self.places is not None:
            return torch.Size((1 + self.places, *first[1:]))
        if len(self.parts) == 1:
            return first
        return torch.Size((sum(len(part) for part in self.parts), *first[1:]))

    @property
    def dtype(self) -> torch.dtype:
        """Type of the numbers in the file."""
        return self.parts[0].dtype

    def read(self) -> Tensor:
        """Return the float32 values; they may be those of the mapped file, so do not write."""
        tensor = self.parts[0] if len(self.parts) == 1 else joined(self.parts)
        tensor = tensor.float()
        if self.scale is not None:
            tensor = tensor * self.scale.float().reshape(-1, *[1] * (tensor.ndim - 1))
        return tensor if self.places is None else resize(tensor, self.places)

    def alone(self) -> Stored:
        """Return it without what else lies in the memory that its parts are views of."""
        parts = tuple(
            part.clone() if part.untyped_storage().nbytes() > part.nbytes else part
            for part in self.parts
        )
        return replace(self, parts=parts)

    def sample(self, start: int, stop: int) -> Tensor:
        """Return float32 values from `start` to `stop` of the flattened tensor."""
        if self.scale is not None or self.places is not None:
            return self.read().reshape(-1)[start:stop]
        found: list[Tensor] = []
        for part in self.parts:
            if start < part.numel() and stop > 0:
                found.append(part.reshape(-1)[max(start, 0) : stop].float())
            start, stop = start - part.numel(), stop - part.numel()
        return torch.cat(found) if found else torch.empty(0, device="cpu")


class Weights:
    """The values of a network, by name, and a blank network that takes them a module at a time."""

    def __init__(
        self,
        config: NetworkConfig,
        stored: Mapping[str, Stored],
        maps: Sequence[mmap] = (),
        source: str = "memory",
    ) -> None:
        self.config, self.stored, self.source = config, dict(stored), source
        self._maps = tuple(maps)
        self._lock = threading.RLock()  # two engines may share the blank network

    @cached_property
    def blank(self) -> Network:
        """The network without memory, so without values that nobody gave."""
        return blank(self.config)

    @cached_property
    def _names(self) -> dict[nn.Module, str]:
        return {module: name for name, module in self.blank.named_modules()}

    @contextmanager
    def filled(self, module: nn.Module, but: nn.Module | None = None) -> Iterator[None]:
        """Give a module of the blank network its values in float32, all but those of `but`.

        They are the file's own, so they must not be written to, and gone afterwards.
        Raises IncompatibleWeights when one is not a number.
        """
        with self._lock:
            left = set(but.modules()) if but is not None else set()
            empty = [
                (owner, name, tensor)
                for owner in module.modules()
                if owner not in left
                for name, tensor in chain(
                    owner.named_parameters(recurse=False), owner.named_buffers(recurse=False)
                )
            ]
            try:
                for owner, name, tensor in empty:
                    value = self._value(f"{self._names[owner]}.{name}".removeprefix("."))
                    is_parameter = isinstance(tensor, nn.Parameter)
                    setattr(owner, name, nn.Parameter(value, False) if is_parameter else value)
                yield
            finally:
                for owner, name, tensor in empty:
                    setattr(owner, name, tensor)
                self._let_go()

    def check(self) -> None:
        """Read every value once. Raises IncompatibleWeights when one is not a number."""
        with self.filled(self.blank):
            pass

    def network(self) -> Network:
        """Build a network with float32 values of its own.

        Raises IncompatibleWeights when one is not a number.
        """
        # an inference tensor, as a caller's mode would make here, could never be trained
        with torch.inference_mode(False), self._lock:
            network = blank(self.config)
            values = {name: self._value(name).clone() for name in network.state_dict()}
            network.load_state_dict(values, assign=True)
            return network

    def as_stored(self) -> dict[str, Tensor]:
        """Return the tensors in the precision of the file, int8 widened."""
        return {
            name: value.read().to(torch.float32 if value.scale is not None else value.dtype)
            for name, value in self.stored.items()
        }

    def _value(self, name: str) -> Tensor:
        if name.endswith(NO_WEIGHTS):
            return torch.zeros((), dtype=torch.long, device="cpu")  # counts training steps
        tensor = self.stored[name].read()
        for piece in tensor.reshape(-1).split(PIECE):
            # One pass at memory speed: a sum is finite unless an addend is not, or it overflows.
            if not torch.isfinite(piece.sum()) and not torch.isfinite(piece).all():
                raise IncompatibleWeights(
                    f"{self.source}: tensor {name} holds NaN or infinity", source=self.source
                )
            if len(piece) < tensor.numel():
                self._let_go()  # of a table of tokens, of which few rows will be read again
        return tensor

    def _let_go(self) -> None:
        for data in self._maps:
            let_go(data)

    def __getstate__(self) -> dict[str, Any]:
        # Maps and locks cannot travel, and what is made of modules is made again.
        made = ("_maps", "_lock", "_names")
        state = {name: value for name, value in dict(vars(self)).items() if name not in made}
        alone = {name: value.alone() for name, value in self.stored.items()}
        return state | {"stored": alone}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _maps=(), _lock=threading.RLock())


class _SkipInitialization(TorchFunctionMode):
    """Skip the random initialization of parameters: meta tensors have no values.

    torch 2.6 imports sympy for it.
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


def blank(config: NetworkConfig) -> Network:
    """Build a network without memory."""
    with torch.device("meta"), _SkipInitialization():
        network = Network(config)
    return network.requires_grad_(False).eval()
