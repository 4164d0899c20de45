"""The examples of docs/serve.md run against a real server, and its tables name what exists."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from zeroshot.cli import main

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "serve.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
ADDRESS = "http://127.0.0.1:8000"
LIBRARIES = {  # what an example imports: the request form that it needs
    "httpx": "native",
    "openai": "openai",
    "huggingface_hub": "huggingface",
}

needs_server = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("fastapi", "uvicorn", "python_multipart")),
    reason="the serve extra is not installed: pip install -e '.[serve]'",
)


def blocks(language: str, page: str = PAGE) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.M | re.S)


def commands(program: str) -> list[str]:
    """Return the documented commands of a program."""
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    return [line for line in lines if line.startswith(f"{program} ")]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start the documented server on a free port; it must stop with code 0."""
    (command,) = commands("zeroshot")
    errors = tmp_path_factory.mktemp("server") / "stderr"
    environment = {k: v for k, v in os.environ.items() if k != "ZEROSHOT_API_KEY"}
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", *shlex.split(command), "--port", "0"],
            cwd=ROOT,
            stderr=stderr,
            env=environment,
        )
    try:
        yield listening(process, errors)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, errors.read_text("utf-8")
    finally:
        process.kill()
        process.wait()


def listening(process: subprocess.Popen[bytes], errors: Path) -> str:
    """Return the address in the log of a server when it listens."""
    for _ in range(600):
        for line in errors.read_text("utf-8").splitlines():
            if '"listening"' in line:
                return str(json.loads(line)["url"])
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
            break
    raise AssertionError(errors.read_text("utf-8"))


@needs_server
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_commands_print_what_the_page_shows(address: str) -> None:
    printed = [
        subprocess.run(
            shlex.split(command.replace(ADDRESS, address)),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for command in commands("curl")
    ]

    *answers, metrics = printed
    first, several, head = (json.loads(text) for text in answers)
    (shown,) = (json.loads(block) for block in blocks("json"))
    assert shape(first) == shape(shown)
    assert first["results"][0]["label"] == shown["results"][0]["label"]
    assert [found["label"] for found in several["results"]] == ["cat", "boat"]
    assert head["results"][0]["label"] == "cat"
    assert 'zeroshot_requests_total{status="200"}' in metrics


@needs_server
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_readme_starts_the_same_server_and_its_request_is_answered(address: str) -> None:
    (block,) = (each for each in blocks("bash", README) if "zeroshot serve" in each)
    start, request = block.splitlines()
    assert start in commands("zeroshot")

    words = shlex.split(request.replace(ADDRESS, address))
    printed = subprocess.run(words, cwd=ROOT, capture_output=True, check=True).stdout

    assert json.loads(printed)["results"][0]["label"] == "cat"


def shape(value: Any) -> Any:
    """Return the names and types of JSON, without its values."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    return [shape(each) for each in value] if isinstance(value, list) else type(value)


@needs_server
@pytest.mark.parametrize("at", range(len(blocks("py"))))
def test_python_examples_run(at: int, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code = blocks("py")[at]
    for name, form in LIBRARIES.items():
        if f"import {name}" in code or f"from {name}" in code:
            pytest.importorskip(name, reason=f"{name} is not installed")
            needed = f"zeroshot.serving.dialects.{form}"
            pytest.importorskip(needed, reason=f"there is no request form of {form}")
    monkeypatch.chdir(ROOT)
    printed = io.StringIO()

    with contextlib.redirect_stdout(printed):
        exec(compile(code.replace(ADDRESS, address), "serve.md", "exec"), {})

    assert printed.getvalue().strip() in ("cat", "pet", "2")


@needs_server
@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_javascript_example_runs(address: str) -> None:
    (code,) = blocks("js")

    done = subprocess.run(
        ["node", "--input-type=module", "-e", code.replace(ADDRESS, address)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stdout) == (0, "cat\n"), done.stderr


def test_every_option_and_its_default_is_in_the_docs() -> None:
    reference = (ROOT / "docs" / "cli.md").read_text("utf-8")
    others = {name for each in main.commands["encode"].params for name in each.opts}

    for parameter in main.commands["serve"].params:
        (name,) = parameter.opts[:1]
        if name not in others:
            assert f"`{name}" in reference, name
            assert f"`{name}" in PAGE, name
        row = re.search(rf"^\| `{name}` \| (\S+) ", PAGE, re.M)
        if row and name != "--max-pixels":
            assert str(parameter.default).removesuffix(".0") == row[1], name


def test_server_commands_of_containers_are_valid() -> None:
    compose, pod = (yaml.safe_load(block) for block in blocks("yaml"))
    stage = DOCKERFILE.split(" AS serve\n")[1].split("\nFROM ")[0]
    (last,) = re.findall(r"^CMD (.*)$", stage, re.M)
    found = [json.loads(last), compose["services"]["zeroshot"]["command"]]
    found += [container["args"] for container in pod["containers"]]
    found += [
        line.split(" zeroshot-serve ")[1].split()
        for line in commands("docker run")
        if " zeroshot-serve " in line
    ]

    assert len(found) == 4
    for name, *arguments in found:
        assert name == "serve"
        assert "0.0.0.0" in main.commands[name].make_context(name, arguments).params.values()


def test_probes_and_ports_are_those_of_the_server() -> None:
    compose, pod = (yaml.safe_load(block) for block in blocks("yaml"))
    container, service = pod["containers"][0], compose["services"]["zeroshot"]
    drain = next(each.default for each in main.commands["serve"].params if each.name == "drain")

    paths = [container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness")]
    assert paths == ["/readyz", "/readyz"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert pod["terminationGracePeriodSeconds"] > drain
    assert float(service["stop_grace_period"].removesuffix("s")) > drain
    assert service["build"]["target"] == "serve"
    assert "/readyz" in DOCKERFILE
    assert service["ports"] == ["127.0.0.1:8000:8000"]
    assert "EXPOSE 8000" in DOCKERFILE
