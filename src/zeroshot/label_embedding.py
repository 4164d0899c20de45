"""Embed labels: each as the mean over its names and templates, kept in the label store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from zeroshot import lookahead
from zeroshot import prompts as prompt_sets
from zeroshot.errors import LabelError, TokenLimitError, shortened
from zeroshot.label_store import LabelStore, Names
from zeroshot.progress import Bar
from zeroshot.prompts import PromptSet
from zeroshot.spec import Scoring
from zeroshot.vocabulary import PROMPTS as WORD_PROMPTS
from zeroshot.vocabulary import Background

SENTENCES = 4_096  # rendered and embedded at once; 8 MB of embeddings at 512 dimensions
TEXT_METHODS = ("identity", "source", "logit_scale", "logit_bias", "scoring", "encode_text")

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


def embed_stored(
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


def embed_background(
    encoder: TextEncoder, store: LabelStore | None, progress: bool | None
) -> Background:
    """Embed the background words, rounded as in a file, so that a saved head scores equally.

    Words that are too long for the model are left out: SigLIP SO400M/14 reads 16 tokens.
    """
    words, prompt_set = prompt_sets.background_words(), prompt_sets.get(WORD_PROMPTS)
    names = [(word,) for word in words]
    try:
        found, _ = embed_stored(encoder, names, prompt_set, store, progress)
    except TokenLimitError:
        tokenizer = getattr(encoder, "tokenizer", None)
        if tokenizer is not None:
            words = tuple(each for each in words if prompt_sets.fits(each, prompt_set, tokenizer))
        if tokenizer is None or not words:
            raise
        names = [(word,) for word in words]
        found, _ = embed_stored(encoder, names, prompt_set, store, progress)
    rows = torch.stack([found[each] for each in names]).half().float()
    return Background(words, F.normalize(rows, dim=1).half().float())


def reject_equal(tokenizer: Any, named: Mapping[str, Names], templates: tuple[str, ...]) -> None:
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
            ignored = getattr(tokenizer, "ignores", "case, width and HTML escapes")
            ignored = f"the label's article, {ignored}" if drops else ignored
            raise LabelError(
                f"the tokenizer cannot distinguish the labels {shortened(repr(seen[key]))} and "
                f"{shortened(repr(label))}: it ignores {ignored}, so they would get equal scores; "
                "remove one, give it other names, or pass allow_equal=True (on the command line "
                "--allow-equal)"
            )
        seen[key] = label


def _embed(
    encoder: TextEncoder, labels: Sequence[Names], prompt_set: PromptSet, progress: bool | None
) -> Tensor:
    """Embed labels, each as the unit mean over names and templates: [labels, d].

    The loop takes all labels in a few templates, not a few labels in all templates: the text
    encoder shares the computation of common prefixes, so more sentences per template are faster.
    """
    owners = [(row, name) for row, names in enumerate(labels) for name in names]
    sums: Tensor | None = None

    def encode(given: tuple[Sequence[Owner], tuple[str, ...]]) -> Tensor:
        part, templates = given
        sentences = [
            prompt_sets.insert(template, name) for template in templates for _, name in part
        ]
        embeddings = encoder.encode_text(sentences)  # [templates * names, d], unit rows
        totals: Tensor = embeddings.unflatten(0, (len(templates), len(part))).sum(0)
        return totals.cpu()  # the caller may use another CUDA stream than these threads

    # A GPU embeds while another thread tokenizes the next sentences.
    workers = getattr(encoder, "_text_workers", 0)
    parts = list(_split(owners, prompt_set.templates, getattr(encoder, "_sentences", SENTENCES)))
    done = lookahead.run_ahead(encode, parts, workers=workers, limit=workers)
    with Bar("prompts", len(owners) * len(prompt_set), progress) as bar, closing(done):
        for (part, templates), totals in zip(parts, done, strict=True):
            if sums is None:
                sums = totals.new_zeros(len(labels), totals.shape[1])
            rows = torch.tensor([row for row, _ in part], device="cpu")
            sums.index_add_(0, rows, totals)
            bar.add(len(part) * len(templates))
    assert sums is not None  # every label has a name, so the loop ran
    return F.normalize(sums, dim=1)


def _split(
    owners: Sequence[Owner], templates: tuple[str, ...], most: int
) -> Iterator[tuple[Sequence[Owner], tuple[str, ...]]]:
    """Yield pairs of names and templates with at most `most` combinations."""
    for start in range(0, len(owners), most):
        part = owners[start : start + most]
        count = max(1, most // len(part))
        for first in range(0, len(templates), count):
            yield part, templates[first : first + count]
