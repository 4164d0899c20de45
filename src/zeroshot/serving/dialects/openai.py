"""OpenAI's embeddings: `POST /v1/embeddings` for texts and images.

An input is a text, a data URL of an image, or an object {"image": base64 or data URL}.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from numpy.typing import NDArray
from starlette.responses import Response

from zeroshot.arguments import is_text
from zeroshot.errors import ImageError
from zeroshot.serving.dialects.names import check_model
from zeroshot.serving.dialects.responses import ERROR, EXAMPLE, describe, describe_body
from zeroshot.serving.errors import ApiError, image_problem
from zeroshot.serving.images import check_count, read_image, read_json
from zeroshot.serving.service import Service

MAX_INPUTS = 2048  # of a request, as at OpenAI
MAX_CHARACTERS = 4000  # of a text; the longest context of a model has 248 tokens
FORMATS = ("float", "base64")
DATA_URL = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)

TEXT = {"type": "string", "minLength": 1}
IMAGE = TEXT | {"description": "An image as base64 or a data URL."}
FORMS = [
    TEXT | {"description": "A text, or an image as a data URL."},
    {"type": "object", "required": ["image"], "properties": {"image": IMAGE}},
]
MANY = {"type": "array", "items": {"anyOf": FORMS}, "minItems": 1, "maxItems": MAX_INPUTS}
LIST = {
    "type": "object",
    "required": ["object", "model", "data", "usage"],
    "properties": {
        "object": {"const": "list"},
        "model": {"type": "string"},
        "data": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["object", "index", "embedding"],
                "properties": {
                    "object": {"const": "embedding"},
                    "index": {"type": "integer"},
                    "embedding": {
                        "anyOf": [
                            {"type": "array", "items": {"type": "number"}},
                            {"type": "string", "description": "base64 of little-endian float32"},
                        ]
                    },
                },
            },
        },
        "usage": {
            "type": "object",
            "properties": {
                "prompt_tokens": {"type": "integer", "description": "Images have none."},
                "total_tokens": {"type": "integer"},
            },
        },
    },
}
RESPONSES = describe("One row of unit length per input, in order.", LIST, ERROR)


def body(service: Service) -> dict[str, Any]:
    """Return the description of a request."""
    properties = {
        "input": {"anyOf": [*FORMS, MANY]},
        "model": {"enum": [service.name, service.identity]},
        "encoding_format": {"enum": list(FORMATS), "default": "float"},
        "dimensions": {"enum": [service.model.embed_dim]},
    }
    schema = {"type": "object", "required": ["input"], "properties": properties}
    return describe_body(schema, {"model": service.name, "input": ["a cat", {"image": EXAMPLE}]})


@dataclass(frozen=True)
class Inputs:
    """The inputs of a request: texts and images by their position."""

    texts: dict[int, str]
    images: dict[int, str]  # base64, data URL or URL


def router(service: Service) -> APIRouter:
    """Return the routes of this form."""

    async def embed(request: Request) -> Response:
        """Return one embedding of unit length per text or image."""
        content = await read_json(request)
        encoding = check_options(content, service)
        inputs = parse_inputs(content.get("input"), service)
        request.scope["zeroshot.images"] = len(inputs.images)
        images = await embed_images(inputs.images, request, service) if inputs.images else []
        texts = list(inputs.texts.values())
        found = [*images, *(await service.embed_texts(texts) if texts else ())]
        rows = dict(zip([*inputs.images, *inputs.texts], found, strict=True))
        ordered = [rows[position] for position in sorted(rows)]

        def render() -> bytes:
            return render_list(ordered, encoding, service.name, count_tokens(texts, service))

        # 2,048 rows of 512 numbers as text take a second
        return Response(await asyncio.to_thread(render), media_type="application/json")

    routes = APIRouter(tags=["openai"])
    routes.add_api_route(
        "/v1/embeddings",
        embed,
        methods=["POST"],
        openapi_extra=body(service),
        responses=RESPONSES,
        response_class=Response,
        response_model=None,
    )
    return routes


def check_options(content: dict[str, Any], service: Service) -> str:
    """Return the encoding format; raise ApiError for options that cannot be satisfied."""
    if "model" in content:
        check_model(service, content["model"])
    encoding = content.get("encoding_format", "float")
    if encoding not in FORMATS:
        raise ApiError(422, "expected encoding_format to be float or base64", "encoding_format")
    own = service.model.embed_dim
    dimensions = content.get("dimensions", own)
    if isinstance(dimensions, bool) or dimensions != own:
        raise ApiError(422, f"this model has {own} dimensions; omit dimensions", "dimensions")
    return str(encoding)


def parse_inputs(given: object, service: Service) -> Inputs:
    """Return the texts and images of `input`; raise ApiError 422 if it is invalid."""
    listed = given if isinstance(given, list) else [given]
    limit = min(MAX_INPUTS, service.settings.max_prompts)
    if not 1 <= len(listed) <= limit:
        raise ApiError(422, f"expected 1 to {limit} inputs, got {len(listed)}", "input_count")
    inputs = Inputs({}, {})
    for position, each in enumerate(listed):
        if isinstance(each, dict) and isinstance(each.get("image"), str) and each["image"]:
            inputs.images[position] = each["image"]
        elif not is_text(each) or not each:
            message = (
                f"input {position}: expected a text that is not empty, a data URL or "
                '{"image": base64}; token ids are not supported'
            )
            raise ApiError(422, message, "input")
        elif DATA_URL.match(each):
            inputs.images[position] = each
        elif len(each) > MAX_CHARACTERS:
            message = f"input {position}: expected at most {MAX_CHARACTERS} characters"
            raise ApiError(422, message, "too_many_tokens")
        else:
            inputs.texts[position] = each
    if inputs.images:
        check_count(len(inputs.images), service.settings)
    return inputs


async def embed_images(
    images: dict[int, str], request: Request, service: Service
) -> list[NDArray[np.float32]]:
    """Return one row per image; raise ApiError 422 with the position of the first invalid one."""

    async def read(position: int, text: str) -> bytes:
        try:
            return await read_image(text, request, service.settings)
        except ApiError as error:
            raise at(position, error) from None

    files = [await read(position, text) for position, text in images.items()]
    rows: list[NDArray[np.float32]] = []
    for position, found in zip(images, await service.embed_images(files), strict=True):
        if isinstance(found, ImageError):
            raise at(position, image_problem(found))
        rows.append(found)
    return rows


def at(position: int, error: ApiError) -> ApiError:
    """Return the error with the position of its input."""
    message = f"input {position}: {error.message}"
    return ApiError(error.status, message, error.kind, retry_after=error.retry_after)


def count_tokens(texts: Sequence[str], service: Service) -> int:
    """Return the number of tokens of texts, with those of start and end."""
    tokenizer = service.model.tokenizer
    return sum(len(tokenizer.encode(text)) + tokenizer.special_tokens for text in texts)


def render_list(
    rows: Sequence[NDArray[np.float32]], encoding: str, model: str, tokens: int
) -> bytes:
    """Return the body of an answer; rows are float32 [d], base64 is little-endian."""
    plain = [np.asarray(row, dtype="<f4") for row in rows]
    if encoding == "base64":
        values: list[Any] = [base64.b64encode(row.tobytes()).decode() for row in plain]
    else:
        values = [row.tolist() for row in plain]
    data = [
        {"object": "embedding", "index": index, "embedding": value}
        for index, value in enumerate(values)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    content = {"object": "list", "model": model, "data": data, "usage": usage}
    return json.dumps(content, allow_nan=False).encode()
