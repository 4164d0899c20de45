"""Write tokenizer.json files as publishers do: with special tokens, truncation and padding."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from tests.tokenizers.training import charsmap_of
from zeroshot.tokenizers.sentencepiece_encoder import build_encoder
from zeroshot.tokenizers.sentencepiece_model import parse_model

LENGTH = 16
CONTROLS = {
    "siglip": ("<pad>", "</s>", "<unk>"),
    "xlm-r": ("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
    "gemma": ("<pad>", "<eos>", "<bos>", "<unk>"),
}


@cache
def tokenizer_of(kind: str, content: bytes) -> Tokenizer:
    """Return the tokenizer that transformers would convert a SentencePiece model to."""
    pieces = list(parse_model(content, kind).pieces)
    if kind == "xlm-r":
        pieces[:3] = [(name, 0.0, 3) for name in CONTROLS[kind][:4]]
    if kind == "gemma":
        built = json.loads(build_encoder(parse_model(content, kind), kind).library.to_str())
        merges = [(left, right) for left, right in built["model"]["merges"]]
        vocabulary = {text: i for i, (text, _, _) in enumerate(pieces)}
        bpe = models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
        tokenizer = Tokenizer(bpe)
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
        steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        tokenizer.decoder = decoders.Sequence(steps)
    else:
        scored = [(text, score) for text, score, _ in pieces]
        tokenizer = Tokenizer(models.Unigram(scored, unk_id=2 if kind == "siglip" else 3))
        table = normalizers.Precompiled(charsmap_of(content))
        spaces = normalizers.Replace(Regex(" {2,}"), " ")
        tokenizer.normalizer = normalizers.Sequence([table, normalizers.Strip(), spaces])
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(list(CONTROLS[kind]))
    if kind == "gemma":
        tokenizer.add_tokens([AddedToken(t, normalized=False) for t in ("<b>", "\n")])
        tokenizer.add_tokens([AddedToken("▁▁", normalized=True)])
    end = {"siglip": "</s>", "xlm-r": "</s>", "gemma": "<eos>"}[kind]
    tokenizer.post_processor = processors.TemplateProcessing(
        f"$A {end}", special_tokens=[(end, tokenizer.token_to_id(end))]
    )
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(length=LENGTH, pad_id=0, pad_token="<pad>")
    return tokenizer


def written(kind: str, content: bytes) -> bytes:
    """Return a tokenizer.json."""
    return tokenizer_of(kind, content).to_str().encode()


def tiny(**changes: Any) -> dict[str, Any]:
    """Return the content of a small tokenizer.json; `changes` replaces fields of the model."""
    model = {
        "type": "BPE",
        "vocab": {"<unk>": 0, "</s>": 1, "a": 2, "b": 3, "ab": 4, "c": 5},
        "merges": [["a", "b"]],
        "unk_token": "<unk>",
    }
    return {
        "version": "1.0",
        "added_tokens": [added(0, "<unk>"), added(1, "</s>")],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": model | changes,
    }


def added(number: int, content: str, special: bool = True) -> dict[str, Any]:
    sides = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": content, "special": special, **sides}
