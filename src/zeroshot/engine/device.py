"""Choose the device and precision of a network.

They are those requested, or the best available.
"""

from __future__ import annotations

from functools import cache

import torch

from zeroshot.errors import InputError, shortened

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

BFLOAT16_PROBES = {  # instructions that multiply bfloat16 -> torch's function to detect them
    "AMX": "_is_amx_tile_supported",
    "AVX512-BF16": "_is_avx512_bf16_supported",
}


def choose_device(device: str | torch.device | None) -> torch.device:
    """Return the requested device, or the best available: CUDA, then MPS, then CPU.

    Raises InputError if the device is not available.
    """
    if device is not None:
        try:
            chosen = torch.device(device)
        except RuntimeError as error:
            raise InputError(
                f"unsupported device {shortened(repr(device))}; expected a torch device, try 'cpu'"
            ) from error
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


def choose_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """Return the requested precision, or the fastest that is accurate enough.

    The default is bfloat16 on CPUs that multiply it natively, float32 on other CPUs and on Apple
    GPUs, and float16, in which OpenAI's weights were released, on CUDA. Raises InputError for other
    dtypes.
    """
    if dtype is None:
        if device.type == "cuda":
            return torch.float16
        native = device.type == "cpu" and cpu_has_bfloat16()
        return torch.bfloat16 if native else torch.float32
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise InputError(
            f"dtype={shortened(repr(dtype))} is not supported; choose one of {', '.join(DTYPES)}"
        )
    return DTYPES[name]


@cache
def cpu_has_bfloat16() -> bool:
    """Return whether this CPU has AMX or AVX512-BF16 and this torch uses them."""
    return torch.backends.mkldnn.is_available() and any(map(cpu_has, BFLOAT16_PROBES))


def cpu_has(instructions: str) -> bool:
    """Return whether torch detects these instructions of `BFLOAT16_PROBES`.

    Returns False if torch cannot detect them.
    """
    return bool(getattr(torch.cpu, BFLOAT16_PROBES[instructions], bool)())
