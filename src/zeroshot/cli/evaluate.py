"""`zeroshot evaluate`: measure a classifier on images with known labels."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zeroshot import catalog, label_files
from zeroshot import prompts as prompt_sets
from zeroshot.cli import sources
from zeroshot.cli.answers import AnswerChoice, answer_options, check_answers
from zeroshot.cli.failures import CANNOT_WRITE, fail
from zeroshot.cli.heads import choose_model, head_options, reject_with_head
from zeroshot.cli.messages import escaped, is_quiet, note
from zeroshot.cli.options import ModelChoice, model_options
from zeroshot.cli.outcomes import Outcomes, report

if TYPE_CHECKING:
    from zeroshot.classifier import Classifier
    from zeroshot.evaluation.comparison import Difference
    from zeroshot.evaluation.report import Report
    from zeroshot.labeling.truth import Truth
    from zeroshot.model import Model
    from zeroshot.progress import Show


@click.command("evaluate")
@click.argument("source", metavar="FOLDER|TABLE")
@head_options(
    "Labels, as for `zeroshot classify`. Default: the names of the folders, or those that the data "
    "set contains.",
    "the templates of the data set, or photo.",
)
@click.option(
    "--compare",
    multiple=True,
    metavar="MODEL|PROMPTS",
    help="Also evaluate with this model, or these prompts, on the same images. Can be repeated.",
)
@click.option(
    "--templates", is_flag=True, help="Also measure each template, left out and used alone."
)
@click.option(
    "--report",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the report to this .html or .json file.",
)
@click.option("--force", is_flag=True, help="Replace an existing --report file that is no report.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.option(
    "--strict",
    is_flag=True,
    help="Exit with 3 if files in folders were skipped, such as files that are no images.",
)
@answer_options()
@model_options
def command(
    source: str,
    labels: tuple[str, ...],
    allow_equal: bool,
    head: str | None,
    prompts: str | None,
    compare: tuple[str, ...],
    templates: bool,
    target: Path | None,
    force: bool,
    as_json: bool,
    strict: bool,
    answers: AnswerChoice,
    choice: ModelChoice,
) -> None:
    """Measure accuracy and calibration on images with known labels.

    The images are a folder with a folder per label, or a table (.csv, .tsv, .json, .jsonl or
    .parquet) with a column of paths and a column `label`, or `labels` for several labels per image,
    or the folder of a data set in tar files, as CLIP_benchmark stores it. Labels are names, column
    numbers, or WordNet ids of ImageNet. With --none, or a head that has it, "none of these" is the
    label of images that show none of the labels.

    Figures have 95 % intervals, except ECE and figures that vary too little to show one. A change
    in --compare or --templates whose interval contains 0 is no evidence of a difference.
    """
    if target is not None:
        _check_target(target, force)
    with_labels = {"--labels": labels, "--prompts": prompts}
    reject_with_head(head, with_labels | {"--compare": compare, "--templates": templates})
    if templates:
        _check_templates(answers)
    check_answers(answers, head)
    import zeroshot
    from zeroshot.labeling import truth as truth_files

    found = truth_files.read(source)
    saved = None if head is None else zeroshot.Head.load(head)
    label_set: Any = saved or (sources.labels(labels) if labels else found.labels)
    if label_set is None:
        raise click.UsageError(
            f"expected --labels, because {source} names no labels; give the labels in the order of "
            "its numbers"
        )
    if saved is not None:
        choice = choose_model(saved, head, choice)
    found = replace(found, truth=found.named(saved.labels if saved else label_set))
    prompt_set = prompt_sets.get(prompts or _default_prompts(labels, found))
    for each in compare:
        _check_comparison(each)
    progress = False if is_quiet() else None
    run = _Run(found, label_set, answers, allow_equal or not labels, progress)
    model = choice.load()
    base = run.evaluate(model, prompt_set)
    result = replace(
        base,
        comparisons=tuple(run.compare(base, choice, model, each, prompt_set) for each in compare),
        templates=run.templates(model, prompt_set) if templates else (),
    )
    _print(result, as_json=as_json)
    if target is not None:
        result.save(target, force=force)
        note(escaped(f"wrote {target}"))
    _exit(result, found, strict=strict)


class _Run:
    """Evaluates models and prompts on the same images; each model embeds them once."""

    def __init__(
        self,
        found: Truth,
        labels: Any,
        answers: AnswerChoice,
        allow_equal: bool,
        progress: Show,
    ) -> None:
        self._found, self._labels, self._answers = found, labels, answers
        self._allow_equal, self._progress = allow_equal, progress
        self._embedded: tuple[str, Any] | None = None
        self._is_noted = False  # what the threshold promises

    def _classifier(self, model: Model, prompts: prompt_sets.PromptSet) -> Classifier:
        built = model.classifier(
            self._labels,
            prompts,
            allow_equal=self._allow_equal,
            none_of_these=self._answers.none_of_these,
            progress=self._progress,
        )
        chosen = self._answers
        if self._is_noted and chosen.below is not None:  # the others require a head
            return built.answering(below=chosen.below)
        self._is_noted = True
        return chosen.apply(built)

    def _prepare(self, model: Model, classifier: Classifier) -> tuple[Any, Any]:
        """Return the columns of the right labels, and the embeddings."""
        from zeroshot.evaluation.answers import embed_images
        from zeroshot.evaluation.targets import resolve
        from zeroshot.windows import encoder_for

        head = classifier.head
        right = resolve(self._found.truth, head, classifier.answers, images=self._found.images)
        if self._embedded is None or self._embedded[0] != model.identity:
            encoder = encoder_for(model, head.scoring)
            given = embed_images(encoder, self._found.images, self._progress)
            self._embedded = model.identity, given
        return right, self._embedded[1]

    def evaluate(self, model: Model, prompts: prompt_sets.PromptSet) -> Report:
        """Return the report of a model with these prompts."""
        from zeroshot.evaluation.measuring import measure

        classifier = self._classifier(model, prompts)
        right, given = self._prepare(model, classifier)
        return measure(classifier, given, right, images=self._found.images)

    def compare(
        self,
        base: Report,
        choice: ModelChoice,
        model: Model,
        name: str,
        prompts: prompt_sets.PromptSet,
    ) -> Difference:
        """Return the change with other prompts, or with another model."""
        if _is_prompts(name):
            other = self.evaluate(model, prompt_sets.get(name))
        else:
            loaded = replace(choice, model=name, is_default=False).load()
            other = self.evaluate(loaded, prompts)
        return other.compare(base, name=name)

    def templates(self, model: Model, prompts: prompt_sets.PromptSet) -> Any:
        """Return the effect of each template."""
        from zeroshot.evaluation.comparison import template_effects

        classifier = self._classifier(model, prompts)
        right, given = self._prepare(model, classifier)
        if right.ndim == 2:
            raise click.UsageError(
                "expected one label per image with --templates, got lists of labels; omit it"
            )
        return template_effects(classifier, given, right[given.places])


def _check_templates(answers: AnswerChoice) -> None:
    """Reject options with which top-1 is not that of the best label, as templates measure it."""
    given = {
        "--none": answers.none_of_these,
        "--below": answers.below is not None,
        "--keep": answers.keep is not None,
        "--error": answers.error is not None,
    }
    if refused := [name for name, is_given in given.items() if is_given]:
        raise click.UsageError(f"expected no {refused[0]} with --templates; omit one")


def _check_target(target: Path, force: bool) -> None:
    from zeroshot.evaluation.report import check_target

    check_target(target, force=force)
    if not target.parent.is_dir():
        fail(f"{target.parent}: no such folder; create it first", CANNOT_WRITE)


def _default_prompts(labels: tuple[str, ...], found: Truth) -> Any:
    """Return the prompts of the label set or of the data set."""
    return (labels and sources.label_set(labels)) or found.prompts or prompt_sets.DEFAULT


def _is_prompts(name: str) -> bool:
    """Return whether a value of --compare is prompts rather than a model."""
    if prompt_sets.SLOT in name or name in prompt_sets.available():
        return True
    return Path(name).suffix.lower() in label_files.SUFFIXES and prompt_sets.is_file(name)


def _check_comparison(name: str) -> None:
    """Raise PromptError or ModelNotFound for a misspelled name, before the work."""
    if _is_prompts(name):
        prompt_sets.get(name)
    elif not Path(name).exists() and ("/" not in name or catalog.looks_like_catalog_name(name)):
        catalog.find(name)


def _print(result: Report, *, as_json: bool) -> None:
    if not as_json:
        click.echo(str(result))
        return
    from zeroshot.labeling.sinks import can_encode

    plain = result.to_dict()
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False)
    click.echo(text if can_encode(text, sys.stdout) else json.dumps(plain, allow_nan=False))


def _exit(result: Report, found: Truth, *, strict: bool) -> None:
    """Print what could not be read and what was skipped; exit with 3 if that is an error."""
    outcomes = Outcomes()
    outcomes.done = result.n
    for failure in result.failures:
        outcomes.count(failure)
    report(outcomes, found.skipped, quiet=is_quiet(), strict=strict)
