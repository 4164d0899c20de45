"""The example notebook is committed with its outputs, and runs."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "notebook.ipynb"
LARGEST = 100_000  # bytes
RUNNERS = ("nbclient", "nbformat", "ipykernel")


def read() -> Any:
    return json.loads(NOTEBOOK.read_text("utf-8"))


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def printed(cell: Any) -> str:
    """Return what a cell prints."""
    return "".join("".join(each.get("text", "")) for each in cell["outputs"])


def test_the_notebook_is_small_and_has_outputs_without_machine_paths() -> None:
    text = NOTEBOOK.read_text("utf-8")

    assert len(text.encode()) < LARGEST
    assert all(cell["outputs"] for cell in code_cells(read()))
    assert "data:image/jpeg;base64," in text
    assert not [path for path in ("/home/", "/root/", "/tmp/", "Traceback") if path in text]
    assert str(ROOT) not in text


def test_the_cells_run_and_print_the_stored_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").symlink_to(ROOT / "examples" / "photos")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}

    for cell in code_cells(read()):
        exec(compile("".join(cell["source"]), str(NOTEBOOK), "exec"), names)
        assert capsys.readouterr().out == printed(cell)


@pytest.mark.filterwarnings("default")
@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in RUNNERS),
    reason="requires a notebook runner: pip install nbclient ipykernel",
)
def test_jupyter_runs_the_notebook_and_shows_the_same_kinds_of_output(tmp_path: Path) -> None:
    import nbclient  # type: ignore[import-not-found]
    import nbformat  # type: ignore[import-not-found]

    shutil.copytree(NOTEBOOK.parent, tmp_path / "examples")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    before = [[sorted(each.get("data", ())) for each in c["outputs"]] for c in code_cells(notebook)]

    options = {"metadata": {"path": str(tmp_path / "examples")}}
    nbclient.NotebookClient(notebook, timeout=120, resources=options).execute()

    after = [[sorted(each.get("data", ())) for each in c["outputs"]] for c in code_cells(notebook)]
    assert after == before
    assert list(map(printed, code_cells(notebook))) == list(map(printed, code_cells(read())))
