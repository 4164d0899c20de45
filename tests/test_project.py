"""Workflow, citation, container and metadata files agree with the package and its Makefile."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

import zeroshot
from zeroshot.cli import main

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
HOME = PROJECT["urls"]["Repository"]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.M))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*_*.yml"))
YAML_FILES = sorted(
    [
        *(ROOT / ".github").rglob("*.yml"),
        ROOT / "CITATION.cff",
        ROOT / ".pre-commit-config.yaml",
    ]
)
TEXT_FILES = [
    *YAML_FILES,
    *(ROOT / name for name in ("SECURITY.md", "Dockerfile", "docs/conf.py", "docs/quickstart.md")),
]


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def steps(workflow: Path) -> list[str]:
    """Return the commands of all jobs of a workflow."""
    jobs = read(workflow)["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "run" in step]


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.name)
def test_yaml_file_is_valid(path: Path) -> None:
    assert isinstance(read(path), dict)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_every_make_target_of_a_workflow_exists(workflow: Path) -> None:
    used = {word for run in steps(workflow) for word in re.findall(r"make ([a-z-]+)", run)}

    assert used
    assert used - TARGETS == set()


def test_every_make_target_is_described_and_phony() -> None:
    described = set(re.findall(r"^## \w.*\n([a-z][a-z-]*):", MAKEFILE, re.M))
    phony = " ".join(re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.M)).split()

    assert described == TARGETS
    assert sorted(phony) == sorted(TARGETS)


def test_ci_covers_the_python_versions_that_the_metadata_claims() -> None:
    claimed = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    matrix = read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["test"]["strategy"]["matrix"]

    assert matrix["python"] == claimed
    assert PROJECT["requires-python"] == f">={claimed[0]}"


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.name)
def test_issue_form_has_the_fields_that_github_requires(form: Path) -> None:
    content = read(form)
    fields = [field for field in content["body"] if field["type"] != "markdown"]

    assert content["name"]
    assert content["description"]
    assert {field["type"] for field in fields} <= {"textarea", "input", "dropdown", "checkboxes"}
    assert len({field["id"] for field in fields}) == len(fields)
    assert all(field["attributes"]["label"] for field in fields)


def test_bug_report_asks_for_a_command_that_exists() -> None:
    text = (ROOT / ".github" / "ISSUE_TEMPLATE" / "bug_report.yml").read_text("utf-8")

    assert "`zeroshot doctor --json`" in text
    assert "--json" in [option for p in main.commands["doctor"].params for option in p.opts]


def test_citation_has_the_version_and_license_of_the_package() -> None:
    citation = read(ROOT / "CITATION.cff")

    assert citation["version"] == zeroshot.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["repository-code"] == HOME
    assert citation["references"][0]["url"] == "https://arxiv.org/abs/2103.00020"


def test_project_urls_are_of_one_home_and_their_files_exist() -> None:
    urls = PROJECT["urls"]

    assert set(urls) == {"Repository", "Documentation", "Changelog", "Issues"}
    assert all(url.startswith(HOME) for url in urls.values())
    for url in urls.values():
        _, in_tree, path = url.partition("/blob/main/")
        assert not in_tree or (ROOT / path).is_file(), url


@pytest.mark.parametrize("path", TEXT_FILES, ids=lambda path: path.name)
def test_links_to_the_project_name_its_home(path: Path) -> None:
    found = re.findall(r"https://github\.com/zeroshot[\w.-]*/[\w.-]+", path.read_text("utf-8"))

    assert set(found) <= {HOME}


def test_dev_extra_includes_the_docs_extra() -> None:
    extras = PROJECT["optional-dependencies"]

    assert set(extras["docs"]) <= set(extras["dev"])


def test_pre_commit_runs_tools_of_the_dev_extra() -> None:
    tools = {re.split(r"[>=\[]", line)[0] for line in PROJECT["optional-dependencies"]["dev"]}
    hooks = [
        hook for repo in read(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]
    ]

    assert {hook["entry"].split()[0] for hook in hooks} == {"ruff", "mypy"} <= tools


# the container


def instructions() -> list[tuple[str, str]]:
    """List the Dockerfile's instructions and their arguments."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text("utf-8"), flags=re.M)
    lines = text.replace("\\\n", " ").splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line)]


def copied() -> list[str]:
    return [path for word, rest in instructions() if word == "COPY" for path in rest.split()[:-1]]


def test_dockerfile_copies_files_that_exist_and_are_not_ignored() -> None:
    ignore = (ROOT / ".dockerignore").read_text("utf-8").splitlines()

    assert [path for path in copied() if not (ROOT / path).exists()] == []
    assert [path for path in copied() if f"!{path}" not in ignore] == []


def test_dockerfile_copies_all_that_the_wheel_contains() -> None:
    hatch = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]
    needed = list(hatch["targets"]["wheel"]["sources"])
    needed += [PROJECT["readme"], *PROJECT["license-files"], "pyproject.toml"]

    assert [path for path in needed if path.split("/")[0] not in copied()] == []


def test_default_command_of_the_container_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    last = dict(instructions())

    assert json.loads(last["ENTRYPOINT"]) == ["zeroshot"]
    result = CliRunner().invoke(main, json.loads(last["CMD"]))
    assert result.exit_code == 0, result.output
    assert "cat" in result.stdout


def test_commands_in_the_comments_of_the_dockerfile_are_valid() -> None:
    text = re.sub(r"^# ?", "", (ROOT / "Dockerfile").read_text("utf-8"), flags=re.M)
    commands = re.findall(r"zeroshot +(classify .*)$", text.replace("\\\n", " "), re.M)

    assert commands
    for command in commands:
        name, *arguments = shlex.split(command)
        main.commands[name].make_context(name, arguments)
