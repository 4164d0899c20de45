"""A list of predictions that a notebook shows as a gallery of thumbnails."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

from zeroshot.arguments import instance
from zeroshot.cards import bar
from zeroshot.errors import MissingPackage, ZeroshotError, short_errors_in
from zeroshot.images import ImageLike, open_image
from zeroshot.predictions import Failure, Prediction, rows_of

if TYPE_CHECKING:
    import pandas

SHOWN = 48  # predictions; a notebook stores the thumbnails of all
ROWS = 3  # labels for each image
THUMBNAIL = 128  # pixels; the longer side
BOX = "display:inline-block;vertical-align:top;width:15em;margin:0.5em"


@short_errors_in
class Predictions(list[Prediction]):
    """The predictions of several images, in order; a list with two additions.

    A notebook shows it as a gallery: a thumbnail of each image that is a file, its best labels and
    bars. `to_pandas` converts it to a data frame. Slices and sums are `Predictions` too.
    A `Failure`, as in `Predictions(classifier.stream(images, on_error="yield"))`, is shown with its
    error.

    Args:
        items: The predictions.

    Example:
        >>> found = zeroshot.classify([zeroshot.sample_image()], ["cat", "dog"], model="mini")
        >>> [prediction.label for prediction in found]
        ['cat']
    """

    def __init__(self, items: Iterable[Prediction | Failure] = ()) -> None:
        super().__init__(items)  # type: ignore[arg-type]  # most lists have no Failure

    @overload
    def __getitem__(self, index: SupportsIndex) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> Predictions: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Prediction | Predictions:
        found = super().__getitem__(index)
        return Predictions(found) if isinstance(found, list) else found

    def __add__(self, other: list[Prediction]) -> Predictions:  # type: ignore[override]
        """Concatenate two lists of predictions.

        Args:
            other: The predictions of other images.

        Returns:
            The predictions of both.

        Raises:
            InputError: `other` is not a list.

        Example:
            >>> found = zeroshot.classify(["cat.jpg"], ["cat", "dog"], model="mini")
            >>> [each.label for each in found + found]
            ['cat', 'cat']
        """
        instance("other", other, list, "pass a list of predictions")
        return Predictions(super().__add__(other))

    def to_pandas(self) -> pandas.DataFrame:
        """Convert to a data frame with one row per image. Requires pandas.

        Returns:
            Columns `source`, `label`, `probability`, `ranking`, a tuple of pairs of label and
            probability, and `error`, the message of a `Failure`. Other values are missing.

        Raises:
            MissingPackage: pandas is not installed.

        Example:
            >>> found = zeroshot.classify(["cat.jpg"], ["cat", "dog"], model="mini")
            >>> frame = found.to_pandas()  # doctest: +SKIP
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingPackage(
                "to_pandas() requires pandas, which is not installed; run: pip install pandas"
            ) from error
        columns = ["source", "label", "probability", "ranking", "error"]
        rows = [[_value(result, name) for name in columns] for result in self]
        return pandas.DataFrame(rows, columns=columns)

    def _repr_html_(self) -> str:
        figures = [_figure(result) for result in self[:SHOWN]]
        if len(self) > SHOWN:
            figures.append(f"<p>{SHOWN} of {len(self)} predictions</p>")
        return f"<div>{''.join(figures)}</div>"


def _value(result: Prediction | Failure, column: str) -> object:
    """Return a value of the data frame; None where a result has no such value."""
    value = getattr(result, column, None)
    return str(value) if column == "error" and value is not None else value


def _figure(result: Prediction | Failure) -> str:
    """Return one image of the gallery: thumbnail, name, and labels with bars or the error."""
    name = f"<div>{html.escape(result.source)}</div>" if result.source else ""
    if isinstance(result, Failure):
        return f"<div style='{BOX}'>{name}<b>error:</b> {html.escape(str(result.error))}</div>"
    rows = "".join(bar(*pair) for pair in rows_of(result, ROWS))
    return f"<div style='{BOX}'>{thumbnail(result.source)}{name}<table>{rows}</table></div>"


def thumbnail(source: ImageLike | None) -> str:
    """Return an <img> with a small JPEG, or "" for an image that cannot be opened.

    A path must be a file; nothing is downloaded.
    """
    try:
        if source is None:
            return ""
        if isinstance(source, str | os.PathLike) and not Path(source).is_file():
            return ""
        image: Any = open_image(source, at_least=THUMBNAIL)
    except (ZeroshotError, OSError, TypeError, ValueError):  # the file has changed, or is no path
        return ""
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f"<img src='data:image/jpeg;base64,{data}' alt=''>"
