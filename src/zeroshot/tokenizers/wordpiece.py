"""Read a vocab.txt of BERT: one token per line, whose number is the id."""

from __future__ import annotations

from zeroshot.errors import IncompatibleWeights, UnsafeWeightsError
from zeroshot.spec import MAX_TOKEN_IDS
from zeroshot.tokenizers.encoder import Encoder, library_errors

UNKNOWN = "[UNK]"
CONTROLS = ("[PAD]", "[CLS]", "[SEP]", "[MASK]")
MAX_WORD = 100  # characters; longer words are unknown, as in BERT


def parse_vocabulary(content: bytes, source: str, *, lowercase: bool) -> Encoder:
    """Build BERT's encoder from a vocab.txt.

    Args:
        content: The bytes of the file.
        source: Its path, for messages.
        lowercase: Lower the case and remove accents, as `do_lower_case` of BERT.

    Returns:
        The encoder.

    Raises:
        UnsafeWeightsError: The file is not a vocabulary.
        IncompatibleWeights: The vocabulary is too large.
    """
    try:
        lines = content.decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise _invalid(source, f"a file that is not UTF-8 ({error})") from error
    tokens = [line.removesuffix("\r") for line in lines]
    if len(tokens) > MAX_TOKEN_IDS:
        raise IncompatibleWeights(
            f"{source}: expected a vocabulary of at most {MAX_TOKEN_IDS} lines, got {len(tokens)}; "
            "it is not the vocabulary of a CLIP",
            source=source,
        )
    ids = {token: i for i, token in enumerate(tokens)}
    if len(ids) != len(tokens):
        i = next(i for i, token in enumerate(tokens) if ids[token] != i)
        raise _invalid(source, f"the token {tokens[i][:40]!r} of line {i + 1} twice")
    if UNKNOWN not in ids:
        raise _invalid(source, f"a file of {len(tokens)} lines without {UNKNOWN}")

    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers

    with library_errors(source):
        words = models.WordPiece(ids, unk_token=UNKNOWN, max_input_chars_per_word=MAX_WORD)
        library = tokenizers.Tokenizer(words)
        library.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
        library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        library.decoder = decoders.WordPiece()
    return Encoder(
        library,
        size=len(tokens),
        source=source,
        controls=frozenset(ids[token] for token in CONTROLS if token in ids),
        unknown=ids[UNKNOWN],
    )


def _invalid(source: str, found: str) -> UnsafeWeightsError:
    return UnsafeWeightsError(
        f"{source}: expected BERT's vocabulary, one token per line, got {found}; download the "
        "file again from its publisher",
        source=source,
    )
