"""A loaded CLIP ready for pictures and sentences: weights, tokenizer, preprocessing, device."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import torch
from torch import Tensor

from zeroshot import catalog, pipeline
from zeroshot import prompts as prompt_sets
from zeroshot.catalog import Entry
from zeroshot.checkpoint import read as checkpoints
from zeroshot.checkpoint.config import Hints, to_json
from zeroshot.checkpoint.read import Checkpoint
from zeroshot.classifier import Classifier
from zeroshot.engine import Engine, choose_device, choose_dtype, resample
from zeroshot.errors import InputError, ModelNotFound
from zeroshot.head import Head
from zeroshot.images import ImageLike, each, is_single
from zeroshot.label_store import LabelStore, default_folder
from zeroshot.nn.config import Activation
from zeroshot.nn.network import Network
from zeroshot.pixels import Preprocess
from zeroshot.prompts import Labels, Prompts
from zeroshot.resources import warn_of_namesake
from zeroshot.tokenizer import Tokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE = 256  # values at each of three places of a tensor that enter the fingerprint


def load(
    name: str | os.PathLike[str] = catalog.DEFAULT,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    decode: Literal["exact", "fast"] = "exact",
    image_size: int | None = None,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
    lock: str | os.PathLike[str] | None = None,
    like: str | None = None,
) -> Model:
    """Load a model by name, hub repository, or path to a file or folder.

    `name` is one of `available_models()` ("mini" needs no download), a hub repository
    "owner/name", or a path to weights in OpenAI's, open_clip's or the transformers layout. A
    path is anything that exists, or begins with "." or "/".

    `device` and `dtype` default to the best there is. `decode="fast"` reads large JPEGs at a half
    or less of their size, which is two to four times quicker and nearly the same. `image_size`,
    in pixels, resizes the position embeddings where it is not the checkpoint's own. `revision`,
    `cache_dir` and `offline` concern the hub only. `lock` names a file that `zeroshot lock` wrote:
    what it holds is loaded, and nothing else. `like` names a catalogued checkpoint whose
    activation and preprocessing hold for a bare state dict, which does not say them.

    Raises ModelNotFound, DownloadError and its kin, IncompatibleWeights, UnsafeWeightsError.
    """
    warn_of_namesake()
    if not isinstance(name, str | os.PathLike):
        raise InputError(f"expected a name or path, got {type(name).__name__} {name!r}")
    if not os.fspath(name):
        raise InputError("the model's name is empty; zeroshot.available_models() lists those known")
    chosen_device = choose_device(device)
    chosen_dtype = choose_dtype(dtype, chosen_device)
    if decode not in ("exact", "fast"):
        raise InputError(f"decode={decode!r} must be 'exact' or 'fast'")
    if lock is None:
        display, path, entry = _locate(
            name, revision=revision, cache_dir=cache_dir, offline=offline
        )
    elif revision is None:
        from zeroshot import hub

        display, path = hub.fetch_pinned(lock, str(name), cache_dir=cache_dir, offline=offline)
        entry = catalog.published(str(name))
    else:
        raise InputError(f"revision {revision!r} and a lock, which names one too: pass either")
    alike = catalog.find(like) if like is not None else entry
    checkpoint = checkpoints.read(
        path,
        _hints(alike) if alike else None,
        image_size,
        catalog.expectation(entry) if entry else None,
    )
    model = Model(checkpoint, display, chosen_device, chosen_dtype)
    model.preprocess = replace(model.preprocess, decode=decode)
    return model


def _locate(
    name: str | os.PathLike[str],
    *,
    revision: str | None,
    cache_dir: str | os.PathLike[str] | None,
    offline: bool,
) -> tuple[str, Path, Entry | None]:
    """Return a name to show, the local file or folder, and the entry of a model to be fetched."""
    text = os.fspath(name)
    path = Path(text).expanduser()
    if isinstance(name, os.PathLike) or text.startswith((".", "/", "~")):
        if not path.exists():
            raise ModelNotFound(f"{path}: no such file or folder")
        return path.name, path, None
    try:
        entry = catalog.find(text)
    except ModelNotFound as unknown:
        if path.exists():
            return path.name, path, None
        elsewhere = text.count("/") == 1 and not catalog.is_file_name(text)
        if not elsewhere or catalog.looks_like_ours(text):
            raise
        from zeroshot import hub

        try:
            found = hub.fetch(text, revision=revision, cache_dir=cache_dir, offline=offline)
        except ModelNotFound as missing:
            raise ModelNotFound(f"{missing}. And {unknown}") from missing
        return text, found.weights, None
    if entry.path is not None:
        return entry.name, entry.path, None
    from zeroshot import hub  # imported late: a seventh of our own imports, and rarely needed

    weights = hub.fetch_entry(entry, revision=revision, cache_dir=cache_dir, offline=offline)
    return entry.name, weights, entry


def _hints(entry: Entry) -> Hints:
    preprocess = Preprocess(entry.image_size, **entry.preprocess)
    return Hints(cast(Activation, entry.activation), preprocess)


class Model:
    """A CLIP: pictures and sentences in, points of one space out.

    Tokenizer, preprocessing, activation and logit scale belong to the weights and come with them.
    """

    def __init__(
        self, checkpoint: Checkpoint, name: str, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.spec = spec = checkpoint.spec
        self.name = name
        self.checkpoint = checkpoint
        self.preprocess: Preprocess = spec.preprocess
        self.tokenizer = Tokenizer(
            context_length=spec.network.text.context_length, merges=spec.merges
        )
        weights = checkpoint.weights
        self._engine = Engine(weights.blank, spec.network, device, dtype, filled=weights.filled)

    def __repr__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        return f"<Model {self.name} {self.embed_dim}-d on {self.device}, {dtype}>"

    @property
    def network(self) -> Network:
        """The plain towers in float32, on the CPU: a copy, made when it is first asked for.

        The model itself runs as `zeroshot.engine` rewrites them.
        """
        return self.checkpoint.network

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
        return float(self.checkpoint.weights.stored["logit_scale"].read().exp())

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
        for name, stored in sorted(self.checkpoint.weights.stored.items()):
            length = stored.shape.numel()
            middle = max(0, length // 2 - SAMPLE // 2)
            digest.update(f"{name}{tuple(stored.shape)}".encode())
            for start in (0, middle, max(0, length - SAMPLE)):
                digest.update(stored.sample(start, start + SAMPLE).numpy().tobytes())
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
        _check_batch(batch_size)

        def encode(batch: list[NDArray[np.float32]]) -> Tensor:
            pixels = torch.from_numpy(np.stack(batch))
            return self._engine.encode_pixels(pixels, batch_size=batch_size, normalize=normalize)

        alone = 0 if is_single(images) else None  # a single image is worth every core
        parts = list(
            pipeline.embedded(
                self.prepare,
                encode,
                each(images),
                batch_size=batch_size,
                workers=alone,
                pool=self.pool,
            )
        )
        if not parts:
            return self._nothing()
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
        _check_batch(batch_size)
        if not isinstance(texts, Iterable):
            raise InputError(f"expected text or a list of it, got {type(texts).__name__} {texts!r}")
        many = [texts] if isinstance(texts, str) else list(texts)
        if not many:
            return self._nothing()
        rows = self.tokenizer.rows(many, truncate=truncate)
        embeddings = self._engine.encode_ids(rows, batch_size=batch_size, normalize=normalize)
        return embeddings[0] if isinstance(texts, str) else embeddings

    def _nothing(self) -> Tensor:
        return torch.zeros(0, self.embed_dim, dtype=torch.float32, device=self.device)

    def similarity(self, images: Tensor, texts: Tensor) -> Tensor:
        """Return the cosine of each image embedding with each text embedding: [n, m].

        A single embedding [d] counts as one row. Raises InputError for what is no embedding of
        this model's width.
        """
        for what, given in (("images", images), ("texts", texts)):
            if not isinstance(given, Tensor) or given.shape[-1:] != (self.embed_dim,):
                shape = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
                raise InputError(
                    f"{what} is {shape}, wanted embeddings [n, {self.embed_dim}] as encode_image "
                    "and encode_text return them"
                )
        rows = torch.nn.functional.normalize(torch.atleast_2d(images).float(), dim=-1)
        columns = torch.nn.functional.normalize(torch.atleast_2d(texts).float(), dim=-1)
        return rows @ columns.to(rows.device).T

    def head(self, labels: Labels, prompts: Prompts = prompt_sets.DEFAULT) -> Head:
        """Embed labels in every template of a prompt set; see `Head.build`.

        What was embedded before is remembered on this disk, in $ZEROSHOT_CACHE or the user's
        cache folder (`ZEROSHOT_CACHE=off` forgets).
        """
        store, folder = None, default_folder()
        if folder is not None:
            store = LabelStore(folder, f"{self.identity} {self.dtype}", width=self.embed_dim)
        return Head.build(self, labels, prompts, store=store)

    def classifier(
        self, labels: Labels | Head, prompts: Prompts = prompt_sets.DEFAULT
    ) -> Classifier:
        """Make a classifier of labels, or of a head built before (then `prompts` is unused)."""
        head = labels if isinstance(labels, Head) else self.head(labels, prompts)
        return Classifier(self, head)

    def prepare(self, image: ImageLike) -> NDArray[np.float32]:
        """Turn one image into normalised pixels: float32 [3, size, size].

        A float32 model resamples as the reference does, to the last bit; in other precisions,
        which round more than that, pixels may be one grey level off and take half the time.
        """
        preprocess = self.preprocess
        if preprocess.parity or self.dtype == torch.float32:
            return preprocess(image)
        return resample(preprocess.open(image), preprocess)

    def encode_pixels(self, pixels: NDArray[np.float32] | Tensor) -> Tensor:
        """Embed normalised pixels [n, 3, size, size] as unit rows, float32 [n, d]."""
        tensor = _tensor(pixels)
        size = self.preprocess.size
        if tensor.ndim != 4 or tuple(tensor.shape[1:]) != (3, size, size):
            raise InputError(
                f"pixels have shape {tuple(tensor.shape)}, wanted (n, 3, {size}, {size}); "
                "model.prepare(image) makes one"
            )
        if not len(tensor):
            return self._nothing()
        return self._engine.encode_pixels(tensor)

    @property
    def pool(self) -> Executor | None:
        """Threads that prepare and encode images side by side; None off the CPU."""
        return self._engine.pool

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
        moved = Model(self.checkpoint, self.name, target, precision)
        moved.preprocess = self.preprocess
        return moved


def _check_batch(batch_size: int | None) -> None:
    if batch_size is not None and (type(batch_size) is not int or batch_size < 1):
        raise InputError(f"batch_size={batch_size!r} must be a whole number of at least 1")


def _tensor(pixels: NDArray[np.float32] | Tensor) -> Tensor:
    """Return pixels as a tensor; they must be floating point, as only normalised ones are."""
    try:
        if isinstance(pixels, Tensor):
            tensor = pixels
        else:
            array = np.asarray(pixels)
            # copied only where torch could not take it as it lies in memory
            array = np.require(array, array.dtype.newbyteorder("="), ["C", "W"])
            tensor = torch.from_numpy(array)
    except (TypeError, ValueError) as error:
        raise InputError(f"pixels cannot be made a tensor ({error})") from error
    if not tensor.is_floating_point():
        raise InputError(
            f"pixels are {str(tensor.dtype).removeprefix('torch.')}, wanted floating point: "
            "normalised, as model.prepare(image) makes them"
        )
    return tensor
