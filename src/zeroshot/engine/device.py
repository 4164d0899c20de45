"""Choose the device and precision of a network.

They are those requested, or the best available.
"""

from __future__ import annotations

import logging
import operator
import re
from functools import cache

import torch

from zeroshot.errors import InputError, shortened

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

log = logging.getLogger("zeroshot")

BFLOAT16_PROBES = {  # instructions that multiply bfloat16 -> torch's function to detect them
    "AMX": "_is_amx_tile_supported",
    "AVX512-BF16": "_is_avx512_bf16_supported",
}


def choose_device(device: str | int | torch.device | None) -> torch.device:
    """Return the requested device, or the best available: CUDA, then MPS, then CPU.

    An integer is the index of a CUDA GPU, and -1 the CPU, as in pipelines of transformers. Raises
    InputError if the device is not available.
    """
    if isinstance(device, torch.dtype) or (isinstance(device, str) and device in DTYPES):
        raise InputError(
            f"expected a device, got the dtype {device!r}; pass it by name: dtype={device!r}"
        )
    if device is not None:
        try:
            chosen = torch.device(_name_of(device))
        except (RuntimeError, TypeError) as error:
            raise InputError(
                f"unsupported device {shortened(repr(device))}; expected a torch device or the "
                "index of a CUDA GPU, try 'cpu'"
            ) from error
        if chosen.type == "meta":
            raise InputError("device='meta' has no values to compute with; try 'cpu'")
        if chosen.type == "cuda" and not torch.cuda.is_available():
            raise InputError(
                f"device={device!r}: torch {torch.__version__} finds no CUDA GPU; try device='cpu'"
            )
        if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
            count = torch.cuda.device_count()
            raise InputError(
                f"device={device!r}: torch finds {count} CUDA GPUs; expected an index from 0 to "
                f"{count - 1}"
            )
        if chosen.type == "mps" and not torch.backends.mps.is_available():
            raise InputError(
                f"device={device!r}: torch {torch.__version__} finds no Apple GPU; try device='cpu'"
            )
        return chosen
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def _name_of(device: str | int | torch.device) -> str | torch.device:
    """Return the device of an index; raise TypeError for anything else."""
    is_index = isinstance(device, str) and re.fullmatch("-?[0-9]{1,4}", device)
    if isinstance(device, str | torch.device) and not is_index:
        return device
    if isinstance(device, bool):
        raise TypeError("a bool is not a device")
    index = int(device) if isinstance(device, str) else operator.index(device)  # type: ignore[arg-type]
    return "cpu" if index == -1 else f"cuda:{index}"


def choose_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """Return the requested precision, or the fastest that is accurate enough.

    The default is bfloat16 on CPUs that multiply it natively, float32 on other CPUs and on Apple
    GPUs, and float16, in which OpenAI's weights were released, on CUDA. On CUDA, "tf32" is float32
    whose matrix products and convolutions are rounded to 10 mantissa bits. Raises InputError for
    other dtypes.
    """
    if dtype is None:
        if device.type == "cuda":
            return torch.float16
        native = device.type == "cpu" and cpu_has_bfloat16()
        return torch.bfloat16 if native else torch.float32
    name = str(dtype).removeprefix("torch.")
    if allows_tf32(dtype):
        if device.type != "cuda":
            raise InputError(
                f"dtype='tf32' requires a CUDA GPU, got device {str(device)!r}; use dtype='float32'"
            )
        return torch.float32
    if name not in DTYPES:
        raise InputError(
            f"dtype={shortened(repr(dtype))} is not supported; choose one of {', '.join(DTYPES)}"
        )
    if name == "float16" and device.type == "cpu":
        _warn_of_slow_float16()
    return DTYPES[name]


def allows_tf32(dtype: object) -> bool:
    """Return whether TF32 was requested, for which torch has no dtype."""
    return isinstance(dtype, str) and dtype == "tf32"


@cache
def _warn_of_slow_float16() -> None:
    """Log once that CPUs compute float16 slowly."""
    faster = "bfloat16" if cpu_has_bfloat16() else "float32"
    log.warning("dtype='float16' is slow on a CPU; dtype=%r is several times faster", faster)


@cache
def cpu_has_bfloat16() -> bool:
    """Return whether this CPU has AMX or AVX512-BF16 and this torch uses them."""
    return torch.backends.mkldnn.is_available() and any(map(cpu_has, BFLOAT16_PROBES))


def cpu_has(instructions: str) -> bool:
    """Return whether torch detects these instructions of `BFLOAT16_PROBES`.

    Returns False if torch cannot detect them.
    """
    return bool(getattr(torch.cpu, BFLOAT16_PROBES[instructions], bool)())
