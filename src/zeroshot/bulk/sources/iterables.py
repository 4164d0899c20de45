"""Read images in Python objects: lists, generators, data sets of the `datasets` library."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, NoReturn, cast, overload

import numpy as np
from PIL import Image

from zeroshot.bulk.items import Item
from zeroshot.bulk.rows import printable
from zeroshot.bulk.sources.reading import MAX_BYTES, Options, failed, read_image
from zeroshot.errors import InputError, image_error, shortened
from zeroshot.images import ImageLike, Sample, describe
from zeroshot.images.opening import read_encoded
from zeroshot.labeling.tables import PATHS


class FrameRows(Sequence[dict[str, Any]]):
    """The rows of a data frame of pandas or polars, or of an Arrow table."""

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self._columns = columns

    @classmethod
    def of(cls, images: Any) -> FrameRows | None:
        """Return the rows if this is a data frame, else None."""
        if callable(getattr(images, "to_pydict", None)):  # Arrow
            return cls(images.to_pydict())
        if not (hasattr(images, "columns") and callable(getattr(images, "to_dict", None))):
            return None
        if hasattr(images, "to_dicts"):  # polars
            return cls(images.to_dict(as_series=False))
        return cls({str(name): column.tolist() for name, column in images.items()})

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), ()))

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        return {name: column[index] for name, column in self._columns.items()}


class IterableSource:
    """Images of an iterable: paths, URLs, bytes, images, Samples, or mappings with a column.

    A generator is consumed as rows are made, once. A sequence is indexed, so that a row of it that
    raises an error becomes an error row; an error of a generator ends the run.
    """

    kind = "iterable"

    def __init__(self, images: Iterable[Any], options: Options) -> None:
        self._images = images
        self._options = options
        self.name = f"<{type(images).__name__}>"
        self.columns = options.keep
        has_rows = hasattr(images, "__getitem__") and hasattr(images, "__len__")
        self.splits = has_rows and not isinstance(images, Mapping)
        self._column = options.column or _image_feature(images)
        if _features(images) is not None:
            self._images = _undecoded(images, self._column, options.keep)

    def facts(self) -> dict[str, Any]:
        """Return the type and the length: the content of an object cannot be compared."""
        return {"kind": self.kind, "name": self.name, "count": self.count()}

    def count(self) -> int | None:
        """Return the length, or None if it is not known."""
        try:
            return len(cast(Any, self._images))
        except TypeError:
            return None

    def items(self, first: int = 0) -> Iterator[Item]:
        """Yield the images from a row on."""
        rows = self._rows(first) if self.splits else islice(self._images, first, None)
        for place, value in enumerate(rows, first):
            yield value if isinstance(value, Item) else self._make(value, place)

    def _rows(self, first: int) -> Iterator[Any]:
        """Yield the entries of a sequence; an Item for one that raises an error."""
        images = cast(Any, self._images)
        for place in range(first, len(images)):
            try:
                yield images[place]
            except Exception as error:  # of any data set
                yield failed(str(place), error, self._options.nothing)

    def _make(self, value: Any, place: int) -> Item:
        """Return the item of an entry; a wrong one becomes an error row."""
        kept = self._options.nothing
        if isinstance(value, Mapping) and not _is_file(value):
            try:
                column = self._find_column(value)
                image = value[column]
                kept = tuple(value[each] for each in self.columns)
            except KeyError as error:
                return self._fail(place, f"expected the key {error}, got {_keys(value)}", kept)
            except InputError as error:
                return self._fail(place, str(error), kept)
        else:
            image = value
        name = str(place)
        if isinstance(image, Mapping) and _is_file(image):
            content, path = image.get("bytes"), image.get("path")
            name = path if isinstance(path, str) and path else name
            image = path if content is None else content
        if isinstance(image, str) and image:
            name = describe(image) or image
            return Item(printable(name), partial(_read_text, image), kept)
        if image is None:
            return self._fail(place, "expected an image, got None", kept)
        if name == str(place):
            name = describe(cast(ImageLike, image)) or name
        return Item(printable(name), partial(_read, image, printable(name)), kept)

    def _find_column(self, row: Mapping[str, Any]) -> str:
        """Return the key of the image, found in the first row unless it is given."""
        if self._column is None:
            images = [key for key, each in row.items() if _is_image(each)]
            paths = [key for key in row if str(key).lower() in PATHS]
            found = images if len(images) == 1 else [key for key in paths if key in images] or paths
            if len(found) != 1:
                raise InputError(
                    f"expected one key with an image, got {_keys(row)}; name it with column="
                )
            self._column = found[0]
        return self._column

    @staticmethod
    def _fail(place: int, problem: str, kept: tuple[Any, ...]) -> Item:
        name = str(place)
        return failed(name, image_error("bad_type", name, f"{problem}; correct the row"), kept)


def _read_text(image: str) -> ImageLike:
    return read_image(image)


def _read(image: Any, name: str) -> ImageLike:
    """Return the bytes of an image that is a file, or the image. Raises ImageError."""
    inside = image.image if isinstance(image, Sample) else image
    if isinstance(inside, str):
        return read_image(inside)
    return read_encoded(Sample(name, inside), largest=MAX_BYTES)


def _is_file(value: Mapping[str, Any]) -> bool:
    """Return whether this is an image as `datasets` stores it."""
    return bool(value) and set(value) <= {"bytes", "path"}


def _is_image(value: Any) -> bool:
    if isinstance(value, bytes | bytearray | Image.Image | Sample):
        return True
    if isinstance(value, Mapping):
        return _is_file(value)
    if isinstance(value, np.ndarray) or type(value).__name__ == "Tensor":
        return value.ndim in (2, 3)
    return hasattr(value, "read")


def _keys(row: Mapping[Any, Any]) -> str:
    return f"the keys {shortened(', '.join(map(str, row)), 150)}"


def _features(images: Any) -> Any:
    """Return the features of a data set of the `datasets` library, or None."""
    features = getattr(images, "features", None)
    is_set = callable(getattr(images, "cast_column", None))
    return features if is_set and isinstance(features, Mapping) else None


def _image_feature(images: Any) -> str | None:
    """Return the column with images of such a data set. Raises InputError for several."""
    features = _features(images)
    if features is None:
        return None
    found = [name for name, each in features.items() if type(each).__name__ == "Image"]
    if len(found) > 1:
        raise InputError(
            f"expected one column with images, got {shortened(', '.join(found), 200)}; name it "
            "with column="
        )
    return found[0] if found else None


def _undecoded(images: Any, column: str | None, keep: tuple[str, ...]) -> Any:
    """Return a data set whose images stay files, and without the other columns.

    Decoded images would lose the bytes of the file, and a damaged file would raise an error here.
    """
    features = _features(images)
    missing = [name for name in (column, *keep) if name is not None and name not in features]
    if missing:
        raise InputError(
            f"expected the column {missing[0]!r}, got {shortened(', '.join(features), 300)}; name "
            "one of these"
        )
    if column is None:
        return images
    if callable(getattr(images, "select_columns", None)):
        images = images.select_columns(list(dict.fromkeys((column, *keep))))
    feature = features[column]
    if getattr(feature, "decode", False) and dataclasses.is_dataclass(feature):
        plain = dataclasses.replace(cast(Any, feature), decode=False)
        images = images.cast_column(column, plain)
    return images


def refuse(images: object) -> NoReturn:
    """Raise InputError for a value that is no input."""
    raise InputError(
        f"expected paths, URLs, patterns or an iterable of images, got {type(images).__name__} "
        f"{shortened(repr(images))}; pass a list of paths"
    )
