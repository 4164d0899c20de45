"""A path becomes a network with its weights, and its spec."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from zeroshot.catalog import Expectation
from zeroshot.checkpoint import config, files, layouts, native, positions
from zeroshot.checkpoint.config import Hints, Spec
from zeroshot.checkpoint.files import Content
from zeroshot.checkpoint.layouts import Layout, some
from zeroshot.errors import IncompatibleWeights, WeightsError
from zeroshot.nn.config import Activation, ConceptConfig, ResNetConfig, ViTConfig
from zeroshot.nn.network import Network
from zeroshot.pixels import Preprocess

OPEN_CLIP_CONFIG = "open_clip_config.json"
HUGGINGFACE_CONFIG = "config.json"
HUGGINGFACE_PREPROCESS = ("preprocessor_config.json", "processor_config.json")
OPENAI_HINTS = Hints("quick_gelu", Preprocess(224))  # true of all nine of OpenAI's archives
MAX_LAYERS = 192  # of both towers; the largest CLIP has 80
TENSORS_A_LAYER = 12  # weight and bias of two norms and four maps
log = logging.getLogger("zeroshot")
MAX_SCALE = 1000  # of logits; CLIP's training keeps it below 100


@dataclass(frozen=True)
class Checkpoint:
    """A network ready to run in float32, and what belongs to its weights."""

    network: Network
    spec: Spec
    layout: Layout
    source: str  # path of the weights file


def read(
    path: Path,
    hints: Hints | None = None,
    image_size: int | None = None,
    expected: Expectation | None = None,
    *,
    lazy: bool = False,
) -> Checkpoint:
    """Read a checkpoint of any known layout.

    `hints` supply activation and preprocessing where bare tensors do not say them; files that
    say so themselves are believed, unless it is `expected` otherwise of a catalogued checkpoint.
    `image_size` asks for pictures of another size than the checkpoint's own: its position
    embeddings are resampled. With `lazy` the values of a tower are left in the file until
    `finish` is called with it. Raises ModelNotFound, IncompatibleWeights, UnsafeWeightsError,
    InputError.
    """
    try:
        weights = files.find_weights(path)
        content = files.read_content(weights)
        checkpoint = _understand(weights, content, hints, image_size, expected)
    except OSError as error:
        raise WeightsError(
            f"{error.filename or path}: cannot be read ({error.strerror or error}); check the "
            "file and its permissions",
            source=str(path),
        ) from error
    if not lazy:
        finish(checkpoint.network, checkpoint.source)
    return checkpoint


def finish(tower: nn.Module, source: str) -> None:
    """Make a network, or one tower of it, float32, and check that its values are numbers."""
    tower.float()
    for name, tensor in tower.state_dict().items():
        # One pass at memory speed: a sum is finite unless an addend is not, or it overflows.
        if not torch.isfinite(tensor.sum()) and not torch.isfinite(tensor).all():
            raise IncompatibleWeights(
                f"{source}: tensor {name} holds NaN or infinity", source=source
            )


def _understand(
    weights: Path,
    content: Content,
    hints: Hints | None,
    image_size: int | None,
    expected: Expectation | None,
) -> Checkpoint:
    """Make a network of tensors: first on paper, so that nothing is copied which does not fit."""
    source, tensors = str(weights), content.tensors
    layout: Layout = "native"
    scales: dict[str, Tensor] = {}
    if native.METADATA_KEY in content.metadata:
        scales = native.row_scales(tensors, source)
    else:
        tensors = layouts.unwrap(tensors)
        layout = _layout(weights, tensors)
    # Tensors on the meta device have a shape and a type, and no memory.
    paper = {name: tensor.to("meta") for name, tensor in tensors.items()}
    paper = layouts.to_native(paper, layout, source)
    if layout == "native":
        spec = native.read_spec(content.metadata, source)
    else:
        spec = _spec(weights, layout, paper, hints)
    if expected is not None:
        spec = _as_published(spec, expected, source)
    _check_depth(spec, len(paper), source)
    network = blank(spec)
    check_fit(network, paper, scales, source)
    if image_size is not None:
        spec = config.resized(spec, image_size)
        network = blank(spec)
    fill(network, layouts.to_native(tensors, layout, source), scales, source)
    return Checkpoint(network, spec, layout, source)


def _layout(weights: Path, tensors: dict[str, Tensor]) -> Layout:
    try:
        return layouts.detect(tensors, str(weights))
    except IncompatibleWeights:
        # A config that names what is not supported says more than the names of tensors.
        _from_config(weights, (OPEN_CLIP_CONFIG, HUGGINGFACE_CONFIG), Preprocess(224))
        raise


def _spec(weights: Path, layout: Layout, tensors: dict[str, Tensor], hints: Hints | None) -> Spec:
    if layout == "openai":
        return config.from_shapes(tensors, OPENAI_HINTS, str(weights))
    names = (OPEN_CLIP_CONFIG, HUGGINGFACE_CONFIG)
    if layout == "huggingface":
        names = (HUGGINGFACE_CONFIG, OPEN_CLIP_CONFIG)
    spec = _from_config(weights, names, None if hints is None else hints.preprocess)
    if spec is not None:
        return spec
    if layout == "huggingface":
        raise _missing(weights, HUGGINGFACE_CONFIG)
    if hints is None:
        raise IncompatibleWeights(
            f"{weights}: these tensors do not say with which activation and preprocessing they "
            f"were trained; put the {OPEN_CLIP_CONFIG} they came with beside them, or name a "
            "checkpoint of the same family, as in like='ViT-B/32' (--like)",
            source=str(weights),
        )
    return config.from_shapes(tensors, hints, str(weights))


def _from_config(
    weights: Path, names: tuple[str, ...], preprocess: Preprocess | None
) -> Spec | None:
    """Read the first of these config files that lies beside the weights, if one does."""
    path = next((weights.parent / n for n in names if (weights.parent / n).is_file()), None)
    if path is None:
        return None
    facts = config.read_json(path)
    if path.name == OPEN_CLIP_CONFIG:
        return config.from_open_clip(facts)
    network = config.huggingface_network(facts)
    beside = [weights.parent / name for name in HUGGINGFACE_PREPROCESS]
    found = next((config.read_json(file) for file in beside if file.is_file()), None)
    if found is not None:
        preprocess = config.huggingface_preprocess(found)
    elif preprocess is None:
        raise _missing(weights, HUGGINGFACE_PREPROCESS[0])
    else:
        preprocess = replace(preprocess, size=network.vision.image_size)
    return config.checked(Spec(network, preprocess), str(path))


def _as_published(spec: Spec, expected: Expectation, source: str) -> Spec:
    """Let what is published of a catalogued checkpoint prevail over the config beside it.

    The published accuracies hold for these facts. Another size of anything means that the file
    is another checkpoint.
    """
    vision, text, preprocess = spec.network.vision, spec.network.text, spec.preprocess
    sizes = {
        "image_size": vision.image_size,
        "embed_dim": spec.network.embed_dim,
        "context_length": text.context_length,
    }
    if others := expected.disagreements(sizes):
        raise IncompatibleWeights(
            f"{source}: not the checkpoint of that name: {'; '.join(others)}", source=source
        )
    recipe = {
        "mean": preprocess.mean,
        "std": preprocess.std,
        "interpolation": preprocess.interpolation,
        "resize_mode": preprocess.resize_mode,
    }
    for fact in expected.disagreements({"activation": text.activation, **recipe}):
        log.warning("%s: its config says that %s; loaded as published", source, fact)
    changed = replace(preprocess, **{name: getattr(expected, name) for name in recipe})
    activation = cast(Activation, expected.activation or text.activation)
    if isinstance(vision, ViTConfig):
        vision = replace(vision, activation=activation)
    network = replace(spec.network, vision=vision, text=replace(text, activation=activation))
    return replace(spec, network=network, preprocess=changed)


def _missing(weights: Path, name: str) -> IncompatibleWeights:
    return IncompatibleWeights(
        f"{weights.parent / name}: no such file, and without it {weights.name} does not say how "
        "it was trained; copy it from where the weights came from"
        + (", or pass like='ViT-B/32' (--like)" if name != HUGGINGFACE_CONFIG else ""),
        source=str(weights),
    )


def _check_depth(spec: Spec, tensors: int, source: str) -> None:
    """Refuse more layers than the tensors could fill: each takes time and 0.2 MB to build."""
    vision, text = spec.network.vision, spec.network.text
    match vision:
        case ViTConfig():
            layers = vision.layers + text.layers
        case ResNetConfig():
            layers = sum(vision.layers) + text.layers
        case ConceptConfig():
            layers = text.layers
    if layers > min(MAX_LAYERS, tensors // TENSORS_A_LAYER):
        raise IncompatibleWeights(
            f"{source}: {tensors} tensors do not fill {layers} layers (the limit is {MAX_LAYERS}); "
            "the weights and their configuration belong to different checkpoints",
            source=source,
        )


def blank(spec: Spec) -> Network:
    """Build the network of a spec without memory, so without values that nobody gave."""
    with torch.device("meta"):
        return Network(spec.network)


def check_fit(
    network: Network, tensors: dict[str, Tensor], scales: dict[str, Tensor], source: str
) -> None:
    """Raise IncompatibleWeights unless these are the network's tensors, all and no others."""
    wanted = {name: tensor for name, tensor in network.state_dict().items() if _stored(name)}
    shared = wanted.keys() & tensors.keys()
    problems = {
        "missing": sorted(wanted.keys() - tensors.keys()),
        "unexpected": sorted(tensors.keys() - wanted.keys()),
        "misshapen": [
            f"{name} is {_shape(tensors[name])}, wanted {_shape(wanted[name])}"
            for name in wanted
            if name in shared and tensors[name].shape != wanted[name].shape
        ],
        "not floating point": [
            f"{name} of {str(tensors[name].dtype).removeprefix('torch.')}"
            for name in wanted
            if name in shared and not (tensors[name].is_floating_point() or name in scales)
        ],
    }
    listed = [f"{len(names)} {what}: {some(names)}" for what, names in problems.items() if names]
    if listed:
        raise IncompatibleWeights(
            f"{source}: the tensors do not fit the architecture; {'; '.join(listed)}",
            source=source,
        )


def fill(
    network: Network, tensors: dict[str, Tensor], scales: dict[str, Tensor], source: str
) -> None:
    """Give a blank network its values, as the file holds them."""
    state = network.state_dict()
    for name, empty in state.items():
        if not _stored(name):
            state[name] = torch.zeros((), dtype=torch.long)  # counts training steps
            continue
        scale = scales.get(name)
        tensor = tensors[name] if scale is None else native.widen(tensors[name], scale)
        if name in positions.PLACES:
            tensor = positions.resize(tensor.float(), len(empty) - 1)
        state[name] = tensor
    network.load_state_dict(state, assign=True)
    network.requires_grad_(False).eval()
    assert not any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers()))
    factor = float(network.logit_scale.float().exp())
    if not 0 < factor <= MAX_SCALE:
        raise IncompatibleWeights(
            f"{source}: logit_scale.exp() is {factor:.4g}, wanted within 0..{MAX_SCALE}; not a "
            "CLIP's",
            source=source,
        )


def _stored(name: str) -> bool:
    """Say whether checkpoints hold this entry of a state dict, rather than leave it out."""
    return not name.endswith(layouts.NO_WEIGHTS)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
