"""`zeroshot prompts` prints the shipped prompt sets and label sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zeroshot


def test_prompts_lists_every_set(run: Any) -> None:
    result = run("prompts")
    lines = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert list(lines) == zeroshot.prompts.available()
    assert "80 templates  1000 labels" in lines["imagenet"]
    assert "templates only" in lines["photo"]


def test_prompts_prints_templates_or_labels(run: Any) -> None:
    templates = run("prompts", "imagenet7").stdout.splitlines()
    assert tuple(templates) == zeroshot.prompts.get("imagenet7").templates
    labels = run("prompts", "fer2013", "--labels").stdout.splitlines()
    assert labels == [" | ".join(names) for names in zeroshot.prompts.labels("fer2013").values()]


def test_a_label_file_passed_as_templates_suggests_the_labels_option(
    run: Any, tmp_path: Path
) -> None:
    (tmp_path / "labels.txt").write_text("cat\ndog\n")

    result = run("prompts", tmp_path / "labels.txt")

    assert "use --labels to print a label file" in result.stderr
