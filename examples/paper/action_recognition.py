"""Measure zero-shot action recognition on UCF101 or Kinetics-700.

    python -m examples.paper.action_recognition kinetics700 FOLDER --frames 8
    python -m examples.paper.action_recognition ucf101 FOLDER --split test1 test2 test3

A clip is embedded by the mean of evenly spaced frames; one frame, the middle one, is what the paper
does (section A.1). For several parts, such as the three of UCF101, also their mean is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import zeroshot
from examples.paper import options
from examples.paper.datasets.base import DataSet
from examples.paper.datasets.video import Clip, require_av
from examples.paper.measures import NAMES, measure
from examples.paper.zero_shot import describe
from zeroshot import ImageLike, Model
from zeroshot.arguments import count
from zeroshot.embedding import Item, Pixels, Result
from zeroshot.errors import InputError
from zeroshot.evaluation.answers import Embeddings, embed_images

FRAMES_AT_ONCE = 64  # of all clips of a batch


def clips_of(data: DataSet) -> Sequence[Clip]:
    """Return the clips of a video data set. Raises InputError for other data sets."""
    clips = [image for image in data.images if isinstance(image, Clip)]
    if len(clips) != len(data.images):
        raise InputError("expected a data set of clips, got images; choose ucf101 or kinetics700")
    return clips


class FrameEncoder:
    """Embeds a clip as the mean of the unit embeddings of its frames, of unit length: [n, d]."""

    def __init__(self, model: Model, frames: int) -> None:
        self._model, self._frames = model, frames

    @property
    def identity(self) -> str:
        """Identity of the model."""
        return self._model.identity

    @property
    def is_busy(self) -> bool:
        """Whether other programs use the cores."""
        return self._model.is_busy

    def prepare(self, clip: ImageLike) -> NDArray[np.float32]:
        """Convert evenly spaced frames to pixels: [frames, 3, size, size].

        A clip with fewer frames has NaN in the rows after its own. Raises ImageError.
        """
        own = [self._model.prepare(each) for each in cast(Clip, clip).frames(self._frames)]
        missing = [np.full_like(own[0], np.nan)] * (self._frames - len(own))
        return np.stack(own + missing)

    def encode_pixels(
        self,
        pixels: NDArray[np.float32],
        *,
        batch_size: int | None = None,
        normalize: bool = True,
        project: bool = True,
    ) -> Tensor:
        """Embed n clips: [n, d]; their means are not normalized if `normalize` is false."""
        present = ~np.isnan(pixels[:, :, 0, 0, 0])  # [n, frames]
        unit = self._model.encode_pixels(pixels[present], batch_size=batch_size, project=project)
        parts = unit.split(present.sum(axis=1).tolist())
        means = torch.stack([part.mean(dim=0) for part in parts])
        return torch.nn.functional.normalize(means, dim=1) if normalize else means

    def map_batches(
        self,
        prepare: Callable[[Item], Pixels],
        embed: Callable[[list[Pixels]], Result],
        items: Iterable[Item],
        **options: Any,
    ) -> Iterator[Result]:
        """Prepare and embed in batches, as the model does, with few frames in memory."""
        options["batch_size"] = max(1, FRAMES_AT_ONCE // self._frames)
        return self._model.map_batches(prepare, embed, items, **options)


def average_frames(model: Model, clips: Iterable[Clip], frames: int = 1) -> Embeddings:
    """Embed clips by evenly spaced frames: float32 [n, d], and list those that cannot be decoded.

    Raises ImageError if there is none that can.
    """
    encoder = FrameEncoder(model, count("frames", frames, 1))
    require_av()
    return embed_images(encoder, cast(Iterable[ImageLike], clips))


def main(arguments: list[str]) -> None:
    """Print the figures of each part of the data set in the arguments, and their mean."""
    parser = options.data_parser(__doc__)
    parser.add_argument("--frames", type=int, default=1, help="frames per clip (default: 1)")
    parser.add_argument("--split", nargs="+", default=["test"], help="parts (default: test)")
    options.add_prompts(parser)
    given = parser.parse_args(arguments)
    parts = [options.read(given, split) for split in given.split]
    clips = [clips_of(data) for _, data in parts]
    model = zeroshot.load(given.model)
    values = []
    for split, (entry, data), each in zip(given.split, parts, clips, strict=True):
        classifier = options.classifier(model, entry, data, given.prompts)
        embeddings = average_frames(model, each, given.frames)
        result = measure(entry.metric, classifier, data, embeddings)
        print(describe(given, split, result))
        values.append(result.figure.value)
    if len(values) > 1:
        mean = 100 * np.mean(values)
        print(f"Mean over {len(values)} parts, {NAMES[parts[0][0].metric]}: {mean:.1f} %.")


if __name__ == "__main__":
    options.run(main)
