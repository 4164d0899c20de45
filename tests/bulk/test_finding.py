"""Search by text or image returns the most similar rows of all parts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import zeroshot
from tests.bulk import tables
from zeroshot.bulk.finding import Match, find
from zeroshot.errors import HeadMismatch, ImageError, InputError


@pytest.fixture(scope="module")
def made(
    tiny: zeroshot.Model, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, np.ndarray[Any, Any]]:
    folder = tmp_path_factory.mktemp("find") / "labels"
    rows = tables.write_table(folder, dim=tiny.embed_dim, identity=tiny.identity)
    return folder, rows


def expected(
    rows: Any, query: torch.Tensor, *, duplicates: bool = False
) -> list[tuple[int, float]]:
    """Compare all rows by hand: numbers of rows and similarities, best first."""
    unit = torch.nn.functional.normalize(torch.from_numpy(rows)) @ query
    found = []
    for index, value in enumerate(unit.tolist()):
        place = index % 24
        if (place + 1) % 5 and (duplicates or place % 7 != 6):
            found.append((index // 24 << 40 | place, value))
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))


@pytest.mark.parametrize("top", [1, 7, 1000])
def test_a_text_finds_the_most_similar_rows(
    top: int, tiny: zeroshot.Model, made: tuple[Path, Any]
) -> None:
    folder, rows = made

    found = find(folder, "a red car", model=tiny, top=top)

    wanted = expected(rows, tiny.encode_text("a red car"))[:top]
    assert [match.row for match in found] == [row for row, _ in wanted]
    values = [match.similarity for match in found]
    assert values == pytest.approx([value for _, value in wanted], abs=1e-5)


def test_an_image_finds_similar_rows_with_label_and_source(
    tiny: zeroshot.Model, made: tuple[Path, Any], photos: list[Path]
) -> None:
    folder, rows = made

    best = find(folder, image=photos[0], model=tiny, top=1)[0]

    row, _ = expected(rows, tiny.encode_image(photos[0]))[0]
    place = row & (1 << 40) - 1
    assert best.source == f"photos/{row >> 40}/{place:06}.jpg"
    assert best.label == list(tables.LABELS)[place % 3]
    assert json.loads(json.dumps(best.to_dict()))["probability"] == 0.5


def test_duplicates_are_left_out_unless_asked_for(
    tiny: zeroshot.Model, made: tuple[Path, Any]
) -> None:
    folder, rows = made

    found = find(folder, "x", model=tiny, top=100, duplicates=True)

    wanted = expected(rows, tiny.encode_text("x"), duplicates=True)
    assert {match.row for match in found} == {row for row, _ in wanted}
    assert len(found) == len(find(folder, "x", model=tiny, top=100)) + 6


def test_least_drops_less_similar_images(tiny: zeroshot.Model, made: tuple[Path, Any]) -> None:
    every = find(made[0], "x", model=tiny, top=100)
    middle = every[len(every) // 2].similarity

    found = find(made[0], "x", model=tiny, top=100, min_similarity=middle)

    assert found == [match for match in every if match.similarity >= middle]


def test_a_sheet_shows_what_was_found(
    tiny: zeroshot.Model, made: tuple[Path, Any], tmp_path: Path
) -> None:
    found = find(made[0], "<b>", model=tiny, top=3, sheet=tmp_path / "a.html")

    page = (tmp_path / "a.html").read_text("utf-8")
    assert all(match.source in page for match in found)
    assert "<h1>&lt;b&gt;</h1>" in page


REFUSED: dict[str, tuple[Callable[..., Any], str]] = {
    "nothing": (lambda folder, model: find(folder, model=model), "either a text or image="),
    "both": (lambda folder, model: find(folder, "a", image="b", model=model), "either a text"),
    "a list": (lambda folder, model: find(folder, ["a"], model=model), "text to be a str"),  # type: ignore[arg-type]
    "top": (lambda folder, model: find(folder, "a", top=0, model=model), "top=0"),
    "min_similarity": (
        lambda folder, model: find(folder, "a", min_similarity="1", model=model),
        "min_similarity='1'",
    ),  # type: ignore[arg-type]
    "sheet": (lambda folder, model: find(folder, "a", sheet="a.gif", model=model), "sheet="),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_arguments_are_refused(
    case: str, tiny: zeroshot.Model, made: tuple[Path, Any]
) -> None:
    call, message = REFUSED[case]

    with pytest.raises(InputError, match=message):
        call(made[0], tiny)


def test_another_model_is_refused(tiny: zeroshot.Model, tmp_path: Path) -> None:
    tables.write_table(tmp_path / "labels", dim=tiny.embed_dim)

    with pytest.raises(HeadMismatch, match="expected the model of the table"):
        find(tmp_path / "labels", "a", model=tiny)


def test_a_table_without_embeddings_is_refused(tiny: zeroshot.Model, tmp_path: Path) -> None:
    tables.write_table(tmp_path / "labels", dim=None)

    with pytest.raises(InputError, match="expected a table with embeddings"):
        find(tmp_path / "labels", "a", model=tiny)


def test_an_image_that_is_missing_is_an_error(tiny: zeroshot.Model, made: tuple[Path, Any]) -> None:
    with pytest.raises(ImageError):
        find(made[0], image="missing.jpg", model=tiny)


def test_only_errors_match_nothing(tiny: zeroshot.Model, tmp_path: Path) -> None:
    tables.write_table(
        tmp_path / "labels", dim=tiny.embed_dim, identity=tiny.identity, bad=1, parts=(3, 0)
    )

    assert find(tmp_path / "labels", "a", model=tiny) == []


def test_a_match_is_plain_data() -> None:
    match = Match("a.jpg", 0.5, 3, "cat", 0.9)

    assert Match(**match.to_dict()) == match
