"""Check the name of a model in a request. A request never loads a model."""

from __future__ import annotations

from zeroshot.serving.errors import ApiError
from zeroshot.serving.service import Service


def check_model(service: Service, name: object) -> None:
    """Raise ApiError 404 if the server runs another model: its answers would be different."""
    if name not in (service.name, service.identity):
        message = "this server runs another model; GET /v1/models returns its name"
        raise ApiError(404, message, "model_not_found")
