"""Train small SentencePiece models on a generated corpus, and make texts in many scripts."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from zeroshot.spec import TokenizerConfig
from zeroshot.tokenizers.sentencepiece_model import MODEL, NORMALIZER, _fields
from zeroshot.tokenizers.subword import SubwordTokenizer
from zeroshot.tokenizers.tokenizer_files import build_tokenizer, read_content

SENTENCE = """
a photo of the cat dog tree house river mountain street car bird flower boat bridge many small large
red blue green old new itap origami sketch drawing toy plushie cartoon tattoo embroidered close-up
bad good it's don't 3d 2 4 100 café naïve Größe 北京 東京 кошка собака Don't Hello, World! new_york
ελληνικά עברית العربية हिन्दी ไทย 한국어 にほんご ... !!! 1111 ¡hola!
"""
WORDS = SENTENCE.split()
# Signs that normalization changes, removes or leaves; runs; and the names of control pieces
PARTS = (
    *("\u00a0", "\u3000", "\t", "\n", "  ", " ", "\u200b", "\u2581", "\u2028", "\x85", "\x00"),
    *("ﬁ", "½", "①", "Å", "e\u0301", "Ａ\u0301", "´", "ﷺ", "Ａ", "１", "…", "ß", "İ", "Σ", "क़ि"),
    *("🐈", "🇨🇭", "\ufffd", "aaaa", "!!!!!", "11111", "----", "_", "<", ">", "/", "é", "犬", "한"),
    *("<s>", "</s>", "<pad>", "<unk>", "<eos>", "<bos>", "<0x41>", "<mask>", "<b>", "▁the"),
    *(" <extra_id_0>", "\u2581<extra_id_0>"),
)
LETTERS = "abcdefghijklmnopqrstuvwxyzéÖßжщאبहไ한にABC0123456789 .,!'-_"


# A vocab.txt of BERT
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LOWER = {word.lower() for word in WORDS}
TOKENS = [
    *SPECIAL,
    *sorted(LOWER | set(LETTERS.lower()) | set("!?.<>[]()&…北京東한ê") | {"dog", "##s", "##ing"}),
    *(f"##{letter}" for letter in "abcdefghijklmnopqrstu0123456789кошα"),
    *("sep", "unk", "##ep", "cafe", "naive", "große"),
]
VOCABULARY = "\n".join(dict.fromkeys(TOKENS)).encode()


def corpus() -> Iterator[str]:
    """Yield 3,000 sentences, the same in every run."""
    dice = random.Random(1)
    for _ in range(3000):
        yield " ".join(dice.choices(WORDS, k=8))


def train(size: int, **options: Any) -> bytes:
    """Return a SentencePiece model."""
    import sentencepiece

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=corpus(),
        model_writer=written,
        vocab_size=size,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    return written.getvalue()


# T5's: normalization; rare characters are unknown
SIGLIP = dict[str, Any](
    size=400,
    model_type="unigram",
    normalization_rule_name="nmt_nfkc",
    character_coverage=0.98,
    pad_id=0,
    eos_id=1,
    unk_id=2,
    bos_id=-1,
)
XLM_R = dict[str, Any](size=300, unk_id=0, bos_id=1, eos_id=2, pad_id=-1)
GEMMA = dict[str, Any](
    size=700,
    model_type="bpe",
    byte_fallback=True,
    normalization_rule_name="identity",
    add_dummy_prefix=False,
    remove_extra_whitespaces=False,
    user_defined_symbols=["<b>", "\n", "\u2581\u2581"],
    pad_id=0,
    eos_id=1,
    bos_id=2,
    unk_id=3,
    pad_piece="<pad>",
    eos_piece="<eos>",
    bos_piece="<bos>",
)
# mT5's, which SigLIP i18n uses: its own spaces are normalized in a user-defined piece
MT5 = SIGLIP | dict[str, Any](
    size=600, byte_fallback=True, user_defined_symbols=["\u2581<extra_id_0>", "①"]
)
KINDS = {"siglip": SIGLIP, "xlm-r": XLM_R, "gemma": GEMMA, "mt5": MT5}


def texts(count: int, seed: int = 0) -> list[str]:
    """Return texts of known words, letters, signs and any characters."""
    dice = random.Random(seed)
    found = []
    for n in range(count):
        size = dice.randrange(12)
        match n % 4:
            case 0:
                text = " ".join(dice.choices(WORDS, k=size))
            case 1:
                text = "".join(dice.choices(LETTERS, k=3 * size))
            case 2:
                text = "".join(dice.choices((*PARTS, *WORDS, " ", "a"), k=size))
            case _:
                text = "".join(_character(dice) for _ in range(size))
        found.append(text)
    return found


def _character(dice: random.Random) -> str:
    """Return a character of a random block of Unicode, which surrogates are not."""
    code = dice.randrange(1, dice.choice((0x80, 0x250, 0x3100, 0xD800, 0x1FB00)))
    return " " if 0xD800 <= code < 0xE000 else chr(code)


def charsmap_of(model: bytes) -> bytes:
    """Return the table of replacements that a model file contains."""
    normalizer: bytes = dict(_fields(model, MODEL, ""))["normalizer_spec"]
    table: bytes = dict(_fields(normalizer, NORMALIZER, ""))["precompiled_charsmap"]
    return table


@cache
def train_byte_bpe() -> tuple[bytes, bytes]:
    """Return a vocab.json and a merges.txt with the special ids of RoBERTa."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    library = Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    library.train_from_iterator(corpus(), trainer)
    with TemporaryDirectory() as folder:
        library.model.save(folder)
        vocab, merges = (Path(folder, name).read_bytes() for name in ("vocab.json", "merges.txt"))
    return vocab, merges


def read_tokenizer(path: Path, config: TokenizerConfig, **options: Any) -> SubwordTokenizer:
    """Read a tokenizer file as a model does."""
    return build_tokenizer(read_content(path), path, config, **options)
