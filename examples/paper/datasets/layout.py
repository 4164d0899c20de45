"""Read the published files of a data set; errors say which file is missing and where it belongs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from zeroshot.errors import InputError, shortened, some

IMAGES = (".jpeg", ".jpg", ".png", ".webp")


@dataclass(frozen=True)
class Picture:
    """An image that is made when it is read, such as a video frame or a part of a file.

    zeroshot reads it like a file, on the threads that decode images. If `read` raises an error, the
    image is listed as a failure under `name`.
    """

    path: Path

    @property
    def name(self) -> str:
        """The path of the file, which results and errors show."""
        return str(self.path)

    def picture(self) -> Image.Image:
        """Return the image. Raises ImageError."""
        raise NotImplementedError

    def read(self) -> bytes:
        """Return the image as an uncompressed image file."""
        buffer = io.BytesIO()
        self.picture().save(buffer, "PPM")
        return buffer.getvalue()


def check_split(split: str, known: Sequence[str]) -> str:
    """Return the split; raise InputError if the data set does not have it."""
    if split not in known:
        raise InputError(
            f"expected the split to be one of {', '.join(known)}, got {split!r}; choose one"
        )
    return split


def first_folder(folder: Path, names: Sequence[str], published: str) -> Path:
    """Return the first of these folders within `folder` that exists ("." is `folder` itself).

    `published` says what to extract. Raises InputError if there is none.
    """
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    raise InputError(
        f"{folder}: expected a folder {' or '.join(names)}, got none; extract {published} there"
    )


def read_text(path: Path, published: str) -> str:
    """Return the text of a file; `published` says where it comes from. Raises InputError."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; extract {published} there") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot read the file as UTF-8 text ({error}); extract {published} again"
        ) from error


def read_json(path: Path, published: str) -> Any:
    """Return the content of a JSON file. Raises InputError."""
    try:
        return json.loads(read_text(path, published))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: invalid JSON ({error}); extract {published} again") from error


def read_json_lines(path: Path, published: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON Lines file. Raises InputError that names the line."""
    for number, line in enumerate(read_text(path, published).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(
                f"{path}, line {number}: invalid JSON ({error}); extract {published} again"
            ) from error
        if not isinstance(row, dict):
            raise InputError(
                f"{path}, line {number}: expected an object, got {shortened(repr(row))}; extract "
                f"{published} again"
            )
        yield row


def read_table(
    path: Path, columns: Sequence[str], published: str, *, tabs: bool = False
) -> list[dict[str, str]]:
    """Return the rows of a CSV or TSV file with a header. Raises InputError.

    Tab-separated files of GLUE do not quote fields, so quotes in them are text.
    """
    text = io.StringIO(read_text(path, published), newline="")
    reader = (
        csv.DictReader(text, delimiter="\t", quoting=csv.QUOTE_NONE)
        if tabs
        else csv.DictReader(text, strict=True)
    )
    try:
        rows = list(reader)
    except csv.Error as error:
        raise InputError(
            f"{path}, line {reader.line_num}: {error}; extract {published} again"
        ) from error
    found = reader.fieldnames or ()
    if missing := [name for name in columns if name not in found]:
        raise InputError(
            f"{path}: expected the columns {', '.join(columns)}, got "
            f"{some([repr(each) for each in found])} without {missing[0]}; extract {published}"
        )
    for number, row in enumerate(rows, 2):
        if any(row[name] is None for name in columns):
            raise InputError(
                f"{path}, row {number}: expected {len(found)} fields, got fewer; extract "
                f"{published} again"
            )
    return rows


def image_files(folder: Path) -> list[Path]:
    """Return the image files in a folder, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGES)
