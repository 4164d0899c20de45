"""Every error inherits a builtin, has a docstring and can be pickled."""

from __future__ import annotations

import builtins
import inspect
import io
import os
import pickle
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

import zeroshot
from zeroshot import errors
from zeroshot.errors import ImageError, TokenLimitError, ZeroshotError

ALL = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, Exception) and not issubclass(value, Warning)
}


@pytest.mark.parametrize("name", ALL)
def test_every_error_is_caught_by_the_base(name: str) -> None:
    assert issubclass(ALL[name], ZeroshotError)


@pytest.mark.parametrize("name", sorted(ALL.keys() - {"ZeroshotError"}))
def test_every_error_is_also_a_builtin_one(name: str) -> None:
    ordinary = [c for c in ALL[name].__mro__ if vars(builtins).get(c.__name__) is c]
    assert ordinary[0] not in (Exception, BaseException)
    assert KeyError not in ordinary  # prints its message in quotes


def test_the_tree_in_the_docstring_matches_the_classes() -> None:
    drawn = re.findall(r"[│├└─ ]*(\w+)(?: \((\w+)\))?$", errors.__doc__ or "", re.MULTILINE)
    names = {name: builtin for name, builtin in drawn if name in ALL}
    assert names.keys() == ALL.keys()
    for name, builtin in names.items():
        if builtin:
            assert issubclass(ALL[name], vars(builtins)[builtin])


@pytest.mark.parametrize("name", ALL)
def test_every_error_has_a_docstring(name: str) -> None:
    assert (ALL[name].__doc__ or "").partition("\n")[0].endswith(".")


def test_errors_have_attributes_and_a_plain_message() -> None:
    image = ImageError("a.jpg: it is empty", kind="not_image", source="a.jpg")
    assert (str(image), image.kind, image.source) == ("a.jpg: it is empty", "not_image", "a.jpg")
    text = TokenLimitError("too long", text="cat cat", tokens=80)
    assert (str(text), text.text, text.tokens) == ("too long", "cat cat", 80)


@pytest.mark.parametrize(
    "error",
    [
        errors.LabelError("bad"),
        errors.UnsafeWeightsError("bad", source="m.pt"),
        ImageError("bad", kind="not_image", source="a.jpg"),
        errors.ImageNotFound("bad", kind="not_found", source="a"),
        TokenLimitError("too long", text="cat", tokens=80),
        errors.ChecksumError("bad", expected="a", found="b"),
        errors.NonFiniteError("bad", rows=[1, 2]),
        errors.SaveError("bad", source="a.npy"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_errors_cross_process_boundaries(error: ZeroshotError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)


TRACEBACKS = {
    "missing photograph": "zeroshot.classify('missing.jpg', ['cat', 'dog'], model='mini')",
    "in a stream": "list(zeroshot.load('mini').classifier(['cat', 'dog']).stream(['missing.jpg']))",
    "no network": "zeroshot.classify(zeroshot.sample_image(), ['cat', 'dog'])",
    "repository without network": "zeroshot.load('owner/name', offline=True)",
    "missing checkpoint": "zeroshot.load('./missing.pt')",
    "empty checkpoint": "zeroshot.load('empty.pt')",
    "labels": "zeroshot.classify(zeroshot.sample_image(), 'cat', model='mini')",
    "prompts": "zeroshot.PromptSet(('no slot',))",
    "prompt file": "zeroshot.prompts.get(Path('missing.toml'))",
    "head": "zeroshot.Head.load('empty.pt')",
    "tokens": "zeroshot.ClipTokenizer()('cat ' * 90)",
    "device": "zeroshot.load('mini').to(device='gpu')",
}


def without_network(cache: Path) -> dict[str, str]:
    """Return an environment without proxies, in which the Hub is a closed port."""
    kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    closed = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(cache), "HF_HUB_OFFLINE": "1"}
    return kept | closed | {"ZEROSHOT_CACHE": "off"}


@pytest.mark.parametrize("case", TRACEBACKS)
def test_a_traceback_has_at_most_15_lines(case: str, tmp_path: Path) -> None:
    (tmp_path / "empty.pt").touch()
    script = tmp_path / "script.py"
    script.write_text(f"from pathlib import Path\nimport zeroshot\n{TRACEBACKS[case]}\n")

    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=without_network(tmp_path / "hub"),
        capture_output=True,
        text=True,
        check=False,
    )

    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert lines[1].startswith(f'  File "{script}", line 3')
    assert lines[-1].startswith("zeroshot.errors.")
    assert len(lines) <= 15, done.stderr


def test_the_exception_behind_an_error_is_its_cause() -> None:
    with pytest.raises(errors.PromptError) as caught:
        zeroshot.prompts.get(Path("missing.toml"))

    assert isinstance(caught.value.cause, FileNotFoundError)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert pickle.loads(pickle.dumps(caught.value)).cause is None


def test_an_exception_that_the_caller_handles_stays_in_the_traceback() -> None:
    try:
        raise KeyError("of the caller")
    except KeyError:
        with pytest.raises(errors.PromptError) as caught:
            zeroshot.prompts.get("nothing of that name")

    assert isinstance(caught.value.__context__, KeyError)
    assert caught.value.cause is None


def test_debug_messages_contain_the_full_traceback_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="zeroshot")
    with pytest.raises(errors.ImageNotFound):
        zeroshot.classify("missing.jpg", ["cat", "dog"], model="mini")

    assert caplog.text.count("Traceback (most recent call last)") >= 1
    assert "opening.py" in caplog.text
    assert caplog.text.count("full traceback of an error") == 1


def test_notebooks_show_the_frames_of_the_caller_and_the_message() -> None:
    with pytest.raises(errors.ImageNotFound) as caught:
        zeroshot.classify("missing.jpg", ["cat", "dog"], model="mini")

    lines = caught.value._render_traceback_()

    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].startswith(f'  File "{__file__}"')
    assert lines[-1].startswith("zeroshot.errors.ImageNotFound: ")
    assert len(lines) <= 6
    assert "src/zeroshot" not in "".join(lines[:-1])


def test_ipython_shows_a_short_traceback() -> None:
    shell = pytest.importorskip("IPython.core.interactiveshell")
    code = "import zeroshot\nzeroshot.classify('missing.jpg', ['cat', 'dog'], model='mini')"
    shown = io.StringIO()
    with redirect_stdout(shown), redirect_stderr(shown):
        result = shell.InteractiveShell().run_cell(code)

    assert isinstance(result.error_in_exec, errors.ImageNotFound)
    assert len(shown.getvalue().splitlines()) <= 10, shown.getvalue()


def test_the_base_is_public() -> None:
    assert zeroshot.ZeroshotError is errors.ZeroshotError


@pytest.mark.parametrize("length", [0, errors.LONGEST, errors.LONGEST + 1, 10_000])
@pytest.mark.parametrize("kind", [errors.LabelError, errors.CacheError, errors.MissingPackage])
def test_the_middle_of_a_long_message_is_cut(kind: Any, length: int) -> None:
    message = "start" + "x" * (length - 8) + "end" if length else ""

    error = kind(message)

    assert len(str(error)) == min(length, errors.LONGEST)
    assert str(error).startswith(message[:20])
    assert str(error).endswith(message[-20:])
    assert (str(error) == message) == (length <= errors.LONGEST)
