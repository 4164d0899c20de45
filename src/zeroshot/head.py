"""One unit vector per label, how it is scored, and where it came from.

A head is the text side of a zero-shot classifier, computed once. It remembers the identity of the
model that made it and refuses to work with another.
"""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from zeroshot import prompts as prompt_sets
from zeroshot.errors import HeadMismatch, LabelError
from zeroshot.files import write_atomically
from zeroshot.label_store import LabelStore, Names
from zeroshot.prompts import Labels, Prompts, PromptSet
from zeroshot.spec import Scoring

METADATA_KEY = "zeroshot.head/2"
OLDER_KEYS = ("zeroshot.head/1",)  # without scoring and calibration
MAX_HEADER = 16 * 2**20  # bytes of JSON a head file may begin with
MAX_SCALE = 1000  # as `checkpoint.read` demands of a model's
UNIT = 1e-3  # how far from 1 the length of a row may lie
SENTENCES = 16_384  # rendered and embedded at a time; 32 MB of embeddings at 512 dimensions


class TextEncoder(Protocol):
    """What a head needs of a model."""

    @property
    def identity(self) -> str: ...
    @property
    def logit_scale(self) -> float: ...
    @property
    def logit_bias(self) -> float | None: ...
    @property
    def scoring(self) -> Scoring: ...
    def encode_text(self, texts: Sequence[str]) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Head:
    """Labels as directions in a model's embedding space.

    `weight` is float32 [L, d], one unit row per label; `names` are the synonyms each label was
    built from, `templates` the sentences they were put into, `model` the identity of the model.
    `scoring` says how logits become probabilities: "softmax" over all labels, or "sigmoid" for
    each label independently. `calibration` is plain data that is kept with the head; `select` and
    `+` drop it, since it holds for one set of labels.
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

    @classmethod
    def build(
        cls,
        encoder: TextEncoder,
        labels: Labels,
        prompts: Prompts = prompt_sets.DEFAULT,
        *,
        store: LabelStore | None = None,
    ) -> Head:
        """Embed every label in every template and average: normalise, mean, normalise.

        A label with several names is the average over all its sentences. Labels found in `store`
        are not embedded again, new ones are put there.
        Raises LabelError, PromptError, and TokenLimitError naming the sentence that is too long.
        Source: Radford et al. 2021, section 3.1.4.
        """
        prompt_set = prompt_sets.get(prompts)
        named = {label: tuple(names) for label, names in prompt_sets.named(labels).items()}
        wanted = set(named.values())
        vectors = store.read(prompt_set.templates, wanted) if store else {}
        if new := [names for names in dict.fromkeys(named.values()) if names not in vectors]:
            found = dict(zip(new, _embed(encoder, new, prompt_set).unbind(0), strict=True))
            vectors |= found
            if store:
                store.write(prompt_set.templates, found)
        rows = [vectors[names] for names in named.values()]
        return cls(
            labels=tuple(named),
            weight=torch.stack(rows),
            logit_scale=encoder.logit_scale,
            logit_bias=encoder.logit_bias,
            model=encoder.identity,
            names=tuple(named.values()),
            templates=prompt_set.templates,
            prompts=prompt_set.name,
            scoring=encoder.scoring,
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"<Head of {len(self)} labels, prompts {self.prompts!r}, {self.weight.shape[1]}-d>"

    def logits(self, embeddings: Tensor) -> Tensor:
        """Score unit image embeddings [n, d] (or [d]) against every label: [n, L] (or [L])."""
        scores = self.logit_scale * embeddings.float() @ self.weight.to(embeddings.device).T
        return scores if self.logit_bias is None else scores + self.logit_bias

    def probabilities(self, logits: Tensor) -> Tensor:
        """Turn logits [n, L] (or [L]) into probabilities 0..1 of the same shape.

        With softmax scoring each row sums to one; with sigmoid scoring labels are independent.
        """
        return logits.softmax(dim=-1) if self.scoring == "softmax" else logits.sigmoid()

    def select(self, labels: Iterable[str]) -> Head:
        """Keep these labels only, in this order, at no cost.

        Raises LabelError for a label the head does not have.
        """
        if isinstance(labels, str):
            raise LabelError(f"labels is a bare str {labels!r}; pass a list: [{labels!r}]")
        wanted = list(prompt_sets.named(list(labels)))
        rows = {label: row for row, label in enumerate(self.labels)}
        if missing := [label for label in wanted if label not in rows]:
            raise LabelError(f"the head has no label {missing[0]!r}; it has {_some(self.labels)}")
        chosen = [rows[label] for label in wanted]
        return replace(
            self,
            labels=tuple(wanted),
            weight=self.weight[chosen],
            names=tuple(self.names[row] for row in chosen),
            calibration=None,
        )

    def __add__(self, other: Head) -> Head:
        """Join the labels of two heads of one model.

        Raises HeadMismatch for heads of different models, LabelError for a label in both.
        """
        self.check(other.model)
        try:
            prompt_sets.named(self.labels + other.labels)
        except LabelError as error:
            raise LabelError(f"{error}; or leave it out of one head with select()") from error
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
        """Raise HeadMismatch unless the head was built for the model of this identity."""
        if self.model != identity:
            raise HeadMismatch(
                f"{source}: built for model {self.model!r}, this one is {identity!r}; rebuild it "
                "with model.head(labels)"
            )

    def to(self, device: torch.device | str) -> Head:
        """Move the weight to a device."""
        return replace(self, weight=self.weight.to(device))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the head as one safetensors file; it appears whole or not at all."""
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
        }
        metadata = {METADATA_KEY: json.dumps(facts, ensure_ascii=False)}
        with write_atomically(path) as temporary:
            temporary.write_bytes(save({"weight": self.weight.cpu().contiguous()}, metadata))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Head:
        """Read a head that `save` wrote.

        Raises HeadMismatch when the file is none, or is damaged.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
            if length > MAX_HEADER:
                raise ValueError(f"a header of {length} bytes")
            with safe_open(path, framework="pt") as opened:
                metadata = opened.metadata() or {}
                key = next((key for key in OLDER_KEYS if key in metadata), METADATA_KEY)
                facts = json.loads(metadata[key])
                weight = opened.get_tensor("weight").clone()
            head = cls(
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
            )
        except FileNotFoundError:
            raise
        except KeyError as error:
            raise HeadMismatch(
                f"{path}: not a head ({error} is missing); make one with model.head(labels).save()"
            ) from error
        except (SafetensorError, OSError, ValueError, TypeError, RecursionError) as error:
            raise HeadMismatch(f"{path}: not a head, or damaged ({error}); rebuild it") from error
        _check_loaded(head, path)
        return head


def _check_loaded(head: Head, path: Path) -> None:
    """Raise HeadMismatch for a head whose numbers `save` cannot have written."""
    weight = head.weight
    if weight.ndim != 2 or not len(weight) == len(head.labels) == len(head.names):
        raise HeadMismatch(
            f"{path}: {len(head.labels)} labels but weights of shape {tuple(weight.shape)}; "
            "the file is damaged, rebuild it"
        )
    if weight.dtype != torch.float32 or not torch.isfinite(weight).all():
        raise HeadMismatch(f"{path}: weights are not finite float32; rebuild it")
    lengths = weight.norm(dim=1)
    if not torch.allclose(lengths, torch.ones_like(lengths), atol=UNIT):
        raise HeadMismatch(f"{path}: its rows are not of unit length; damaged, rebuild it")
    if not 0 < head.logit_scale <= MAX_SCALE or not math.isfinite(head.logit_bias or 0.0):
        raise HeadMismatch(
            f"{path}: logits of scale {head.logit_scale} and bias {head.logit_bias}, expected "
            f"numbers, the scale within 0..{MAX_SCALE}; damaged, rebuild it"
        )
    if head.scoring not in get_args(Scoring):
        raise HeadMismatch(
            f"{path}: scoring is {head.scoring!r}, expected one of {', '.join(get_args(Scoring))}; "
            "it was written by a newer version, update zeroshot or rebuild it"
        )
    if not isinstance(head.calibration, dict | None):
        raise HeadMismatch(f"{path}: its calibration is not a JSON object; damaged, rebuild it")


def _embed(encoder: TextEncoder, labels: Sequence[Names], prompt_set: PromptSet) -> Tensor:
    """Embed labels, each the unit mean of its names in every template: [labels, d].

    All labels in a few templates at a time, not all templates for a few labels: sentences that
    begin alike are embedded faster the more there are.
    """
    owners = [(row, name) for row, names in enumerate(labels) for name in names]
    sums: Tensor | None = None
    for start in range(0, len(owners), SENTENCES):
        part = owners[start : start + SENTENCES]
        rows = torch.tensor([row for row, _ in part])
        several = max(1, SENTENCES // len(part))
        for first in range(0, len(prompt_set), several):
            templates = prompt_set.templates[first : first + several]
            sentences = [
                template.replace(prompt_sets.SLOT, name)
                for template in templates
                for _, name in part
            ]
            embeddings = encoder.encode_text(sentences)  # [templates * names, d], unit rows
            if sums is None:
                sums = embeddings.new_zeros(len(labels), embeddings.shape[1])
            totals = embeddings.unflatten(0, (len(templates), len(part))).sum(0)
            sums.index_add_(0, rows.to(sums.device), totals)
    assert sums is not None  # there are labels, each with a name
    return F.normalize(sums, dim=1).cpu()


def _some(labels: Sequence[str]) -> str:
    listed = ", ".join(map(repr, labels[:5]))
    return f"{listed} and {len(labels) - 5} more" if len(labels) > 5 else listed
