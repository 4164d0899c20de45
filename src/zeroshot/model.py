"""A loaded CLIP: weights, tokenizer, preprocessing, device."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from zeroshot import prompts as prompt_sets
from zeroshot.checkpoint.layouts import native
from zeroshot.checkpoint.reader import Checkpoint
from zeroshot.classifier import Classifier
from zeroshot.embedding import Item, Pixels, Result, check_batch_size, embed
from zeroshot.engine import Engine, choose_device, choose_dtype
from zeroshot.errors import InputError
from zeroshot.head import Head
from zeroshot.images import ImageLike, is_single
from zeroshot.images.preprocess import Decode, Preprocess
from zeroshot.label_store import LabelStore, default_folder
from zeroshot.nn.network import Network
from zeroshot.prompts import Labels, Prompts
from zeroshot.spec import Scoring, Spec
from zeroshot.tokenizers import ClipTokenizer, Tokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE = 256  # values at each of three places of a tensor that enter the fingerprint


class Model:
    """A CLIP: pictures and sentences in, points of one space out.

    Tokenizer, preprocessing, activation and logit scale belong to the weights and come with them.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        name: str,
        device: torch.device,
        dtype: torch.dtype,
        *,
        decode: Decode = "exact",
        parity: bool = False,
    ) -> None:
        self._checkpoint, self._name = checkpoint, name
        spec = checkpoint.spec
        self._preprocess = Preprocess(**vars(spec.preprocess), decode=decode, parity=parity)
        self._tokenizer = ClipTokenizer(
            context_length=spec.network.text.context_length, merges=spec.merges
        )
        self._engine = Engine(checkpoint.weights, spec.network, device, dtype)

    def __repr__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        return f"<Model {self.name} {self.embed_dim}-d on {self.device}, {dtype}>"

    # Facts of the weights are read-only: `identity` is a hash over them, and heads rely on it.

    @property
    def name(self) -> str:
        """Name, repository or file that it was loaded from."""
        return self._name

    @property
    def checkpoint(self) -> Checkpoint:
        """The weights and what belongs to them."""
        return self._checkpoint

    @property
    def spec(self) -> Spec:
        """Architecture, preprocessing, tokenizer and scoring of the checkpoint."""
        return self._checkpoint.spec

    @property
    def preprocess(self) -> Preprocess:
        """The checkpoint's preprocessing; call it with an image for float32 [3, size, size]."""
        return self._preprocess

    @property
    def tokenizer(self) -> Tokenizer:
        """The checkpoint's tokenizer."""
        return self._tokenizer

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
        return float(self.checkpoint.weights.read("logit_scale").exp())

    @property
    def logit_bias(self) -> float | None:
        """What is added to logits; None, as CLIP has none."""
        return None

    @property
    def scoring(self) -> Scoring:
        """How logits become probabilities: "softmax" over all labels, or "sigmoid" for each."""
        return self.spec.scoring

    @cached_property
    def identity(self) -> str:
        """Fingerprint of weights, activation, preprocessing and tokenizer.

        The same for one checkpoint in any layout. Each tensor enters by shape and 768 of its
        values, so it tells checkpoints apart but is no proof against forgery.
        """
        facts = native.to_json(self.spec)
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
        parts = [
            batch.rows
            for batch in embed(self, images, batch_size=batch_size, normalize=normalize)
            if batch.rows is not None
        ]
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
        check_batch_size(batch_size)
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
        return self._engine.backend.prepare(image, self._preprocess)

    def encode_pixels(
        self,
        pixels: NDArray[np.float32] | Tensor,
        *,
        batch_size: int | None = None,
        normalize: bool = True,
    ) -> Tensor:
        """Embed normalized pixels [n, 3, size, size] as float32 [n, d].

        Rows have unit length unless `normalize` is false; `batch_size` bounds what is run at once.
        """
        tensor = _tensor(pixels)
        size = self._preprocess.size
        if tensor.ndim != 4 or tuple(tensor.shape[1:]) != (3, size, size):
            raise InputError(
                f"pixels have shape {tuple(tensor.shape)}, wanted (n, 3, {size}, {size}); "
                "model.prepare(image) makes one"
            )
        if not len(tensor):
            return self._nothing()
        return self._engine.encode_pixels(tensor, batch_size=batch_size, normalize=normalize)

    def map_batches(
        self,
        prepare: Callable[[Item], Pixels],
        embed: Callable[[list[Pixels]], Result],
        items: Iterable[Item],
        *,
        batch_size: int | None = None,
        workers: int | None = None,
    ) -> Iterator[Result]:
        """Prepare items one by one and embed them in batches, in order, as suits the device."""
        return self._engine.backend.map_batches(
            prepare, embed, items, batch_size=batch_size, workers=workers
        )

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
        return Model(
            self.checkpoint,
            self.name,
            target,
            precision,
            decode=self._preprocess.decode,
            parity=self._preprocess.parity,
        )

    def save(self, path: str | os.PathLike[str], *, half: bool = False) -> None:
        """Write the model as one safetensors file, which `zeroshot.load` reads.

        The file holds weights, architecture, activation, preprocessing and vocabulary, and appears
        whole or not at all. With `half`, matrices are stored in half precision. Raises
        IncompatibleWeights when a value is NaN or infinity, or beyond half precision.
        """
        weights = self.checkpoint.weights
        weights.check()
        tensors = weights.as_stored()
        native.save(Path(path), self.name, self.spec, native.halve(tensors) if half else tensors)


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
