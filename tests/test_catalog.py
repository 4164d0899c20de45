"""Names resolve to checkpoints, and the catalog contains the published values."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

from zeroshot import catalog, load
from zeroshot.checkpoint.weights import on_meta
from zeroshot.errors import ModelNotFound
from zeroshot.images.preprocess import Preprocess
from zeroshot.spec import (
    OPENAI_MEAN,
    OPENAI_STD,
    Activation,
    NetworkConfig,
    PreprocessConfig,
    Published,
    Spec,
    TextConfig,
    ViTConfig,
)

ROOT = Path(__file__).resolve().parents[1]
OPENAI = {  # file and sha256, of openai/CLIP clip/clip.py
    "RN50": ("RN50.pt", "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"),
    "RN101": ("RN101.pt", "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599"),
    "RN50x4": ("RN50x4.pt", "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd"),
    "RN50x16": ("RN50x16.pt", "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa"),
    "RN50x64": ("RN50x64.pt", "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c"),
    "ViT-B/32": ("ViT-B-32.pt", "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"),
    "ViT-B/16": ("ViT-B-16.pt", "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"),
    "ViT-L/14": ("ViT-L-14.pt", "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"),
    "ViT-L/14@336px": (
        "ViT-L-14-336px.pt",
        "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
    ),
}
PUBLISHED = {  # open_clip docs/openclip_results.csv
    "RN50": 59.82,
    "ViT-B/32": 63.32,
    "ViT-L/14@336px": 76.56,
    "ViT-B-32:laion400m_e32": 62.93,
    "ViT-B-32-256:datacomp_s34b_b86k": 72.81,
    "ViT-B-16:dfn2b": 76.24,
    "ViT-H-14-378:dfn5b": 84.37,
    "ViT-g-14:laion2b_s34b_b88k": 78.47,
    "ViT-bigG-14:laion2b_s39b_b160k": 80.09,
    "ViT-H-14:metaclip_fullcc": 80.51,
    "RN50:cc12m": 36.47,
    "TinyCLIP-ViT-39M-16-Text-19M:yfcc15m": 63.5,
}
QUICK_GELU = (
    r"RN\d+(x\d+)?(:.*)?|ViT-[BL]/.*|ViT-B-32:laion400m_.*|.*:metaclip_(400m|fullcc)|.*:dfn[25]b"
    r"|ViT-H-14-worldwide:.*|roberta-ViT-B-32:.*|LongCLIP.*"
)


def test_every_catalog_file_is_a_family_and_every_table_is_read() -> None:
    files = {path.stem: path.read_text("utf-8") for path in (ROOT / "weights").glob("*.toml")}
    tables = sum(len(re.findall(r"^\[", text, re.MULTILINE)) for text in files.values())

    assert set(files) == set(catalog.FAMILIES)
    assert len(catalog.entries()) == tables == 170
    assert {entry.family for entry in catalog.entries().values()} == set(catalog.FAMILIES)


def test_names_of_checkpoints_are_unique() -> None:
    claims = defaultdict(set)
    for entry in catalog.entries().values():
        for name in (entry.name, *entry.aliases, f"{entry.architecture}:{entry.tag}"):
            claims["".join(c for c in name.lower() if c.isalnum())].add(entry.name)
        for repository in (entry.repository, *(m.partition(":")[0] for m in entry.mirrors)):
            if repository:
                claims[repository.lower()].add(entry.name)

    assert {name: of for name, of in claims.items() if len(of) > 1} == {}


@pytest.mark.parametrize("name", catalog.available_models())
def test_every_checkpoint_is_found_by_all_its_names(name: str) -> None:
    entry = catalog.entries()[name]
    names = [name, *entry.aliases, entry.name.upper()]
    if entry.tag:
        arch, tag = entry.architecture, entry.tag
        names += [f"{arch}:{tag}", f"{arch}/{tag}", f"{arch}-quickgelu:{tag}"]
    if entry.repository:
        names += [entry.repository, f"hf-hub:{entry.repository}"]

    assert {other: catalog.find(other).name for other in names} == dict.fromkeys(names, name)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("vit b32", "ViT-B/32"),
        ("ViT-L/14@336", "ViT-L/14@336px"),
        ("ViT-L-14-336px", "ViT-L/14@336px"),
        ("ViT-B/16:datacomp", "ViT-B-16:datacomp_xl_s13b_b90k"),
        ("ViT-B-32:laion2b", "ViT-B-32:laion2b_s34b_b79k"),
        ("ViT-g/14:laion2b", "ViT-g-14:laion2b_s34b_b88k"),
        ("TinyCLIP-8M/16", "TinyCLIP-ViT-8M-16-Text-3M:yfcc15m"),
        ("timm/resnet50_clip.openai", "RN50"),
    ],
)
def test_alternative_spellings_resolve_to_the_checkpoint(said: str, meant: str) -> None:
    assert catalog.find(said).name == meant


@pytest.mark.parametrize(
    "size", ["base-patch32", "base-patch16", "large-patch14", "large-patch14-336"]
)
def test_a_mirror_is_fetched_from_the_requested_repository_in_its_own_layout(size: str) -> None:
    entry = catalog.find(f"openai/clip-vit-{size}")

    assert entry.repository == f"openai/clip-vit-{size}"
    assert (entry.layout, entry.files) == ("huggingface", ())
    assert (entry.family, entry.activation) == ("openai", "quick_gelu")


# ---- wrong names


def test_a_typo_suggests_the_nearest_name() -> None:
    with pytest.raises(ModelNotFound, match=r"did you mean 'ViT-B/32'\?"):
        catalog.find("ViT-B/23")


def test_an_unknown_tag_lists_the_tags_of_the_architecture() -> None:
    with pytest.raises(ModelNotFound) as caught:
        catalog.find("ViT-H-14:metaclip_400m")
    message = str(caught.value)

    assert "ViT-H-14 has no tag 'metaclip_400m'" in message
    assert "did you mean 'ViT-H-14:metaclip_fullcc'?" in message
    assert "dfn5b" in message
    assert "laion2b_s32b_b79k" in message


def test_a_long_list_of_tags_is_shortened_with_a_count() -> None:
    with pytest.raises(ModelNotFound, match=r"and 14 more$"):
        catalog.find("ViT-B-32:nosuchthing")


def test_an_architecture_without_a_tag_lists_its_tags() -> None:
    with pytest.raises(ModelNotFound, match=r"is an architecture, not a checkpoint.*dfn5b"):
        catalog.find("ViT-H-14")


def test_an_unlisted_repository_is_not_treated_as_a_name() -> None:
    with pytest.raises(ModelNotFound, match="a path, or a Hub repository 'owner/name'"):
        catalog.find("someone/finetuned")


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("ViT-B-32/nosuchtag", "ViT-B-32"),
        ("ViT-B/32:nosuchtag", "ViT-B-32"),
        ("ViT-B-16-quickgelu:nosuchtag", "ViT-B-16"),
        ("ViT-H-14", "ViT-H-14"),
        ("someone/finetuned", ""),
        ("openai/ViT-B-32", ""),
    ],
)
def test_an_unknown_tag_is_distinguished_from_a_repository(name: str, architecture: str) -> None:
    assert catalog.architecture(name) == architecture


# ---- values


@pytest.mark.parametrize("name", OPENAI)
def test_openais_archives_have_the_published_hashes(name: str) -> None:
    file, sha256 = OPENAI[name]
    entry = catalog.find(name)

    assert entry.url_sha256 == sha256
    assert entry.url.endswith(f"/clip/models/{sha256}/{file}")


def test_every_recorded_hash_is_a_sha256() -> None:
    hashes = [h for e in catalog.entries().values() for h in (e.sha256, e.url_sha256) if h]

    assert len(hashes) >= 9
    assert [h for h in hashes if not re.fullmatch("[0-9a-f]{64}", h)] == []


@pytest.mark.parametrize("name", PUBLISHED)
def test_accuracy_equals_the_published_value(name: str) -> None:
    assert catalog.find(name).accuracy == PUBLISHED[name]


def test_an_accuracy_names_its_source_and_is_left_empty_without_one() -> None:
    for entry in catalog.entries().values():
        assert (entry.accuracy is None) == (entry.accuracy_source == "")
        assert entry.accuracy is None or 0 < entry.accuracy < 100


def test_only_the_published_families_use_quick_gelu() -> None:
    quick = {e.name for e in catalog.entries().values() if e.activation == "quick_gelu"}

    assert quick - {"mini"} == {n for n in catalog.entries() if re.fullmatch(QUICK_GELU, n)}
    assert len(quick) > 20


@pytest.mark.parametrize(
    ("name", "parameters", "gflops", "speed"),
    [  # open_clip docs/model_profile.csv: mparams, image_gflops
        ("ViT-B/32", 151.28, 8.82, "fastest"),
        ("ViT-B/16", 149.62, 35.13, "fast"),
        ("ViT-L/14", 427.62, 162.03, "medium"),
        ("ViT-H-14:laion2b", 986.11, 334.59, "slow"),
        ("ViT-g-14:laion2b", 1366.68, 534.06, "slow"),
        ("ViT-bigG-14:laion2b", 2539.57, 967.5, "slowest"),
        ("ViT-B-16-plus-240:laion400m", 208.38, 54.76, "fast"),
    ],
)
def test_size_and_cost_equal_the_open_clip_profile(
    name: str, parameters: float, gflops: float, speed: str
) -> None:
    entry = catalog.find(name)

    assert (entry.parameters, entry.gflops, entry.speed) == (parameters, gflops, speed)


def test_size_of_the_embedded_model_equals_its_network() -> None:
    network = on_meta(load("mini").spec.network)
    count = sum(parameter.numel() for parameter in network.parameters())

    assert catalog.find("mini").parameters == round(count / 1e6, 2)


def test_preprocessing_of_every_checkpoint_is_valid() -> None:
    other = {}
    for entry in catalog.entries().values():
        preprocess = Preprocess(entry.image_size, **entry.preprocess)
        hash(preprocess)  # tuples, not lists
        if entry.preprocess and entry.preprocess_source:
            other[entry.name] = (preprocess.mean[0], preprocess.resize_mode)

    assert other == {
        "ViT-L-14:laion2b_s32b_b82k": (0.5, "shortest"),
        "ViT-H-14:dfn5b": (OPENAI_MEAN[0], "squash"),
        "ViT-H-14-378:dfn5b": (OPENAI_MEAN[0], "squash"),
    }


# ---- published values


def test_published_values_are_complete() -> None:
    published = catalog.find("ViT-H-14-378:dfn5b").published

    assert published == Published(
        activation="quick_gelu",
        preprocess=PreprocessConfig(378, OPENAI_MEAN, OPENAI_STD, "bicubic", "squash"),
        embed_dim=1024,
        context_length=77,
        activation_is_sourced=True,
    )


def spec_of(activation: Activation, mean: tuple[float, float, float] = (0.5, 0.5, 0.5)) -> Spec:
    """Return the spec that a config file of a ViT-B/16 can contain."""
    vision = ViTConfig(224, 16, 768, 12, 12, 3072, activation)
    text = TextConfig(77, 49_408, 512, 12, 8, 2048, activation)
    return Spec(NetworkConfig(512, vision, text), PreprocessConfig(224, mean))


def test_conflicts_with_a_config_are_listed_by_field() -> None:
    published = catalog.find("ViT-B-16:dfn2b").published

    assert published.size_conflicts(spec_of("gelu")) == []
    assert published.recipe_conflicts(spec_of("gelu")) == [
        "activation is 'gelu', published as 'quick_gelu'",
        f"mean is (0.5, 0.5, 0.5), published as {OPENAI_MEAN}",
    ]


def test_an_unpublished_activation_is_taken_from_the_config() -> None:
    published = catalog.find("TinyCLIP-8M/16").published

    assert not published.activation_is_sourced
    assert published.recipe_conflicts(spec_of("quick_gelu", OPENAI_MEAN)) == []
    assert published.applied_to(spec_of("quick_gelu")).network.text.activation == "quick_gelu"


# ---- documentation


def test_the_documented_table_is_the_catalog() -> None:
    text = (ROOT / "docs" / "weights.md").read_text("utf-8").partition("## The catalog")[2]
    documented = re.findall(
        r"^\| `(.+?)` \| (.*?) \| (\d+) \| (.*?) \| (\w+|-) \|", text, re.MULTILINE
    )

    assert documented == [
        (
            e.name,
            f"{e.parameters:.0f} M" if e.parameters else "-",
            str(e.image_size),
            f"{e.accuracy:.2f}" if e.accuracy else "-",
            e.speed or "-",
        )
        for e in catalog.entries().values()
    ]


def test_every_name_in_the_documentation_is_in_the_catalog() -> None:
    text = (ROOT / "docs" / "weights.md").read_text("utf-8")
    said = set(re.findall(r"`((?:ViT|RN|TinyCLIP)-?[^`*]*)`", text))

    assert len(said) > 80
    assert [name for name in said if not catalog.find(name)] == []


def test_no_catalog_name_is_called_unsupported() -> None:
    for entry in catalog.entries().values():
        for name in (entry.name, entry.repository, *entry.aliases, *entry.mirrors):
            assert (catalog.unsupported(name), catalog.in_other_format(name)) == ("", "")


@pytest.mark.parametrize("name", ["{}", "{}.pt", "{0}:{0}", "ViT-B-32:{}", "catalog:{}", "coca_{}"])
def test_the_error_for_a_long_name_is_short(name: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        catalog.find(name.format("x" * 5000))

    assert len(str(caught.value)) < 600
