"""`zeroshot serve`: options, keys and heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import zeroshot
from zeroshot.cli import main
from zeroshot.serving import server
from zeroshot.serving.settings import NamedLabels, Settings


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Record the settings instead of serving."""
    settings: list[Settings] = []

    def run(given: Settings, load: Any) -> int:
        settings.append(given)
        return 0

    monkeypatch.setattr(server, "run", run)
    monkeypatch.setattr(server, "check_packages", lambda: None)
    monkeypatch.delenv("ZEROSHOT_API_KEY", raising=False)
    return settings


def invoke(*words: str) -> Result:
    return CliRunner().invoke(main, ["serve", "--model", "mini", *words])


def test_defaults_are_those_of_the_settings(started: list[Settings]) -> None:
    assert invoke().exit_code == 0
    assert started == [Settings("mini")]


def test_limits_are_passed_on(started: list[Settings]) -> None:
    words = ["--max-queue=9", "--max-batch=4", "--deadline=1.5", "--drain=3", "--max-body=500K"]
    words += ["--max-images=2", "--max-labels=5", "--no-page", "--port=0", "--max-pixels=1000"]

    assert invoke(*words, "--allow-urls", "--url-host=a.example").exit_code == 0

    (found,) = started
    assert (found.max_queue, found.max_batch, found.deadline, found.drain) == (9, 4, 1.5, 3.0)
    assert (found.max_body, found.max_images, found.max_labels) == (500_000, 2, 5)
    assert (found.page, found.port, found.max_pixels) == (False, 0, 1000)
    assert found.url_hosts == ("a.example",)


def test_heads_are_files_or_labels(
    started: list[Settings], tiny: zeroshot.Model, tiny_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "fish.safetensors"
    tiny.head(["cod", "eel"]).save(path)
    words = ["--head", f"fish={path}", "--head", "pets=dog,cat", "--head", "all=@imagenet"]

    assert invoke(*words, "--no-labels", "--model", str(tiny_path)).exit_code == 0

    heads: Any = started[0].heads
    assert heads["fish"].labels == ("cod", "eel")
    assert heads["pets"] == NamedLabels({"dog": ["dog"], "cat": ["cat"]})
    assert (len(heads["all"].labels), heads["all"].prompts) == (1000, "imagenet")


def test_one_label_of_a_head_is_an_error_that_names_the_head(started: list[Settings]) -> None:
    result = invoke("--head", "pets=dgo")

    assert result.exit_code == 2
    assert "expected several labels, got --head pets='dgo'" in " ".join(result.output.split())
    missing = invoke("--head", "pets=missing.safetensors")
    assert "--head pets: no such head file: missing.safetensors" in " ".join(missing.output.split())


@pytest.mark.parametrize(
    "words",
    [
        ("--head", "pets"),
        ("--head", "=a,b"),
        ("--head", "pets="),
        ("--head", "pets=-"),
        ("--head", "a/b=c,d"),
        ("--head", "pets=a,b", "--head", "pets=c,d"),
        ("--max-body", "much"),
        ("--max-queue", "0"),
        ("--no-labels",),
        ("--host", "0.0.0.0"),
        ("--api-key", "secret"),
        ("--url-host", "a.example"),
    ],
)
def test_invalid_options_are_usage_errors(started: list[Settings], words: tuple[str, ...]) -> None:
    result = invoke(*words)

    assert result.exit_code == 2, result.output
    assert started == []


def test_key_is_read_from_a_file_before_the_environment(
    started: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEROSHOT_API_KEY", "of-the-environment\n")  # as a secret from a file
    path = tmp_path / "key"
    path.write_text("of-the-file\n")

    assert invoke("--host", "0.0.0.0").exit_code == 0
    assert invoke("--api-key-file", str(path)).exit_code == 0

    assert [each.api_key for each in started] == ["of-the-environment", "of-the-file"]


def test_empty_key_file_is_a_usage_error(started: list[Settings], tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("\n")

    assert invoke("--api-key-file", str(path)).exit_code == 2


def test_missing_extra_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PACKAGES", ("no_such_package",))

    result = invoke()

    assert result.exit_code == 1
    assert "pip install 'zeroshot-clip[serve]'" in result.output
