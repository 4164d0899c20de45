"""Build an encoder with the ids of a SentencePiece model.

Text is normalized here, exactly as `normalizer.cc` of google/sentencepiece does; the `tokenizers`
library matches the pieces. So one library runs the tokenizers of all families. Ids equal those of
the `sentencepiece` library (a test compares thousands of texts), except that two segmentations of
a word with the same score, such as "11 1" and "1 11", may be chosen differently.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cached_property
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
        self._replacements = model.replacements
        self._prefix = SPACE if model.dummy_prefix else ""
        self._collapses = model.collapse_spaces

    @cached_property
    def _longest(self) -> dict[str, int]:
        """Length of the longest text to replace, by its first character."""
        found: dict[str, int] = {}
        for text in self._replacements:
            found[text[0]] = max(len(text), found.get(text[0], 0))
        return found

    def __call__(self, text: str) -> str:
        """Return the normalized text, in which spaces are SPACE."""
        replaced = self.replace_characters(text)
        if self._collapses:
            single = re.sub(" {2,}", " ", replaced.lstrip(" "))
            return (self._prefix + single.replace(" ", SPACE)).rstrip(SPACE)
        return text and self._prefix + replaced.replace(" ", SPACE)

    def replace_characters(self, text: str) -> str:
        """Replace the longest text that matches at each position."""
        longest = self._longest
        if longest.keys().isdisjoint(text):
            return text
        found = []
        at = 0
        while at < len(text):
            for size in range(longest.get(text[at], 0), 0, -1):
                part = text[at : at + size]
                if part in self._replacements:
                    found.append(self._replacements[part])
                    at += len(part)
                    break
            else:
                found.append(text[at])
                at += 1
        return "".join(found)


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
    normalizer = Normalizer(model)
    user_defined = [text for text, _, kind in model.pieces if kind == USER_DEFINED]
    if changed := [text for text in user_defined if normalizer.replace_characters(text) != text]:
        raise incompatible(source, f"the user-defined piece {changed[0][:40]!r} is normalized")
    if model.kind == UNIGRAM:
        library = tokenizers.Tokenizer(models.Unigram(_scored(model), unk_id=model.unknown))
        if _is_split_at_spaces(model):  # words are encoded once and cached
            library.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=True)
    else:
        library = tokenizers.Tokenizer(_build_bpe(model, source))
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
        normalize=normalizer,
        controls=frozenset(controls),
        unknown=model.unknown,
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
            found.append((text if kind == NORMAL else _hidden_name(i), score))
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
