"""Take frames of videos as images. Requires PyAV, the extra `video`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from zeroshot.bulk.items import Item
from zeroshot.bulk.rows import printable
from zeroshot.bulk.sources.budget import Budget, Held
from zeroshot.bulk.sources.reading import Options, failed_image, identify, open_file
from zeroshot.errors import InputError, MissingPackage, shortened

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mts", ".m2ts", ".wmv"),
    *(".flv", ".3gp", ".ogv"),
)
# Containers. A playlist with the name of a video must not make FFmpeg open other files or URLs.
FORMATS = "mov,matroska,webm,avi,mpeg,mpegts,asf,flv,ogg"
FPS = 1.0
SLACK = 1e-3  # seconds: time stamps are rounded
MISSING = 2.0  # seconds at the end without frames, after which a video is truncated


class VideoSource:
    """Frames of a video, at time stamps or one of every N.

    A frame is decoded in the thread that asks for items, and converted to RGB in another. A damaged
    video gives the frames before the damage, and one error.
    """

    kind = "video"
    splits = False

    def __init__(self, name: str, options: Options) -> None:
        self.name = name
        self.columns = options.keep
        self._nothing = options.nothing
        self._fps, self._every = options.fps or FPS, options.every
        self._facts = identify(self.kind, name)
        self._facts |= {"every": options.every} if options.every else {"fps": self._fps}

    def facts(self) -> dict[str, Any]:
        """Return name, size and digest of the file, and which frames are taken."""
        return self._facts

    def count(self) -> None:
        """Return None: the number of frames is known at the end."""

    def items(self, first: int = 0) -> Iterator[Item]:
        """Yield the frames from a row on."""
        budget, place, last, due = Budget(), 0, 0.0, 0.0
        try:
            with (
                open_file(self.name) as file,
                _av().open(
                    file, options={"format_whitelist": FORMATS}, metadata_errors="replace"
                ) as container,
            ):
                if not container.streams.video:
                    raise InputError("it has no video stream")
                stream = container.streams.video[0]
                stream.thread_type = "AUTO"
                for number, time, frame in _decode(container, stream):
                    last = time
                    if not self._is_wanted(number, time, due):
                        continue
                    due = (math.floor((time + SLACK) * self._fps) + 1) / self._fps
                    place += 1
                    if place > first:
                        yield self._make(frame, time, budget)
        except (_av().error.FFmpegError, OSError, InputError, ValueError) as error:
            if place >= first:
                yield self._fail(error, place, last)

    def _is_wanted(self, number: int, time: float, due: float) -> bool:
        return number % self._every == 0 if self._every else time >= due - SLACK

    def _make(self, frame: Any, time: float, budget: Budget) -> Item:
        size = frame.width * frame.height * 3 // 2  # most videos halve the colors
        held: Held[NDArray[np.uint8]] = Held(partial(_to_array, frame), size, budget)
        return Item(printable(f"{self.name}#t={time:.3f}"), held.read, self._nothing)

    def _fail(self, error: Exception, frames: int, last: float) -> Item:
        reason = shortened(getattr(error, "strerror", None) or str(error), 200)
        return failed_image(
            self.name,
            "truncated" if frames else "decode_failed",
            f"the video cannot be read after {last:.1f} s ({reason}); the {frames} frames before "
            "are labeled, copy or convert it again",
            self._nothing,
        )


def open_source(name: str, options: Options) -> list[VideoSource]:
    """Return the frames of a video. Raises MissingPackage without PyAV, InputError."""
    _av()
    return [VideoSource(name, options)]


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingPackage(
            "reading video requires PyAV, which is not installed; run: pip install "
            "'zeroshot-clip[video]'"
        ) from error
    return av


def _decode(container: Any, stream: Any) -> Iterator[tuple[int, float, Any]]:
    """Yield the number of each frame, its time from the start in seconds, and the frame.

    Raises ValueError at the end if the end of the file is missing: FFmpeg reads such a file without
    an error. The packets of all streams tell, because sound may be longer than the pictures.
    """
    start: float | None = None
    time = end = 0.0
    number = packets = 0
    rate = float(stream.average_rate or 25)
    for packet in container.demux():
        if packet.pts is not None and packet.time_base is not None:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream.index != stream.index:
            continue
        packets += packet.size > 0
        for frame in packet.decode():
            if frame.time is None:
                time = number / rate  # some files have no time stamps
            else:
                start = frame.time if start is None else start
                time = frame.time - start
            yield number, time, frame
            number += 1
    duration = (container.duration or 0) / 1e6
    end -= (container.start_time or 0) / 1e6
    if end < duration - max(MISSING, duration / 20):
        raise ValueError(f"the file ends at {end:.1f} s of {duration:.1f} s")
    if packets < stream.frames * 0.9 - 2:  # AVI computes the duration from the size of the file
        raise ValueError(f"the file contains {packets} of {stream.frames} frames")


def _to_array(frame: Any) -> NDArray[np.uint8]:
    """Return the upright pixels of a frame [h, w, 3]."""
    pixels: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    turns = round(getattr(frame, "rotation", 0) / 90)  # counterclockwise, of phones
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns % 4 else pixels
