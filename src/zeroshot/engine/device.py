"""Where a network runs and in which precision: the wish of the caller, or the best there is."""

from __future__ import annotations

from functools import cache

import torch

from zeroshot.errors import InputError

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

BFLOAT16_PROBES = {  # instructions that multiply bfloat16 -> the name torch tells them by
    "AMX": "_is_amx_tile_supported",
    "AVX512-BF16": "_is_avx512_bf16_supported",
}


def choose_device(device: str | torch.device | None) -> torch.device:
    """Return the device asked for, or the best there is: CUDA, then MPS, then CPU."""
    if device is not None:
        try:
            chosen = torch.device(device)
        except RuntimeError as error:
            raise InputError(f"device={device!r} is no device torch knows; try 'cpu'") from error
        if chosen.type == "cuda" and not torch.cuda.is_available():
            raise InputError(f"device={device!r}, but torch {torch.__version__} sees no CUDA GPU")
        if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
            count = torch.cuda.device_count()
            raise InputError(
                f"device={device!r}, but torch sees {count} CUDA GPUs, numbered 0 to {count - 1}"
            )
        if chosen.type == "mps" and not torch.backends.mps.is_available():
            raise InputError(f"device={device!r}, but torch {torch.__version__} sees no Apple GPU")
        return chosen
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def choose_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """Return the precision asked for, or the fastest that is exact enough on the device.

    bfloat16 on CPUs that multiply it natively, float32 on others and on Apple GPUs; float16, in
    which OpenAI's weights were released, on CUDA.
    """
    if dtype is None:
        if device.type == "cuda":
            return torch.float16
        native = device.type == "cpu" and cpu_has_bfloat16()
        return torch.bfloat16 if native else torch.float32
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise InputError(f"dtype={dtype!r} is not supported; choose one of {', '.join(DTYPES)}")
    return DTYPES[name]


@cache
def cpu_has_bfloat16() -> bool:
    """Say whether this CPU has AMX or AVX512-BF16 and this torch uses them."""
    return torch.backends.mkldnn.is_available() and any(map(cpu_has, BFLOAT16_PROBES))


def cpu_has(instructions: str) -> bool:
    """Say whether torch sees these instructions of `BFLOAT16_PROBES`; not if it cannot tell."""
    return bool(getattr(torch.cpu, BFLOAT16_PROBES[instructions], bool)())
