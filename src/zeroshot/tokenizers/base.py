"""Define the tokenizer protocol: text to the ids of a text tower; fit rows to the tower."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from zeroshot.errors import TokenLimitError, shortened

if TYPE_CHECKING:
    from numpy.typing import NDArray


@runtime_checkable
class Tokenizer(Protocol):
    """A checkpoint's tokenizer, as `model.tokenizer` returns it."""

    @property
    def context_length(self) -> int:
        """Number of tokens that the text tower reads, including start and end."""

    @property
    def vocab_size(self) -> int:
        """Number of ids."""

    @property
    def special_tokens(self) -> int:
        """Number of tokens of a row that are not those of its text: start and end."""

    def encode(self, text: str) -> list[int]:
        """Encode one text, without start, end or padding.

        Args:
            text: Text of any length.

        Returns:
            Token ids.
        """

    def decode(self, ids: Iterable[int]) -> str:
        """Convert ids back to text.

        Args:
            ids: Token ids.

        Returns:
            The text.
        """

    def rows(self, texts: Iterable[str], *, truncate: bool = False) -> list[list[int]]:
        """Encode texts as the lists of ids that the text tower reads, including start and end.

        Rows have no padding, unless the text tower attends to it.

        Args:
            texts: Texts to encode.
            truncate: Cut texts that are too long instead of raising an error.

        Returns:
            One list of ids per text.

        Raises:
            TokenLimitError: A text exceeds the context length and `truncate` is false.
        """

    def __call__(self, texts: str | Iterable[str], *, truncate: bool = False) -> NDArray[np.int64]:
        """Encode texts as the text tower reads them: int64 [n, context_length], padded.

        Args:
            texts: One text, or several.
            truncate: Cut texts that are too long instead of raising an error.

        Returns:
            int64 [n, context_length].

        Raises:
            TokenLimitError: A text exceeds the context length and `truncate` is false.
        """


def limit_rows(
    texts: Sequence[str], rows: list[list[int]], limit: int, end: list[int], *, truncate: bool
) -> None:
    """Cut rows of more than `limit` ids before their end ids, or raise TokenLimitError."""
    for text, row in zip(texts, rows, strict=True):
        if len(row) > limit:
            if not truncate:
                raise TokenLimitError(
                    f"{shortened(text)!r} has {len(row)} tokens including start and end, the "
                    f"model reads {limit}; use a shorter label or template, or for sentences "
                    "encode_text(truncate=True), on the command line encode --truncate",
                    text=text,
                    tokens=len(row),
                )
            row[limit - len(end) :] = end


def pad_rows(rows: list[list[int]], length: int, pad: int) -> NDArray[np.int64]:
    """Return rows of at most `length` ids, padded at the end: int64 [n, length]."""
    ids = np.full((len(rows), length), pad, dtype=np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
    return ids
