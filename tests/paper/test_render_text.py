"""Render sentences as images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from examples.paper import render_text
from examples.paper.datasets.rendered_text import sst2
from examples.paper.render_text import main, render
from zeroshot.errors import InputError

TABLE = """sentence\tlabel
it 's a charming and often affecting journey . \t1
unflinchingly bleak and desperate \t0
a "quoted word and a caf\u00e9 \t1
"""


def test_image_is_black_text_on_white_of_448_pixels() -> None:
    image = render("it 's a charming and often affecting journey .")
    pixels = np.asarray(image)

    assert (image.mode, image.size) == ("RGB", (448, 448))
    assert (pixels[..., 0] == pixels[..., 1]).all()
    assert (pixels[..., 0] == pixels[..., 2]).all()
    assert pixels.min() == 0
    assert (pixels == 255).mean() > 0.9


def test_text_stays_within_the_margin() -> None:
    long = "the longest sentences of the treebank have about fifty words and two hundred letters . "
    for sentence in ("short", long * 3, "x" * 60, long * 12):
        pixels = np.asarray(render(sentence))
        border = render_text.MARGIN - 1
        inner = pixels[border:-border, border:-border]
        assert (pixels == 255).all(axis=2).sum() - (inner == 255).all(axis=2).sum() == (
            448 * 448 - inner.shape[0] * inner.shape[1]
        )
        assert inner.min() < 128


def test_text_that_cannot_fit_is_rejected() -> None:
    with pytest.raises(InputError, match="fits in 448 x 448 pixels, got 2000 characters"):
        render("x" * 2000)


def test_rendered_file_can_be_read_as_rendered_sst2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dev.tsv").write_text(TABLE, "utf-8")

    main([str(tmp_path / "dev.tsv"), str(tmp_path / "rendered/test")])

    data = sst2(tmp_path / "rendered", "test")
    assert [(path.name, column) for path, column in zip(data.images, data.truth, strict=True)] == [
        ("000002.png", 0),
        ("000001.png", 1),
        ("000003.png", 1),
    ]
    assert Image.open(data.images[2]).tobytes() == render('a "quoted word and a café').tobytes()
    assert "3 images written" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("index\tsentence\n0\tuneasy mishmash\n", "expected the columns sentence, label"),
        ("sentence\tlabel\ngood\t1\nbad\t2\n", "sentence 2: expected text and a label 0 or 1"),
        ("sentence\tlabel\n \t1\n", "sentence 1: expected text and a label"),
        ("sentence\tlabel\ngood\n", "row 2: expected 2 fields, got fewer"),
    ],
    ids=["unlabeled", "other label", "empty", "short row"],
)
def test_tables_that_are_not_glue_are_rejected_before_anything_is_written(
    tmp_path: Path, content: str, problem: str
) -> None:
    (tmp_path / "bad.tsv").write_text(content)

    with pytest.raises(InputError, match=problem):
        main([str(tmp_path / "bad.tsv"), str(tmp_path / "out")])

    assert not (tmp_path / "out").exists()
