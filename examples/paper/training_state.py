"""Save and restore an unfinished training run: one safetensors file, replaced after each epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from zeroshot.errors import InputError, shortened
from zeroshot.files import write_atomically
from zeroshot.nn.network import Network

KEY = "zeroshot.pretrain/1"  # of the metadata; the file belongs to this recipe if it is present
LARGEST = 1 << 53  # number of epochs, steps or seconds; larger integers are not exact as float
MOMENTS = ("exp_avg", "exp_avg_sq")  # AdamW's running means, by torch's names


@dataclass(frozen=True)
class Progress:
    """How far a run is, and what it was started with.

    Attributes:
        run: Settings and data; a run continues only with the same.
        epoch: Number of finished epochs.
        steps: Number of updates of the weights.
        seconds: Time of the finished epochs.
    """

    run: dict[str, Any]
    epoch: int = 0
    steps: int = 0
    seconds: float = 0.0


def path_of(out: Path) -> Path:
    """Return where the state of a run that writes `out` is kept until it is finished."""
    return out.with_name(f"{out.stem}.training.safetensors")


def write(path: Path, network: Network, optimizer: torch.optim.AdamW, progress: Progress) -> None:
    """Write weights, AdamW's moments and the progress. Raises SaveError."""
    tensors: dict[str, Tensor] = {}
    for name, values in network.named_parameters():
        tensors[f"network.{name}"] = values.detach().cpu()
        for moment in MOMENTS:
            tensors[f"{moment}.{name}"] = optimizer.state[values][moment].cpu()
    with write_atomically(path) as temporary:
        temporary.write_bytes(save(tensors, {KEY: json.dumps(vars(progress))}))


def is_state(path: Path) -> bool:
    """Return whether this recipe wrote the file."""
    try:
        with safe_open(path, framework="pt") as file:
            return KEY in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def restore(path: Path, network: Network, optimizer: torch.optim.AdamW, run: Any) -> Progress:
    """Set weights and moments to those of the file, and return the progress.

    Raises InputError if there is no such file, or if it belongs to other settings or data.
    """
    if not is_state(path):
        raise InputError(
            f"{path}: expected the state of an interrupted run, got "
            f"{'another file' if path.exists() else 'no file'}; omit --resume to start a new run"
        )
    try:
        with safe_open(path, framework="pt") as file:
            progress = _progress(file.metadata()[KEY])
            _check_same(path, progress.run, run)
            parameters = dict(network.named_parameters())
            with torch.no_grad():
                for name, values in parameters.items():
                    values.copy_(_tensor(file, f"network.{name}", values))
                    optimizer.state[values] = {
                        "step": torch.tensor(float(progress.steps)),
                        **{
                            moment: _tensor(file, f"{moment}.{name}", values).to(values.device)
                            for moment in MOMENTS
                        },
                    }
    except (SafetensorError, OSError, TypeError, ValueError, RuntimeError) as error:
        # RuntimeError includes RecursionError, of JSON in many brackets
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: cannot be read ({shortened(str(error), 150)}); remove it and start a new run"
        ) from error
    return progress


def _progress(content: str) -> Progress:
    """Return the progress in the metadata of a file. Raises ValueError or TypeError."""
    progress = Progress(**json.loads(content))
    if not isinstance(progress.run, dict):
        raise TypeError(f"expected settings, got {shortened(repr(progress.run), 40)}")
    for name in ("epoch", "steps", "seconds"):
        value, kinds = getattr(progress, name), int if name != "seconds" else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not 0 <= value <= LARGEST:
            raise ValueError(f"expected {name} of 0 or more, got {shortened(repr(value), 40)}")
    return progress


def _tensor(file: Any, name: str, like: Tensor) -> Tensor:
    """Return a tensor of a file. Raises ValueError for one that `copy_` would broadcast."""
    values: Tensor = file.get_tensor(name)
    if values.shape != like.shape:
        raise ValueError(f"{name}: expected {list(like.shape)}, got {list(values.shape)}")
    return values


def _check_same(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise InputError if a run would continue with other settings or data."""
    changed = [
        f"{name} {shortened(str(before.get(name)), 40)}, now {shortened(str(now.get(name)), 40)}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    if changed:
        raise InputError(
            f"{path}: the interrupted run had {'; '.join(changed)}; resume with the same settings "
            "and pairs, or remove the file to start a new run"
        )
