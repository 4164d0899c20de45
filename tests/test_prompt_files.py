"""The shipped prompt sets have the structure that prompts/README.md describes."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

PROMPTS = Path(__file__).resolve().parents[1] / "prompts"
FIELDS = {
    "name",
    "title",
    "source",
    "license",
    "notes",
    "labels_from",
    "templates",
    "labels",
    "wnids",
}

# labels, templates: as published in openai/CLIP data/prompts.md and its ImageNet notebook
PUBLISHED = {
    "birdsnap": (500, 1),
    "caltech101": (102, 34),
    "cifar10": (10, 18),
    "cifar100": (100, 18),
    "clevrcounts": (8, 1),
    "country211": (211, 5),
    "dtd": (47, 8),
    "eurosat": (10, 3),
    "fer2013": (7, 6),
    "fgvcaircraft": (100, 2),
    "flowers102": (102, 1),
    "food101": (101, 1),
    "gtsrb": (43, 3),
    "hatefulmemes": (2, 1),
    "imagenet": (1000, 80),
    "imagenet7": (0, 7),
    "kinetics700": (700, 28),
    "kitti": (4, 1),
    "mnist": (10, 1),
    "oxfordpets": (37, 1),
    "patchcamelyon": (2, 1),
    "resisc45": (45, 18),
    "sst2": (2, 1),
    "stanfordcars": (196, 8),
    "stl10": (10, 2),
    "sun397": (397, 2),
    "ucf101": (101, 48),
    "voc2007": (20, 1),
}
OURS = {"photo"}


def read(stem: str) -> dict[str, Any]:
    return tomllib.loads((PROMPTS / f"{stem}.toml").read_text(encoding="utf-8"))


def synonyms(content: dict[str, Any]) -> list[list[str]]:
    return [[entry] if isinstance(entry, str) else entry for entry in content.get("labels", [])]


each_set = pytest.mark.parametrize("stem", sorted({path.stem for path in PROMPTS.glob("*.toml")}))


def test_exactly_the_published_sets_are_shipped() -> None:
    assert {path.stem for path in PROMPTS.glob("*.toml")} == PUBLISHED.keys() | OURS


@pytest.mark.parametrize("stem", sorted(PUBLISHED))
def test_numbers_of_labels_and_templates_equal_the_published_ones(stem: str) -> None:
    content = read(stem)
    assert (len(content.get("labels", [])), len(content["templates"])) == PUBLISHED[stem]


@each_set
def test_a_set_states_its_name_origin_and_license(stem: str) -> None:
    content = read(stem)
    assert content["name"] == stem
    assert all(content[field].strip() for field in ("title", "source", "license"))
    assert content.keys() <= FIELDS


@each_set
def test_every_template_is_unique_and_has_one_slot(stem: str) -> None:
    templates = read(stem)["templates"]
    assert templates
    assert all(template.count("{}") == 1 for template in templates)
    assert all(template == template.strip() for template in templates)
    assert len(set(templates)) == len(templates)


@each_set
def test_labels_are_clean_text_and_names_are_unique(stem: str) -> None:
    labels = synonyms(read(stem))
    assert all(labels), "a list of synonyms is empty"
    names = [name for entry in labels for name in entry]
    assert all(name and name == name.strip() and name.isprintable() for name in names)
    folded = Counter(" ".join(name.lower().split()) for name in names)
    assert [name for name, count in folded.items() if count > 1] == []


@each_set
def test_labels_from_refers_to_a_set_with_labels(stem: str) -> None:
    content = read(stem)
    if "labels_from" in content:
        assert "labels" not in content
        assert read(content["labels_from"])["labels"]


def test_duplicate_imagenet_names_are_disambiguated() -> None:
    content = read("imagenet")
    chosen = {index: content["labels"][index] for index in (657, 744, 836, 837)}
    assert chosen == {657: "missile", 744: "projectile", 836: "sunglass", 837: "sunglasses"}
    assert all(f'"{name}"' in content["notes"] for name in chosen.values())


def test_imagenet_has_one_wordnet_id_per_class_in_sorted_order() -> None:
    content = read("imagenet")
    assert len(content["wnids"]) == len(content["labels"])
    assert content["wnids"] == sorted(set(content["wnids"]))
    pairs = dict(zip(content["labels"], content["wnids"], strict=True))
    assert (pairs["tench"], pairs["projectile"]) == ("n01440764", "n04008634")


def test_the_seven_imagenet_templates_are_among_the_eighty() -> None:
    assert set(read("imagenet7")["templates"]) < set(read("imagenet")["templates"])


def test_emotions_have_the_published_synonyms() -> None:
    assert read("fer2013")["labels"] == [
        ["angry"],
        ["disgusted"],
        ["fearful"],
        ["happy", "smiling"],
        ["sad", "depressed"],
        ["surprised", "shocked", "spooked"],
        ["neutral", "bored"],
    ]


@pytest.mark.parametrize(
    ("stem", "index", "name"),
    [
        ("imagenet", 0, "tench"),
        ("imagenet", 134, "crane bird"),
        ("imagenet", 517, "construction crane"),
        ("imagenet", 999, "toilet paper"),
        ("birdsnap", 499, "Zone tailed Hawk"),
        ("kinetics700", 699, "zumba"),
        ("country211", 37, "Cote d'Ivoire"),
        ("flowers102", 11, "colt's foot"),
        ("oxfordpets", 12, "american bulldog"),
        ("sun397", 206, "jail cell"),
    ],
)
def test_a_label_is_at_its_class_index(stem: str, index: int, name: str) -> None:
    assert read(stem)["labels"][index] == name
