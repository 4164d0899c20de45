"""`zeroshot models` lists the catalog and filters it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import zeroshot
from zeroshot import catalog
from zeroshot.cli import main
from zeroshot.cli.models import RECOMMENDED


def run_models(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["models", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def listed(*arguments: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(run_models("--json", *arguments))
    return entries


def test_models_lists_every_name(run: Any) -> None:
    result = run("models", "--all")
    assert result.exit_code == 0
    first = {line.split("  ")[0].strip() for line in result.stdout.splitlines()}
    assert set(zeroshot.available_models()) <= first


def test_models_as_json_is_a_list_of_facts(run: Any) -> None:
    facts = json.loads(run("models", "--json").stdout)
    assert [f["name"] for f in facts] == zeroshot.available_models()
    assert {"repository", "license", "embed_dim"} <= facts[0].keys()


def test_the_table_has_a_line_for_every_model() -> None:
    lines = run_models("--all").splitlines()

    assert max(map(len, lines)) <= 100  # fits a terminal
    assert [line.split("  ")[0] for line in lines[1 : 1 + len(catalog.entries())]] == (
        catalog.available_models()
    )


def test_a_row_lists_size_accuracy_speed_license_and_language() -> None:
    (line,) = (line for line in run_models("-a").splitlines() if line.startswith("ViT-B-16:dfn2b "))

    cells = [cell.strip() for cell in line.split("  ") if cell.strip()]

    assert cells == ["ViT-B-16:dfn2b", "598 MB", "224", "76.2%", "fast", "Apple", "en"]


def test_the_embedded_model_is_marked_as_a_demo_model() -> None:
    assert "mini: demo model in the package, limited to ImageNet-like objects" in run_models()


def test_models_can_be_filtered_by_family() -> None:
    assert {entry["family"] for entry in listed("--family", "dfn")} == {"dfn"}
    assert len(listed("--family", "openai")) == 9


def test_models_can_be_filtered_by_size_and_accuracy() -> None:
    found = listed("--max-params", "160", "--min-accuracy", "70")

    assert found
    assert all(e["parameters"] <= 160 and e["accuracy"] >= 70 for e in found)
    assert len(found) < len(listed("--min-accuracy", "70"))


def test_search_covers_names_aliases_and_repositories() -> None:
    assert [entry["name"] for entry in listed("--search", "CLIP-VIT-H-14-LAION")] == [
        "ViT-H-14:laion2b_s32b_b79k"
    ]
    assert "ViT-B/32" in [entry["name"] for entry in listed("--search", "openai/clip-vit-base")]


def test_json_output_has_every_field() -> None:
    (entry,) = listed("ViT-L-14:laion2b")

    assert entry["repository"] == "laion/CLIP-ViT-L-14-laion2B-s32B-b82K"
    assert entry["preprocess"] == {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    assert entry["speed"] == "medium"


def test_a_single_model_is_shown_in_full() -> None:
    facts = dict(line.split(maxsplit=1) for line in run_models("ViT-B/32").splitlines())

    assert facts["repository"] == "timm/vit_base_patch32_clip_224.openai"
    assert facts["mirrors"] == "openai/clip-vit-base-patch32"
    assert facts["activation"] == "quick_gelu"
    assert "revision" not in facts  # unknown facts are omitted


def test_no_matching_model_is_reported_with_exit_code_0() -> None:
    result = CliRunner().invoke(main, ["models", "--min-accuracy", "99"])

    assert result.exit_code == 0
    assert "no model matches" in result.stderr


def test_models_can_be_filtered_by_language_license_and_download() -> None:
    found = listed("--multilingual", "--license", "commercial", "--max-size", "2GB")

    names = {entry["name"] for entry in found}
    assert {"ViT-B-16-SigLIP2:webli", "ViT-B-16-SigLIP-i18n-256:webli"} <= names
    assert all(e["multilingual"] and e["usage"] == "commercial" for e in found)
    assert all(e["megabytes"] <= 2000 for e in found)
    assert {e["license"] for e in listed("--license", "research")} == {"Apple", "CC-BY-NC-4.0"}
    assert len(listed("--license", "any")) == len(catalog.entries())


@pytest.mark.parametrize(
    ("size", "megabytes"), [("500MB", 500), ("1.5 GB", 1500), ("2gb", 2000), ("900kB", 0.9)]
)
def test_sizes_have_decimal_units(size: str, megabytes: float) -> None:
    found = listed("--max-size", size)

    assert [e["name"] for e in found] == [
        e["name"] for e in listed() if e["megabytes"] is not None and e["megabytes"] <= megabytes
    ]


@pytest.mark.parametrize("size", ["500", "two GB", "-1GB", "", "1TB", "9" * 5000])
def test_a_wrong_size_is_an_error_that_says_how_to_write_it(size: str) -> None:
    result = CliRunner().invoke(main, ["models", "--max-size", size])

    assert result.exit_code == 2
    assert "such as 500MB or 1.5GB" in result.stderr
    assert len(result.stderr) < 700


def test_a_search_for_an_unsupported_family_names_another_model() -> None:
    result = CliRunner().invoke(main, ["models", "--search", "nllb"])

    assert "NLLB-CLIP, a multilingual text encoder is not supported; try 'siglip2" in result.stderr


def test_facts_name_license_languages_and_the_extra() -> None:
    siglip, meta = run_models("siglip2"), run_models("metaclip2")

    assert re.search(r"^languages +multilingual$", siglip, re.M)
    assert "requires pip install 'zeroshot-clip[tokenizers]'" in siglip
    assert re.search(r"^license +CC-BY-NC-4.0, permits non-commercial use only$", meta, re.M)
    assert re.search(r"^download +7.4 GB$", meta, re.M)
    assert "model_cfg" not in run_models("xlm-roberta-base")


def test_facts_say_whether_the_config_file_decides() -> None:
    says = r"^activation +gelu_tanh, unless its config says otherwise$"

    assert re.search(says, run_models("siglip2"), re.M)
    assert re.search(r"^activation +quick_gelu$", run_models("ViT-B/32"), re.M)
    assert re.search(r"^activation +gelu$", run_models("mini"), re.M)


def test_a_family_is_referred_to_its_list() -> None:
    result = CliRunner().invoke(main, ["models", "dfn"])

    assert result.exit_code == 4
    assert "`zeroshot models --family dfn` lists them" in result.stderr


@pytest.mark.parametrize("name", ["someone/finetuned", "./none.safetensors", "xyz"])
def test_a_name_like_no_other_is_referred_to_the_list(name: str) -> None:
    result = CliRunner().invoke(main, ["models", name])

    assert result.exit_code == 4
    assert result.stderr.endswith("to list its names, run `zeroshot models`\n")


def test_an_unknown_name_gets_a_suggestion_and_exit_code_4() -> None:
    result = CliRunner().invoke(main, ["models", "ViT-B/23"])

    assert result.exit_code == 4
    assert "did you mean 'ViT-B/32'?" in result.stderr


def test_recommended_models_are_listed_first() -> None:
    lines = run_models().splitlines()
    names = [line.split("  ")[0] for line in lines[1 : 1 + len(RECOMMENDED)]]

    assert names == list(RECOMMENDED)
    assert f"{len(RECOMMENDED)} recommended models; `zeroshot models --all` lists all" in lines[-1]
    assert max(map(len, lines)) <= 100  # fits a terminal
    assert len(run_models("--family", "dfn").splitlines()) > 3


def test_recommended_models_are_those_of_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "weights.md").read_text("utf-8")
    table = page.partition("## How to choose")[2].partition("ImageNet accuracy is")[0]
    named = set(re.findall(r"`([^`]+)`", table))

    assert named == {*RECOMMENDED}


def test_cached_models_are_marked(hub_cache: Path) -> None:
    def size(name: str) -> str:
        (line,) = (each for each in run_models().splitlines() if each.startswith(f"{name}  "))
        return line.removeprefix(name).strip().partition("  ")[0]

    assert "ViT-B/32: the default" in run_models()
    assert size("mini") == "package"
    assert size("ViT-B/32") == "605 MB"
    folder = hub_cache / "models--timm--vit_base_patch32_clip_224.openai" / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    (folder / "open_clip_model.safetensors").write_bytes(b"x")
    assert size("ViT-B/32") == "cached"
    mirror = hub_cache / "models--openai--clip-vit-base-patch16" / "snapshots" / ("0" * 40)
    mirror.mkdir(parents=True)
    (mirror / "model.safetensors").write_bytes(b"x")
    assert size("ViT-B/16") == "598 MB"  # loading this name downloads another repository
