"""Options of a run."""

from __future__ import annotations

import sys

import pytest

from zeroshot.bulk.options import choose_format, parse_most, parse_names
from zeroshot.errors import InputError, MissingPackage


def test_the_format_is_parquet_if_pyarrow_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    assert choose_format(None, embeddings=True, scores="all") == "parquet"
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    assert choose_format(None, embeddings=False, scores="all") == "jsonl"
    with pytest.raises(MissingPackage, match="pip install"):
        choose_format("parquet", embeddings=False, scores="top")


def test_embeddings_require_pyarrow_unless_the_format_is_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(
        MissingPackage, match=r"relabel and find .* pip install 'zeroshot-clip\[par"
    ):
        choose_format(None, embeddings=True, scores="top")
    assert choose_format("jsonl", embeddings=True, scores="top") == "jsonl"


def test_csv_refuses_what_it_cannot_store() -> None:
    assert choose_format("csv", embeddings=False, scores="top") == "csv"
    with pytest.raises(InputError, match="format='csv'"):
        choose_format("csv", embeddings=False, scores="all")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, None), (0, (0, False)), (7, (7, False)), ("7", (7, False)), ("2.5%", (2.5, True))],
)
def test_the_most_errors_are_a_number_or_a_percentage(
    value: object, expected: tuple[float, bool] | None
) -> None:
    assert parse_most(value) == expected


@pytest.mark.parametrize("value", [-1, 1.5, True, "", "x", "%", "101%", "5%%", "1e3"])
def test_other_limits_of_errors_are_refused(value: object) -> None:
    with pytest.raises(InputError, match="max_errors=100"):
        parse_most(value)


def test_names_are_a_list_or_text_with_commas() -> None:
    assert parse_names("keep", "a, b") == parse_names("keep", ["a", "b"]) == ("a", "b")
    assert parse_names("keep", ()) == ()
    for value in (3, ["a", "a"], ["a", 1], ""):
        with pytest.raises(InputError, match="keep"):
            parse_names("keep", value)
