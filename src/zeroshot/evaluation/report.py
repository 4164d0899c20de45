"""The result of an evaluation: prints, shows in a notebook, and is saved as HTML or JSON."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zeroshot import metrics
from zeroshot.arguments import count, file_path, flag, instance
from zeroshot.errors import InputError, short_errors_in, shortened
from zeroshot.evaluation.answers import Answers
from zeroshot.evaluation.comparison import Difference, TemplateEffect, changes
from zeroshot.evaluation.confusions import Confusion
from zeroshot.evaluation.figures import Bin, Figure, LabelFigure, LabelPrecision
from zeroshot.evaluation.published import Published
from zeroshot.files import write_atomically
from zeroshot.images import ImageLike
from zeroshot.predictions import Failure

FORMAT = "zeroshot.report/1"  # marks the files that `save` may replace
MARK = f'<meta name="generator" content="{FORMAT}">'
HEAD = 1024  # bytes of a file that contain the mark
NEAR = 0.02  # of values of embeddings; on mini bfloat16 differs by 0.010, photographs by 0.063
POINTS = 200  # most points of the risk-coverage curve


@short_errors_in
@dataclass(frozen=True, eq=False)
class Report:
    """The figures of a classifier on images with known labels, as `evaluate` returns them.

    `print(report)` shows it as text, a notebook as a page.

    Args:
        model: Name of the model, or None if it has none.
        prompts: Name of the prompt set.
        template_count: Number of its templates.
        labels: The labels, in the order of the columns of the head; last, if `can_abstain`, "none
            of these", or "no answer" of a classifier without background words.
        n: Number of images in the figures.
        failures: The images that cannot be read; they are not in the figures.
        figures: Name to value with a 95 % interval. One label per image: `top1`, `top5` (with more
            than 5 labels), `mean_per_label`, `ece`, `brier`, `nll`, `aurc`; of a classifier that
            can give no answer no `top5`, but `answered`, `right_among_answers` and, if some images
            show none of the labels, `known_answered`, `unknown_turned_away`, `auroc`. Several:
            `map`, `top1`.
        per_label: The figures of each label.
        confusions: The most frequent confusions.
        floor: Mean and 95th percentile of the calibration error that chance alone gives, or None.
        bins: The reliability diagram.
        published: The published ImageNet accuracy of the model, or None.
        notes: What limits these figures.
        can_abstain: Whether the classifier can give no answer.
        comparisons: Other classifiers on the same images, if they were compared.
        templates: The effect of each template, if it was measured.
        sources: Path, URL or key of each image in the figures, or None.

    Example:
        >>> classifier = zeroshot.load("mini").classifier(["cat", "dog"])
        >>> report = zeroshot.evaluate(classifier, ["cat.jpg"], ["cat"])
        >>> report.figures["top1"].value
        1.0
    """

    model: str | None
    prompts: str
    template_count: int
    labels: tuple[str, ...]
    n: int
    failures: tuple[Failure, ...]
    figures: dict[str, Figure]
    per_label: tuple[LabelFigure, ...] | tuple[LabelPrecision, ...]
    confusions: tuple[Confusion, ...]
    floor: tuple[float, float] | None
    bins: tuple[Bin, ...]
    published: Published | None
    notes: tuple[str, ...]
    can_abstain: bool = False
    comparisons: tuple[Difference, ...] = ()
    templates: tuple[TemplateEffect, ...] = ()
    sources: tuple[str | None, ...] = field(default=(), repr=False)
    answers: Answers | None = field(default=None, repr=False)  # None with several labels per image
    # For thumbnails: the images as given, if they are a list, and the position of each row.
    images: Sequence[ImageLike] | None = field(default=None, repr=False)
    places: NDArray[np.int64] | None = field(default=None, repr=False)
    # For comparisons: the start of each embedding, and by what images were embedded.
    fingerprint: NDArray[np.float32] | None = field(default=None, repr=False)
    encoder: tuple[str, bool] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        from zeroshot.evaluation.text import format_report

        return format_report(self)

    def __repr__(self) -> str:
        top1 = self.figures["top1"].value
        return f"<Report of {self.n} images, {len(self.labels)} labels, top-1 {top1:.1%}>"

    def _repr_html_(self) -> str:
        from zeroshot.evaluation.page import body

        return body(self)

    def image(self, row: int) -> ImageLike | None:
        """Return an image of the figures, or its source, or None if neither was kept.

        Args:
            row: Its position among the images in the figures.

        Returns:
            The image as it was given.

        Raises:
            InputError: There is no such image.

        Example:
            >>> classifier = zeroshot.load("mini").classifier(["cat", "dog"])
            >>> zeroshot.evaluate(classifier, ["cat.jpg"], ["cat"]).image(0)
            'cat.jpg'
        """
        row = count("row", row, 0)
        if row >= len(self.sources):
            raise InputError(f"expected row to be below {len(self.sources)}, got {row}")
        if self.images is None or self.places is None:
            return self.sources[row]
        return self.images[int(self.places[row])]

    def confusion(self) -> NDArray[np.int64]:
        """Count the images of each right label (row) by the answer (column).

        Returns:
            int64 [L, L], in the order of `labels`.

        Raises:
            InputError: Images have several labels.

        Example:
            >>> classifier = zeroshot.load("mini").classifier(["cat", "dog"])
            >>> zeroshot.evaluate(classifier, ["cat.jpg"], ["cat"]).confusion().tolist()
            [[1, 0], [0, 0]]
        """
        answers = self._answers("a confusion matrix")
        return metrics.confusion(answers.best, answers.truth, len(self.labels))

    def compare(self, base: Report, *, name: str | None = None) -> Difference:
        """Compare with another report on the same images.

        One of the classifiers may be able to give no answer; then no answer is wrong for an image
        of a label. Images are the same if their sources, their truth and, of one model, their
        embeddings are equal. Embeddings of different models are not checked.

        Args:
            base: The report to compare with.
            name: Name of this report in the result; by default the model and prompts.

        Returns:
            The top-1 accuracy, and its change from `base` with a paired 95 % interval. A change
            whose interval contains zero is no evidence of a difference.

        Raises:
            InputError: The reports are of different images or labels.

        Example:
            >>> model, images, truth = zeroshot.load("mini"), ["cat.jpg"], ["cat"]
            >>> first = zeroshot.evaluate(model.classifier(["cat", "dog"]), images, truth)
            >>> second = zeroshot.evaluate(model.classifier(["cat", "dog"], "{}"), images, truth)
            >>> second.compare(first).change.value
            0.0
        """
        if name is not None:
            instance("name", name, str, "omit it for the default")
        if not isinstance(base, Report):
            raise InputError(
                f"expected a Report, got {type(base).__name__} {shortened(repr(base))}; pass the "
                "result of zeroshot.evaluate"
            )
        own, other = self._answers("a comparison"), base._answers("a comparison")
        if problem := self._difference(base):
            raise InputError(
                f"expected reports on the same images and labels, got {problem}; evaluate both "
                "classifiers on one list"
            )
        change = changes(own.right[:, None], other.right)[0]
        return Difference(name or f"{self.model}, {self.prompts}", self.figures["top1"], change)

    def _difference(self, base: Report) -> str:
        """Say why two reports are not of the same images and labels, or return ""."""
        labels, others = (r.labels[: len(r.labels) - r.can_abstain] for r in (self, base))
        if self.n != base.n or len(labels) != len(others):
            return (
                f"{self.n} images and {len(labels)} labels, and {base.n} images and "
                f"{len(others)} labels"
            )
        if labels != others:
            return "other labels or another order of them"
        assert self.answers is not None
        assert base.answers is not None
        if not np.array_equal(self.answers.truth, base.answers.truth):
            return "another truth"
        if self.sources != base.sources:
            return "other paths or URLs of images"
        if self.encoder != base.encoder or self.fingerprint is None or base.fingerprint is None:
            return ""
        is_same = np.allclose(self.fingerprint, base.fingerprint, rtol=0, atol=NEAR)
        return "" if is_same else "other embeddings of one model"

    def _answers(self, what: str) -> Answers:
        if self.answers is None:
            raise InputError(
                f"{what} requires one right label per image, got lists of labels; use "
                "report.figures['map'] and report.per_label"
            )
        return self.answers

    def risk_coverage(self) -> tuple[list[float], list[float]]:
        """Return the share of wrong answers among the surest images, for shares of images.

        Returns:
            coverage and risk, at most 200 points each, from the surest image to all images.

        Raises:
            InputError: Images have several labels.

        Example:
            >>> classifier = zeroshot.load("mini").classifier(["cat", "dog"])
            >>> zeroshot.evaluate(classifier, ["cat.jpg"], ["cat"]).risk_coverage()
            ([1.0], [0.0])
        """
        answers = self._answers("a risk-coverage curve")
        coverage, risk = metrics.risk_coverage(answers.confidence, answers.is_best_right)
        chosen = np.unique(np.linspace(0, len(coverage) - 1, POINTS).round().astype(int))
        return coverage[chosen].tolist(), risk[chosen].tolist()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that can be written as JSON; undefined numbers are None.

        Returns:
            The fields; images by their sources.

        Example:
            >>> classifier = zeroshot.load("mini").classifier(["cat", "dog"])
            >>> zeroshot.evaluate(classifier, ["cat.jpg"], ["cat"]).to_dict()["n"]
            1
        """
        plain: dict[str, Any] = {
            "format": FORMAT,
            "model": self.model,
            "prompts": self.prompts,
            "template_count": self.template_count,
            "labels": list(self.labels),
            "can_abstain": self.can_abstain,
            "n": self.n,
            "failures": [failure.to_dict() for failure in self.failures],
            "figures": {name: asdict(figure) for name, figure in self.figures.items()},
            "calibration_floor": self.floor and dict(zip(("mean", "p95"), self.floor, strict=True)),
            "published": self.published and asdict(self.published),
            "notes": list(self.notes),
            "per_label": [asdict(each) for each in self.per_label],
            "bins": [asdict(each) for each in self.bins],
            "confusions": [self._confusion(each) for each in self.confusions],
            "comparisons": [asdict(e) | {"outside": e.is_outside} for e in self.comparisons],
            "templates": [asdict(each) for each in self.templates],
        }
        if self.answers is not None:
            coverage, risk = self.risk_coverage()
            plain["risk_coverage"] = {"coverage": coverage, "risk": risk}
            plain["confusion"] = self._cells()
        result: dict[str, Any] = _finite(plain)
        return result

    def _confusion(self, each: Confusion) -> dict[str, Any]:
        images = [self.sources[row] for row in each.rows]
        return {"truth": each.truth, "answer": each.answer, "n": each.count, "images": images}

    def _cells(self) -> list[list[int]]:
        """Return the cells of the confusion matrix that are not 0: [truth, answer, count]."""
        assert self.answers is not None
        size = len(self.labels)
        codes = self.answers.truth * size + self.answers.best
        found, counts = np.unique(codes, return_counts=True)
        pairs = zip(found.tolist(), counts.tolist(), strict=True)
        return [[*divmod(code, size), count] for code, count in pairs]

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write the report to a file, as a page or as data.

        The page is one .html file without scripts, which requests nothing from the network.

        Args:
            path: A file that ends in .html or .json.
            force: Replace a file that is no report.

        Raises:
            InputError: The suffix is another one, or the file exists and is no report.
            OSError: The file cannot be written.

        Example:
            >>> classifier = zeroshot.load("mini").classifier(["cat", "dog"])
            >>> zeroshot.evaluate(classifier, ["cat.jpg"], ["cat"]).save("report.html")
        """
        target = file_path(path)
        check_target(target, force=flag("force", force))
        if target.suffix.lower() == ".json":
            text = json.dumps(self.to_dict(), ensure_ascii=False, indent=1, allow_nan=False) + "\n"
        else:
            from zeroshot.evaluation.page import document

            text = document(self)
        with write_atomically(target) as temporary:
            # names of files may contain bytes that are no UTF-8
            temporary.write_bytes(text.encode("utf-8", "backslashreplace"))


def check_target(path: Path, *, force: bool = False) -> None:
    """Raise InputError for a file that `Report.save` would not write."""
    if path.suffix.lower() not in (".html", ".json"):
        raise InputError(
            f"expected a report file that ends in .html or .json, got {shortened(str(path))!r}; "
            "rename it"
        )
    if force or not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(HEAD)
    if start and FORMAT.encode() not in start:
        raise InputError(
            f"{path} exists and is not a report; use another file name, or force=True (on the "
            "command line --force) to replace it"
        )


def _finite(value: Any) -> Any:
    """Replace NaN and infinity by None, because JSON has neither."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
