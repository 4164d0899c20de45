"""A request that names another model is refused."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("fastapi", reason="requires the serve extra")

from zeroshot.serving.dialects.names import check_model
from zeroshot.serving.errors import ApiError


def test_name_and_identity_of_the_model_are_accepted(serve: Any) -> None:
    service = serve()

    check_model(service, service.name)
    check_model(service, service.identity)


@pytest.mark.parametrize("name", ["other", "", None, 3, ["tiny"], "../tiny"])
def test_other_names_are_refused(name: object, serve: Any) -> None:
    with pytest.raises(ApiError, match="GET /v1/models") as caught:
        check_model(serve(), name)

    assert (caught.value.status, caught.value.kind) == (404, "model_not_found")
