"""Hugging Face's task zero-shot-image-classification: `POST /` and `POST /models/NAME`.

`huggingface_hub.InferenceClient(base_url=URL).zero_shot_image_classification` sends it.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from zeroshot.arguments import is_text
from zeroshot.errors import ImageError
from zeroshot.serving.dialects.names import check_model
from zeroshot.serving.dialects.responses import EXAMPLE, describe, describe_body
from zeroshot.serving.errors import ApiError, image_problem
from zeroshot.serving.images import parse_labels, read_image, read_json
from zeroshot.serving.service import Service

TEMPLATE = "This is a photo of {}."  # default of the task in transformers
TEXT = {"type": "string", "minLength": 1}
PARAMETERS = {
    "type": "object",
    "required": ["candidate_labels"],
    "properties": {
        "candidate_labels": {
            "description": "A list of labels, or one text with commas.",
            "anyOf": [{"type": "array", "items": TEXT, "minItems": 1}, TEXT],
        },
        "hypothesis_template": {
            "description": "A prompt with {} once.",
            "anyOf": [{"type": "string", "pattern": r"^[^{}]*\{\}[^{}]*$"}, {"type": "null"}],
            "default": TEMPLATE,
        },
    },
}
REQUEST = {
    "type": "object",
    "required": ["inputs", "parameters"],
    "properties": {
        "inputs": TEXT | {"description": "An image as base64 or a data URL."},
        "parameters": PARAMETERS,
    },
}
BODY = describe_body(
    REQUEST, {"inputs": EXAMPLE, "parameters": {"candidate_labels": ["a cat", "a dog"]}}
)
SCORES = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["label", "score"],
        "properties": {"label": {"type": "string"}, "score": {"type": "number"}},
    },
}
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}},
}
RESPONSES = describe("Labels, best first.", SCORES, ERROR)


def router(service: Service) -> APIRouter:
    """Return the routes of this form."""

    async def classify(request: Request) -> list[dict[str, Any]]:
        """Return the labels of an image with their scores, best first."""
        content = await read_json(request)
        parameters = content.get("parameters")
        if not isinstance(parameters, dict):
            raise ApiError(422, "expected parameters with candidate_labels", "parameters")
        labels = parse_labels(parameters.get("candidate_labels"))
        if not isinstance(labels, list):
            raise ApiError(422, "expected candidate_labels as a list of texts", "labels")
        template = parameters.get("hypothesis_template")
        template = TEMPLATE if template is None else template
        if not is_text(template) or template.count("{}") != 1:
            raise ApiError(422, "expected hypothesis_template as a text with {} once", "templates")
        head = await service.head_for(labels, [template])
        image = await read_image(content.get("inputs"), request, service.settings)
        request.scope["zeroshot.images"] = 1
        (found,) = await service.embed_images([image])
        if isinstance(found, ImageError):
            raise image_problem(found)
        ranking = service.answer(found, head, len(head.labels))["ranking"]
        return [{"label": each["label"], "score": each["probability"]} for each in ranking]

    async def classify_with(request: Request, name: str) -> list[dict[str, Any]]:
        """Return the labels of an image with their scores, best first, of the model NAME."""
        check_model(service, name)
        return await classify(request)

    routes = APIRouter(tags=["huggingface"])
    for path, endpoint in (("/", classify), ("/models/{name:path}", classify_with)):
        routes.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            openapi_extra=BODY,
            responses=RESPONSES,
            response_model=None,
        )
    return routes
