"""Text becomes the ids CLIP was trained on: lower-cased byte-pair encoding, start and end added.

Equal, id for id, to `clip/simple_tokenizer.py` of openai/CLIP (a test compares thousands of texts).
Different inside: words are encoded once and remembered, and plain ASCII skips the repair of
broken Unicode that would leave it unchanged.
"""

from __future__ import annotations

import gzip
import heapq
import html
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from zeroshot.collector import paused
from zeroshot.errors import InputError, TokenLimitError, shortened
from zeroshot.resources import PACKAGE
from zeroshot.spec import CLIP_MERGES

if TYPE_CHECKING:
    import regex
    from numpy.typing import NDArray

MERGES = CLIP_MERGES
SINGLES = 512  # symbols of one byte, each also as the end of a word; their ids come first
CONTEXT_LENGTH = 77  # tokens, with start and end; paper, section 2.4
START, END = "<|startoftext|>", "<|endoftext|>"
WORD_CACHE = 65_536  # distinct words remembered per tokenizer, about 10 MB
MARK = "E"  # stands between texts laid end to end; no word, since those are in lower case
BETWEEN = -1  # what it becomes, between the end of one text and the start of the next
MANY = 1000  # texts from which the garbage collector waits until they are encoded
LONGEST_REMEMBERED = 64  # characters; longer words are encoded anew, so memory stays bounded
WORD_PATTERN = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d"
    r"|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)


class ClipTokenizer:
    """CLIP's tokenizer.

    Call it with sentences to get rows of ids, or use `encode` and `decode` for bare ids.
    `merges` shortens the vocabulary to the first so many merges (for small models); ids are
    then dense: 256 bytes, 256 word-final bytes, the merges, start, end.
    """

    def __init__(self, *, context_length: int = CONTEXT_LENGTH, merges: int = MERGES) -> None:
        if not 0 <= merges <= MERGES:
            raise InputError(f"merges={merges!r} must lie between 0 and {MERGES}")
        if context_length < 3:
            raise InputError(
                f"context_length={context_length!r} leaves no room for text between start and end"
            )
        self.context_length = context_length
        self.merges = merges
        self._words = _Words(self._encode_word, (self.end, BETWEEN, self.start))

    @property
    def vocab_size(self) -> int:
        """Number of ids: bytes, word-final bytes, merges, start and end."""
        return SINGLES + self.merges + 2

    @property
    def start(self) -> int:
        """Id of the start-of-text token."""
        return self.vocab_size - 2

    @property
    def end(self) -> int:
        """Id of the end-of-text token: the largest one, which is how the text tower finds it."""
        return self.vocab_size - 1

    def __repr__(self) -> str:
        return f"ClipTokenizer(context_length={self.context_length}, merges={self.merges})"

    def encode(self, text: str) -> list[int]:
        """Encode one text, without start, end or padding.

        >>> ClipTokenizer().encode("a photo of a cat.")
        [320, 1125, 539, 320, 2368, 269]
        """
        if not isinstance(text, str):
            raise InputError(f"expected text, got {type(text).__name__} {text!r}; pass a str")
        words = text.lower().split() if is_plain(text) else clean(text).split(" ")
        return list(chain.from_iterable(map(self._words.__getitem__, words)))

    def decode(self, ids: Iterable[int]) -> str:
        """Turn ids back into text; start and end are written out, padding after the end dropped."""
        symbols = _symbols(self.merges)
        text: list[str] = []
        for i in ids:
            if not 0 <= i < self.vocab_size:
                raise InputError(f"id {i} is outside the vocabulary of {self.vocab_size} ids")
            text.append(symbols[i])
            if i == self.end:
                break
        letters = _letter_of_byte()[1]
        raw = bytearray()
        for symbol in text:
            word_final = symbol.endswith("</w>")
            raw += bytes(letters[c] for c in symbol.removesuffix("</w>"))
            if word_final or symbol in (START, END):
                raw += b" "
        return raw.decode("utf-8", errors="replace").strip()

    def __call__(self, texts: str | Iterable[str], *, truncate: bool = False) -> NDArray[np.int64]:
        """Encode sentences as the text tower reads them.

        Returns int64 [n, context_length]: start, the text, end, then zeros as OpenAI pads.
        Raises TokenLimitError for a text that does not fit; with `truncate` it is cut instead and
        the end token kept in the last place.
        """
        rows = self.rows([texts] if isinstance(texts, str) else texts, truncate=truncate)
        ids = np.zeros((len(rows), self.context_length), dtype=np.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
        return ids

    def rows(self, texts: Iterable[str], *, truncate: bool = False) -> list[list[int]]:
        """Encode sentences as lists of their true length, start and end included."""
        texts = list(texts)
        limit = self.context_length
        start, end = self.start, self.end
        with paused() if len(texts) >= MANY else nullcontext():
            rows = self._plain_rows(texts)
            if rows is None:
                rows = [[start, *self.encode(text), end] for text in texts]
        for text, row in zip(texts, rows, strict=True):
            if len(row) > limit:
                if not truncate:
                    raise TokenLimitError(
                        f"{shortened(text)!r} has {len(row)} tokens with start and end, the "
                        f"model reads {limit}; shorten it, or cut it: encode_text(truncate=True), "
                        "in a shell encode --truncate",
                        text=text,
                        tokens=len(row),
                    )
                row[limit - 1 :] = [end]
        return rows

    def _plain_rows(self, texts: Sequence[str]) -> list[list[int]] | None:
        """Encode texts laid end to end, with a mark between them; None unless all are plain."""
        try:
            joined = "\n".join(texts)
        except TypeError:  # one is not a str, and `encode` says which
            return None
        lines = joined.count("\n") + 1
        if lines != len(texts) or not is_plain(joined.replace("\n", " ")):
            return None
        apart = joined.lower().replace("\n", f" {MARK} ")
        words = [MARK, *apart.split(), MARK]
        ids = list(chain.from_iterable(map(self._words.__getitem__, words)))
        rows: list[list[int]] = []
        first = ids.index(BETWEEN) + 1
        for _ in texts:
            last = ids.index(BETWEEN, first)
            rows.append(ids[first:last])
            first = last + 1
        return rows

    def _encode_word(self, word: str) -> tuple[int, ...]:
        """Encode what stands between two spaces."""
        ids: list[int] = []
        letters = _letter_of_byte()[0]
        for piece in _word_pattern().findall(word):
            if piece in (START, END):
                ids.append(self.start if piece == START else self.end)
                continue
            ids.extend(self._merge([letters[b] for b in piece.encode("utf-8")]))
        return tuple(ids)

    def _merge(self, symbols: list[str]) -> list[int]:
        """Join the best-ranked neighbours until none is left; n log n, also for very long words.

        A merge can only create pairs that rank after it, so a heap ordered by rank, then place,
        joins in the same order as repeated passes over the word would. No two merges make the
        same symbol, so the rank of the last one tells its id.
        """
        ranks, singles = _ranks(self.merges), _id_of_single()
        symbols[-1] += "</w>"
        ids = [singles[symbol] for symbol in symbols]
        after = [*range(1, len(symbols)), -1]  # linked list over places: next and previous
        before = list(range(-1, len(symbols) - 1))
        heap: list[tuple[int, int, str, str]] = []

        def offer(left: int) -> None:
            if left >= 0 and (right := after[left]) >= 0:
                rank = ranks.get(f"{symbols[left]} {symbols[right]}")
                if rank is not None:
                    heapq.heappush(heap, (rank, left, symbols[left], symbols[right]))

        for place in range(len(symbols)):
            offer(place)
        while heap:
            rank, left, first, second = heapq.heappop(heap)
            right = after[left]
            if right < 0 or symbols[left] != first or symbols[right] != second:
                continue  # one of the two was joined to another neighbour meanwhile
            symbols[left] = first + second
            symbols[right] = ""
            ids[left] = SINGLES + rank
            after[left] = after[right]
            if after[right] >= 0:
                before[after[right]] = left
            offer(before[left])
            offer(left)
        return [i for i, symbol in zip(ids, symbols, strict=True) if symbol]


class _Words(dict[str, tuple[int, ...]]):
    """Ids by word, encoded on first sight and remembered, up to WORD_CACHE words.

    A dict with `__missing__`, so that looking up a known word runs no Python.
    """

    def __init__(self, encode: Callable[[str], tuple[int, ...]], mark: tuple[int, ...]) -> None:
        super().__init__()
        self._encode, self._mark = encode, mark

    def __missing__(self, word: str) -> tuple[int, ...]:
        encoded = self._mark if word == MARK else self._encode(word)
        if len(word) <= LONGEST_REMEMBERED:
            if len(self) >= WORD_CACHE:
                self.clear()
            self[word] = encoded
        return encoded  # not looked up again: another thread may have cleared the words


def is_plain(text: str) -> bool:
    """Say whether cleaning a text means no more than lower case and single spaces."""
    return text.isascii() and text.isprintable() and "&" not in text


def clean(text: str) -> str:
    """Repair broken Unicode, resolve HTML entities, collapse white space, lower the case."""
    if not is_plain(text):
        import ftfy  # 60 ms to import, and most labels never need it

        # ftfy, twice unescaped: as the reference does, for pages that were escaped twice
        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    collapsed: str = _space_pattern().sub(" ", text.strip())
    return collapsed.strip().lower()


@cache
def _space_pattern() -> regex.Pattern[str]:
    import regex

    return regex.compile(r"\s+")


@cache
def _word_pattern() -> regex.Pattern[str]:
    # `regex`, not `re`: only it knows \p{L}
    import regex

    return regex.compile(WORD_PATTERN, regex.IGNORECASE)


@cache
def _letter_of_byte() -> tuple[dict[int, str], dict[str, int]]:
    """Give each byte a printable letter, as the vocabulary file writes it, and the way back.

    Printable Latin-1 bytes stand for themselves, the other 68 for the letters from U+0100 on.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    printable += range(ord("®"), ord("ÿ") + 1)
    letters = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in letters)
    letters |= {byte: chr(256 + n) for n, byte in enumerate(others)}
    return letters, {letter: byte for byte, letter in letters.items()}


@cache
def _merges() -> tuple[str, ...]:
    """Return the merges in the order of their ranks, as the file writes them: "first second"."""
    text = gzip.decompress((PACKAGE / "merges.txt.gz").read_bytes()).decode("utf-8")
    return tuple(text.split("\n"))


@cache
def _ranks(merges: int) -> dict[str, int]:
    # by the line itself: pairs would take five times as long to make, and twice the memory
    return {merge: rank for rank, merge in enumerate(_merges()[:merges])}


@cache
def _id_of_single() -> dict[str, int]:
    letters = list(_letter_of_byte()[0].values())
    return {symbol: i for i, symbol in enumerate([*letters, *(f"{a}</w>" for a in letters)])}


@cache
def _symbols(merges: int) -> list[str]:
    """Return what each id stands for."""
    merged = (merge.replace(" ", "") for merge in _merges()[:merges])
    return [*_id_of_single(), *merged, START, END]
