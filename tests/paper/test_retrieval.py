"""Recall counts equal captions as one, and prints intervals and chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import zeroshot
from examples.paper import retrieval
from examples.paper.pairs import Pairs
from tests.support import FakeEncoder

CARDS = {"red": (250, 5, 5), "green": (5, 250, 5), "blue": (5, 5, 250)}


class Letters:
    """A tokenizer with an id per letter, which ignores case as CLIP's does."""

    def rows(self, texts: Any, *, truncate: bool = False) -> list[list[int]]:
        return [list(text.lower().encode()) for text in texts]


class Fake(FakeEncoder):
    """Embeds captions by their letters r, g and b, and images by their mean color."""

    tokenizer = Letters()

    def encode_text(self, texts: Any, *, truncate: bool = False) -> Any:
        return super().encode_text(texts)


def cards(*colors: str) -> list[Image.Image]:
    return [Image.new("RGB", (4, 4), CARDS[color]) for color in colors]


def measure(images: list[Any], captions: list[str], ks: tuple[int, ...] = (1, 2)) -> Any:
    found = Pairs(images, tuple(captions))
    return retrieval.measure(Fake(), found, ks=ks)  # type: ignore[arg-type]


def test_equal_captions_are_one_and_each_of_their_images_is_right() -> None:
    images = cards("red", "red", "green", "blue")

    result = measure(images, ["rrr", "RRR", "ggg", "bbb"])

    assert result.captions == 3
    assert [(each.right, each.queries) for each in result.image_to_text] == [(4, 4), (4, 4)]
    assert [(each.right, each.queries) for each in result.text_to_image] == [(3, 3), (3, 3)]


def test_wrong_results_are_counted_in_both_directions() -> None:
    result = measure(cards("red", "green", "blue"), ["ggg", "rrr", "bbb"])

    assert result.image_to_text[0].right == 1
    assert result.text_to_image[0].right == 1


def test_chance_is_that_of_a_random_order() -> None:
    images = cards("red", "red", "green", "blue")

    result = measure(images, ["rrr", "rrr", "ggg", "bbb"])

    assert [each.chance for each in result.image_to_text] == pytest.approx([1 / 3, 2 / 3])
    # one of 4 images: 2/4, 1/4 and 1/4 are right; two: 1 - 2*1 / (4*3) and twice 2/4
    expected = [(2 / 4 + 1 / 4 + 1 / 4) / 3, (5 / 6 + 1 / 2 + 1 / 2) / 3]
    assert [each.chance for each in result.text_to_image] == pytest.approx(expected)


def test_equal_scores_do_not_count_as_found() -> None:
    images = cards("red", "red", "red")

    result = measure(images, ["rrr", "ggg", "bbb"], ks=(1,))

    assert result.text_to_image[0].right == 0


def test_unreadable_images_are_skipped_and_reported() -> None:
    result = measure([*cards("red", "green"), b"no image"], ["rrr", "ggg", "bbb"])

    assert (result.images, result.captions) == (2, 2)
    assert str(result).startswith("2 images, 2 distinct captions; skipped 1: 1 unreadable")
    with pytest.raises(zeroshot.ZeroshotError, match="expected readable images, got none"):
        measure([b"no image"], ["rrr"])


def test_the_command_prints_recall_intervals_and_chance(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = Path(__file__).parents[2] / "examples" / "photos"
    rows = [f"{photos / f'{name}.jpg'},a {name}" for name in ("cat", "bee")]
    (tmp_path / "captions.csv").write_text("\n".join(["path,caption", *rows]))

    retrieval.main(["mini", str(tmp_path)])

    printed = capsys.readouterr().out
    assert "2 images, 2 distinct captions; no image skipped" in printed
    assert "image to text  recall@1 100.0 % (34.2-100.0), chance 50.0 %" in printed
    assert np.isclose(retrieval._chance(2, 10, 3), 1 - (8 * 7 * 6) / (10 * 9 * 8))
