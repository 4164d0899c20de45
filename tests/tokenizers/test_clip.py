"""Token ids equal a slow plain encoder and the published ids."""

from __future__ import annotations

import gc
import html
import sys
import threading
import time
from itertools import pairwise

import ftfy
import numpy as np
import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st

from zeroshot.errors import InputError, TokenLimitError
from zeroshot.tokenizers import clip as module
from zeroshot.tokenizers.clip import END, START, ClipTokenizer, clean

# Words, entities, spaces, signs and anything else that Unicode has, alone and side by side
WORDS = (
    "a|Photo|don't|'S|&amp;|&lt;|&#39;|&amp;amp;lt;| |\t|\u00a0|\u3000|é|e\u0301|ﬁ|İ|ß|Σ|犬|😀"
    "|🇨🇭|9|½|...|--|_|“|â€™|\x1c|\x00|\u200b|&|;|\n|<|>|<|startoftext|>"
)
PIECES = st.one_of(
    st.sampled_from(WORDS.split("|")),
    st.text(max_size=6),
)
TEXTS = st.lists(PIECES, max_size=12).map("".join)


@pytest.fixture(scope="module")
def whole() -> ClipTokenizer:
    return ClipTokenizer()


def plain_clean(text: str) -> str:
    """Clean a text as clip/simple_tokenizer.py of openai/CLIP does, step by step."""
    text = ftfy.fix_text(text)
    text = html.unescape(html.unescape(text)).strip()
    return regex.sub(r"\s+", " ", text).strip().lower()


def plain_encode(text: str, tokenizer: ClipTokenizer) -> list[int]:
    """Byte-pair encoding as the paper of Sennrich et al. describes it: slow and obvious."""
    letters = module._map_bytes()[0]
    merges = [tuple(merge.split(" ")) for merge in module._merges()[: tokenizer.merges]]
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    symbols = [*letters.values(), *(letter + "</w>" for letter in letters.values())]
    symbols += ["".join(pair) for pair in merges]
    pattern = (
        r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
    )
    ids = []
    for piece in regex.findall(pattern, plain_clean(text), regex.IGNORECASE):
        if piece in (START, END):
            ids.append(tokenizer.start if piece == START else tokenizer.end)
            continue
        word = [letters[b] for b in piece.encode()]
        word[-1] += "</w>"
        while len(word) > 1:
            best = min(pairwise(word), key=lambda p: ranks.get(p, 10**9))
            if best not in ranks:
                break
            joined, i = [], 0
            while i < len(word):
                if i + 1 < len(word) and (word[i], word[i + 1]) == best:
                    joined.append("".join(best))
                    i += 2
                else:
                    joined.append(word[i])
                    i += 1
            word = joined
        ids += [symbols.index(symbol) for symbol in word]
    return ids


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        # as clip.tokenize of openai/CLIP gives them, without start and end
        ("a photo of a cat.", [320, 1125, 539, 320, 2368, 269]),
        ("hello world", [3306, 1002]),
        ("A  Diagram\n", [320, 22697]),
        ("", []),
    ],
)
def test_ids_equal_the_published_ones(whole: ClipTokenizer, text: str, ids: list[int]) -> None:
    assert whole.encode(text) == ids


def test_start_and_end_are_the_last_two_ids(whole: ClipTokenizer) -> None:
    assert (whole.vocab_size, whole.start, whole.end) == (49_408, 49_406, 49_407)
    assert whole("x")[0, [0, 2]].tolist() == [49_406, 49_407]


@given(TEXTS)
@example("<|startoftext|>a<|ENDOFTEXT|>")
@example("aaaa aaaaa bananana")
@example("\ud800 lone surrogate")
def test_ids_equal_a_slow_plain_encoder(text: str) -> None:
    small = ClipTokenizer(merges=3_000)
    assert small.encode(text) == plain_encode(text, small)


@given(st.text(alphabet="abn", min_size=1, max_size=40))
def test_words_of_few_letters_merge_in_the_reference_order(word: str) -> None:
    small = ClipTokenizer(merges=20_000)
    assert small.encode(word) == plain_encode(word, small)


@given(TEXTS)
def test_cleaning_equals_the_plain_steps(text: str) -> None:
    assert clean(text) == plain_clean(text)


@given(st.text(alphabet=st.characters(min_codepoint=0, max_codepoint=126), max_size=40))
def test_the_ascii_fast_path_equals_the_slow_path(text: str) -> None:
    assert clean(text) == plain_clean(text)


@given(TEXTS.filter(lambda text: "<|" not in plain_clean(text)))
def test_decoding_gives_the_cleaned_text_back(text: str) -> None:
    whole = ClipTokenizer(merges=5_000)
    decoded = whole.decode(whole.encode(text))
    assert regex.sub(r"\s", "", decoded) == regex.sub(r"\s", "", clean(text))


@given(st.text(alphabet=st.characters(codec=None), max_size=30))
def test_any_text_is_tokenized(text: str) -> None:
    rows = ClipTokenizer(merges=100).rows([text], truncate=True)
    assert 2 <= len(rows[0]) <= 77


def test_decoding_stops_at_the_end_token(whole: ClipTokenizer) -> None:
    row = whole("a cat")[0]
    assert whole.decode(row) == "<|startoftext|> a cat <|endoftext|>"


@pytest.mark.parametrize("bad", [-1, 49_408])
def test_decoding_rejects_ids_outside_the_vocabulary(whole: ClipTokenizer, bad: int) -> None:
    with pytest.raises(InputError, match=f"id {bad} is outside the vocabulary of 49408"):
        whole.decode([320, bad])


def test_rows_are_padded_with_zeros_to_the_context_length(whole: ClipTokenizer) -> None:
    ids = whole(["a cat", "a"])
    assert ids.shape == (2, 77)
    assert ids.dtype == np.int64
    assert ids[0, :5].tolist() == [49_406, 320, 2368, 49_407, 0]
    assert not ids[1, 3:].any()


def test_full_rows_equal_the_padded_ids() -> None:
    full = ClipTokenizer(context_length=6, full_rows=True)
    texts = ["a cat", "a", "a cat on a mat"]

    rows = full.rows(texts, truncate=True)

    assert rows == full(texts, truncate=True).tolist()
    assert rows == ClipTokenizer(context_length=6)(texts, truncate=True).tolist()
    assert rows[0] == [49_406, 320, 2368, 49_407, 0, 0]
    assert repr(full).endswith("merges=48894, full_rows=True)")


def test_full_rows_must_be_a_bool() -> None:
    with pytest.raises(InputError, match="full_rows"):
        ClipTokenizer(full_rows=1)  # type: ignore[arg-type]


PLAIN = st.text(st.sampled_from("aEe .'<|>4\n\t\x00&é"), max_size=12)


@given(st.lists(PLAIN | st.sampled_from(["E", "e", " E ", "", "<|endoftext|>", "A CAT"])))
def test_a_batch_of_texts_equals_single_encoding(whole: ClipTokenizer, texts: list[str]) -> None:
    rows = [[whole.start, *whole.encode(text), whole.end] for text in texts]

    assert whole.rows(texts) == rows


def test_encoding_many_texts_restores_garbage_collection(whole: ClipTokenizer) -> None:
    assert gc.isenabled()
    whole.rows(["a cat"] * 2000)
    assert gc.isenabled()
    with pytest.raises(TokenLimitError):
        whole.rows(["a cat " * 99] * 2000)
    assert gc.isenabled()
    gc.disable()
    try:
        whole.rows(["a cat"] * 2000)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_no_texts_give_no_rows(whole: ClipTokenizer) -> None:
    assert whole([]).shape == (0, 77)


def test_a_text_of_exactly_the_token_limit_is_accepted(whole: ClipTokenizer) -> None:
    row = whole(" ".join(["cat"] * 75))[0]
    assert row[0] == whole.start
    assert row[76] == whole.end
    assert (row[1:76] == 2368).all()


def test_a_text_over_the_token_limit_is_named_with_its_count(whole: ClipTokenizer) -> None:
    text = " ".join(["cat"] * 76)
    with pytest.raises(TokenLimitError, match=r"'cat cat .* has 78 tokens.* reads 77") as caught:
        whole(["a cat", text])
    assert caught.value.text == text
    assert caught.value.tokens == 78


def test_truncation_keeps_the_end_token_in_the_last_place(whole: ClipTokenizer) -> None:
    row = whole(" ".join(["cat"] * 100), truncate=True)[0]
    assert row[76] == whole.end
    assert (row[1:76] == 2368).all()


def test_a_short_context_is_respected() -> None:
    rows = ClipTokenizer(context_length=5)("a cat on a mat", truncate=True)
    assert rows.tolist() == [[49_406, 320, 2368, 525, 49_407]]


@pytest.mark.parametrize("options", [{"merges": -1}, {"merges": 48_895}, {"context_length": 2}])
def test_invalid_sizes_are_rejected(options: dict[str, int]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(options))}="):
        ClipTokenizer(**options)


@pytest.mark.parametrize("text", [None, 5, b"cat", ["cat"]])
def test_a_value_that_is_not_text_is_rejected(whole: ClipTokenizer, text: object) -> None:
    with pytest.raises(InputError, match=f"expected text, got {type(text).__name__}"):
        whole.encode(text)  # type: ignore[arg-type]


def test_every_id_has_its_own_symbol(whole: ClipTokenizer) -> None:
    symbols = module._symbols(whole.merges)

    assert len(set(symbols)) == len(symbols) == whole.vocab_size


def test_fewer_merges_make_a_dense_smaller_vocabulary() -> None:
    bare, some = ClipTokenizer(merges=0), ClipTokenizer(merges=1_000)
    assert bare.encode("cat") == [66, 64, 256 + 83]  # c, a, word-final t: ! is 0
    assert len(some.encode("cat")) < 3
    assert bare.decode(bare.encode("cat")) == "cat"
    assert max(some.encode("the quick brown fox")) < some.start == 1_512


def test_the_word_cache_is_bounded_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WORD_CACHE", 10)
    small = ClipTokenizer(merges=100)
    for n in range(200):
        small.encode(f"word{n}")
        assert len(small._words) <= 10


def test_the_word_cache_skips_very_long_words() -> None:
    small = ClipTokenizer(merges=100)
    small.encode("x" * 100_000)
    assert sum(map(len, small._words)) < 1_000


def test_words_are_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    small = ClipTokenizer(merges=100)
    merged: list[list[str]] = []
    merge = small._merge
    monkeypatch.setattr(small, "_merge", lambda symbols: merged.append(symbols) or merge(symbols))
    small.encode("cat cat cat")
    small.encode("cat")
    assert len(merged) == 1


def test_threads_get_correct_ids_while_the_cache_is_cleared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "WORD_CACHE", 3)
    small = ClipTokenizer(merges=500)
    sentences = [f"word{n} photo{n % 7} of a cat{n % 5}" for n in range(60)]
    wanted = [ClipTokenizer(merges=500).encode(s) for s in sentences]
    wrong: list[object] = []

    def work() -> None:
        try:
            for _ in range(15):
                found = [small.encode(s) for s in sentences]
                if found != wanted:
                    wrong.append(found)
        except Exception as error:
            wrong.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


def test_clearing_the_cache_between_store_and_use_is_safe() -> None:
    class Forgetful(module._WordCache):
        def __setitem__(self, key: str, value: tuple[int, ...]) -> None:
            """Store, and be cleared at once by someone else."""

    small = ClipTokenizer(merges=100)
    small._words = Forgetful(small._encode_word, (small.end, -1, small.start))
    assert small.encode("cat") == ClipTokenizer(merges=100).encode("cat")


@pytest.mark.parametrize("text", ["a" * 200_000, "ab" * 100_000, "é" * 50_000], ids=lambda t: t[:3])
def test_a_very_long_word_takes_at_most_8_seconds(text: str) -> None:
    started = time.perf_counter()
    ClipTokenizer().encode(text)
    assert time.perf_counter() - started < 8  # the repeated passes of the reference take hours
