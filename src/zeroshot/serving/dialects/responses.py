"""Describe the answers of a route in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EXAMPLE = (  # a PNG file of 2 x 2 pixels
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAFklEQV"
    "R42mM8ESDHwMDAxMDAwMDAAAAPXAE6LKv8MQAAAABJRU5ErkJggg=="
)
ERROR = {  # of our own form and of OpenAI's
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code"],
            "properties": {name: {"type": "string"} for name in ("message", "type", "code")},
        }
    },
}
STATUSES = {
    401: "The key is missing or wrong.",
    403: "A page of another origin sent the request.",
    404: "The server runs another model.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The Content-Type is not application/json.",
    421: "The host name is not allowed.",
    422: "The request, a text or an image is invalid.",
    500: "Internal error.",
    503: "Busy or shutting down; try again after Retry-After seconds.",
    504: "Not answered before the deadline.",
}


def describe_body(schema: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a route's description that is about its body."""
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def describe(
    text: str,
    schema: dict[str, Any],
    error: dict[str, Any],
    meanings: Mapping[int, str] | None = None,
) -> dict[int | str, Any]:
    """Return the answers by status: `schema` is that of 200, `error` that of all errors.

    `meanings` replaces those of some statuses.
    """
    errors: dict[int | str, Any] = {
        status: _json(meaning, error)
        for status, meaning in {**STATUSES, **(meanings or {})}.items()
    }
    return {200: _json(text, schema)} | errors


def _json(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}
