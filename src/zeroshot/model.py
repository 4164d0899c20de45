"""Define Model: loaded weights with tokenizer, preprocessing and device."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zeroshot import migration
from zeroshot import prompts as prompt_sets
from zeroshot.arguments import file_path, flag, instance, iterator
from zeroshot.cards import card
from zeroshot.checkpoint.layouts import native
from zeroshot.checkpoint.reader import Checkpoint
from zeroshot.checkpoint.tensors import StoredTensor
from zeroshot.classifier import Classifier
from zeroshot.embedding import Item, Pixels, Result, check_batch_size, check_workers, embed
from zeroshot.engine import Engine, choose_device, choose_dtype
from zeroshot.engine.backend import Levels, Loaded
from zeroshot.engine.device import allows_tf32
from zeroshot.errors import InputError, short_errors_in
from zeroshot.head import Head, Scores
from zeroshot.images import ImageLike, is_single
from zeroshot.images.limits import MAX_PIXELS
from zeroshot.images.preprocess import Decode, Preprocess
from zeroshot.images.transparency import Background
from zeroshot.label_store import LabelStore, default_folder
from zeroshot.nn.network import Network
from zeroshot.pixel_arguments import to_images
from zeroshot.prompts import Labels, Prompts
from zeroshot.spec import Scoring, Spec
from zeroshot.tensor_arguments import to_embeddings
from zeroshot.tokenizers import ClipTokenizer, Tokenizer
from zeroshot.tokenizers.tokenizer_files import build_tokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE = 256  # values hashed at the start, middle and end of a tensor for the fingerprint


@short_errors_in
class Model:
    """A CLIP model that embeds images and texts in a shared space.

    `zeroshot.load` creates it. Tokenizer, preprocessing, activation and logit scale are read from
    the checkpoint.

    Example:
        >>> model = zeroshot.load("mini")
        >>> image, texts = model.encode_image("cat.jpg"), model.encode_text(["a cat", "a dog"])
        >>> model.similarity(image, texts).shape
        torch.Size([1, 2])
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        name: str,
        device: torch.device,
        dtype: str | torch.dtype | None,
        *,
        decode: Decode = "exact",
        parity: bool = False,
        max_pixels: int = MAX_PIXELS,
        background: Background = None,
        source: str | None = None,
    ) -> None:
        instance("checkpoint", checkpoint, Checkpoint, "load a model with zeroshot.load(name)")
        device = choose_device(device)
        self._checkpoint, self._name, self._source = checkpoint, name, source
        spec = checkpoint.spec
        self._preprocess = Preprocess(
            **vars(spec.preprocess),
            decode=decode,
            parity=parity,
            max_pixels=max_pixels,
            background=background,
        )
        precision, tf32 = choose_dtype(dtype, device), allows_tf32(dtype)
        self._engine = Engine(checkpoint.weights, spec.network, device, precision, tf32=tf32)

    if not TYPE_CHECKING:  # a type checker reports unknown attributes itself

        def __getattr__(self, name):
            advice = migration.attribute_advice(migration.MODEL, name)
            raise AttributeError(f"'Model' object has no attribute {name!r}{advice}")

    def __repr__(self) -> str:
        precision = self._engine.precision
        return f"<Model {self.name} {self.embed_dim}-d on {self.device}, {precision}>"

    def _repr_html_(self) -> str:
        facts = {
            "device": self.device,
            "precision": self._engine.precision,
            "image size": self._describe_size(),
            "dimensions": self.embed_dim,
            "context length": f"{self.spec.network.text.context_length} tokens",
            "scoring": self.scoring,
            "identity": self.identity,
        }
        return card(f"Model {self.name}", facts)

    def _describe_size(self) -> str:
        preprocess = self._preprocess
        if self.spec.takes_any_grid:
            return f"at most {preprocess.max_patches} patches of {preprocess.patch} pixels"
        return f"{preprocess.size} x {preprocess.size}"

    # Properties of the weights are read-only: `identity` hashes them, and heads depend on it.

    @property
    def name(self) -> str:
        """Name, repository or file that the model was loaded from."""
        return self._name

    @property
    def source(self) -> str | None:
        """Name or repository of the model for `zeroshot.load`, or None for a local file."""
        return self._source

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint: weights, spec and layout."""
        return self._checkpoint

    @property
    def spec(self) -> Spec:
        """Architecture, preprocessing, tokenizer and scoring of the checkpoint."""
        return self._checkpoint.spec

    @property
    def preprocess(self) -> Preprocess:
        """The checkpoint's preprocessing.

        Call it with an image for float32 [3, size, size], or [3, height, width] if the model keeps
        the aspect ratio.
        """
        return self._preprocess

    @property
    def tokenizer(self) -> Tokenizer:
        """The checkpoint's tokenizer; it is read when it is first needed.

        Raises MissingPackage if it is not CLIP's and the tokenizers package is not installed,
        WeightsError if its file cannot be read or used.
        """
        return self._tokenizer

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        text, config = self.spec.network.text, self.spec.tokenizer
        vocabulary = self.checkpoint.vocabulary
        if config is None or vocabulary is None:
            return ClipTokenizer(
                context_length=text.context_length,
                merges=self.spec.merges,
                full_rows=text.full_rows,
            )
        place = vocabulary.place.with_name(vocabulary.name)
        return build_tokenizer(vocabulary.read(), place, config, vocab_size=text.vocab_size)

    @property
    def network(self) -> Network:
        """The reference network of plain modules, as a float32 copy on the CPU.

        It is built on first access. The model itself runs the optimized version in
        `zeroshot.engine`.
        """
        return self.checkpoint.network

    @property
    def device(self) -> torch.device:
        """Device on which the network runs and embeddings are returned."""
        return self._engine.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision in which the network runs; embeddings are always float32."""
        return self._engine.dtype

    @property
    def embed_dim(self) -> int:
        """Number of dimensions of the shared embedding space."""
        return self.spec.network.embed_dim

    @cached_property
    def logit_scale(self) -> float:
        """Factor that turns cosine similarities into logits; read from the checkpoint."""
        return float(self.checkpoint.weights.read("logit_scale").exp())

    @property
    def logit_bias(self) -> float | None:
        """Constant added to logits, as SigLIP has one; None for CLIP. Read from the checkpoint."""
        return self._logit_bias

    @cached_property
    def _logit_bias(self) -> float | None:
        if not self.spec.network.logit_bias:
            return None
        return float(self.checkpoint.weights.read("logit_bias"))

    @property
    def scoring(self) -> Scoring:
        """How logits become probabilities.

        "softmax" over all labels, or "sigmoid" per label.
        """
        return self.spec.scoring

    @cached_property
    def identity(self) -> str:
        """Fingerprint of weights, activation, preprocessing and tokenizer: 32 hex digits.

        It is the same for a checkpoint in every layout, unless the layouts disagree about the
        activation. The hash covers the shape and 768 values of each tensor, so it distinguishes
        checkpoints but does not protect against forgery. Of a tokenizer file it covers only how it
        is used.
        """
        facts = native.to_json(self.spec)
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        for name, stored in sorted(self.checkpoint.weights.stored.items()):
            length = stored.shape.numel()
            middle = max(0, length // 2 - SAMPLE // 2)
            digest.update(f"{name}{tuple(stored.shape)}".encode())
            # folded once instead of for every sample
            values = stored if stored.fold is None else StoredTensor((stored.read(),))
            for start in (0, middle, max(0, length - SAMPLE)):
                digest.update(values.sample(start, start + SAMPLE).numpy().tobytes())
            self.checkpoint.weights.release()  # the system maps 64 kB around each value
        return digest.hexdigest()[:32]

    def encode_image(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        batch_size: int | None = None,
        normalize: bool | None = None,
        project: bool = True,
        progress: bool | None = None,
    ) -> Tensor:
        """Embed images in the shared space, or return the features before the projection to it.

        Train classifiers on the features: they contain more of the image than the embedding. Heads
        and `similarity` require embeddings. They reject features of another width, but in a few
        models the features have as many dimensions as the embedding.

        Args:
            images: One image, or an iterable of images. An image is a path, an http(s) URL, bytes,
                a binary file, a PIL image, a numpy array, a torch tensor or a `Sample`.
            batch_size: Number of images to run at once. None selects a size for the device.
            normalize: Scale each row to unit length. None scales embeddings and leaves features as
                they are.
            project: Return embeddings. False returns the features before the last linear map. ViT:
                the class token after `ln_post`, before `proj`, on which Radford et al. 2021 train
                linear probes (appendix A.3). SigLIP and PE-Core: the output of the
                attention pool. ResNet: the output of attention pooling before `c_proj`, which is
                the ResNet's projection (github.com/openai/CLIP/issues/51); the paper states the
                layer for ViTs only. ConvNeXt and FastViT: the mean of the last feature map, normed
                in ConvNeXt. "mini": the averaged feature map of its image classifier, before the
                class scores.
            progress: Show a progress bar. None shows one on a terminal or in a notebook if the work
                takes longer than two seconds.

        Returns:
            float32 on `self.device`: [d] for one image, [n, d] for an iterable. d is `embed_dim`,
            or the width of the image tower for features.

        Raises:
            ImageError: An image cannot be read.
            NonFiniteError: The network produced NaN or infinity.

        Example:
            >>> model = zeroshot.load("mini")
            >>> model.encode_image(["cat.jpg"]).shape
            torch.Size([1, 384])
            >>> model.encode_image(["cat.jpg"], project=False).shape
            torch.Size([1, 1280])
        """
        project, normalize = _to_flags(project, normalize)
        batches = embed(
            self,
            images,
            batch_size=batch_size,
            normalize=normalize,
            project=project,
            progress=progress,
        )
        parts = [batch.rows for batch in batches if batch.rows is not None]
        if not parts:
            return self._no_images(project)
        embeddings = torch.cat(parts)
        return embeddings[0] if is_single(images) else embeddings

    def encode_text(
        self,
        texts: str | Sequence[str],
        *,
        batch_size: int | None = None,
        normalize: bool = True,
        truncate: bool = False,
        progress: bool | None = None,
    ) -> Tensor:
        """Embed texts in the shared space.

        Args:
            texts: One text, or a list of texts.
            batch_size: Number of texts to run at once. None selects a size for the device.
            normalize: Scale each embedding to unit length.
            truncate: Cut texts that exceed the context length instead of raising an error.
            progress: Show a progress bar; see `encode_image`.

        Returns:
            float32 on `self.device`: [d] for one text, [n, d] for a list. The text encoder pools at
            the end-of-text token (Radford et al. 2021, section 2.4), that of SigLIP at the last
            position, a BERT at the first token or over all.

        Raises:
            TokenLimitError: A text exceeds the context length and `truncate` is false.
            MissingPackage: The model has another tokenizer than CLIP's, and the tokenizers package
                is not installed.
            InputError: `texts` is not text.

        Example:
            >>> model = zeroshot.load("mini")
            >>> model.encode_text(["a cat", "a dog"]).shape
            torch.Size([2, 384])
        """
        batch_size, normalize = check_batch_size(batch_size), flag("normalize", normalize)
        if isinstance(texts, Mapping) or (hasattr(texts, "dtype") and not _is_text_array(texts)):
            raise InputError(
                f"texts must be text, got token ids as {type(texts).__name__}; zeroshot tokenizes "
                "itself: write encode_text(['a photo of a cat']) without a tokenizer"
            )
        many = [texts] if isinstance(texts, str) else list(iterator("texts", texts))
        if not many:
            return self._empty()
        rows = self.tokenizer.rows(many, truncate=truncate)
        embeddings = self._engine.encode_ids(
            rows, batch_size=batch_size, normalize=normalize, progress=progress
        )
        return embeddings[0] if isinstance(texts, str) else embeddings

    @property
    def _sentences(self) -> int:
        """Number of texts to pass to `encode_text` at once when there are many."""
        return self._engine.backend.texts_at_once

    @property
    def _text_workers(self) -> int:
        """Number of threads that call `encode_text` at once when there are many texts.

        0 stands for the caller's, also if a subclass replaces `encode_text`, which may not allow
        several.
        """
        own = getattr(self.encode_text, "__func__", None) is Model.encode_text
        return self._engine.backend.text_workers if own else 0

    def _no_images(self, project: bool) -> Tensor:
        if project:
            return self._empty()
        size = self._preprocess.square  # the tower determines the width of its features
        return self._engine.encode_pixels(torch.zeros(0, 3, size, size), project=False)

    def _empty(self) -> Tensor:
        return torch.zeros(0, self.embed_dim, dtype=torch.float32, device=self.device)

    def similarity(
        self, images: Tensor | NDArray[np.float32], texts: Tensor | NDArray[np.float32]
    ) -> Tensor:
        """Compute the cosine similarity of each image with each text.

        Args:
            images: Image embeddings [n, d], or [d] for one, as a tensor or an array. They need not
                have unit length.
            texts: Text embeddings [m, d], or [d] for one.

        Returns:
            float32 [n, m] on the device of `images`; a single embedding counts as one row or
            column.

        Raises:
            InputError: An argument does not contain embeddings of this model's dimension.

        Example:
            >>> model = zeroshot.load("mini")
            >>> texts = model.encode_text(["a cat", "a dog"])
            >>> model.similarity(model.encode_image("cat.jpg"), texts).argmax().item()
            0
        """
        rows, columns = (
            torch.nn.functional.normalize(
                torch.atleast_2d(to_embeddings(given, self.embed_dim, what)), dim=-1
            )
            for what, given in (("images", images), ("texts", texts))
        )
        with torch.autocast(rows.device.type, enabled=False):  # a caller's would round
            return rows @ columns.to(rows.device).T

    def head(
        self,
        labels: Labels,
        prompts: Prompts = prompt_sets.DEFAULT,
        *,
        allow_equal: bool = False,
        none_of_these: bool = False,
        scores: Scores = "model",
        progress: bool | None = None,
    ) -> Head:
        """Build a head: the text embeddings of labels, averaged over prompt templates.

        Embeddings are cached on disk in $ZEROSHOT_CACHE or in the user's cache folder;
        `ZEROSHOT_CACHE=off` disables the cache.

        Args:
            labels: A list of names, or a dict from each name to one or more synonyms.
            prompts: Name of a prompt set, one template, a list of templates, a file or a
                `PromptSet`.
            allow_equal: Accept labels with the same tokens, such as "Cat" and "cat".
            none_of_these: Let an image be none of the labels. About 2,500 background words are
                embedded once per model, and kept on disk.
            scores: "model" lets the labels of an image compete, as the model was trained.
                "independent" finds several labels in one image; it encodes 6 parts of each.
            progress: Show a progress bar; see `encode_image`.

        Returns:
            A head for this model, which can be saved.

        Raises:
            LabelError, PromptError, TokenLimitError: As in `Head.build`.

        Example:
            >>> model = zeroshot.load("mini")
            >>> model.head(["cat", "dog"])
            <Head of 2 labels, prompts 'photo', 384-d>
        """
        store, folder = None, default_folder()
        if folder is not None:
            precision = "tf32" if self._engine.tf32 else self.dtype
            store = LabelStore(folder, f"{self.identity} {precision}", width=self.embed_dim)
        return Head.build(
            self,
            labels,
            prompts,
            allow_equal=allow_equal,
            none_of_these=none_of_these,
            scores=scores,
            store=store,
            progress=progress,
        )

    def classifier(
        self,
        labels: Labels | Head,
        prompts: Prompts = prompt_sets.DEFAULT,
        *,
        allow_equal: bool = False,
        none_of_these: bool = False,
        scores: Scores = "model",
        progress: bool | None = None,
    ) -> Classifier:
        """Make a classifier for a set of labels.

        Args:
            labels: A list of names, a dict from each name to one or more synonyms, or a `Head`.
            prompts: Name of a prompt set, one template, a list of templates, a file or a
                `PromptSet`. Ignored if `labels` is a head.
            allow_equal: Accept labels with the same tokens, such as "Cat" and "cat". Ignored if
                `labels` is a head.
            none_of_these: Let an image be none of the labels. About 2,500 background words are
                embedded once per model, and kept on disk.
            scores: "model" lets the labels of an image compete, as the model was trained.
                "independent" finds several labels in one image; it encodes 6 parts of each.
            progress: Show a progress bar while the head is built; see `encode_image`.

        Returns:
            A Classifier, which can be called with images.

        Raises:
            HeadMismatch: The head was built for another model.
            LabelError, PromptError, TokenLimitError: As in `Head.build`.

        Example:
            >>> model = zeroshot.load("mini")
            >>> model.classifier({"pet": ["cat", "dog"], "boat": "boat"})("cat.jpg").label
            'pet'
        """
        if isinstance(labels, Head):
            return Classifier(self, labels)
        head = self.head(
            labels,
            prompts,
            allow_equal=allow_equal,
            none_of_these=none_of_these,
            scores=scores,
            progress=progress,
        )
        return Classifier(self, head)

    def prepare(self, image: ImageLike) -> NDArray[np.float32]:
        """Convert one image to normalized pixels: float32 [3, size, size].

        A float32 model resamples exactly as the reference. Lower precisions round more than
        resampling does; for them, pixels may differ by one gray level and take half the time.

        Args:
            image: A path, an http(s) URL, bytes, a binary file, a PIL image, a numpy array, a torch
                tensor or a `Sample`.

        Returns:
            float32 [3, size, size]. For a model that keeps the aspect ratio (SigLIP 2 NaFlex):
            [3, height, width], both multiples of `preprocess.patch`.

        Raises:
            ImageError: The image cannot be read.

        Example:
            >>> model = zeroshot.load("mini")
            >>> model.prepare("cat.jpg").shape
            (3, 224, 224)
        """
        return self._engine.backend.prepare(image, self._preprocess)

    def _load(self, image: ImageLike) -> Loaded:
        """Convert one image to what `encode_pixels` reads fastest on this device."""
        return self._engine.backend.load(image, self._preprocess)

    def _decode(self, images: list[Any]) -> list[Any]:
        """Decode the files among what `_load` returned; one that cannot be read is an ImageError.

        Everything else is returned as it is.
        """
        return self._engine.backend.decode(images)

    def encode_pixels(
        self,
        pixels: NDArray[np.float32] | Tensor | Sequence[NDArray[np.float32] | Tensor],
        *,
        batch_size: int | None = None,
        normalize: bool | None = None,
        project: bool = True,
    ) -> Tensor:
        """Embed normalized pixels as float32 [n, d].

        Args:
            pixels: Floating-point array or tensor [n, 3, size, size], as `prepare` makes for each
                image. Models that keep the aspect ratio (SigLIP 2 NaFlex) accept images of
                different shapes: a list of [3, height, width], [n, 3, height, width], or one image
                [3, height, width]. Both sides must be multiples of `preprocess.patch`, with at most
                `preprocess.max_patches` patches.
            batch_size: Number of images to run at once. None selects a size for the device.
            normalize: Scale each row to unit length; see `encode_image`.
            project: Return embeddings, or with False the features before the projection; see
                `encode_image`.

        Returns:
            float32 [n, d] on `self.device`, or [d] for one image [3, height, width].

        Raises:
            InputError: The shape or dtype is wrong.
            NonFiniteError: The network produced NaN or infinity.

        Example:
            >>> model = zeroshot.load("mini")
            >>> model.encode_pixels(model.prepare("cat.jpg")[None]).shape
            torch.Size([1, 384])
        """
        project, normalize = _to_flags(project, normalize)
        if batch_size is not None:
            batch_size = check_batch_size(batch_size)
        if isinstance(pixels, list) and pixels and isinstance(pixels[0], Levels):  # of `_load`
            return self._engine.encode_pixels(
                pixels, batch_size=batch_size, normalize=normalize, project=project
            )
        if self._preprocess.resize_mode == "aspect":
            several = isinstance(pixels, list | tuple)
            given = [_to_tensor(each) for each in pixels] if several else _to_tensor(pixels)
            images = to_images(given, self._preprocess.patch, self._preprocess.max_patches)
            if not images:
                return self._no_images(project)
            rows = self._engine.encode_pixels(
                images, batch_size=batch_size, normalize=normalize, project=project
            )
            return rows[0] if isinstance(given, Tensor) and given.ndim == 3 else rows
        tensor = _to_tensor(pixels)
        size = self._preprocess.size
        if tensor.ndim != 4 or tuple(tensor.shape[1:]) != (3, size, size):
            raise InputError(
                f"expected pixels of shape (n, 3, {size}, {size}), got {tuple(tensor.shape)}; use "
                "model.prepare(image) to make the pixels of one image, and np.stack for several"
            )
        if not len(tensor):
            return self._no_images(project)
        return self._engine.encode_pixels(
            tensor, batch_size=batch_size, normalize=normalize, project=project
        )

    @property
    def is_busy(self) -> bool:
        """Whether other programs use the cores, so that a single image is faster on one."""
        # with one thread, as in a forked child, there is nothing to wait for
        return torch.get_num_threads() > 1 and time.monotonic() < self._engine.backend.busy_until

    def map_batches(
        self,
        prepare: Callable[[Item], Pixels],
        embed: Callable[[list[Pixels]], Result],
        items: Iterable[Item],
        *,
        batch_size: int | None = None,
        workers: int | None = None,
    ) -> Iterator[Result]:
        """Prepare items one by one and embed them in batches, in order.

        Args:
            prepare: Function from one item to its pixels. It may run in worker threads.
            embed: Function from a list of pixels to the result of a batch.
            items: Iterable of items, consumed as needed.
            batch_size: Number of items per batch. None selects a size for the device.
            workers: Number of threads that prepare items. None selects it for the device.

        Returns:
            An iterator of the results of the batches.

        Raises:
            InputError: An argument is not a function, not iterable or out of range.

        Example:
            >>> model = zeroshot.load("mini")
            >>> list(model.map_batches(str.upper, "".join, ["a", "b"], batch_size=2, workers=0))
            ['AB']
        """
        for name, function in (("prepare", prepare), ("embed", embed)):
            instance(name, function, Callable, "pass a function of one argument")
        return self._engine.backend.map_batches(
            prepare,
            embed,
            iterator("items", items),
            batch_size=check_batch_size(batch_size),
            workers=check_workers(workers),
        )

    def to(
        self,
        device: str | int | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
    ) -> Model:
        """Return a copy of this model on another device or in another precision.

        This model does not change.

        Args:
            device: A torch device, its name, such as "cpu" or "cuda", or an index of a CUDA GPU.
                None keeps the device.
            dtype: "float32", "bfloat16", "float16" or the torch dtype; on CUDA also "tf32". None
                keeps the precision, or selects the default precision of a new device.

        Returns:
            A new Model that shares the weights file.

        Raises:
            InputError: The device or precision is not available.

        Example:
            >>> model = zeroshot.load("mini")
            >>> model.to(dtype="float32").dtype
            torch.float32
        """
        target = self.device if device is None else choose_device(device)
        if dtype is None and device is None:
            dtype = self._engine.precision
        return Model(
            self.checkpoint,
            self.name,
            target,
            dtype,
            decode=self._preprocess.decode,
            parity=self._preprocess.parity,
            max_pixels=self._preprocess.max_pixels,
            background=self._preprocess.background,
            source=self.source,
        )

    def save(
        self, path: str | os.PathLike[str], *, half: bool = False, force: bool = False
    ) -> None:
        """Write the model as one safetensors file, which `zeroshot.load` reads.

        The file contains weights, architecture, activation, preprocessing and vocabulary. It is
        written to a temporary file and then renamed.

        Args:
            path: File to write, which ends in .safetensors.
            half: Store matrices in half precision.
            force: Replace any existing file. By default only a file that this method wrote is
                replaced.

        Raises:
            InputError: The path has another suffix, or an existing file is not replaced.
            IncompatibleWeights: A value is NaN, infinity or outside the range of half precision.
            SaveError: The file cannot be written.

        Example:
            >>> model = zeroshot.load("mini")
            >>> model.save("copy.safetensors")
            >>> zeroshot.load("copy.safetensors").identity == model.identity
            True
        """
        target = file_path(path)
        if target.suffix != ".safetensors":
            raise InputError(f"expected a file that ends in .safetensors, got {str(target)!r}")
        if target.exists() and not flag("force", force) and not native.is_native(target):
            raise InputError(
                f"{target} exists and was not written by Model.save; use another name, or "
                "force=True to replace it"
            )
        weights, half = self.checkpoint.weights, flag("half", half)
        weights.check()
        tensors = weights.as_stored()
        tensors = native.halve(tensors) if half else tensors
        native.save(target, self.name, self.spec, tensors, self.checkpoint.vocabulary)


def _to_flags(project: object, normalize: object) -> tuple[bool, bool]:
    """Return `project` and `normalize` as bools; features are not normalized by default."""
    if project is True and normalize is True:  # as a classifier asks for each image
        return True, True
    projected = flag("project", project)
    if normalize is None:
        return projected, projected
    return projected, flag("normalize", normalize, ", or None for the default")


def _is_text_array(texts: object) -> bool:
    """Return whether these are an array or a column of text."""
    return str(getattr(texts, "dtype", "")).startswith(("<U", "|U", "object", "str", "string"))


def _to_tensor(pixels: object) -> Tensor:
    """Return floating-point pixels as a tensor; raise InputError for other dtypes."""
    try:
        if isinstance(pixels, Tensor):
            tensor = pixels
        else:
            array = np.asarray(pixels)
            # copied only if torch does not support its memory layout
            array = np.require(array, array.dtype.newbyteorder("="), ["C", "W"])
            tensor = torch.from_numpy(array)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"cannot convert pixels of type {type(pixels).__name__} to a tensor ({error}); pass a "
            "float32 array [n, 3, size, size], as model.prepare(image) returns for one image"
        ) from error
    if not tensor.is_floating_point():
        raise InputError(
            "expected pixels of a floating-point dtype, normalized, got "
            f"{str(tensor.dtype).removeprefix('torch.')}; use model.prepare(image) to make them"
        )
    return tensor
