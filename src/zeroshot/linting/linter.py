"""Run all rules on a set of labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from zeroshot import prompts as prompt_sets
from zeroshot.errors import InputError, short_errors, shortened
from zeroshot.linting import model_rules, template_rules, text_rules
from zeroshot.linting.entries import LabelSet, Tree, read
from zeroshot.linting.problems import LEVELS, Problem
from zeroshot.prompts import Labels, Prompts
from zeroshot.tokenizers import ClipTokenizer

if TYPE_CHECKING:
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
) -> list[Problem]:
    """Find problems of labels and prompts before any image is classified.

    Rules about text need no model: labels that are equal, empty or too long, spelling that captions
    do not have, names within names, words with several meanings. With a model, labels with similar
    text embeddings are found too. That a label is reported does not prove that it costs accuracy.

    Args:
        labels: A list of names, a dict from each name to one or more synonyms, or a tree: a dict
            whose values may be dicts. Labels that a classifier rejects are reported as errors.
        prompts: Name of a prompt set, one template, a list of templates, a file or a `PromptSet`.
        model: A model that embeds the labels and 300 other words. Its tokenizer counts the tokens;
            without a model, CLIP's does.

    Returns:
        Problems, errors first, then warnings and notes.

    Raises:
        LabelError: `labels` is a str, or a label is not text.
        PromptError: The prompts are invalid.
        InputError: `model` is not a loaded model.

    Example:
        >>> for problem in zeroshot.lint(["red_panda", "Red Panda", "crane"]):
        ...     print(problem.level, problem.kind)
        error equal
        warning underscore
        note no negative
        note senses
    """
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
    return sorted(problems, key=lambda problem: LEVELS.index(problem.level))
