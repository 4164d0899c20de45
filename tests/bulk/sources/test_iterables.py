"""Python objects as sources: lists, generators, rows and data sets of `datasets`."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.bulk.sources.files import contents, pictures, write_folder
from tests.support import flat
from zeroshot import Sample
from zeroshot.bulk.sources import open_sources
from zeroshot.bulk.sources.iterables import IterableSource
from zeroshot.bulk.sources.reading import Options
from zeroshot.errors import InputError

FILES = pictures(5)
BYTES = list(FILES.values())


def source(images: Any, column: str | None = None, keep: tuple[str, ...] = ()) -> IterableSource:
    return IterableSource(images, Options(column, keep))


def test_names_are_given_or_the_index(tmp_path: Path) -> None:
    write_folder(tmp_path, FILES)
    path = tmp_path / next(iter(FILES))
    images = [BYTES[0], str(path), path, Sample("given", BYTES[0]), Sample("named", str(path))]
    file = io.BytesIO(BYTES[0])
    names = ["0", str(path), str(path), "given", "named", "5"]

    assert contents(source([*images, file]).items()) == [(name, BYTES[0]) for name in names]


def test_images_that_are_no_files_stay_images() -> None:
    picture, array = flat("red"), np.zeros((4, 5, 3), np.uint8)
    items = list(source([picture, array]).items())

    assert items[0].read() is picture
    assert items[1].read() is array


def test_wrong_values_are_error_rows() -> None:
    found = contents(source([None, 3, BYTES[0], {}, "", object()]).items())

    assert [name for name, _ in found] == [str(n) for n in range(6)]
    assert [content for _, content in found][2] == BYTES[0]
    assert sum(isinstance(content, str) for _, content in found) == 5


def test_generator_is_not_read_ahead() -> None:
    taken: list[int] = []

    def images() -> Iterator[bytes]:
        for number, content in enumerate(BYTES):
            taken.append(number)
            yield content

    items = source(images()).items()
    next(items)
    next(items)

    assert taken == [0, 1]
    assert (source(images()).splits, source(images()).count()) == (False, None)


def test_error_of_a_generator_ends_the_run() -> None:
    def images() -> Iterator[bytes]:
        yield BYTES[0]
        raise RuntimeError("bug")

    with pytest.raises(RuntimeError, match="bug"):
        list(source(images()).items())


def test_entry_of_a_sequence_that_raises_is_an_error_row() -> None:
    class Images:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, place: int) -> bytes:
            if place == 1:
                raise OSError("broken file")
            return BYTES[place]

    found = contents(source(Images()).items())

    assert found == [("0", BYTES[0]), ("1", "OSError "), ("2", BYTES[2])]


@given(first=st.integers(0, 7), kind=st.sampled_from(["list", "generator", "rows"]))
def test_items_from_a_row_are_the_rest_of_all_items(first: int, kind: str) -> None:
    rows = [{"image": content, "n": n} for n, content in enumerate(BYTES)]
    makers = {"list": lambda: BYTES, "generator": lambda: iter(BYTES), "rows": lambda: rows}
    make = makers[kind]

    expected = contents(islice(source(make()).items(0), first, None))
    assert contents(source(make()).items(first)) == expected


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ({"picture": BYTES[0], "label": 3}, None),
        ({"picture": Image.new("RGB", (2, 2)), "label": 3}, None),
        ({"left": BYTES[1], "image": BYTES[0]}, None),
        ({"left": BYTES[1], "right": BYTES[0]}, "right"),
        ({"x": {"bytes": BYTES[0], "path": None}, "y": "text"}, None),
    ],
)
def test_image_of_a_row_is_found_by_type_or_name(row: dict[str, Any], column: str | None) -> None:
    [item] = source([row], column).items()

    assert item.name == "0"
    content = item.read()
    assert content == BYTES[0] or isinstance(content, Image.Image)


def test_paths_in_rows_are_read_and_columns_kept(tmp_path: Path) -> None:
    write_folder(tmp_path, FILES)
    rows = [{"path": str(tmp_path / name), "id": n} for n, name in enumerate(FILES)]
    items = list(source(rows, keep=("id",)).items())

    assert [item.kept for item in items] == [(n,) for n in range(5)]
    assert [content for _, content in contents(items)] == BYTES


@pytest.mark.parametrize(
    ("row", "column", "keep"),
    [
        ({"a": BYTES[0], "b": BYTES[0]}, None, ()),
        ({"a": 1}, None, ()),
        ({"a": BYTES[0]}, "image", ()),
        ({"image": BYTES[0]}, None, ("id",)),
    ],
)
def test_row_without_a_clear_image_or_column_is_an_error_row(
    row: dict[str, Any], column: str | None, keep: tuple[str, ...]
) -> None:
    [(name, content)] = contents(source([row], column, keep).items())

    assert (name, content) == ("0", "ImageError bad_type")


@pytest.fixture
def dataset() -> Any:
    import datasets

    broken = {"bytes": b"\xff\xd8\xff broken", "path": "broken.jpg"}
    images = [{"bytes": content, "path": name} for name, content in FILES.items()]
    return datasets.Dataset.from_dict(
        {"picture": [*images, broken], "label": range(6)},
        features=datasets.Features({"picture": datasets.Image(), "label": datasets.Value("int64")}),
    )


@pytest.mark.parametrize("streams", [False, True], ids=["Dataset", "IterableDataset"])
def test_data_set_gives_its_files_without_decoding(streams: bool, dataset: Any) -> None:
    found = source(dataset.to_iterable_dataset() if streams else dataset, keep=("label",))
    items = list(found.items())

    assert contents(items) == [*FILES.items(), ("broken.jpg", b"\xff\xd8\xff broken")]
    assert [item.kept for item in items] == [(n,) for n in range(6)]
    assert found.splits is not streams
    assert contents(items[4:]) == contents(found.items(4))


def test_data_set_without_the_column_is_an_error_at_the_start(dataset: Any) -> None:
    with pytest.raises(InputError, match="the column 'image', got picture, label"):
        source(dataset, "image")
    with pytest.raises(InputError, match="the column 'id', got picture, label"):
        source(dataset, keep=("id",))


def test_data_set_with_two_images_requires_a_column(dataset: Any) -> None:
    import datasets

    double = dataset.add_column("second", dataset.with_format("arrow")["picture"].to_pylist())
    double = double.cast_column("second", datasets.Image())

    with pytest.raises(InputError, match="one column with images, got picture, second"):
        source(double)
    assert len(list(source(double, "second").items())) == 6


def test_facts_are_type_and_length() -> None:
    expected = {"kind": "iterable", "name": "<list>", "count": 5}
    assert source(BYTES).facts() == expected


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow"])
def test_data_frame_is_read_by_row(kind: str, tmp_path: Path) -> None:
    write_folder(tmp_path, FILES)
    columns = {"path": [str(tmp_path / name) for name in FILES], "id": [4, 3, 2, 1, 0]}
    makers: dict[str, Callable[[], Any]] = {
        "pandas": lambda: pytest.importorskip("pandas").DataFrame(columns, index=list("abcde")),
        "polars": lambda: pytest.importorskip("polars").DataFrame(columns),
        "arrow": lambda: pytest.importorskip("pyarrow").table(columns),
    }
    [found] = open_sources(makers[kind](), keep=["id"])
    items = list(found.items(1))

    assert contents(items) == list(zip(columns["path"], BYTES, strict=True))[1:]
    assert [item.kept for item in items] == [(n,) for n in (3, 2, 1, 0)]
    assert (found.count(), found.splits) == (5, True)
