"""`POST /v1/classify` in its three forms, and the lists of models and heads."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

import zeroshot

PATH = "/v1/classify"


def as_text(image: bytes) -> str:
    return base64.b64encode(image).decode()


def test_raw_body_gives_what_classify_gives(client: Any, tiny: zeroshot.Model, jpeg: bytes) -> None:
    expected = tiny.classifier(["cat", "dog", "owl"])(jpeg, top=2)

    answer = client.post(PATH, params={"labels": "cat, dog,owl", "top": 2}, content=jpeg)

    assert answer.status_code == 200
    (result,) = answer.json()["results"]
    assert result["label"] == expected.label
    assert result["probability"] == pytest.approx(expected.probability, abs=1e-5)
    assert [each["label"] for each in result["ranking"]] == [name for name, _ in expected.ranking]
    assert answer.json()["identity"] == tiny.identity
    assert answer.json()["prompts"] == "photo"


def test_three_forms_give_equal_answers(client: Any, jpeg: bytes) -> None:
    raw = client.post(PATH, params={"labels": '["cat", "dog"]'}, content=jpeg)
    form = client.post(PATH, data={"labels": "cat,dog"}, files={"image": jpeg})
    plain = client.post(PATH, json={"labels": ["cat", "dog"], "image": as_text(jpeg)})
    url = f"data:image/jpeg;base64,{as_text(jpeg)}"
    data = client.post(PATH, json={"labels": {"cat": ["cat"], "dog": "dog"}, "image": url})

    assert raw.status_code == 200
    assert raw.json() == form.json() == plain.json() == data.json()


def test_repeated_fields_are_joined_or_refused(client: Any, jpeg: bytes) -> None:
    expected = client.post(PATH, params={"labels": "cat,dog,owl"}, content=jpeg).json()

    query = client.post(PATH, params={"labels": ["cat,dog", "owl"]}, content=jpeg)
    fields: Any = {"labels": ["cat", "dog", "owl"]}
    form = client.post(PATH, data=fields, files={"image": jpeg})
    templates = client.post(
        PATH, params={"labels": "cat,dog", "templates": ["a {}", "the {}"]}, content=jpeg
    )
    listed = client.post(
        PATH,
        json={"labels": ["cat", "dog"], "templates": ["a {}", "the {}"], "image": as_text(jpeg)},
    )

    assert query.json() == form.json() == expected
    assert templates.json() == listed.json()
    for words in ({"top": ["1", "2"]}, {"head": ["pets", "pets"]}, {"labels": ["{}", "a,b"]}):
        answer = client.post(PATH, params={"labels": "cat,dog"} | words, content=jpeg)
        assert answer.status_code == 422
    both = client.post(
        PATH, params={"labels": "cat,dog"}, data={"labels": "owl,bee"}, files={"image": jpeg}
    )
    assert both.json()["error"]["message"] == (
        "expected 'labels' in the query or in the body, got both"
    )


@pytest.mark.parametrize("labels", ["cat", "cat;dog", "cifar10", '["cat"]', "cat,Cat", '"cat'])
def test_labels_that_cannot_be_told_apart_are_refused(
    client: Any, jpeg: bytes, labels: str
) -> None:
    answer = client.post(PATH, params={"labels": labels}, content=jpeg)

    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "labels"


@pytest.mark.parametrize("name", ["template", "Top", "threshold", "none_of_these"])
def test_unknown_fields_are_refused(client: Any, jpeg: bytes, name: str) -> None:
    query = client.post(PATH, params={"head": "pets", name: "1"}, content=jpeg)
    plain = client.post(PATH, json={"head": "pets", name: 1, "image": as_text(jpeg)})

    for answer in (query, plain):
        assert answer.status_code == 422
        assert f"unknown field '{name}'; expected head, image" in answer.json()["error"]["message"]


def test_name_of_the_model_is_checked(client: Any, tiny: zeroshot.Model, jpeg: bytes) -> None:
    right = client.post(PATH, params={"head": "pets", "model": tiny.name}, content=jpeg)
    wrong = client.post(PATH, params={"head": "pets", "model": "ViT-B/32"}, content=jpeg)

    assert (right.status_code, wrong.status_code) == (200, 404)
    assert client.get(f"/v1/models/{tiny.name}").json()["id"] == tiny.name
    assert client.get("/v1/models/ViT-B/32").status_code == 404


def test_named_head_is_used(client: Any, jpeg: bytes) -> None:
    answer = client.post(PATH, params={"head": "pets"}, content=jpeg)

    assert {each["label"] for each in answer.json()["results"][0]["ranking"]} == {"cat", "dog"}


def test_bad_image_of_a_batch_is_an_item_with_an_error(client: Any, jpeg: bytes) -> None:
    images = [as_text(jpeg), as_text(b"garbage"), "not base64!", as_text(jpeg[: len(jpeg) // 2])]

    answer = client.post(PATH, json={"head": "pets", "images": images})

    assert answer.status_code == 200
    good, *bad = answer.json()["results"]
    assert good["label"] in ("cat", "dog")
    assert [each["error"]["code"] for each in bad] == ["not_image", "base64", "truncated"]
    assert "garbage" not in answer.text


def test_several_files_of_a_form_are_a_batch(client: Any, jpeg: bytes) -> None:
    files = [("image", jpeg), ("image", b"garbage")]

    answer = client.post(PATH, data={"head": "pets"}, files=files)

    assert [next(iter(each)) for each in answer.json()["results"]] == ["label", "error"]


def test_templates_of_a_request_are_used(client: Any, tiny: zeroshot.Model, jpeg: bytes) -> None:
    expected = tiny.classifier(["cat", "dog"], "a sketch of a {}.")(jpeg)
    body = {"image": as_text(jpeg), "labels": ["cat", "dog"], "templates": ["a sketch of a {}."]}

    (result,) = client.post(PATH, json=body).json()["results"]

    assert result["probability"] == pytest.approx(expected.probability, abs=1e-5)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"labels": []}, 422),
        ({"labels": "cat,cat"}, 422),
        ({"labels": ["cat", 3]}, 422),
        ({"labels": ["cat", ""]}, 422),
        ({"labels": ["cat", "\x00"]}, 422),
        ({"labels": {"pet": {"cat": "cat"}}}, 422),
        ({"labels": 5}, 422),
        ({"labels": [f"label {n}" for n in range(1001)]}, 422),
        ({"labels": ["word " * 400, "dog"]}, 422),
        ({"labels": ["cat " * 100, "dog"]}, 422),
        ({}, 422),
        ({"labels": ["cat", "dog"], "head": "pets"}, 422),
        ({"head": "fish"}, 404),
        ({"head": 7}, 404),
        ({"head": ["pets"]}, 404),
        ({"head": "../../etc/passwd"}, 404),
        ({"head": "pets", "templates": ["{}"]}, 422),
        ({"head": "pets", "top": 0}, 422),
        ({"head": "pets", "top": "many"}, 422),
        ({"head": "pets", "top": 1e9}, 422),
        ({"head": "pets", "top": True}, 422),
        ({"labels": ["cat", "dog"], "templates": "/etc/passwd"}, 422),
        ({"labels": ["cat", "dog"], "templates": "{0.__class__}"}, 422),
        ({"labels": ["cat", "dog"], "templates": ["no place"]}, 422),
        ({"labels": ["cat", "dog"], "templates": [7]}, 422),
        ({"labels": ["cat", "dog"], "templates": ["{}" + " very" * 500]}, 422),
        (
            {
                "labels": [f"{n}" for n in range(1000)],
                "templates": ["{}" + "." * n for n in range(21)],
            },
            422,
        ),
    ],
)
def test_invalid_fields_are_rejected(
    client: Any, jpeg: bytes, fields: dict[str, Any], status: int
) -> None:
    answer = client.post(PATH, json={"image": as_text(jpeg), **fields})

    assert answer.status_code == status, answer.text
    assert set(answer.json()["error"]) == {"message", "type", "code"}


def test_server_without_labels_accepts_named_heads_only(
    serve: Callable[..., Any], client_of: Callable[..., Any], jpeg: bytes
) -> None:
    client = client_of(serve(allow_labels=False))

    assert client.post(PATH, params={"labels": "cat,dog"}, content=jpeg).status_code == 422
    assert client.post(PATH, params={"head": "pets"}, content=jpeg).status_code == 200


def test_lists_show_the_model_and_the_heads(client: Any, tiny: zeroshot.Model) -> None:
    (model,) = client.get("/v1/models").json()["data"]
    (head,) = client.get("/v1/heads").json()["heads"]

    assert model["dim"] == tiny.embed_dim
    assert model["identity"] == tiny.identity
    assert "/" not in model["id"]
    assert (head["name"], head["labels"]) == ("pets", ["cat", "dog"])
