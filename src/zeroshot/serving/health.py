"""Whether the process is alive, whether it accepts requests, and its counters."""

from __future__ import annotations

import time

from fastapi import APIRouter
from starlette.responses import JSONResponse, PlainTextResponse

from zeroshot.serving.service import Service


def router(service: Service) -> APIRouter:
    """Return the routes for probes and Prometheus."""

    async def healthz() -> dict[str, str]:
        """Answer while the process is alive."""
        return {"status": "ok"}

    async def readyz() -> JSONResponse:
        """Answer 200 if requests are accepted, else 503."""
        state = get_state(service)
        return JSONResponse({"status": state}, 200 if state == "ready" else 503)

    async def metrics() -> PlainTextResponse:
        """Return counters in Prometheus's text format."""
        batcher = service.batcher
        gauges = {
            "ready": ("1 if requests are accepted", float(service.is_ready)),
            "queue_images": ("images that wait", float(batcher.waiting)),
            "requests_in_progress": ("requests with a body", float(service.admitted)),
            "buffered_bytes": ("bytes of bodies in memory", float(service.buffered)),
            "uptime_seconds": ("seconds since the start", time.monotonic() - service.started),
        }
        counters = {"batches": float(batcher.batches), "embedded_images": float(batcher.images)}
        text = service.metrics.render(gauges, counters)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    routes = APIRouter(tags=["health"])
    routes.add_api_route("/healthz", healthz, methods=["GET"], response_model=None)
    responses: dict[int | str, dict[str, str]] = {503: {"description": "Not ready."}}
    routes.add_api_route(
        "/readyz", readyz, methods=["GET"], response_model=None, responses=responses
    )
    routes.add_api_route("/metrics", metrics, methods=["GET"], response_class=PlainTextResponse)
    return routes


def get_state(service: Service) -> str:
    """Return "ready", or why requests are not accepted."""
    if service.is_draining:
        return "draining"
    if not service.batcher.is_alive:
        return "failed"
    return "ready" if service.has_room else "busy"
