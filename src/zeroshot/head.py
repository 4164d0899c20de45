"""Store one text embedding per label, how it is scored, and where it came from.

A head is the text side of a zero-shot classifier. Build it once and reuse it. It records the
identity of the model that built it and raises HeadMismatch with any other model.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, get_args

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from zeroshot import prompts as prompt_sets
from zeroshot.cards import card
from zeroshot.errors import (
    HeadMismatch,
    InputError,
    LabelError,
    short_errors_in,
    shortened,
    some,
)
from zeroshot.files import write_atomically
from zeroshot.label_store import LabelStore, Names
from zeroshot.progress import Bar, Show
from zeroshot.prompts import Labels, Prompts, PromptSet
from zeroshot.spec import Scoring

if TYPE_CHECKING:
    from numpy.typing import NDArray

METADATA_KEY = "zeroshot.head/2"
OLDER_KEYS = ("zeroshot.head/1",)  # files without scoring and calibration
MAX_HEADER = 16 * 2**20  # bytes; limit of the JSON header of a head file
MAX_SCALE = 1000  # the limit that `checkpoint.reader` applies to models
UNIT = 1e-3  # allowed deviation of a row's length from 1
SENTENCES = 4_096  # rendered and embedded at once; 8 MB of embeddings at 512 dimensions

log = logging.getLogger("zeroshot")

Owner = tuple[int, str]  # row of a label, and one of its names


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

    @classmethod
    def build(
        cls,
        encoder: TextEncoder,
        labels: Labels,
        prompts: Prompts = prompt_sets.DEFAULT,
        *,
        allow_equal: bool = False,
        store: LabelStore | None = None,
        progress: Show = None,
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
        prompt_set = prompt_sets.get(prompts)
        named = {label: tuple(names) for label, names in prompt_sets.named(labels).items()}
        if not allow_equal:
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

        Example:
            >>> head = zeroshot.load("mini").head(["cat", "dog"])
            >>> head.probabilities(head.logits(head.weight)).shape
            torch.Size([2, 2])
        """
        if isinstance(logits, np.ndarray):
            logits = torch.from_numpy(logits)
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
        if isinstance(labels, str):
            shown = shortened(repr(labels))
            raise LabelError(f"expected a list of labels, got the str {shown}; pass [{shown}]")
        requested = list(prompt_sets.named(list(labels)))
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
        if self.model != identity:
            raise HeadMismatch(
                f"{source}: expected a head built for model {identity!r}, got one for "
                f"{shortened(repr(self.model))}; rebuild it with model.head(labels) "
                "(on the command line --labels and --save-head)"
            )

    def to(self, device: torch.device | str) -> Head:
        """Return a copy with the weight on another device.

        Args:
            device: A torch device or its name.

        Returns:
            The copy.

        Example:
            >>> head = zeroshot.load("mini").head(["cat", "dog"])
            >>> head.to("cpu").weight.device
            device(type='cpu')
        """
        return replace(self, weight=self.weight.to(device))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the head as one safetensors file.

        It is written to a temporary file and then renamed.

        Args:
            path: File to write.

        Raises:
            FileNotFoundError: The folder does not exist.

        Example:
            >>> head = zeroshot.load("mini").head(["cat", "dog"])
            >>> head.save("pets.safetensors")
        """
        path = Path(path)
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "no such folder", str(path.parent))
        facts = {
            "labels": self.labels,
            "names": self.names,
            "templates": self.templates,
            "prompts": self.prompts,
            "logit_scale": self.logit_scale,
            "logit_bias": self.logit_bias,
            "model": self.model,
            "scoring": self.scoring,
            "calibration": self.calibration,
            "source": self.source,
        }
        metadata = {METADATA_KEY: json.dumps(facts, ensure_ascii=False)}
        with write_atomically(path) as temporary:
            temporary.write_bytes(save({"weight": self.weight.cpu().contiguous()}, metadata))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Head:
        """Read a head that `save` wrote.

        Args:
            path: File to read.

        Returns:
            The head.

        Raises:
            FileNotFoundError: The file does not exist.
            HeadMismatch: The file is not a head, or is corrupted.

        Example:
            >>> head = zeroshot.load("mini").head(["cat", "dog"])
            >>> head.save("pets.safetensors")
            >>> zeroshot.Head.load("pets.safetensors").labels
            ('cat', 'dog')
        """
        path = Path(path)
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
            head = _from_facts(facts, weight)
        except FileNotFoundError:
            raise
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
                f"{path}: not a head file, or corrupted ({shortened(str(error), 200)}); rebuild it "
                "with model.head(labels).save(path) (on the command line --save-head)"
            ) from error
        _check_loaded(head, path)
        return head


def _from_facts(facts: Mapping[str, Any], weight: Tensor) -> Head:
    """Build the head of a file's metadata; raises KeyError, ValueError or TypeError."""
    head = Head(
        labels=tuple(prompt_sets.named(facts["labels"])),
        weight=weight,
        logit_scale=float(facts["logit_scale"]),
        logit_bias=None if facts["logit_bias"] is None else float(facts["logit_bias"]),
        model=str(facts["model"]),
        names=tuple(tuple(map(str, names)) for names in facts["names"]),
        templates=tuple(map(str, facts["templates"])),
        prompts=str(facts["prompts"]),
        scoring=facts.get("scoring", "softmax"),
        calibration=facts.get("calibration"),
        source=facts.get("source"),
    )
    _check_texts(facts)
    return head


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
    """Return embeddings of any floating-point type as a float32 tensor [n, d] or [d].

    Raises InputError for other types and dimensions.
    """
    if isinstance(given, np.ndarray) and given.dtype.kind in "fiu":
        tensor = torch.from_numpy(given.astype(np.float32))
    elif isinstance(given, Tensor):
        tensor = given.float()
    else:
        tensor = torch.empty(0, device="cpu")
    if tensor.shape[-1:] != (width,):
        shape = getattr(given, "shape", None)
        kind = tuple(shape) if isinstance(shape, tuple) else type(given).__name__
        raise InputError(
            f"expected {what} as a tensor or an array [n, {width}], got {kind}; "
            "use encode_image and encode_text to compute them"
        )
    return tensor


def _check_texts(facts: Mapping[str, Any]) -> None:
    """Raise TypeError for names, templates, prompts or a model that are not text."""
    texts = [facts["prompts"], facts["model"], *facts["templates"]]
    lists = [facts["templates"], facts["names"], *facts["names"]]
    texts += [text for names in facts["names"] for text in names]
    if not all(isinstance(each, list) and each for each in lists):
        raise TypeError("expected names and templates as lists of text")
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"expected text, got {type(text).__name__}")
    # Surrogates could not be saved again: UnicodeEncodeError is a ValueError.
    json.dumps(facts, ensure_ascii=False).encode()


def _check_loaded(head: Head, path: Path) -> None:
    """Raise HeadMismatch for a head with values that `save` cannot have written."""
    weight = head.weight
    if weight.ndim != 2 or not len(weight) == len(head.labels) == len(head.names):
        raise HeadMismatch(
            f"{path}: expected one weight row per label, got {len(head.labels)} labels and weights "
            f"of shape {tuple(weight.shape)}; the file is corrupted, rebuild it"
        )
    if weight.dtype != torch.float32 or not torch.isfinite(weight).all():
        raise HeadMismatch(
            f"{path}: expected finite float32 weights, got {weight.dtype} or NaN or infinity; the "
            "file is corrupted, rebuild it"
        )
    lengths = weight.norm(dim=1)
    if not torch.allclose(lengths, torch.ones_like(lengths), atol=UNIT):
        raise HeadMismatch(
            f"{path}: expected rows of unit length, got lengths {lengths.min():.3g} to "
            f"{lengths.max():.3g}; the file is corrupted, rebuild it"
        )
    if not (0 < head.logit_scale <= MAX_SCALE and abs(head.logit_bias or 0.0) <= MAX_SCALE):
        raise HeadMismatch(
            f"{path}: expected a logit scale and a bias of at most {MAX_SCALE}, got "
            f"{head.logit_scale} and {head.logit_bias}; the file is corrupted, rebuild it"
        )
    if head.scoring not in get_args(Scoring):
        raise HeadMismatch(
            f"{path}: expected scoring to be one of {', '.join(get_args(Scoring))}, got "
            f"{shortened(repr(head.scoring))}; a newer version wrote the file, upgrade zeroshot or "
            "rebuild it"
        )
    if not isinstance(head.source, str | None):
        raise HeadMismatch(
            f"{path}: expected source to be a model name, got {type(head.source).__name__}; "
            "the file is corrupted, rebuild it"
        )
    if not isinstance(head.calibration, dict | None):
        raise HeadMismatch(
            f"{path}: expected calibration to be a JSON object, got "
            f"{type(head.calibration).__name__}; the file is corrupted, rebuild it"
        )


def _embed(
    encoder: TextEncoder, labels: Sequence[Names], prompt_set: PromptSet, progress: Show
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
