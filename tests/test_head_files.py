"""A saved head loads unchanged; damaged and foreign files are rejected."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tests.support import FakeEncoder
from zeroshot import Head, PromptSet, files
from zeroshot import head_files as module
from zeroshot.calibration import Calibration
from zeroshot.errors import HeadMismatch, HeadNotFound, SaveError

TEMPLATES = PromptSet(("{}", "a photo of a {}.", "the {}, on green grass"), "mine")
LABELS = {"red": ["red", "crimson roof"], "blue": "blue", "gray": ["gray", "grey", "ash"]}


def saved(encoder: FakeEncoder, folder: Path) -> Path:
    path = folder / "head.safetensors"
    Head.build(encoder, LABELS, TEMPLATES).save(path)
    return path


def test_a_saved_head_loads_unchanged(encoder: FakeEncoder, tmp_path: Path) -> None:
    labels = {"Käfer 🐞": ["Käfer", "甲虫"], 'quote " \\ {}': "x", "\u2028line": "y"}
    head = Head.build(encoder, labels, ["ein {} – schön", "{}"])
    path = tmp_path / "kopf ü.safetensors"
    head.save(path)
    found = Head.load(str(path))
    torch.testing.assert_close(found.weight, head.weight, atol=0, rtol=0)
    facts = ("labels", "names", "templates", "prompts", "model", "logit_scale", "logit_bias")
    for fact in (*facts, "source"):
        assert getattr(found, fact) == getattr(head, fact)


def test_bias_and_scale_are_saved(encoder: FakeEncoder, tmp_path: Path) -> None:
    head = replace(Head.build(encoder, ["a", "b"]), logit_bias=-12.932, logit_scale=117.33)
    head.save(tmp_path / "h.safetensors")
    found = Head.load(tmp_path / "h.safetensors")
    assert (found.logit_bias, found.logit_scale) == (-12.932, 117.33)


def test_concatenated_and_selected_heads_can_be_saved(encoder: FakeEncoder, tmp_path: Path) -> None:
    joined = Head.build(encoder, ["red"], TEMPLATES) + Head.build(encoder, ["blue"], "my {}")
    for head in (joined, joined.select(["blue"])):
        head.save(tmp_path / "h.safetensors")
        assert Head.load(tmp_path / "h.safetensors").labels == head.labels


def test_saving_replaces_a_file_and_leaves_no_temporary_file(
    encoder: FakeEncoder, tmp_path: Path
) -> None:
    path = saved(encoder, tmp_path)
    Head.build(encoder, ["new", "labels"]).save(path)
    assert Head.load(path).labels == ("new", "labels")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_failed_save_keeps_the_old_file(
    encoder: FakeEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(encoder, tmp_path)

    def full(source: Path, target: Path) -> None:
        assert source.exists()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        Head.build(encoder, ["new"]).save(path)
    assert Head.load(path).labels == ("red", "blue", "gray")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_saving_into_a_missing_folder_is_an_error(encoder: FakeEncoder, tmp_path: Path) -> None:
    with pytest.raises(SaveError, match=r"none/h\.safetensors: cannot write .*no such folder"):
        Head.build(encoder, ["new"]).save(tmp_path / "none" / "h.safetensors")


def test_a_missing_head_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(HeadNotFound, match=r"none\.safetensors: no such head file; check"):
        Head.load(tmp_path / "none.safetensors")


@pytest.mark.parametrize("twentieth", range(20))
def test_a_truncated_head_file_is_rejected(
    encoder: FakeEncoder, tmp_path: Path, twentieth: int
) -> None:
    path = saved(encoder, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * twentieth // 20])
    with pytest.raises(HeadMismatch, match=r"head\.safetensors: not a head"):
        Head.load(path)


def test_flipped_bits_give_a_head_or_a_head_mismatch(encoder: FakeEncoder, tmp_path: Path) -> None:
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


def test_the_helper_writes_a_valid_head_file(tmp_path: Path) -> None:
    assert Head.load(write(tmp_path / "h")).labels == ("a", "b")


@pytest.mark.parametrize("fact", FACTS)
def test_a_head_file_with_a_missing_field_is_rejected(fact: str, tmp_path: Path) -> None:
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
        {"logit_bias": 1e300},
        {"source": "\ud800"},
        {"logit_bias": "b"},
    ],
    ids=str,
)
def test_a_head_file_with_an_invalid_field_is_rejected(
    change: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(HeadMismatch):
        Head.load(write(tmp_path / "h", FACTS | change))


@pytest.mark.parametrize("facts", ["", "{", "[]", "5", "null", "[" * 100_000, '"x"'])
def test_metadata_that_is_not_a_json_object_is_rejected(facts: str, tmp_path: Path) -> None:
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
def test_weights_of_another_dtype_shape_or_length_are_rejected(
    weight: torch.Tensor, tmp_path: Path
) -> None:
    with pytest.raises(HeadMismatch):
        Head.load(write(tmp_path / "h", tensors={"weight": weight}))


def test_a_file_of_other_tensors_is_rejected(tmp_path: Path, tiny_path: Path) -> None:
    with pytest.raises(HeadMismatch):
        Head.load(write(tmp_path / "h", tensors={"other": torch.eye(2)}))
    with pytest.raises(HeadMismatch, match=r"not a head .*make one with model\.head"):
        Head.load(tiny_path)


@pytest.mark.parametrize("content", [b"", b"x", b"\x80\x04}q\x00.", b"PK\x03\x04" * 9])
def test_files_of_other_formats_are_rejected(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "h").write_bytes(content)
    with pytest.raises(HeadMismatch):
        Head.load(tmp_path / "h")


@pytest.mark.parametrize("length", [2**24 + 1, 2**40, 2**63, 2**64 - 1])
def test_an_oversized_header_is_rejected_before_reading(length: int, tmp_path: Path) -> None:
    (tmp_path / "h").write_bytes(struct.pack("<Q", length) + b"{}" * 100)
    with pytest.raises(HeadMismatch, match=f"header of {length} bytes"):
        Head.load(tmp_path / "h")


def test_a_folder_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(HeadMismatch):
        Head.load(tmp_path)


def test_a_loaded_head_does_not_need_its_file(encoder: FakeEncoder, tmp_path: Path) -> None:
    path = saved(encoder, tmp_path)
    head = Head.load(path)
    wanted = head.weight.clone()
    path.write_bytes(b"\0" * path.stat().st_size)
    torch.testing.assert_close(head.weight, wanted, atol=0, rtol=0)


# versions of the format


@pytest.mark.parametrize("scoring", ["softmax", "sigmoid", "independent"])
def test_scoring_is_saved(encoder: FakeEncoder, tmp_path: Path, scoring: Any) -> None:
    head = replace(Head.build(encoder, ["a", "b"], none_of_these=True), scoring=scoring)
    head.save(tmp_path / "h.safetensors")

    assert Head.load(tmp_path / "h.safetensors").scoring == scoring


def test_a_file_of_format_1_loads_with_softmax_scoring(tmp_path: Path) -> None:
    path = tmp_path / "h.safetensors"
    save_file({"weight": torch.eye(2)}, path, {"zeroshot.head/1": json.dumps(FACTS)})

    found = Head.load(path)

    assert (found.labels, found.scoring, found.calibration) == (("a", "b"), "softmax", None)
    found.save(path)
    with safe_open(path, framework="pt") as file:
        assert list(file.metadata()) == ["zeroshot.head/2"]
    assert Head.load(path).labels == ("a", "b")


def test_a_file_of_an_unknown_format_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "h.safetensors"
    save_file({"weight": torch.eye(2)}, path, {"zeroshot.head/99": json.dumps(FACTS)})

    with pytest.raises(HeadMismatch, match=r"not a head .*zeroshot\.head/2"):
        Head.load(path)


@pytest.mark.parametrize("scoring", ["argmax", "", "Softmax", 5])
def test_an_unknown_scoring_is_rejected(scoring: Any, tmp_path: Path) -> None:
    with pytest.raises(HeadMismatch, match=r"the scoring of a head must be one of softmax, sigm"):
        Head.load(write(tmp_path / "h", FACTS | {"scoring": scoring}))


@pytest.mark.parametrize("calibration", [5, "x", [1], True])
def test_a_calibration_that_is_not_an_object_is_rejected(calibration: Any, tmp_path: Path) -> None:
    with pytest.raises(HeadMismatch, match="expected calibration to be a JSON object"):
        Head.load(write(tmp_path / "h", FACTS | {"calibration": calibration}))


@pytest.mark.parametrize("source", [5, ["x"], True])
def test_a_source_that_is_not_text_is_rejected(source: Any, tmp_path: Path) -> None:
    with pytest.raises(HeadMismatch, match="source of a head must be the name of a model"):
        Head.load(write(tmp_path / "h", FACTS | {"source": source}))


# calibration


def calibrated_head(encoder: FakeEncoder) -> Head:
    head = Head.build(encoder, ["a", "b"], none_of_these=True)
    tree = replace(head, paths=(("x", "a"), ("x", "b")), none_offset=-1.5, inverse_temperature=1.5)
    surety = np.linspace(0, 1, 30)
    calibration = Calibration(
        truth=np.arange(30) % 3 - 1,
        surety=surety,
        right=surety > 0.5,
        scores=dict.fromkeys(("lac", "aps", "raps"), 1 - surety),
        inverse_temperature=1.5,
        method="images",
        labels=tree.digest(),
        has_words=True,
    )
    return replace(tree, calibration=calibration)


def test_a_calibrated_head_loads_unchanged(encoder: FakeEncoder, tmp_path: Path) -> None:
    head = calibrated_head(encoder)
    head.save(tmp_path / "h.safetensors")
    found = Head.load(tmp_path / "h.safetensors")
    assert (found.none_offset, found.paths) == (-1.5, (("x", "a"), ("x", "b")))
    assert str(found.calibration) == str(head.calibration)


@pytest.mark.parametrize(
    "changed",
    [
        {"inverse_temperature": 3.0},
        {"none_offset": 0.0},
        {"logit_bias": -1.0},
        {"paths": (("y", "a"), ("x", "b"))},
        {"paths": None},
        {"background": None},
    ],
)
def test_a_calibrated_head_that_was_changed_is_rejected(
    encoder: FakeEncoder, tmp_path: Path, changed: dict[str, Any]
) -> None:
    head = calibrated_head(encoder)
    if "background" in changed:
        assert head.background is not None
        changed = {"background": replace(head.background, rows=-head.background.rows)}
    replace(head, **changed).save(tmp_path / "h.safetensors")
    with pytest.raises(HeadMismatch, match="the head was changed after its calibration"):
        Head.load(tmp_path / "h.safetensors")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"truth": np.full(30, 2)}, r"calibration\.truth of a head must be within -1\.\.1"),
        ({"truth": np.full(30, -2)}, r"calibration\.truth of a head must be within -1\.\.1"),
        ({"truth": np.zeros((30, 1), int)}, r"truth of a head must be of shape \[n\]"),
        ({"surety": np.full(30, np.nan)}, r"surety of a head must be within 0\.\.1"),
        ({"surety": np.full(30, 1.5)}, r"surety of a head must be within 0\.\.1"),
        ({"surety": np.zeros(29)}, r"surety of a head must be of shape \(30,\)"),
        ({"right": np.zeros((30, 2), bool)}, r"right of a head must be of shape \(30,\)"),
        (
            {"scores": dict.fromkeys(("lac", "aps", "raps"), np.full(30, np.nan))},
            r"scores\.lac of a head must be finite",
        ),
    ],
)
def test_calibration_arrays_with_wrong_values_are_rejected(
    encoder: FakeEncoder, tmp_path: Path, changed: Any, says: str
) -> None:
    head = calibrated_head(encoder)
    assert head.calibration is not None
    path = tmp_path / "h.safetensors"
    # not through the checks of a head
    object.__setattr__(head, "calibration", replace(head.calibration, **changed))
    head.save(path)
    with pytest.raises(HeadMismatch, match=says):
        Head.load(path)
