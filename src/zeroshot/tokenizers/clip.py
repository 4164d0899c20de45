"""CLIP's tokenizer: lower-cased byte-pair encoding with start and end tokens.

The ids equal those of `clip/simple_tokenizer.py` of openai/CLIP (a test compares thousands of
texts). The implementation differs: words are encoded once and cached, and plain ASCII skips the
Unicode repair that would not change it.
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

from zeroshot.arguments import count, flag, integer, iterator
from zeroshot.collector import paused
from zeroshot.errors import InputError, short_errors_in, shortened
from zeroshot.resources import PACKAGE
from zeroshot.spec import CLIP_MERGES, LIMITS
from zeroshot.tokenizers.base import limit_rows, pad_rows

if TYPE_CHECKING:
    import regex
    from numpy.typing import NDArray

MERGES = CLIP_MERGES
SINGLES = 512  # one-byte symbols, each also in a word-final form; they have the first ids
CONTEXT_LENGTH = 77  # tokens, including start and end; Radford et al. 2021, section 2.4
PAD = 0  # OpenAI's code fills rows with this id, which is also that of "!"
START, END = "<|startoftext|>", "<|endoftext|>"
WORD_CACHE = 65_536  # distinct words cached per tokenizer, about 10 MB
SEPARATOR = "E"  # separates concatenated texts; not a word, because words are in lower case
SEPARATOR_ID = -1  # id of the separator, between the end of one text and the start of the next
MANY = 1000  # number of texts from which garbage collection is paused during encoding
LONGEST_CACHED = 64  # characters; longer words are not cached, so memory is bounded
WORD_PATTERN = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d"
    r"|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)


@short_errors_in
class ClipTokenizer:
    """CLIP's tokenizer.

    Call it with texts for padded rows of ids, or use `encode` and `decode` for one text.

    Args:
        context_length: Number of tokens per row, including start and end; at least 3.
        merges: Use only the first merges of the vocabulary (for small models). Ids stay contiguous:
            256 bytes, 256 word-final bytes, the merges, start, end.
        full_rows: Pad all rows to the context length, for text towers that attend to the padding
            (MobileCLIP S0 to S4 and L/14).

    Raises:
        InputError: An argument is out of range.

    Example:
        >>> tokenizer = zeroshot.ClipTokenizer()
        >>> tokenizer("a cat").shape
        (1, 77)
    """

    def __init__(
        self,
        *,
        context_length: int = CONTEXT_LENGTH,
        merges: int = MERGES,
        full_rows: bool = False,
    ) -> None:
        longest = LIMITS["context_length"]
        self.context_length = count(
            "context_length", context_length, 3, ": start, one token and end", most=longest
        )
        self.merges = count("merges", merges, 0, most=MERGES)
        self.full_rows = flag("full_rows", full_rows)
        self._words = _WordCache(self._encode_word, (self.end, SEPARATOR_ID, self.start))

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
        """Id of the end-of-text token.

        It is the largest id, by which the text tower finds it.
        """
        return self.vocab_size - 1

    @property
    def special_tokens(self) -> int:
        """Number of tokens of a row that are not those of its text: start and end."""
        return 2

    def __repr__(self) -> str:
        full = ", full_rows=True" if self.full_rows else ""
        return f"ClipTokenizer(context_length={self.context_length}, merges={self.merges}{full})"

    def encode(self, text: str) -> list[int]:
        """Encode one text, without start, end or padding.

        Args:
            text: Text of any length.

        Returns:
            Token ids.

        Raises:
            InputError: `text` is not a str.

        Example:
            >>> zeroshot.ClipTokenizer().encode("a photo of a cat.")
            [320, 1125, 539, 320, 2368, 269]
        """
        if not isinstance(text, str):
            raise InputError(
                f"expected text, got {type(text).__name__} {shortened(repr(text))}; pass a str"
            )
        words = text.lower().split() if is_plain(text) else clean(text).split(" ")
        return list(chain.from_iterable(map(self._words.__getitem__, words)))

    def decode(self, ids: Iterable[int]) -> str:
        """Convert ids back to text, up to the first end token.

        Start and end tokens are written as text; padding after the end is dropped.

        Args:
            ids: Token ids.

        Returns:
            The text, in lower case.

        Raises:
            InputError: An id is outside the vocabulary.

        Example:
            >>> tokenizer = zeroshot.ClipTokenizer()
            >>> tokenizer.decode(tokenizer.encode("A cat"))
            'a cat'
        """
        symbols = _symbols(self.merges)
        text: list[str] = []
        for given in iterator("ids", ids):
            i = integer(given)
            if i is None or not 0 <= i < self.vocab_size:
                raise InputError(
                    f"id {shortened(repr(given))} is outside the vocabulary of {self.vocab_size} "
                    "ids; pass ids of this tokenizer"
                )
            text.append(symbols[i])
            if i == self.end:
                break
        letters = _map_bytes()[1]
        raw = bytearray()
        for symbol in text:
            word_final = symbol.endswith("</w>")
            raw += bytes(letters[c] for c in symbol.removesuffix("</w>"))
            if word_final or symbol in (START, END):
                raw += b" "
        return raw.decode("utf-8", errors="replace").strip()

    def __call__(self, texts: str | Iterable[str], *, truncate: bool = False) -> NDArray[np.int64]:
        """Encode texts as the text tower reads them: int64 [n, context_length].

        Each row contains the start token, the text, the end token and zeros, as in OpenAI's code.

        Args:
            texts: One text, or several.
            truncate: Cut texts that are too long; the last token of such a row is the end token.

        Returns:
            int64 [n, context_length].

        Raises:
            InputError: `texts` is not text.
            TokenLimitError: A text exceeds the context length and `truncate` is false.

        Example:
            >>> tokenizer = zeroshot.ClipTokenizer()
            >>> tokenizer(["a cat", "a dog"])[:, :4].tolist()
            [[49406, 320, 2368, 49407], [49406, 320, 1929, 49407]]
        """
        rows = self.rows([texts] if isinstance(texts, str) else texts, truncate=truncate)
        return pad_rows(rows, self.context_length, PAD)

    def rows(self, texts: Iterable[str], *, truncate: bool = False) -> list[list[int]]:
        """Encode texts as lists of ids, including start and end.

        Rows have no padding, unless the tokenizer was created with `full_rows`.

        Args:
            texts: Texts to encode.
            truncate: Cut texts that are too long; the last token of such a row is the end token.

        Returns:
            One list of ids per text.

        Raises:
            InputError: `texts` is not a list of text.
            TokenLimitError: A text exceeds the context length and `truncate` is false.

        Example:
            >>> tokenizer = zeroshot.ClipTokenizer()
            >>> tokenizer.rows(["a cat"])
            [[49406, 320, 2368, 49407]]
        """
        texts, truncate = list(iterator("texts", texts)), flag("truncate", truncate)
        start, end = self.start, self.end
        with paused() if len(texts) >= MANY else nullcontext():
            rows = self._plain_rows(texts)
            if rows is None:
                rows = [[start, *self.encode(text), end] for text in texts]
        limit_rows(texts, rows, self.context_length, [end], truncate=truncate)
        if self.full_rows:
            rows = [row + [PAD] * (self.context_length - len(row)) for row in rows]
        return rows

    def _plain_rows(self, texts: Sequence[str]) -> list[list[int]] | None:
        """Encode all texts as one string with separators.

        Returns None unless all texts are plain.
        """
        try:
            joined = "\n".join(texts)
        except TypeError:  # one is not a str; `encode` raises an error that names it
            return None
        lines = joined.count("\n") + 1
        if lines != len(texts) or not is_plain(joined.replace("\n", " ")):
            return None
        separated = joined.lower().replace("\n", f" {SEPARATOR} ")
        words = [SEPARATOR, *separated.split(), SEPARATOR]
        ids = list(chain.from_iterable(map(self._words.__getitem__, words)))
        rows: list[list[int]] = []
        first = ids.index(SEPARATOR_ID) + 1
        for _ in texts:
            last = ids.index(SEPARATOR_ID, first)
            rows.append(ids[first:last])
            first = last + 1
        return rows

    def _encode_word(self, word: str) -> tuple[int, ...]:
        """Encode text that contains no space."""
        ids: list[int] = []
        letters = _map_bytes()[0]
        for piece in _word_pattern().findall(word):
            if piece in (START, END):
                ids.append(self.start if piece == START else self.end)
                continue
            ids.extend(self._merge([letters[b] for b in piece.encode("utf-8")]))
        return tuple(ids)

    def _merge(self, symbols: list[str]) -> list[int]:
        """Merge the best-ranked adjacent pair until none is left, in O(n log n).

        A merge can only create pairs of a higher rank. So a heap ordered by rank, then position,
        merges in the same order as repeated passes over the word. No two merges create the same
        symbol, so the rank of the last merge gives the symbol's id.
        """
        ranks, singles = _ranks(self.merges), _map_singles()
        symbols[-1] += "</w>"
        ids = [singles[symbol] for symbol in symbols]
        after = [*range(1, len(symbols)), -1]  # linked list of positions: next and previous
        before = list(range(-1, len(symbols) - 1))
        heap: list[tuple[int, int, str, str]] = []

        def push_pair(left: int) -> None:
            if left >= 0 and (right := after[left]) >= 0:
                rank = ranks.get(f"{symbols[left]} {symbols[right]}")
                if rank is not None:
                    heapq.heappush(heap, (rank, left, symbols[left], symbols[right]))

        for position in range(len(symbols)):
            push_pair(position)
        while heap:
            rank, left, first, second = heapq.heappop(heap)
            right = after[left]
            if right < 0 or symbols[left] != first or symbols[right] != second:
                continue  # one of the two was merged with another neighbor meanwhile
            symbols[left] = first + second
            symbols[right] = ""
            ids[left] = SINGLES + rank
            after[left] = after[right]
            if after[right] >= 0:
                before[after[right]] = left
            push_pair(before[left])
            push_pair(left)
        return [i for i, symbol in zip(ids, symbols, strict=True) if symbol]


class _WordCache(dict[str, tuple[int, ...]]):
    """Ids by word, encoded on first lookup and cached, up to WORD_CACHE words.

    It is a dict with `__missing__`, so that looking up a cached word executes no Python code.
    """

    def __init__(
        self, encode: Callable[[str], tuple[int, ...]], separator: tuple[int, ...]
    ) -> None:
        super().__init__()
        self._encode, self._separator = encode, separator

    def __missing__(self, word: str) -> tuple[int, ...]:
        encoded = self._separator if word == SEPARATOR else self._encode(word)
        if len(word) <= LONGEST_CACHED:
            if len(self) >= WORD_CACHE:
                self.clear()
            self[word] = encoded
        return encoded  # no second lookup: another thread may have cleared the cache


def is_plain(text: str) -> bool:
    """Return whether cleaning a text only changes case and white space."""
    return text.isascii() and text.isprintable() and "&" not in text


def clean(text: str) -> str:
    """Repair Unicode, unescape HTML, collapse white space and lower the case."""
    if not is_plain(text):
        import ftfy  # takes 60 ms to import, and most labels do not need it

        # ftfy, then unescape twice, as in the reference: some pages were escaped twice
        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    collapsed: str = _space_pattern().sub(" ", text.strip())
    return collapsed.strip().lower()


@cache
def _space_pattern() -> regex.Pattern[str]:
    import regex

    return regex.compile(r"\s+")


@cache
def _word_pattern() -> regex.Pattern[str]:
    # `regex`, not `re`, which does not support \p{L}
    import regex

    return regex.compile(WORD_PATTERN, regex.IGNORECASE)


@cache
def _map_bytes() -> tuple[dict[int, str], dict[str, int]]:
    """Map each byte to the printable letter of the vocabulary file, and back.

    Printable Latin-1 bytes map to themselves, the other 68 to the letters from U+0100 on.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    printable += range(ord("®"), ord("ÿ") + 1)
    letters = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in letters)
    letters |= {byte: chr(256 + n) for n, byte in enumerate(others)}
    return letters, {letter: byte for byte, letter in letters.items()}


@cache
def _merges() -> tuple[str, ...]:
    """Return the merges in order of rank, as the file writes them: "first second"."""
    text = gzip.decompress((PACKAGE / "merges.txt.gz").read_bytes()).decode("utf-8")
    return tuple(text.split("\n"))


@cache
def _ranks(merges: int) -> dict[str, int]:
    # keyed by line: pairs would take five times as long to build and twice the memory
    """Return the rank of each merge, keyed by its line in the file."""
    return {merge: rank for rank, merge in enumerate(_merges()[:merges])}


@cache
def _map_singles() -> dict[str, int]:
    letters = list(_map_bytes()[0].values())
    return {symbol: i for i, symbol in enumerate([*letters, *(f"{a}</w>" for a in letters)])}


@cache
def _symbols(merges: int) -> list[str]:
    """Return the symbol of each id."""
    merged = (merge.replace(" ", "") for merge in _merges()[:merges])
    return [*_map_singles(), *merged, START, END]
