"""Output printed in the docs is current, and the migration guide's old code runs."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

import pytest
from click.testing import CliRunner

from zeroshot.cli import main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
WORD = re.compile(r"\s*[^\s,]+|\s*,|\s+$")  # with the white space before it
PERCENT = 15  # points: scores of `mini` differ that much between float32 and bfloat16


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like the checkout and may be written to."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shown(page: Path) -> list[tuple[str, str, str | None]]:
    """List a page's code: its language, the code, and the output in the `text` block below it."""
    text = page.read_text("utf-8")
    fences = list(FENCE.finditer(text))
    found = []
    for fence, after in zip_longest(fences, fences[1:]):
        output = None
        if after and after[1] == "text" and not text[fence.end() : after.start()].strip():
            output = after[2]
        if fence[1] in ("python", "sh"):
            found.append((fence[1], fence[2], output))
    return found


def run(language: str, code: str, names: dict[str, object]) -> str:
    """Run Python code or the `zeroshot` commands of a block, and return what they print."""
    if language == "python":
        with contextlib.redirect_stdout(io.StringIO()) as stdout:
            exec(compile(code, "<docs>", "exec"), names)
        return stdout.getvalue()
    commands = [line.partition(" > ") for line in code.splitlines() if line.startswith("zeroshot ")]
    runs = [CliRunner().invoke(main, shlex.split(words)[1:]) for words, _, _ in commands]
    return "".join(result.stdout for result in runs)


def same(printed: str, documented: str) -> bool:
    """Compare word by word, with white space; numbers may differ as they do between machines.

    Bars at the end of a line follow their number and are not compared, nor are empty lines at the
    start and end.
    """
    pairs = [
        WORD.findall(re.sub(r" *█+$", "", text.strip("\n"), flags=re.M))
        for text in (printed, documented)
    ]
    return len(pairs[0]) == len(pairs[1]) and all(map(_alike, *pairs))


def _alike(left: str, right: str) -> bool:
    """Compare two words and the white space before them; percentages are aligned to the right."""
    if left == right:
        return True
    aligned = left.endswith("%") and len(left) == len(right)
    if not aligned and _space(left) != _space(right):
        return False
    left, right = left.strip(), right.strip()
    if right.startswith(".../"):  # the folder differs between machines
        return left.endswith(right[3:])
    try:
        numbers = [float(word.strip("[]()%")) for word in (left, right)]
    except ValueError:
        return False
    limit = PERCENT if left.endswith("%") else PERCENT / 100
    return abs(numbers[0] - numbers[1]) <= limit


def _space(word: str) -> str:
    """Return the white space before a word."""
    return word[: len(word) - len(word.lstrip())]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(o for *_, o in shown(page))], ids=lambda page: page.name
)
def test_documented_output_is_what_the_code_prints(page: Path, checkout: Path) -> None:
    names: dict[str, object] = {}
    for language, code, output in shown(page):
        if language == "python" or output is not None:
            printed = run(language, code, names)
            assert output is None or same(printed, output), f"{code}\nprints\n{printed}"


def test_output_that_differs_is_noticed() -> None:
    assert same("cat   99.2%  ███\ndog    0.4%\n", "cat   96.0%\ndog    0.0%")
    assert same("cat  100.0%", "cat   99.9%")
    assert same("/home/me/photos/cat.jpg\ncat", ".../photos/cat.jpg\ncat")
    assert not same("/home/me/photos/dog.jpg\ncat", ".../photos/cat.jpg\ncat")
    assert not same("cat  99.2%", "dog  99.2%")
    assert not same("cat  99.2%", "cat  39.2%")
    assert not same("cat\ndog\n", "cat\n")
    assert not same("cat   99.2%", "cat  99.2%")
    assert not same("boat dog", "boat  dog")
    assert not same("cat\n\ndog", "cat\ndog")
    assert not same("[0.1, 0.2]", "[0.1,0.2]")
    assert same("a.jpg,1,cat,0.81,", "a.jpg,1,cat,0.84,")


# the old code of the migration guide


def in_hub_cache(repository: str, file: str) -> Callable[[], bool]:
    """Return a function that says whether the Hub's cache on this machine has a file."""

    def cached() -> bool:
        from huggingface_hub import try_to_load_from_cache

        return isinstance(try_to_load_from_cache(repository, file), str)

    return cached


WEIGHTS: dict[str, Callable[[], bool]] = {
    "transformers": in_hub_cache("openai/clip-vit-base-patch32", "config.json"),
    "open_clip": in_hub_cache("timm/vit_base_patch32_clip_224.openai", "open_clip_config.json"),
    "clip": lambda: Path("~/.cache/clip/ViT-B-32.pt").expanduser().exists(),
}


def old_code(peer: str) -> str:
    """Join the blocks of the migration guide that use another library."""
    text = (ROOT / "docs" / "migrating.md").read_text("utf-8")
    return "\n".join(re.findall(rf"^```python peer={peer}\n(.*?)^```$", text, re.M | re.S))


@pytest.mark.parametrize("peer", WEIGHTS)
def test_old_code_of_the_migration_guide_runs(peer: str, checkout: Path) -> None:
    code = old_code(peer)
    assert f"import {peer}" in code or f"from {peer}" in code
    compile(code, peer, "exec")
    if importlib.util.find_spec(peer) is None:
        pytest.skip(f"{peer} is not installed")
    if not WEIGHTS[peer]():
        pytest.skip(f"the weights that {peer} loads are not in the cache of this machine")

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_every_old_block_belongs_to_a_known_library() -> None:
    text = (ROOT / "docs" / "migrating.md").read_text("utf-8")

    assert set(re.findall(r"^```python peer=(.*)$", text, re.M)) == set(WEIGHTS)
