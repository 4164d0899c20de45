"""A GPU simulated on a CPU: tensors of device cuda:0 that refuse what those of a GPU refuse.

`install` lets torch report one GPU. An Engine on it runs the backend of GPUs on the CPU, and its
embeddings are `OnGpu`: they cannot become numpy arrays or be mixed with tensors of the CPU. That
shows which code, and which test, forgets where a tensor is. It does not simulate kernels, memory,
streams or speed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

GPU = torch.device("cuda", 0)
FACTORIES = (
    *("arange", "as_tensor", "empty", "eye", "full", "linspace", "ones", "rand", "randn"),
    *("tensor", "zeros", "zeros_like", "ones_like", "empty_like", "full_like"),
)
ARRAYS = ("numpy", "__array__", "__dlpack__")
INDEXING = ("__getitem__", "__setitem__")  # of a tensor on the GPU, with one of the CPU
MOVING = ("cpu", "to", "cuda", "copy_", "type_as")


class OnGpu(Tensor):
    """A tensor that is said to be on the GPU."""

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        owner = getattr(getattr(func, "__self__", None), "__name__", "")
        if name == "__get__" and owner in ("device", "is_cuda", "is_cpu"):
            return {"device": GPU, "is_cuda": True, "is_cpu": False}[owner]
        if name in ARRAYS:
            raise TypeError(
                "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the "
                "tensor to host memory first."
            )
        if name == "cpu":
            return plain(args[0])
        if name == "to":
            return move(args[0], *args[1:], **kwargs)
        tensors = list(_tensors([*args, *kwargs.values()]))
        if name not in (*INDEXING, *MOVING) or not isinstance(args[0], OnGpu):
            _check_same_device(name, tensors)
        if "device" in kwargs:
            device = torch.device(kwargs.pop("device") or GPU)
            found = func(*(map(plain, args)), **kwargs)
            return found if device.type == "cpu" else found.as_subclass(OnGpu)
        return super().__torch_function__(func, types, args, kwargs)  # type: ignore[no-untyped-call]


def _tensors(values: Sequence[Any]) -> Any:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _check_same_device(name: str, tensors: list[Tensor]) -> None:
    """Raise RuntimeError as torch does; a number of the CPU may be used anywhere."""
    with torch._C.DisableTorchFunctionSubclass():
        if any(not isinstance(each, OnGpu) and each.ndim for each in tensors):
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found cuda:0 and cpu ({name})"
            )


def plain(value: Any) -> Any:
    """Return a tensor as one of the CPU; other values unchanged."""
    if not isinstance(value, OnGpu):
        return value
    with torch._C.DisableTorchFunctionSubclass():
        return value.as_subclass(Tensor)


_to = Tensor.to


def move(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Do `Tensor.to`, to and from the simulated GPU."""
    where = kwargs.pop("device", None)
    rest = list(args)
    if rest and isinstance(rest[0], Tensor):
        where, rest[0] = rest[0].device, rest[0].dtype
    elif rest and (rest[0] is None or isinstance(rest[0], str | int | torch.device)):
        where = rest.pop(0)
    if rest and rest[0] is None:  # `Module.to` gives None for what stays
        rest[0] = tensor.dtype
    device = tensor.device if where is None else torch.device(where)
    if device.type not in ("cpu", "cuda"):
        return _to(plain(tensor), device, *rest, **kwargs)
    found = _to(plain(tensor), *rest, **kwargs) if rest or kwargs else plain(tensor)
    return found.as_subclass(OnGpu) if device.type == "cuda" else found


def _factory(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @wraps(function)
    def make(*args: Any, **kwargs: Any) -> Tensor:
        device = kwargs.get("device")
        if device is None or torch.device(device).type != "cuda":
            return function(*args, **kwargs)
        kwargs.pop("device")
        return function(*map(plain, args), **kwargs).as_subclass(OnGpu)

    return make


def install() -> None:
    """Let torch report one GPU, and run engines of it on the CPU."""
    from zeroshot.engine import runner
    from zeroshot.engine.runner import Engine

    torch.cuda.is_available = lambda: True
    torch.cuda.device_count = lambda: 1
    torch.cuda.get_device_name = lambda *_: "simulated GPU"
    facts: Any = SimpleNamespace(name="simulated GPU", total_memory=10**9)
    torch.cuda.get_device_properties = lambda *_: facts
    torch.cuda.synchronize = lambda *_: None
    Tensor.to = move  # type: ignore[assignment, method-assign]
    for name in FACTORIES:
        setattr(torch, name, _factory(getattr(torch, name)))
    create, images, texts = Engine.__init__, Engine.encode_pixels, Engine.encode_ids

    def start(self: Any, weights: Any, config: Any, device: Any, dtype: Any, **given: Any) -> None:
        on_gpu = device.type == "cuda"
        tf32 = on_gpu and given.pop("tf32", False)  # only the backends of GPUs have it
        create(self, weights, config, torch.device("cpu") if on_gpu else device, dtype, **given)
        if on_gpu:
            self.device, self._arguments = device, (weights, config, device, dtype)
            self.tf32 = tf32
            if not given.get("plain"):
                arguments = (weights, config, torch.device("cpu"), dtype)
                kind: Any = runner.BACKENDS["cuda"]
                self.backend = kind(*arguments, tf32=tf32)

    def embed(encode: Callable[..., Tensor]) -> Callable[..., Tensor]:
        @wraps(encode)
        def run(self: Any, given: Any, **options: Any) -> Tensor:
            inputs = [*map(plain, given)] if isinstance(given, list) else plain(given)
            found = encode(self, inputs, **options)
            return found.as_subclass(OnGpu) if self.device.type == "cuda" else found

        return run

    Engine.__init__ = start  # type: ignore[method-assign]
    Engine.encode_pixels = embed(images)  # type: ignore[method-assign]
    Engine.encode_ids = embed(texts)  # type: ignore[method-assign]
