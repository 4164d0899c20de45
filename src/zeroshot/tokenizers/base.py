"""Define the tokenizer protocol: text to the ids of a text tower."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
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
        """Encode texts as lists of ids without padding, including start and end.

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
