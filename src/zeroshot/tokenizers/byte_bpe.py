"""Combine a vocab.json and a merges.txt into a tokenizer.json.

RoBERTa's tokenizer, a byte-pair encoding of bytes, is published as these two files. Source:
`RobertaTokenizer` of transformers.
"""

from __future__ import annotations

import json

from zeroshot.errors import IncompatibleWeights, UnsafeWeightsError
from zeroshot.spec import MAX_TOKEN_IDS
from zeroshot.tokenizers.tokenizer_json import MAX_MERGES

MAX_BYTES = 64 * 2**20  # of each file; RoBERTa's have 0.9 and 0.5 MB
CONTROLS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
REQUIRED = CONTROLS[:3]
VERSION = "#version"  # start of the first line of a merges.txt
FLAGS = ("single_word", "lstrip", "rstrip", "normalized")  # of an added token
BYTE_LEVEL = {"add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def combine(vocab: bytes, merges: bytes, source: str) -> bytes:
    """Return a tokenizer.json with the ids of both files.

    Args:
        vocab: The bytes of a vocab.json, an object from each token to its id.
        merges: The bytes of a merges.txt, two tokens on each line, the first merge first.
        source: The path of the vocab.json, for messages.

    Returns:
        The bytes of the tokenizer.json.

    Raises:
        UnsafeWeightsError: A file is not of that kind, corrupted or too large.
        IncompatibleWeights: The vocabulary is too large, or not RoBERTa's.
    """
    if max(len(vocab), len(merges)) > MAX_BYTES:
        raise _invalid(source, f"one of more than {MAX_BYTES} bytes")
    # counted before any object is created
    if vocab.count(b",") > 4 * MAX_TOKEN_IDS or merges.count(b"\n") > MAX_MERGES:
        raise IncompatibleWeights(
            f"{source}: expected at most {MAX_TOKEN_IDS} tokens and {MAX_MERGES} merges, got more; "
            "it is not the tokenizer of a CLIP",
            source=source,
        )
    try:
        ids = json.loads(vocab)
        if not isinstance(ids, dict):
            raise ValueError("vocab.json is no JSON object")
        pairs = _read_merges(merges.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # ValueError: also of JSON and UTF-8
        raise _invalid(source, f"an invalid file ({error})") from error
    if missing := [name for name in REQUIRED if name not in ids]:
        raise IncompatibleWeights(
            f"{source}: expected the vocabulary of RoBERTa, got one without {', '.join(missing)}; "
            "use the tokenizer files of this checkpoint",
            source=source,
        )
    controls = [
        {"id": ids[name], "content": name, "special": True} for name in CONTROLS if name in ids
    ]
    content = {
        "model": {"type": "BPE", "vocab": ids, "merges": pairs},
        "added_tokens": [each | dict.fromkeys(FLAGS, False) for each in controls],
        "pre_tokenizer": {"type": "ByteLevel"} | BYTE_LEVEL,
        "decoder": {"type": "ByteLevel"} | BYTE_LEVEL,
    }
    return json.dumps(content).encode()


def _read_merges(text: str) -> list[str]:
    """Return the lines of a merges.txt. Raises ValueError if one has not two tokens."""
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
    first = 1 if lines[0].startswith(VERSION) else 0
    if lines == [""]:
        raise ValueError("merges.txt is empty")
    for i, line in enumerate(lines[first:], first + 1):
        left, _, right = line.partition(" ")
        if not left or not right or " " in right:
            raise ValueError(f"merges.txt has {line[:40]!r} in line {i}, expected two tokens")
    return lines[first:]


def _invalid(source: str, found: str) -> UnsafeWeightsError:
    return UnsafeWeightsError(
        f"{source}: expected a vocab.json and a merges.txt, got {found}; download both again from "
        "their publisher",
        source=source,
    )
