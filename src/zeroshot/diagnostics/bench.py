"""How fast a model runs on this machine: the fast towers against the plain ones, taking turns.

Machines are noisy, so no figure is quoted alone: contenders run alternately, a matrix
multiplication is timed between them, and what counts is the median of the ratios within rounds.
Weights do not matter for speed: `random_model` needs no download.
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
from zeroshot.engine import Engine, choose_device, choose_dtype
from zeroshot.engine.device import BFLOAT16_PROBES, cpu_has
from zeroshot.machine import cores, processor
from zeroshot.model import Model
from zeroshot.spec import NetworkConfig, PreprocessConfig, Spec, TextConfig, ViTConfig

SEED = 20_261_122
GEMM_SIDE = 2048  # of the square matrices whose product is the probe
PROBES = 3  # products in a probe, of which the fastest counts
BATCH = 32  # images
LABELS = 50
TEMPLATES = 8
BASE = NetworkConfig(  # ViT-B/32: paper, appendix F
    512,
    ViTConfig(224, 32, 768, 12, 12, 3072, "quick_gelu"),
    TextConfig(77, 49_408, 512, 12, 8, 2048, "quick_gelu"),
)


# ---- taking turns


@dataclass(frozen=True)
class Rounds:
    """What every contender took in every round, and how fast the machine was between them."""

    seconds: Mapping[str, Sequence[float]]
    gemms: Mapping[str, Sequence[float]]  # GFLOP/s by dtype, one a round

    def median(self, name: str) -> float:
        """Return the median of a contender's seconds."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, other: str) -> float:
        """Say how many times as fast `name` is as `other`: the median over the rounds."""
        pairs = zip(self.seconds[other], self.seconds[name], strict=True)
        return statistics.median(theirs / ours for theirs, ours in pairs)

    def gemm(self, dtype: str) -> float:
        """Return the median speed of the probe in GFLOP/s."""
        return statistics.median(self.gemms[dtype])

    def share(self, name: str, flop: float, dtype: str) -> float:
        """Say which part of the probe's speed a contender reached that has `flop` to do."""
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
    """Run contenders in turn, with `warm` after one run of each that does not count.

    Every second round goes backwards, so that none always follows the same other. `probes` are the
    dtypes in which a matrix multiplication is timed before each round.
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
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@torch.inference_mode()
def gemm(dtype: str, *, side: int = GEMM_SIDE, device: torch.device | str = "cpu") -> float:
    """Time a product of square matrices, with as many threads as torch uses: GFLOP/s."""
    left, right = (torch.randn(side, side).to(device, getattr(torch, dtype)) for _ in range(2))

    def multiply() -> float:
        return float((left @ right)[0, 0])  # reading a number waits for an accelerator

    multiply()
    return 2 * side**3 / min(timed(multiply) for _ in range(PROBES)) / 1e9


def flop_per_image(tower: nn.Module, size: int) -> float:
    """Count the operations of a plain image tower, two a multiply-add."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        tower.to("meta")(torch.empty(1, 3, size, size, device="meta"))
    return float(counter.get_total_flops())


# ---- weights and pixels that need no download


def draw(config: NetworkConfig, seed: int = SEED) -> dict[str, Tensor]:
    """Draw weights for a network, such that a layer's output is about as large as its input.

    Different images then get clearly different embeddings, as from trained weights.
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
        gain = 1.5  # attention that prefers some places over others
    elif "out_proj" in name or "mlp.c_proj" in name:
        gain = (2 * depth) ** -0.5  # what branches add is less the more there are, as in OpenAI's
    elif len(shape) == 4:
        gain = 2**0.5  # a ReLU takes half
    transposed = name in ("visual.proj", "text.text_projection")
    fan_in = shape[0] if transposed else math.prod(shape[1:])
    return values.mul_(gain / math.sqrt(fan_in))


def random_model(
    config: NetworkConfig = BASE,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
) -> Model:
    """Make a model of random weights: as fast as a trained one, and as wrong as can be."""
    weights = Weights(
        config, {name: StoredTensor((value,)) for name, value in draw(config).items()}
    )
    spec, where = Spec(config, PreprocessConfig(config.vision.image_size)), choose_device(device)
    checkpoint = Checkpoint(weights, spec, "native")
    return Model(checkpoint, "random weights", where, choose_dtype(dtype, where))


def pictures(count: int, size: int, seed: int = SEED) -> Tensor:
    """Draw normalised pixels [count, 3, size, size] that differ in colour as well as in noise."""
    random = torch.Generator().manual_seed(seed)
    colours = torch.randn(count, 3, 1, 1, generator=random)
    return colours + torch.randn(count, 3, size, size, generator=random)


# ---- one model on this machine


@dataclass(frozen=True)
class Finding:
    """One kind of work, done the plain way and the fast way."""

    work: str
    dtype: str  # of the fast way; the plain one is float32
    plain: float  # seconds, median
    fast: float
    ratio: float  # times as fast, median over the rounds
    share: float | None  # of the matrix multiplication's speed that the fast way reached
    agreement: float  # least cosine of the two ways' embeddings


@dataclass(frozen=True)
class Report:
    """What this machine is, and what was found on it."""

    machine: Mapping[str, str]
    gemms: Mapping[str, float]  # GFLOP/s of a matrix multiplication by dtype
    findings: Sequence[Finding]


def measure(model: Model, *, rounds: int = 5, batch: int = BATCH, labels: int = LABELS) -> Report:
    """Time a model's images, one image and sentences, the plain way and the fast way.

    Plain are the modules of `zeroshot.nn` in float32 on the same device, their text padded to the
    longest of a batch. The model's own precision is timed, and float32 where that is another.
    """
    dtypes = list(dict.fromkeys([_name(model.dtype), "float32"]))
    config, device = model.spec.network, model.device
    weights = model.checkpoint.weights
    plain = Engine(weights, config, device, torch.float32, plain=True)
    engines = {dtype: Engine(weights, config, device, getattr(torch, dtype)) for dtype in dtypes}
    size = model.preprocess.size
    flop = flop_per_image(on_meta(config).visual, size) if rounds > 1 else 0.0
    pixels, rows = pictures(batch, size), model.tokenizer.rows(_sentences(labels))
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
        wanted = encode(plain)
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
                    agreement=float((contender() * wanted).sum(dim=1).min()),
                )
            )
    gemms = {dtype: statistics.median(found) for dtype, found in speeds.items()}
    return Report(machine(device), gemms, findings)


def _sentences(labels: int) -> list[str]:
    names = [names[0] for names in prompt_sets.labels("imagenet").values()][:labels]
    templates = prompt_sets.get("imagenet").templates[:TEMPLATES]
    return [template.replace(prompt_sets.SLOT, name) for template in templates for name in names]


def machine(device: torch.device | str = "cpu") -> dict[str, str]:
    """Describe the processor and what runs on it."""
    facts = {
        "processor": processor(),
        "cores": f"{cores()}, torch uses {torch.get_num_threads()}",
        "instructions": _instructions(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    if torch.device(device).type == "cuda":
        facts["accelerator"] = torch.cuda.get_device_name(device)
    return facts


def _instructions() -> str:
    """Name what multiplies: the vector unit, and what it has for bfloat16."""
    return " + ".join([torch.backends.cpu.get_cpu_capability(), *filter(cpu_has, BFLOAT16_PROBES)])


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
