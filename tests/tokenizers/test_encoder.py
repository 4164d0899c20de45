"""Encoders call the library one text at a time; its failures are errors that name the file."""

from __future__ import annotations

import pytest
import tokenizers
from tokenizers import models

from tests.tokenizers.protobuf import written
from zeroshot.errors import IncompatibleWeights, UnsafeWeightsError
from zeroshot.tokenizers.encoder import Encoder, library_errors
from zeroshot.tokenizers.sentencepiece_encoder import build_encoder
from zeroshot.tokenizers.sentencepiece_model import parse_model


class PanicException(BaseException):
    """As the library raises for a failed assertion."""


@pytest.fixture
def encoder() -> Encoder:
    return build_encoder(parse_model(written(), "x.model"), "x.model")


def test_a_text_is_encoded_and_decoded(encoder: Encoder) -> None:
    assert encoder.encode("cat a") == [5, 3, 4]
    assert encoder.decode([5, 3, 4]) == "cat a"


def test_control_ids_are_dropped_and_unknown_text_is_a_sign(encoder: Encoder) -> None:
    assert encoder.encode("a ? a") == [3, 4, 3, 0, 3, 4]
    assert encoder.decode([1, 3, 4, 3, 0, 3, 4, 2]) == "a \u2047 a"


def test_tokens_without_a_decoder_are_separated_by_spaces() -> None:
    library = tokenizers.Tokenizer(models.WordLevel({"a": 0, "cat": 1}, unk_token="a"))

    assert Encoder(library, size=2, source="x.json").decode([1, 0]) == "cat a"


@pytest.mark.parametrize("kind", [Exception, ValueError, PanicException])
def test_a_failure_of_the_library_is_an_error_that_names_the_file(
    kind: type[BaseException],
) -> None:
    problem = rf"x\.json: invalid or unsupported tokenizer \({kind.__name__}: out of bounds\); down"

    with pytest.raises(UnsafeWeightsError, match=problem) as caught, library_errors("x.json"):
        raise kind("out of\n bounds" + " " * 900)

    assert caught.value.source == "x.json"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), IncompatibleWeights("too large")])
def test_interrupts_and_errors_of_the_package_pass(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, library_errors("x.json"):
        raise error

    assert caught.value is error
