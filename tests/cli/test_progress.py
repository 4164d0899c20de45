"""Progress, failures and skipped files are reported on standard error."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from zeroshot.cli import progress as module
from zeroshot.cli.progress import Progress, no_images, report
from zeroshot.labeling.sources import Skipped


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal() -> Iterator[Callable[[], Terminal]]:
    """Return a function that replaces standard error; pytest resets it before the test runs."""
    patch = pytest.MonkeyPatch()

    def replace() -> Terminal:
        stream = Terminal()
        patch.setattr(sys, "stderr", stream)
        return stream

    yield replace
    patch.undo()


def work(**options: Any) -> None:
    with Progress("images", **options) as progress:
        for _ in range(20):
            progress.count("done")
    assert progress.done == 20


def test_a_bar_is_shown_on_a_terminal(
    terminal: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DELAY", -1)
    stream = terminal()

    work(quiet=False)

    assert "20 images" in stream.getvalue()


@pytest.mark.parametrize("options", [{"quiet": True}, {"quiet": False, "prints": True}])
def test_no_bar_is_shown_with_quiet_or_results_on_the_terminal(
    options: Any, terminal: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DELAY", -1)
    stream = terminal()

    work(**options)

    assert stream.getvalue() == ""


def test_short_work_shows_no_bar(terminal: Callable[[], Terminal]) -> None:
    stream = terminal()

    work(quiet=False)

    assert stream.getvalue() == ""


def test_no_bar_is_written_to_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DELAY", -1)

    work(quiet=False)

    assert capsys.readouterr().err == ""


@pytest.fixture
def skipped() -> Skipped:
    found = Skipped()
    found.add("broken link", "a/z.jpg")
    return found


@pytest.mark.parametrize(("quiet", "strict"), [(False, False), (True, False), (True, True)])
def test_skips_are_reported_and_strict_makes_them_an_error(
    quiet: bool, strict: bool, skipped: Skipped, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress("images", quiet=quiet)
    if strict:
        with pytest.raises(SystemExit, match="3"):
            report(progress, skipped, quiet=quiet, strict=strict)
    else:
        report(progress, skipped, quiet=quiet, strict=strict)

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
