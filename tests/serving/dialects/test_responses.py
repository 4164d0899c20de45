"""The OpenAPI document lists every answer of a route."""

from __future__ import annotations

from zeroshot.serving.dialects.responses import STATUSES, describe


def test_answers_have_the_schema_of_success_or_of_errors() -> None:
    found = describe("Rows.", {"type": "array"}, {"type": "object"})

    assert set(found) == {200, *STATUSES}
    assert found[200]["description"] == "Rows."
    kinds = {
        status: answer["content"]["application/json"]["schema"]["type"]
        for status, answer in found.items()
    }
    assert kinds == dict.fromkeys(STATUSES, "object") | {200: "array"}
