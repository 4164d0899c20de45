"""Frames of videos: by time or count, upright, and up to the damage."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bulk.sources.files import contents, error_of, write_video
from zeroshot.bulk.sources import video
from zeroshot.bulk.sources.reading import Options
from zeroshot.bulk.sources.video import VideoSource
from zeroshot.errors import MissingPackage


def source(path: Path, fps: float | None = None, every: int | None = None) -> VideoSource:
    [found] = video.open_source(str(path), Options(fps=fps, every=every))
    return found


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 5 seconds with 10 frames a second, which get brighter."""
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4")


@pytest.mark.parametrize(
    ("options", "times"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"fps": 2}, [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5]),
        ({"fps": 0.4}, [0, 2.5]),
        ({"fps": 3}, [0, 0.4, 0.7, 1, 1.4, 1.7, 2, 2.4, 2.7, 3, 3.4, 3.7, 4, 4.4, 4.7]),
        ({"every": 20}, [0, 2, 4]),
    ],
    ids=str,
)
def test_frames_are_taken_by_time_stamp_or_count(
    options: dict[str, Any], times: list[float], clip: Path
) -> None:
    items = list(source(clip, **options).items())

    assert [item.name for item in items] == [f"{clip}#t={time:.3f}" for time in times]
    for item, time in zip(items, times, strict=True):
        pixels = item.read()
        assert isinstance(pixels, np.ndarray)
        assert pixels.shape == (48, 64, 3)
        assert abs(pixels.mean() - time * 51) < 6


def test_more_frames_than_the_video_has_are_each_taken_once(clip: Path) -> None:
    assert len(list(source(clip, fps=1000).items())) == 50


@given(first=st.integers(0, 7))
def test_items_from_a_row_are_the_rest_of_all_items(first: int, clip: Path) -> None:
    found = source(clip)

    assert contents(found.items(first)) == contents(islice(found.items(0), first, None))


@pytest.mark.parametrize("suffix", [".mkv", ".avi", ".mov", ".ts"])
def test_other_containers_have_the_same_frames(suffix: str, clip: Path, tmp_path: Path) -> None:
    path = write_video(tmp_path / f"clip{suffix}")

    assert len(list(source(path).items())) == 5


@pytest.mark.parametrize("suffix", [".avi", ".mkv"])
def test_truncated_video_gives_its_frames_and_one_error(suffix: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / f"clip{suffix}", frames=300)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    *frames, last = contents(source(path).items())

    assert 5 <= len(frames) < 25
    assert last == (str(path), "ImageError truncated")


def test_damaged_video_gives_its_frames_and_one_error(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", frames=300)
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 4
    middle = start + (len(content) - start) // 3
    content[middle : middle + 3000] = b"\xff" * 3000
    path.write_bytes(content)
    found = contents(source(path).items())
    errors = [content for _, content in found if isinstance(content, str)]

    assert len(errors) <= 1
    assert 5 <= len(found) <= 31


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no video" * 100,
        b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n",
        b"ffconcat version 1.0\nfile a\n",
    ],
    ids=["empty", "text", "playlist", "concat"],
)
def test_file_that_is_no_video_is_one_error_row(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)

    assert contents(source(path).items()) == [(str(path), "ImageError decode_failed")]


def test_playlist_does_not_open_another_file(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_text(f"ffconcat version 1.0\nfile '{clip}'\n")

    assert contents(source(path).items()) == [(str(path), "ImageError decode_failed")]


def test_file_without_a_video_stream_is_an_error_row(tmp_path: Path) -> None:
    import av

    path = tmp_path / "sound.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        for packet in stream.encode(frame):
            container.mux(packet)

    assert "no video stream" in str(error_of(source(path)))


@pytest.mark.parametrize(("rotation", "turns"), [(90, 1), (-90, 3), (180, 2), (0, 0)])
def test_frames_of_phones_are_turned_upright(rotation: int, turns: int) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)

    class Frame:
        def __init__(self) -> None:
            self.rotation = rotation

        def to_ndarray(self, **options: str) -> Any:
            assert options == {"format": "rgb24"}
            return pixels

    assert np.array_equal(video._to_array(Frame()), np.rot90(pixels, turns))


def test_facts_contain_which_frames_are_taken(clip: Path) -> None:
    assert source(clip).facts()["fps"] == 1.0
    assert source(clip, every=5).facts()["every"] == 5
    assert (source(clip).count(), source(clip).splits) == (None, False)


def test_missing_pyav_names_the_extra(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)

    with pytest.raises(MissingPackage, match=r"pip install 'zeroshot-clip\[video\]'"):
        source(clip)
