"""Benchmark a model on this machine: the optimized engine against plain PyTorch.

Timings are noisy, so every result is relative. The contenders run in alternation, a matrix
multiplication is timed between them, and the result is the median of the ratios within the rounds.
Speed does not depend on the weights: `random_model` needs no download.
"""

from __future__ import annotations

import math
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from zeroshot import prompts as prompt_sets
from zeroshot.checkpoint.reader import Checkpoint
from zeroshot.checkpoint.tensors import StoredTensor
from zeroshot.checkpoint.weights import Weights, on_meta
from zeroshot.engine import Engine, choose_device
from zeroshot.engine.device import BFLOAT16_PROBES, allows_tf32, cpu_has
from zeroshot.engine.torch_state import inference
from zeroshot.images.jpeg import find_decoder
from zeroshot.machine import cores, processor
from zeroshot.model import Model
from zeroshot.spec import NetworkConfig, PreprocessConfig, Spec, TextConfig, ViTConfig

SEED = 20_261_122
GEMM_SIDE = 2048  # size of the square matrices that the probe multiplies
PROBES = 3  # multiplications per probe; the fastest one is used
BATCH = 32  # images
LABELS = 50
TEMPLATES = 8
BASE = NetworkConfig(  # ViT-B/32: CLIP paper, appendix F
    512,
    ViTConfig(224, 32, 768, 12, 12, 3072, "quick_gelu"),
    TextConfig(77, 49_408, 512, 12, 8, 2048, "quick_gelu"),
)


# ---- alternating runs


@dataclass(frozen=True)
class Rounds:
    """The seconds of each contender and the speed of the probe in every round."""

    seconds: Mapping[str, Sequence[float]]
    gemms: Mapping[str, Sequence[float]]  # GFLOP/s by dtype, one per round

    def median(self, name: str) -> float:
        """Return the median seconds of a contender."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, other: str) -> float:
        """Return the speedup of `name` over `other`: the median over the rounds."""
        pairs = zip(self.seconds[other], self.seconds[name], strict=True)
        return statistics.median(theirs / ours for theirs, ours in pairs)

    def gemm(self, dtype: str) -> float:
        """Return the median speed of the probe in GFLOP/s."""
        return statistics.median(self.gemms[dtype])

    def share(self, name: str, flop: float, dtype: str) -> float:
        """Return the throughput of a contender as a share of the probe's.

        `flop` is the number of floating-point operations of one run.
        """
        pairs = zip(self.seconds[name], self.gemms[dtype], strict=True)
        return statistics.median(flop / seconds / 1e9 / gemm for seconds, gemm in pairs)


def alternate(
    contenders: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    warm: bool = True,
    probes: Sequence[str] = (),
    side: int = GEMM_SIDE,
    device: torch.device | str = "cpu",
) -> Rounds:
    """Run contenders in alternation and time each run.

    `warm=True` runs each contender once before the timed rounds. Every second round is in reverse
    order, so that no contender always follows the same one. `probes` are the dtypes for which a
    matrix multiplication of `side` x `side` matrices is timed before each round.
    """
    for work in contenders.values() if warm else ():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    gemms: dict[str, list[float]] = {dtype: [] for dtype in probes}
    for turn in range(rounds):
        for dtype in probes:
            gemms[dtype].append(gemm(dtype, side=side, device=device))
        for name in list(contenders)[:: -1 if turn % 2 else 1]:
            seconds[name].append(timed(contenders[name]))
    return Rounds(seconds, gemms)


def timed(work: Callable[[], object]) -> float:
    """Return the duration of a call in seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def gemm(dtype: str, *, side: int = GEMM_SIDE, device: torch.device | str = "cpu") -> float:
    """Return the speed of a product of square matrices in GFLOP/s.

    The product uses the threads of torch. The fastest of several products is used. `dtype` may be
    "tf32".
    """
    left, right = (torch.randn(side, side).to(device, _stored(dtype)) for _ in range(2))

    def multiply() -> float:
        return float((left @ right)[0, 0])  # reading a value synchronizes with the device

    with inference(torch.device(device), _stored(dtype), tf32=allows_tf32(dtype)):
        multiply()
        return 2 * side**3 / min(timed(multiply) for _ in range(PROBES)) / 1e9


def _stored(dtype: str) -> torch.dtype:
    """Return the dtype of the values; those of "tf32" are stored in float32."""
    return torch.float32 if allows_tf32(dtype) else getattr(torch, dtype)


def flop_per_image(tower: nn.Module, size: int) -> float:
    """Count the operations of an image tower per image; a multiply-add counts as two."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        tower.to("meta")(torch.empty(1, 3, size, size, device="meta"))
    return float(counter.get_total_flops())


# ---- weights and pixels that need no download


def draw(config: NetworkConfig, seed: int = SEED) -> dict[str, Tensor]:
    """Draw random weights that preserve the scale of activations between layers.

    Different images then get clearly different embeddings, as with trained weights.
    """
    random = torch.Generator().manual_seed(seed)
    shapes = {name: tensor.shape for name, tensor in on_meta(config).state_dict().items()}
    depth = max(1, config.vision.depth)
    return {name: _values(name, shape, depth, random) for name, shape in shapes.items()}


def _values(name: str, shape: torch.Size, depth: int, random: torch.Generator) -> Tensor:
    if name == "logit_scale":
        return torch.tensor(math.log(100.0))
    if name.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.long)
    values = torch.randn(shape, generator=random)
    if "embedding" in name:
        return values.mul_(0.5 if "attnpool" not in name else 0.02)
    if len(shape) == 1:
        around_one = name.endswith("running_var") or (
            name.endswith("weight") and ("ln_" in name or "bn" in name or "downsample" in name)
        )
        if around_one:
            return values.mul_(0.1).clamp_(-0.5, 0.5).add_(0.5 if "bn3" in name else 1.0)
        return values.mul_(0.05)
    gain = 1.0
    if "in_proj" in name or "q_proj" in name or "k_proj" in name:
        gain = 1.5  # makes attention favor some positions over others
    elif "out_proj" in name or "mlp.c_proj" in name:
        gain = (2 * depth) ** -0.5  # residual branches scale down with depth, as in OpenAI's
    elif len(shape) == 4:
        gain = 2**0.5  # compensates for the ReLU
    transposed = name in ("visual.proj", "text.text_projection")
    fan_in = shape[0] if transposed else math.prod(shape[1:])
    return values.mul_(gain / math.sqrt(fan_in))


def random_model(
    config: NetworkConfig = BASE,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
) -> Model:
    """Create a model with random weights, for benchmarks only.

    It is as fast as a trained model, but its predictions are meaningless.
    """
    weights = Weights(
        config, {name: StoredTensor((value,)) for name, value in draw(config).items()}
    )
    spec, where = Spec(config, PreprocessConfig(config.vision.image_size)), choose_device(device)
    checkpoint = Checkpoint(weights, spec, "native")
    return Model(checkpoint, "random weights", where, dtype)


def random_pixels(count: int, size: int, seed: int = SEED) -> Tensor:
    """Draw random pixels, float32 [count, 3, size, size], with one color per image."""
    random = torch.Generator().manual_seed(seed)
    colors = torch.randn(count, 3, 1, 1, generator=random)
    return colors + torch.randn(count, 3, size, size, generator=random)


# ---- one model on this machine


@dataclass(frozen=True)
class Finding:
    """The result of one workload on plain PyTorch and on the optimized engine."""

    work: str
    dtype: str  # of the optimized engine; plain PyTorch uses float32
    plain: float  # median seconds of plain PyTorch
    fast: float  # median seconds of the optimized engine
    ratio: float  # speedup, median over the rounds
    share: float | None  # throughput of the engine as a share of the matrix multiplication
    agreement: float  # lowest cosine similarity between the embeddings of both


@dataclass(frozen=True)
class Report:
    """The description of this machine and the results on it."""

    machine: Mapping[str, str]
    gemms: Mapping[str, float]  # GFLOP/s of a matrix multiplication by dtype
    findings: Sequence[Finding]


def measure(model: Model, *, rounds: int = 5, batch: int = BATCH, labels: int = LABELS) -> Report:
    """Benchmark a model on a batch of images, one image and sentences.

    The baseline is the modules of `zeroshot.nn` in float32 on the same device, with texts padded to
    the longest of the batch. The engine is timed in the model's precision and in float32. `batch`
    is the number of images, `labels` the number of labels, with 8 sentences each.
    """
    dtypes = list(dict.fromkeys([model._engine.precision, "float32"]))
    config, device = model.spec.network, model.device
    weights = model.checkpoint.weights
    plain = Engine(weights, config, device, torch.float32, plain=True)
    engines = {
        dtype: Engine(weights, config, device, _stored(dtype), tf32=allows_tf32(dtype))
        for dtype in dtypes
    }
    size = model.preprocess.square
    flop = flop_per_image(on_meta(config).visual, size) if rounds > 1 else 0.0
    pixels = random_pixels(batch, size)
    rows = model.tokenizer.rows(_sentences(labels), truncate=True)  # some models read 16 tokens
    work: dict[str, tuple[float, Callable[[Engine], Tensor]]] = {
        f"{batch} images": (batch * flop, lambda engine: engine.encode_pixels(pixels)),
        "1 image": (flop, lambda engine: engine.encode_pixels(pixels[:1])),
        f"{len(rows)} sentences": (0.0, lambda engine: engine.encode_ids(rows)),
    }
    findings: list[Finding] = []
    speeds: dict[str, list[float]] = {dtype: [] for dtype in dtypes}
    for name, (operations, encode) in work.items():
        contenders = {dtype: partial(encode, engine) for dtype, engine in engines.items()}
        taken = alternate(
            {"plain": partial(encode, plain), **contenders},
            rounds=rounds,
            probes=dtypes,
            side=GEMM_SIDE if rounds > 1 else 64,
            device=device,
        )
        expected = encode(plain)
        for dtype, contender in contenders.items():
            speeds[dtype].append(taken.gemm(dtype))
            findings.append(
                Finding(
                    work=name,
                    dtype=dtype,
                    plain=taken.median("plain"),
                    fast=taken.median(dtype),
                    ratio=taken.ratio(dtype, "plain"),
                    share=taken.share(dtype, operations, dtype) if operations else None,
                    agreement=float((contender() * expected).sum(dim=1).min()),
                )
            )
    gemms = {dtype: statistics.median(found) for dtype, found in speeds.items()}
    return Report(machine(device), gemms, findings)


def _sentences(labels: int) -> list[str]:
    names = [names[0] for names in prompt_sets.labels("imagenet").values()][:labels]
    templates = prompt_sets.get("imagenet").templates[:TEMPLATES]
    return [template.replace(prompt_sets.SLOT, name) for template in templates for name in names]


def machine(device: torch.device | str = "cpu") -> dict[str, str]:
    """Describe the processor, the number of threads and the library versions."""
    facts = {
        "processor": processor(),
        "cores": f"{cores()}, torch uses {torch.get_num_threads()}",
        "instructions": _instructions(),
        "JPEG decoder": str(find_decoder()),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    if torch.device(device).type == "cuda":
        facts["accelerator"] = torch.cuda.get_device_name(device)
    return facts


def _instructions() -> str:
    """Return the vector instructions, and those for bfloat16."""
    return " + ".join([torch.backends.cpu.get_cpu_capability(), *filter(cpu_has, BFLOAT16_PROBES)])
