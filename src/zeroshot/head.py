"""Store one text embedding per label, how it is scored, and where it came from.

A head is the text side of a zero-shot classifier. Build it once and reuse it. It records the
identity of the model that built it and raises HeadMismatch with any other model.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from zeroshot import head_files
from zeroshot import prompts as prompt_sets
from zeroshot.arguments import file_path, flag, instance, iterator, one_of, require
from zeroshot.calibration import Calibration
from zeroshot.cards import card
from zeroshot.errors import (
    HeadMismatch,
    InputError,
    LabelError,
    short_errors_in,
    shortened,
    some,
)
from zeroshot.head_checks import problems
from zeroshot.independent import independent_logits
from zeroshot.label_embedding import (
    TEXT_METHODS,
    TextEncoder,
    embed_background,
    embed_stored,
    reject_equal,
)
from zeroshot.label_store import LabelStore
from zeroshot.prompts import Labels, Prompts
from zeroshot.spec import Scoring
from zeroshot.tensor_arguments import kind_of, to_embeddings, to_float, to_logits
from zeroshot.vocabulary import NONE, Background
from zeroshot.wording import fold

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger("zeroshot")

Scores = Literal["model", "independent"]


@short_errors_in
@dataclass(frozen=True, eq=False)
class Head:
    """The text embeddings of a set of labels.

    Args:
        labels: The label names.
        weight: float32 [L, d], one row of unit length per label.
        logit_scale: Factor that turns cosine similarities into logits.
        logit_bias: Constant added to logits, or None.
        model: Identity of the model that built the head.
        names: The synonyms that each label was built from.
        templates: The prompt templates, each with one `{}`.
        prompts: Name of the prompt set.
        scoring: How logits become probabilities: "softmax" over all labels, or "sigmoid" for each
            label independently.
        calibration: What calibration images showed, or None. `select` and `+` drop it, because it
            is valid for one set of labels only; they keep the temperature.
        source: Name or Hub repository of the model, as `zeroshot.load` takes it, or None for a
            local file.
        background: Words for what is none of the labels, or None.
        inverse_temperature: Factor for the logits of a softmax, fitted on calibration images; 1
            without.
        none_offset: Added to the logit of "none of these", fitted on calibration images; 0 without.
        paths: For a tree of labels, the names from the top to each label; else None.
        examples: Digests of the images that are part of the head.
        logistic: Factor and offset of independent or sigmoid scores, fitted on images; else None.

    Raises:
        LabelError, InputError: A value is invalid.

    Example:
        >>> head = zeroshot.load("mini").head(["cat", "dog"])
        >>> head.labels
        ('cat', 'dog')
    """

    labels: tuple[str, ...]
    weight: Tensor
    logit_scale: float
    logit_bias: float | None
    model: str
    names: tuple[tuple[str, ...], ...]
    templates: tuple[str, ...]
    prompts: str  # name of the prompt set
    scoring: Scoring | Literal["independent"] = "softmax"
    calibration: Calibration | None = None
    source: str | None = None
    background: Background | None = None
    inverse_temperature: float = 1.0
    none_offset: float = 0.0
    paths: tuple[tuple[str, ...], ...] | None = None
    examples: tuple[str, ...] = ()
    logistic: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        instance("labels", self.labels, tuple, "pass a tuple of text")
        prompt_sets.named(self.labels)
        for field, value, expected in problems(self):
            raise InputError(
                f"the {field} of a head must be {expected}, got {shortened(repr(value))}"
            )
        for label in self.labels if self.classes != self.labels else ():
            if fold(label) == fold(NONE):
                raise LabelError(
                    f"label {shortened(repr(label))} is the name of the class that "
                    "none_of_these=True adds; remove or rename it, or omit none_of_these (on the "
                    "command line --none)"
                )

    @classmethod
    def build(
        cls,
        encoder: TextEncoder,
        labels: Labels,
        prompts: Prompts = prompt_sets.DEFAULT,
        *,
        allow_equal: bool = False,
        none_of_these: bool = False,
        scores: Scores = "model",
        store: LabelStore | None = None,
        progress: bool | None = None,
    ) -> Head:
        """Embed each label in every template and average: normalize, mean, normalize.

        A label with several names gets the average over all its sentences. Source: Radford et al.
        2021, section 3.1.4.

        Args:
            encoder: A `Model`, or any object with its text methods.
            labels: A list of names, or a dict from each name to one or more synonyms.
            prompts: Name of a prompt set, one template, a list of templates, a file or a
                `PromptSet`.
            allow_equal: Accept labels whose names have the same tokens, such as "Cat" and "cat".
                They get equal scores.
            none_of_these: Add background words, so that an image can be none of the labels.
            scores: "model" scores labels as the model was trained; "independent" finds several
                labels in one image.
            store: Cache of label embeddings. Labels found in it are not embedded again, new ones
                are added.
            progress: Show a progress bar. None shows one on a terminal or in a notebook if the work
                takes longer than two seconds.

        Returns:
            A head for the encoder.

        Raises:
            LabelError: The labels are invalid, the encoder's tokenizer, if it has one, cannot
                distinguish two of them, or with `none_of_these` a label is "none of these" or all
                background words are close to labels.
            PromptError: The prompts are invalid.
            TokenLimitError: A sentence exceeds the context length; the error contains it.

        Example:
            >>> len(zeroshot.Head.build(zeroshot.load("mini"), ["cat", "dog"]))
            2
        """
        require("encoder", encoder, TEXT_METHODS, "pass a model, as zeroshot.load() returns it")
        if store is not None:
            instance("store", store, LabelStore, "omit it")
        prompt_set = prompt_sets.get(prompts)
        labels, paths = prompt_sets.flatten(labels)
        named = {label: tuple(names) for label, names in prompt_sets.named(labels).items()}
        if not flag("allow_equal", allow_equal):
            reject_equal(getattr(encoder, "tokenizer", None), named, prompt_set.templates)
        vectors, new = embed_stored(encoder, named.values(), prompt_set, store, progress)
        background = None
        one_of("scores", scores, get_args(Scores))
        if flag("none_of_these", none_of_these) or scores == "independent":
            background = embed_background(encoder, store, progress)
        log.info("%d labels: %d embedded, the others from the cache", len(named), new)
        made = cls(
            labels=tuple(named),
            weight=torch.stack([vectors[names] for names in named.values()]),
            logit_scale=encoder.logit_scale,
            logit_bias=encoder.logit_bias,
            model=encoder.identity,
            names=tuple(named.values()),
            templates=prompt_set.templates,
            prompts=prompt_set.name,
            scoring=encoder.scoring if scores == "model" else "independent",
            source=encoder.source,
            background=background,
            paths=paths,
        )
        if made.classes != made.labels:
            _ = made.words  # raises LabelError if none is left
        return made

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"<Head of {len(self)} labels, prompts {self.prompts!r}, {self.weight.shape[1]}-d>"

    def _repr_html_(self) -> str:
        facts = {
            "labels": some([shortened(label) for label in self.labels]),
            "prompts": f"{self.prompts}, {len(self.templates)} templates",
            "dimensions": self.weight.shape[1],
            "logit scale": f"{self.logit_scale:.4g}",
            "scoring": self.scoring,
            "model": self.model,
        }
        return card(f"Head of {len(self)} labels", facts)

    def logits(self, embeddings: Tensor | NDArray[np.float32]) -> Tensor:
        """Return the logits of image embeddings: [n, L], or [L] for one.

        Args:
            embeddings: float32 [n, d] or [d], of unit length, as `Model.encode_image` returns them
                or `zeroshot encode` writes them. For independent scores also windows [n, W, d]; the
                best window counts.

        Returns:
            float32 [n, L], or [L] for one. With background words there is one more column, for none
            of the labels.

        Raises:
            InputError: These are not embeddings of this head's dimension.

        Example:
            >>> model = zeroshot.load("mini")
            >>> model.head(["cat", "dog"]).logits(model.encode_image("cat.jpg")).argmax().item()
            0
        """
        labels, words = self.similarities(embeddings)
        if self.scoring == "independent":
            assert self.background is not None  # `build` adds words
            assert words is not None
            if labels.ndim < 3:  # the whole image is the only window
                labels, words = labels.unsqueeze(-2), words.unsqueeze(-2)
            factor = self.inverse_temperature
            return independent_logits(
                factor * labels, factor * words, self.weight.to(labels.device), self.background
            )
        return labels if words is None else torch.cat([labels, self.sum_words(words)], dim=-1)

    def similarities(
        self, embeddings: Tensor | NDArray[np.float32]
    ) -> tuple[Tensor, Tensor | None]:
        """Return the scaled similarities with labels [n, L] and with background words [n, B].

        Args:
            embeddings: As in `logits`.

        Returns:
            float32 [n, L] and float32 [n, B], or None without background words.

        Raises:
            InputError: These are not embeddings of this head's dimension.

        Example:
            >>> model = zeroshot.load("mini")
            >>> labels, words = model.head(["cat"]).similarities(model.encode_image("cat.jpg"))
            >>> words is None
            True
        """
        windows = isinstance(embeddings, Tensor) and embeddings.ndim == 3
        if not (windows and self.scoring == "independent"):
            embeddings = to_embeddings(embeddings, self.weight.shape[1])
        assert isinstance(embeddings, Tensor)
        words = None
        with torch.autocast(embeddings.device.type, enabled=False):  # a caller's would round
            labels = self.logit_scale * embeddings @ self.weight.to(embeddings.device).T
            if self.background is not None:
                kept = self.background if self.scoring == "independent" else self.words
                rows = kept.rows.to(embeddings.device)
                words = self.logit_scale * embeddings @ rows.T
        if self.logit_bias is not None:
            labels = labels + self.logit_bias
            words = None if words is None else words + self.logit_bias
        return labels, words

    def sum_words(self, words: Tensor) -> Tensor:
        """Return the logit of "none of these", whose softmax is the sum over words.

        After a calibration, the offset that was fitted is part of it.

        Args:
            words: Scaled similarities with background words: [n, B], as `similarities` returns.

        Returns:
            float32 [n, 1].

        Raises:
            InputError: `words` is not a tensor.

        Example:
            >>> import torch
            >>> zeroshot.load("mini").head(["cat"]).sum_words(torch.zeros(1, 1)).tolist()
            [[0.0]]
        """
        factor, values = self.inverse_temperature, to_float(words)
        if values is None or not values.ndim:
            raise InputError(f"expected words as a tensor [n, B], got {kind_of(words)}")
        total = torch.logsumexp(factor * values, dim=-1, keepdim=True)
        return (total + self.none_offset) / factor

    @cached_property
    def words(self) -> Background:
        """The background words that are not near a label. Raises LabelError if none is left."""
        if self.background is None:
            return Background((), self.weight.new_zeros(0, self.weight.shape[1]))
        kept = self.background.without(self.weight, self.names)
        if not kept.words:
            raise LabelError(
                f"no background word is left, because all {len(self.background.words)} are close "
                f"to one of the {len(self)} labels; use fewer labels, or omit none_of_these (on "
                "the command line --none)"
            )
        return kept

    @property
    def is_calibrated(self) -> bool:
        """Whether calibration images made the probabilities true on average."""
        fitted = self.scoring == "independent" and self.logistic is not None
        return self.calibration is not None or fitted

    @property
    def has_temperature(self) -> bool:
        """Whether a temperature was fitted; it stays when a calibration is dropped."""
        return self.inverse_temperature != 1 or self.logistic is not None

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels, and "none of these" if the head has background words."""
        has_none = self.background is not None and self.scoring != "independent"
        return (*self.labels, NONE) if has_none else self.labels

    def probabilities(self, logits: Tensor | NDArray[np.float32]) -> Tensor:
        """Convert logits to probabilities, 0..1, of the same shape.

        With softmax scoring each row sums to 1; with sigmoid scoring labels are independent.

        Args:
            logits: [n, L] or [L], as `logits` returns them.

        Returns:
            float32 of the same shape, 0..1.

        Raises:
            InputError: These are not numbers in a tensor or an array.

        Example:
            >>> head = zeroshot.load("mini").head(["cat", "dog"])
            >>> head.probabilities(head.logits(head.weight)).shape
            torch.Size([2, 2])
        """
        logits = to_logits(logits, len(self.classes))
        if self.scoring == "softmax":
            return (self.inverse_temperature * logits).softmax(dim=-1)
        scale, offset = self.logistic or (1.0, 0.0)
        return (scale * logits + offset).sigmoid()

    def find(self, truth: Iterable[object]) -> NDArray[np.int64]:
        """Return the row of each label: int [n]; -1 for None or "none of these".

        Args:
            truth: Labels of this head, or their indices.

        Returns:
            int64 [n].

        Raises:
            LabelError: The head has no such label, or one is None and the head has no background
                words or has independent scores.

        Example:
            >>> zeroshot.load("mini").head(["cat", "dog"]).find(["dog", 0]).tolist()
            [1, 0]
        """
        rows = {label: row for row, label in enumerate(self.labels)}
        given = iterator("truth", truth, LabelError)
        return np.array([self._find(each, rows) for each in given], dtype=np.int64)

    def _find(self, label: object, rows: Mapping[str, int]) -> int:
        if label is None or (isinstance(label, str) and label == NONE and NONE not in rows):
            if self.scoring == "independent":
                raise LabelError(
                    f"truth {label!r} means none of the labels, which is no class of independent "
                    "scores; remove such images, or give [] as their labels to calibrate"
                )
            if self.background is None:
                raise LabelError(
                    "truth None means none of the labels, which this classifier does not know; "
                    "make it with none_of_these=True (on the command line --none), or remove such "
                    "images"
                )
            return -1
        if isinstance(label, str) and label in rows:
            return rows[label]
        if isinstance(label, int | np.integer) and not isinstance(label, bool):
            if 0 <= label < len(rows):
                return int(label)
            raise LabelError(
                f"truth {shortened(repr(label))} is not the index of a label; expected 0 to "
                f"{len(rows) - 1}"
            )
        near = get_close_matches(label, self.labels, n=1) if isinstance(label, str) else []
        hint = f"did you mean {shortened(near[0])!r}?" if near else "use names of classes_"
        raise LabelError(
            f"truth {shortened(repr(label))} is not among the {len(rows)} labels; {hint}"
        )

    def select(self, labels: Iterable[str]) -> Head:
        """Return a head with only these labels, in this order; nothing is embedded.

        Args:
            labels: Labels of this head.

        Returns:
            A head with the rows of these labels.

        Raises:
            LabelError: The head does not have a label, or `labels` is a str.

        Example:
            >>> head = zeroshot.load("mini").head(["cat", "dog"])
            >>> head.select(["dog"]).labels
            ('dog',)
        """
        requested = list(prompt_sets.named(list(iterator("labels", labels, LabelError))))
        rows = {label: row for row, label in enumerate(self.labels)}
        if missing := [label for label in requested if label not in rows]:
            raise LabelError(
                f"the head has no label {shortened(repr(missing[0]))}; choose from "
                f"{some(list(map(repr, self.labels)), 5)}"
            )
        indices = [rows[label] for label in requested]
        return replace(
            self,
            labels=tuple(requested),
            weight=self.weight[indices],
            names=tuple(self.names[row] for row in indices),
            calibration=None,
            none_offset=0.0,
            logistic=self.logistic if self.scoring == "sigmoid" else None,
            paths=None if self.paths is None else tuple(self.paths[row] for row in indices),
        )

    def __add__(self, other: Head) -> Head:
        """Concatenate two heads of one model.

        A calibration is dropped. If one head has a fitted temperature, it is kept; of two, the
        geometric mean.

        Args:
            other: A head of the same model, with other labels.

        Returns:
            A head with the labels of both.

        Raises:
            HeadMismatch: The heads were built for different models, or are scored differently.
            LabelError: A label is in both heads.

        Example:
            >>> model = zeroshot.load("mini")
            >>> (model.head(["cat", "dog"]) + model.head(["boat"])).labels
            ('cat', 'dog', 'boat')
        """
        instance("other", other, Head, "make one with model.head(labels)")
        self.check(other.model)
        if self.scoring != other.scoring:
            raise HeadMismatch(
                f"expected two heads of equal scoring, got {self.scoring!r} and {other.scoring!r}; "
                "build both with the same scores="
            )
        try:
            prompt_sets.named(self.labels + other.labels)
        except LabelError as error:
            raise LabelError(f"{error}; or exclude it from one head with select()") from error
        same = self.templates == other.templates
        return replace(
            self,
            labels=self.labels + other.labels,
            weight=torch.cat([self.weight, other.weight.to(self.weight.device)]),
            names=self.names + other.names,
            templates=self.templates if same else self.templates + other.templates,
            prompts=self.prompts if same else f"{self.prompts}|{other.prompts}",
            calibration=None,
            **_join_fits(self, other),
            background=self.background or other.background,
            paths=_join_paths(self, other),
            examples=self.examples + other.examples,
        )

    def check(self, identity: str, source: str = "this head") -> None:
        """Raise HeadMismatch unless the head was built for this model.

        Args:
            identity: `Model.identity` of the model.
            source: Name of the head in the error message.

        Raises:
            HeadMismatch: The head was built for another model.

        Example:
            >>> model = zeroshot.load("mini")
            >>> model.head(["cat", "dog"]).check(model.identity)
        """
        if not isinstance(identity, str) or self.model != identity:
            raise HeadMismatch(
                f"{shortened(str(source), 200)}: expected a head built for model "
                f"{shortened(repr(identity))}, got one for "
                f"{shortened(repr(self.model))}; rebuild it with model.head(labels) "
                "(on the command line --labels and --save-head)"
            )

    def digest(self) -> str:
        """Return a digest of everything that a calibration depends on: 32 hex digits.

        Returns:
            The digest of model, labels, names, templates, tree, words, rows, scales and offsets.

        Example:
            >>> len(zeroshot.load("mini").head(["cat", "dog"]).digest())
            32
        """
        words = None if self.background is None else self.background.words
        facts = (self.model, self.labels, self.names, self.templates, self.scoring, words)
        numbers = (self.logit_scale, self.logit_bias, self.inverse_temperature, self.none_offset)
        rest = (numbers, self.logistic, self.paths, self.examples)
        made = hashlib.sha256(json.dumps([facts, *rest]).encode())
        made.update(self.weight.cpu().numpy().tobytes())
        if self.background is not None:  # as rounded in a file
            made.update(self.background.rows.half().cpu().numpy().tobytes())
        return made.hexdigest()[:32]

    def to(self, device: torch.device | str) -> Head:
        """Return a copy with the weight on another device.

        Args:
            device: A torch device or its name.

        Returns:
            The copy.

        Raises:
            InputError: The device is not available.

        Example:
            >>> head = zeroshot.load("mini").head(["cat", "dog"])
            >>> head.to("cpu").weight.device
            device(type='cpu')
        """
        try:
            return replace(self, weight=self.weight.to(torch.device(device)))
        except (RuntimeError, TypeError, ValueError, AssertionError) as error:
            raise InputError(
                f"cannot move the head to the device {shortened(repr(device))} "
                f"({shortened(str(error), 200)}); try 'cpu'"
            ) from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the head as one safetensors file.

        It is written to a temporary file and then renamed.

        Args:
            path: File to write.

        Raises:
            SaveError: The file cannot be written.

        Example:
            >>> head = zeroshot.load("mini").head(["cat", "dog"])
            >>> head.save("pets.safetensors")
        """
        head_files.write(file_path(path), self)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Head:
        """Read a head that `save` wrote.

        Args:
            path: File to read.

        Returns:
            The head.

        Raises:
            HeadNotFound: The file does not exist.
            HeadMismatch: The file is not a head, or is corrupted.

        Example:
            >>> head = zeroshot.load("mini").head(["cat", "dog"])
            >>> head.save("pets.safetensors")
            >>> zeroshot.Head.load("pets.safetensors").labels
            ('cat', 'dog')
        """
        path = file_path(path)
        with head_files.errors_of(path):
            head = cls(**head_files.read(path))
            if head.calibration is not None and head.calibration.labels != head.digest():
                raise ValueError("the head was changed after its calibration")
            return head


def _join_fits(first: Head, second: Head) -> dict[str, Any]:
    """Return what two heads were fitted to: one temperature, and no offset of none of these."""
    factors = [h.inverse_temperature for h in (first, second) if h.inverse_temperature != 1]
    pairs = [h.logistic for h in (first, second) if h.logistic is not None]
    logistic = None
    if pairs and first.scoring == "sigmoid":
        scale = math.prod(scale for scale, _ in pairs) ** (1 / len(pairs))
        logistic = (scale, sum(offset for _, offset in pairs) / len(pairs))
    factor = math.prod(factors) ** (1 / max(len(factors), 1))
    return {"inverse_temperature": factor, "none_offset": 0.0, "logistic": logistic}


def _join_paths(first: Head, second: Head) -> tuple[tuple[str, ...], ...] | None:
    """Return the paths of two heads; labels without a tree are at the top."""
    if first.paths is None and second.paths is None:
        return None
    parts = (head.paths or tuple((label,) for label in head.labels) for head in (first, second))
    return tuple(path for part in parts for path in part)
