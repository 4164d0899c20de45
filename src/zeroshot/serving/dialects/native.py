"""Zeroshot's own request form: `POST /v1/classify`, and what the server offers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from zeroshot.errors import ImageError, shortened
from zeroshot.head import Head
from zeroshot.serving.dialects.names import check_model
from zeroshot.serving.dialects.responses import ERROR, describe
from zeroshot.serving.errors import ApiError, image_problem, to_openai
from zeroshot.serving.images import parse_labels, parse_top, read_or_error, read_upload
from zeroshot.serving.service import Service

LABELS = {
    "description": "A list of names, or an object from each name to one or more synonyms.",
    "oneOf": [
        {"type": "array", "items": {"type": "string"}, "minItems": 2},
        {
            "type": "object",
            "minProperties": 2,
            "additionalProperties": {
                "oneOf": [
                    {"type": "string"},
                    {"type": "array", "items": {"type": "string"}, "minItems": 1},
                ]
            },
        },
    ],
}
FIELDS = {
    "labels": LABELS,
    "head": {"type": "string", "description": "Name of a head, from GET /v1/heads."},
    "templates": {
        "description": "Texts with one {} each, or the name of a prompt set; by default photo.",
        "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    },
    "top": {"type": "integer", "minimum": 1, "default": 5},
}
KNOWN = frozenset({"image", "images", "model", *FIELDS})
IMAGE = {"type": "string", "description": "base64 or a data URL"}
FORM = {
    "image": {"type": "array", "items": {"type": "string", "format": "binary"}},
    **{name: {"type": "string"} for name in ("labels", "head", "templates")},
    "top": {"type": "integer", "minimum": 1},
}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "model": {"type": "string", "description": "Name of the model, checked."},
                        "image": IMAGE,
                        "images": {"type": "array", "items": IMAGE, "minItems": 1},
                        **FIELDS,
                    },
                }
            },
            "multipart/form-data": {
                "schema": {"type": "object", "additionalProperties": False, "properties": FORM}
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
    "parameters": [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"}}
        for name in ("labels", "head", "templates", "top")
    ],
}
SCORE = {
    "type": "object",
    "required": ["label", "probability"],
    "properties": {"label": {"type": "string"}, "probability": {"type": "number"}},
}
RESULT = {
    "type": "object",
    "required": ["label", "probability", "ranking"],
    "properties": {
        "label": {
            "type": ["string", "null"],
            "description": "The best label; null if the head answers that none of them fits.",
        },
        "probability": {"type": ["number", "null"]},
        "ranking": {"type": "array", "items": SCORE, "description": "Best first."},
        "none": {"type": "number", "description": "Probability that no label fits."},
        "instead": {"type": "string", "description": "The word that fits better than every label."},
        "path": {"type": "array", "items": {"type": "string"}},
    },
}
ANSWER = {
    "type": "object",
    "required": ["model", "identity", "prompts", "results"],
    "properties": {
        "model": {"type": "string"},
        "identity": {"type": "string", "description": "Fingerprint of the model."},
        "prompts": {"type": "string", "description": "Name of the prompt set, or custom."},
        "results": {"type": "array", "items": {"anyOf": [RESULT, ERROR]}},
    },
}
MEANINGS = {
    404: "No such head, or the server runs another model.",
    415: "The Content-Type is not supported.",
}
RESPONSES = describe("One result or error per image, in order.", ANSWER, ERROR, MEANINGS)


def router(service: Service) -> APIRouter:
    """Return the routes of this form."""
    settings = service.settings

    async def classify(request: Request) -> JSONResponse:
        """Classify one image or several with labels or a named head."""
        upload = await read_upload(request, settings)
        request.scope["zeroshot.images"] = len(upload.images)
        check_fields(upload.fields, service)
        top = parse_top(upload.fields.get("top"), settings.max_labels)
        head = await find_head(upload.fields, service)
        images = await asyncio.gather(
            *(read_or_error(image, request, settings) for image in upload.images)
        )
        readable = [image for image in images if isinstance(image, bytes)]
        outcomes = iter(await service.embed_images(readable))
        results: list[dict[str, Any]] = []
        for image in images:
            found = image if isinstance(image, ApiError) else next(outcomes)
            if isinstance(found, ImageError):
                found = image_problem(found)
            if not isinstance(found, ApiError):
                results.append(service.answer(found, head, top))
            elif upload.is_batch:
                results.append(to_openai(found))
            else:
                raise found
        facts = {"model": service.name, "identity": service.identity, "prompts": head.prompts}
        return JSONResponse({**facts, "results": results})  # FastAPI's encoder takes longer

    facts = {"dim": service.model.embed_dim, "identity": service.identity}
    own = {"id": service.name, "object": "model", "created": 0, "owned_by": "zeroshot"} | facts

    async def models() -> dict[str, Any]:
        """List the model that this server runs, in OpenAI's form."""
        return {"object": "list", "data": [own]}

    async def model(name: str) -> dict[str, Any]:
        """Describe the model that this server runs."""
        check_model(service, name)
        return own

    async def heads() -> dict[str, Any]:
        """List the named heads and their labels."""
        listed = [{"name": name, **describe_head(head)} for name, head in service.heads.items()]
        return {"allow_labels": settings.allow_labels, "heads": listed}

    routes = APIRouter(tags=["zeroshot"])
    routes.add_api_route(
        "/v1/classify",
        classify,
        methods=["POST"],
        openapi_extra=BODY,
        responses=RESPONSES,
        response_model=None,
    )
    routes.add_api_route("/v1/models", models, methods=["GET"], response_model=None)
    routes.add_api_route(
        "/v1/models/{name:path}",
        model,
        methods=["GET"],
        response_model=None,
        responses={404: {"description": "The server runs another model."}},
    )
    routes.add_api_route("/v1/heads", heads, methods=["GET"], response_model=None)
    return routes


def check_fields(fields: Mapping[str, Any], service: Service) -> None:
    """Raise ApiError 422 for an unknown field, 404 for the name of another model."""
    for name in fields.keys() - KNOWN:
        known = ", ".join(sorted(KNOWN))
        message = f"unknown field {shortened(repr(name))}; expected {known}"
        raise ApiError(422, message, "fields")
    if "model" in fields:
        check_model(service, fields["model"])


async def find_head(fields: Mapping[str, Any], service: Service) -> Head:
    """Return the head of a request; raise what `Service.head_for` raises."""
    labels = parse_labels(fields.get("labels"))
    templates = fields.get("templates")
    if isinstance(templates, str) and templates.lstrip().startswith("["):
        templates = parse_labels(templates)
    if isinstance(labels, list | dict) and len(labels) == 1:
        message = "expected several labels, got one; separate labels by commas"
        raise ApiError(422, message, "labels")  # its probability would always be 1
    return await service.head_for(labels, templates, name=fields.get("head"))


def describe_head(head: Head) -> dict[str, Any]:
    """Return what a client learns of a named head."""
    return {
        "labels": list(head.labels),
        "prompts": head.prompts,
        "none_of_these": head.classes != head.labels,
        "calibrated": head.is_calibrated,
    }
