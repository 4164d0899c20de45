"""Read the tokenizer of a checkpoint from the file that its publisher provides.

Supported are SentencePiece models, tokenizer.json, BERT's vocab.txt, and RoBERTa's vocab.json with
merges.txt. They contain declarative data and are read within limits.
"""

from __future__ import annotations

import reprlib
from pathlib import Path

from zeroshot.errors import IncompatibleWeights, MissingPackage, UnsafeWeightsError, WeightsError
from zeroshot.files import format_bytes
from zeroshot.spec import TokenizerConfig
from zeroshot.tokenizers.byte_bpe import combine
from zeroshot.tokenizers.encoder import Encoder, library_errors
from zeroshot.tokenizers.sentencepiece_encoder import build_encoder
from zeroshot.tokenizers.sentencepiece_model import parse_model
from zeroshot.tokenizers.subword import SubwordTokenizer
from zeroshot.tokenizers.tokenizer_json import parse_tokenizer
from zeroshot.tokenizers.wordpiece import parse_vocabulary
from zeroshot.weight_files import BYTE_BPE, TOKENIZERS

MAX_BYTES = {  # by suffix; the largest published files have 18 MB, 61 MB and 1 MB
    ".model": 64 * 2**20,
    ".json": 128 * 2**20,
    ".txt": 32 * 2**20,
}
# Smallest share of the text tower's ids that a tokenizer has. Published ones have 95 % or more;
# SigLIP's has 12 % of the ids of SigLIP 2's.
MIN_SHARE = 1 / 5


def find_tokenizer(folder: Path) -> Path | None:
    """Return the tokenizer file of a folder, or None.

    A SentencePiece model has priority over a tokenizer.json: it is smaller, and it is the file that
    the model was trained with. A conversion by transformers drops combining marks after some
    characters, and mT5's fallback to bytes.

    Args:
        folder: The folder of a checkpoint.

    Returns:
        The path of the first existing file of `weight_files.TOKENIZERS`, or else of a vocab.json
        if a merges.txt is beside it.
    """
    found = next((folder / name for name in TOKENIZERS if (folder / name).is_file()), None)
    if found is None and all((folder / name).is_file() for name in BYTE_BPE):
        return folder / BYTE_BPE[0]
    return found


def read_content(path: Path) -> bytes:
    """Return the bytes of a tokenizer file; a vocab.json and a merges.txt become a tokenizer.json.

    Args:
        path: What `find_tokenizer` returned.

    Returns:
        What `build_tokenizer` expects.

    Raises:
        WeightsError: The file cannot be read, is too large, or is one of two that do not fit.
    """
    content = _read_bytes(path)
    if path.name != BYTE_BPE[0]:
        return content
    return combine(content, _read_bytes(path.with_name(BYTE_BPE[1])), str(path))


def build_tokenizer(
    content: bytes, path: Path, config: TokenizerConfig, *, vocab_size: int | None = None
) -> SubwordTokenizer:
    """Build a tokenizer from the content of a file.

    Args:
        content: The bytes of the file, or of the tokenizer.json that two files became.
        path: Where they are from, for messages. Its suffix decides how they are read: .model
            (SentencePiece), .json (tokenizer.json) or .txt (BERT's vocab.txt).
        config: How texts are cleaned, and what rows contain besides the ids of a text.
        vocab_size: Number of ids that the text tower reads; None: not checked.

    Returns:
        The tokenizer.

    Raises:
        MissingPackage: The tokenizers package is not installed.
        UnsafeWeightsError: The content is corrupted, inconsistent or too large.
        IncompatibleWeights: The content is of an unsupported kind, or has more ids than the text
            tower reads, or less than a fifth of them.
    """
    source = str(path)
    _check_kind(path)
    _require_library(path)
    _check_size(content, path)
    for field, value, expected in config.problems():
        raise IncompatibleWeights(
            f"{source}: tokenizer {field} is {reprlib.repr(value)}, expected {expected}",
            source=source,
        )
    encoder = _parse(path, content, config)
    most = encoder.size if vocab_size is None else vocab_size
    needed = max(encoder.size, *(i + 1 for i in config.special_ids))
    if needed > most:
        raise IncompatibleWeights(
            f"{source}: expected a tokenizer of at most {most} ids, which the text tower reads, "
            f"got ids up to {needed - 1}; use the tokenizer file of this checkpoint",
            source=source,
        )
    if vocab_size is not None and MIN_SHARE * vocab_size > needed:
        raise IncompatibleWeights(
            f"{source}: expected a tokenizer of about {vocab_size} ids, as the text tower has, got "
            f"one of {needed}; use the tokenizer file of this checkpoint",
            source=source,
        )
    for field in ("start", "end"):
        value = getattr(config, field)
        if encoder.controls and value is not None and value not in encoder.controls:
            raise IncompatibleWeights(
                f"{source}: expected the {field} id {value} to be a special token of the "
                f"vocabulary, got one of {sorted(encoder.controls)[:8]}; use the tokenizer file of "
                "this checkpoint",
                source=source,
            )
    return SubwordTokenizer(encoder, config)


def _check_kind(path: Path) -> None:
    """Raise IncompatibleWeights unless the suffix is that of a tokenizer file."""
    if path.suffix not in MAX_BYTES:
        raise IncompatibleWeights(
            f"{path}: unsupported tokenizer file, expected one of {', '.join(TOKENIZERS)}; "
            "download one of them from the publisher of the model",
            source=str(path),
        )


def _check_size(content: bytes, path: Path) -> None:
    """Raise UnsafeWeightsError for content above the limit of its kind."""
    limit = MAX_BYTES[path.suffix]
    if len(content) > limit:
        raise UnsafeWeightsError(
            f"{path}: expected a tokenizer of at most {format_bytes(limit)}, got a larger file; "
            "download it again from its publisher",
            source=str(path),
        )


def _parse(path: Path, content: bytes, config: TokenizerConfig) -> Encoder:
    source = str(path)
    if path.suffix == ".model":
        model = parse_model(content, source)
        with library_errors(source):
            return build_encoder(model, source, config.piece_ids)
    if path.suffix == ".json":
        return parse_tokenizer(content, source)
    return parse_vocabulary(content, source, lowercase=config.lowercase)


def _require_library(path: Path) -> None:
    """Raise MissingPackage unless the library can be imported."""
    try:
        import tokenizers  # noqa: F401
    except ImportError as error:
        raise MissingPackage(
            f"{path}: reading a tokenizer requires the tokenizers package, which is not installed "
            f"({error}); run: pip install 'zeroshot-clip[tokenizers]'. Images and saved heads "
            "need no tokenizer"
        ) from error


def _read_bytes(path: Path) -> bytes:
    """Return the content of a file within the limit of its kind."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES[path.suffix] + 1)
    except OSError as error:
        raise WeightsError(
            f"{path}: cannot read the tokenizer ({error.strerror or error}); check the path and "
            "the permissions",
            source=str(path),
        ) from error
    _check_size(content, path)
    return content
