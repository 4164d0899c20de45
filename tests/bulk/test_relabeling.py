"""New labels are applied to stored embeddings; rows, order and errors stay."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

import zeroshot
from tests.bulk import tables
from tests.bulk.test_rankings import HEADS, make_head, words
from zeroshot.bulk import relabeling as module
from zeroshot.bulk.fingerprint import digest
from zeroshot.bulk.folder import host
from zeroshot.bulk.output import Output
from zeroshot.bulk.relabeling import relabel
from zeroshot.errors import HeadMismatch, InputError, LabelError, MissingPackage, SaveError
from zeroshot.scoring import rank

SAME = ("row", "source", "width", "height", "bytes", "hash", "duplicate_of", "error", "album")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tables.write_table(tmp_path / "labels")
    return tmp_path / "labels"


def read(folder: Path) -> pa.Table:
    return pa.concat_tables(parquet.read_table(file) for file in sorted(folder.glob("part-*")))


@pytest.mark.parametrize("kind", HEADS)
def test_labels_are_those_that_the_head_gives(kind: str, tmp_path: Path) -> None:
    rows = tables.write_table(tmp_path / "labels")

    relabel(tmp_path / "labels", tmp_path / "new", head=HEADS[kind], top=3)

    table = read(tmp_path / "new").to_pylist()
    found = rank(HEADS[kind], torch.nn.functional.normalize(torch.from_numpy(rows)), top=3)
    assert len(table) == len(found) == 48
    for row, prediction in zip(table, found, strict=True):
        if row["error_kind"] is None:
            assert row["label"] == prediction.label
            assert row["labels"] == [name for name, _ in prediction.ranking]
            assert row["probability"] == pytest.approx(prediction.probability, rel=1e-3)
        else:
            assert row["label"] is row["probability"] is row["labels"] is None


def test_rows_errors_and_copied_columns_stay(folder: Path, tmp_path: Path) -> None:
    summary = relabel(folder, tmp_path / "new", head=make_head())

    old, new = read(folder), read(tmp_path / "new")
    assert new.select(SAME).equals(old.select(SAME))
    assert new.column("error_kind").to_pylist() == old.column("error_kind").to_pylist()
    assert "embedding" not in new.column_names
    assert summary.rows == 48
    assert summary.errors == {"truncated": new.column("error").drop_null().length()}
    assert Output.open(tmp_path / "new").is_complete


def test_relabeling_with_the_same_labels_from_the_model_repeats_the_table(
    tiny: zeroshot.Model, tmp_path: Path
) -> None:
    tables.write_table(tmp_path / "labels", dim=tiny.embed_dim, identity=tiny.identity)
    head = tiny.head(["cat", "dog"], "{}")

    relabel(tmp_path / "labels", tmp_path / "a", ["cat", "dog"], prompts="{}", model=tiny)
    relabel(tmp_path / "labels", tmp_path / "b", head)

    parts = [sorted((tmp_path / name).glob("part-*")) for name in "ab"]
    assert [file.read_bytes() for file in parts[0]] == [file.read_bytes() for file in parts[1]]


@pytest.mark.parametrize("options", [{}, {"none_of_these": True}], ids=["plain", "none"])
def test_relabeling_a_labeled_folder_with_its_own_labels_changes_nothing(
    options: dict[str, bool], tiny: zeroshot.Model, photos: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "photos" / "broken.png").write_bytes(b"\x89PNG no image")
    classifier = tiny.classifier(["dog", "cat", "boat"], "{}", **options)
    where = str(tmp_path / "photos")
    zeroshot.label(where, tmp_path / "a", classifier=classifier, embeddings=True, part_rows=3)

    relabel(
        tmp_path / "a",
        tmp_path / "b",
        ["dog", "cat", "boat"],
        prompts="{}",
        model=tiny,
        embeddings=True,
        **options,
    )

    old, new = read(tmp_path / "a"), read(tmp_path / "b")
    assert (old.num_rows, old.column("error").null_count) == (8, 7)
    assert new.schema.remove_metadata().equals(old.schema.remove_metadata())
    for name in old.column_names:
        if name in ("probability", "probabilities"):
            pairs = zip(new[name].to_pylist(), old[name].to_pylist(), strict=True)
            assert all(a == b or a == pytest.approx(b, abs=2e-3) for a, b in pairs)
        else:
            assert new[name].to_pylist() == old[name].to_pylist()
    assert Output.open(tmp_path / "b").columns == Output.open(tmp_path / "a").columns
    runs = [Output.open(tmp_path / name).run for name in "ab"]
    assert runs[0] == runs[1]
    assert Output.open(tmp_path / "b").is_complete


def test_a_relabeled_folder_with_embeddings_is_relabeled_again(
    folder: Path, tmp_path: Path
) -> None:
    relabel(folder, tmp_path / "a", head=make_head(), embeddings=True, scores="all")
    relabel(tmp_path / "a", tmp_path / "b", head=make_head(2))

    first, second = read(tmp_path / "a"), read(tmp_path / "b")
    assert first.column("embedding").to_pylist() == read(folder).column("embedding").to_pylist()
    assert first.schema.field("scores").type == pa.list_(pa.float16(), 4)
    names = first.column_names
    assert names[names.index("error") :] == ["error", "scores", "embedding", "album"]
    assert "scores" not in second.column_names


def test_metadata_describe_the_new_labels(folder: Path, tmp_path: Path) -> None:
    relabel(folder, tmp_path / "new", head=make_head(2), top=1)

    run = Output.open(tmp_path / "new").run
    schema = parquet.read_schema(tmp_path / "new" / "part-00001-000002.parquet")
    facts = json.loads(schema.metadata[b"zeroshot.labels/1"])
    assert dict(facts["labels"]) == run["labels"] == {n: [n] for n in ("label 0", "label 1")}
    assert (facts["source"], facts["chunk"], facts["last"]) == (1, 2, True)
    assert facts["top"] == run["top"] == 1
    assert facts["fingerprint"] == digest(run["fingerprint"])


def test_many_labels_are_a_digest_in_the_metadata_of_parts(folder: Path, tmp_path: Path) -> None:
    relabel(folder, tmp_path / "new", head=make_head(4000))

    schema = parquet.read_schema(tmp_path / "new" / "part-00000-000000.parquet")
    assert len(json.loads(schema.metadata[b"zeroshot.labels/1"])["labels"]) == 64
    assert len(Output.open(tmp_path / "new").run["labels"]) == 4000


def test_an_interrupted_call_is_continued_with_equal_files(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    relabel(folder, tmp_path / "whole", head=make_head())
    done: list[Path] = []

    def fail(table: Any, file: Path) -> None:
        if len(done) >= 2:
            raise KeyboardInterrupt
        done.append(file)
        write(table, file)

    write = module.write_part
    monkeypatch.setattr(module, "write_part", fail)
    with pytest.raises(KeyboardInterrupt):
        relabel(folder, tmp_path / "new", head=make_head())
    monkeypatch.setattr(module, "write_part", write)
    assert not (tmp_path / "new" / "_SUCCESS.json").exists()

    relabel(folder, tmp_path / "new", head=make_head())

    for file in (tmp_path / "whole").glob("part-*"):
        assert (tmp_path / "new" / file.name).read_bytes() == file.read_bytes()
    assert not list((tmp_path / "new").glob(".*"))


def test_temporary_files_of_a_killed_call_are_removed(folder: Path, tmp_path: Path) -> None:
    relabel(folder, tmp_path / "new", head=make_head())
    for pid in (2**30, os.getpid()):
        (tmp_path / "new" / f".part-00000-000001.parquet.{host()}.{pid}").write_bytes(b"PAR1")

    relabel(folder, tmp_path / "new", head=make_head())

    assert [file.suffix for file in (tmp_path / "new").glob(".*")] == [f".{os.getpid()}"]


def test_a_part_that_changed_is_relabeled_again(folder: Path, tmp_path: Path) -> None:
    relabel(folder, tmp_path / "new", head=make_head())
    tables.write_table(tmp_path / "other", bad=100)  # the rows with errors were computed again
    for file in (tmp_path / "other").glob("part-*"):
        os.replace(file, folder / file.name)

    summary = relabel(folder, tmp_path / "new", head=make_head())

    assert summary.errors == {}
    assert read(tmp_path / "new").column("label").null_count == 0


def test_other_labels_in_the_same_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    relabel(folder, tmp_path / "new", head=make_head())

    with pytest.raises(InputError, match="with other labels; choose a new folder"):
        relabel(folder, tmp_path / "new", head=make_head(3))
    with pytest.raises(InputError, match="with other head; choose"):
        relabel(folder, tmp_path / "new", head=make_head(inverse_temperature=0.5))


REFUSED: dict[str, tuple[Callable[[Path, Path], Any], str]] = {
    "the same folder": (lambda old, _: relabel(old, old, head=make_head()), "or inside it"),
    "inside": (lambda old, _: relabel(old, old / "new", head=make_head()), "or inside it"),
    "neither": (lambda old, new: relabel(old, new), "either labels or head"),
    "both": (lambda old, new: relabel(old, new, ["a"], head=make_head()), "either labels or head"),
    "top": (lambda old, new: relabel(old, new, head=make_head(), top=0), "top=0"),
    "scores": (lambda old, new: relabel(old, new, head=make_head(), scores="x"), "scores='x'"),  # type: ignore[arg-type]
    "no table": (lambda old, new: relabel(old / "x", new, head=make_head()), "x"),
    "too many scores": (
        lambda old, new: relabel(old, new, head=make_head(10_001), scores="all"),
        "at most 10,000 labels",
    ),
    "independent": (
        lambda old, new: relabel(
            old, new, head=make_head(scoring="independent", background=words())
        ),
        "whole images only",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_arguments_are_refused_before_anything_is_written(
    case: str, folder: Path, tmp_path: Path
) -> None:
    call, message = REFUSED[case]

    with pytest.raises(InputError, match=message) as caught:
        call(folder, tmp_path / "new")

    assert len(str(caught.value)) < 600
    assert not (tmp_path / "new").exists()


def test_a_head_or_model_of_another_identity_is_refused(
    tiny: zeroshot.Model, folder: Path, tmp_path: Path
) -> None:
    tiny.head(["cat", "dog"]).save(tmp_path / "pets.safetensors")

    with pytest.raises(HeadMismatch, match=r"pets\.safetensors: expected a head of the model"):
        relabel(folder, tmp_path / "new", head=tmp_path / "pets.safetensors")
    with pytest.raises(HeadMismatch, match="expected the model of the table, 'mini'"):
        relabel(folder, tmp_path / "new", ["cat"], model=tiny)
    with pytest.raises(LabelError):
        relabel(folder, tmp_path / "new", "cat", model=tiny)


def test_a_table_without_embeddings_is_refused(tmp_path: Path) -> None:
    tables.write_table(tmp_path / "labels", dim=None)

    with pytest.raises(InputError, match="expected a table with embeddings"):
        relabel(tmp_path / "labels", tmp_path / "new", head=make_head())


def test_missing_parts_are_refused_unless_allowed(folder: Path, tmp_path: Path) -> None:
    (folder / "part-00000-000001.parquet").unlink()

    with pytest.raises(InputError, match="the table lacks 1 part"):
        relabel(folder, tmp_path / "new", head=make_head())

    summary = relabel(folder, tmp_path / "new", head=make_head(), allow_gaps=True)
    assert summary.rows == 38
    assert not Output.open(tmp_path / "new").is_complete


def test_a_folder_with_other_files_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "notes.txt").write_text("mine")

    with pytest.raises(InputError, match=r"other files, such as 'notes\.txt'"):
        relabel(folder, tmp_path / "new", head=make_head())
    with pytest.raises(InputError, match="is a file"):
        relabel(folder, tmp_path / "new" / "notes.txt", head=make_head())
    assert os.listdir(tmp_path / "new") == ["notes.txt"]


@pytest.mark.parametrize("damage", ["cut", "other dimension", "no embeddings"])
def test_a_damaged_part_is_named(damage: str, folder: Path, tmp_path: Path) -> None:
    part = folder / "part-00001-000001.parquet"
    if damage == "cut":
        part.write_bytes(part.read_bytes()[:-1000])
    else:
        tables.write_table(tmp_path / "other", dim=4 if damage == "other dimension" else None)
        part.write_bytes((tmp_path / "other" / part.name).read_bytes())

    with pytest.raises(InputError, match=r"part-00001-000001\.parquet"):
        relabel(folder, tmp_path / "new", head=make_head())
    assert not (tmp_path / "new" / "_SUCCESS.json").exists()


def test_a_full_disk_keeps_finished_parts(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(table: Any, file: Path) -> None:
        if "part-00001-000002" in file.name:
            raise OSError(28, "No space left on device")
        write(table, file)

    write = module.write_part
    monkeypatch.setattr(module, "write_part", fail)

    with pytest.raises(SaveError, match="No space left"):
        relabel(folder, tmp_path / "new", head=make_head())
    names = sorted(os.listdir(tmp_path / "new"))
    assert [name for name in names if name.startswith(".")] == []
    assert len(names) == 6  # five parts and _run.json


def test_without_pyarrow_the_command_to_install_it_is_shown(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)

    with pytest.raises(MissingPackage, match="pip install"):
        relabel(folder, tmp_path / "new", head=make_head())


def test_a_call_that_was_killed_before_it_described_the_table_continues(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / f"_inputs-00000-{'a' * 16}.parquet").write_bytes(b"")
    (out / "_end-00001.json").write_text("{}")

    assert relabel(folder, out, head=make_head()).is_complete
    (out / "_run.json").unlink()
    with pytest.raises(InputError, match="contains other files, such as '_SUCCESS"):
        relabel(folder, out, head=make_head())
