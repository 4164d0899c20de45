"""Count requests and write the counts in Prometheus's text format."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds


class Metrics:
    """The counters of a server; used in one thread."""

    def __init__(self) -> None:
        self.requests: Counter[int] = Counter()  # by status
        self.images = 0
        self.image_errors = 0
        self.heads_built = 0
        self.canceled = 0  # requests whose client left
        self._seconds = 0.0
        self._buckets = [0] * (len(BOUNDS) + 1)

    def count(self, status: int, seconds: float) -> None:
        """Count an answered request."""
        self.requests[status] += 1
        self._seconds += seconds
        self._buckets[bisect_left(BOUNDS, seconds)] += 1

    def render(self, gauges: dict[str, tuple[str, float]], counters: dict[str, int]) -> str:
        """Return all values as text; `gauges` has the help and value of each name."""
        lines = ["# TYPE zeroshot_requests_total counter"]
        lines += [
            f'zeroshot_requests_total{{status="{status}"}} {count}'
            for status, count in sorted(self.requests.items())
        ]
        own = {
            "images": self.images,
            "image_errors": self.image_errors,
            "heads_built": self.heads_built,
            "canceled_requests": self.canceled,
        }
        for name, value in (own | counters).items():
            lines += [f"# TYPE zeroshot_{name}_total counter", f"zeroshot_{name}_total {value!r}"]
        for name, (text, level) in gauges.items():
            lines += [f"# HELP zeroshot_{name} {text}", f"# TYPE zeroshot_{name} gauge"]
            lines += [f"zeroshot_{name} {level!r}"]
        lines += ["# TYPE zeroshot_request_seconds histogram"]
        total = 0
        for bound, count in zip((*BOUNDS, "+Inf"), self._buckets, strict=True):
            total += count
            lines.append(f'zeroshot_request_seconds_bucket{{le="{bound}"}} {total}')
        lines += [f"zeroshot_request_seconds_sum {self._seconds:.6f}"]
        lines += [f"zeroshot_request_seconds_count {total}"]
        return "\n".join(lines) + "\n"
