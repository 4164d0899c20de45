"""Tokenizer files are found and read by name; what cannot be read is an error that says why."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import run_python
from tests.tokenizers import published
from tests.tokenizers.training import read_tokenizer, texts
from zeroshot.errors import IncompatibleWeights, MissingPackage, UnsafeWeightsError, WeightsError
from zeroshot.spec import TokenizerConfig
from zeroshot.tokenizers import tokenizer_files as module
from zeroshot.tokenizers.tokenizer_files import build_tokenizer, find_tokenizer
from zeroshot.weight_files import TOKENIZERS

CONFIG = TokenizerConfig(64, "canonicalize", end=1, pad=1, full_rows=True)
BERT = TokenizerConfig(52, start=2, end=3)
VOCABULARY = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\ncat\n"


@pytest.fixture
def folder(tmp_path: Path, trained: dict[str, bytes]) -> Path:
    """A folder with every kind of tokenizer file."""
    (tmp_path / "spiece.model").write_bytes(trained["siglip"])
    (tmp_path / "sentencepiece.bpe.model").write_bytes(trained["xlm-r"])
    (tmp_path / "tokenizer.model").write_bytes(trained["gemma"])
    (tmp_path / "tokenizer.json").write_bytes(published.written("siglip", trained["siglip"]))
    (tmp_path / "vocab.txt").write_bytes(VOCABULARY)
    return tmp_path


def test_sentencepiece_models_are_found_first(folder: Path) -> None:
    for name in TOKENIZERS:
        assert find_tokenizer(folder) == folder / name
        (folder / name).unlink()

    assert find_tokenizer(folder) is None
    assert find_tokenizer(folder / "missing") is None
    (folder / "vocab.json").touch()
    assert find_tokenizer(folder) is None
    (folder / "merges.txt").touch()
    assert find_tokenizer(folder) == folder / "vocab.json"


def test_a_model_and_its_tokenizer_json_give_the_same_rows(folder: Path) -> None:
    tried = [text for n, text in enumerate(texts(2000)) if n % 4 < 2]
    both = [read_tokenizer(folder / name, CONFIG) for name in ("spiece.model", "tokenizer.json")]

    first, second = (tokenizer(tried, truncate=True).tolist() for tokenizer in both)
    assert first == second


def test_fairseq_ids_apply_to_sentencepiece_models_only(
    folder: Path, trained: dict[str, bytes]
) -> None:
    config = TokenizerConfig(77, "whitespace", start=0, end=2, pad=1, piece_ids="fairseq")
    (folder / "tokenizer.json").write_bytes(published.written("xlm-r", trained["xlm-r"]))
    names = ("sentencepiece.bpe.model", "tokenizer.json")
    model, converted = (read_tokenizer(folder / name, config) for name in names)

    tried = [text for n, text in enumerate(texts(2000)) if n % 4 < 2]
    assert model.rows(tried, truncate=True) == converted.rows(tried, truncate=True)
    assert converted.vocab_size == model.vocab_size + 1  # <mask>


def test_bert_lowers_the_case_on_request(folder: Path) -> None:
    path = folder / "vocab.txt"

    assert read_tokenizer(path, BERT).rows(["A cat"]) == [[2, 4, 5, 3]]
    kept = TokenizerConfig(52, start=2, end=3, lowercase=False)
    assert read_tokenizer(path, kept).rows(["A cat"]) == [[2, 1, 5, 3]]


def test_a_tokenizer_is_built_from_bytes_without_a_file(trained: dict[str, bytes]) -> None:
    tokenizer = build_tokenizer(trained["siglip"], Path("a.safetensors: spiece.model"), CONFIG)

    assert tokenizer.decode(tokenizer(["A photo of the cat!"])[0]) == "a photo of the cat"
    with pytest.raises(UnsafeWeightsError, match=r"^a\.safetensors: vocab\.txt: expected BERT's"):
        build_tokenizer(b"", Path("a.safetensors: vocab.txt"), CONFIG)


def test_more_ids_than_the_text_tower_reads_are_an_error(folder: Path) -> None:
    path = folder / "vocab.txt"

    assert read_tokenizer(path, BERT, vocab_size=6).vocab_size == 6
    with pytest.raises(IncompatibleWeights, match="at most 5 ids, which the text tower reads, got"):
        read_tokenizer(path, BERT, vocab_size=5)


def test_vocabulary_of_far_fewer_ids_than_the_text_tower_reads_is_that_of_another_model(
    folder: Path,
) -> None:
    path = folder / "vocab.txt"

    assert read_tokenizer(path, BERT, vocab_size=29).vocab_size == 6
    with pytest.raises(IncompatibleWeights, match=r"tokenizer of about 31 ids, .*, got one of 6;"):
        read_tokenizer(path, BERT, vocab_size=31)
    with pytest.raises(IncompatibleWeights, match="got ids up to 6; use the tokenizer file of"):
        read_tokenizer(path, TokenizerConfig(52, end=6))


@pytest.mark.parametrize(
    ("file", "config", "what"),
    [
        ("vocab.txt", TokenizerConfig(52, start=4, end=3), "start id 4 to be a special token"),
        ("vocab.txt", TokenizerConfig(52, start=2, end=5), "end id 5 to be a special token"),
        ("tokenizer.json", TokenizerConfig(52, end=9), "end id 9 to be a special token"),
        ("spiece.model", TokenizerConfig(52, end=9), "end id 9 to be a special token"),
    ],
)
def test_start_and_end_that_are_words_of_the_vocabulary_are_an_error(
    folder: Path, file: str, config: TokenizerConfig, what: str
) -> None:
    """The ids of another vocabulary would change every embedding."""
    with pytest.raises(IncompatibleWeights, match=what):
        read_tokenizer(folder / file, config)


def test_a_missing_package_is_an_error_that_names_file_and_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)

    for name in ("spiece.model", "tokenizer.json", "vocab.txt"):
        with pytest.raises(MissingPackage) as caught:
            read_tokenizer(folder / name, CONFIG)
        text = str(caught.value)
        assert text.startswith(f"{folder / name}: reading a tokenizer requires the tokenizers pack")
        assert "pip install 'zeroshot-clip[tokenizers]'" in text


def test_importing_the_tokenizers_does_not_import_the_library() -> None:
    code = """
import sys
import zeroshot.tokenizers.tokenizer_files
print(sorted({"tokenizers", "sentencepiece", "torch", "ftfy"} & set(sys.modules)))
"""
    assert run_python(code) == "[]\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_can_fork_after_encoding_without_a_warning(folder: Path) -> None:
    code = f"""
import os
from pathlib import Path
from zeroshot.spec import TokenizerConfig
from zeroshot.tokenizers.tokenizer_files import build_tokenizer, read_content
path = Path({str(folder / "spiece.model")!r})
tokenizer = build_tokenizer(read_content(path), path, TokenizerConfig(64))
tokenizer.rows(["a cat"] * 2000)
if os.fork() == 0:
    tokenizer.rows(["a dog"] * 2000)
    os._exit(0)
assert os.wait()[1] == 0
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr == ""


@pytest.mark.parametrize("name", ["merges.txt.gz", "vocab", "tokenizer.bin", ".model"])
def test_a_file_of_another_kind_is_unsupported(name: str, tmp_path: Path) -> None:
    with pytest.raises(IncompatibleWeights, match="unsupported tokenizer file, expected one of sp"):
        build_tokenizer(b"", tmp_path / name, CONFIG)


@pytest.mark.parametrize("name", ["spiece.model", "tokenizer.json", "vocab.txt"])
def test_an_empty_file_is_an_error(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()

    with pytest.raises(UnsafeWeightsError, match=r"expected .*download") as caught:
        read_tokenizer(tmp_path / name, CONFIG)

    assert caught.value.source == str(tmp_path / name)


@pytest.mark.parametrize("name", ["spiece.model", "tokenizer.json", "vocab.txt"])
def test_a_file_that_is_too_large_is_rejected_before_it_is_parsed(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", {Path(name).suffix: 10})

    with pytest.raises(
        UnsafeWeightsError, match=r"expected a tokenizer of at most .* got a larger"
    ):
        read_tokenizer(folder / name, CONFIG)


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").mkdir()

    with pytest.raises(WeightsError, match=r"tokenizer\.json: cannot read the tokenizer \("):
        read_tokenizer(tmp_path / "tokenizer.json", CONFIG)
    with pytest.raises(
        WeightsError, match=r"spiece\.model: cannot read the tokenizer \(No such fil"
    ):
        read_tokenizer(tmp_path / "spiece.model", CONFIG)


def test_an_invalid_config_is_an_error_that_names_the_field(folder: Path) -> None:
    with pytest.raises(IncompatibleWeights, match="tokenizer context_length is 0, expected 1 to"):
        read_tokenizer(folder / "spiece.model", TokenizerConfig(0))


def test_an_unsupported_model_keeps_its_own_error(folder: Path) -> None:
    config = TokenizerConfig(64, piece_ids="fairseq")

    with pytest.raises(IncompatibleWeights, match="XLM-R's ids require <unk>, <s> and </s> as fir"):
        read_tokenizer(folder / "spiece.model", config)
