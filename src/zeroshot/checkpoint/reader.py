"""Read a path as the complete weights of a network, and their spec."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import cast

from torch import Tensor

from zeroshot.checkpoint import vocabularies
from zeroshot.checkpoint.config_fields import check_spec, read_config
from zeroshot.checkpoint.formats import files
from zeroshot.checkpoint.formats.mapping import Content
from zeroshot.checkpoint.layouts import (
    LAYOUTS,
    Checkpointed,
    Layout,
    explain,
    explain_family,
    explain_prefixes,
    explain_tower,
    explain_unsupported,
    remove_inserted,
    unwrap,
)
from zeroshot.checkpoint.tensors import NOT_WEIGHTS
from zeroshot.checkpoint.vocabularies import Vocabulary
from zeroshot.checkpoint.weights import Weights, on_meta
from zeroshot.errors import IncompatibleWeights, InputError, WeightsError, shortened, some
from zeroshot.nn.network import Network
from zeroshot.spec import MAX_SCALE, PreprocessConfig, Published, Spec

MAX_LAYERS = 192  # in both towers; the largest CLIP has 80

log = logging.getLogger("zeroshot")


@dataclass(frozen=True)
class Checkpoint:
    """The weights of a network, their spec and the name of their layout."""

    weights: Weights
    spec: Spec
    layout: str  # name of a layout
    vocabulary: Vocabulary | None = None  # of another tokenizer than CLIP's

    @property
    def source(self) -> str:
        """Path of the weights file."""
        return self.weights.source

    @cached_property
    def network(self) -> Network:
        """The complete network in float32, on the CPU.

        Raises IncompatibleWeights if a value is NaN or infinity.
        """
        return cast(Network, self.weights.materialize())


def read(
    path: Path,
    like: Published | None = None,
    image_size: int | None = None,
    published: Published | None = None,
    max_patches: int | None = None,
) -> Checkpoint:
    """Read a checkpoint of any known layout.

    Values stay in the file until they are needed. `like` gives activation and preprocessing if bare
    tensors do not determine them. `published` is what the catalog contains about the checkpoint: it
    takes precedence over a config file, and files of other sizes are an error. `image_size` selects
    another image size than the checkpoint's own; position embeddings are resampled. `max_patches`
    limits the patches of images of any grid. Raises
    ModelNotFound, IncompatibleWeights, UnsafeWeightsError, InputError.
    """
    try:
        weights = files.find_weights(path)
        content = files.read_content(weights)
        found = _interpret(weights, content, like, image_size, published)
    except OSError as error:
        raise WeightsError(
            f"{shortened(str(error.filename or path), 300)}: cannot be read "
            f"({shortened(error.strerror or str(error), 150)}); check the file and its permissions",
            source=str(path),
        ) from error
    if max_patches is None:
        return found
    try:
        return replace(found, spec=found.spec.with_patches(max_patches))
    except ValueError as error:
        raise InputError(f"max_patches={max_patches!r}: {error}") from error


def _interpret(
    path: Path,
    content: Content,
    like: Published | None,
    image_size: int | None,
    published: Published | None,
) -> Checkpoint:
    """Determine the network of these tensors, and verify that they are complete."""
    source = str(path)
    layout, tensors = _detect_layout(path, content)
    stored = layout.rename(tensors, source)
    found = Checkpointed(stored, content.metadata, path, tensors.keys())
    spec = _read_spec(layout, found, like)
    if published is not None:
        spec = _apply_published(spec, published, source)
    _check_depth(spec, len(stored), source)
    vocabulary = None
    if spec.tokenizer is not None:
        vocabulary = vocabularies.find(path, stored, content.metadata)
    weights = Weights(spec.network, stored, content.maps, source)
    check_fit(weights)
    if image_size is not None:
        try:
            spec = spec.resized(image_size)
        except ValueError as error:
            raise InputError(f"image_size={image_size!r}: {error}") from error
        shapes, extra = on_meta(spec.network).state_dict(), spec.network.vision.extra_positions
        for local in spec.network.vision.position_embeddings:
            name = f"visual.{local}"
            positions = len(shapes[name]) - extra
            stored[name] = replace(stored[name], positions=positions, extra=extra)
        weights = Weights(spec.network, stored, content.maps, source)
    return Checkpoint(weights, spec, layout.name, vocabulary)


def _detect_layout(path: Path, content: Content) -> tuple[Layout, dict[str, Tensor]]:
    """Return the layout that recognizes these tensors, and the unwrapped tensors."""
    plain = remove_inserted(content.tensors)
    unwrapped = unwrap(plain)
    if problem := explain(unwrapped) or explain_unsupported(unwrapped):
        raise IncompatibleWeights(f"{path}: {problem}", source=str(path))
    for tensors in (plain, unwrapped):
        for layout in LAYOUTS:
            if layout.recognizes(tensors.keys(), content.metadata):
                return layout, tensors
    # A config file with an unsupported value gives a better error than the tensor names.
    _read_config(path, LAYOUTS, PreprocessConfig(224))
    if problem := explain_prefixes(unwrapped):
        raise IncompatibleWeights(f"{path}: {problem}", source=str(path))
    if problem := explain_family(unwrapped) or explain_tower(unwrapped.keys()):
        raise IncompatibleWeights(f"{path}: {problem}", source=str(path))
    raise IncompatibleWeights(
        f"{path}: unsupported layout; expected the tensor names of OpenAI's CLIP, open_clip or "
        "the transformers library, got "
        f"{shortened(some(sorted(tensors)), 300)}",
        source=str(path),
    )


def _read_spec(layout: Layout, found: Checkpointed, like: Published | None) -> Spec:
    """Read the spec of a checkpoint.

    It comes from the layout's config file, from another layout's, or from the tensors.
    """
    spec = None
    if layout.config_file:
        # What the caller says prevails over a config of another layout.
        others = [other for other in LAYOUTS if other is not layout and like is None]
        preprocess = None if like is None else like.preprocess
        spec = _read_config(found.path, (layout, *others), preprocess)
    return layout.spec(found, like) if spec is None else spec


def _read_config(
    weights: Path, layouts: Sequence[Layout], preprocess: PreprocessConfig | None
) -> Spec | None:
    """Read the first config file of these layouts beside the weights, or return None."""
    for layout in layouts:
        path = weights.parent / layout.config_file
        if layout.read_config is not None and path.is_file():
            return layout.read_config(path, preprocess)
    return None


def check_configs(paths: Sequence[Path]) -> bool:
    """Raise IncompatibleWeights if every config file describes an unsupported model.

    `paths` are the configuration files of one folder or repository, of any layout. Files that do
    not say what they describe are accepted, because the weights may need no config file. Returns
    whether the model needs a tokenizer file.
    """
    problems: list[IncompatibleWeights] = []
    for layout in LAYOUTS:
        for path in paths:
            if layout.read_config is None or path.name != layout.config_file:
                continue
            try:
                if not layout.describes(read_config(path).content):
                    continue
                spec = layout.read_config(path, PreprocessConfig(224))
            except IncompatibleWeights as error:
                problems.append(error)
            else:
                return spec.tokenizer is not None
    if problems:
        raise problems[0]
    return False


def _apply_published(spec: Spec, published: Published, source: str) -> Spec:
    """Apply the published activation and preprocessing, overriding the config file."""
    if conflicts := published.size_conflicts(spec):
        raise IncompatibleWeights(
            f"{source}: not the checkpoint of that name: {'; '.join(conflicts)}; download it again",
            source=source,
        )
    for conflict in published.recipe_conflicts(spec):
        log.warning("%s: in its config %s; using the published value", source, conflict)
    return check_spec(published.applied_to(spec), source)


def _check_depth(spec: Spec, tensors: int, source: str) -> None:
    """Reject more layers than the tensors can fill.

    Each layer takes time and 0.2 MB to build.
    """
    layers = spec.network.depth
    if layers > min(MAX_LAYERS, tensors):
        raise IncompatibleWeights(
            f"{source}: {tensors} tensors are too few for {layers} layers (at most {MAX_LAYERS} "
            "are supported); use weights and config of the same checkpoint",
            source=source,
        )


def check_fit(weights: Weights) -> None:
    """Raise IncompatibleWeights unless these are exactly the network's tensors."""
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
        "of wrong shape": [
            f"{name} is {_format_shape(stored[name].shape)}, expected {_format_shape(shapes[name])}"
            for name in shared
            if stored[name].shape != shapes[name]
        ],
        "not floating point": [
            f"{name} of {str(stored[name].dtype).removeprefix('torch.')}"
            for name in shared
            if not (stored[name].dtype.is_floating_point or stored[name].scale is not None)
        ],
    }
    listed = [
        f"{len(names)} {what}: {shortened(some(names, 3), 160)}"
        for what, names in problems.items()
        if names
    ]
    if listed:
        raise IncompatibleWeights(
            f"{source}: the tensors do not match the architecture; {'; '.join(listed)}",
            source=source,
        )
    scale = float(stored["logit_scale"].read().exp())
    if not 0 < scale <= MAX_SCALE:
        raise IncompatibleWeights(
            f"{source}: expected logit_scale.exp() within 0..{MAX_SCALE}, got {scale:.4g}; the "
            "weights are not those of a CLIP, or corrupted",
            source=source,
        )


def _format_shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"
