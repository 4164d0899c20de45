"""A path becomes weights that are all of a network, and their spec."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import cast

from torch import Tensor

from zeroshot.checkpoint import positions
from zeroshot.checkpoint.config_fields import checked
from zeroshot.checkpoint.formats import files
from zeroshot.checkpoint.formats.mapping import Content
from zeroshot.checkpoint.layouts import LAYOUTS, Checkpointed, Layout, unwrap
from zeroshot.checkpoint.tensors import NOT_WEIGHTS
from zeroshot.checkpoint.weights import Weights, on_meta
from zeroshot.errors import IncompatibleWeights, InputError, WeightsError, some
from zeroshot.nn.network import Network
from zeroshot.spec import PreprocessConfig, Published, Spec

MAX_LAYERS = 192  # of both towers; the largest CLIP has 80
TENSORS_PER_LAYER = 12  # weight and bias of two norms and four linear layers
MAX_SCALE = 1000  # of logits; CLIP's training keeps it below 100

log = logging.getLogger("zeroshot")


@dataclass(frozen=True)
class Checkpoint:
    """The weights of a network, and what belongs to them."""

    weights: Weights
    spec: Spec
    layout: str  # name of a layout

    @property
    def source(self) -> str:
        """Path of the weights file."""
        return self.weights.source

    @cached_property
    def network(self) -> Network:
        """The whole network in float32, on the CPU.

        Raises IncompatibleWeights when a value is NaN or infinity.
        """
        return cast(Network, self.weights.materialize())


def read(
    path: Path,
    like: Published | None = None,
    image_size: int | None = None,
    published: Published | None = None,
) -> Checkpoint:
    """Read a checkpoint of any known layout; its values stay in the file until they are needed.

    `like` gives activation and preprocessing where bare tensors do not say them. `published` is
    what is known of a catalogued checkpoint; it prevails over a config file, and files of other
    sizes are an error. `image_size` asks for images of another size than the checkpoint's own: its
    position embeddings are resampled. Raises ModelNotFound, IncompatibleWeights,
    UnsafeWeightsError, InputError.
    """
    try:
        weights = files.find_weights(path)
        return _understood(weights, files.read_content(weights), like, image_size, published)
    except OSError as error:
        raise WeightsError(
            f"{error.filename or path}: cannot be read ({error.strerror or error}); check the "
            "file and its permissions",
            source=str(path),
        ) from error


def _understood(
    path: Path,
    content: Content,
    like: Published | None,
    image_size: int | None,
    published: Published | None,
) -> Checkpoint:
    """Find out which network these tensors are, and that they are all of it."""
    source = str(path)
    layout, tensors = _layout(path, content)
    stored = layout.rename(tensors, source)
    spec = _spec(layout, Checkpointed(stored, content.metadata, path), like)
    if published is not None:
        spec = _as_published(spec, published, source)
    _check_depth(spec, len(stored), source)
    weights = Weights(spec.network, stored, content.maps, source)
    check_fit(weights)
    if image_size is not None:
        try:
            spec = spec.resized(image_size)
        except ValueError as error:
            raise InputError(f"image_size={image_size!r}: {error}") from error
        shapes = on_meta(spec.network).state_dict()
        for name in positions.POSITIONS & stored.keys():
            stored[name] = replace(stored[name], positions=len(shapes[name]) - 1)
        weights = Weights(spec.network, stored, content.maps, source)
    return Checkpoint(weights, spec, layout.name)


def _layout(path: Path, content: Content) -> tuple[Layout, dict[str, Tensor]]:
    """Return the layout that recognizes these tensors, and the tensors without wrappers."""
    for tensors in (content.tensors, unwrap(content.tensors)):
        for layout in LAYOUTS:
            if layout.recognizes(tensors.keys(), content.metadata):
                return layout, tensors
    # A config that names what is not supported says more than the names of tensors.
    _from_config(path, LAYOUTS, PreprocessConfig(224))
    raise IncompatibleWeights(
        f"{path}: not a CLIP of a known layout; its tensors are named "
        f"{some(sorted(tensors))}; known are OpenAI's, open_clip's and the transformers library's "
        "CLIPModel",
        source=str(path),
    )


def _spec(layout: Layout, found: Checkpointed, like: Published | None) -> Spec:
    """Read the spec: from the layout's own config file, or another's, or from the tensors."""
    spec = None
    if layout.config_file:
        others = (other for other in LAYOUTS if other is not layout)
        preprocess = None if like is None else like.preprocess
        spec = _from_config(found.path, (layout, *others), preprocess)
    return layout.spec(found, like) if spec is None else spec


def _from_config(
    weights: Path, layouts: Sequence[Layout], preprocess: PreprocessConfig | None
) -> Spec | None:
    """Read the first config file of these layouts that is beside the weights, if one is."""
    for layout in layouts:
        path = weights.parent / layout.config_file
        if layout.read_config is not None and path.is_file():
            return layout.read_config(path, preprocess)
    return None


def _as_published(spec: Spec, published: Published, source: str) -> Spec:
    """Let what is published of a catalogued checkpoint prevail over the config beside it."""
    if conflicts := published.size_conflicts(spec):
        raise IncompatibleWeights(
            f"{source}: not the checkpoint of that name: {'; '.join(conflicts)}", source=source
        )
    for conflict in published.recipe_conflicts(spec):
        log.warning("%s: its config says that %s; loaded as published", source, conflict)
    return checked(published.applied_to(spec), source)


def _check_depth(spec: Spec, tensors: int, source: str) -> None:
    """Refuse more layers than the tensors could fill: each takes time and 0.2 MB to build."""
    layers = spec.network.depth
    if layers > min(MAX_LAYERS, tensors // TENSORS_PER_LAYER):
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
        for name, tensor in weights.on_meta.state_dict().items()
        if not name.endswith(NOT_WEIGHTS)
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
