"""Write labels as keywords into XMP sidecars, which photo managers read.

Image files are never changed. A sidecar photo.jpg.xmp or photo.xmp that exists is merged into:
keywords are added, nothing is removed, and a second run changes nothing.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from zeroshot.arguments import count, flag
from zeroshot.bulk.local_files import Skipped, check_probability, local_file
from zeroshot.bulk.output import Output
from zeroshot.bulk.xmp import LARGEST, SidecarError, add_keywords, clean, keywords_of
from zeroshot.errors import InputError, SaveError, ZeroshotError, short_errors, shortened
from zeroshot.files import write_atomically

MOST_ERRORS = 100  # that are kept with their message; all are counted

_STOP = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}  # other files would fail as well


@dataclass(frozen=True)
class TagError:
    """A sidecar that was left as it is."""

    source: str
    kind: str  # "bad_sidecar", "permission" or "io"
    message: str


@dataclass(frozen=True)
class Tagged:
    """What `tag` did, or would do with `dry_run`.

    Example:
        >>> zeroshot.label(["cat.jpg"], "pets", labels=["cat", "dog"], model="mini").rows
        1
        >>> print(zeroshot.bulk.tag("pets", dry_run=True))
        would write 1 sidecars; 0 unchanged
          cat          1
    """

    written: int  # sidecars that were made or changed
    unchanged: int  # sidecars that have all keywords already
    unsure: int  # images without a label of `min_probability`
    skipped: Mapping[str, int]  # rows by reason
    errors: Mapping[str, int]  # sidecars by kind
    problems: tuple[TagError, ...] = ()  # the first 100
    keywords: Mapping[str, int] = field(default_factory=dict)  # images per keyword
    dry_run: bool = False
    missing_parts: int = 0  # of a table that is incomplete

    def __str__(self) -> str:
        verb = "would write" if self.dry_run else "wrote"
        lines = [f"{verb} {self.written:,} sidecars; {self.unchanged:,} unchanged"]
        most = sorted(self.keywords.items(), key=lambda item: (-item[1], item[0]))
        width = max((len(name) for name, _ in most), default=0)
        lines += [f"  {name:<{width}}  {n:>9,}" for name, n in most]
        facts = {"no label is probable enough": self.unsure}
        facts |= {f"skipped, {reason}": n for reason, n in sorted(self.skipped.items())}
        facts |= {f"error, {kind}": n for kind, n in sorted(self.errors.items())}
        facts["parts of the table that are missing"] = self.missing_parts
        return "\n".join([*lines, *(f"{name}: {n:,}" for name, n in facts.items() if n)])


@short_errors
def tag(
    folder: str | os.PathLike[str],
    *,
    min_probability: float = 0.3,
    max_keywords: int = 5,
    prefix: str | None = None,
    root: str | os.PathLike[str] | None = None,
    dry_run: bool = False,
) -> Tagged:
    """Write the labels of a table as keywords into XMP sidecars of the images.

    The sidecar is photo.jpg.xmp, or photo.xmp if only that exists. Its keywords are in `dc:subject`
    (flat), `digiKam:TagsList` and `lr:hierarchicalSubject`. Existing content is kept to the byte.
    Images inside of archives, Parquet files and videos, URLs and error rows are skipped.

    Args:
        folder: A folder that `zeroshot.label` wrote.
        min_probability: Labels that are less probable become no keywords.
        max_keywords: Largest number of keywords per image.
        prefix: Parent of the keywords in hierarchies: "AI", or "AI/2026" for two levels.
        root: Folder where relative paths of the table start. None is the folder in which the
            images were labeled, or the working folder if that does not exist.
        dry_run: Only count what would be written.

    Returns:
        A Tagged. Sidecars that are invalid or cannot be written are in `errors` and `problems`.

    Raises:
        InputError: An argument is invalid, or `folder` was not written by `zeroshot.label`.
        SaveError: The disk is full. Sidecars that were written stay.
        MissingPackage: The table is Parquet and pyarrow is not installed.

    Example:
        >>> zeroshot.label(["cat.jpg"], "pets", labels=["cat", "dog"], model="mini").rows
        1
        >>> tagged = zeroshot.bulk.tag("pets", prefix="AI", dry_run=True)
        >>> tagged.written, tagged.keywords
        (1, {'cat': 1})
    """
    output = Output.open(folder)
    tagged = tag_rows(
        output.rows(),
        min_probability=min_probability,
        max_keywords=max_keywords,
        prefix=prefix,
        kinds=[facts["kind"] for facts in output.run["sources"]],
        root=output.find_root(root),
        dry_run=dry_run,
    )
    return replace(tagged, missing_parts=len(output.gaps()))


def tag_rows(
    rows: Iterable[Mapping[str, Any]],
    *,
    min_probability: float = 0.3,
    max_keywords: int = 5,
    prefix: str | None = None,
    kinds: Sequence[str] = (),
    root: str | os.PathLike[str] | None = None,
    dry_run: bool = False,
) -> Tagged:
    """Write keywords of rows with `source`, `labels` and `probabilities` into sidecars.

    At most `max_keywords` labels of at least `min_probability` become keywords of an image;
    `prefix` is their parent in hierarchies. `kinds` are the kinds of the run's sources; relative
    sources start at `root`, by default the working folder. Sidecars that are invalid or cannot be
    written are counted as errors. Raises InputError, and SaveError if the disk is full.
    """
    _check(min_probability, max_keywords, prefix)
    tagger = _Tagger(prefix, flag("dry_run", dry_run))
    base = Path(os.path.abspath(root or "."))
    for row in rows:
        found = local_file(row, kinds, base)
        if isinstance(found, Skipped):
            tagger.skipped[found.reason] += 1
        else:
            tagger.add(found, probable(row, min_probability, max_keywords))
    return tagger.result()


def probable(row: Mapping[str, Any], min_probability: float, max_keywords: int) -> list[str]:
    """Return the labels of a row that are probable enough, best first."""
    labels, probabilities = row.get("labels"), row.get("probabilities")
    if labels is None or probabilities is None:
        labels, probabilities = [row.get("label")], [row.get("probability")]
    pairs = zip(labels, probabilities, strict=True)
    kept = [label for label, p in pairs if label is not None and (p or 0.0) >= min_probability]
    return [str(label) for label in kept[:max_keywords]]


def sidecars(image: Path) -> list[Path]:
    """Return the sidecars of an image that exist, or the one to make: photo.jpg.xmp."""
    full = image.with_name(f"{image.name}.xmp")  # darktable, digiKam, Immich
    short = image.with_suffix(".xmp")  # Lightroom
    return [path for path in (full, short) if path.exists()] or [full]


def _check(min_probability: float, max_keywords: int, prefix: str | None) -> None:
    check_probability("min_probability", min_probability)
    count("max_keywords", max_keywords, 1, "; try max_keywords=5")
    if prefix is not None and not (isinstance(prefix, str) and clean(prefix)):
        raise InputError(
            f"prefix={shortened(repr(prefix))} must be a keyword or None; try prefix='AI'"
        )


class _Tagger:
    def __init__(self, prefix: str | None, dry_run: bool) -> None:
        self.prefix, self.dry_run = prefix, dry_run
        self.written = self.unchanged = self.unsure = 0
        self.skipped: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.keywords: Counter[str] = Counter()
        self.problems: list[TagError] = []

    def add(self, image: Path, labels: list[str]) -> None:
        """Add the labels of an image to its sidecars."""
        if not labels:
            self.unsure += 1
            return
        self.keywords.update({clean(label) for label in labels})
        try:
            existing = sidecars(image)
        except OSError as error:  # the name is too long
            self._fail(image, "io", str(error))
            return
        for sidecar in existing:
            try:
                changed = self._merge(sidecar, labels)
            except SidecarError as error:
                self._fail(sidecar, "bad_sidecar", f"{error}; repair or remove the sidecar")
            except OSError as error:
                reason = error.cause or error.__cause__ if isinstance(error, SaveError) else error
                number = getattr(reason, "errno", None)
                if number in _STOP:
                    raise self._stopped(sidecar, error) from error
                denied = number in (errno.EACCES, errno.EPERM)
                self._fail(sidecar, "permission" if denied else "io", str(error))
            else:
                self.written += changed
                self.unchanged += not changed

    def _merge(self, sidecar: Path, labels: list[str]) -> bool:
        """Return whether the sidecar changes."""
        before = _read(sidecar)
        after = add_keywords(before, keywords_of(labels, self.prefix))
        if after != before and not self.dry_run:
            with write_atomically(sidecar) as temporary, temporary.open("wb") as file:
                file.write(after)
                file.flush()
                os.fsync(file.fileno())
        return after != before

    def _fail(self, sidecar: Path, kind: str, message: str) -> None:
        self.errors[kind] += 1
        if len(self.problems) < MOST_ERRORS:
            self.problems.append(TagError(str(sidecar), kind, shortened(message, 300)))

    def _stopped(self, sidecar: Path, error: OSError) -> ZeroshotError:
        return SaveError(
            f"{shortened(str(sidecar), 300)}: cannot write ({error.strerror or error}); free space "
            f"and tag again: {self.written:,} sidecars are written already",
            source=str(sidecar),
        )

    def result(self) -> Tagged:
        return Tagged(
            self.written,
            self.unchanged,
            self.unsure,
            dict(self.skipped),
            dict(self.errors),
            tuple(self.problems),
            dict(self.keywords),
            self.dry_run,
        )


def _read(sidecar: Path) -> bytes | None:
    """Return at most one byte more than the largest sidecar, or None if there is none."""
    if not sidecar.exists():
        return None
    if not sidecar.is_file():
        raise SidecarError("it is not a regular file")
    with sidecar.open("rb") as file:
        return file.read(LARGEST + 1)
