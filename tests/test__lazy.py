"""Public names are imported on first use, and completion shows nothing else."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import zeroshot
from tests.support import run_python
from zeroshot._lazy import loader


def test_a_name_is_imported_on_first_use_and_kept() -> None:
    names: dict[str, object] = {}
    get = loader(names, {"Prediction": "predictions", "prompts": ""})

    assert get("Prediction") is zeroshot.Prediction
    assert names == {"Prediction": zeroshot.Prediction}
    assert get("prompts") is zeroshot.prompts


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'zeroshot' has no attribute 'clasify'"):
        loader({}, {})("clasify")


def test_the_module_has_no_other_names_before_first_use() -> None:
    shown = run_python("import zeroshot; print(sorted(n for n in vars(zeroshot) if n[0] != '_'))")

    assert shown == "[]\n"


def test_completion_in_an_editor_shows_public_names_and_files_only() -> None:
    jedi = pytest.importorskip("jedi")
    script = jedi.Script("import zeroshot\nzeroshot.")
    found = script.complete(2, len("zeroshot."))

    names = {each.name for each in found if each.type != "module"}
    public = {name for name in zeroshot.__all__ if not name.startswith("_")}
    modules = {name for name in public if inspect.ismodule(getattr(zeroshot, name))}
    assert {name for name in names if not name.startswith("_")} == public - modules
    modules = {each.name for each in found if each.type == "module" and each.name[0] != "_"}
    folder = Path(zeroshot.__file__).parent
    assert all((folder / name).is_dir() or (folder / f"{name}.py").is_file() for name in modules)


def test_completion_in_a_shell_shows_public_names_only() -> None:
    jedi = pytest.importorskip("jedi")
    names = {found.name for found in jedi.Interpreter("zeroshot.", [vars()]).complete()}

    assert names <= set(zeroshot.__all__) | set(dir(type(zeroshot)))
