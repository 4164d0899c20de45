"""Kinds of towers are told apart in two tables only: no code branches on them elsewhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import zeroshot

SOURCES = sorted(Path(zeroshot.__file__).parent.rglob("*.py"))
KINDS = {
    *("ViTConfig", "ResNetConfig", "ConSEConfig"),
    *("VisionTransformer", "ModifiedResNet", "ConSETower"),
    *("ConvNeXtConfig", "ConvNeXt", "FusedConvNeXt"),
    *("FastViTConfig", "FastViT", "FusedFastViT"),
    *("FastVisionTransformer", "FastResNet", "FastConSETower"),
}
KIND_NAMES = {"vit", "resnet", "concept", "convnext", "fastvit"}  # `kind` of the configs


def branches(source: str) -> Iterator[str]:
    """Yield every test for a kind of tower, with its line."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[_, kinds]):
                found = _names(kinds) & KINDS
            case ast.MatchClass(cls=kind):
                found = _names(kind) & KINDS
            case ast.Compare():
                parts = [node.left, *node.comparators]
                found = set().union(*map(_names, parts)) & KINDS
                if any(isinstance(part, ast.Attribute) and part.attr == "kind" for part in parts):
                    found |= set().union(*map(_texts, parts)) & KIND_NAMES
            case _:
                continue
        if found:
            yield f"line {node.lineno}: {', '.join(sorted(found))}"


def _names(node: ast.AST) -> set[str]:
    """Return the names and attributes in an expression."""
    inner = list(ast.walk(node))
    return {n.id for n in inner if isinstance(n, ast.Name)} | {
        n.attr for n in inner if isinstance(n, ast.Attribute)
    }


def _texts(node: ast.AST) -> set[str]:
    return {
        n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    }


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.parent.name + "/" + path.name)
def test_source_does_not_branch_on_the_kind_of_a_tower(path: Path) -> None:
    assert list(branches(path.read_text("utf-8"))) == []


def test_tables_list_every_kind_of_tower() -> None:
    from zeroshot.engine.cpu.towers import CPU_TOWERS
    from zeroshot.nn.network import TOWERS

    configs = {name for name in KINDS if name.endswith("Config")} | {"TextConfig", "BertConfig"}
    assert {config.__name__ for config in TOWERS} == configs
    assert {config.__name__ for config in CPU_TOWERS} == configs


@pytest.mark.parametrize(
    "line",
    [
        "isinstance(x, ViTConfig)",
        "isinstance(x, (TextConfig, spec.ResNetConfig))",
        "isinstance(x, ResNetConfig | ConSEConfig)",
        "not isinstance(tower, nn.VisionTransformer)",
        "type(x) is ViTConfig",
        "type(x) == ConSEConfig",
        "type(x) in (ViTConfig, ResNetConfig)",
        "match x:\n    case ViTConfig():\n        pass",
        "match x:\n    case spec.ResNetConfig(layers=n) if n:\n        pass",
        "config.kind == 'resnet'",
    ],
)
def test_check_detects_branches(line: str) -> None:
    assert list(branches(line))


@pytest.mark.parametrize(
    "line",
    [
        "TOWERS[type(config)](config, 3)",
        "TABLE = {ViTConfig: VisionTransformer}",
        "isinstance(x, TextConfig)",
        "error.kind == 'timeout'",
    ],
)
def test_check_accepts_lookups(line: str) -> None:
    assert list(branches(line)) == []
