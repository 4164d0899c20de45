"""A path to a file or folder becomes a network with its weights, and its spec."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from zeroshot.checkpoint import config, layouts, native
from zeroshot.checkpoint.archive import read_archive
from zeroshot.checkpoint.config import Hints, Spec
from zeroshot.checkpoint.layouts import Layout, some
from zeroshot.checkpoint.safetensors_file import read_safetensors
from zeroshot.errors import IncompatibleWeights, ModelNotFound, UnsafeWeightsError
from zeroshot.nn.network import Network
from zeroshot.pixels import Preprocess

OPEN_CLIP_CONFIG = "open_clip_config.json"
HUGGINGFACE_CONFIG = "config.json"
HUGGINGFACE_PREPROCESS = "preprocessor_config.json"
OPEN_CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
HUGGINGFACE_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
OPENAI_HINTS = Hints("quick_gelu", Preprocess(224))  # true of all nine of OpenAI's archives


@dataclass(frozen=True)
class Checkpoint:
    """A network ready to run in float32, and what belongs to its weights."""

    network: Network
    spec: Spec
    layout: Layout


def read(path: Path, hints: Hints | None = None) -> Checkpoint:
    """Read a checkpoint of any known layout.

    `hints` supply activation and preprocessing where bare tensors do not say them; files that
    say so themselves are believed. Raises ModelNotFound, IncompatibleWeights, UnsafeWeightsError.
    """
    weights = find_weights(path)
    tensors, metadata, torchscript = read_tensors(weights)
    if native.METADATA_KEY in metadata:
        spec = native.read_spec(metadata, str(weights))
        tensors = layouts.to_native(native.widen(tensors), "native")
        return Checkpoint(assemble(spec, tensors, str(weights)), spec, "native")
    tensors = layouts.unwrap(tensors)
    layout = layouts.detect(tensors, str(weights))
    if torchscript:
        layout = "openai"
    tensors = layouts.to_native(tensors, layout)
    spec = _spec(weights, layout, tensors, hints)
    return Checkpoint(assemble(spec, tensors, str(weights)), spec, layout)


def find_weights(path: Path) -> Path:
    """Return the weights file that a path means: itself, or the one in the folder."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise ModelNotFound(f"{path}: no such file or folder")
    for names in (OPEN_CLIP_WEIGHTS, HUGGINGFACE_WEIGHTS):
        for name in names:
            if (path / name).is_file():
                return path / name
    found = sorted(p for p in path.iterdir() if p.suffix in WEIGHT_SUFFIXES and p.is_file())
    if len(found) == 1:
        return found[0]
    listed = some([p.name for p in found]) or "none"
    raise ModelNotFound(
        f"{path}: wanted one weights file ({', '.join((*OPEN_CLIP_WEIGHTS, *HUGGINGFACE_WEIGHTS))} "
        f"or any single {'/'.join(WEIGHT_SUFFIXES)}), found {listed}; name the file itself"
    )


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str], bool]:
    """Return a file's tensors, its metadata, and whether it is a TorchScript archive."""
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith(b"version https://g"):
        raise UnsafeWeightsError(
            f"{path}: a Git LFS pointer, not the weights; fetch them with `git lfs pull`",
            source=str(path),
        )
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        return (*read_safetensors(path), False)
    archive = read_archive(path)
    return archive.tensors, {}, archive.torchscript


def _spec(weights: Path, layout: Layout, tensors: dict[str, Tensor], hints: Hints | None) -> Spec:
    beside = weights.parent
    if layout == "huggingface":
        if not (beside / HUGGINGFACE_CONFIG).is_file():
            raise _missing(weights, HUGGINGFACE_CONFIG)
        facts = config.read_json(beside / HUGGINGFACE_CONFIG)
        if (beside / HUGGINGFACE_PREPROCESS).is_file():
            preprocess = config.huggingface_preprocess(
                config.read_json(beside / HUGGINGFACE_PREPROCESS)
            )
        elif hints is not None:
            preprocess = hints.preprocess
        else:
            raise _missing(weights, HUGGINGFACE_PREPROCESS)
        return config.from_huggingface(facts, preprocess)
    if layout == "open_clip" and (beside / OPEN_CLIP_CONFIG).is_file():
        return config.from_open_clip(config.read_json(beside / OPEN_CLIP_CONFIG))
    if layout == "openai":
        return config.from_shapes(tensors, OPENAI_HINTS, str(weights))
    if hints is None:
        raise IncompatibleWeights(
            f"{weights}: these tensors do not say with which activation and preprocessing they "
            f"were trained; put the {OPEN_CLIP_CONFIG} they came with beside them, or name a "
            "checkpoint of the same family, as in load(path, like='ViT-B/32')",
            source=str(weights),
        )
    return config.from_shapes(tensors, hints, str(weights))


def _missing(weights: Path, name: str) -> IncompatibleWeights:
    return IncompatibleWeights(
        f"{weights.parent / name}: no such file, and without it {weights.name} does not say how "
        "it was trained; copy it from where the weights came from"
        + (", or pass load(..., like='ViT-B/32')" if name == HUGGINGFACE_PREPROCESS else ""),
        source=str(weights),
    )


def assemble(spec: Spec, tensors: dict[str, Tensor], source: str) -> Network:
    """Put tensors into the network that the spec describes, checking name, shape and values."""
    with torch.device("meta"):  # no memory, no random initialisation
        network = Network(spec.network)
    wanted = network.state_dict()
    optional = {name for name in wanted if name.endswith("num_batches_tracked")}
    missing = sorted(wanted.keys() - tensors.keys() - optional)
    extra = sorted(tensors.keys() - wanted.keys() - {"logit_bias"})
    misshapen = [
        f"{name} is {_shape(tensors[name])}, wanted {_shape(wanted[name])}"
        for name in wanted
        if name in tensors and tensors[name].shape != wanted[name].shape
    ]
    if missing or extra or misshapen:
        problems = [
            f"{len(names)} {what}: {some(names)}"
            for what, names in (
                ("missing", missing),
                ("unexpected", extra),
                ("misshapen", misshapen),
            )
            if names
        ]
        raise IncompatibleWeights(
            f"{source}: the tensors do not fit the architecture; {'; '.join(problems)}",
            source=source,
        )
    state = {name: _checked(name, tensors[name], source) for name in wanted if name in tensors}
    state |= {name: torch.zeros((), dtype=torch.long) for name in optional - tensors.keys()}
    network.load_state_dict(state, assign=True)
    network.requires_grad_(False)
    scale = float(network.logit_scale.exp())
    if not 0 < scale <= 1000:
        raise IncompatibleWeights(
            f"{source}: logit_scale.exp() is {scale:.4g}, wanted within 0..1000; not a CLIP's",
            source=source,
        )
    return network.eval()


def _checked(name: str, tensor: Tensor, source: str) -> Tensor:
    """Return the tensor as float32, or say that its values are not numbers."""
    if not tensor.is_floating_point():
        raise IncompatibleWeights(
            f"{source}: tensor {name} holds {tensor.dtype}, wanted floating point", source=source
        )
    tensor = tensor.float()
    # One pass at memory speed: a sum is finite unless an addend is not, or it overflows.
    if not torch.isfinite(tensor.sum()) and not torch.isfinite(tensor).all():
        raise IncompatibleWeights(f"{source}: tensor {name} holds NaN or infinity", source=source)
    return tensor


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
