"""Store one text embedding per label, how it is scored, and where it came from.

A head is the text side of a zero-shot classifier. Build it once and reuse it. It records the
identity of the model that built it and raises HeadMismatch with any other model.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, get_args

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from zeroshot import prompts as prompt_sets
from zeroshot.arguments import file_path, flag, instance, is_text, iterator, require
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
from zeroshot.label_store import LabelStore, Names
from zeroshot.progress import Bar
from zeroshot.prompts import Labels, Prompts, PromptSet
from zeroshot.spec import MAX_SCALE, Scoring, finite

if TYPE_CHECKING:
    from numpy.typing import NDArray

METADATA_KEY = "zeroshot.head/2"
OLDER_KEYS = ("zeroshot.head/1",)  # files without scoring and calibration
MAX_HEADER = 16 * 2**20  # bytes; limit of the JSON header of a head file
UNIT = 1e-3  # allowed deviation of a row's length from 1
SENTENCES = 4_096  # rendered and embedded at once; 8 MB of embeddings at 512 dimensions

log = logging.getLogger("zeroshot")

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
        calibration: Plain data that is stored with the head. `select` and `+` drop it, because it
            is valid for one set of labels only.
        source: Name or Hub repository of the model, as `zeroshot.load` takes it, or None for a
            local file.

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
    scoring: Scoring = "softmax"
    calibration: Mapping[str, Any] | None = None
    source: str | None = None

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
        named = {label: tuple(names) for label, names in prompt_sets.named(labels).items()}
        if not flag("allow_equal", allow_equal):
            _reject_equal(getattr(encoder, "tokenizer", None), named, prompt_set.templates)
        vectors = store.read(prompt_set.templates, set(named.values())) if store else {}
        if new := [names for names in dict.fromkeys(named.values()) if names not in vectors]:
            embedded = dict(
                zip(new, _embed(encoder, new, prompt_set, progress).unbind(0), strict=True)
            )
            vectors |= embedded
            if store:
                store.write(prompt_set.templates, embedded)
        log.info("%d labels: %d embedded, the others from the cache", len(named), len(new))
        return cls(
            labels=tuple(named),
            weight=torch.stack([vectors[names] for names in named.values()]),
            logit_scale=encoder.logit_scale,
            logit_bias=encoder.logit_bias,
            model=encoder.identity,
            names=tuple(named.values()),
            templates=prompt_set.templates,
            prompts=prompt_set.name,
            scoring=encoder.scoring,
            source=encoder.source,
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
            float32 [n, L], or [L] for one.

        Raises:
            InputError: These are not embeddings of this head's dimension.

        Example:
            >>> model = zeroshot.load("mini")
            >>> model.head(["cat", "dog"]).logits(model.encode_image("cat.jpg")).argmax().item()
            0
        """
        embeddings = to_embeddings(embeddings, self.weight.shape[1])
        with torch.autocast(embeddings.device.type, enabled=False):  # a caller's would round
            scores = self.logit_scale * embeddings @ self.weight.to(embeddings.device).T
        return scores if self.logit_bias is None else scores + self.logit_bias

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
        logits = _to_logits(logits, len(self))
        return logits.softmax(dim=-1) if self.scoring == "softmax" else logits.sigmoid()

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
        metadata = {METADATA_KEY: _to_json(self)}
        with write_atomically(file_path(path)) as temporary:
            temporary.write_bytes(save({"weight": self.weight.cpu().contiguous()}, metadata))

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
                weight = opened.get_tensor("weight").clone()
            return _from_facts(facts, weight)
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
            "calibration": head.calibration,
            "source": head.source,
        },
        ensure_ascii=False,
    )


def _from_facts(facts: Mapping[str, Any], weight: Tensor) -> Head:
    """Build the head of a file's metadata; raises KeyError, ValueError or TypeError."""
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
        calibration=facts.get("calibration"),
        source=facts.get("source"),
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
    if not isinstance(head.scoring, str) or head.scoring not in get_args(Scoring):
        yield "scoring", head.scoring, f"one of {', '.join(get_args(Scoring))}"
    if not isinstance(head.calibration, dict | None):
        yield "calibration", head.calibration, "a dict or None"
    if not isinstance(head.source, str | None):
        yield "source", head.source, "the name of a model or None"
    try:
        _to_json(head).encode()
    except (TypeError, ValueError, RecursionError):
        yield "calibration", head.calibration, "plain data that can be written as JSON"


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
