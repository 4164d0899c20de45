"""The task zero-shot-image-classification, with the client of huggingface_hub and with curl.

Set ZEROSHOT_OLD_HUB to the Python of an environment with huggingface_hub 1.17 to test that version:
`python -m venv old && old/bin/pip install huggingface_hub==1.17.0`, ZEROSHOT_OLD_HUB=old/bin/python
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zeroshot

pytest.importorskip("fastapi", reason="requires the serve extra")
pytest.importorskip("uvicorn", reason="requires the serve extra")

from tests.serving.dialects.running import serving

LABELS = ["a cat", "a dog", "an owl"]
JSON = {"Content-Type": "application/json"}
OLD = os.environ.get("ZEROSHOT_OLD_HUB", "")
SCRIPT = """
import sys
from pathlib import Path
from huggingface_hub import InferenceClient, __version__
from huggingface_hub.errors import HfHubHTTPError

url, path, *labels = sys.argv[1:]
assert __version__.startswith("1.17."), __version__
content = Path(path).read_bytes()
for client in (InferenceClient(base_url=url), InferenceClient(model=url)):
    for image in (path, Path(path), content):
        found = client.zero_shot_image_classification(image, candidate_labels=labels)
        print(*(f"{each.label}={each.score:.5f}" for each in found), sep=",")
try:
    client.zero_shot_image_classification(b"garbage", candidate_labels=labels)
except HfHubHTTPError as error:
    print(error.response.status_code)
"""


@pytest.fixture
def url(tiny: zeroshot.Model) -> Iterator[str]:
    with serving(tiny) as url:
        yield url


@pytest.fixture
def path(jpeg: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "cat.jpg"
    path.write_bytes(jpeg)
    return path


def ranking_of(model: zeroshot.Model, image: bytes, template: str) -> list[tuple[str, Any]]:
    ranking = model.classifier(LABELS, template)(image, top=9).ranking
    return [(label, pytest.approx(score, abs=1e-5)) for label, score in ranking]


def body_of(image: bytes, **parameters: Any) -> dict[str, Any]:
    parameters.setdefault("candidate_labels", LABELS)
    return {"inputs": base64.b64encode(image).decode(), "parameters": parameters}


def test_hub_client_gets_the_ranking_of_the_model(
    url: str, tiny: zeroshot.Model, jpeg: bytes, path: Path
) -> None:
    hub = pytest.importorskip("huggingface_hub")
    expected = ranking_of(tiny, jpeg, "This is a photo of {}.")

    for client in (hub.InferenceClient(base_url=url), hub.InferenceClient(model=url)):
        for image in (jpeg, path, str(path)):
            found = client.zero_shot_image_classification(image, candidate_labels=LABELS)
            assert [(each.label, each.score) for each in found] == expected


def test_hub_client_selects_the_template(url: str, tiny: zeroshot.Model, jpeg: bytes) -> None:
    hub = pytest.importorskip("huggingface_hub")

    found = hub.InferenceClient(base_url=url).zero_shot_image_classification(
        jpeg, candidate_labels=LABELS, hypothesis_template="a drawing of {}"
    )

    expected = ranking_of(tiny, jpeg, "a drawing of {}")
    assert [(each.label, each.score) for each in found] == expected
    assert expected != ranking_of(tiny, jpeg, "This is a photo of {}.")


def test_hub_client_gets_the_reason_of_an_error(url: str) -> None:
    hub = pytest.importorskip("huggingface_hub")

    with pytest.raises(hub.errors.HfHubHTTPError, match="not an image") as caught:
        hub.InferenceClient(base_url=url).zero_shot_image_classification(
            b"garbage", candidate_labels=LABELS
        )

    assert caught.value.response.status_code == 422
    assert caught.value.response.json() == {"error": "the data is not an image"}


def test_hub_client_sends_the_key(tiny: zeroshot.Model, jpeg: bytes) -> None:
    hub = pytest.importorskip("huggingface_hub")
    with serving(tiny, api_key="right") as url:
        good = hub.InferenceClient(base_url=url, api_key="right")
        wrong = hub.InferenceClient(base_url=url, api_key="wrong")

        assert good.zero_shot_image_classification(jpeg, candidate_labels=LABELS)
        with pytest.raises(hub.errors.HfHubHTTPError) as caught:
            wrong.zero_shot_image_classification(jpeg, candidate_labels=LABELS)

    assert caught.value.response.status_code == 401
    assert isinstance(caught.value.response.json()["error"], str)


@pytest.mark.skipif(not OLD, reason="ZEROSHOT_OLD_HUB is not set; see the top of this file")
def test_oldest_hub_client_gets_the_same_answers(
    url: str, tiny: zeroshot.Model, jpeg: bytes, path: Path
) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [OLD, "-c", SCRIPT, url, str(path), *LABELS],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    *rankings, status = done.stdout.split("\n")[:-1]
    expected = tiny.classifier(LABELS, "This is a photo of {}.")(jpeg, top=9).ranking
    assert len(rankings) == 6
    for line in rankings:
        pairs = [pair.split("=") for pair in line.split(",")]
        assert [label for label, _ in pairs] == [label for label, _ in expected]
        scores = [float(score) for _, score in pairs]
        assert scores == pytest.approx([score for _, score in expected], abs=2e-5)
    assert status == "422"


@pytest.mark.skipif(shutil.which("curl") is None, reason="requires curl")
def test_curl_posts_to_the_root_and_to_the_model(
    url: str, tiny: zeroshot.Model, jpeg: bytes, tmp_path: Path
) -> None:
    (tmp_path / "body.json").write_text(json.dumps(body_of(jpeg)))
    arguments = ["curl", "-sS", "-H", "Content-Type: application/json"]
    arguments += ["--data", f"@{tmp_path / 'body.json'}", "--noproxy", "*"]

    answers = [
        json.loads(subprocess.run([*arguments, f"{url}{end}"], capture_output=True).stdout)
        for end in ("/", f"/models/{tiny.name}", "/models/other")
    ]

    expected = ranking_of(tiny, jpeg, "This is a photo of {}.")
    assert [(each["label"], each["score"]) for each in answers[0]] == expected
    assert answers[1] == answers[0]
    assert answers[2] == {
        "error": "this server runs another model; GET /v1/models returns its name"
    }


def test_labels_with_commas_and_data_urls_are_accepted(client: Any, jpeg: bytes) -> None:
    plain = client.post("/", json=body_of(jpeg))
    text = body_of(jpeg, candidate_labels=", ".join(LABELS), hypothesis_template=None)
    text["inputs"] = f"data:image/jpeg;base64,{text['inputs']}"

    assert plain.status_code == 200
    assert client.post("/", json=text).json() == plain.json()


def test_single_label_has_score_one(client: Any, jpeg: bytes) -> None:
    answer = client.post("/", json=body_of(jpeg, candidate_labels=["a cat"]))

    assert answer.json() == [{"label": "a cat", "score": 1.0}]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"inputs": None}, "base64"),
        ({"inputs": 3}, "base64"),
        ({"inputs": "not base64!"}, "base64"),
        ({"inputs": "https://example.com/a.png"}, "URLs of images are not accepted"),
        ({"parameters": None}, "parameters"),
        ({"parameters": ["cat"]}, "parameters"),
        ({"parameters": {}}, "candidate_labels"),
        ({"parameters": {"candidate_labels": {"cat": "dog"}}}, "candidate_labels"),
        ({"parameters": {"candidate_labels": []}}, "labels"),
        ({"parameters": {"candidate_labels": ["cat", "cat"]}}, "labels"),
        ({"parameters": {"candidate_labels": ["cat", 3]}}, "labels"),
        ({"parameters": {"candidate_labels": ["cat", "\ud800"]}}, "labels"),
        ({"parameters": {"candidate_labels": ["cat"] * 2_000}}, "labels"),
        ({"parameters": {"candidate_labels": LABELS, "hypothesis_template": "a"}}, "template"),
        ({"parameters": {"candidate_labels": LABELS, "hypothesis_template": "{}{}"}}, "template"),
        ({"parameters": {"candidate_labels": LABELS, "hypothesis_template": 3}}, "template"),
        ({"parameters": {"candidate_labels": LABELS, "hypothesis_template": "\ud800{}"}}, "templ"),
    ],
)
def test_invalid_requests_are_answered_with_a_text(
    change: dict[str, Any], says: str, client: Any, jpeg: bytes
) -> None:
    answer = client.post("/", content=json.dumps(body_of(jpeg) | change), headers=JSON)

    assert answer.status_code == 422
    assert list(answer.json()) == ["error"]
    assert says in answer.json()["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_bodies_that_are_no_object_are_refused(body: bytes, client: Any) -> None:
    answer = client.post("/", content=body, headers=JSON)

    assert answer.status_code == 422
    assert isinstance(answer.json()["error"], str)


def test_named_heads_only_refuses_labels(serve: Any, client_of: Any, jpeg: bytes) -> None:
    client = client_of(serve(allow_labels=False))

    assert client.post("/", json=body_of(jpeg)).status_code == 422


def test_urls_of_private_addresses_are_refused_without_details(
    serve: Any, client_of: Any, jpeg: bytes
) -> None:
    client = client_of(serve(allow_urls=True))

    answers = [
        client.post("/", json=body_of(jpeg) | {"inputs": url})
        for url in ("http://127.0.0.1/a.png", "http://[::1]/", "HTTP://169.254.169.254/latest")
    ]

    assert {answer.status_code for answer in answers} == {422}
    assert len({answer.text for answer in answers}) == 1
    assert not {"127", "169", "public"} & set(answers[0].text.split())
