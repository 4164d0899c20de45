"""Compare the tokenizers of other vocabularies with those of transformers.

    tests/parity/environment.sh -m tests.parity.vocabularies

Small SentencePiece models are given to transformers, which converts them and saves
a tokenizer.json. So are a vocab.txt, and a vocab.json with a merges.txt. zeroshot reads both files.
Rows are compared with those of transformers on all texts, for a .model on texts of words, because
the conversion drops combining marks after some characters, which sentencepiece keeps. Exits with 1
if a row differs.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from tests.tokenizers.published import CONTROLS
from tests.tokenizers.training import (
    KINDS,
    SPECIAL,
    VOCABULARY,
    read_tokenizer,
    texts,
    train,
    train_byte_bpe,
)
from zeroshot.spec import TokenizerConfig
from zeroshot.tokenizers.cleaning import clean_text

LENGTH = 16
COUNT = 8000
SIGLIP = TokenizerConfig(LENGTH, "canonicalize", end=1, pad=0, full_rows=True)
XLM_R = TokenizerConfig(LENGTH, "whitespace", start=0, end=2, pad=1, piece_ids="fairseq")
GEMMA_NAMES = {f"{name}_token": f"<{name}>" for name in ("pad", "eos", "bos", "unk")}
CHINESE = (
    *(
        "北京的猫，東京的狗！",
        "皮卡丘ABC和妙蛙种子",
        "ＡＢＣ１２３。",
        "𠀀𠀁豈",
        "Café ÀÉÎ naïve北京",
    ),
    *("İstanbul ǅ ẞ", "か\u3099 が ｶﾞ", "한국어 北\u200d京", "«北京»—“東京”…", "a\u0301北e\u0302"),
)
NAMES = CONTROLS | {"roberta": CONTROLS["xlm-r"]}
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
    "roberta": (
        "RobertaTokenizer",
        {},
        "vocab.json",
        TokenizerConfig(LENGTH, "whitespace", start=0, end=2, pad=1),
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


def write(path: Path, kind: str) -> None:
    if kind == "roberta":
        content, merges = train_byte_bpe()
        path.with_name("merges.txt").write_bytes(merges)
    else:
        content = VOCABULARY if kind == "bert" else train(**KINDS[kind])
    path.write_bytes(content)


def main() -> int:
    bad = 0
    for kind, (name, options, file, config) in PEERS.items():
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            write(folder / file, kind)
            settings = json.dumps({"tokenizer_class": name} | options)
            (folder / "tokenizer_config.json").write_text(settings)
            peer = AutoTokenizer.from_pretrained(folder)
            peer.save_pretrained(folder / "saved")
            # transformers converts these names to special ids also in the middle of a text
            names = (*NAMES.get(kind, SPECIAL), "[")
            tried = [text for text in texts(COUNT) if not any(each in text for each in names)]
            words = [text for n, text in enumerate(texts(COUNT)) if n % 4 < 2]
            if kind in ("bert", "roberta"):  # their conversion loses nothing
                tried = words = [*tried, *CHINESE]
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
