"""`zeroshot tag`."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def sidecars() -> list[Path]:
    """Return the sidecars of the photographs."""
    return sorted(Path("photos").glob("*.xmp"))


def test_every_image_gets_a_sidecar_once(table: Path, run: Any) -> None:
    words = ("tag", table, "--min-probability", "0", "--max-keywords", "1", "--prefix", "AI")

    result = run(*words)

    assert result.exit_code == 0, result.output
    assert len(sidecars()) == 7
    assert "AI/" in sidecars()[0].read_text("utf-8")
    before = [path.read_bytes() for path in sidecars()]
    assert run(*words, "-q").stderr == ""
    assert [path.read_bytes() for path in sidecars()] == before


def test_a_dry_run_writes_nothing(table: Path, run: Any) -> None:
    result = run("tag", table, "--min-probability", "0", "--dry-run")

    assert result.exit_code == 0
    assert "would write 7 sidecars" in result.stderr
    assert sidecars() == []


def test_a_damaged_sidecar_is_reported_with_exit_code_3(table: Path, run: Any) -> None:
    Path("photos/2.png.xmp").write_text("<not xml")

    result = run("tag", table, "--min-probability", "0")

    assert result.exit_code == 3
    assert "2.png.xmp" in result.stderr
    assert Path("photos/2.png.xmp").read_text() == "<not xml"
    assert len(sidecars()) == 7


def test_a_wrong_prefix_and_a_wrong_folder_are_errors(table: Path, run: Any) -> None:
    assert run("tag", "photos").exit_code == 2
    wrong = run("tag", table, "--prefix", "")
    assert wrong.exit_code == 2
    assert "--prefix '' must be a keyword" in wrong.stderr
