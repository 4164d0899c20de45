"""OpenAI's embeddings for texts and images, with OpenAI's client."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import zeroshot

pytest.importorskip("fastapi", reason="requires the serve extra")
pytest.importorskip("uvicorn", reason="requires the serve extra")

from tests.serving.dialects.running import serving
from zeroshot.serving.dialects import openai as dialect

PATH = "/v1/embeddings"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def openai(tiny: zeroshot.Model) -> Iterator[Any]:
    """OpenAI's client of a server on loopback."""
    package = pytest.importorskip("openai", reason="requires the openai package")
    with serving(tiny) as url:
        client = package.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)
        yield client
        client.close()


def as_url(image: bytes) -> str:
    return f"data:image/jpeg;base64,{as_text(image)}"


def as_text(image: bytes) -> str:
    return base64.b64encode(image).decode()


def rows_of(answer: Any) -> np.ndarray[Any, Any]:
    return np.array([each.embedding for each in answer.data], dtype=np.float32)


def test_client_gets_the_embeddings_of_texts(openai: Any, tiny: zeroshot.Model) -> None:
    texts = ["a cat", "zwei Hunde", "a cat"]

    answer = openai.embeddings.create(model=tiny.name, input=texts)

    np.testing.assert_allclose(rows_of(answer), tiny.encode_text(texts).numpy(), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(rows_of(answer), axis=1), 1, atol=1e-5)
    assert [each.index for each in answer.data] == [0, 1, 2]
    tokens = sum(len(row) for row in tiny.tokenizer.rows(texts))
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == tokens


def test_client_gets_one_embedding_of_a_single_text(openai: Any, tiny: zeroshot.Model) -> None:
    answer = openai.embeddings.create(model=tiny.name, input="a cat")

    np.testing.assert_allclose(rows_of(answer)[0], tiny.encode_text("a cat").numpy(), atol=1e-6)


def test_client_mixes_texts_and_images_in_order(
    openai: Any, tiny: zeroshot.Model, jpeg: bytes
) -> None:
    inputs: list[Any] = ["a cat", as_url(jpeg), {"image": as_text(jpeg)}, "a dog"]
    inputs.append({"image": as_url(jpeg)})

    answer = openai.embeddings.create(model=tiny.name, input=inputs)

    image = tiny.encode_image(jpeg).numpy()
    cat, dog = tiny.encode_text(["a cat", "a dog"]).numpy()
    np.testing.assert_allclose(rows_of(answer), [cat, image, image, dog, image], atol=1e-5)


def test_client_gets_equal_numbers_in_both_formats(openai: Any, jpeg: bytes) -> None:
    name = openai.models.list().data[0].id
    answers = [
        openai.embeddings.create(model=name, input=as_url(jpeg), encoding_format=encoding)
        for encoding in ("float", "base64")
    ]

    assert isinstance(answers[1].data[0].embedding, str)
    packed = np.frombuffer(base64.b64decode(answers[1].data[0].embedding), "<f4")
    np.testing.assert_array_equal(rows_of(answers[0])[0], packed)


def test_client_lists_the_model(openai: Any, tiny: zeroshot.Model) -> None:
    (model,) = openai.models.list().data

    assert model.id == tiny.name
    assert (model.dim, model.identity) == (tiny.embed_dim, tiny.identity)


def test_client_raises_its_own_errors(openai: Any, tiny: zeroshot.Model) -> None:
    package = pytest.importorskip("openai")

    with pytest.raises(package.NotFoundError) as missing:
        openai.embeddings.create(model="text-embedding-3-small", input="a cat")
    with pytest.raises(package.UnprocessableEntityError) as invalid:
        openai.embeddings.create(model=tiny.name, input=["a", as_url(b"garbage")])

    assert missing.value.code == "model_not_found"
    assert invalid.value.code == "not_image"
    assert "input 1: the data is not an image" in str(invalid.value)
    assert invalid.value.type == "invalid_request_error"


def test_client_with_a_wrong_key_is_refused(tiny: zeroshot.Model) -> None:
    package = pytest.importorskip("openai", reason="requires the openai package")
    with serving(tiny, api_key="right") as url:
        with package.OpenAI(base_url=f"{url}/v1", api_key="right") as client:
            assert client.embeddings.create(model=tiny.name, input="a cat").data
        with (
            package.OpenAI(base_url=f"{url}/v1", api_key="wrong") as client,
            pytest.raises(package.AuthenticationError),
        ):
            client.embeddings.create(model=tiny.name, input="a cat")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "input"),
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input_count"),
        ({"input": ["a"] * 2049}, "input_count"),
        ({"input": [[1, 2, 3]]}, "input"),
        ({"input": [1, 2, 3]}, "input"),
        ({"input": ["a", True]}, "input"),
        ({"input": {"image": 3}}, "input"),
        ({"input": {"image": ""}}, "input"),
        ({"input": {"text": "a"}}, "input"),
        ({"input": "\ud800"}, "input"),
        ({"input": "word " * 200}, "too_many_tokens"),
        ({"input": "a" * 5_000}, "too_many_tokens"),
        ({"input": {"image": "not base64!"}}, "base64"),
        ({"input": {"image": "http://example.com/a.png"}}, "url_refused"),
        ({"input": "data:image/png;base64,####"}, "base64"),
        ({"input": ["data:image/png;base64,AAAA"] * 65}, "image_count"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "encoding_format": None}, "encoding_format"),
        ({"input": "a", "encoding_format": ["float"]}, "encoding_format"),
        ({"input": "a", "dimensions": 7}, "dimensions"),
        ({"input": "a", "dimensions": True}, "dimensions"),
    ],
)
def test_invalid_requests_are_answered_in_openais_shape(
    body: dict[str, Any], code: str, client: Any
) -> None:
    answer = client.post(PATH, content=json.dumps(body), headers=JSON)

    assert answer.status_code == 422
    assert set(answer.json()["error"]) == {"message", "type", "code"}
    assert answer.json()["error"]["code"] == code


def test_own_number_of_dimensions_is_accepted(client: Any, tiny: zeroshot.Model) -> None:
    answer = client.post(PATH, json={"input": "a", "dimensions": tiny.embed_dim})

    assert len(answer.json()["data"][0]["embedding"]) == tiny.embed_dim


def test_texts_that_resemble_urls_are_texts(client: Any, tiny: zeroshot.Model) -> None:
    texts = ["data: a cat", "http://example.com/a.png"]

    answer = client.post(PATH, json={"input": texts})

    found = [each["embedding"] for each in answer.json()["data"]]
    np.testing.assert_allclose(found, tiny.encode_text(texts).numpy(), atol=1e-6)


def test_most_inputs_are_embedded(client: Any) -> None:
    answer = client.post(
        PATH, json={"input": ["a"] * dialect.MAX_INPUTS, "encoding_format": "base64"}
    )

    assert len(answer.json()["data"]) == dialect.MAX_INPUTS
