"""Reports are plain data, and files that only reports replace."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

import zeroshot
from tests.support import axes_classifier, one_hot
from zeroshot.errors import InputError, SaveError
from zeroshot.evaluation.report import POINTS

LABELS = ["cat", "dog", "Käfer"]


@pytest.fixture
def report() -> zeroshot.Report:
    return zeroshot.evaluate(axes_classifier(LABELS), one_hot([0, 1, 1, 0], 3), [0, 1, 0, 0])


@pytest.fixture
def several() -> zeroshot.Report:
    return zeroshot.evaluate(axes_classifier(LABELS), one_hot([0, 1], 3), [["cat"], ["dog", 0]])


def test_the_confusion_matrix_has_right_labels_as_rows(report: zeroshot.Report) -> None:
    assert report.confusion().tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_the_dict_is_json_with_all_figures(report: zeroshot.Report) -> None:
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))

    assert plain == report.to_dict()
    assert plain["n"] == 4
    assert plain["figures"]["top1"]["value"] == 0.75
    assert plain["confusion"] == [[0, 0, 2], [0, 1, 1], [1, 1, 1]]
    assert plain["confusions"] == [{"truth": "cat", "answer": "dog", "n": 1, "images": [None]}]
    assert plain["per_label"][2]["accuracy"] is None
    assert plain["risk_coverage"] == {"coverage": [1.0], "risk": [0.25]}
    assert set(plain["calibration_floor"]) == {"mean", "p95"}


def test_several_labels_have_no_confusions(several: zeroshot.Report) -> None:
    plain = several.to_dict()

    assert "confusion" not in plain
    assert plain["figures"]["map"]["value"] is not None
    assert plain["calibration_floor"] is None
    for call in (several.confusion, several.risk_coverage):
        with pytest.raises(InputError, match="one right label per image, got lists of labels"):
            call()


def test_the_curve_has_a_limited_number_of_points() -> None:
    rows = np.random.default_rng(0).normal(size=(2000, 3)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)

    report = zeroshot.evaluate(axes_classifier(LABELS), rows, [0] * 2000, draws=5)
    coverage, risk = report.risk_coverage()

    assert len(coverage) == len(risk) == POINTS
    assert coverage[-1] == 1.0
    assert risk[-1] == pytest.approx(1 - report.figures["top1"].value)


def test_a_report_can_be_pickled(report: zeroshot.Report) -> None:
    assert pickle.loads(pickle.dumps(report)).to_dict() == report.to_dict()


@pytest.mark.parametrize("name", ["out.html", "out.json", "OUT.HTML"])
def test_a_saved_report_may_be_replaced(name: str, report: zeroshot.Report, tmp_path: Path) -> None:
    path = tmp_path / name

    report.save(path)
    report.save(path)

    text = path.read_text("utf-8")
    assert "Käfer" in text
    assert json.loads(text) == report.to_dict() if name.endswith("json") else "<html" in text
    assert [each.name for each in tmp_path.glob("*.*")] == [name]


@pytest.mark.parametrize("name", ["page.html", "data.json"])
def test_a_file_that_is_no_report_is_kept(
    name: str, report: zeroshot.Report, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text("mine")

    with pytest.raises(InputError, match="exists and is not a report; use another file name"):
        report.save(path)
    assert path.read_text() == "mine"

    report.save(path, force=True)
    assert path.read_text("utf-8") != "mine"


@pytest.mark.parametrize("name", ["out.pdf", "out", "html"])
def test_other_suffixes_are_rejected(name: str, report: zeroshot.Report, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.html or \.json"):
        report.save(tmp_path / name)


def test_a_folder_that_does_not_exist_is_an_os_error(
    report: zeroshot.Report, tmp_path: Path
) -> None:
    with pytest.raises(
        SaveError, match=r"none/out\.html: cannot write the file \(no such folder\)"
    ):
        report.save(tmp_path / "none" / "out.html")


def test_names_with_invalid_bytes_can_be_saved(tmp_path: Path) -> None:
    (tmp_path / "a.json").unlink(missing_ok=True)
    classifier = axes_classifier(["red", "green", "blue"])
    source = "bad\udcff.jpg"

    report = zeroshot.evaluate(classifier, [zeroshot.sample_image(), source], [1, 0])
    for suffix in ("html", "json"):
        report.save(tmp_path / f"a.{suffix}")

    assert json.loads((tmp_path / "a.json").read_text("utf-8"))["failures"]
