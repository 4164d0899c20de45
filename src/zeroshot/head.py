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
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeGuard, get_args

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from zeroshot import prompts as prompt_sets
from zeroshot.arguments import file_path, flag, instance, is_text, iterator, one_of, require
from zeroshot.calibration import Calibration, from_plain, to_plain
from zeroshot.cards import card
from zeroshot.errors import (
    HeadMismatch,
    HeadNotFound,
    InputError,
    LabelError,
    seen_from,
    short_errors_in,
    shortened,
    some,
)
from zeroshot.files import write_atomically
from zeroshot.independent import independent_logits
from zeroshot.label_store import LabelStore, Names
from zeroshot.progress import Bar
from zeroshot.prompts import Labels, Prompts, PromptSet
from zeroshot.spec import MAX_SCALE, Scoring, finite
from zeroshot.vocabulary import NONE, Background
from zeroshot.vocabulary import PROMPTS as WORD_PROMPTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

METADATA_KEY = "zeroshot.head/2"
OLDER_KEYS = ("zeroshot.head/1",)  # files without scoring and calibration
MAX_HEADER = 16 * 2**20  # bytes; limit of the JSON header of a head file
UNIT = 1e-3  # allowed deviation of a row's length from 1
SENTENCES = 4_096  # rendered and embedded at once; 8 MB of embeddings at 512 dimensions

log = logging.getLogger("zeroshot")

Scores = Literal["model", "independent"]
SCORINGS = (*get_args(Scoring), "independent")
Owner = tuple[int, str]  # row of a label, and one of its names
TEXT_METHODS = ("identity", "source", "logit_scale", "logit_bias", "scoring", "encode_text")


class TextEncoder(Protocol):
    """The part of a model that building a head requires."""

    @property
    def identity(self) -> str: ...
    @property
    def source(self) -> str | None: ...
    @property
    def logit_scale(self) -> float: ...
    @property
    def logit_bias(self) -> float | None: ...
    @property
    def scoring(self) -> Scoring: ...
    def encode_text(self, texts: Sequence[str]) -> Tensor: ...


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
            is valid for one set of labels only.
        source: Name or Hub repository of the model, as `zeroshot.load` takes it, or None for a
            local file.
        background: Words for what is none of the labels, or None.
        inverse_temperature: Factor for logits that was fitted on calibration images; 1 without.
        paths: For a tree of labels, the names from the top to each label; else None.
        examples: Digests of the images that are part of the head.
        logistic: Factor and offset of independent scores, fitted on images; else None.

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
    paths: tuple[tuple[str, ...], ...] | None = None
    examples: tuple[str, ...] = ()
    logistic: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        instance("labels", self.labels, tuple, "pass a tuple of text")
        prompt_sets.named(self.labels)
        for field, value, expected in _problems(self):
            raise InputError(
                f"the {field} of a head must be {expected}, got {shortened(repr(value))}"
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
            LabelError: The labels are invalid, or the encoder's tokenizer, if it has one, cannot
                distinguish two of them.
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
            _reject_equal(getattr(encoder, "tokenizer", None), named, prompt_set.templates)
        vectors, new = _embed_stored(encoder, named.values(), prompt_set, store, progress)
        background = None
        one_of("scores", scores, get_args(Scores))
        if flag("none_of_these", none_of_these) or scores == "independent":
            background = _embed_background(encoder, store, progress)
        log.info("%d labels: %d embedded, the others from the cache", len(named), new)
        return cls(
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
                or `zeroshot encode` writes them.

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
        factor, values = self.inverse_temperature, _to_float(words)
        if values is None or not values.ndim:
            raise InputError(f"expected words as a tensor [n, B], got {_kind_of(words)}")
        return torch.logsumexp(factor * values, dim=-1, keepdim=True) / factor

    @cached_property
    def words(self) -> Background:
        """The background words that are not near a label."""
        if self.background is None:
            return Background((), self.weight.new_zeros(0, self.weight.shape[1]))
        return self.background.without(self.weight, self.names)

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
        logits = _to_logits(logits, len(self.classes))
        if self.scoring == "independent":
            scale, offset = self.logistic or (1.0, 0.0)
            return (scale * logits + offset).sigmoid()
        logits = self.inverse_temperature * logits
        return logits.softmax(dim=-1) if self.scoring == "softmax" else logits.sigmoid()

    def find(self, truth: Iterable[object]) -> NDArray[np.int64]:
        """Return the row of each label: int [n]; -1 for None or "none of these".

        Args:
            truth: Labels of this head, or their indices.

        Returns:
            int64 [n].

        Raises:
            LabelError: The head has no such label, or has no background words and one is None.

        Example:
            >>> zeroshot.load("mini").head(["cat", "dog"]).find(["dog", 0]).tolist()
            [1, 0]
        """
        rows = {label: row for row, label in enumerate(self.labels)}
        given = iterator("truth", truth, LabelError)
        return np.array([self._find(each, rows) for each in given], dtype=np.int64)

    def _find(self, label: object, rows: Mapping[str, int]) -> int:
        if label is None or (isinstance(label, str) and label == NONE and NONE not in rows):
            if self.background is None:
                raise LabelError(
                    "truth None means none of the labels, which this classifier does not know; "
                    "make it with none_of_these=True, or remove such images"
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
            logistic=None,
            paths=None if self.paths is None else tuple(self.paths[row] for row in indices),
        )

    def __add__(self, other: Head) -> Head:
        """Concatenate two heads of one model.

        Args:
            other: A head of the same model, with other labels.

        Returns:
            A head with the labels of both.

        Raises:
            HeadMismatch: The heads were built for different models.
            LabelError: A label is in both heads.

        Example:
            >>> model = zeroshot.load("mini")
            >>> (model.head(["cat", "dog"]) + model.head(["boat"])).labels
            ('cat', 'dog', 'boat')
        """
        instance("other", other, Head, "make one with model.head(labels)")
        self.check(other.model)
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
            logistic=None,
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
            The digest of model, labels, names, templates, scale and words.

        Example:
            >>> len(zeroshot.load("mini").head(["cat", "dog"]).digest())
            32
        """
        words = None if self.background is None else self.background.words
        facts = (self.model, self.labels, self.names, self.templates, self.scoring, words)
        made = hashlib.sha256(json.dumps([facts, self.logit_scale, self.examples]).encode())
        made.update(self.weight.cpu().numpy().tobytes())
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
        tensors = {"weight": self.weight.cpu().contiguous()}
        if self.background is not None:
            tensors["background"] = self.background.rows.half()
        if self.calibration is not None:
            _, arrays = to_plain(self.calibration)
            tensors |= {name: torch.from_numpy(values) for name, values in arrays.items()}
        metadata = {METADATA_KEY: _to_json(self)}
        with write_atomically(file_path(path)) as temporary:
            temporary.write_bytes(save(tensors, metadata))

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
        try:
            with path.open("rb") as file:
                length, start = int.from_bytes(file.read(8), "little"), file.read(1)
            if start != b"{":
                raise KeyError("safetensors header")
            if length > MAX_HEADER:
                raise ValueError(f"header of {length} bytes, the limit is {MAX_HEADER}")
            with safe_open(path, framework="pt") as opened:
                metadata = opened.metadata() or {}
                key = next((key for key in OLDER_KEYS if key in metadata), METADATA_KEY)
                facts = json.loads(metadata[key])
                if not isinstance(facts, dict):
                    raise TypeError(f"expected a JSON object, got {type(facts).__name__}")
                tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
            head = _from_facts(facts, tensors)
            if head.calibration is not None and head.calibration.labels != head.digest():
                raise ValueError("the labels and prompts were changed after its calibration")
            return head
        except FileNotFoundError as error:
            raise HeadNotFound(
                f"{path}: no such head file{seen_from(path)}; check the path"
            ) from error
        except KeyError as error:
            raise HeadMismatch(
                f"{path}: not a head file ({error} is missing); make one with "
                "model.head(labels).save(path) (on the command line --save-head)"
            ) from error
        except (
            SafetensorError,
            OSError,
            ValueError,
            TypeError,
            RecursionError,
            OverflowError,
        ) as error:
            raise HeadMismatch(
                f"{path}: not a head file, corrupted, or from a newer version "
                f"({shortened(str(error), 200)}); rebuild it with model.head(labels).save(path) "
                "(on the command line --save-head)"
            ) from error


def _to_json(head: Head) -> str:
    """Return the facts of a head other than its weight."""
    return json.dumps(
        {
            "labels": head.labels,
            "names": head.names,
            "templates": head.templates,
            "prompts": head.prompts,
            "logit_scale": head.logit_scale,
            "logit_bias": head.logit_bias,
            "model": head.model,
            "scoring": head.scoring,
            "calibration": None if head.calibration is None else to_plain(head.calibration)[0],
            "source": head.source,
            "inverse_temperature": head.inverse_temperature,
            "paths": head.paths,
            "examples": head.examples,
            "logistic": head.logistic,
            "words": None if head.background is None else head.background.words,
        },
        ensure_ascii=False,
    )


def _from_facts(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Head:
    """Build the head of a file's metadata; raises KeyError, ValueError or TypeError."""
    weight, background, calibration = tensors["weight"], None, None
    if facts.get("words") is not None:
        background = Background(_to_tuple(facts["words"]), tensors["background"].float())
    if facts.get("calibration") is not None:
        if not isinstance(facts["calibration"], dict):
            raise TypeError("expected calibration to be a JSON object")
        arrays = {name: values.numpy() for name, values in tensors.items()}
        calibration = from_plain(facts["calibration"], arrays)
    paths = facts.get("paths")
    return Head(
        labels=_to_tuple(facts["labels"]),
        weight=weight,
        logit_scale=float(facts["logit_scale"]),
        logit_bias=None if facts["logit_bias"] is None else float(facts["logit_bias"]),
        model=facts["model"],
        names=tuple(map(_to_tuple, _to_tuple(facts["names"]))),
        templates=_to_tuple(facts["templates"]),
        prompts=facts["prompts"],
        scoring=facts.get("scoring", "softmax"),
        calibration=calibration,
        source=facts.get("source"),
        background=background,
        inverse_temperature=float(facts.get("inverse_temperature", 1.0)),
        paths=None if paths is None else tuple(tuple(map(str, path)) for path in paths),
        examples=tuple(map(str, facts.get("examples", ()))),
        logistic=_to_pair(facts.get("logistic")),
    )


def _to_tuple(values: object) -> tuple[Any, ...]:
    """Return a JSON list as tuple; raise TypeError for other values."""
    if not isinstance(values, list):
        raise TypeError(f"expected a list, got {type(values).__name__}")
    return tuple(values)


def _reject_equal(tokenizer: Any, named: Mapping[str, Names], templates: tuple[str, ...]) -> None:
    """Raise LabelError for labels whose names have the same tokens, or none.

    CLIP's tokenizer lowers the case, unescapes HTML and repairs Unicode, so such labels would get
    equal scores. So would "cat" and "a cat" if every template ends in an article before the label.
    """
    if tokenizer is None:
        return
    texts = list(dict.fromkeys(name for names in named.values() for name in names))
    drops = all(prompt_sets.drops_article(template) for template in templates)
    read = {text: prompt_sets.insert("a {}", text)[2:] if drops else text for text in texts}
    tokens = {text: tuple(tokenizer.encode(read[text])) for text in texts}
    seen: dict[frozenset[tuple[tuple[int, ...], float]], str] = {}
    for label, names in named.items():
        if empty := [name for name in names if not tokens[name]]:
            raise LabelError(
                f"label {shortened(repr(label))}: the tokenizer reads no text in "
                f"{shortened(repr(empty[0]))}; use a name with letters, digits or signs"
            )
        counts = Counter(tokens[name] for name in names)
        key = frozenset((each, number / len(names)) for each, number in counts.items())
        if key in seen:
            ignored = "the label's article, case," if drops else "case,"
            raise LabelError(
                f"the tokenizer cannot distinguish the labels {shortened(repr(seen[key]))} and "
                f"{shortened(repr(label))}: it ignores {ignored} width and HTML escapes, so they "
                "would get equal scores; remove one, give it other names, or pass allow_equal=True "
                "(on the command line --allow-equal)"
            )
        seen[key] = label


def to_embeddings(given: object, width: int, what: str = "embeddings") -> Tensor:
    """Return embeddings of any real type as a float32 tensor [n, d] or [d].

    Raises InputError for other types and dimensions.
    """
    tensor = _to_float(given)
    if tensor is None or tensor.ndim > 2 or tensor.shape[-1:] != (width,):
        raise InputError(
            f"expected {what} as a tensor or an array [n, {width}], got {_kind_of(given)}; "
            "use encode_image and encode_text to compute them"
        )
    return tensor


def _to_logits(given: object, columns: int) -> Tensor:
    """Return logits of any real type as a float32 tensor [n, L] or [L]; raise InputError."""
    tensor = _to_float(given)
    if tensor is None or tensor.shape[-1:] != (columns,):
        raise InputError(
            f"expected logits as a tensor or an array [n, {columns}], got {_kind_of(given)}; "
            "use head.logits(embeddings) to compute them"
        )
    return tensor


def _to_pair(values: Any) -> tuple[float, float] | None:
    """Return two numbers of a file; raise TypeError or ValueError for anything else."""
    if values is None:
        return None
    scale, offset = values
    return float(scale), float(offset)


def _join_paths(first: Head, second: Head) -> tuple[tuple[str, ...], ...] | None:
    """Return the paths of two heads; labels without a tree are at the top."""
    if first.paths is None and second.paths is None:
        return None
    parts = (head.paths or tuple((label,) for label in head.labels) for head in (first, second))
    return tuple(path for part in parts for path in part)


def _embed_background(
    encoder: TextEncoder, store: LabelStore | None, progress: bool | None
) -> Background:
    """Embed the background words, rounded as in a file, so that a saved head scores equally."""
    words = prompt_sets.background_words()
    names = [(word,) for word in words]
    found, _ = _embed_stored(encoder, names, prompt_sets.get(WORD_PROMPTS), store, progress)
    rows = torch.stack([found[each] for each in names]).half().float()
    return Background(words, F.normalize(rows, dim=1).half().float())


def _embed_stored(
    encoder: TextEncoder,
    labels: Iterable[Names],
    prompt_set: PromptSet,
    store: LabelStore | None,
    progress: bool | None,
) -> tuple[dict[Names, Tensor], int]:
    """Return the row of each label, read from the store or embedded, and how many are new."""
    wanted = list(dict.fromkeys(labels))
    vectors = store.read(prompt_set.templates, set(wanted)) if store else {}
    new = [names for names in wanted if names not in vectors]
    if new:
        rows = _embed(encoder, new, prompt_set, progress)
        embedded = dict(zip(new, rows.unbind(0), strict=True))
        vectors |= embedded
        if store:
            store.write(prompt_set.templates, embedded)
    return vectors, len(new)


def _to_float(given: object) -> Tensor | None:
    """Return real numbers as a float32 tensor, and None for other values."""
    if isinstance(given, np.ndarray) and given.dtype.kind in "fiu":
        return torch.from_numpy(given.astype(np.float32))
    return given.float() if _is_dense(given) and not given.is_complex() else None


def _is_dense(value: object) -> TypeGuard[Tensor]:
    """Return whether this is a tensor with a value in each place."""
    return isinstance(value, Tensor) and value.layout is torch.strided and not value.is_meta


def _kind_of(given: object) -> str:
    """Describe an argument in a message: its type, and its shape if it has one."""
    shape = getattr(given, "shape", None)
    kind = str(getattr(given, "dtype", type(given).__name__)).removeprefix("torch.")
    return f"{kind} {tuple(shape)}" if isinstance(shape, tuple) else kind


def _problems(head: Head) -> Iterator[tuple[str, object, str]]:
    """Yield the fields of a head with unusable values, the values, and what is expected."""
    if not is_text(head.model):
        yield "model", head.model, "text"
    if not is_text(head.prompts):
        yield "prompts", head.prompts, "text"
    if not _are_texts(head.templates):
        yield "templates", head.templates, "a tuple of text"
    if not isinstance(head.names, tuple) or not all(map(_are_texts, head.names)):
        yield "names", head.names, "a tuple of text for each label"
    elif len(head.names) != len(head.labels):
        yield "names", f"{len(head.names)} tuples", f"one for each of {len(head.labels)} labels"
    yield from _weight_problems(head.weight, len(head.labels))
    if not finite(head.logit_scale, above=0) or head.logit_scale > MAX_SCALE:
        yield "logit_scale", head.logit_scale, f"a number within 0..{MAX_SCALE}"
    bias = head.logit_bias
    if bias is not None and not (finite(bias, above=-math.inf) and abs(bias) <= MAX_SCALE):
        yield "logit_bias", bias, f"a number of at most {MAX_SCALE} or None"
    if not isinstance(head.scoring, str) or head.scoring not in SCORINGS:
        yield "scoring", head.scoring, f"one of {', '.join(SCORINGS)}"
    yield from _extra_problems(head)
    if head.source is not None and not is_text(head.source):
        yield "source", head.source, "the name of a model or None"


def _extra_problems(head: Head) -> Iterator[tuple[str, object, str]]:
    """Yield the problems of words, paths and what was fitted to images."""
    if not isinstance(head.calibration, Calibration | None):
        yield "calibration", head.calibration, "a Calibration or None"
    if not finite(head.inverse_temperature, above=0):
        yield "inverse_temperature", head.inverse_temperature, "a positive number"
    if head.background is not None and not _is_background(head.background, head.weight):
        yield "background", head.background, "words with one finite row each"
    if head.scoring == "independent" and head.background is None:
        yield "background", None, "words, because scores are independent"
    if head.paths is not None and not _are_paths(head.paths, head.labels):
        yield "paths", head.paths, "a tuple of names for each label, which ends with the label"
    if not isinstance(head.examples, tuple) or not all(map(is_text, head.examples)):
        yield "examples", head.examples, "a tuple of text"
    pair = head.logistic
    if pair is not None and not (
        isinstance(pair, tuple) and len(pair) == 2 and all(finite(x, above=-math.inf) for x in pair)
    ):
        yield "logistic", pair, "two numbers or None"


def _is_background(background: object, weight: Tensor) -> bool:
    return (
        isinstance(background, Background)
        and _are_texts(background.words)
        and _is_dense(background.rows)
        and background.rows.shape == (len(background.words), weight.shape[-1])
        and bool(torch.isfinite(background.rows).all())
    )


def _are_paths(paths: object, labels: tuple[str, ...]) -> bool:
    return (
        isinstance(paths, tuple)
        and all(map(_are_texts, paths))
        and [path[-1] for path in paths] == list(labels)
    )


def _weight_problems(weight: object, labels: int) -> Iterator[tuple[str, object, str]]:
    if not _is_dense(weight) or weight.ndim != 2 or len(weight) != labels:
        yield "weight", _kind_of(weight), f"a tensor [{labels}, d], one row for each label"
    elif weight.dtype != torch.float32 or not torch.isfinite(weight).all():
        yield "weight", _kind_of(weight), "finite and float32"
    elif ((lengths := weight.norm(dim=1)) - 1).abs().max() > UNIT:
        yield "weight", f"lengths {lengths.min():.3g} to {lengths.max():.3g}", "rows of length 1"


def _are_texts(values: object) -> bool:
    return isinstance(values, tuple) and len(values) > 0 and all(map(is_text, values))


def _embed(
    encoder: TextEncoder, labels: Sequence[Names], prompt_set: PromptSet, progress: bool | None
) -> Tensor:
    """Embed labels, each as the unit mean over names and templates: [labels, d].

    The loop takes all labels in a few templates, not a few labels in all templates: the text
    encoder shares the computation of common prefixes, so more sentences per template are faster.
    """
    owners = [(row, name) for row, names in enumerate(labels) for name in names]
    sums: Tensor | None = None
    with Bar("prompts", len(owners) * len(prompt_set), progress) as bar:
        for part, templates in _split(owners, prompt_set.templates):
            sentences = [
                prompt_sets.insert(template, name) for template in templates for _, name in part
            ]
            embeddings = encoder.encode_text(sentences)  # [templates * names, d], unit rows
            if sums is None:
                sums = embeddings.new_zeros(len(labels), embeddings.shape[1])
            totals = embeddings.unflatten(0, (len(templates), len(part))).sum(0)
            rows = torch.tensor([row for row, _ in part], device=sums.device)
            sums.index_add_(0, rows, totals)
            bar.add(len(sentences))
    assert sums is not None  # every label has a name, so the loop ran
    return F.normalize(sums, dim=1).cpu()


def _split(
    owners: Sequence[Owner], templates: tuple[str, ...]
) -> Iterator[tuple[Sequence[Owner], tuple[str, ...]]]:
    """Yield pairs of names and templates with at most SENTENCES combinations."""
    for start in range(0, len(owners), SENTENCES):
        part = owners[start : start + SENTENCES]
        count = max(1, SENTENCES // len(part))
        for first in range(0, len(templates), count):
            yield part, templates[first : first + count]
