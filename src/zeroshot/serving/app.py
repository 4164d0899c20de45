"""Build the application: routes of all request forms behind the guard."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

import zeroshot
from zeroshot.serving import health, page
from zeroshot.serving.dialects import huggingface, native, openai
from zeroshot.serving.errors import CODE, ApiError, to_body
from zeroshot.serving.guard import Guard
from zeroshot.serving.service import Service

DIALECTS = native, huggingface, openai
REASONS = {404: "no such path", 405: "method not allowed"}


def create_app(service: Service) -> FastAPI:
    """Return the application that serves a model."""
    app = FastAPI(
        title="zeroshot",
        version=zeroshot.__version__,
        description="Zero-shot image classification with CLIP.",
        docs_url=None,  # these pages load scripts from other hosts
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    app.include_router(health.router(service))
    for dialect in DIALECTS:
        app.include_router(dialect.router(service))
    if service.settings.page:
        app.include_router(page.router(allow_labels=service.settings.allow_labels))
    if service.settings.api_key is not None:
        schema = app.openapi()  # it is kept, and served at /openapi.json
        components = schema.setdefault("components", {})
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{"key": []}]
    app.add_exception_handler(ApiError, _answer_error)
    app.add_exception_handler(HTTPException, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_error)
    app.add_middleware(Guard, service=service)
    return app


async def _answer_error(request: Request, error: Exception) -> Response:
    """Answer an error in the shape of the path's request form."""
    if isinstance(error, HTTPException):
        reason = REASONS.get(error.status_code, "the request is invalid")
        found = ApiError(error.status_code, reason, reason.replace(" ", "_"))
    elif isinstance(error, ApiError):
        found = error
    else:
        found = ApiError(422, "the request is invalid")
    request.scope[CODE] = found.kind
    body = to_body(found, request.method, request.url.path)
    headers = found.headers | dict(getattr(error, "headers", None) or {})
    return JSONResponse(body, found.status, headers)
