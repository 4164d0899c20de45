"""Read UCF101 and Kinetics-700, and embed clips by their frames."""

from __future__ import annotations

import logging
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
import torch

import zeroshot
from examples.paper.datasets.base import DataSet
from examples.paper.datasets.names import Names
from examples.paper.datasets.table import load
from examples.paper.datasets.video import (
    Clip,
    _choose,
    average_frames,
    clips_of,
    kinetics700,
    places,
    ucf101,
)
from tests.paper.published import (
    KINETICS,
    UCF_CLASSES,
    write_kinetics,
    write_ucf,
    write_video,
)
from zeroshot.errors import ImageError, InputError, MissingPackage


def levels_of(frames: Sequence[np.ndarray]) -> list[float]:
    return [float(frame.mean()) for frame in frames]


@pytest.mark.parametrize("name", ["clip.avi", "clip.mp4", "clip.mkv"])
def test_middle_and_evenly_spaced_frames_are_decoded(tmp_path: Path, name: str) -> None:
    clip = Clip(write_video(tmp_path / name, range(20, 220, 10)))  # 20 frames

    assert levels_of(clip.frames(1)) == pytest.approx([120], abs=3)
    assert levels_of(clip.frames(4)) == pytest.approx([40, 90, 140, 190], abs=4.9)
    assert clip.frames(1)[0].shape == (48, 64, 3)


def test_places_are_the_middles_of_equal_parts() -> None:
    assert places(1, 9) == [4]
    assert places(3, 9) == [1, 4, 7]
    assert places(8, 3) == [0, 1, 2]
    assert places(5, 0) == []


def test_clip_with_fewer_frames_gives_each_once(tmp_path: Path) -> None:
    clip = Clip(write_video(tmp_path / "short.avi", [50, 100]))

    assert levels_of(clip.frames(8)) == pytest.approx([50, 100], abs=3)


def test_clip_is_an_image_with_its_path_as_source(tmp_path: Path, tiny: zeroshot.Model) -> None:
    clip = Clip(write_video(tmp_path / "a.avi", [10, 200, 90]))

    prediction = tiny.classifier(["a", "b"])([clip])[0]

    assert prediction.source == str(tmp_path / "a.avi")
    assert torch.equal(tiny.encode_image([clip])[0], tiny.encode_image(clip.frames(1)[0]))


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

    def clips():
        nonlocal taken, most
        for _ in range(400):
            taken += 1
            most = max(most, taken - embedded)
            yield clip

    def counted(self, pixels, **options):
        nonlocal embedded
        embedded += len(pixels)
        return encode(self, pixels, **options)

    monkeypatch.setattr(type(tiny), "encode_pixels", counted)

    assert len(average_frames(tiny, clips(), 1).rows) == 400
    assert most < 300


def damaged(folder: Path, kind: str) -> Path:
    path = write_video(folder / f"{kind}.avi", range(0, 200, 2))
    content = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(content[: len(content) * 2 // 5])
    elif kind == "bits":
        changed = bytearray(content)
        for place in range(len(content) * 2 // 5, len(content) * 3 // 5, 11):
            changed[place] ^= 0x5A
        path.write_bytes(changed)
    elif kind == "text":
        path.write_text("<html>404</html>")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "missing":
        path.unlink()
    elif kind == "playlist":
        path = folder / "list.mp4"
        path.write_text(f"#EXTM3U\n#EXTINF:1,\n{folder / 'text.avi'}\n")
    elif kind == "suffix":
        path = path.rename(folder / "clip.gif")
    return path


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("truncated", r"cannot decode the video \(Invalid data found"),
        ("bits", "cannot decode the video"),
        ("text", "cannot decode the video"),
        ("empty", "cannot decode the video"),
        ("missing", "no such video file"),
        ("playlist", "cannot decode the video"),
        ("suffix", "expected a video file"),
    ],
)
def test_damaged_clip_is_one_listed_failure(
    tmp_path: Path, tiny: zeroshot.Model, kind: str, problem: str
) -> None:
    good = Clip(write_video(tmp_path / "good.avi", [10, 20, 30]))
    bad = Clip(damaged(tmp_path, kind))

    found = average_frames(tiny, [good, bad, good], 8)

    assert found.places.tolist() == [0, 2]
    assert [failure.source for failure in found.failures] == [bad.name]
    with pytest.raises(ImageError, match=problem):
        raise found.failures[0].error
    with pytest.raises(ImageError, match="none of 1 clips could be decoded"):
        average_frames(tiny, [bad], 8)


def announce(path: Path, frames: int) -> Path:
    """Change the number of frames in the header of an AVI file (AVISTREAMHEADER.dwLength)."""
    content = bytearray(path.read_bytes())
    place = content.index(b"strh") + 8 + 32
    assert struct.unpack_from("<I", content, place) == (20,)
    struct.pack_into("<I", content, place, frames)
    path.write_bytes(content)
    return path


def test_header_that_counts_slightly_too_many_frames_is_corrected(tmp_path: Path) -> None:
    clip = Clip(announce(write_video(tmp_path / "a.avi", range(20, 220, 10)), 22))

    assert levels_of(clip.frames(20)) == pytest.approx(range(20, 220, 10), abs=4.9)


def test_clip_without_many_of_its_frames_is_damaged(tmp_path: Path) -> None:
    clip = Clip(announce(write_video(tmp_path / "a.avi", range(20, 220, 10)), 100))

    with pytest.raises(ImageError, match="20 of 100 frames could be decoded"):
        clip.frames(1)


def test_frame_that_the_decoder_had_to_repair_is_rejected() -> None:
    class Frame:
        def __init__(self, is_corrupt: bool) -> None:
            self.is_corrupt = is_corrupt

        def to_ndarray(self, **options: str) -> np.ndarray:
            return np.zeros((2, 2, 3), np.uint8)

    repaired = [Frame(False), Frame(True), Frame(False)]

    with pytest.raises(ValueError, match="frame 1 is damaged"):
        _choose(repaired, 1, 3)
    assert len(_choose(repaired[::2], 2, 2)[0]) == 2


def test_audio_file_is_a_failure(tmp_path: Path) -> None:
    with av.open(tmp_path / "sound.mp4", "w") as container:
        stream = container.add_stream("aac", rate=8000)
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        samples.sample_rate = 8000
        container.mux(stream.encode(samples))
        container.mux(stream.encode())

    with pytest.raises(ImageError, match="it has no video stream"):
        Clip(tmp_path / "sound.mp4").frames(1)


def test_missing_pyav_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: zeroshot.Model
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)

    for attempt in (
        lambda: ucf101(tmp_path, "test"),
        lambda: kinetics700(tmp_path, "test"),
        lambda: average_frames(tiny, []),
    ):
        with pytest.raises(MissingPackage, match=r"pip install 'zeroshot-clip\[examples\]'"):
            attempt()


def test_classes_and_labels_of_ucf101_are_one_to_one() -> None:
    names = Names("ucf101", Path("classInd.txt"))
    columns, labels = {name: names.column(name) for name in UCF_CLASSES}, names.labels

    assert len(UCF_CLASSES) == 101
    assert sorted(columns.values()) == list(range(101))
    for name, column in columns.items():
        assert labels[column].replace(" ", "").casefold() == name.casefold()
    assert labels[columns["HandstandPushups"]] == "Hand Stand Pushups"
    assert labels[columns["HandstandWalking"]] == "Handstand Walking"


@pytest.mark.parametrize(
    ("split", "labels"),
    [
        ("test", ["Yo Yo", "Hand Stand Pushups"]),
        ("test1", ["Yo Yo", "Hand Stand Pushups"]),
        ("test2", ["Archery"]),
        ("train", ["Archery"]),
    ],
)
def test_parts_of_ucf101_are_read(tmp_path: Path, split: str, labels: list[str]) -> None:
    data = ucf101(write_ucf(tmp_path), split)

    assert [data.labels[column] for column in data.truth] == labels
    assert all(clip.path.is_file() for clip in data.images)


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("classInd.txt", "1 Archery\n2 Jousting\n", "'Jousting' is no class of ucf101"),
        ("classInd.txt", "1 Archery\n2 Archery\n", "expected the 101 classes of UCF101, got none"),
        ("testlist01.txt", "Jousting/v_Jousting_g01_c01.avi\n", "'Jousting' is no class of ucf101"),
        ("testlist01.txt", "Archery/../../secret.avi\n", "expected ClassName/v_ClassName"),
    ],
    ids=["class", "classes", "unknown class", "other folder"],
)
def test_damaged_lists_of_ucf101_are_rejected(
    tmp_path: Path, file: str, content: str, problem: str
) -> None:
    (write_ucf(tmp_path) / "ucfTrainTestlist" / file).write_text(content)

    with pytest.raises(InputError, match=problem):
        ucf101(tmp_path, "test")


def test_clips_of_kinetics_are_found_in_the_folder_or_in_a_folder_per_class(
    tmp_path: Path, tiny: zeroshot.Model, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "zeroshot"):
        data = kinetics700(write_kinetics(tmp_path), "test")

    names = ["testifying", "washing feet", "passing American football (in game)"]
    assert [data.labels[column] for column in data.truth] == names
    assert [clip.path.is_file() for clip in data.images] == [True, True, False]
    assert "1 of 3 clips are missing" in caplog.text
    assert average_frames(tiny, clips_of(data)).places.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("label,id\nabseiling,a\n", "expected the columns label, youtube_id"),
        (
            KINETICS + "jousting,abc,0,10,validate\n",
            "'jousting' is no class of kinetics700",
        ),
        (
            KINETICS + "yoga,../abc,0,10,validate\n",
            "row 5: expected a video id and seconds",
        ),
        (KINETICS + "yoga,abc,a,10,validate\n", "row 5: expected a video id and seconds"),
        ("label,youtube_id,time_start,time_end\nyoga,abc,0,10\n", "got none of 1; extract"),
    ],
    ids=["columns", "label", "path", "seconds", "no clip"],
)
def test_damaged_kinetics_is_rejected(tmp_path: Path, rows: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        kinetics700(write_kinetics(tmp_path, rows), "test")


def test_images_of_another_data_set_are_no_clips() -> None:
    with pytest.raises(InputError, match="choose ucf101 or kinetics700"):
        clips_of(DataSet(["a.jpg"], [0], ("a",)))


@pytest.mark.parametrize("name", ["ucf101", "kinetics700"])
def test_folder_without_clips_says_where_to_get_them(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=rf"not {name} as published: no .*Expected .*https://"):
        load(name, tmp_path)
