"""Entries of families other than CLIP's own: names, licenses, languages, and what decides."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from zeroshot import catalog
from zeroshot.checkpoint.config_fields import Fields
from zeroshot.checkpoint.layouts.open_clip import from_config
from zeroshot.checkpoint.layouts.open_clip_tokenizers import siglip_tokenizer
from zeroshot.errors import ModelNotFound
from zeroshot.spec import (
    OPENAI_MEAN,
    OPENAI_STD,
    NetworkConfig,
    PreprocessConfig,
    Spec,
    TextConfig,
    ViTConfig,
)

COUNTS = {
    "siglip": 10,
    "siglip2": 17,
    "pe": 5,
    "metaclip2": 16,
    "roberta": 3,
    "biomedclip": 1,
    "chineseclip": 4,
    "eva": 7,
    "mobileclip": 10,
    "clipa": 7,
    "convnext": 12,
    "longclip": 3,
}
NEW = [entry for entry in catalog.entries().values() if entry.family in COUNTS]
SIGLIP = ("ViT-B-16-SigLIP:webli", "ViT-B-16-SigLIP2:webli")


def test_every_family_has_its_published_checkpoints() -> None:
    assert {f: sum(e.family == f for e in NEW) for f in COUNTS} == COUNTS


# ---- names


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("siglip", "ViT-B-16-SigLIP:webli"),
        ("SigLIP 2", "ViT-B-16-SigLIP2:webli"),
        ("siglip2-so400m", "ViT-SO400M-14-SigLIP2-378:webli"),
        ("ViT-B-16-SigLIP/webli", "ViT-B-16-SigLIP:webli"),
        ("google/siglip-base-patch16-224", "ViT-B-16-SigLIP:webli"),
        ("siglip2-base-patch16-224", "ViT-B-16-SigLIP2:webli"),
        ("google/siglip2-base-patch16-naflex", "ViT-B-16-SigLIP2-naflex:webli"),
        ("siglip2-naflex", "ViT-B-16-SigLIP2-naflex:webli"),
        ("siglip-i18n", "ViT-B-16-SigLIP-i18n-256:webli"),
        ("ViT-SO400M-14-SigLIP2-384", "ViT-SO400M-14-SigLIP2-378:webli"),  # google's size
        ("PE-Core-B-16", "PE-Core-B-16:meta"),
        ("facebook/PE-Core-L14-336", "PE-Core-L-14-336:meta"),
        ("PE-Core-G14-448", "PE-Core-bigG-14-448:meta"),
        ("facebook/metaclip-2-worldwide-huge-quickgelu", "ViT-H-14-worldwide:metaclip2_worldwide"),
        ("ViT-H-14-worldwide-quickgelu", "ViT-H-14-worldwide:metaclip2_worldwide"),
        ("metaclip-2-worldwide-b32", "ViT-B-32-worldwide:metaclip2_worldwide"),
        ("BiomedCLIP", "BiomedCLIP"),
        ("microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224", "BiomedCLIP"),
        ("chinese-clip-vit-base-patch16", "Chinese-CLIP-ViT-B-16"),
        ("EVA02-L-14-336", "EVA02-L-14-336:merged2b_s6b_b61k"),
        ("timm/MobileCLIP2-S2-OpenCLIP", "MobileCLIP2-S2:dfndr2b"),
        ("MobileCLIP-B-LT", "MobileCLIP-B:datacompdr_lt"),
        ("convnext_large_d_320", "convnext_large_d_320:laion2b_s29b_b131k_ft_soup"),
        ("LongCLIP-L", "LongCLIP-L"),
        ("xlm-roberta-base-ViT-B-32", "xlm-roberta-base-ViT-B-32:laion5b_s13b_b90k"),
    ],
)
def test_what_people_type_finds_the_checkpoint(said: str, meant: str) -> None:
    assert catalog.find(said).name == meant


def test_a_mirror_with_a_file_is_a_bare_state_dict() -> None:
    entry = catalog.find("facebook/PE-Core-B16-224")

    assert (entry.repository, entry.files) == (
        "facebook/PE-Core-B16-224",
        ("PE-Core-B16-224.pt",),
    )
    assert (entry.layout, entry.name) == ("openai", "PE-Core-B-16:meta")
    assert entry.published.preprocess == PreprocessConfig(
        224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear", "squash"
    )


# ---- facts


def test_licenses_that_do_not_permit_commercial_use_are_marked() -> None:
    restricted = {e.family for e in catalog.entries().values() if e.restriction}

    assert restricted == {"dfn", "metaclip", "metaclip2", "mobileclip"}
    assert catalog.find("metaclip2").restriction == "non-commercial use only"
    assert catalog.find("MobileCLIP2-S0").restriction == "research only"
    assert catalog.find("siglip2").usage == "commercial"
    assert catalog.find("RN50:cc12m").usage == "unknown"


def test_multilingual_checkpoints_are_those_of_multilingual_families() -> None:
    found = {e.family for e in catalog.entries().values() if e.multilingual}

    assert found == {"siglip", "siglip2", "metaclip2", "roberta", "chineseclip"}
    assert catalog.find("siglip-multilingual").multilingual
    assert not catalog.find("siglip").multilingual
    assert not catalog.find("roberta-ViT-B-32").multilingual


def test_the_extra_is_required_by_tokenizers_other_than_clips() -> None:
    without = {e.family for e in NEW if not e.extra}

    assert without == {"pe", "eva", "mobileclip", "convnext", "longclip"}
    assert catalog.find("siglip2").extra == "tokenizers"


@pytest.mark.parametrize(
    ("name", "megabytes"),
    [("mini", 0.0), ("EVA02-L-14-336", 856.0), ("siglip2", 375.19 * 4), ("PE-Core-S", 349.0)],
)
def test_size_is_that_of_the_file_list_or_estimated(name: str, megabytes: float) -> None:
    assert catalog.find(name).megabytes == pytest.approx(megabytes)


@pytest.mark.parametrize("entry", NEW, ids=lambda entry: entry.name)
def test_entries_of_other_families_are_complete(entry: catalog.Entry) -> None:
    assert entry.repository
    assert entry.gflops
    assert entry.megabytes
    assert entry.license or entry.family == "chineseclip"
    assert entry.published.embed_dim


# ---- what decides


def spec_of(
    image_size: int = 224, context: int = 64, patch: int = 16, width: int = 768, ids: int = 32000
) -> Spec:
    """Return the spec that a config file of a SigLIP can contain, towers not alike."""
    vision = ViTConfig(image_size, patch, width, 12, 12, 3072, "gelu")
    text = TextConfig(context, ids, width, 12, 12, 3072, "gelu_tanh", causal=False, pool="last")
    network = NetworkConfig(width, vision, text, logit_bias=True)
    preprocess = PreprocessConfig(image_size, OPENAI_MEAN, OPENAI_STD, "bilinear", "squash")
    tokenizer = siglip_tokenizer(context, ids)
    return Spec(network, preprocess, scoring="sigmoid", tokenizer=tokenizer)


@pytest.mark.parametrize("name", SIGLIP)
def test_the_config_decides_where_layouts_of_a_checkpoint_differ(name: str) -> None:
    published, spec = catalog.find(name).published, spec_of()

    assert published.size_conflicts(spec) == []
    assert published.recipe_conflicts(spec) == []
    assert published.applied_to(spec) == spec


def test_activation_of_metaclip_2_is_published_and_its_preprocessing_is_the_configs() -> None:
    published = catalog.find("ViT-H-14-worldwide").published
    spec = spec_of()

    assert published.recipe_conflicts(spec) == [
        "activation is 'gelu_tanh', published as 'quick_gelu'"
    ]
    assert published.applied_to(spec).preprocess == spec.preprocess


def test_image_sizes_of_one_grid_are_no_conflict() -> None:
    published = catalog.find("google/siglip2-so400m-patch14-384").published
    spec = spec_of(384, patch=14, width=1152)

    assert published.preprocess.size == 378
    assert published.size_conflicts(spec) == []
    assert published.size_conflicts(spec.resized(392)) == ["image_size is 392, published as 378"]


def test_context_of_the_small_so400m_is_sixteen_tokens() -> None:
    assert catalog.find("ViT-SO400M-14-SigLIP").context_length == 16
    assert catalog.find("PE-Core-G").context_length == 72
    assert catalog.find("LongCLIP-B").context_length == 248


NETWORKS = json.loads((Path(__file__).parents[1] / "weights" / "networks.json").read_text("utf-8"))


@pytest.mark.parametrize("architecture", NETWORKS)
def test_networks_of_the_catalog_are_those_of_its_entries(architecture: str) -> None:
    entries = [e for e in catalog.entries().values() if e.architecture == architecture]

    spec = from_config(Fields({"model_cfg": NETWORKS[architecture]}, architecture))

    assert entries
    for entry in entries:
        assert entry.published.model_cfg == NETWORKS[architecture]
        assert spec.network.embed_dim == entry.embed_dim
        assert spec.network.vision.image_size == entry.image_size
        assert spec.network.text.context_length == entry.context_length
        assert (spec.tokenizer is not None) == bool(entry.tokenizer)


def test_repositories_without_a_config_have_their_networks_in_the_catalog() -> None:
    without = ("roberta-ViT-B-32", "xlm-roberta-base-ViT-B-32", "xlm-roberta-large-ViT-H-14")

    assert NETWORKS.keys() >= {*without, "convnext_base"}


# ---- names that stay unsupported


@pytest.mark.parametrize(
    ("name", "kind", "instead"),
    [
        ("coca_ViT-B-32/laion2b_s13b_b90k", "CoCa", "ViT-L-14:laion2b"),
        ("ViTamin-L:datacomp1b", "ViTamin", "ViT-L-14:datacomp"),
        ("visheratin/nllb-clip-base-siglip", "NLLB", "siglip2-base"),
        ("mt5-base-ViT-B-32", "mT5", "siglip2-base"),
        ("sentence-transformers/clip-ViT-B-32-multilingual-v1", "without an image", "siglip2"),
        ("M-CLIP/XLM-Roberta-Large-Vit-B-32", "without an image tower", "siglip2-base"),
        ("BAAI/AltCLIP", "AltCLIP", "siglip2-base"),
        ("align", "ALIGN", "ViT-L-14:datacomp"),
        ("kakaobrain/align-base", "ALIGN", "ViT-L-14:datacomp"),
        ("apple/aimv2-large-patch14-224-lit", "AIMv2", "ViT-L-14:datacomp"),
        ("jinaai/jina-clip-v2", "Jina", "siglip2-base"),
        ("facebook/PE-Spatial-B16-512", "without a text tower", "PE-Core-B-16"),
        ("Salesforce/blip2-opt-2.7b", "BLIP", "ViT-L-14:datacomp"),
        ("OFA-Sys/chinese-clip-rn50", "ResNet", "Chinese-CLIP-ViT-B-16"),
        ("BAAI/EVA-CLIP-8B", "8 billion", "EVA02-E-14-plus"),
        ("apple/MobileCLIP-S0", "Apple's own format", "MobileCLIP2-S0"),
    ],
)
def test_names_of_unsupported_architectures_say_so_and_name_another(
    name: str, kind: str, instead: str
) -> None:
    with pytest.raises(ModelNotFound, match=f"unsupported architecture, .*{kind}") as caught:
        catalog.find(name)

    assert f"try '{instead}" in str(caught.value)
    assert "did you mean" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_every_alternative_is_in_the_catalog() -> None:
    for _, instead in catalog.UNSUPPORTED.values():
        assert catalog.find(instead)


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("hf-hub:timm/ViT-B-16-SigLIP2-naflex", "ViT-B-16-SigLIP2-naflex:webli"),
        ("QuanSun/EVA-CLIP", "EVA02-L-14:merged2b_s4b_b131k"),
    ],
)
def test_repositories_in_another_format_name_the_checkpoint_to_load(
    name: str, instead: str
) -> None:
    with pytest.raises(ModelNotFound) as caught:
        catalog.find(name)

    assert f"or several checkpoints; load {instead!r}" in str(caught.value)
    assert catalog.find(instead).name == instead


@pytest.mark.parametrize(
    "name",
    [
        *("me/siglip-ft", "coca/clip", "owner/evaluation", "ViT-B-33", "coca.pt", "siglip.pt"),
        *("openai/evaluate", "Marqo/marqo-fashionSigLIP", "google/siglip3-base", "timm/eva03"),
    ],
)
def test_names_that_may_be_supported_are_not_refused(name: str) -> None:
    assert (catalog.unsupported(name), catalog.in_other_format(name)) == ("", "")


def test_an_architecture_without_tags_is_no_list_of_tags() -> None:
    with pytest.raises(ModelNotFound) as caught:
        catalog.find("LongCLIP-B:none")

    assert "has no tag" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "checkpoint", "file"),
    [
        ("apple/MobileCLIP-S1", "MobileCLIP-S1:datacompdr", "mobileclip_s1.pt"),
        ("apple/MobileCLIP-B", "MobileCLIP-B:datacompdr", "mobileclip_b.pt"),
        ("apple/MobileCLIP-B-LT", "MobileCLIP-B:datacompdr_lt", "mobileclip_blt.pt"),
        ("apple/MobileCLIP2-S4", "MobileCLIP2-S4:dfndr2b", "mobileclip2_s4.pt"),
        ("apple/MobileCLIP2-L-14", "MobileCLIP2-L-14:dfndr2b", "mobileclip2_l14.pt"),
    ],
)
def test_repositories_of_apple_have_one_file(name: str, checkpoint: str, file: str) -> None:
    found = catalog.find(name)

    assert (found.name, found.repository, found.files) == (checkpoint, name, (file,))


def test_published_facts_of_mirrors_are_those_of_the_checkpoint() -> None:
    entry = catalog.find("siglip")
    mirror = catalog.find(entry.mirrors[0])

    assert replace(mirror, repository=entry.repository, layout=entry.layout) == entry


@pytest.mark.parametrize(
    ("said", "family", "example"),
    [
        ("mobileclip", "mobileclip", "MobileCLIP-S1:datacompdr"),
        ("EVA-CLIP", "eva", "EVA01-g-14:laion400m_s11b_b41k"),
        ("convnext", "convnext", "convnext_base:laion400m_s13b_b51k"),
        ("CLIP", "openai", "RN50"),
        ("dfn", "dfn", "ViT-B-16:dfn2b"),
    ],
)
def test_a_family_is_not_a_checkpoint_but_its_names_are_listed(
    said: str, family: str, example: str
) -> None:
    with pytest.raises(ModelNotFound) as caught:
        catalog.find(said)

    message = str(caught.value)
    assert message.startswith(f"{said!r} is a family of models, not a checkpoint")
    assert repr(example) in message
    assert f"`zeroshot models --family {family}`" in message
    assert len(message) < 600
    assert catalog.family_of("mini") == catalog.family_of("embedded") == ""


def test_no_similar_name_is_suggested_for_a_repository_of_another_owner() -> None:
    for name in ("imageomics/bioclip-2", "qihoo360/fg-clip-base"):
        with pytest.raises(ModelNotFound, match=f"no model named '{name}'; expected"):
            catalog.find(name)
