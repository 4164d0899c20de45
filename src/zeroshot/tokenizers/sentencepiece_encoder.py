"""Build an encoder with the ids of a SentencePiece model.

Text is normalized here, exactly as `normalizer.cc` of google/sentencepiece does; the `tokenizers`
library matches the pieces. So one library runs the tokenizers of all families. Ids equal those of
the `sentencepiece` library (a test compares thousands of texts), except that two segmentations of
a word with the same score, such as "11 1" and "1 11", may be chosen differently.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from zeroshot.spec import PieceIds
from zeroshot.tokenizers.encoder import Encoder
from zeroshot.tokenizers.sentencepiece_model import (
    BYTE,
    CONTROL,
    NORMAL,
    UNIGRAM,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    SentencePieceModel,
    incompatible,
)

MAX_SPLITS = 20_000_000  # of the pieces of a BPE model into two parts; Gemma has about a million
SPACE = "\u2581"  # stands for a space in pieces
FAIRSEQ_CONTROLS = ("<s>", "<pad>", "</s>", "<unk>")


class Normalizer:
    """The normalization of a SentencePiece model."""

    def __init__(self, model: SentencePieceModel) -> None:
        kept = {text: text for text, _, kind in model.pieces if kind == USER_DEFINED}
        # A user-defined piece has priority over replacements, however long they are.
        self._tables = tuple((table, _longest(table)) for table in (kept, model.replacements))
        self._first = frozenset(first for _, longest in self._tables for first in longest)
        self._prefix = SPACE if model.dummy_prefix else ""
        self._collapses = model.collapse_spaces

    def __call__(self, text: str) -> str:
        """Return the normalized text, in which spaces are SPACE."""
        replaced = text if self._first.isdisjoint(text) else "".join(self._replaced(text))
        if self._collapses:
            single = re.sub(" {2,}", " ", replaced.lstrip(" "))
            return (self._prefix + single.replace(" ", SPACE)).rstrip(SPACE)
        return text and self._prefix + replaced.replace(" ", SPACE)

    def _replaced(self, text: str) -> Iterator[str]:
        """Yield the parts of a text: the longest entry of a table at each position is replaced."""
        at = 0
        while at < len(text):
            size, part = 1, text[at]
            for table, longest in self._tables:
                found = self._match(text, at, table, longest.get(text[at], 0))
                if found:
                    size, part = found, table[text[at : at + found]]
                    break
            yield part
            at += size

    @staticmethod
    def _match(text: str, at: int, table: dict[str, str], longest: int) -> int:
        """Return the length of the longest entry at a position, or 0."""
        sizes = range(min(longest, len(text) - at), 0, -1)
        return next((size for size in sizes if text[at : at + size] in table), 0)


def _longest(table: dict[str, str]) -> dict[str, int]:
    """Return the length of the longest key by its first character."""
    found: dict[str, int] = {}
    for text in table:
        found[text[0]] = max(len(text), found.get(text[0], 0))
    return found


def build_encoder(model: SentencePieceModel, source: str, piece_ids: PieceIds = "file") -> Encoder:
    """Build an encoder with the ids of a model.

    Control pieces such as `</s>` in a text are plain text, as in sentencepiece.

    Args:
        model: A parsed model.
        source: Path of its file, for messages.
        piece_ids: "fairseq" inserts `<pad>` as id 1, see `TokenizerConfig`.

    Returns:
        The encoder.

    Raises:
        IncompatibleWeights: The model cannot have these ids, or is of an unsupported kind.
    """
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    if piece_ids == "fairseq":
        model = _shifted(model, source)
    byte_ids: tuple[int, ...] = ()
    if model.kind == UNIGRAM:
        library = tokenizers.Tokenizer(models.Unigram(_scored(model), unk_id=model.unknown))
        if _is_split_at_spaces(model):  # words are encoded once and cached
            library.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=True)
        # not by the library, in whose unigram models the text "<0x41>" is the piece of a byte
        named = sorted((text, i) for i, (text, _, kind) in enumerate(model.pieces) if kind == BYTE)
        byte_ids = tuple(i for _, i in named)
    else:
        library = tokenizers.Tokenizer(_build_bpe(model, source))
        user_defined = [text for text, _, kind in model.pieces if kind == USER_DEFINED]
        library.add_tokens([tokenizers.AddedToken(t, normalized=False) for t in user_defined])
    joined = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if model.dummy_prefix:
        joined.append(decoders.Strip(" ", 1, 0))
    library.decoder = decoders.Sequence(joined)
    controls = {i for i, (_, _, kind) in enumerate(model.pieces) if kind in (CONTROL, UNUSED)}
    return Encoder(
        library,
        size=len(model.pieces),
        source=source,
        normalize=Normalizer(model),
        controls=frozenset(controls),
        unknown=model.unknown,
        byte_ids=byte_ids,
    )


def _shifted(model: SentencePieceModel, source: str) -> SentencePieceModel:
    """Return a model with the control pieces of fairseq before the pieces of text."""
    first = [kind for _, _, kind in model.pieces[:3]]
    if first != [UNKNOWN, CONTROL, CONTROL]:
        raise incompatible(
            source, f"XLM-R's ids require <unk>, <s> and </s> as first pieces; kinds are {first}"
        )
    kinds = (CONTROL, CONTROL, CONTROL, UNKNOWN)
    controls = [(text, 0.0, kind) for text, kind in zip(FAIRSEQ_CONTROLS, kinds, strict=True)]
    return replace(model, pieces=(*controls, *model.pieces[3:]))


def _is_split_at_spaces(model: SentencePieceModel) -> bool:
    """Return whether no piece and no run of unknown text can extend over a space."""
    names = [text for text, _, kind in model.pieces if kind in (NORMAL, USER_DEFINED)]
    return SPACE in names and not any(SPACE in text[1:] for text in names)


def _hidden_name(index: int) -> str:
    """Return a name for a piece that no normalized text contains."""
    return f" {index}"


def _scored(model: SentencePieceModel) -> list[tuple[str, float]]:
    """Return name and score of each piece of a unigram model."""
    scores = [score for _, score, kind in model.pieces if kind == NORMAL]
    least, most = min(scores), max(scores)
    found = []
    for i, (text, score, kind) in enumerate(model.pieces):
        if kind == USER_DEFINED:  # the bonus of sentencepiece's unigram_model.cc
            found.append((text, max(least, len(text.encode()) * most - 0.1)))
        else:
            found.append((text, score) if kind == NORMAL else (_hidden_name(i), most))
    return found


def _build_bpe(model: SentencePieceModel, source: str) -> Any:
    """Return a byte-pair encoding with the pieces as vocabulary.

    A merge is a split of a piece into two pieces; the rank is that of the piece.
    """
    from tokenizers import models

    visible = (NORMAL, USER_DEFINED, BYTE)
    names = [
        text if kind in visible else _hidden_name(i)
        for i, (text, _, kind) in enumerate(model.pieces)
    ]
    normal = {text: i for i, (text, _, kind) in enumerate(model.pieces) if kind == NORMAL}
    if sum(map(len, normal)) > MAX_SPLITS:
        raise incompatible(source, f"its pieces have more than {MAX_SPLITS} characters")
    ranked = []
    for piece, score, kind in model.pieces:
        if kind not in (NORMAL, UNUSED):
            continue
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in normal and right in normal:
                ranked.append((-score, normal[left], normal[right], left, right))
                if kind == UNUSED:
                    raise incompatible(source, f"the piece {piece[:40]!r} is marked as unused")
    ranked.sort()
    return models.BPE(
        {name: i for i, name in enumerate(names)},
        [(left, right) for *_, left, right in ranked],
        unk_token=names[model.unknown],
        fuse_unk=True,
        byte_fallback=model.byte_fallback,
    )
