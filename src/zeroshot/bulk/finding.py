"""Search the images of a table by a text or an image: `find()`.

It compares the query with every stored embedding, a part at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from zeroshot.arguments import count, file_path, flag, instance
from zeroshot.bulk.output import Output, Part
from zeroshot.bulk.sheets import check_sheet, write_sheet
from zeroshot.bulk.stored import embeddings_of, load_model, open_embedded, read_part
from zeroshot.engine.cpu import workers
from zeroshot.errors import InputError, short_errors, shortened
from zeroshot.images import ImageLike
from zeroshot.lookahead import run_ahead
from zeroshot.model import Model
from zeroshot.progress import Bar, track

READ = ("row", "source", "label", "probability", "duplicate_of", "error_kind", "embedding")


@dataclass(frozen=True)
class Match:
    """An image that is similar to a query.

    Args:
        source: Path, URL or name of the image, as in the table.
        similarity: Cosine similarity with the query, -1..1.
        row: Number of the row in the table.
        label: The label of the image, or None.
        probability: The probability of the best label, or None.

    Example:
        >>> zeroshot.bulk.Match("cat.jpg", 0.27, 0, "cat", 0.9).to_dict()["source"]
        'cat.jpg'
    """

    source: str
    similarity: float
    row: int
    label: str | None
    probability: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that can be written as JSON."""
        return asdict(self)


@short_errors
def find(
    folder: str | os.PathLike[str],
    text: str | None = None,
    *,
    image: ImageLike | None = None,
    top: int = 20,
    min_similarity: float | None = None,
    duplicates: bool = False,
    model: str | os.PathLike[str] | Model | None = None,
    sheet: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> list[Match]:
    """Find the images of a table that are most similar to a text or an image.

    All embeddings are compared. A million take seconds. For more than ten million, build an index
    as docs/label-tables.md shows.

    Args:
        folder: Folder of `zeroshot.label(..., embeddings=True)`. It may be incomplete.
        text: What the images show, such as "a red car at night"; or give `image`.
        image: An image to compare with: a path, URL, bytes or an opened image.
        top: Number of images.
        min_similarity: Smallest similarity. None returns `top` images in any case.
        duplicates: Return images that have the same bytes as an earlier one too.
        model: The model of the table. None loads it by the name that the table has.
        sheet: File for a contact sheet with thumbnails of the images found: .html or .jpg.
            Thumbnails are made of local files; nothing is downloaded.
        progress: Show a progress bar. None shows one on a terminal if the work takes longer than
            two seconds.

    Returns:
        A list of `Match`, most similar first; at equal similarity in the order of rows.

    Raises:
        InputError: The table has no embeddings, an argument is invalid, or the sheet is a file that
            `find` did not write.
        HeadMismatch: The model is not that of the table.
        ImageError: The image cannot be read.
        TokenLimitError: The text is too long.
        MissingPackage: pyarrow is not installed.
        SaveError: The sheet cannot be written.

    Example:
        >>> pets = {"labels": ["cat", "dog"], "model": "mini", "embeddings": True}
        >>> zeroshot.label(["cat.jpg"], "pets", **pets).rows
        1
        >>> [match.source for match in zeroshot.bulk.find("pets", "a sleeping cat")]
        ['cat.jpg']
    """
    top = count("top", top, 1, "; try top=20")
    flag("duplicates", duplicates)
    if (text is None) == (image is None):
        raise InputError(
            "expected either a text or image=, got both or none of them; for example "
            "find(folder, 'a cat') or find(folder, image='cat.jpg')"
        )
    if min_similarity is not None and (
        isinstance(min_similarity, bool) or not isinstance(min_similarity, int | float)
    ):
        raise InputError(
            f"expected min_similarity as a number such as 0.2, got "
            f"min_similarity={shortened(repr(min_similarity))}"
        )
    if text is not None:
        instance("text", text, str, "pass an image as image=")
    target = None if sheet is None else file_path(sheet)
    if target is not None:
        check_sheet(target)
    output = open_embedded(folder)
    loaded = load_model(output.run, model)
    query = loaded.encode_text(str(text)) if image is None else loaded.encode_image(image)
    found = search(output, query.cpu(), top, duplicates=duplicates, progress=progress)
    if min_similarity is not None:
        found = [match for match in found if match.similarity >= min_similarity]
    if target is not None:
        captions = [(each.source, f"{each.similarity:.3f} {each.label or ''}") for each in found]
        write_sheet(target, str(text) if image is None else "Images similar to an image", captions)
    return found


def search(
    output: Output, query: Tensor, top: int, *, duplicates: bool, progress: bool | None
) -> list[Match]:
    """Return the best rows of all parts; only those are kept in memory."""
    pool = workers.get_pool()
    size = 1 if pool is None else workers.count()
    work = partial(_search_part, query=query, top=top, duplicates=duplicates)
    parts = run_ahead(work, output.parts(), workers=0, limit=2 * size, pool=pool)
    best: list[Match] = []
    for matches in track(parts, Bar("part", None, progress), count=lambda _: 1):
        best = _best([*best, *matches], top)
    return best


def _best(matches: Iterable[Match], top: int) -> list[Match]:
    return sorted(matches, key=lambda match: (-match.similarity, match.row))[:top]


def _search_part(part: Part, *, query: Tensor, top: int, duplicates: bool) -> list[Match]:
    """Return the best rows of one part."""
    table = read_part(part.path, READ)
    allowed = table.column("error_kind").is_null().to_numpy()
    if not duplicates:
        allowed &= table.column("duplicate_of").is_null().to_numpy()
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        similarity = embeddings_of(table, len(query), part.path) @ query
        similarity[torch.from_numpy(~allowed)] = -torch.inf
        values, places = similarity.topk(min(top, int(allowed.sum())))
    names = ["source", "row", "label", "probability"]
    rows = table.select(names).take(places.numpy()).to_pylist()
    pairs = zip(rows, values.tolist(), strict=True)
    return _best((Match(similarity=value, **row) for row, value in pairs), top)
