"""The OpenAPI document lists every answer of a route."""

from __future__ import annotations

import base64

import zeroshot
from zeroshot.serving.dialects.responses import EXAMPLE, STATUSES, describe, describe_body


def test_answers_have_the_schema_of_success_or_of_errors() -> None:
    found = describe("Rows.", {"type": "array"}, {"type": "object"})

    assert set(found) == {200, *STATUSES}
    assert found[200]["description"] == "Rows."
    kinds = {
        status: answer["content"]["application/json"]["schema"]["type"]
        for status, answer in found.items()
    }
    assert kinds == dict.fromkeys(STATUSES, "object") | {200: "array"}


def test_body_has_its_schema_and_an_example() -> None:
    body = describe_body({"type": "object"}, {"a": 1})["requestBody"]

    assert body["required"]
    assert body["content"]["application/json"] == {
        "schema": {"type": "object"},
        "example": {"a": 1},
    }


def test_example_image_can_be_read(tiny: zeroshot.Model) -> None:
    assert tiny.encode_image(base64.b64decode(EXAMPLE)).shape == (tiny.embed_dim,)
