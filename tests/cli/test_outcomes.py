"""Failures and skipped files are reported on standard error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from zeroshot.cli.outcomes import Outcomes, no_images, print_above, report
from zeroshot.errors import image_error
from zeroshot.labeling.sources import Skipped
from zeroshot.predictions import Failure
from zeroshot.progress import Bar


def test_results_are_counted_and_failures_printed(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = Outcomes()

    outcomes.count("a prediction")
    outcomes.count(Failure("a.jpg", image_error("not_image", "a.jpg", "the file is empty")))

    assert (outcomes.done, outcomes.failed) == (2, 1)
    assert capsys.readouterr().err == "Error: a.jpg: the file is empty\n"


def test_lines_are_printed_above_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    print_above("before")
    with Bar("images", 20, show=True) as bar:
        bar.add(1)
        print_above("a.jpg: the file is empty")

    printed = capsys.readouterr().err
    assert printed.startswith("before\n")
    assert "\ra.jpg: the file is empty\n" in printed


@pytest.fixture
def skipped() -> Skipped:
    found = Skipped()
    found.add("broken link", "a/z.jpg")
    return found


@pytest.mark.parametrize(("quiet", "strict"), [(False, False), (True, False), (True, True)])
def test_skips_are_reported_and_strict_makes_them_an_error(
    quiet: bool, strict: bool, skipped: Skipped, capsys: pytest.CaptureFixture[str]
) -> None:
    if strict:
        with pytest.raises(SystemExit, match="3"):
            report(Outcomes(), skipped, quiet=quiet, strict=strict)
    else:
        report(Outcomes(), skipped, quiet=quiet, strict=strict)

    expected = "" if quiet and not strict else "skipped 1 in folders: 1 broken link (a/z.jpg)\n"
    assert capsys.readouterr().err == expected


def test_no_images_names_the_arguments_and_what_was_skipped(skipped: Skipped) -> None:
    error = no_images(["photos", "more"], skipped)

    assert isinstance(error, click.UsageError)
    assert "no images found in photos, more; expected" in error.message
    assert "1 broken link (a/z.jpg)" in error.message
    assert "no images found in standard input; expected" in no_images(["-"], Skipped()).message


def test_a_folder_with_other_files_is_classified_and_reported(run: Any, photos: list[Path]) -> None:
    folder = photos[0].parent
    (folder / "notes.txt").touch()
    (folder / "z.jpg").symlink_to(folder / "gone.jpg")
    (folder / "._a.jpg").touch()
    says = f"1 broken link ({folder / 'z.jpg'}); 1 with an unsupported suffix (.txt)\n"

    found = run("classify", folder, "-l", "cat,dog", "--json")
    assert found.exit_code == 0
    assert says in found.stderr
    assert len(found.stdout.splitlines()) == len(photos)
    found = run("classify", folder, "-l", "cat,dog", "--strict")
    assert (found.exit_code, says in found.stderr) == (3, True)
    assert run("classify", folder, "-l", "cat,dog", "--quiet").stderr == ""
    out = folder.parent / "e.npy"
    assert run("encode", folder, "-o", out, "--strict").exit_code == 3
    assert out.exists()
