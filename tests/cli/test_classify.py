"""`zeroshot classify` prints the same result as the library, in three formats."""

from __future__ import annotations

import csv
import errno
import importlib.util
import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

import zeroshot
from tests.support import json_lines, photograph
from zeroshot import progress
from zeroshot.cli import main

LABELS = "a cat,a dog, a car"


def test_a_ranking_is_printed_for_each_image(run: Any, photos: list[Path]) -> None:
    result = run("classify", *photos[:2], "--labels", LABELS)
    assert result.exit_code == 0
    tables = result.stdout.strip().split("\n\n")
    assert [t.splitlines()[0] for t in tables] == [str(p) for p in photos[:2]]
    for lines in tables:
        rows = [line.rsplit(maxsplit=1) for line in lines.splitlines()[1:]]
        assert {label.strip() for label, _ in rows} == {"a cat", "a dog", "a car"}
        shares = [float(share.rstrip("%")) for _, share in rows]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(100, abs=0.2)
    assert result.stderr == ""


def test_json_output_equals_the_library_result(
    run: Any, photos: list[Path], tiny: zeroshot.Model
) -> None:
    result = run("classify", *photos, "--labels", LABELS, "--json", "--top", "2")
    wanted = tiny.classifier(["a cat", "a dog", "a car"])(photos, top=2)
    assert json_lines(result) == [json.loads(json.dumps(p.to_dict())) for p in wanted]


def test_csv_has_a_row_for_each_label_shown(run: Any, photos: list[Path]) -> None:
    result = run("classify", *photos[:2], "missing, one.jpg", "-l", LABELS, "--csv", "-t", "2")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [(r["source"], r["rank"]) for r in rows] == [
        (str(photos[0]), "1"),
        (str(photos[0]), "2"),
        (str(photos[1]), "1"),
        (str(photos[1]), "2"),
        ("missing, one.jpg", ""),
    ]
    assert float(rows[0]["probability"]) >= float(rows[1]["probability"])
    assert "no such image file" in rows[4]["error"]
    assert "\r" not in result.stdout


@pytest.mark.parametrize("marked", [False, True])
def test_labels_are_read_from_a_file(
    marked: bool, run: Any, photos: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("a cat, sleeping\nein Käfer\n", "utf-8")
    result = run("classify", photos[0], "-l", f"@{path}" if marked else path, "--json")
    assert {r["label"] for r in json_lines(result)[0]["ranking"]} == {
        "a cat, sleeping",
        "ein Käfer",
    }


def test_labels_can_be_a_shipped_set(run: Any, photos: list[Path]) -> None:
    result = run("classify", photos[0], "-l", "cifar10", "-p", "cifar10", "-t", "99", "--json")
    assert {r["label"] for r in json_lines(result)[0]["ranking"]} == set(
        zeroshot.prompts.labels("cifar10")
    )


def test_many_inline_labels_are_not_treated_as_a_file_name(run: Any, photos: list[Path]) -> None:
    labels = ",".join(f"label number {n}" for n in range(400))
    result = run("classify", photos[0], "-l", labels, "--json")
    assert result.exit_code == 0
    assert len(json_lines(result)[0]["ranking"]) == 5


def test_prompts_can_be_a_template(run: Any, photos: list[Path], tiny: zeroshot.Model) -> None:
    result = run("classify", photos[0], "-l", LABELS, "--prompts", "a drawing of {}", "--json")
    wanted = tiny.classifier(["a cat", "a dog", "a car"], "a drawing of {}")(photos[:1])
    assert json_lines(result)[0]["probability"] == wanted[0].probability


def test_a_shipped_label_set_uses_its_own_templates(
    run: Any, photos: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "head.safetensors"

    result = run("classify", photos[0], "-l", "cifar10", "--save-head", path)

    assert result.exit_code == 0
    assert zeroshot.Head.load(path).prompts == "cifar10"


def test_a_saved_head_replaces_labels(
    run: Any, photos: list[Path], tiny: zeroshot.Model, tmp_path: Path
) -> None:
    tiny.head(["x", "y"]).save(tmp_path / "h.safetensors")
    result = run("classify", photos[0], "--head", tmp_path / "h.safetensors", "--json")
    assert {r["label"] for r in json_lines(result)[0]["ranking"]} == {"x", "y"}


def test_a_head_without_model_uses_the_model_that_built_it(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pets.safetensors"
    zeroshot.load("mini").head(["cat", "dog"]).save(path)
    monkeypatch.chdir(tmp_path)
    Path("mini").mkdir()  # a local folder of that name is not taken

    result = CliRunner().invoke(main, ["classify", str(photos[0]), "--head", str(path), "--json"])

    assert result.exit_code == 0, result.stderr
    assert json_lines(result)[0]["label"] == "cat"


@pytest.mark.parametrize("source", [None, "./model.pt", "/models/x", "~/model", "../a/b", "a.pt"])
def test_a_head_of_a_local_model_requires_a_model(
    source: str | None, tiny: zeroshot.Model, photos: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "h.safetensors"
    replace(tiny.head(["x", "y"]), source=source).save(path)

    result = CliRunner().invoke(main, ["classify", str(photos[0]), "--head", str(path)])

    assert result.exit_code == 2
    assert (
        f"expected --model, because {path} does not name a catalog model or a Hub repository; "
        "give the model that built the head" in result.stderr
    )


def test_a_repository_in_a_head_is_loaded(
    tiny: zeroshot.Model, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, loaded = tmp_path / "h.safetensors", []
    replace(tiny.head(["x", "y"]), source="someone/clip").save(path)
    monkeypatch.setattr(zeroshot, "load", lambda name, **_: loaded.append(name) or tiny)

    result = CliRunner().invoke(main, ["classify", str(photos[0]), "--head", str(path)])

    assert (result.exit_code, loaded) == (0, ["someone/clip"])


def test_save_head_overwrites_only_head_files(run: Any, photos: list[Path], tmp_path: Path) -> None:
    keep, head = tmp_path / "keep.jpg", tmp_path / "head.safetensors"
    keep.write_bytes(photos[0].read_bytes())

    refused = run("classify", photos[0], "-l", "a,b", "--save-head", keep)
    assert refused.exit_code == 2
    assert "keep.jpg exists and is not a head" in refused.stderr
    assert keep.read_bytes() == photos[0].read_bytes()

    for labels in ("a,b", "c,d"):
        assert run("classify", photos[0], "-l", labels, "--save-head", head).exit_code == 0
    assert zeroshot.Head.load(head).labels == ("c", "d")


def test_json_and_csv_together_are_rejected(run: Any, photos: list[Path]) -> None:
    assert run("classify", photos[0], "-l", "a,b", "--json", "--csv").exit_code == 2


def test_unreadable_images_are_reported_with_exit_code_3(
    run: Any, photos: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"junk")
    result = run("classify", photos[0], tmp_path / "bad.png", photos[1], "-l", LABELS, "--json")
    assert result.exit_code == 3
    assert [("label" in o) for o in json_lines(result)] == [True, False, True]
    assert "bad.png: expected an image, got text that begins with 'junk'" in result.stderr
    assert "1 of 3 images could not be read" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.usefixtures("one_model")
@pytest.mark.parametrize("charset", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_without_unicode_gets_a_result(
    charset: str, tiny_path: Path, photos: list[Path]
) -> None:
    words = ["classify", str(photos[0]), "-l", "Käfer,犬", "--model", str(tiny_path)]
    for layout in ([], ["--csv"], ["--json"]):
        result = CliRunner(charset=charset).invoke(main, [*words, *layout])
        assert result.exit_code == 0
    assert {r["label"] for r in json_lines(result)[0]["ranking"]} == {"Käfer", "犬"}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".CSV"])
def test_output_is_what_would_be_printed(
    suffix: str, run: Any, photos: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / f"out{suffix}"
    layout = "--json" if suffix == ".jsonl" else "--csv"

    result = run("classify", *photos, "-l", "Käfer,犬", "-o", path)

    assert (result.exit_code, result.stdout) == (0, "")
    printed = run("classify", *photos, "-l", "Käfer,犬", layout).stdout
    assert path.read_text("utf-8") == printed
    again = run("classify", *photos, "-l", "a,b", "--output", path)
    assert again.exit_code == 2
    assert "exists; use --force to replace it" in again.stderr
    assert run("classify", photos[0], "-l", "a,b", "-o", path, "--force", layout).exit_code == 0
    assert "Käfer" not in path.read_text("utf-8")


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["-o", "out.txt"], 2, "expected an --output file that ends in .csv or .jsonl"),
        (["-o", "out.csv", "--json"], 2, "got 'out.csv' with --json; rename it"),
        (["-o", "none/out.csv"], 74, "none: no such folder; create it first"),
        (["--csv", "out.csv"], 2, "use --output out.csv"),
    ],
)
def test_an_unusable_output_is_rejected_with_advice(
    options: list[str], code: int, says: str, run: Any, photos: list[Path]
) -> None:
    result = run("classify", photos[0], "-l", "a,b", *options)

    assert result.exit_code == code
    assert says in result.stderr


def test_output_is_written_whole_or_not_at_all(
    run: Any, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.csv"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run("classify", empty, "-l", "a,b", "-o", path).exit_code == 2
    assert not path.exists()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("zeroshot.labeling.sinks.Csv.write", full)
    result = run("classify", photos[0], "-l", "a,b", "-o", path)
    assert result.exit_code == 74
    assert result.stderr.startswith(f"Error: {path}: cannot write the file (No space left on dev")
    assert sorted(p.name for p in tmp_path.glob("*out*")) == []


def test_a_full_disk_names_the_head(
    run: Any, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    path = tmp_path / "h.safetensors"

    result = run("classify", photos[0], "-l", "a,b", "--save-head", path)

    assert result.exit_code == 74
    assert result.stderr.startswith(f"Error: {path}: cannot write the file (No space left on dev")


def test_repeated_labels_add_up(run: Any, photos: list[Path]) -> None:
    result = run("classify", photos[0], "-l", "cat", "-l", "dog, bird", "--json")

    assert {r["label"] for r in json_lines(result)[0]["ranking"]} == {"cat", "dog", "bird"}


def test_labels_with_the_same_tokens_need_allow_equal(run: Any, photos: list[Path]) -> None:
    words = ("classify", photos[0], "-l", "Cat,cat", "--json")

    refused = run(*words)

    assert refused.exit_code == 2
    assert "--allow-equal" in refused.stderr
    ranking = json_lines(run(*words, "--allow-equal"))[0]["ranking"]
    assert [entry["probability"] for entry in ranking] == pytest.approx([0.5, 0.5])


@pytest.mark.skipif(
    importlib.util.find_spec("pillow_heif") is None,
    reason="pillow_heif is not installed; pip install 'zeroshot-clip[heif]'",
)
def test_a_heic_file_is_read(run: Any, tmp_path: Path) -> None:
    from zeroshot.images import pillow_codecs

    pillow_codecs._register("HEIF", "x")
    path = tmp_path / "photo.heic"
    Image.fromarray(photograph()).save(path, "HEIF")
    result = run("classify", path, "--labels", LABELS)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"{path}\n")


def test_a_heic_file_without_the_extra_names_it(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(Image, "OPEN", {k: v for k, v in Image.OPEN.items() if k != "HEIF"})
    path = tmp_path / "photo.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    result = run("classify", path, "--labels", LABELS)
    assert result.exit_code == 3
    assert "HEIC images require an extra: pip install 'zeroshot-clip[heif]'" in result.stderr


def test_a_bar_appears_on_a_terminal_while_results_go_to_a_file(
    run: Any, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "DELAY", -1)
    monkeypatch.setattr(progress, "is_interactive", lambda: True)
    path = tmp_path / "out.csv"

    assert " images/s" in run("classify", *photos, "-l", "a,b", "-o", path).stderr
    quiet = run("classify", *photos, "-l", "a,b", "-o", path, "--force", "--quiet")

    assert quiet.stderr == ""
