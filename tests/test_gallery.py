"""A list of predictions is a list, a gallery and a data frame."""

from __future__ import annotations

import base64
import io
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import zeroshot
from zeroshot.errors import MissingPackage
from zeroshot.gallery import SHOWN, THUMBNAIL, Predictions

LABELS = ["cat", "dog", "car"]
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def found(tiny: zeroshot.Model, photos: list[Path]) -> Predictions:
    return tiny.classifier(LABELS)(photos)


def prediction(source: str | None) -> zeroshot.Prediction:
    return zeroshot.Prediction(EVIL, 1.0, ((EVIL, 1.0),), source)


def test_many_images_give_a_list(found: Predictions, photos: list[Path]) -> None:
    assert isinstance(found, list)
    assert [each.source for each in found] == [str(path) for path in photos]
    assert pickle.loads(pickle.dumps(found)) == found
    assert found == list(found)


def test_the_gallery_has_a_thumbnail_for_each_file() -> None:
    path = zeroshot.sample_image()
    shown = zeroshot.classify([path, path], LABELS, model="mini")._repr_html_()

    thumbnails = re.findall(r"base64,([^']+)'", shown)
    assert len(thumbnails) == 2
    image = Image.open(io.BytesIO(base64.b64decode(thumbnails[0])))
    assert image.format == "JPEG"
    assert max(image.size) == THUMBNAIL
    assert len(thumbnails[0]) < 12_000
    assert shown.count("cat.jpg") == 2
    assert shown.count("width:") >= 6


@pytest.mark.parametrize(
    "source", [None, "key of a sample", "missing.jpg", "https://example.org/a.jpg", "a\0b", "."]
)
def test_an_image_that_is_not_a_readable_file_has_no_thumbnail(source: str | None) -> None:
    shown = Predictions([prediction(source)])._repr_html_()

    assert "<img" not in shown
    assert "100.0%" in shown


def test_a_file_that_is_no_image_has_no_thumbnail(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"not an image")

    assert "<img" not in Predictions([prediction(str(tmp_path / "a.jpg"))])._repr_html_()


def test_labels_and_sources_are_escaped() -> None:
    assert "<script>" not in Predictions([prediction(EVIL)])._repr_html_()


def test_long_lists_show_the_first_images_and_the_number() -> None:
    shown = Predictions([prediction("a")] * (SHOWN + 1))._repr_html_()

    assert shown.count("<table>") == SHOWN
    assert f"{SHOWN} of {SHOWN + 1} predictions" in shown


def test_to_pandas_has_a_row_for_each_image(found: Predictions) -> None:
    pytest.importorskip("pandas")
    frame = found.to_pandas()

    assert list(frame.columns) == ["source", "label", "probability", "ranking", "error"]
    assert frame["label"].tolist() == [each.label for each in found]
    assert frame["ranking"][0] == found[0].ranking
    assert len(Predictions().to_pandas()) == 0


@pytest.fixture
def mixed(tiny: zeroshot.Model, photos: list[Path]) -> Predictions:
    images = [photos[0], Path("missing<.jpg")]
    return Predictions(tiny.classifier(LABELS).stream(images, on_error="yield"))


def test_a_failure_is_a_row_with_an_error(mixed: Predictions) -> None:
    pytest.importorskip("pandas")
    frame = mixed.to_pandas()

    assert frame["source"].tolist()[1] == "missing<.jpg"
    assert frame["label"].isna().tolist() == [False, True]
    assert frame["error"].isna().tolist() == [True, False]
    assert "no such image file" in frame["error"][1]


def test_a_failure_is_a_tile_with_the_error(mixed: Predictions) -> None:
    shown = mixed._repr_html_()

    assert shown.count("<table>") == 1
    assert "<b>error:</b> missing&lt;.jpg: no such image file" in shown


def test_slices_and_sums_are_predictions(found: Predictions) -> None:
    parts = found[:2] + found[2:]

    assert type(found[:2]) is type(parts) is type(found + list(found)) is Predictions
    assert parts == found
    assert type(found[-1]) is zeroshot.Prediction
    assert type(pickle.loads(pickle.dumps(parts))) is Predictions


def test_without_pandas_the_error_says_how_to_install_it(
    found: Predictions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(MissingPackage, match="pip install pandas"):
        found.to_pandas()


def test_models_heads_and_classifiers_have_cards(tiny: zeroshot.Model) -> None:
    classifier = tiny.classifier(LABELS)
    shown: list[Any] = [tiny, classifier.head, classifier]
    cards = [each._repr_html_() for each in shown]

    assert all(card.startswith("<table>") for card in cards)
    assert str(tiny.device) in cards[0]
    assert tiny.identity in cards[0]
    assert all("cat, dog, car" in card for card in cards[1:])
