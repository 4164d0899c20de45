"""`zeroshot label`: options, messages and exit codes."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest
from PIL import Image

import zeroshot
from tests.bulk.support import contents
from zeroshot.bulk import folder as parts
from zeroshot.bulk.output import Output
from zeroshot.cli import label as label_command

LABELS = ("--labels", "cat,dog")


@pytest.fixture(autouse=True)
def workplace(photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with seven photographs in `photos`."""
    monkeypatch.chdir(tmp_path)


def rows(folder: str = "out") -> list[dict[str, Any]]:
    """Return the rows of a table."""
    return list(Output.open(folder).rows())


def test_every_image_becomes_a_row(run: Any) -> None:
    result = run("label", "photos", "--out", "out", *LABELS)

    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("out: 7 rows, ")
    assert [row["source"] for row in rows()] == [f"photos/{n}.png" for n in range(7)]


def test_the_command_and_the_function_write_the_same_bytes(run: Any, tiny: zeroshot.Model) -> None:
    run("label", "photos", "--out", "out", *LABELS, "--top", 1, "--part-rows", 3)
    zeroshot.label("photos", "other", labels=["cat", "dog"], model=tiny, top=1, part_rows=3)

    assert contents(Path("out")) == contents(Path("other"))


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_every_format_is_written(form: str, run: Any) -> None:
    assert run("label", "photos", "--out", "out", *LABELS, "--format", form).exit_code == 0

    assert len(rows()) == 7
    assert [part.path.suffix for part in Output.open("out").parts()] == [f".{form}"]


def test_options_reach_the_table(run: Any) -> None:
    Path("list.csv").write_text("file,who\nphotos/0.png,ann\nphotos/1.png,ben\n")
    words = ("--column", "file", "--keep", "who", "--scores", "all", "--embeddings", "--dedupe")

    result = run("label", "list.csv", "--out", "out", *LABELS, *words, "--none", "--limit", 1)

    assert result.exit_code == 0, result.output
    (row,) = rows()
    assert row["who"] == "ann"
    assert len(row["scores"]) == 2
    assert len(row["embedding"]) == Output.open("out").run["dim"]


def test_paths_come_from_standard_input(run: Any) -> None:
    result = run("label", "-", "--out", "out", *LABELS, stdin="photos/3.png\nphotos/1.png\n")

    assert result.exit_code == 0, result.output
    assert [row["source"] for row in rows()] == ["photos/3.png", "photos/1.png"]
    twice = run("label", "-", "--out", "out", "--labels", "-", stdin="photos/3.png\n")
    assert twice.exit_code == 2
    assert "got - for both" in twice.stderr


def test_a_head_labels_with_its_model(run: Any, tiny: zeroshot.Model) -> None:
    tiny.head(["sun", "moon"]).save("head.safetensors")

    assert run("label", "photos", "--out", "out", "--head", "head.safetensors").exit_code == 0
    assert {row["label"] for row in rows()} <= {"sun", "moon"}
    refused = run("label", "photos", "--out", "o", "--head", "head.safetensors", *LABELS)
    assert refused.exit_code == 2
    assert "expected no --labels with --head" in refused.stderr


@pytest.mark.filterwarnings("ignore:.*calibration images")
def test_a_calibrated_head_may_give_no_answer(
    run: Any, tiny: zeroshot.Model, tiny_path: Path
) -> None:
    for number in range(20):
        path = Path("truth") / ("cat" if number % 2 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
    tiny.head(["cat", "dog"]).save("plain.safetensors")
    words = ("--head", "plain.safetensors", "--output", "head.safetensors")
    calibrated = run("calibrate", "truth", *words, "--model", tiny_path)
    assert calibrated.exit_code == 0, calibrated.output

    result = run(
        "label", "photos", "--out", "out", "--head", "head.safetensors", "--below", "0.999"
    )

    assert result.exit_code == 0, result.output
    assert "Note: " in result.stderr
    assert {row["label"] for row in rows()} == {None}
    refused = run("label", "photos", "--out", "o", *LABELS, "--error", "0.1")
    assert refused.exit_code == 2
    assert "expected a calibrated --head with --error" in refused.stderr


def test_a_dry_run_needs_no_labels_and_writes_nothing(run: Any) -> None:
    Path("photos/notes.txt").write_text("")

    result = run("label", "photos", "--out", "out", "--dry-run", "--model", "missing")

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("photos: folder, 7 images; about 0.4 kB of output")
    assert not Path("out").exists()


def test_quiet_prints_errors_only(run: Any) -> None:
    assert run("label", "photos", "--out", "out", *LABELS, "-q").stderr == ""
    Path("photos/3.png").write_bytes(b"garbage")
    result = run("label", "photos", "--out", "new", *LABELS, "-q")
    assert result.stderr == "1 of 7 rows have an error: not_image 1\n"


def test_error_rows_have_exit_code_3_also_when_nothing_is_left_to_do(run: Any) -> None:
    Path("photos/3.png").write_bytes(b"garbage")
    words = ("label", "photos", "--out", "out", *LABELS)

    codes = [run(*words).exit_code, run(*words).exit_code]

    assert codes == [3, 3]
    assert [row["error_kind"] for row in rows()].count("not_image") == 1


def test_errors_that_passed_are_retried(run: Any) -> None:
    words = ("label", "list.csv", "--out", "out", *LABELS)
    Path("list.csv").write_text("path\nphotos/0.png\nlate.png\n")
    assert run(*words).exit_code == 3
    Path("late.png").write_bytes(Path("photos/1.png").read_bytes())
    assert run(*words).exit_code == 3

    other, default = (run(*words, *more) for more in (["--retry-errors=io"], ["--retry-errors"]))

    assert (other.exit_code, default.exit_code) == (3, 0)
    assert [row["error_kind"] for row in rows()] == [None, None]


def test_too_many_errors_stop_a_run_with_exit_code_3(run: Any) -> None:
    for number in range(7):
        Path(f"photos/{number}.png").write_bytes(b"garbage")

    result = run("label", "photos", "--out", "out", *LABELS, "--max-errors", "2")

    assert result.exit_code == 3
    assert "more than --max-errors 2" in result.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--labels", "cat,bird"], "a run with labels cat, dog, got cat, bird"),
        ([*LABELS, "--top", "1"], "a run with top 5, got 1"),
        ([*LABELS, "--part-rows", "9"], "a run with --part-rows 4096, got 9"),
        ([*LABELS, "--none"], "a run with no --none, got --none"),
        ([*LABELS, "--prompts", "a {}."], "a run with templates"),
        ([*LABELS, "--dedupe"], "a run with no dedupe, got dedupe; use"),
    ],
)
def test_a_refused_resume_names_what_differs(words: list[str], expected: str, run: Any) -> None:
    assert run("label", "photos", "--out", "out", *LABELS).exit_code == 0
    before = contents(Path("out"))

    result = run("label", "photos", "--out", "out", *words)

    assert result.exit_code == 2
    assert expected in result.stderr
    assert "or --force to start over" in result.stderr
    assert contents(Path("out")) == before


def test_force_asks_before_it_deletes_a_table(run: Any) -> None:
    run("label", "photos", "--out", "out", *LABELS)
    words = ("label", "photos", "--out", "out", "--labels", "red,blue", "--force")

    refused = run(*words, stdin="n\n")

    assert refused.exit_code == 1
    assert "Delete the table in out?" in refused.stderr
    assert {row["label"] for row in rows()} <= {"cat", "dog"}
    assert run(*words, "--yes").exit_code == 0
    assert {row["label"] for row in rows()} <= {"red", "blue"}


def test_a_folder_that_another_process_writes_is_refused(run: Any) -> None:
    out = Path("out")
    out.mkdir()
    lock = {"host": parts.host(), "pid": os.getppid(), "id": "x"}
    (out / "_lock-1-of-1.json").write_text(json.dumps(lock))

    result = run("label", "photos", "--out", "out", *LABELS)

    assert result.exit_code == 2
    assert f"process {os.getppid()}" in result.stderr
    assert "with --shard 1/2 and --shard 2/2" in result.stderr


def test_a_folder_with_other_files_is_refused(run: Any) -> None:
    result = run("label", "photos", "--out", "photos", *LABELS)

    assert result.exit_code == 2
    assert "expected an empty folder" in result.stderr


def test_shards_share_a_folder(run: Any) -> None:
    words = ("label", "photos", "--out", "out", *LABELS, "--part-rows", 2)

    first, second = (run(*words, "--shard", f"{n}/2") for n in (1, 2))

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "parts of other shards are missing" in first.stderr
    assert "missing" not in second.stderr
    assert len(rows()) == 7


def test_a_missing_model_has_exit_code_4(run: Any) -> None:
    result = run("label", "photos", "--out", "out", *LABELS, "--model", "./missing.safetensors")

    assert result.exit_code == 4
    assert not Path("out").exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_has_exit_code_74_and_keeps_finished_parts(
    code: int, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("label", "photos", "--out", "out", *LABELS, "--part-rows", 2)
    write = parts._write

    def fail(temporary: Path, writer: Any) -> None:
        if "part-00000-000002" in temporary.name:
            raise OSError(code, os.strerror(code))
        write(temporary, writer)

    with monkeypatch.context() as patched:
        patched.setattr(parts, "_write", fail)
        result = run(*words)

    assert result.exit_code == 74
    assert os.strerror(code) in result.stderr
    assert len(contents(Path("out"))) >= 2
    assert run(*words).exit_code == 0
    assert len(rows()) == 7


def test_ctrl_c_stops_a_run_that_the_same_command_continues(
    run: Any, tiny_path: Path, subprocess_environment: dict[str, str]
) -> None:
    Path("many").mkdir()
    for copy in range(3000):
        os.link("photos/1.png", f"many/{copy:04}.png")
    words = ["label", "many", "--out", "out", *LABELS, "--part-rows", "32", "--dtype", "float32"]
    program = [sys.executable, "-m", "zeroshot", *words, "--model", str(tiny_path)]
    with subprocess.Popen(program, env=subprocess_environment, stderr=subprocess.PIPE) as child:
        end = time.monotonic() + 60
        while not list(Path("out").glob("part-*")) and time.monotonic() < end:
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        errors = child.communicate(timeout=60)[1].decode()

    assert child.returncode == 130, errors
    assert "of unfinished parts will be computed again" in errors
    assert "run the same command again" in errors
    before = contents(Path("out"))
    assert 0 < len(before) < 94
    assert list(Path("out").glob(".*")) == []
    assert run(*words).exit_code == 0
    after = contents(Path("out"))
    assert before.items() <= after.items()
    assert len(rows()) == 3000


def test_the_options_of_the_page_are_in_the_help(run: Any) -> None:
    text = run("label", "--help").stdout
    expected = {
        *("--out", "--labels", "--head", "--prompts", "--top", "--format", "--embeddings"),
        *("--scores", "--column", "--keep", "--fps", "--every", "--part-rows", "--shard"),
        *("--retry-errors", "--max-errors", "--dedupe", "--force", "--yes", "--limit"),
        *("--dry-run", "--none", "--below", "--error", "--model", "--device", "--quiet"),
    }

    assert [option for option in sorted(expected) if option not in text] == []
    options = [p for p in label_command.command.params if isinstance(p, click.Option)]
    assert [option.name for option in options if not option.help] == []


def test_an_unknown_kind_of_error_is_refused(run: Any) -> None:
    result = run("label", "--retry-errors", "photos", "photos", "--out", "out", *LABELS)

    assert result.exit_code == 2
    assert "expected --retry-errors as True or kinds of errors, got ['photos']" in result.stderr


def test_a_missing_package_has_exit_code_1_and_the_command_that_installs_it(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)

    for words in (["--format", "parquet"], ["--embeddings"]):
        result = run("label", "photos", "--out", "out", *LABELS, *words, "--model", "missing")

        assert result.exit_code == 1
        assert "pip install" in result.stderr
        assert "embeddings=True" not in result.stderr
        assert not Path("out").exists()


def test_new_files_in_a_folder_are_counted_and_a_complete_table_says_so(run: Any) -> None:
    words = ("label", "photos", "--out", "out", *LABELS)
    assert "already complete" not in run(*words).stderr
    assert run(*words).stderr == "out: 7 rows, already complete\n"
    Path("photos/new.png").write_bytes(Path("photos/0.png").read_bytes())

    result = run(*words)

    assert result.exit_code == 0
    assert "out: 7 rows, already complete" in result.stderr
    assert "Note: 1 new file in the folders ignored" in result.stderr
    assert "label new files into another folder" in result.stderr
    assert run(*words, "--quiet").stderr == ""


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_the_first_errors_are_named_with_what_may_pass(form: str, run: Any) -> None:
    names = ["photos/0.png", "gone.png", *(f"late{n}.png" for n in range(3))]
    Path("list.csv").write_text("\n".join(["path", *names]))

    result = run("label", "list.csv", "--out", "out", *LABELS, "--format", form, "--part-rows", 2)

    assert result.exit_code == 3
    assert "4 of 5 rows have an error: not_found 4\n" in result.stderr
    assert "first: gone.png, late0.png, late1.png\n" in result.stderr
    assert "to compute the rows of not_found again, add --retry-errors" in result.stderr


def test_a_retry_says_what_it_repaired_or_which_kinds_there_are(run: Any) -> None:
    Path("photos/1.png").write_bytes(b"garbage")
    Path("list.csv").write_text("path\nphotos/1.png\nlate.png\ngone.png\n")
    words = ("label", "list.csv", "--out", "out", *LABELS)
    assert "add --retry-errors" in run(*words).stderr
    Path("late.png").write_bytes(Path("photos/2.png").read_bytes())

    retried = run(*words, "--retry-errors")
    others = run(*words, "--retry-errors=io")

    assert "retried 2 rows with an error: 1 repaired" in retried.stderr
    assert "add --retry-errors" not in retried.stderr
    assert "retried no rows: none has an error of the kinds io; the table has" in others.stderr
    assert "pass --retry-errors=not_found,not_image" in others.stderr


def test_force_checks_the_folder_before_it_asks_and_a_dry_run_does_not_ask(run: Any) -> None:
    other = run("label", "photos", "--out", "photos", *LABELS, "--force")
    assert run("label", "photos", "--out", "out", *LABELS).exit_code == 0
    dry = run("label", "photos", "--out", "out", *LABELS, "--force", "--dry-run")

    assert other.exit_code == 2
    assert "expected an empty folder" in other.stderr
    assert "Delete" not in other.stderr
    assert (dry.exit_code, dry.stderr) == (0, "")
    assert len(rows()) == 7


def test_the_name_of_a_file_is_refused_for_the_table(run: Any) -> None:
    result = run("label", "photos", "--out", "labels.csv", *LABELS, "--model", "missing")

    assert result.exit_code == 2
    assert "--out labels.csv must be a folder" in result.stderr.replace("'", "")
    assert "`zeroshot merge labels labels.csv` writes one file" in result.stderr
    assert not Path("labels.csv").exists()
