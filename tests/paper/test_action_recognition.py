"""Measure action recognition on clips in the published layouts."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.paper import action_recognition, zero_shot
from tests.paper.published import UCF, write_kinetics, write_ucf


def test_recipe_prints_the_figures_of_each_part_and_failures(
    tmp_path: Path, tiny_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_ucf(tmp_path)
    (tmp_path / "UCF-101" / UCF["testlist01.txt"][0]).write_text("damaged")
    options = ["--model", str(tiny_path), "--prompts", "{}", "--frames", "2"]

    action_recognition.main(["ucf101", str(tmp_path), *options, "--split", "test1", "test2"])

    printed = capsys.readouterr().out
    assert "ucf101, test1: 1 images, 101 labels" in printed
    assert "1 of 2 images could not be read" in printed
    assert "v_YoYo_g01_c01.avi: cannot decode the video" in printed
    assert "Mean over 2 parts, top-1: " in printed


def test_recipe_prints_the_metric_of_kinetics(
    tmp_path: Path, tiny_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--model", str(tiny_path), "--prompts", "{}"]

    action_recognition.main(["kinetics700", str(write_kinetics(tmp_path)), *options])

    assert "The paper's metric, mean of top-1 and top-5: " in capsys.readouterr().out


def test_zero_shot_recipe_measures_the_middle_frames(
    tmp_path: Path, tiny_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["ucf101", str(write_ucf(tmp_path)), "--model", str(tiny_path)]
    (tmp_path / "UCF-101" / UCF["testlist01.txt"][0]).write_text("damaged")

    zero_shot.main([*arguments, "--prompts", "{}"])

    printed = capsys.readouterr().out
    assert "ucf101, test: 1 images" in printed
    assert "v_YoYo_g01_c01.avi: cannot decode the video" in printed
    assert "Note: Split 1 of 3; the paper averages the three" in printed
