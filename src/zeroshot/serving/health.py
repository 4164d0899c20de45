"""Whether the process is alive, whether it accepts requests, and its counters."""

from __future__ import annotations

import time

from fastapi import APIRouter
from starlette.responses import JSONResponse, PlainTextResponse

from zeroshot.serving.service import Service


def router(service: Service) -> APIRouter:
    """Return the routes for probes and Prometheus."""

    async def healthz() -> JSONResponse:
        """Answer 200 while the process can embed images, else 503: it should be restarted."""
        is_alive = service.batcher.is_alive or service.is_draining
        return JSONResponse({"status": "ok" if is_alive else "failed"}, 200 if is_alive else 503)

    async def readyz() -> JSONResponse:
        """Answer 200 if requests are accepted, else 503."""
        state = service.state
        return JSONResponse({"status": state}, 200 if state == "ready" else 503)

    async def metrics() -> PlainTextResponse:
        """Return counters in Prometheus's text format."""
        batcher = service.batcher
        gauges = {
            "ready": ("1 if requests are accepted", int(service.state == "ready")),
            "queue_images": ("images that wait", batcher.waiting),
            "requests_in_progress": ("requests with a body", service.admitted),
            "buffered_bytes": ("bytes of bodies and downloads in memory", service.memory.used),
            "uptime_seconds": ("seconds since the start", time.monotonic() - service.started),
        }
        counters = {"batches": batcher.batches, "embedded_images": batcher.images}
        text = service.metrics.render(gauges, counters)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    routes = APIRouter(tags=["health"])
    responses: dict[int | str, dict[str, str]] = {503: {"description": "Failed, or not ready."}}
    for path, probe in (("/healthz", healthz), ("/readyz", readyz)):
        routes.add_api_route(path, probe, methods=["GET"], response_model=None, responses=responses)
        routes.add_api_route(path, probe, methods=["HEAD"], include_in_schema=False)
    routes.add_api_route("/metrics", metrics, methods=["GET"], response_class=PlainTextResponse)
    return routes
