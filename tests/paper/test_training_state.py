"""The state of a run restores weights and moments exactly, and unusable files are rejected."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save_file

from examples.paper import contrastive, training_state
from examples.paper.training_state import Progress
from zeroshot.errors import InputError
from zeroshot.nn.network import Network

RUN = {"seed": 0, "captions": "abc"}


@pytest.fixture
def started() -> tuple[Network, torch.optim.AdamW]:
    """Return a network after one step."""
    return start(seed=0, steps=1)


def start(seed: int, steps: int) -> tuple[Network, torch.optim.AdamW]:
    spec = contrastive.spec(
        image_size=8, patch_size=8, width=16, layers=1, text_layers=1, embed_dim=8
    )
    config = replace(spec.network, text=replace(spec.network.text, vocab_size=5))
    network = Network(config)
    contrastive.initialize(network, config, seed)
    optimizer = contrastive.optimizer(network, rate=1e-3)
    for _ in range(steps):
        update(network, optimizer)
    return network, optimizer


def update(network: Network, optimizer: torch.optim.AdamW) -> None:
    pixels = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    texts = network.text(torch.tensor([[0, 1, 4], [0, 2, 4]]))
    contrastive.contrastive_loss(network.visual(pixels), texts, network.logit_scale).backward()
    optimizer.step()
    optimizer.zero_grad()


def test_a_restored_run_continues_with_the_same_weights(
    started: tuple[Network, torch.optim.AdamW], tmp_path: Path
) -> None:
    path = training_state.path_of(tmp_path / "m.safetensors")
    training_state.write(path, *started, Progress(RUN, epoch=1, steps=1, seconds=2.5))
    other = start(seed=1, steps=0)

    progress = training_state.restore(path, *other, RUN)
    update(*started)
    update(*other)

    assert path.name == "m.training.safetensors"
    assert progress == Progress(RUN, 1, 1, 2.5)
    for name, values in started[0].named_parameters():
        assert torch.equal(values, other[0].get_parameter(name)), name


def test_a_state_of_another_run_is_rejected(
    started: tuple[Network, torch.optim.AdamW], tmp_path: Path
) -> None:
    path = tmp_path / "s.safetensors"
    training_state.write(path, *started, Progress(RUN, 1, 1, 0.0))

    with pytest.raises(InputError, match="had seed 0, now 7; resume with the same settings"):
        training_state.restore(path, *started, {**RUN, "seed": 7})


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": "x"},
        {"epoch": -5},
        {"epoch": None},
        {"epoch": 1.5},
        {"steps": True},
        {"seconds": None},
        {"seconds": math.nan},
        {"seconds": 10**30},
        {"run": [1]},
        {"other": 1},
    ],
    ids=str,
)
def test_a_state_with_an_impossible_progress_is_rejected(
    started: tuple[Network, torch.optim.AdamW], tmp_path: Path, change: dict[str, Any]
) -> None:
    path = tmp_path / "s.safetensors"
    training_state.write(path, *started, Progress(RUN, 1, 1, 0.0))
    content = json.dumps(vars(Progress(RUN, 1, 1, 0.0)) | change)
    save_file(tensors_of(path), path, {training_state.KEY: content})

    with pytest.raises(InputError, match=r"cannot be read .*; remove it and start a new run"):
        training_state.restore(path, *started, RUN)


def tensors_of(path: Path) -> dict[str, torch.Tensor]:
    return load(path.read_bytes())


def test_a_state_with_deep_json_is_rejected(
    started: tuple[Network, torch.optim.AdamW], tmp_path: Path
) -> None:
    path = tmp_path / "s.safetensors"
    save_file({"x": torch.zeros(1)}, path, {training_state.KEY: "[" * 100_000})

    with pytest.raises(InputError, match="cannot be read"):
        training_state.restore(path, *started, RUN)


def test_a_state_with_tensors_of_another_shape_is_rejected(
    started: tuple[Network, torch.optim.AdamW], tmp_path: Path
) -> None:
    path = tmp_path / "s.safetensors"
    progress = Progress(RUN, 1, 1, 0.0)
    training_state.write(path, *started, progress)
    small = {name: v[:1].clone() if v.ndim else v for name, v in tensors_of(path).items()}
    save_file(small, path, {training_state.KEY: json.dumps(vars(progress))})

    with pytest.raises(InputError, match=r"expected \[.*\], got \[1"):
        training_state.restore(path, *started, RUN)


def test_a_damaged_state_is_rejected(
    started: tuple[Network, torch.optim.AdamW], tmp_path: Path
) -> None:
    path = tmp_path / "s.safetensors"
    training_state.write(path, *started, Progress(RUN, 1, 1, 0.0))
    assert training_state.is_state(path)
    path.write_bytes(path.read_bytes()[:-100])

    assert not training_state.is_state(path)
    with pytest.raises(InputError, match="got another file; omit --resume"):
        training_state.restore(path, *started, RUN)
