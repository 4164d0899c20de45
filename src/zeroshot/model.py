"""A loaded CLIP ready for pictures and sentences: weights, tokenizer, preprocessing, device."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from zeroshot import catalog, hub, pipeline
from zeroshot import prompts as prompt_sets
from zeroshot.checkpoint import read as checkpoints
from zeroshot.checkpoint.config import Hints, Spec, to_json
from zeroshot.classifier import Classifier
from zeroshot.engine import Engine, choose_device, choose_dtype
from zeroshot.errors import InputError, ModelNotFound
from zeroshot.head import Head
from zeroshot.images import ImageLike, each, is_single
from zeroshot.nn.config import Activation
from zeroshot.nn.network import Network
from zeroshot.pixels import Preprocess
from zeroshot.prompts import Labels, Prompts
from zeroshot.tokenizer import Tokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE = 256  # values at each of three places of a tensor that enter the fingerprint


def load(
    name: str | os.PathLike[str] = catalog.DEFAULT,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
    like: str | None = None,
) -> Model:
    """Load a model by name, hub repository, or path to a file or folder.

    `name` is one of `available_models()` ("mini" needs no download), a hub repository
    "owner/name", or a path to weights in OpenAI's, open_clip's or the transformers layout. A
    path is anything that exists, or begins with "." or "/".

    `device` and `dtype` default to the best there is; `revision`, `cache_dir` and `offline`
    concern the hub only. `like` names a catalogued checkpoint whose activation and preprocessing
    hold for a bare state dict, which does not say them.

    Raises ModelNotFound, DownloadError and its kin, IncompatibleWeights, UnsafeWeightsError.
    """
    if not isinstance(name, str | os.PathLike):
        raise InputError(f"expected a name or path, got {type(name).__name__} {name!r}")
    chosen_device = choose_device(device)
    chosen_dtype = choose_dtype(dtype, chosen_device)
    display, path = _locate(name, revision=revision, cache_dir=cache_dir, offline=offline)
    checkpoint = checkpoints.read(path, None if like is None else _hints(like))
    return Model(checkpoint.network, checkpoint.spec, display, chosen_device, chosen_dtype)


def _locate(
    name: str | os.PathLike[str],
    *,
    revision: str | None,
    cache_dir: str | os.PathLike[str] | None,
    offline: bool,
) -> tuple[str, Path]:
    """Return a name to show, and the local file or folder that holds the weights."""
    text = os.fspath(name)
    path = Path(text).expanduser()
    if isinstance(name, os.PathLike) or text.startswith((".", "/", "~")):
        if not path.exists():
            raise ModelNotFound(f"{path}: no such file or folder (working folder {Path.cwd()})")
        return path.name, path
    try:
        entry = catalog.find(text)
    except ModelNotFound:
        if path.exists():
            return path.name, path
        if text.count("/") != 1:
            raise
        found = hub.fetch(text, revision=revision, cache_dir=cache_dir, offline=offline)
        return text, found
    if entry.path is not None:
        return entry.name, entry.path
    return entry.name, hub.fetch_entry(
        entry, revision=revision, cache_dir=cache_dir, offline=offline
    )


def _hints(like: str) -> Hints:
    entry = catalog.find(like)
    preprocess = Preprocess(entry.image_size, **entry.preprocess)
    return Hints(cast(Activation, entry.activation), preprocess)


class Model:
    """A CLIP: pictures and sentences in, points of one space out.

    Tokenizer, preprocessing, activation and logit scale belong to the weights and come with them.
    """

    def __init__(
        self, network: Network, spec: Spec, name: str, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.network = network  # float32, on the CPU, as read
        self.spec = spec
        self.name = name
        self.preprocess: Preprocess = spec.preprocess
        self.tokenizer = Tokenizer(
            context_length=spec.network.text.context_length, merges=spec.merges
        )
        self._engine = Engine(network, spec.network, device, dtype)

    def __repr__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        return f"<Model {self.name} {self.embed_dim}-d on {self.device}, {dtype}>"

    @property
    def device(self) -> torch.device:
        """Where the network runs and embeddings are returned."""
        return self._engine.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision the network runs in; embeddings are float32 whatever it is."""
        return self._engine.dtype

    @property
    def embed_dim(self) -> int:
        """Width of the shared embedding space."""
        return self.spec.network.embed_dim

    @cached_property
    def logit_scale(self) -> float:
        """What cosine similarities are multiplied by to become logits; from the checkpoint."""
        return float(self.network.logit_scale.exp())

    @property
    def logit_bias(self) -> float | None:
        """What is added to logits; None, as CLIP has none."""
        return None

    @cached_property
    def identity(self) -> str:
        """Fingerprint of weights, activation, preprocessing and tokenizer.

        The same for one checkpoint in any layout. Each tensor enters by shape and 768 of its
        values, so it tells checkpoints apart but is no proof against forgery.
        """
        facts = to_json(self.spec)
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        for name, tensor in sorted(self.network.state_dict().items()):
            if tensor.is_floating_point():
                flat = tensor.reshape(-1)
                middle = max(0, len(flat) // 2 - SAMPLE // 2)
                digest.update(f"{name}{tuple(tensor.shape)}".encode())
                for start in (0, middle, max(0, len(flat) - SAMPLE)):
                    digest.update(flat[start : start + SAMPLE].numpy().tobytes())
        return digest.hexdigest()[:32]

    def encode_image(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        batch_size: int | None = None,
        normalize: bool = True,
    ) -> Tensor:
        """Embed images: one gives float32 [d], many give [n, d], on `self.device`.

        Rows have unit length unless `normalize` is false. Raises ImageError for what cannot be
        read.
        """
        limit = 4 * (batch_size or 32)
        prepared = pipeline.ahead(self.prepare, each(images), workers=pipeline.cores(), limit=limit)
        encode = partial(self._engine.encode_pixels, batch_size=batch_size, normalize=normalize)
        parts = [
            encode(torch.from_numpy(np.stack(batch)))
            for batch in pipeline.batches(prepared, batch_size or 32)
        ]
        if not parts:
            return torch.zeros(0, self.embed_dim, device=self.device)
        embeddings = torch.cat(parts)
        return embeddings[0] if is_single(images) else embeddings

    def encode_text(
        self,
        texts: str | Sequence[str],
        *,
        batch_size: int | None = None,
        normalize: bool = True,
        truncate: bool = False,
    ) -> Tensor:
        """Embed sentences: one gives float32 [d], many give [n, d], on `self.device`.

        Rows have unit length unless `normalize` is false. Raises TokenLimitError when a text
        exceeds the context length and `truncate` is false.
        Source: Radford et al. 2021, section 2.4; pooling at the end-of-text token.
        """
        many = [texts] if isinstance(texts, str) else list(texts)
        if not many:
            return torch.zeros(0, self.embed_dim, device=self.device)
        rows = self.tokenizer.rows(many, truncate=truncate)
        embeddings = self._engine.encode_ids(rows, batch_size=batch_size, normalize=normalize)
        return embeddings[0] if isinstance(texts, str) else embeddings

    def similarity(self, images: Tensor, texts: Tensor) -> Tensor:
        """Return the cosine of each image embedding with each text embedding: [n, m].

        A single embedding [d] counts as one row.
        """
        rows = torch.nn.functional.normalize(torch.atleast_2d(images).float(), dim=-1)
        columns = torch.nn.functional.normalize(torch.atleast_2d(texts).float(), dim=-1)
        return rows @ columns.to(rows.device).T

    def head(self, labels: Labels, prompts: Prompts = prompt_sets.DEFAULT) -> Head:
        """Embed labels in every template of a prompt set; see `Head.build`."""
        return Head.build(self, labels, prompts)

    def classifier(
        self, labels: Labels | Head, prompts: Prompts = prompt_sets.DEFAULT
    ) -> Classifier:
        """Make a classifier of labels, or of a head built before (then `prompts` is unused)."""
        head = labels if isinstance(labels, Head) else self.head(labels, prompts)
        return Classifier(self, head)

    def prepare(self, image: ImageLike) -> NDArray[np.float32]:
        """Turn one image into normalised pixels: float32 [3, size, size]."""
        return self.preprocess(image)

    def encode_pixels(self, pixels: NDArray[np.float32] | Tensor) -> Tensor:
        """Embed normalised pixels [n, 3, size, size] as unit rows, float32 [n, d]."""
        tensor = torch.as_tensor(pixels)
        size = self.preprocess.size
        if tensor.ndim != 4 or tuple(tensor.shape[1:]) != (3, size, size):
            raise InputError(
                f"pixels have shape {tuple(tensor.shape)}, wanted (n, 3, {size}, {size}); "
                "model.prepare(image) makes one"
            )
        if not len(tensor):
            return torch.zeros(0, self.embed_dim, device=self.device)
        return self._engine.encode_pixels(tensor)

    def to(
        self,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
    ) -> Model:
        """Return this model on another device or in another precision; this one stays."""
        target = self.device if device is None else choose_device(device)
        if dtype is None:
            precision = self.dtype if device is None else choose_dtype(None, target)
        else:
            precision = choose_dtype(dtype, target)
        moved = Model(self.network, self.spec, self.name, target, precision)
        moved.preprocess = self.preprocess
        return moved
