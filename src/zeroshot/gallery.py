"""A list of predictions that a notebook shows as a gallery of thumbnails."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zeroshot.cards import bar
from zeroshot.errors import MissingPackage, ZeroshotError, short_errors_in
from zeroshot.images import open_image
from zeroshot.predictions import Prediction

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
    bars. `to_pandas` converts it to a data frame.

    Example:
        >>> found = zeroshot.classify([zeroshot.sample_image()], ["cat", "dog"], model="mini")
        >>> [prediction.label for prediction in found]
        ['cat']
    """

    def to_pandas(self) -> pandas.DataFrame:
        """Convert to a data frame with one row per image. Requires pandas.

        Returns:
            Columns `source`, `label`, `probability` and `ranking`, a tuple of pairs of label and
            probability.

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
        columns = ("source", "label", "probability", "ranking")
        rows = [[getattr(prediction, name) for name in columns] for prediction in self]
        return pandas.DataFrame(rows, columns=list(columns))

    def _repr_html_(self) -> str:
        figures = [_figure(prediction) for prediction in self[:SHOWN]]
        if len(self) > SHOWN:
            figures.append(f"<p>{SHOWN} of {len(self)} predictions</p>")
        return f"<div>{''.join(figures)}</div>"


def _figure(prediction: Prediction) -> str:
    """Return one image of the gallery: thumbnail, name, labels and bars."""
    rows = "".join(bar(*pair) for pair in prediction.ranking[:ROWS])
    name = f"<div>{html.escape(prediction.source)}</div>" if prediction.source else ""
    return f"<div style='{BOX}'>{_thumbnail(prediction.source)}{name}<table>{rows}</table></div>"


def _thumbnail(source: str | None) -> str:
    """Return an <img> with a small JPEG, or "" for an image that is not a readable file."""
    try:
        if source is None or not Path(source).is_file():
            return ""
        image: Any = open_image(source, at_least=THUMBNAIL)
    except (ZeroshotError, OSError, ValueError):  # the file has changed, or is no path
        return ""
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f"<img src='data:image/jpeg;base64,{data}' alt=''>"
