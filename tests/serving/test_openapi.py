"""Schemathesis finds no answer that contradicts /openapi.json.

It sends valid and invalid requests to every path. A longer run of 2,000 cases per path:
`ZEROSHOT_SCHEMA_CASES=2000 pytest tests/serving/test_openapi.py`
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import zeroshot

pytest.importorskip("fastapi", reason="requires the serve extra")
pytest.importorskip("uvicorn", reason="requires the serve extra")

from tests.serving.dialects.running import serving

CASES = os.environ.get("ZEROSHOT_SCHEMA_CASES", "5")  # random requests per path
# A schema cannot say that a text is base64 of an image, or that labels are different. Schemathesis
# would report the 422 for a text that is not.
EXCLUDED = "positive_data_acceptance"


@pytest.mark.skipif(find_spec("schemathesis") is None, reason="requires schemathesis")
def test_answers_match_the_openapi_document(tiny: zeroshot.Model, tmp_path: Path) -> None:
    with serving(tiny, heads={"pets": ["cat", "dog"]}, page=False) as url:
        arguments = [
            sys.executable,
            "-c",
            "from schemathesis.cli import schemathesis as run; run()",
        ]
        arguments += ["run", f"{url}/openapi.json", "--max-examples", CASES, "--no-color"]
        arguments += ["--phases", "examples,coverage,fuzzing", "--exclude-checks", EXCLUDED]
        arguments += ["--generation-deterministic", "--continue-on-failure"]
        done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    generated = re.search(r"(\d+) generated", done.stdout)
    assert generated is not None
    assert int(generated[1]) > 100
    print(generated[0])
