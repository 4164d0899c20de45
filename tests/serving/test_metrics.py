"""Counters in Prometheus's text format."""

from __future__ import annotations

from zeroshot.serving.metrics import Metrics


def test_counts_are_rendered_as_text() -> None:
    metrics = Metrics()
    metrics.count(200, 0.003)
    metrics.count(200, 0.3)
    metrics.count(503, 60.0)
    metrics.images = 7

    lines = metrics.render({"ready": ("1 if ready", 1)}, {"batches": 1_234_567}).splitlines()

    assert 'zeroshot_requests_total{status="200"} 2' in lines
    assert 'zeroshot_requests_total{status="503"} 1' in lines
    assert "zeroshot_images_total 7" in lines
    assert "zeroshot_ready 1" in lines
    assert "zeroshot_batches_total 1234567" in lines
    assert 'zeroshot_request_seconds_bucket{le="0.005"} 1' in lines
    assert 'zeroshot_request_seconds_bucket{le="0.5"} 2' in lines
    assert 'zeroshot_request_seconds_bucket{le="+Inf"} 3' in lines
    assert "zeroshot_request_seconds_count 3" in lines
