"""Measure calibration, sets and thresholds on labeled photographs; print each beside its target.

    python benchmarks/scores.py photos.csv [drawings/]

The table has the columns path and label, and may have kind and group, which make a tree of the
labels. The folder contains images that look different from the photographs. Neither is part of the
repository. Each figure is the mean over random splits. The second column is the target of the
project for the embedded model.
"""

from __future__ import annotations

import csv
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import zeroshot
from zeroshot import calibration, metrics
from zeroshot.answering import Kind, choose
from zeroshot.errors import InputError
from zeroshot.fitting import calibrate, with_examples
from zeroshot.head import Head
from zeroshot.images import open_image
from zeroshot.mixing import mix
from zeroshot.prediction_sets import choose_sets, make_sets
from zeroshot.scoring import rank

SPLITS = 200
Ints = NDArray[np.int64]


class Photographs:
    """Embeddings and labels of a CSV file, and the head of all labels."""

    def __init__(self, path: str, drawings: str | None) -> None:
        with Path(path).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        self.paths = [row["path"] for row in rows]
        self.nodes = {row["label"]: (row["group"], row["kind"]) for row in rows if "group" in row}
        self.model = zeroshot.load("mini", dtype="float32", device="cpu")
        self.labels = sorted({row["label"] for row in rows})
        self.head = self.model.head(self.labels, none_of_these=True)
        self.truth = self.head.find([row["label"] for row in rows])
        self.rows = self.model.encode_image(self.paths)
        self.drawings = sorted(Path(drawings).iterdir()) if drawings else []
        self.random = np.random.default_rng(0)

    def draw(self, labels: int) -> tuple[Head, Ints, Ints]:
        """Return a head of random labels, and the truth of all images; -1 if not among them."""
        chosen = np.sort(self.random.choice(len(self.labels), labels, replace=False))
        head = self.head.select([self.labels[i] for i in chosen])
        places = np.full(len(self.labels), -1)
        places[chosen] = np.arange(labels)
        return head, places[self.truth], chosen


def show(what: str, got: float | str, target: str) -> None:
    """Print one row of the table."""
    print(f"{what:<68} {got if isinstance(got, str) else f'{got:.3f}':>22}   {target}", flush=True)


def closed(head: Head, rows: torch.Tensor, factor: float = 1.0) -> NDArray[np.float64]:
    """Return the probabilities among the labels alone."""
    labels, _ = head.similarities(rows)
    return metrics.softmax(factor * labels.double().numpy())


def temperature(photos: Photographs) -> None:
    """Calibrate on 50 images: ten labels pooled, and all labels."""
    plain = replace(photos.head, background=None)
    z = plain.logits(photos.rows).double().numpy()
    errors, gaps = [], []
    for _ in range(SPLITS):
        order = photos.random.permutation(len(z))
        fit, test = order[:50], order[50:]
        factor = calibration.fit_inverse_temperature(z[fit], photos.truth[fit])
        p = metrics.softmax(factor * z[test])
        right = p.argmax(axis=1) == photos.truth[test]
        gaps.append(abs(p.max(axis=1).mean() - right.mean()))
        confidences, answers = [], []
        for i in test:
            others = photos.random.permutation(np.delete(np.arange(z.shape[1]), photos.truth[i]))[
                :9
            ]
            q = metrics.softmax(factor * z[i, [photos.truth[i], *others]])
            confidences.append(q.max())
            answers.append(q.argmax() == 0)
        errors.append((confidences, answers))
    pooled = metrics.calibration_error(
        np.concatenate([c for c, _ in errors]), np.concatenate([a for _, a in errors]), bins=15
    )
    show("calibrated on 50: ten labels pooled, ECE", float(pooled), "<= .03")
    show("calibrated on 50: all labels, |confidence - accuracy|", float(np.mean(gaps)), "<= .06")


def none_of_these(photos: Photographs, labels: int) -> None:
    """Half of the images show none of the labels; no labeled image is used."""
    figures = []
    for _ in range(100):
        head, truth, _ = photos.draw(labels)
        known = np.flatnonzero(truth >= 0)
        unknown = photos.random.permutation(np.flatnonzero(truth < 0))
        unknown = unknown[: max(len(known), 20)] if labels < 40 else unknown
        if len(known) < 2:
            continue
        chosen = np.concatenate([known, unknown])
        found = rank(head, photos.rows[chosen], top=1)
        surety = np.array([each.probability for each in found])
        plain = closed(head, photos.rows[chosen]).max(axis=1)
        answered = np.array([each.label is not None for each in found])
        right = np.array(
            [
                each.label == head.labels[t] if t >= 0 else False
                for each, t in zip(found, truth[chosen], strict=True)
            ]
        )
        n = len(known)
        figures.append(
            [
                metrics.auroc(surety[:n], surety[n:]),
                metrics.auroc(plain[:n], plain[n:]),
                right.sum() / max(answered.sum(), 1),
                (~answered[n:]).mean(),
                answered[:n].mean(),
                np.concatenate([right[:n], ~answered[n:]]).mean(),
            ]
        )
    auroc, softmax, among, away, kept, decisions = np.nanmean(figures, axis=0)
    if labels == 5:
        show(
            "none of these, 5 labels: AUROC (softmax alone)",
            f"{auroc:.3f} ({softmax:.3f})",
            ">= .90, softmax + .03",
        )
        show("none of these, 5 labels: right among answers", among, ">= .70")
        show("none of these, 5 labels: unknown turned away", away, ">= .97")
        show("none of these, 5 labels: known answered", kept, ">= .38")
    else:
        show(
            "none of these, 46 labels: AUROC (softmax alone)",
            f"{auroc:.3f} ({softmax:.3f})",
            ">= .81",
        )
        show("none of these, 46 labels: right decisions of all", decisions, ">= .68")


def fitted(head: Head, photos: Photographs, truth: Ints, chosen: Ints) -> Head:
    """Return a head calibrated on the chosen photographs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # labels without calibration image
        return calibrate(head, photos.rows[chosen], truth[chosen])


def sets(photos: Photographs, images: int) -> None:
    """Calibrate on some images, test on the rest."""
    plain = replace(photos.head, background=None)
    for coverage, largest in ((0.8, 3.3), (0.9, 6.2), (0.95, 9.0)):
        inside, sizes = [], []
        for _ in range(SPLITS):
            order = photos.random.permutation(len(photos.truth))
            fit, test = order[:images], order[images:]
            head = fitted(plain, photos, photos.truth, fit)
            rule = choose_sets(head, coverage, None, False, "lac")
            found = make_sets(head, photos.rows[test], [None] * len(test), rule)
            truth = [photos.labels[t] for t in photos.truth[test]]
            inside.append(np.mean([t in each for t, each in zip(truth, found, strict=True)]))
            sizes.append(np.mean([len(each) for each in found]))
        show(
            f"sets of {coverage:.0%} on {images}: coverage - nominal; size",
            f"{np.mean(inside) - coverage:+.3f}; {np.mean(sizes):.1f}",
            "-.01 to +.03" + (f"; <= {largest}" if images == 100 else ""),
        )


def thresholds(photos: Photographs) -> None:
    """Half of the labels are unknown; thresholds from 100 images, tested on the rest."""
    away: dict[float, list[float]] = {0.95: [], 0.9: []}
    exceeded, none = 0, 0
    for _ in range(300):
        head, truth, _ = photos.draw(46)
        order = photos.random.permutation(len(truth))
        fit, test = order[:100], order[100:]
        head = fitted(head, photos, truth, fit)
        known = truth[test] >= 0
        for keep, found_away in away.items():
            found = answer(head, photos.rows[test], "keep", keep)
            silent = [each is None for each, is_known in zip(found, known, strict=True) if is_known]
            found_away.append(float(np.mean(silent)))
        try:
            found = answer(head, photos.rows[test], "error", 0.2)
        except InputError:  # these images cannot show it
            none += 1
            continue
        wrong = [
            t < 0 or each != head.labels[t]
            for each, t in zip(found, truth[test], strict=True)
            if each is not None
        ]
        exceeded += bool(wrong) and np.mean(wrong) > 0.2
    show("keep .95: known turned away", float(np.mean(away[0.95])), "<= .05")
    show("keep .90: known turned away", float(np.mean(away[0.9])), "<= .10")
    show(
        "error .2 on 100: exceeded (no threshold found)",
        f"{exceeded / 300:.3f} ({none / 300:.2f})",
        "<= .10",
    )


def answer(head: Head, rows: torch.Tensor, kind: Kind, value: float) -> list[str | None]:
    """Return the answer for each embedding, None for no answer."""
    when = choose({kind: value}, 0.9, head.calibration, has_words=True, has_tree=False)
    return [each.label for each in rank(head, rows, top=1, answers=when)]


def shift(photos: Photographs) -> None:
    """Alarms between 50 photographs and 50 others, or 50 drawings."""
    head, _, _ = photos.draw(46)
    surety = _surety(head, photos.rows)
    drawings = photos.drawings
    others = _surety(head, photos.model.encode_image(drawings)) if drawings else surety
    false, found = [], []
    for _ in range(400):
        order = photos.random.permutation(len(surety))
        false.append(calibration.has_shifted(surety[order[:50]], surety[order[50:100]]))
        some = photos.random.choice(others, 50, replace=False)
        found.append(calibration.has_shifted(surety[order[:50]], some))
    show("shift, 50 and 50: false alarms", float(np.mean(false)), "<= .01")
    if drawings:
        show("shift, 50 and 50: drawings found", float(np.mean(found)), ">= .90")


def _surety(head: Head, rows: torch.Tensor) -> NDArray[np.float64]:
    return np.array([each.probability for each in rank(head, rows, top=1)])


def tree(photos: Photographs) -> None:
    """Kinds by the sum of their labels, and answers with the finest name that is sure enough."""
    nested: dict[str, dict[str, dict[str, str]]] = {}
    for label, (group, kind) in photos.nodes.items():
        nested.setdefault(group, {}).setdefault(kind, {})[label] = label
    head = photos.model.head(nested)
    kinds = sorted({kind for _, kind in photos.nodes.values()})
    truth = [photos.labels[i] for i in photos.truth]
    right = np.array([kinds.index(photos.nodes[label][1]) for label in truth])
    columns = np.array([kinds.index(photos.nodes[label][1]) for label in head.labels])
    sums = closed(head, photos.rows) @ np.eye(len(kinds))[columns]
    alone = closed(photos.model.head(kinds), photos.rows).argmax(axis=1) == right
    correct = sums.argmax(axis=1) == right
    found = f"{correct.mean():.3f} ({alone.mean():.3f})"
    show(f"{len(kinds)} kinds by sum of labels (by their names)", found, ">= .84, names + .03")
    error = metrics.calibration_error(sums.max(axis=1), correct)
    show(f"{len(kinds)} kinds by sum of labels: ECE", float(error), "<= .07")
    answers = choose({"sure": 0.9}, 0.9, None, has_words=False, has_tree=True)
    paths = [each.path for each in rank(head, photos.rows, top=1, answers=answers)]
    exact = [
        (*photos.nodes[label], label)[: len(path)] == path
        for path, label in zip(paths, truth, strict=True)
        if path
    ]
    show("backing off at .9: right among answers", float(np.mean(exact)), ">= .92")


def coverage_with_examples(photos: Photographs, count: int) -> None:
    """Sets of a head of kinds that was made and calibrated with the same examples."""
    kinds = sorted({kind for _, kind in photos.nodes.values()})
    kind_of = [kinds.index(photos.nodes[label][1]) for label in photos.labels]
    truth, head = np.array(kind_of)[photos.truth], photos.model.head(kinds)
    inside = []
    for _ in range(100):
        order = photos.random.permutation(len(truth))
        chosen = np.concatenate([order[truth[order] == i][:count] for i in range(len(kinds))])
        test = np.setdiff1d(order, chosen)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # fewer than 50 images
            made = with_examples(head, photos.rows[chosen], truth[chosen], 4)
        rule = choose_sets(made, 0.9, None, False, "lac")
        sources = [None] * len(test)
        members = make_sets(made, photos.rows[test], sources, rule)
        inside.append(np.mean([kinds[t] in m for t, m in zip(truth[test], members, strict=True)]))
    show(f"{count} examples of each kind: coverage at .9", float(np.mean(inside)), ">= .87")


def throughput(photos: Photographs) -> None:
    """A stream with background words, whose embeddings are cached, and one without."""
    images = [photos.paths[0]] * 256
    plain = photos.model.classifier(photos.labels)
    words = photos.model.classifier(photos.labels, none_of_these=True)
    ratios = []
    for _ in range(8):
        seconds = []
        for classifier in (plain, words):
            start = time.perf_counter()
            list(classifier.stream(images))
            seconds.append(time.perf_counter() - start)
        ratios.append(seconds[1] / seconds[0] - 1)
    show("none_of_these: time added to a stream", float(np.median(ratios[1:])), "<= .05")


def collages(photos: Photographs) -> None:
    """Several labels: two photographs side by side."""
    pairs = [photos.random.choice(len(photos.paths), 2, replace=False) for _ in range(150)]
    pictures = []
    for first, second in pairs:
        left, right = (open_image(photos.paths[i]).resize((224, 224)) for i in (first, second))
        picture = left.resize((448, 224))
        picture.paste(left, (0, 0))
        picture.paste(right, (224, 0))
        pictures.append(picture)
    truth = np.zeros((len(pairs), len(photos.labels)), bool)
    for row, pair in zip(truth, pairs, strict=True):
        row[photos.truth[pair]] = True
    independent = photos.model.classifier(photos.labels, scores="independent")
    plain = photos.model.classifier(photos.labels)
    found = metrics.mean_average_precision(independent.decision_function(pictures), truth)
    whole = metrics.mean_average_precision(plain.predict_proba(pictures), truth)
    show(
        "collages of two: mAP with windows (whole picture)", f"{found:.3f} ({whole:.3f})", ">= .65"
    )


def examples(photos: Photographs) -> None:
    """One, two or four examples of each label that has one more to test."""
    plain = replace(photos.head, background=None)
    before = closed(plain, photos.rows).argmax(axis=1) == photos.truth
    worst = 0.0
    for count, target in ((1, 0.02), (2, 0.06), (4, 0.12)):
        gains, changes = [], []
        for _ in range(50):
            chosen: list[int] = []
            for label in range(len(photos.labels)):
                own = photos.random.permutation(np.flatnonzero(photos.truth == label))
                if len(own) > count:
                    chosen += own[:count].tolist()
            test = np.setdiff1d(np.arange(len(photos.truth)), chosen)
            rows = torch.from_numpy(photos.truth[chosen])
            mixed = mix(plain.weight, photos.rows[chosen], rows)
            after = (
                closed(replace(plain, weight=mixed.rows), photos.rows).argmax(axis=1)
                == photos.truth
            )
            with_some = test[np.isin(photos.truth[test], photos.truth[chosen])]
            gains.append(after[with_some].mean() - before[with_some].mean())
            changes.append(after[test].mean() - before[test].mean())
        show(
            f"{count} examples: gain on labels with examples", float(np.mean(gains)), f">= {target}"
        )
        worst = min(worst, float(np.mean(changes)))
    show("examples: worst change over all labels", worst, ">= -.015")


STEPS: tuple[Callable[[Photographs], None], ...] = (
    temperature,
    partial(none_of_these, labels=5),
    partial(none_of_these, labels=46),
    partial(sets, images=50),
    partial(sets, images=100),
    thresholds,
    shift,
    collages,
    examples,
    throughput,
)
TREE_STEPS: tuple[Callable[[Photographs], None], ...] = (
    tree,
    partial(coverage_with_examples, count=2),
    partial(coverage_with_examples, count=4),
)


def main() -> None:
    """Print the table."""
    photos = Photographs(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
    plain = replace(photos.head, background=None)
    right = closed(plain, photos.rows).argmax(axis=1) == photos.truth
    print(f"{len(photos.paths)} photographs, {len(photos.labels)} labels, top-1 {right.mean():.3f}")
    for step in (*STEPS, *(TREE_STEPS if photos.nodes else ())):
        step(photos)


if __name__ == "__main__":
    main()
