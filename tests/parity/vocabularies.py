"""Compare the tokenizers of other vocabularies with those of transformers.

    tests/parity/environment.sh -m tests.parity.vocabularies

Small SentencePiece models and a vocab.txt are given to transformers, which converts them and saves
a tokenizer.json. zeroshot reads both files. Rows are compared with those of transformers: for a
tokenizer.json on all texts, for a .model on texts of words, because the conversion drops combining
marks after some characters, which sentencepiece keeps. Exits with 1 if a row differs.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from tests.tokenizers.published import CONTROLS
from tests.tokenizers.training import KINDS, SPECIAL, VOCABULARY, texts, train
from zeroshot.spec import TokenizerConfig
from zeroshot.tokenizers.cleaning import clean_text
from zeroshot.tokenizers.tokenizer_files import read_tokenizer

LENGTH = 16
COUNT = 8000
SIGLIP = TokenizerConfig(LENGTH, "canonicalize", end=1, pad=0, full_rows=True)
XLM_R = TokenizerConfig(LENGTH, "whitespace", start=0, end=2, pad=1, piece_ids="fairseq")
GEMMA_NAMES = {f"{name}_token": f"<{name}>" for name in ("pad", "eos", "bos", "unk")}
# kind: class of transformers, its options, name of the file, how zeroshot reads it
PEERS: dict[str, tuple[str, dict[str, Any], str, TokenizerConfig]] = {
    "siglip": ("T5Tokenizer", {"extra_ids": 0}, "spiece.model", SIGLIP),
    "xlm-r": ("XLMRobertaTokenizer", {}, "sentencepiece.bpe.model", XLM_R),
    "gemma": (
        "GemmaTokenizer",
        {"add_bos_token": False, "add_eos_token": True, "padding_side": "right"} | GEMMA_NAMES,
        "tokenizer.model",
        SIGLIP,
    ),
    "bert": ("BertTokenizer", {}, "vocab.txt", TokenizerConfig(LENGTH, start=2, end=3)),
}


def differing(peer: Any, path: Path, config: TokenizerConfig, tried: list[str]) -> int:
    """Return the number of texts with other rows than those of transformers."""
    clean = [clean_text(text, config.cleaning) for text in tried]
    options = {"padding": "max_length", "truncation": True, "max_length": LENGTH}
    expected = peer(clean, **options).input_ids
    found = read_tokenizer(path, config)(tried, truncate=True).tolist()
    return sum(row != other for row, other in zip(found, expected, strict=True))


def main() -> int:
    bad = 0
    for kind, (name, options, file, config) in PEERS.items():
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            content = VOCABULARY if kind == "bert" else train(**KINDS[kind])
            (folder / file).write_bytes(content)
            settings = json.dumps({"tokenizer_class": name} | options)
            (folder / "tokenizer_config.json").write_text(settings)
            peer = AutoTokenizer.from_pretrained(folder)
            peer.save_pretrained(folder / "saved")
            # transformers converts these names to special ids also in the middle of a text
            names = (*CONTROLS.get(kind, SPECIAL), "[")
            tried = [text for text in texts(COUNT) if not any(each in text for each in names)]
            words = [text for n, text in enumerate(texts(COUNT)) if n % 4 < 2]
            for path, given in (
                (folder / "saved" / "tokenizer.json", tried),
                (folder / file, words),
            ):
                count = differing(peer, path, config, given)
                bad += count
                print(f"{name:20} {path.name:24} {count} of {len(given)} texts differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
