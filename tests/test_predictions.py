"""Predictions print as tables and convert to plain data."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from html.parser import HTMLParser

import pytest

from zeroshot import Failure, Prediction, Predictions
from zeroshot.errors import ImageError
from zeroshot.predictions import BAR, table

RANKING = (("a dog", 0.75), ("cat", 0.25))


def test_a_prediction_prints_as_a_table_with_bars() -> None:
    shown = str(Prediction("a dog", 0.75, RANKING, "dog.jpg"))
    assert shown.split("\n") == [
        "dog.jpg",
        "a dog   75.0%  " + "█" * (BAR * 3 // 4),
        "cat     25.0%  " + "█" * (BAR // 4),
    ]


def test_without_a_source_there_is_no_first_line() -> None:
    assert str(Prediction("a dog", 0.75, RANKING)).startswith("a dog")


def test_bars_can_use_another_character_or_be_omitted() -> None:
    prediction = Prediction("a dog", 0.75, RANKING)
    assert "#" * 18 in table(prediction, "#")
    assert table(prediction, None).split("\n") == ["a dog   75.0%", "cat     25.0%"]


def test_the_repr_is_short_and_leaves_the_ranking_out() -> None:
    shown = repr(Prediction("a dog", 0.75, RANKING, "dog.jpg"))
    assert shown == "Prediction(label='a dog', probability=0.75, source='dog.jpg')"


def test_notebooks_show_labels_and_source_escaped() -> None:
    evil = "<script>alert(1)</script>"
    shown = Prediction(evil, 1.0, ((evil, 1.0),), "<img src=x onerror=y>")._repr_html_()
    tags: set[str] = set()
    text: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            tags.add(tag)

        def handle_data(self, data: str) -> None:
            text.append(data)

    Reader().feed(shown)
    assert tags == {"table", "caption", "tr", "td", "div"}
    assert evil in text
    assert "<img src=x onerror=y>" in text
    assert "100.0%" in text


def test_to_dict_is_json_serializable() -> None:
    facts = Prediction("a dog", 0.75, RANKING, "dog.jpg").to_dict()
    assert json.loads(json.dumps(facts)) == {
        "source": "dog.jpg",
        "label": "a dog",
        "probability": 0.75,
        "ranking": [
            {"label": "a dog", "probability": 0.75},
            {"label": "cat", "probability": 0.25},
        ],
    }


def test_a_failure_contains_source_and_error() -> None:
    error = ImageError("a.jpg: it is empty", kind="not_image", source="a.jpg")
    assert Failure("a.jpg", error).to_dict() == {"source": "a.jpg", "error": "a.jpg: it is empty"}


def test_predictions_are_immutable() -> None:
    prediction = Prediction("a dog", 0.75, RANKING)
    with pytest.raises(FrozenInstanceError):
        prediction.label = "cat"  # type: ignore[misc]


def test_the_last_line_is_none_of_these() -> None:
    found = Prediction("cat", 0.387, (("cat", 0.387), ("dog", 0.002)), none=0.611)

    assert table(found, None) == (
        "cat             38.7%\ndog              0.2%\nnone of these   61.1%"
    )
    assert "none of these</td><td>61.1%" in found._repr_html_()
    assert "none of these</td><td>61.1%" in Predictions([found])._repr_html_()
