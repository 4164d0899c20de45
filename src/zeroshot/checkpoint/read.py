"""A path becomes a network with its weights, and its spec."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import cast

from torch import Tensor

from zeroshot.catalog import Expectation
from zeroshot.checkpoint import config, files, layouts, native, positions
from zeroshot.checkpoint.config import Hints, Spec
from zeroshot.checkpoint.layouts import Layout, some
from zeroshot.checkpoint.mapped import Content
from zeroshot.checkpoint.stored import Stored, Weights, blank
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
    """The weights of a network, and what belongs to them."""

    weights: Weights
    spec: Spec
    layout: Layout

    @property
    def source(self) -> str:
        """Path of the weights file."""
        return self.weights.source

    @cached_property
    def network(self) -> Network:
        """The whole network in float32, on the CPU.

        Raises IncompatibleWeights when a value is not a number.
        """
        return self.weights.network()


def read(
    path: Path,
    hints: Hints | None = None,
    image_size: int | None = None,
    expected: Expectation | None = None,
) -> Checkpoint:
    """Read a checkpoint of any known layout; its values are left in the file until needed.

    `hints` supply activation and preprocessing where bare tensors do not say them; files that
    say so themselves are believed, unless it is `expected` otherwise of a catalogued checkpoint.
    `image_size` asks for pictures of another size than the checkpoint's own: its position
    embeddings are resampled. Raises ModelNotFound, IncompatibleWeights, UnsafeWeightsError,
    InputError.
    """
    try:
        weights = files.find_weights(path)
        return _understand(weights, files.read_content(weights), hints, image_size, expected)
    except OSError as error:
        raise WeightsError(
            f"{error.filename or path}: cannot be read ({error.strerror or error}); check the "
            "file and its permissions",
            source=str(path),
        ) from error


def _understand(
    path: Path,
    content: Content,
    hints: Hints | None,
    image_size: int | None,
    expected: Expectation | None,
) -> Checkpoint:
    """Find out which network these tensors are, and that they are all of it."""
    source, tensors = str(path), content.tensors
    layout: Layout = "native"
    scales: dict[str, Tensor] = {}
    if native.METADATA_KEY in content.metadata:
        scales = native.row_scales(tensors, source)
    else:
        tensors = layouts.unwrap(tensors)
        layout = _layout(path, tensors)
    stored = {
        name: Stored(parts, scales.get(name))
        for name, parts in layouts.to_native(tensors, layout, source).items()
    }
    if layout == "native":
        spec = native.read_spec(content.metadata, source)
    else:
        spec = _spec(path, layout, stored, hints)
    if expected is not None:
        spec = _as_published(spec, expected, source)
    _check_depth(spec, len(stored), source)
    weights = Weights(spec.network, stored, content.maps, source)
    check_fit(weights)
    if image_size is not None:
        spec = config.resized(spec, image_size)
        shapes = blank(spec.network).state_dict()
        for name in positions.PLACES & stored.keys():
            stored[name] = replace(stored[name], places=len(shapes[name]) - 1)
        weights = Weights(spec.network, stored, content.maps, source)
    return Checkpoint(weights, spec, layout)


def _layout(weights: Path, tensors: dict[str, Tensor]) -> Layout:
    try:
        return layouts.detect(tensors, str(weights))
    except IncompatibleWeights:
        # A config that names what is not supported says more than the names of tensors.
        _from_config(weights, (OPEN_CLIP_CONFIG, HUGGINGFACE_CONFIG), Preprocess(224))
        raise


def _spec(weights: Path, layout: Layout, tensors: dict[str, Stored], hints: Hints | None) -> Spec:
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


def check_fit(weights: Weights) -> None:
    """Raise IncompatibleWeights unless these are the network's tensors, all and no others."""
    stored, source = weights.stored, weights.source
    shapes = {
        name: tensor.shape
        for name, tensor in weights.blank.state_dict().items()
        if not name.endswith(layouts.NO_WEIGHTS)
    }
    shared = [name for name in shapes if name in stored]
    problems = {
        "missing": sorted(shapes.keys() - stored.keys()),
        "unexpected": sorted(stored.keys() - shapes.keys()),
        "misshapen": [
            f"{name} is {_shape(stored[name].shape)}, wanted {_shape(shapes[name])}"
            for name in shared
            if stored[name].shape != shapes[name]
        ],
        "not floating point": [
            f"{name} of {str(stored[name].dtype).removeprefix('torch.')}"
            for name in shared
            if not (stored[name].dtype.is_floating_point or stored[name].scale is not None)
        ],
    }
    listed = [f"{len(names)} {what}: {some(names)}" for what, names in problems.items() if names]
    if listed:
        raise IncompatibleWeights(
            f"{source}: the tensors do not fit the architecture; {'; '.join(listed)}",
            source=source,
        )
    factor = float(stored["logit_scale"].read().exp())
    if not 0 < factor <= MAX_SCALE:
        raise IncompatibleWeights(
            f"{source}: logit_scale.exp() is {factor:.4g}, wanted within 0..{MAX_SCALE}; not a "
            "CLIP's",
            source=source,
        )


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"
