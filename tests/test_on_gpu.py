"""Facts of a GPU that differ from those of a CPU; the rest of the suite runs on it too.

Each test that can also runs on the CPU, which checks the test itself.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import zeroshot
from tests.engine.support import CONFIGS, EXACT, RESNET, engine_of, network_of, pixels, rows
from zeroshot.errors import InputError

GPU = pytest.param("cuda", marks=pytest.mark.gpu)
BOTH = pytest.mark.parametrize("device", ["cpu", GPU])
FORK = """
import os, sys, zeroshot
made = zeroshot.load(sys.argv[1], device=sys.argv[3], dtype="float32")
made.encode_text("a")  # initializes the device
child = os.fork()
if not child:
    try:
        model = made if sys.argv[2] == "before" else zeroshot.load(sys.argv[1], device=sys.argv[3])
        model.encode_text("b")
    except zeroshot.ZeroshotError as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


@BOTH
@pytest.mark.parametrize("name", CONFIGS)
def test_float32_embeddings_equal_those_of_the_plain_network_on_a_cpu(
    device: str, name: str
) -> None:
    config = CONFIGS[name]
    network = network_of(config)
    images, texts = pixels(config, 5), rows(config, [3, 7, 77, 20])
    plain = engine_of(network, config, torch.device("cpu"), torch.float32, plain=True)

    engine = engine_of(network, config, torch.device(device), torch.float32)

    differences = [
        engine.encode_pixels(images).cpu() - plain.encode_pixels(images),
        engine.encode_ids(texts).cpu() - plain.encode_ids(texts),
    ]
    # TF32 would be off by more than 1e-3
    assert max(float(part.norm(dim=1).max()) for part in differences) < 4 * EXACT


@BOTH
def test_float32_of_a_resnet_does_not_depend_on_the_batch(device: str) -> None:
    engine = engine_of(network_of(RESNET), RESNET, torch.device(device), torch.float32)
    images = pixels(RESNET, 6)

    together = engine.encode_pixels(images)

    apart = torch.cat([engine.encode_pixels(image[None]) for image in images])
    assert float((together - apart).norm(dim=1).max()) < 4 * EXACT


@BOTH
def test_settings_of_tf32_are_those_of_the_caller_afterwards(device: str) -> None:
    engine = engine_of(network_of(RESNET), RESNET, torch.device(device), torch.float32)
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32

    engine.encode_pixels(pixels(RESNET, 2))

    assert (cudnn.allow_tf32, matmul.allow_tf32) == before


@BOTH
def test_a_stream_that_is_closed_early_leaves_no_decoding_threads(
    device: str,
    tiny_path: Path,
    photos: list[Path],
    no_decoding_threads: Callable[[], list[str]],
) -> None:
    model = zeroshot.load(tiny_path, device=device, dtype="float32")
    stream = model.classifier(["a", "b"]).stream(itertools.cycle(photos))

    next(stream)
    stream.close()

    assert no_decoding_threads() == []


@BOTH
def test_a_stream_keeps_the_order_of_files(
    device: str, tiny_path: Path, photos: list[Path]
) -> None:
    model = zeroshot.load(tiny_path, device=device, dtype="float32")
    one_by_one = torch.stack([model.encode_image(path) for path in photos])

    together = model.encode_image(photos * 20, batch_size=16)

    assert float((together - one_by_one.repeat(20, 1)).norm(dim=1).max()) < 4 * EXACT


@pytest.mark.gpu
def test_an_index_beyond_the_last_gpu_is_refused_at_once(tiny_path: Path) -> None:
    beyond = f"cuda:{torch.cuda.device_count()}"

    with pytest.raises(InputError, match="expected an index"):
        zeroshot.load(tiny_path, device=beyond)
    with pytest.raises(InputError, match="expected an index"):
        zeroshot.load(tiny_path, device="cpu").to(beyond)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.gpu
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_forked_child_gets_an_error_that_says_what_to_do(tiny_path: Path, when: str) -> None:
    command = [sys.executable, "-c", FORK, str(tiny_path), when, "cuda"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=120)

    assert "spawn" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "least"), [("float16", 0.9999), ("bfloat16", 0.99)])
def test_half_precision_agrees_with_float32(
    tiny_path: Path, photos: list[Path], dtype: str, least: float
) -> None:
    exact = zeroshot.load(tiny_path, device="cpu", dtype="float32").encode_image(photos)

    found = zeroshot.load(tiny_path, device="cuda", dtype=dtype).encode_image(photos)

    assert float((found.cpu() * exact).sum(dim=1).min()) >= least
