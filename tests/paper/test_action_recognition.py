"""Measure action recognition on clips in the published layouts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import zeroshot
from examples.paper import action_recognition, zero_shot
from examples.paper.action_recognition import average_frames, clips_of
from examples.paper.datasets.base import DataSet
from examples.paper.datasets.video import Clip
from tests.paper.published import UCF, write_kinetics, write_ucf, write_video
from zeroshot.errors import ImageError, InputError, MissingPackage


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


def test_embedding_is_the_unit_mean_of_unit_embeddings(
    tmp_path: Path, tiny: zeroshot.Model
) -> None:
    clips = [
        Clip(write_video(tmp_path / f"{n}.avi", range(30 * n, 30 * n + 60, 3))) for n in range(5)
    ]

    found = average_frames(tiny, clips, 4)

    for clip, row in zip(clips, found.rows, strict=True):
        mean = tiny.encode_image(clip.frames(4)).mean(dim=0)
        torch.testing.assert_close(row, mean / mean.norm(), atol=2e-6, rtol=0)


def test_memory_is_bounded_because_clips_are_taken_as_needed(
    tmp_path: Path, tiny: zeroshot.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = Clip(write_video(tmp_path / "a.avi", [1, 2, 3]))
    taken, embedded, most = 0, 0, 0
    encode = type(tiny).encode_pixels

    def clips() -> Iterator[Clip]:
        nonlocal taken, most
        for _ in range(400):
            taken += 1
            most = max(most, taken - embedded)
            yield clip

    def counted(self: Any, pixels: np.ndarray, **options: Any) -> torch.Tensor:
        nonlocal embedded
        embedded += len(pixels)
        return encode(self, pixels, **options)

    monkeypatch.setattr(type(tiny), "encode_pixels", counted)

    assert len(average_frames(tiny, clips(), 1).rows) == 400
    assert most < 300


def test_clip_with_fewer_frames_is_the_mean_of_its_own(
    tmp_path: Path, tiny: zeroshot.Model
) -> None:
    short = Clip(write_video(tmp_path / "short.avi", [50, 100]))
    long = Clip(write_video(tmp_path / "long.avi", range(0, 200, 20)))

    found = average_frames(tiny, [short, long], 5)

    for clip, frames, row in zip((short, long), (2, 5), found.rows, strict=True):
        mean = tiny.encode_image(clip.frames(frames)).mean(dim=0)
        torch.testing.assert_close(row, mean / mean.norm(), atol=2e-6, rtol=0)


def test_damaged_clips_are_listed(tmp_path: Path, tiny: zeroshot.Model) -> None:
    good, bad = Clip(write_video(tmp_path / "good.avi", [10, 20, 30])), Clip(tmp_path / "bad.avi")
    bad.path.write_text("<html>404</html>")

    found = average_frames(tiny, [good, bad, good], 8)

    assert found.places.tolist() == [0, 2]
    assert found.sources == (good.name, good.name)
    assert [failure.source for failure in found.failures] == [bad.name]
    with pytest.raises(ImageError, match="cannot decode the video"):
        raise found.failures[0].error
    with pytest.raises(ImageError, match=r"none of 1 images could be read; the first: .*bad"):
        average_frames(tiny, [bad], 8)


def test_missing_pyav_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, tiny: zeroshot.Model
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)

    with pytest.raises(MissingPackage, match=r"pip install 'zeroshot-clip\[examples\]'"):
        average_frames(tiny, [])


def test_images_of_another_data_set_are_no_clips() -> None:
    with pytest.raises(InputError, match="choose ucf101 or kinetics700"):
        clips_of(DataSet(["a.jpg"], [0], ("a",)))
