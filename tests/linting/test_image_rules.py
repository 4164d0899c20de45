"""Images with known labels show which labels, templates and images to look at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import zeroshot
from tests.simulation import simulate
from tests.support import FakeEncoder, axes_classifier, one_hot
from zeroshot.classifier import Classifier
from zeroshot.errors import ImageError, InputError
from zeroshot.evaluation.answers import as_embeddings
from zeroshot.evaluation.comparison import TemplateEffect
from zeroshot.evaluation.figures import Figure
from zeroshot.linting import Problem, image_rules

LABELS = ["cat", "dog", "red car", "boat", "house"]


def checked(classifier: Classifier, rows: Any, truth: Any) -> image_rules.Checked:
    given = as_embeddings(rows, rows.shape[1])
    assert given is not None
    return image_rules._check(classifier, given, np.asarray(truth))


def frequent(answers: list[int], truth: list[int], labels: int = 10) -> list[Problem]:
    classifier = axes_classifier([f"label {n}" for n in range(labels)])
    found = checked(classifier, one_hot(answers, labels), truth)
    return list(image_rules.find_frequent(found))


@pytest.fixture(scope="module")
def mini() -> zeroshot.Model:
    return zeroshot.load("mini", device="cpu", dtype="float32")


# labels with too many answers


@pytest.mark.parametrize(("wrong", "is_found"), [(7, False), (8, True)])
def test_a_label_that_no_image_shows_is_reported_from_8_answers_among_10_labels(
    wrong: int, is_found: bool
) -> None:
    truth = [1, 2, 3, 1] * 5

    problems = frequent([0] * wrong + truth[wrong:], truth)

    assert len(problems) == is_found
    if is_found:
        (problem,) = problems
        assert (problem.level, problem.kind) == ("warning", "frequent")
        assert problem.labels == ("label 0",)
        assert problem.message == (
            "'label 0' is the answer for 8 of 20 images, but only 0 show it; most wrong answers "
            "are for 'label 1', 'label 2', 'label 3'"
        )


@pytest.mark.parametrize(("wrong", "is_found"), [(19, False), (20, True)])
def test_a_label_with_images_is_reported_from_three_times_their_number(
    wrong: int, is_found: bool
) -> None:
    truth = [0] * 10 + [1] * 60
    answers = [0] * (10 + wrong) + [1] * (60 - wrong)

    assert len(frequent(answers, truth, 2)) == is_found


@pytest.mark.parametrize("labels", [3, 30])
def test_answers_by_chance_report_a_label_in_at_most_1_of_20_sets(labels: int) -> None:
    random = np.random.default_rng(0)
    sets = 40
    draws = random.integers(0, labels, (sets, 2, 60)).tolist()

    found = sum(bool(frequent(answers, truth, labels)) for answers, truth in draws)

    assert found <= 0.05 * sets


# images whose label disagrees


def simulated(seed: int = 0) -> tuple[Classifier, NDArray[np.float32], NDArray[np.int64]]:
    drawn = simulate(20, 30, seed=seed)
    head = replace(drawn.head(), model="fake")
    return Classifier(FakeEncoder(), head), drawn.images.numpy(), drawn.truth


def test_most_reported_images_are_mislabeled() -> None:
    classifier, images, truth = simulated()
    wrong = np.random.default_rng(0).random(len(truth)) < 0.05
    given = np.where(wrong, (truth + 7) % 20, truth)

    problems = list(image_rules.find_disagreement(checked(classifier, images, given)))

    rows = [int(str(problem.image)[len("images[") : -1]) for problem in problems]
    assert wrong[rows].mean() > 0.85
    assert len(rows) > 0.4 * wrong.sum()
    assert {problem.level for problem in problems} == {"note"}


def test_few_images_are_reported_without_mislabeled_ones() -> None:
    classifier, images, truth = simulated()

    problems = list(image_rules.find_disagreement(checked(classifier, images, truth)))

    assert len(problems) < 0.02 * len(truth)


def test_the_surest_disagreement_is_first_with_path_label_and_answer(mini: zeroshot.Model) -> None:
    photos = Path("examples/photos")
    images = [photos / name for name in ("cat.jpg", "coffee.jpg", "rocket.jpg", "bee.jpg")] * 10
    truth = ["cat", "coffee", "rocket", "bee"] * 10
    truth[5] = "rocket"

    problems = zeroshot.lint(
        ["cat", "coffee", "rocket", "bee"], "{}", model=mini, images=images, truth=truth
    )

    (found,) = [problem for problem in problems if problem.kind == "disagreement"]
    assert found.labels == ("rocket", "coffee")
    assert found.image == str(photos / "coffee.jpg")
    assert found.message.startswith(
        f"{photos / 'coffee.jpg'}: the label is 'rocket', the answer 'coffee' with probability "
    )


# templates


def test_templates_are_a_note_with_the_number_of_chance(
    monkeypatch: pytest.MonkeyPatch, tiny: zeroshot.Model
) -> None:
    worse, same = Figure(-0.02, -0.04, -0.01), Figure(0.01, -0.01, 0.03)
    effects = [TemplateEffect(f"{n} {{}}", same, same, same) for n in range(39)]
    effects.append(TemplateEffect("a {}", same, same, worse))
    monkeypatch.setattr(image_rules, "template_effects", lambda *_: tuple(effects))
    found = checked(tiny.classifier(LABELS, ["a {}", "{}"]), tiny.head(LABELS).weight, range(5))

    (problem,) = image_rules.find_template_effects(found)

    assert (problem.level, problem.kind) == ("note", "template effect")
    assert problem.message.splitlines() == [
        "leaving out one template changes top-1 beyond its 95 % interval for 1 of 40 templates; "
        "chance alone gives up to 2",
        "without 'a {}': -2.0 percentage points (-4.0 to -1.0)",
    ]
    assert "better" not in problem.message + problem.suggestion


def test_a_template_that_decides_the_answers_is_found() -> None:
    encoder = FakeEncoder()
    head = zeroshot.Head.build(encoder, {"red": ["r"], "green": ["g"]}, ["{}", "rrrr{}"])
    images = torch.nn.functional.normalize(torch.tensor([[1.2, 1.0, 0.5]] * 60), dim=1)
    found = checked(Classifier(encoder, head), images, [0] * 60)

    (problem,) = image_rules.find_template_effects(found)

    assert "for 1 of 2 templates; chance alone gives up to 0.1" in problem.message
    assert "without 'rrrr{}': +100.0 percentage points (+100.0 to +100.0)" in problem.message


def test_templates_without_an_effect_are_not_reported(tiny: zeroshot.Model) -> None:
    rows = tiny.head(LABELS).weight
    for templates in ("{}", ["a {}", "the {}"]):
        found = checked(tiny.classifier(LABELS, templates), rows, range(5))

        assert list(image_rules.find_template_effects(found)) == []


# images and truth


def lint(model: zeroshot.Model, labels: Any = LABELS, **given: Any) -> list[Problem]:
    return zeroshot.lint(labels, "{}", model=model, **given)


def notes(problems: list[Problem]) -> list[str]:
    return [problem.message for problem in problems if problem.kind == "unused images"]


def test_images_of_none_of_the_labels_are_not_used(tiny: zeroshot.Model) -> None:
    rows = tiny.head(LABELS, "{}").weight

    problems = lint(tiny, images=rows, truth=["cat", "dog", None, None, "house"])

    assert notes(problems) == ["of 5 images, 2 show none of the labels; no rule looks at them"]
    assert notes(lint(tiny, images=rows[:1], truth=[None])) != []


def test_images_that_cannot_be_read_are_counted(tiny: zeroshot.Model, photos: list[Path]) -> None:
    photos[1].write_bytes(b"no image")

    problems = lint(tiny, images=photos[:3], truth=["cat", "dog", 2])

    (note,) = notes(problems)
    assert note.startswith("of 3 images, 1 could not be read (")
    assert note.endswith("photos/1.png); no rule looks at them")


def test_no_readable_image_raises(tiny: zeroshot.Model, photos: list[Path]) -> None:
    photos[0].write_bytes(b"no image")

    with pytest.raises(ImageError, match="none of 1 images could be read"):
        lint(tiny, images=photos[:1], truth=["cat"])


def test_images_are_not_used_while_labels_have_errors(tiny: zeroshot.Model) -> None:
    problems = lint(tiny, ["cat", "Cat"], images=torch.zeros(1, 16), truth=["cat"])

    assert notes(problems) == ["no rule looks at the images, because the labels have errors"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"truth": ["cat", "dgo"]}, r"truth\[1\]: 'dgo' is not among the 5 labels; did you mean"),
        ({"truth": ["cat"]}, "expected one truth per image, got 2 images but 1 truths"),
        ({"truth": [["cat"], ["dog"]]}, "got lists of labels or a matrix; lint"),
        ({"truth": np.eye(2, 5)}, "got lists of labels or a matrix; lint"),
        ({"truth": [0, 9]}, "expected a column number within 0..4, got 9"),
        ({}, "expected model, images and truth together, got no truth; pass"),
        ({"truth": [0, 1], "images": None}, "together, got no images; pass"),
        ({"truth": [0, 1], "model": None}, "together, got no model; pass"),
        ({"model": None}, "together, got no model and no truth; pass"),
    ],
)
def test_invalid_arguments_raise(
    given: dict[str, Any], message: str, tiny: zeroshot.Model, photos: list[Path]
) -> None:
    with pytest.raises(InputError, match=message):
        zeroshot.lint(LABELS, "{}", **({"model": tiny, "images": photos[:2]} | given))
