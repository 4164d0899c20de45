"""Run all rules on a set of labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from zeroshot import prompts as prompt_sets
from zeroshot.errors import InputError, short_errors, shortened
from zeroshot.linting import model_rules, template_rules, text_rules
from zeroshot.linting.entries import LabelSet, Tree, read
from zeroshot.linting.problems import LEVELS, Problem
from zeroshot.prompts import Labels, Prompts
from zeroshot.tokenizers import ClipTokenizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from zeroshot.images import ImageLike
    from zeroshot.model import Model

RULES: tuple[Callable[[LabelSet], Iterator[Problem]], ...] = (
    text_rules.find_empty,
    text_rules.find_control_characters,
    text_rules.find_equal,
    template_rules.find_too_many_tokens,
    text_rules.find_shared_names,
    text_rules.find_contained,
    text_rules.find_groups,
    text_rules.find_spelling,
    text_rules.find_long,
    template_rules.find_repeated,
    template_rules.find_articles,
    template_rules.find_labels_in_templates,
    text_rules.find_no_negative,
    text_rules.find_senses,
)


@short_errors
def lint(
    labels: Labels | Tree,
    prompts: Prompts = prompt_sets.DEFAULT,
    *,
    model: Model | None = None,
    images: Iterable[ImageLike] | NDArray[np.float32] | Tensor | None = None,
    truth: Sequence[Any] | NDArray[Any] | None = None,
    progress: bool | None = None,
) -> list[Problem]:
    """Find problems of labels and prompts, before any image is classified or with images.

    Rules about text need no model: labels that are equal, empty or too long, spelling that captions
    do not have, names within names, words with several meanings. With a model, labels with similar
    text embeddings are found too. That a label is reported does not prove that it costs accuracy.

    With a model and images of known labels, and labels without errors, these are found:

    - "frequent", a warning: a label that is the answer at least 3 times as often as images show it.
      An exact binomial test must show that this is not chance: at 5 % for all labels together. A
      label that no image shows needs 8 wrong answers among 10 labels, and 15 among 1000.
    - "template effect", a note: templates whose removal changes top-1 beyond the paired 95 %
      interval, beside the number that chance alone gives.
    - "disagreement", a note for each image whose answer is another label with a probability of at
      least 0.9, after one temperature is fitted to these images. The label of the image or the
      answer is wrong.

    Args:
        labels: A list of names, a dict from each name to one or more synonyms, or a tree: a dict
            whose values may be dicts. Labels that a classifier rejects are reported as errors.
        prompts: Name of a prompt set, one template, a list of templates, a file or a `PromptSet`.
        model: A model that embeds the labels and 300 other words. Its tokenizer counts the tokens;
            without a model, CLIP's does.
        images: Images, or their embeddings of unit length: float32 [n, d]. Requires `model` and
            `truth`. Images that cannot be read are counted in a note.
        truth: The right label of each image, or the number of its column. Images with None show
            none of the labels and are not used.
        progress: Show a progress bar for images. None shows one on a terminal or in a notebook if
            the work takes longer than two seconds.

    Returns:
        Problems, errors first, then warnings and notes.

    Raises:
        LabelError: `labels` is a str, or a label is not text.
        PromptError: The prompts are invalid.
        InputError: `model` is not a loaded model, `model`, `images` and `truth` are not given
            together, or a truth is no label.
        ImageError: No image can be read.

    Example:
        >>> for problem in zeroshot.lint(["red_panda", "Red Panda", "crane"]):
        ...     print(problem.level, problem.kind)
        error equal
        warning underscore
        note no negative
        note senses
    """
    _check_images(model, images, truth)
    if model is not None and not hasattr(model, "head"):
        raise InputError(
            f"expected model to be a Model, got {type(model).__name__} {shortened(repr(model))}; "
            "load it first: zeroshot.load(name)"
        )
    entries, groups = read(labels)
    tokenizer = ClipTokenizer() if model is None else model.tokenizer
    found = LabelSet(entries, groups, prompt_sets.get(prompts), tokenizer)
    problems = [problem for rule in RULES for problem in rule(found)]
    if model is not None:
        problems += model_rules.find_similar(found, model)
    if model is not None and images is not None:
        problems += _find_with_images(found, model, images, truth, problems, progress)
    return sorted(problems, key=lambda problem: LEVELS.index(problem.level))


def _check_images(model: object, images: object, truth: object) -> None:
    """Raise InputError for images without a model or truth, or truth without images."""
    given = {"model": model, "images": images, "truth": truth}
    missing = [name for name, value in given.items() if value is None]
    if missing and (images is not None or truth is not None):
        raise InputError(
            f"expected model, images and truth together, got no {' and no '.join(missing)}; pass "
            "a loaded model, images, and the right label of each image"
        )


def _find_with_images(
    labels: LabelSet,
    model: Model,
    images: Any,
    truth: Any,
    problems: Sequence[Problem],
    progress: bool | None,
) -> Iterator[Problem]:
    """Run the rules about images, unless labels have errors, which no classifier accepts."""
    if any(problem.level == "error" for problem in problems):
        yield Problem(
            *("note", "unused images", ()),
            "no rule looks at the images, because the labels have errors",
            "correct the errors, then lint with the images again",
        )
        return
    from zeroshot.linting import image_rules  # imports torch

    yield from image_rules.find_with_images(labels, model, images, truth, progress)
