"""Values that are wrong for most parameters, and valid arguments of every public callable."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

import zeroshot
from tests.test_public_api import public

LONG = 20_000  # characters; no file name, label or model name is that long
ROLES = ("get", "labels", "wnids")  # functions of zeroshot.prompts with arguments
SUBJECTS = ("Classifier", "ClipTokenizer", "Head", "Model", "Prediction", "Failure", "PromptSet")


def wrong_values(folder: Path) -> dict[str, Callable[[], Any]]:
    """Return functions that make a value, by its name; some values can be used up."""
    (folder / "empty").touch()
    (folder / "notes.txt").write_text("the first line\nthe second line\n")
    values: dict[str, Callable[[], Any]] = {
        "an iterator of numbers": lambda: iter([1, 2]),
        "an iterator of nothing": lambda: iter([]),
        "a closed file": lambda: closed(folder / "notes.txt"),
        "a text file": lambda: (folder / "notes.txt").open(encoding="utf-8"),
        "a tensor without values": lambda: torch.zeros(2, 3, device="meta"),
    }
    plain: dict[str, Any] = {
        "None": None,
        "0": 0,
        "-1": -1,
        "3.5": 3.5,
        "nan": float("nan"),
        "a number above every limit": 2**70,
        "True": True,
        "''": "",
        "a space": " ",
        "long text": "a" * LONG,
        "many words": "cat " * (LONG // 4),
        "a long path": "/" + "folder/" * 500,
        "the home of nobody": "~no-such-user/folder",
        "NUL": "\0",
        "text with NUL": "a\0b",
        "text of an invalid byte": "\udc80",
        "half a character": "\ud800",
        "a slot": "{}",
        "bytes": b"cat",
        "no bytes": b"",
        "an object": object(),
        "[]": [],
        "[None]": [None],
        "[1]": [1],
        "['']": [""],
        "['cat', 'cat']": ["cat", "cat"],
        "[long text]": ["a" * LONG],
        "nested lists": [[["cat"]], [[]]],
        "()": (),
        "{}": {},
        "{1: 2}": {1: 2},
        "{'cat': None}": {"cat": None},
        "{'cat': 5}": {"cat": 5},
        "a set": {"cat", "dog"},
        "a function": lambda *_: None,
        "a class": int,
        "a module": np,
        "an exception": ValueError("wrong"),
        "a numpy integer": np.int64(3),
        "a numpy float": np.float32(0.5),
        "a numpy bool": np.bool_(True),
        "an array without shape": np.array(5),
        "an array of nothing": np.zeros(0),
        "an array": np.zeros((2, 3)),
        "an array of NaN": np.full((2, 16), np.nan, np.float32),
        "an array of text": np.array(["cat", "dog"]),
        "an array of objects": np.array([None, object()]),
        "complex numbers": np.zeros((2, 16), np.complex64),
        "a tensor": torch.zeros(2, 3),
        "a tensor of nothing": torch.zeros(0),
        "a number as tensor": torch.tensor(3),
        "a sparse tensor": torch.eye(16).to_sparse(),
        "a dtype": torch.float64,
        "a device": torch.device("cuda:77"),
        "a missing file": folder / "missing.bin",
        "a file in a missing folder": folder / "missing" / "file.bin",
        "a folder": folder,
        "an empty file": folder / "empty",
        "a file of text": folder / "notes.txt",
        "a file in a file": folder / "notes.txt" / "file.bin",
        "a sample": zeroshot.Sample("key", b""),
    }
    return values | {name: (lambda value=value: value) for name, value in plain.items()}


def closed(path: Path) -> Any:
    file = path.open("rb")
    file.close()
    return file


def callables() -> list[str]:
    """List the public callables that have parameters, by name."""
    names = [name for name, _ in public()] + [f"prompts.{role}" for role in ROLES]
    names += ["Sample", *SUBJECTS]
    return sorted(name for name in names if not name.startswith("Tokenizer.") and parameters(name))


def parameters(name: str) -> dict[str, inspect.Parameter]:
    """Return the parameters of a public callable, without self."""
    signature = inspect.signature(_find(zeroshot, name))
    return {key: p for key, p in signature.parameters.items() if key not in ("self", "cls")}


def bound(name: str, subjects: Mapping[str, Any]) -> Callable[..., Any]:
    """Return a public callable: a method of one of the subjects, a class or a function."""
    owner, _, attribute = name.partition(".")
    found: Callable[..., Any] = (
        _find(subjects[owner], attribute)
        if owner in subjects and attribute
        else _find(zeroshot, name)
    )
    return found


def _find(owner: Any, name: str) -> Any:
    for part in name.split("."):
        owner = getattr(owner, part)
    return owner


def outcome(function: Callable[..., Any], arguments: Mapping[str, Any]) -> str:
    """Call a function and use up its result; return what is wrong with its error, or ""."""
    try:
        result = function(**arguments)
        if isinstance(result, Iterator):
            list(result)
    except zeroshot.ZeroshotError as error:
        return "" if len(str(error)) < 600 else f"{len(str(error))} characters: {error!s:.200}"
    except Exception as error:
        return f"{type(error).__name__}: {error!s:.200}"
    return ""
