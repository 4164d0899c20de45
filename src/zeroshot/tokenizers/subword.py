"""The tokenizer of models that do not use CLIP's vocabulary: rows of ids from an encoder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from zeroshot.arguments import flag, integer, iterator
from zeroshot.errors import InputError, short_errors_in, shortened
from zeroshot.spec import TokenizerConfig
from zeroshot.tokenizers.base import limit_rows, pad_rows
from zeroshot.tokenizers.cleaning import clean_text
from zeroshot.tokenizers.encoder import Encoder

if TYPE_CHECKING:
    from numpy.typing import NDArray


@short_errors_in
class SubwordTokenizer:
    """A tokenizer whose vocabulary was read from a file of the checkpoint's publisher.

    `build_tokenizer` creates it. Names of special tokens in a text, such as "</s>", are plain text.

    Args:
        encoder: The vocabulary.
        config: How texts are cleaned, and what rows contain besides the ids of a text.
    """

    # What it may not distinguish, for messages.
    ignores = "case, punctuation, spaces and characters that its vocabulary lacks"

    def __init__(self, encoder: Encoder, config: TokenizerConfig) -> None:
        self.encoder, self.config = encoder, config

    @property
    def context_length(self) -> int:
        """Number of tokens that the text tower reads, including start and end."""
        return self.config.context_length

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return max(self.encoder.size, *(i + 1 for i in self.config.special_ids))

    @property
    def special_tokens(self) -> int:
        """Number of tokens of a row that are not those of its text: start and end."""
        return self.config.special_tokens

    def __repr__(self) -> str:
        return (
            f"SubwordTokenizer({self.encoder.source!r}, context_length={self.context_length}, "
            f"vocab_size={self.vocab_size})"
        )

    def encode(self, text: str) -> list[int]:
        """Encode one text, without start, end or padding.

        Args:
            text: Text of any length. It is cleaned as `config.cleaning` says.

        Returns:
            Token ids.

        Raises:
            InputError: `text` is not a str.
            UnsafeWeightsError: The tokenizer's file is inconsistent.
        """
        if not isinstance(text, str):
            raise InputError(
                f"expected text, got {type(text).__name__} {shortened(repr(text))}; pass a str"
            )
        return self.encoder.encode(clean_text(text, self.config.cleaning))

    def decode(self, ids: Iterable[int]) -> str:
        """Convert ids back to text, up to the first end token.

        Start, padding and other control tokens are dropped. Unknown text is U+2047.

        Args:
            ids: Token ids.

        Returns:
            The text, as it was cleaned and normalized.

        Raises:
            InputError: An id is outside the vocabulary.
        """
        kept: list[int] = []
        for given in iterator("ids", ids):
            i = integer(given)
            if i is None or not 0 <= i < self.vocab_size:
                raise InputError(
                    f"id {shortened(repr(given))} is outside the vocabulary of {self.vocab_size} "
                    "ids; pass ids of this tokenizer"
                )
            if i == self.config.end:
                break
            if i not in self.config.special_ids:
                kept.append(i)
        return self.encoder.decode(kept)

    def rows(self, texts: Iterable[str], *, truncate: bool = False) -> list[list[int]]:
        """Encode texts as the lists of ids that the text tower reads, with start and end.

        Rows have no padding, unless the text tower reads it (`config.full_rows`): SigLIP attends
        to pads and reads the last position, so its embeddings depend on them. Those rows are
        padded to the context length.

        Args:
            texts: Texts to encode.
            truncate: Cut texts that are too long; the last token of such a row is the end token.

        Returns:
            One list of ids per text.

        Raises:
            InputError: `texts` is not a list of text.
            TokenLimitError: A text exceeds the context length and `truncate` is false.
        """
        texts, truncate = list(iterator("texts", texts)), flag("truncate", truncate)
        limit, config = self.context_length, self.config
        start = [] if config.start is None else [config.start]
        end = [] if config.end is None else [config.end]
        rows = [[*start, *self.encode(text), *end] for text in texts]
        limit_rows(texts, rows, limit, end, truncate=truncate)
        if config.full_rows:
            rows = [row + [config.pad] * (limit - len(row)) for row in rows]
        return rows

    def __call__(self, texts: str | Iterable[str], *, truncate: bool = False) -> NDArray[np.int64]:
        """Encode texts as the text tower reads them: int64 [n, context_length], padded.

        Args:
            texts: One text, or several.
            truncate: Cut texts that are too long; the last token of such a row is the end token.

        Returns:
            int64 [n, context_length].

        Raises:
            InputError: `texts` is not text.
            TokenLimitError: A text exceeds the context length and `truncate` is false.
        """
        rows = self.rows([texts] if isinstance(texts, str) else texts, truncate=truncate)
        return pad_rows(rows, self.context_length, self.config.pad)
