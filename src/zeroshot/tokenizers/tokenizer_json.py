"""Parse a tokenizer.json of the `tokenizers` library within limits.

The normalizer and the pre-tokenizer of the file are used. Its post-processor, truncation and
padding are not: `SubwordTokenizer` adds start, end and padding. Names of special tokens, such as
`</s>`, are plain text when a text contains them.
"""

from __future__ import annotations

import base64
import json
import math
import reprlib
from collections.abc import Iterator
from typing import Any

from zeroshot.errors import IncompatibleWeights, UnsafeWeightsError
from zeroshot.spec import MAX_TOKEN_IDS
from zeroshot.tokenizers.charsmap import read_charsmap
from zeroshot.tokenizers.encoder import Encoder, library_errors

MAX_NAME = 1000  # characters of a token or a pattern
MAX_GROWTH = 10_000  # of a text by all replacements; a table and two replaced spaces make 256
MAX_MERGES = 4_000_000  # Gemma has 580,604
# Characters that create objects are counted before any object is created.
MAX_MARKS = {
    b"{": MAX_TOKEN_IDS + 10_000,
    b"[": MAX_TOKEN_IDS + MAX_MERGES,
    b",": 8 * MAX_TOKEN_IDS + 2 * MAX_MERGES,
}
CHARSMAP = "precompiled_charsmap"
PARTS = ("normalizer", "pre_tokenizer", "decoder")
UNUSED_PARTS = ("post_processor", "truncation", "padding")


def parse_tokenizer(content: bytes, source: str) -> Encoder:
    """Parse a tokenizer.json.

    Args:
        content: The bytes of the file.
        source: Its path, for messages.

    Returns:
        The encoder.

    Raises:
        UnsafeWeightsError: The file is corrupted or inconsistent.
        IncompatibleWeights: The tokenizer is too large or of an unsupported kind.
    """
    if any(content.count(mark) > limit for mark, limit in MAX_MARKS.items()):
        raise _too_large(source)
    try:
        tokenizer = json.loads(content)
        model, added = _parts(tokenizer)
        if len(model["vocab"]) + len(added) > MAX_TOKEN_IDS:
            raise _too_large(source)
        _check_strings(tokenizer)
        ids = _ids(model)
        hidden = {token["content"]: f" \0{token['id']}" for token in added if token["special"]}
        unknown = _unknown(model, ids)
        _hide(model, hidden, unknown)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, IncompatibleWeights):
            raise
        raise _invalid(source, f"{type(error).__name__}: {error}") from error
    if model.get("dropout"):
        raise IncompatibleWeights(
            f"{source}: the model has a dropout of {reprlib.repr(model['dropout'])}, so ids would "
            "be random; set it to null",
            source=source,
        )
    known = set(ids.values())
    tokenizer["added_tokens"] = [
        token | {"content": hidden.get(token["content"], token["content"])}
        for token in added
        if not (token["special"] and token["id"] in known)
    ]
    tokenizer |= dict.fromkeys(UNUSED_PARTS)
    library = _load(tokenizer, source)
    specials = {token["id"] for token in added if token["special"]} - {unknown}
    return Encoder(
        library,
        size=max(known | {token["id"] for token in added}) + 1,
        source=source,
        controls=frozenset(specials),
        unknown=unknown,
    )


def _load(tokenizer: dict[str, Any], source: str) -> Any:
    """Let the library parse the checked content."""
    from tokenizers import Tokenizer

    with library_errors(source):
        library = Tokenizer.from_str(json.dumps(tokenizer, ensure_ascii=False))
    for token in tokenizer["added_tokens"]:
        if library.token_to_id(token["content"]) != token["id"]:
            raise _invalid(
                source,
                f"added token {token['content'][:40]!r} has id {token['id']}, "
                f"the vocabulary gives it {library.token_to_id(token['content'])}",
            )
    return library


def _invalid(source: str, problem: str) -> UnsafeWeightsError:
    return UnsafeWeightsError(
        f"{source}: expected a tokenizer.json, got an invalid file ({problem}); download it again "
        "from its publisher",
        source=source,
    )


def _too_large(source: str) -> IncompatibleWeights:
    return IncompatibleWeights(
        f"{source}: expected a tokenizer of at most {MAX_TOKEN_IDS} tokens, got a larger one; it "
        "is not the tokenizer of a CLIP",
        source=source,
    )


def _parts(tokenizer: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the model and the added tokens. Raises ValueError if they have other types."""
    if not isinstance(tokenizer, dict) or not isinstance(tokenizer.get("model"), dict):
        raise ValueError("it has no model")
    model, added = tokenizer["model"], tokenizer.get("added_tokens") or []
    kind, vocab = model.get("type"), model.get("vocab")
    if kind not in ("Unigram", "BPE", "WordPiece"):
        raise ValueError(f"model.type is {reprlib.repr(kind)}, expected Unigram, BPE or WordPiece")
    if not vocab or not isinstance(vocab, list if kind == "Unigram" else dict):
        raise ValueError(f"model.vocab is {reprlib.repr(vocab)}")
    if not isinstance(added, list):
        raise ValueError(f"added_tokens is {reprlib.repr(added)}, expected a list")
    for token in added:
        if (
            not isinstance(token, dict)
            or not isinstance(token.get("content"), str)
            or len(token["content"]) > MAX_NAME
            or not _is_id(token.get("id"))
            or not isinstance(token.setdefault("special", False), bool)
        ):
            raise ValueError(f"added_tokens has {reprlib.repr(token)}")
    return model, added


def _is_id(value: object) -> bool:
    return type(value) is int and 0 <= value < MAX_TOKEN_IDS


def _ids(model: dict[str, Any]) -> dict[str, int]:
    """Return the id of each token of the model."""
    if model["type"] == "Unigram":
        ids = {}
        for i, entry in enumerate(model["vocab"]):
            name, score = entry
            if not isinstance(score, int | float) or not math.isfinite(score):
                raise ValueError(f"model.vocab[{i}] has the score {reprlib.repr(score)}")
            ids[name] = i
    else:
        ids = model["vocab"]
        if not all(map(_is_id, ids.values())) or len(set(ids.values())) != len(ids):
            raise ValueError("model.vocab has a duplicate id, or one that is no id")
    for name in ids:
        if not isinstance(name, str) or len(name) > MAX_NAME:
            raise ValueError(f"model.vocab has the token {reprlib.repr(name)}")
    if len(ids) != len(model["vocab"]):
        raise ValueError("model.vocab has a duplicate token")
    return ids


def _unknown(model: dict[str, Any], ids: dict[str, int]) -> int | None:
    """Return the id of unknown text."""
    if model["type"] == "Unigram":
        found = model.get("unk_id")
        if found is not None and (not _is_id(found) or found >= len(ids)):
            raise ValueError(f"model.unk_id is {reprlib.repr(found)}")
        return found
    name = model.get("unk_token")
    if name is not None and (not isinstance(name, str) or name not in ids):
        raise ValueError(f"model.unk_token {reprlib.repr(name)} is not in the vocabulary")
    return None if name is None else ids[name]


def _hide(model: dict[str, Any], hidden: dict[str, str], unknown: int | None) -> None:
    """Rename special tokens in the model's vocabulary, so that no text contains them."""
    if model["type"] == "Unigram":
        model["vocab"] = [
            (f" \0{i}" if i == unknown else hidden.get(name, name), score)
            for i, (name, score) in enumerate(model["vocab"])
        ]
        return
    model["vocab"] = {hidden.get(name, name): i for name, i in model["vocab"].items()}
    if (name := model.get("unk_token")) is not None:
        model["unk_token"] = hidden.get(name, name)
    if model["type"] == "BPE":
        merges = model.get("merges")
        if not isinstance(merges, list) or len(merges) > MAX_MERGES:
            raise ValueError(f"model.merges is {reprlib.repr(merges)}")
        pairs = [merge.split(" ", 1) if isinstance(merge, str) else merge for merge in merges]
        model["merges"] = [
            (left, right)
            for left, right in pairs
            if hidden.keys().isdisjoint((left, right, left + right))
        ]


def _check_strings(tokenizer: dict[str, Any]) -> None:
    """Raise ValueError for long patterns, and for replacements that are invalid or too long."""
    growth = 1
    for part in PARTS:
        for key, text in _strings(tokenizer.get(part)):
            if key == CHARSMAP:
                read_charsmap(base64.b64decode(text, validate=True))
                growth *= 64
            elif len(text) > MAX_NAME:
                raise ValueError(f"{part}: {key} has {len(text)} characters, at most {MAX_NAME}")
            elif key in ("content", "prepend"):
                growth *= len(text) + 1
    if growth > MAX_GROWTH:
        raise ValueError(f"its replacements can make a text {growth} times as long")


def _strings(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the strings of nested parts, each with its key."""
    parts = [("", value)]
    while parts:
        key, part = parts.pop()
        if isinstance(part, dict):
            parts.extend(part.items())
        elif isinstance(part, list):
            parts.extend((key, item) for item in part)
        elif isinstance(part, str):
            yield key, part
