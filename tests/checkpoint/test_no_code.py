"""The source of the package holds no call that could execute the content of a file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import zeroshot

SOURCES = sorted(Path(zeroshot.__file__).parent.rglob("*.py"))
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml", "imp"}
BUILTINS = {"eval", "exec", "compile", "__import__", "execfile"}
CALLS = {  # module or package, attribute
    ("torch", "load"),
    ("torch.jit", "load"),
    ("torch.package", "PackageImporter"),
    ("torch.hub", "load"),
    ("torch.serialization", "load"),
    ("os", "system"),
    ("os", "popen"),
    ("os", "execv"),
    ("os", "execvp"),
    ("os", "spawnv"),
    ("os", "startfile"),
    ("pty", "spawn"),
    ("runpy", "run_path"),
    ("importlib", "import_module"),
}
ALLOWED = {  # the package decides what is imported or formatted, a file never does
    "zeroshot/_lazy.py": "importlib.import_module",
    "images/pillow_codecs.py": "importlib.import_module",
    "images/jpeg.py": "importlib.import_module",
    "cuda/jpeg.py": "importlib.import_module",
    "sinks/__init__.py": "importlib.import_module",
    "serving/protocol.py": "importlib.import_module",
    "cli/__init__.py": "importlib.import_module",
    "cli/messages.py": ".format on a string that is not a literal",  # logging.Formatter.format
}


def violations(source: str) -> Iterator[str]:
    """Yield what in this source could execute something, with its line."""
    tree = ast.parse(source)
    names, constants = _imported(tree), _constants(tree)
    for node in ast.walk(tree):
        where = f"line {getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names]
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for module in modules:
                if module.split(".")[0] in MODULES:
                    yield f"{where}: import of {module}"
        if not isinstance(node, ast.Call | ast.Attribute | ast.Name):
            continue
        target = node.func if isinstance(node, ast.Call) else node
        path = _path(target, names)
        if path in BUILTINS and isinstance(node, ast.Name):
            yield f"{where}: {path}"
        module, _, attribute = path.rpartition(".")
        if (module, attribute) in CALLS and not isinstance(node, ast.Call):
            yield f"{where}: {path}"
        if isinstance(node, ast.Call):
            yield from _bad_call(node, path, where, constants)


def _bad_call(node: ast.Call, path: str, where: str, constants: set[str]) -> Iterator[str]:
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    shell, pickles = keywords.get("shell"), keywords.get("allow_pickle")
    for name, value in (("shell", shell), ("allow_pickle", pickles)):
        if value is not None and not (isinstance(value, ast.Constant) and value.value is False):
            yield f"{where}: {name}="
    attribute = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if isinstance(node.func, ast.Attribute) and attribute in ("format", "format_map"):
        owner = node.func.value
        written = isinstance(owner, ast.Constant) and isinstance(owner.value, str)
        if not written and path.rpartition(".")[0] not in constants:
            yield f"{where}: .{attribute} on a string that is not a literal"


def _constants(tree: ast.Module) -> set[str]:
    """Return the names of a module's string constants: literals assigned at top level."""
    return {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id.isupper()
    }


def _imported(tree: ast.AST) -> dict[str, str]:
    """Map local names to what they were imported as."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _path(node: ast.expr, names: dict[str, str]) -> str:
    """Return the dotted path of an expression, aliases resolved; "" for anything else."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        inner = _path(node.value, names)
        return f"{inner}.{node.attr}" if inner else ""
    return ""


def test_source_files_are_found() -> None:
    assert len(SOURCES) > 40


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.parent.name + "/" + path.name)
def test_source_cannot_execute_file_content(path: Path) -> None:
    found = list(violations(path.read_text("utf-8")))
    allowed = ALLOWED.get(f"{path.parent.name}/{path.name}")

    assert [what for what in found if allowed is None or not what.endswith(allowed)] == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "import marshal, os",
        "import yaml",
        "from shelve import open as o",
        "import torch\ntorch.load(x)",
        "import torch\ntorch.load(x, weights_only=True)",
        "import torch as t\nt.load(x)",
        "from torch import load\nload(x)",
        "from torch import load as l\nf = l",
        "import torch\ntorch.jit.load(x)",
        "from torch import jit\njit.load(x)",
        "from torch.jit import load as read\nread(x)",
        "import torch.serialization\ntorch.serialization.load(x)",
        "import os\nos.system(x)",
        "from os import system as s\ns(x)",
        "eval(x)",
        "run = exec",
        "__import__(x)",
        "import subprocess\nsubprocess.run(x, shell=True)",
        "import subprocess\nsubprocess.run(x, shell=flag)",
        "import numpy as np\nnp.load(x, allow_pickle=True)",
        "template.format(x)",
        "self.text.format_map(x)",
        "import importlib\nimportlib.import_module(x)",
        "import runpy\nrunpy.run_path(x)",
    ],
)
def test_check_detects_code_execution(line: str) -> None:
    assert list(violations(line))


@pytest.mark.parametrize(
    "line",
    [
        "import json\njson.load(x)",
        "import numpy as np\nnp.load(x)",
        "'{:>8}'.format(x)",
        "HEADER = '# {}'\nHEADER.format(x)",
        "import subprocess\nsubprocess.run(['ls'], shell=False)",
        "import re\nre.compile(x)",
        "model.eval()",
        "zeroshot.load(x)",
    ],
)
def test_check_accepts_harmless_code(line: str) -> None:
    assert list(violations(line)) == []
