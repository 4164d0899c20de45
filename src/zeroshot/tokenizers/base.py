"""What a tokenizer is: text becomes the ids that a text tower was trained on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@runtime_checkable
class Tokenizer(Protocol):
    """A checkpoint's tokenizer; `model.tokenizer` is one."""

    @property
    def context_length(self) -> int:
        """Tokens that the text tower reads, start and end included."""

    @property
    def vocab_size(self) -> int:
        """Number of ids."""

    def encode(self, text: str) -> list[int]:
        """Encode one text, without start, end or padding."""

    def decode(self, ids: Iterable[int]) -> str:
        """Turn ids back into text."""

    def rows(self, texts: Iterable[str], *, truncate: bool = False) -> list[list[int]]:
        """Encode texts as lists of their true length, start and end included.

        Raises TokenLimitError for a text that does not fit; with `truncate` it is cut instead.
        """

    def __call__(self, texts: str | Iterable[str], *, truncate: bool = False) -> NDArray[np.int64]:
        """Encode texts as the text tower reads them: int64 [n, context_length], padded.

        Raises TokenLimitError for a text that does not fit; with `truncate` it is cut instead.
        """
