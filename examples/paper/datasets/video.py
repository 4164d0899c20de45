"""Read the video data sets UCF101 and Kinetics-700; a clip is embedded by some of its frames.

As an image, a clip is its middle frame, as in the paper (section A.1). `average_frames` also
averages the embeddings of several frames. Reading video requires PyAV, of the extra `examples`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from examples.paper.datasets.base import DataSet
from examples.paper.datasets.files import (
    Picture,
    check_split,
    find,
    lines,
    package,
    rows,
)
from examples.paper.datasets.names import Names
from zeroshot import Failure, Model
from zeroshot.arguments import count
from zeroshot.errors import ImageError, InputError, image_error, shortened, some
from zeroshot.evaluation.answers import Embeddings

DEMUXERS = {".avi": "avi", ".mkv": "matroska", ".mp4": "mp4", ".webm": "matroska"}
LOST = 0.1  # share of the announced frames that may be missing; containers count inexactly
PIXELS_AT_ONCE = 64  # frames embedded at once, of all clips of a batch
UCF_SPLITS = (*("train", "test"), *(f"{part}{n}" for part in ("train", "test") for n in (1, 2, 3)))

log = logging.getLogger("zeroshot")


@dataclass(frozen=True)
class Clip:
    """A video file; as an image it is its middle frame, which is decoded when it is read."""

    path: Path

    @property
    def name(self) -> str:
        """The path of the file, which results and errors show."""
        return str(self.path)

    def read(self) -> bytes:
        """Return the middle frame as an uncompressed image file. Raises ImageError."""
        return Picture(self.name, lambda: self.frames(1)[0]).read()

    def frames(self, number: int) -> list[NDArray[np.uint8]]:
        """Decode evenly spaced frames, in order: at most `number` of uint8 [h, w, 3].

        The clip is divided into `number` equal parts, and the middle of each is decoded; a clip
        with fewer frames gives each once. Rotation and pixel aspect ratio are not applied; the
        published clips have none. Raises ImageError for a file that is missing, damaged or empty.
        """
        announced, frames, decoded = self._decode(number, None)
        if decoded < announced * (1 - LOST):
            raise self._damaged(f"{decoded} of {announced} frames could be decoded")
        if decoded == announced:
            return frames
        return self._decode(number, decoded)[1]  # the container counts none, or too many

    def _decode(self, number: int, length: int | None) -> tuple[int, list[NDArray[np.uint8]], int]:
        """Return the announced number of frames, those chosen, and the number of all.

        Decoding ends with the last frame that is chosen if `length`, the number of frames, is
        known or the container announces it; the number of all is then the announced one.
        """
        av = require_av()
        name = DEMUXERS.get(self.path.suffix.lower())
        if name is None:
            known = ", ".join(DEMUXERS)
            raise image_error(
                "unsupported_format", self.name, f"expected a video file ({known}); convert it"
            )
        try:
            # An open file and a fixed format: playlists that name other files are not followed.
            with self.path.open("rb") as file, av.open(file, format=name) as container:
                if not container.streams.video:
                    raise self._damaged("it has no video stream")
                stream = container.streams.video[0]
                stream.codec_context.thread_count = 1  # clips are decoded on several threads
                announced = length or stream.frames
                return announced, *_choose(container.decode(stream), number, announced)
        except ImageError:
            raise
        except FileNotFoundError as error:
            raise image_error(
                "not_found", self.name, "no such video file; check that the clip was extracted"
            ) from error
        except (av.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise self._damaged(shortened(str(reason), 200)) from error

    def _damaged(self, reason: str) -> ImageError:
        return image_error(
            "decode_failed", self.name, f"cannot decode the video ({reason}); get it again"
        )


def _choose(
    decoded: Iterable[Any], number: int, length: int
) -> tuple[list[NDArray[np.uint8]], int]:
    """Return the frames at evenly spaced places, and how many frames there are.

    Raises ValueError if there is no frame, or one of those is damaged.
    """
    wanted = places(number, length)
    frames: list[NDArray[np.uint8]] = []
    total = 0
    for frame in decoded:
        if total in wanted:
            if frame.is_corrupt:  # the decoder fills damaged parts from other frames
                raise ValueError(f"frame {total} is damaged")
            frames.append(frame.to_ndarray(format="rgb24"))
        total += 1
        if wanted and total > wanted[-1]:
            return frames, length
    if not total:
        raise ValueError("it has no frames")
    return frames, total


def places(number: int, length: int) -> list[int]:
    """Return the places of `number` evenly spaced frames among `length`, each once."""
    return sorted({(2 * part + 1) * length // (2 * number) for part in range(number)} - {length})


def require_av() -> Any:
    """Return the package PyAV. Raises MissingPackage."""
    return package("av", "PyAV", "reading video")


def average_frames(model: Model, clips: Iterable[Clip], frames: int = 1) -> Embeddings:
    """Embed clips by evenly spaced frames: the mean of their unit embeddings, of unit length.

    Clips are decoded and embedded a batch at a time, so memory is bounded. `rows` of the result is
    float32 [n, d] for the n clips that could be decoded, and `failures` lists the others.
    `zeroshot.evaluation.scoring.measure` accepts the result. Raises ImageError if there is none.
    """
    frames = count("frames", frames, 1)
    require_av()

    def prepare(clip: Clip) -> tuple[Clip, NDArray[np.float32] | ImageError]:
        try:
            return clip, np.stack([model.prepare(each) for each in clip.frames(frames)])
        except ImageError as error:
            return clip, error

    def embed(batch: list[tuple[Clip, NDArray[np.float32] | ImageError]]) -> list[Any]:
        pixels = [found for _, found in batch if isinstance(found, np.ndarray)]
        if not pixels:
            return [(clip, found) for clip, found in batch]
        unit = model.encode_pixels(np.concatenate(pixels)).cpu()
        means = iter([part.mean(dim=0) for part in unit.split([len(each) for each in pixels])])
        return [(clip, next(means) if isinstance(f, np.ndarray) else f) for clip, f in batch]

    size = max(1, PIXELS_AT_ONCE // frames)
    return _collect(
        pair
        for batch in model.map_batches(prepare, embed, clips, batch_size=size)
        for pair in batch
    )


def _collect(results: Iterator[tuple[Clip, Tensor | ImageError]]) -> Embeddings:
    rows: list[Tensor] = []
    places: list[int] = []
    sources: list[str | None] = []
    failures: list[Failure] = []
    for position, (clip, found) in enumerate(results):
        if isinstance(found, ImageError):
            failures.append(Failure(clip.name, found))
            continue
        rows.append(found)
        places.append(position)
        sources.append(clip.name)
    if not rows:
        reason = f"; the first: {failures[0].error}" if failures else ""
        raise image_error(
            "decode_failed", None, f"none of {len(failures)} clips could be decoded{reason}"
        )
    unit = torch.nn.functional.normalize(torch.stack(rows), dim=1)
    return Embeddings(unit, np.asarray(places), tuple(sources), tuple(failures))


# UCF101


def ucf101(folder: Path, split: str) -> DataSet:
    """Read UCF101: clips of 101 actions.

    There are three divisions into training and test clips. "train" and "test" are the first;
    "test2" is the test part of the second. The class of a clip is the folder in its path.
    """
    check_split(split, UCF_SPLITS)
    require_av()
    part, number = split.rstrip("123"), split[-1] if split[-1].isdecimal() else "1"
    videos, lists = find(folder, "UCF-101"), find(folder, "ucfTrainTestlist")
    path = find(lists, f"{part}list0{number}.txt")
    _check_classes(find(lists, "classInd.txt"))
    names = Names("ucf101", path)
    clips, truth = [], []
    for line in lines(path):
        # test lists have the path only, training lists also the number of the class
        name, _, file = line.split()[0].partition("/")
        if not file or Path(file).name != file:
            raise InputError(
                f"{path}: expected ClassName/v_ClassName_g01_c01.avi, got {shortened(repr(line))}; "
                "download it again"
            )
        truth.append(names.column(name))
        clips.append(Clip(videos / name / file))
    return DataSet(clips, truth, names.labels)


def _check_classes(path: Path) -> None:
    """Raise InputError unless the class names of the data set are those of the prompt set."""
    names = Names("ucf101", path)
    found = {names.column(line.split()[-1]) for line in lines(path)}
    if missing := [label for n, label in enumerate(names.labels) if n not in found]:
        raise InputError(
            f"{path}: expected the {len(names.labels)} classes of UCF101, got none for "
            f"{some(missing)}; download it again"
        )


# Kinetics


def kinetics700(folder: Path, split: str) -> DataSet:
    """Read Kinetics-700: clips of 700 actions; the metric is the mean of top-1 and top-5.

    "test" is the validation part. Clips of the annotations that are not in the folder, such as
    videos that were removed, are logged, and listed as failures of an evaluation. Clips may also be
    in a folder per class.
    """
    check_split(split)
    require_av()
    part = "train" if split == "train" else "val"
    table, videos = find(folder, f"annotations/{part}.csv"), find(folder, part)
    names = Names("kinetics700", table)
    present = _files_below(videos)
    clips, truth, missing = [], [], 0
    listed = rows(table, ("label", "youtube_id", "time_start", "time_end"))
    for number, row in enumerate(listed, 2):
        name = _clip_name(row, f"{table}, row {number}")
        truth.append(names.column(row["label"]))
        missing += name not in present
        clips.append(Clip(present.get(name, videos / name)))
    if missing == len(clips):
        raise InputError(
            f"{videos}: expected clips such as {clips[0].path.name if clips else 'ID.mp4'}, got "
            f"none of {len(clips)}; extract the archives of the clips there"
        )
    if missing:
        log.warning("%s: %d of %d clips are missing", videos, missing, len(clips))
    return DataSet(clips, truth, names.labels)


def _clip_name(row: dict[str, str], place: str) -> str:
    """Return the file name of a clip: its id, and its start and end in seconds."""
    identifier, start, end = row["youtube_id"], row["time_start"], row["time_end"]
    if not (start.isdecimal() and end.isdecimal()) or Path(identifier).name != identifier:
        raise InputError(
            f"{place}: expected a video id and seconds, got "
            f"{shortened(repr((identifier, start, end)))}; download it again"
        )
    return f"{identifier}_{int(start):06}_{int(end):06}.mp4"


def _files_below(folder: Path) -> dict[str, Path]:
    """Return the files in a folder and its subfolders by name."""
    return {
        name: Path(parent) / name for parent, _, names in os.walk(folder) for name in sorted(names)
    }


def clips_of(data: DataSet) -> Sequence[Clip]:
    """Return the clips of a video data set. Raises InputError for other data sets."""
    clips = [image for image in data.images if isinstance(image, Clip)]
    if len(clips) != len(data.images):
        raise InputError("expected a data set of clips, got images; choose ucf101 or kinetics700")
    return clips
