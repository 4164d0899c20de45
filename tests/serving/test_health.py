"""Probes of the process and of readiness, and the metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_started_server_is_ready(client: Any) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_draining_server_is_alive_but_not_ready(
    serve: Callable[..., Any], client_of: Callable[..., Any]
) -> None:
    service = serve()
    client = client_of(service)
    service.is_draining = True

    assert client.get("/healthz").status_code == 200
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"status": "draining"})
    assert answer.headers["connection"] == "close"


def test_server_whose_batcher_ended_is_not_ready(
    serve: Callable[..., Any], client_of: Callable[..., Any]
) -> None:
    service = serve()
    service.batcher.close()

    for probe in ("/readyz", "/healthz"):
        answer = client_of(service).get(probe)
        assert (answer.status_code, answer.json()) == (503, {"status": "failed"})
        assert client_of(service).head(probe).status_code == 503


def test_server_with_a_full_queue_is_not_ready(
    serve: Callable[..., Any], client_of: Callable[..., Any]
) -> None:
    service = serve(max_queue=2)
    service.admitted = 2

    assert client_of(service).get("/readyz").json() == {"status": "busy"}


def test_metrics_count_images_and_errors(client: Any, jpeg: bytes) -> None:
    client.post("/v1/classify?head=pets", content=jpeg)
    client.post("/v1/classify?head=pets", content=b"garbage")

    lines = client.get("/metrics").text.splitlines()

    assert "zeroshot_images_total 2" in lines
    assert "zeroshot_image_errors_total 1" in lines
    assert 'zeroshot_requests_total{status="422"} 1' in lines
    assert "zeroshot_ready 1" in lines
