from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import zeroshot
from tests.support import FakeEncoder
from zeroshot import Head, PromptSet, prompts
from zeroshot import head as module
from zeroshot.errors import HeadMismatch, LabelError, PromptError, TokenLimitError

TEMPLATES = PromptSet(("{}", "a photo of a {}.", "the {}, on green grass"), "mine")
LABELS = {"red": ["red", "crimson roof"], "blue": "blue", "grey": ["grey", "gray", "ash"]}


def plain_head(encoder: Any, labels: dict[str, Any], templates: Sequence[str]) -> torch.Tensor:
    """Normalise each sentence's embedding, average, normalise again; one sentence a time."""
    rows = []
    for names in labels.values():
        embeddings = []
        for name in [names] if isinstance(names, str) else names:
            for template in templates:
                embedding = encoder.encode_text([template.replace("{}", name)])[0].double()
                embeddings.append(embedding / embedding.norm())
        mean = torch.stack(embeddings).mean(dim=0)
        rows.append(mean / mean.norm())
    return torch.stack(rows)


def test_a_head_equals_the_plain_loop_over_templates(encoder: FakeEncoder) -> None:
    head = Head.build(encoder, LABELS, TEMPLATES)
    wanted = plain_head(encoder, LABELS, TEMPLATES.templates)
    torch.testing.assert_close(head.weight.double(), wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["imagenet7", "photo", "fer2013"])
def test_a_head_of_a_model_equals_the_plain_loop(tiny: zeroshot.Model, name: str) -> None:
    labels = {"dog": ["dog", "hound"], "cat": "cat", "fire engine": "fire engine"}
    head = tiny.head(labels, name)
    wanted = plain_head(tiny, labels, prompts.get(name).templates)
    torch.testing.assert_close(head.weight.double(), wanted, atol=1e-6, rtol=0)


def test_every_normalisation_matters(tiny: zeroshot.Model) -> None:
    """Skipping the first or the second one gives another head, so the tests above would fail."""
    templates = prompts.get("imagenet7").templates
    raw = tiny.encode_text([t.replace("{}", "dog") for t in templates], normalize=False)
    assert raw.norm(dim=1).std() > 0.01 * raw.norm(dim=1).mean()  # lengths differ
    first_skipped = torch.nn.functional.normalize(raw.mean(dim=0), dim=0)
    second_skipped = torch.nn.functional.normalize(raw, dim=1).mean(dim=0)
    weight = tiny.head(["dog", "cat"], "imagenet7").weight[0]
    assert (weight - first_skipped).abs().max() > 1e-4
    assert (weight - second_skipped).abs().max() > 1e-4
    torch.testing.assert_close(weight.norm(), torch.tensor(1.0))


def test_one_name_and_one_template_is_the_sentence_itself(encoder: FakeEncoder) -> None:
    head = Head.build(encoder, ["red", "blue"], "my {}")
    torch.testing.assert_close(head.weight, encoder.encode_text(["my red", "my blue"]))


def test_a_head_remembers_where_it_came_from(encoder: FakeEncoder) -> None:
    head = Head.build(encoder, LABELS, TEMPLATES)
    assert head.labels == ("red", "blue", "grey")
    assert head.names == (("red", "crimson roof"), ("blue",), ("grey", "gray", "ash"))
    assert (head.templates, head.prompts) == (TEMPLATES.templates, "mine")
    assert (head.model, head.logit_scale, head.logit_bias) == ("fake", 10.0, None)
    assert len(head) == 3
    assert repr(head) == "<Head of 3 labels, prompts 'mine', 3-d>"


@pytest.mark.parametrize("sentences", [1, 2, 4, 7, 1_000])
def test_building_in_chunks_gives_the_same_head(
    encoder: FakeEncoder, sentences: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = {f"label {n} {'r' * n}": ["x" * n or "y", f"name g{n}"] for n in range(10)}
    whole = Head.build(encoder, labels, TEMPLATES)
    asked: list[int] = []

    class Counting(FakeEncoder):
        def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
            asked.append(len(texts))
            return super().encode_text(texts)

    monkeypatch.setattr(module, "SENTENCES", sentences)
    parts = Head.build(Counting(), labels, TEMPLATES)
    torch.testing.assert_close(parts.weight, whole.weight, atol=1e-6, rtol=0)
    assert sum(asked) == 10 * 2 * 3
    assert max(asked) <= max(sentences, 3) * 2  # two names a label


def test_sentences_are_embedded_many_at_a_time(encoder: FakeEncoder) -> None:
    asked: list[int] = []

    class Counting(FakeEncoder):
        def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
            asked.append(len(texts))
            return super().encode_text(texts)

    Head.build(Counting(), [f"label {n}" for n in range(100)], TEMPLATES)
    assert asked == [300]


def test_a_label_that_is_too_long_is_named_with_its_count(tiny: zeroshot.Model) -> None:
    with pytest.raises(TokenLimitError, match=r"very very .* tokens") as caught:
        tiny.head(["cat", "very " * 200 + "long dog"])
    assert caught.value.tokens > 200
    assert "long dog" in caught.value.text


@pytest.mark.parametrize(
    ("labels", "templates", "error"),
    [
        ("cat", TEMPLATES, LabelError),
        ([], TEMPLATES, LabelError),
        (["a", "a"], TEMPLATES, LabelError),
        (["a"], "imagnet", PromptError),
        (["a"], ["no slot"], PromptError),
    ],
)
def test_bad_labels_and_prompts_are_refused_before_the_encoder_is_asked(
    labels: Any, templates: Any, error: type[Exception]
) -> None:
    class Silent(FakeEncoder):
        def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
            raise AssertionError("asked")

    with pytest.raises(error):
        Head.build(Silent(), labels, templates)


# logits


def test_logits_are_scaled_cosines(encoder: FakeEncoder) -> None:
    head = Head.build(encoder, ["red", "green", "blue"], "{}")
    images = torch.nn.functional.normalize(torch.rand(5, 3), dim=1)
    logits = head.logits(images)
    assert logits.shape == (5, 3)
    for row in range(5):
        for column in range(3):
            cosine = float(images[row].double() @ head.weight[column].double())
            assert logits[row, column] == pytest.approx(10 * cosine, abs=1e-5)
    torch.testing.assert_close(head.logits(images[2]), logits[2])


def test_a_bias_is_added(encoder: FakeEncoder) -> None:
    head = Head.build(encoder, ["red", "green"], "{}")
    images = torch.nn.functional.normalize(torch.rand(5, 3), dim=1)
    biased = replace(head, logit_bias=-12.5)
    torch.testing.assert_close(biased.logits(images), head.logits(images) - 12.5)


def test_half_precision_embeddings_are_scored_in_single(encoder: FakeEncoder) -> None:
    head = Head.build(encoder, ["red", "green"], "{}")
    assert head.logits(torch.rand(2, 3).half()).dtype == torch.float32


# select and join


def test_select_keeps_the_labels_named_in_their_order(encoder: FakeEncoder) -> None:
    head = Head.build(encoder, LABELS, TEMPLATES)
    part = head.select(["grey", "red"])
    assert part.labels == ("grey", "red")
    assert part.names == (("grey", "gray", "ash"), ("red", "crimson roof"))
    torch.testing.assert_close(part.weight, head.weight[[2, 0]])
    assert part.model == head.model
    assert head.labels == ("red", "blue", "grey")


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (["pink"], "no label 'pink'; choose from 'red', 'blue'"),
        ("red", r"pass \['red'\]"),
        ([], "no labels given"),
        (["red", "red"], "duplicate label"),
    ],
)
def test_select_tells_what_it_cannot_do(encoder: FakeEncoder, labels: Any, says: str) -> None:
    with pytest.raises(LabelError, match=says):
        Head.build(encoder, LABELS, TEMPLATES).select(labels)


def test_heads_of_one_model_can_be_joined(encoder: FakeEncoder) -> None:
    whole = Head.build(encoder, ["red", "green", "blue"], TEMPLATES)
    joined = Head.build(encoder, ["red", "green"], TEMPLATES) + Head.build(
        encoder, ["blue"], TEMPLATES
    )
    assert joined.labels == whole.labels
    assert joined.names == whole.names
    assert joined.templates == TEMPLATES.templates
    torch.testing.assert_close(joined.weight, whole.weight)


def test_heads_of_other_prompts_remember_both(encoder: FakeEncoder) -> None:
    joined = Head.build(encoder, ["red"], TEMPLATES) + Head.build(encoder, ["blue"], "my {}")
    assert joined.templates == (*TEMPLATES.templates, "my {}")
    assert joined.prompts == "mine|custom"


@pytest.mark.parametrize("again", ["red", " red ", "red\t"])
def test_heads_that_share_a_label_are_not_joined(encoder: FakeEncoder, again: str) -> None:
    with pytest.raises(LabelError, match="select"):
        Head.build(encoder, ["red"], "{}") + Head.build(encoder, ["blue", again], "{}")


def test_heads_of_different_models_are_not_joined(encoder: FakeEncoder) -> None:
    head = Head.build(encoder, ["red"], "{}")
    with pytest.raises(HeadMismatch, match=r"'other'.*rebuild it"):
        replace(head, model="other") + Head.build(encoder, ["blue"], "{}")


# files


def saved(encoder: FakeEncoder, folder: Path) -> Path:
    path = folder / "head.safetensors"
    Head.build(encoder, LABELS, TEMPLATES).save(path)
    return path


def test_a_saved_head_comes_back_whole(encoder: FakeEncoder, tmp_path: Path) -> None:
    labels = {"Käfer 🐞": ["Käfer", "甲虫"], 'quote " \\ {}': "x", "\u2028line": "y"}
    head = Head.build(encoder, labels, ["ein {} – schön", "{}"])
    path = tmp_path / "kopf ü.safetensors"
    head.save(path)
    found = Head.load(str(path))
    torch.testing.assert_close(found.weight, head.weight, atol=0, rtol=0)
    for fact in ("labels", "names", "templates", "prompts", "model", "logit_scale", "logit_bias"):
        assert getattr(found, fact) == getattr(head, fact)


def test_a_bias_and_scale_come_back(encoder: FakeEncoder, tmp_path: Path) -> None:
    head = replace(Head.build(encoder, ["a", "b"]), logit_bias=-12.932, logit_scale=117.33)
    head.save(tmp_path / "h.safetensors")
    found = Head.load(tmp_path / "h.safetensors")
    assert (found.logit_bias, found.logit_scale) == (-12.932, 117.33)


def test_a_joined_and_a_selected_head_can_be_saved(encoder: FakeEncoder, tmp_path: Path) -> None:
    joined = Head.build(encoder, ["red"], TEMPLATES) + Head.build(encoder, ["blue"], "my {}")
    for head in (joined, joined.select(["blue"])):
        head.save(tmp_path / "h.safetensors")
        assert Head.load(tmp_path / "h.safetensors").labels == head.labels


def test_saving_replaces_a_file_and_leaves_nothing_beside_it(
    encoder: FakeEncoder, tmp_path: Path
) -> None:
    path = saved(encoder, tmp_path)
    Head.build(encoder, ["new", "labels"]).save(path)
    assert Head.load(path).labels == ("new", "labels")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_failed_save_leaves_the_old_file(
    encoder: FakeEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(encoder, tmp_path)

    def full(source: Path, target: Path) -> None:
        assert source.exists()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        Head.build(encoder, ["new"]).save(path)
    assert Head.load(path).labels == ("red", "blue", "grey")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_saving_into_a_folder_that_is_not_there_is_an_os_error(
    encoder: FakeEncoder, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match="none"):
        Head.build(encoder, ["new"]).save(tmp_path / "none" / "h.safetensors")


def test_a_missing_head_is_a_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors"):
        Head.load(tmp_path / "none.safetensors")


@pytest.mark.parametrize("twentieth", range(20))
def test_a_cut_head_file_is_refused(encoder: FakeEncoder, tmp_path: Path, twentieth: int) -> None:
    path = saved(encoder, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * twentieth // 20])
    with pytest.raises(HeadMismatch, match=r"head\.safetensors: not a head"):
        Head.load(path)


def test_flipped_bits_give_a_head_or_a_refusal(encoder: FakeEncoder, tmp_path: Path) -> None:
    path = saved(encoder, tmp_path)
    content = path.read_bytes()
    random = np.random.default_rng(5)
    refused = 0
    for _ in range(300):
        broken = bytearray(content)
        broken[random.integers(0, len(broken))] ^= 1 << random.integers(0, 8)
        path.write_bytes(broken)
        try:
            Head.load(path)
        except HeadMismatch:
            refused += 1
    assert refused > 100


FACTS: dict[str, Any] = {
    "labels": ["a", "b"],
    "names": [["a"], ["b"]],
    "templates": ["{}"],
    "prompts": "mine",
    "logit_scale": 10.0,
    "logit_bias": None,
    "model": "fake",
}


def write(path: Path, facts: Any = FACTS, tensors: Any = None) -> Path:
    if tensors is None:
        tensors = {"weight": torch.eye(2)}
    text = facts if isinstance(facts, str) else json.dumps(facts)
    save_file(tensors, path, {module.METADATA_KEY: text})
    return path


def test_the_file_format_is_what_these_tests_write(tmp_path: Path) -> None:
    assert Head.load(write(tmp_path / "h")).labels == ("a", "b")


@pytest.mark.parametrize("fact", FACTS)
def test_a_head_without_one_of_its_facts_is_refused(fact: str, tmp_path: Path) -> None:
    facts = {key: value for key, value in FACTS.items() if key != fact}
    with pytest.raises(HeadMismatch, match=f"'{fact}' is missing"):
        Head.load(write(tmp_path / "h", facts))


@pytest.mark.parametrize(
    "change",
    [
        {"labels": ["a", "a"]},
        {"labels": ["a", "b", "c"]},
        {"labels": "ab"},
        {"labels": [1, 2]},
        {"labels": None},
        {"names": [["a"]]},
        {"names": 5},
        {"names": [5, 5]},
        {"templates": 5},
        {"logit_scale": "much"},
        {"logit_scale": float("nan")},
        {"logit_scale": float("inf")},
        {"logit_scale": 0.0},
        {"logit_scale": -1.0},
        {"logit_scale": []},
        {"logit_bias": float("nan")},
        {"logit_bias": "b"},
    ],
    ids=str,
)
def test_a_head_with_a_false_fact_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(HeadMismatch):
        Head.load(write(tmp_path / "h", FACTS | change))


@pytest.mark.parametrize("facts", ["", "{", "[]", "5", "null", "[" * 100_000, '"x"'])
def test_facts_that_are_no_table_are_refused(facts: str, tmp_path: Path) -> None:
    with pytest.raises(HeadMismatch):
        Head.load(write(tmp_path / "h", facts))


@pytest.mark.parametrize(
    "weight",
    [
        torch.eye(2).half(),
        torch.eye(2).double(),
        torch.eye(2).long(),
        torch.eye(3),
        torch.zeros(2),
        torch.zeros(2, 2),
        torch.eye(2) * 1.01,
        torch.eye(2) * float("nan"),
        torch.tensor([[1.0, float("inf")], [0.0, 1.0]]),
        torch.zeros(2, 0),
    ],
    ids=lambda w: f"{w.dtype} {tuple(w.shape)}",
)
def test_other_weights_are_refused(weight: torch.Tensor, tmp_path: Path) -> None:
    with pytest.raises(HeadMismatch):
        Head.load(write(tmp_path / "h", tensors={"weight": weight}))


def test_a_file_of_other_tensors_is_no_head(tmp_path: Path, tiny_path: Path) -> None:
    with pytest.raises(HeadMismatch):
        Head.load(write(tmp_path / "h", tensors={"other": torch.eye(2)}))
    with pytest.raises(HeadMismatch, match=r"not a head .*make one with model\.head"):
        Head.load(tiny_path)


@pytest.mark.parametrize("content", [b"", b"x", b"\x80\x04}q\x00.", b"PK\x03\x04" * 9])
def test_other_files_are_no_heads(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "h").write_bytes(content)
    with pytest.raises(HeadMismatch):
        Head.load(tmp_path / "h")


@pytest.mark.parametrize("length", [2**24 + 1, 2**40, 2**63, 2**64 - 1])
def test_an_oversized_header_is_refused_unread(length: int, tmp_path: Path) -> None:
    (tmp_path / "h").write_bytes(struct.pack("<Q", length) + b"{}" * 100)
    with pytest.raises(HeadMismatch, match=f"header of {length} bytes"):
        Head.load(tmp_path / "h")


def test_a_folder_is_no_head(tmp_path: Path) -> None:
    with pytest.raises(HeadMismatch):
        Head.load(tmp_path)


def test_a_loaded_head_does_not_need_its_file(encoder: FakeEncoder, tmp_path: Path) -> None:
    path = saved(encoder, tmp_path)
    head = Head.load(path)
    wanted = head.weight.clone()
    path.write_bytes(b"\0" * path.stat().st_size)
    torch.testing.assert_close(head.weight, wanted, atol=0, rtol=0)


def test_a_head_can_be_trained_on(tiny: zeroshot.Model) -> None:
    """Weights are ordinary tensors, not inference tensors: autograd may save them."""
    head = tiny.head(["a cat", "a dog"])
    images = torch.rand(3, tiny.embed_dim, requires_grad=True)
    head.logits(images).sum().backward()
    assert images.grad is not None
