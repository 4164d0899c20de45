"""What clients learn of errors."""

from __future__ import annotations

from typing import get_args

import pytest

from zeroshot.errors import ImageError, ImageProblem
from zeroshot.serving.errors import ApiError, busy, image_problem, internal, timed_out, to_body


@pytest.mark.parametrize("kind", get_args(ImageProblem))
def test_image_errors_show_no_source_and_no_bytes(kind: ImageProblem) -> None:
    error = image_problem(ImageError("/srv/secret.jpg: starts with 89504e47", kind=kind))

    assert (error.status, error.kind) == (422, kind)
    assert "secret" not in error.message
    assert "89504e47" not in error.message


def test_busy_answer_says_when_to_try_again() -> None:
    assert busy().headers == {"Retry-After": "1"}
    assert ApiError(401, "key").headers == {"WWW-Authenticate": "Bearer"}
    assert timed_out().headers == {}


@pytest.mark.parametrize("path", ["/", "/models/openai/clip"])
def test_paths_of_tasks_have_errors_as_text(path: str) -> None:
    assert to_body(busy(), "POST", path) == {"error": busy().message}


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/v1/classify")])
def test_other_paths_have_errors_in_openais_shape(method: str, path: str) -> None:
    assert set(to_body(internal(), method, path)["error"]) == {"message", "type", "code"}
