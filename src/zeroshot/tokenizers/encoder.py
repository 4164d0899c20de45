"""Encode and decode text with the `tokenizers` library, which reads no file here.

An encoder adds no start, no end and no padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zeroshot.errors import UnsafeWeightsError, ZeroshotError, shortened

if TYPE_CHECKING:
    import tokenizers

UNKNOWN_TEXT = "\u2047"  # as sentencepiece decodes unknown text: a double question mark


@dataclass(frozen=True)
class Encoder:
    """A vocabulary that was read from a file."""

    library: tokenizers.Tokenizer
    size: int  # number of ids, from 0
    source: str  # path of the file, for messages
    normalize: Callable[[str], str] = str  # applied before the library
    controls: frozenset[int] = frozenset()  # ids that no text has, such as start, end and padding
    unknown: int | None = None  # id of unknown text
    byte_ids: tuple[int, ...] = ()  # ids of the 256 bytes that unknown text is encoded as

    def encode(self, text: str) -> list[int]:
        """Encode a text.

        The library is called per text: for texts of labels, its threads cost more than they gain
        (20,000 texts of 20 characters: 0.23 s, with threads 0.41 s), and a process cannot fork
        after their use without a warning.

        Raises:
            UnsafeWeightsError: The tokenizer fails, because its file is inconsistent.
        """
        with library_errors(self.source):
            found = self.library.encode(self.normalize(text), add_special_tokens=False)
            ids: list[int] = found.ids
            if self.byte_ids and self.unknown in ids:
                return list(self._with_bytes(ids, found.tokens))
        return ids

    def _with_bytes(self, ids: list[int], tokens: list[str]) -> Iterator[int]:
        """Yield ids, and those of the bytes of unknown tokens, whose name is their text."""
        for i, token in zip(ids, tokens, strict=True):
            if i == self.unknown:
                yield from (self.byte_ids[byte] for byte in token.encode())
            else:
                yield i

    def decode(self, ids: Iterable[int]) -> str:
        """Convert ids below `size` back to text; control ids are dropped."""
        names = {i: f"<0x{byte:02X}>" for byte, i in enumerate(self.byte_ids)}
        with library_errors(self.source):
            tokens = [
                UNKNOWN_TEXT
                if i == self.unknown
                else names.get(i) or self.library.id_to_token(i) or ""
                for i in ids
                if i not in self.controls
            ]
            decoder = self.library.decoder
            text: str = decoder.decode(tokens) if decoder else " ".join(tokens)
        return text


@contextmanager
def library_errors(source: str) -> Iterator[None]:
    """Convert the library's exceptions to errors that name the file.

    It raises plain Exception for what it rejects, and for a failed assertion of its own a
    PanicException that is no Exception.
    """
    try:
        yield
    except ZeroshotError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = shortened(" ".join(str(error).split()), 200)
        raise UnsafeWeightsError(
            f"{source}: invalid or unsupported tokenizer ({type(error).__name__}: {reason}); "
            "download it again from its publisher, or update the tokenizers package",
            source=source,
        ) from error
