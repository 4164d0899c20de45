"""Heads, embeddings and results behind all request forms."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import zeroshot
from zeroshot.errors import HeadMismatch, ImageError, InputError

pytest.importorskip("fastapi", reason="requires the serve extra")
from zeroshot.serving import service as module
from zeroshot.serving.errors import ApiError
from zeroshot.serving.settings import NamedLabels


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def test_embeddings_are_those_of_the_model_in_any_batch(
    serve: Callable[..., Any], tiny: zeroshot.Model, photos: list[Path]
) -> None:
    service = serve()
    images = [path.read_bytes() for path in photos] * 5
    expected = tiny.encode_image(images).cpu().numpy()

    together = run(service.embed_images(images))
    alone = [run(service.embed_images([image]))[0] for image in images[:7]]

    np.testing.assert_allclose(np.stack(together), expected, atol=1e-5)
    np.testing.assert_allclose(np.stack(alone), expected[:7], atol=1e-5)


def test_bad_images_are_errors_at_their_position(serve: Callable[..., Any], jpeg: bytes) -> None:
    found = run(serve().embed_images([jpeg, b"garbage", jpeg, jpeg[:100]]))

    assert [isinstance(each, ImageError) for each in found] == [False, True, False, True]


def test_bytes_are_never_read_as_path_or_url(serve: Callable[..., Any], photos: list[Path]) -> None:
    texts = [str(photos[0]).encode(), b"http://127.0.0.1:9/a.jpg", b"file:///etc/passwd", b""]

    found = run(serve().embed_images(texts))

    assert [each.kind for each in found] == ["not_image"] * 4


def test_more_images_than_the_queue_has_room_for_are_refused(
    serve: Callable[..., Any], jpeg: bytes
) -> None:
    with pytest.raises(ApiError, match="busy") as caught:
        run(serve(max_queue=3).embed_images([jpeg] * 4))
    assert caught.value.status == 503


def test_answer_is_that_of_a_classifier(
    serve: Callable[..., Any], tiny: zeroshot.Model, jpeg: bytes
) -> None:
    classifier = tiny.classifier(["cat", "dog", "owl"], none_of_these=True)
    service = serve(heads={"h": classifier.head})
    (embedding,) = run(service.embed_images([jpeg]))

    answer = service.answer(embedding, service.heads["h"], top=2)

    expected = classifier(jpeg, top=2)
    assert answer["label"] == expected.label
    assert answer["none"] == pytest.approx(expected.none, abs=1e-5)
    assert len(answer["ranking"]) == 2
    assert "source" not in answer


def test_heads_are_files_labels_or_heads(
    serve: Callable[..., Any], tiny: zeroshot.Model, head_file: Path
) -> None:
    service = serve(
        heads={
            "file": head_file,
            "labels": ["cat", "dog"],
            "synonyms": {"pet": ["cat", "dog"], "boat": "boat"},
            "none": NamedLabels(["cat", "dog"], "{}", none_of_these=True),
            "head": tiny.head(["oak", "elm"]),
        }
    )

    assert service.heads["file"].labels == ("cod", "eel")
    assert service.heads["synonyms"].labels == ("pet", "boat")
    assert service.heads["none"].classes[-1] == "none of these"
    assert run(service.head_for(name="head")).labels == ("oak", "elm")


def test_head_of_another_model_is_rejected_at_the_start(
    serve: Callable[..., Any], colors: zeroshot.Classifier
) -> None:
    with pytest.raises(HeadMismatch):
        serve(heads={"colors": colors.head})


def test_head_with_independent_scores_is_rejected_at_the_start(
    serve: Callable[..., Any], tiny: zeroshot.Model
) -> None:
    head = tiny.head(["cat", "dog"], scores="independent")

    with pytest.raises(InputError, match="independent"):
        serve(heads={"many": head})


def test_head_of_equal_labels_is_built_once(serve: Callable[..., Any]) -> None:
    service = serve()

    async def ask() -> list[Any]:
        return await asyncio.gather(*(service.head_for(["cat", "owl"]) for _ in range(20)))

    heads = run(ask())

    assert len({id(head) for head in heads}) == 1
    assert service.metrics.heads_built == 1


def test_cache_drops_the_heads_used_least_recently(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEADS", 2)
    service = serve()

    async def ask() -> None:
        for labels in (["a", "b"], ["c", "d"], ["a", "b"], ["e", "f"], ["a", "b"], ["c", "d"]):
            await service.head_for(labels)

    run(ask())

    assert service.metrics.heads_built == 4  # ["c", "d"] twice


def test_cache_is_bounded_by_its_labels(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEAD_ROWS", 5)
    service = serve()

    async def ask() -> None:
        for labels in (["a", "b", "c"], ["d", "e", "f"], ["a", "b", "c"]):
            await service.head_for(labels)

    run(ask())

    assert service.metrics.heads_built == 3


def test_too_many_heads_to_build_are_refused(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUILDS", 2)
    service = serve()

    async def ask() -> list[Any]:
        wanted = [service.head_for([f"label {n}", "dog"]) for n in range(5)]
        return await asyncio.gather(*wanted, return_exceptions=True)

    refused = [each for each in run(ask()) if isinstance(each, ApiError)]

    assert [error.status for error in refused] == [503] * 3


def test_labels_of_requests_are_not_stored_on_disk(
    serve: Callable[..., Any], label_cache: Path
) -> None:
    service = serve(heads={})
    before = sorted(label_cache.rglob("*"))

    run(service.head_for(["private label", "dog"]))

    assert sorted(label_cache.rglob("*")) == before


def test_long_templates_are_refused_before_they_are_filled(serve: Callable[..., Any]) -> None:
    service = serve()
    for templates in ("{}" + "x" * 1000, ["a {}", "{}" + "x" * 1000]):
        with pytest.raises(ApiError, match="templates of at most 1000 characters"):
            run(service.head_for(["cat", "dog"], templates))


def test_a_head_that_is_built_stops_with_the_server(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = serve()
    calls: list[int] = []
    encode = zeroshot.Model.encode_text

    def count(model: zeroshot.Model, texts: Any) -> torch.Tensor:
        calls.append(len(texts))
        service.close()
        return encode(model, texts)

    monkeypatch.setattr(zeroshot.Model, "encode_text", count)

    with pytest.raises(ApiError) as caught:
        run(service.head_for([f"label {n}" for n in range(900)]))

    assert caught.value.status == 503
    assert len(calls) == 1
    assert calls[0] <= module.STOP_TEXTS


def test_texts_are_tokenized_in_parts_of_some_characters() -> None:
    texts = ["x" * 40, "y" * (module.CHARACTERS - 50), "z" * 20, "z", "z", "z"]

    parts = list(module._parts(texts, 3))

    assert [len(part) for part in parts] == [2, 3, 1]
    assert [text for part in parts for text in part] == texts
    assert list(module._parts(["x" * 2 * module.CHARACTERS], 3)) == [["x" * 2 * module.CHARACTERS]]


def test_templates_of_a_prompt_set_keep_its_name_only_if_they_are_given_by_it(
    serve: Callable[..., Any],
) -> None:
    service = serve()
    listed = list(zeroshot.prompts.get("photo").templates)

    found = [run(service.head_for(["cat", "dog"], each)) for each in (listed, None, "photo")]

    assert [head.prompts for head in found] == ["custom", "photo", "photo"]


def test_templates_are_never_read_from_files(serve: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("a {}\n")

    with pytest.raises(ApiError, match="templates"):
        run(serve().head_for(["cat", "dog"], str(path)))


def test_texts_are_embedded_with_unit_length(
    serve: Callable[..., Any], tiny: zeroshot.Model
) -> None:
    service = serve()

    rows = run(service.embed_texts(["a cat", "a dog"]))

    np.testing.assert_allclose(rows, tiny.encode_text(["a cat", "a dog"]).cpu(), atol=1e-6)
    with pytest.raises(ApiError, match="tokens"):
        run(service.embed_texts(["cat " * 500]))


def test_texts_of_a_client_that_left_are_not_embedded(
    serve: Callable[..., Any], tiny: zeroshot.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = serve(heads={})
    counts: list[int] = []
    started, go_on = threading.Event(), threading.Event()

    def encode_text(texts: list[str], **options: Any) -> torch.Tensor:
        counts.append(len(texts))
        started.set()
        go_on.wait(5)
        return torch.zeros(len(texts), tiny.embed_dim)

    monkeypatch.setattr(service, "model", SimpleNamespace(encode_text=encode_text))

    async def ask_and_leave() -> None:
        task = asyncio.ensure_future(service.embed_texts(["a cat"] * 2000))
        await asyncio.to_thread(started.wait, 5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        go_on.set()
        await service._build(list)  # waits for the thread

    run(ask_and_leave())

    assert sum(counts) < 2000


def test_head_that_no_client_waits_for_is_not_built(serve: Callable[..., Any]) -> None:
    service = serve(heads={})
    go_on = threading.Event()

    async def ask_and_leave() -> int:
        blocker = asyncio.ensure_future(service._build(go_on.wait, 5))
        await asyncio.sleep(0)
        asks = [asyncio.ensure_future(service.head_for([name, "b"])) for name in ("a", "a", "c")]
        await asyncio.sleep(0.02)
        asks[0].cancel()
        asks[2].cancel()
        await asyncio.sleep(0.02)
        again = asyncio.ensure_future(service.head_for(["a", "b"]))
        go_on.set()
        assert len(await asks[1]) == len(await again) == 2
        await blocker
        await service._build(list)
        return int(service.metrics.heads_built)

    assert run(ask_and_leave()) == 1
    assert not service._builds


def test_long_labels_are_refused_before_they_are_cleaned(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zeroshot.serving.service.named", None)
    text = "x" * 1001
    for labels in (["a", text], {text: "a"}, {"a": text}, {"a": ["b", text]}):
        with pytest.raises(ApiError, match="characters"):
            run(serve(heads={}).head_for(labels))


def test_name_of_the_model_shows_no_path(serve: Callable[..., Any]) -> None:
    assert "/" not in serve().name
