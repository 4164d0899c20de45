"""The application as a whole: paths, errors and its description."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


def test_unknown_paths_and_methods_are_errors_as_json(client: Any) -> None:
    assert client.get("/nothing").json()["error"]["code"] == "no_such_path"
    assert client.put("/v1/classify").status_code == 405
    assert client.get("/v1/classify/").status_code == 404


def test_description_lists_the_paths(client: Any) -> None:
    paths = client.get("/openapi.json").json()["paths"]

    assert {"/v1/classify", "/v1/models", "/v1/heads", "/healthz", "/readyz", "/metrics"} <= set(
        paths
    )
    assert client.get("/docs").status_code == 404


def test_exception_of_a_route_is_a_generic_error(
    serve: Callable[..., Any], client_of: Callable[..., Any], jpeg: bytes, monkeypatch: Any
) -> None:
    service = serve()

    def fail(*arguments: Any) -> None:
        raise ValueError("/srv/secret of a user")

    monkeypatch.setattr(service, "answer", fail)

    answer = client_of(service).post("/v1/classify?head=pets", content=jpeg)

    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert json.loads(answer.text)["error"]["code"] == "internal"


def test_the_schema_has_the_key_that_the_server_requires(
    serve: Callable[..., Any], client_of: Callable[..., Any]
) -> None:
    headers = {"Authorization": "Bearer secret"}

    with_key = client_of(serve(api_key="secret")).get("/openapi.json", headers=headers).json()
    without = client_of(serve()).get("/openapi.json").json()

    assert with_key["security"] == [{"key": []}]
    assert with_key["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert "security" not in without
