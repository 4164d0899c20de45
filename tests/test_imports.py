"""The cost of importing, and rules that every module follows."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import zeroshot
from tests.support import run_python
from tests.test_golden import unpack

SOURCE = Path(zeroshot.__file__).parent
LIGHT = (
    "errors",
    "resources",
    "prompts",
    "catalog",
    "predictions",
    "lookahead",
    "tokenizers",
    "spec",
)


def test_importing_the_package_imports_no_dependency_and_opens_no_file() -> None:
    code = """
import socket, sys
def refused(*args, **options):
    raise AssertionError("a socket is opened")
socket.socket = socket.create_connection = socket.getaddrinfo = refused
opened = []
sys.addaudithook(lambda name, args: opened.append(str(args[0])) if name == "open" else None)
import zeroshot
dir(zeroshot)
assert not [p for p in opened if not p.endswith((".py", ".pyc")) and "__pycache__" not in p], opened
heavy = {"torch", "numpy", "PIL", "huggingface_hub", "click", "ftfy", "regex", "safetensors"}
print(sorted(heavy & set(sys.modules)))
"""
    assert run_python(code, "-W", "error") == "[]\n"


def test_every_module_imports_without_a_socket_or_a_warning() -> None:
    code = """
import socket, sys
def refused(*args, **options):
    raise AssertionError("a socket is opened")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refused
import warnings
import torch, huggingface_hub
warnings.simplefilter("error")
import importlib, pkgutil, zeroshot
for module in pkgutil.walk_packages(zeroshot.__path__, "zeroshot."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
assert not torch.cuda.is_initialized()
# submodules that were imported first do not hide the public names
assert callable(zeroshot.classify) and callable(zeroshot.load)
assert zeroshot.prompts.get("photo").name == "photo"
from zeroshot import *
assert classify is zeroshot.classify and Head is zeroshot.Head
print("done")
"""
    assert run_python(code) == "done\n"


@pytest.mark.parametrize("names", [LIGHT])
def test_text_modules_work_without_torch(names: tuple[str, ...]) -> None:
    imports = "\n".join(f"import zeroshot.{name}" for name in names)
    code = f"""
import sys
sys.modules["torch"] = None
{imports}
import zeroshot, zeroshot.images.preprocess, numpy
assert zeroshot.ClipTokenizer().encode("a cat") == [320, 2368]
assert len(zeroshot.prompts.get("imagenet")) == 80
assert zeroshot.available_models()
assert zeroshot.images.preprocess.Preprocess(4)(numpy.zeros((9, 9, 3), "uint8")).shape == (3, 4, 4)
print("done")
"""
    assert run_python(code) == "done\n"


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_no_module_executes_untrusted_code(path: Path) -> None:
    """No module unpickles, evaluates or formats untrusted text."""
    refused = {"eval", "exec", "__import__", "torch.load", "torch.jit.load", "pickle.load"}
    refused |= {"pickle.loads", "os.system", "yaml.load", "marshal.loads", "shelve.open"}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in refused, f"line {node.lineno}: {called}"
            own = called.split(".")[0].isupper()  # a constant of the module
            assert own or not called.endswith(".format"), f"line {node.lineno}: {called}"
            assert "shell=True" not in ast.unparse(node), f"line {node.lineno}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_every_module_has_a_docstring_that_starts_with_a_sentence(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    assert docstring, "no docstring"
    assert docstring.split("\n\n")[0].rstrip().endswith((".", ":")), docstring


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_no_module_has_the_name_of_a_function_or_class_it_defines(path: Path) -> None:
    body = ast.parse(path.read_text("utf-8")).body
    defined = {n.name for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    assert path.stem not in defined
    assert path.stem not in {"utils", "helpers", "common", "misc", "util"}


LOADED = """
import sys, zeroshot
zeroshot.load(sys.argv[1])
print([name for name in ("sympy", "torch._inductor", "torch._dynamo") if name in sys.modules])
"""


@pytest.mark.parametrize("layout", ["native", "hf-gelu"])
def test_loading_does_not_import_the_torch_compiler(
    tiny_path: Path, tmp_path: Path, layout: str
) -> None:
    """Some operations on meta tensors import it, which takes 1.5 s."""
    path = tiny_path
    if layout != "native":
        path = unpack(layout, tmp_path) / "tiny"

    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(path)], capture_output=True, text=True, timeout=60
    )

    assert done.stdout == "[]\n", done.stderr
