"""The catalog's facts about families other than CLIP's own ViT and ResNet; see make_catalog.py.

Sources, unless a comment names another:
- repositories, tags, preprocessing: open_clip 3.3.0, pretrained.py and model_configs/*.json; the
  repositories of google, facebook and OFA-Sys, and which files they contain: their model cards and
  file lists, in stored copies;
- parameters and gflops: counted on open_clip's towers on torch's meta device. Text towers of the
  transformers library are counted in open_clip's docs/model_profile.csv;
- accuracy: see ACCURACY;
- licenses: model cards, in stored copies; MobileCLIP: LICENSE_MODELS of apple/ml-mobileclip;
- sizes of downloads, where weights are not float32 or a file list was seen: those lists.
"""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import open_clip
import torch
from open_clip.model import CLIPTextCfg, CLIPVisionCfg, _build_text_tower, _build_vision_tower
from open_clip.pretrained import _PRETRAINED
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from zeroshot.checkpoint.config_fields import Fields
from zeroshot.checkpoint.layouts.open_clip import from_config
from zeroshot.errors import IncompatibleWeights
from zeroshot.nn.network import Network

CONFIGS = Path(open_clip.__file__).parent / "model_configs"
FLAGS = f"open_clip {version('open_clip_torch')} pretrained.py"
RESULTS = "open_clip docs/openclip_results.csv"
SIGLIP2 = "google-research/big_vision README_siglip2.md"
PE = "facebookresearch/perception_models apps/pe/README.md"
MOBILECLIP = "apple/ml-mobileclip README.md"
DEFAULT_PREPROCESS = {
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
MANY, WORLD = "multilingual", "more than 300 languages"


class Family(NamedTuple):
    title: str  # comment in its file
    license: str | None = None  # None: not stated
    pattern: str = "-"  # of architectures in open_clip's table
    languages: str | None = None  # None: English
    tokenizer: str | None = None  # file in repositories of the open_clip format; None: CLIP's


FAMILIES = {
    "siglip": Family(
        "SigLIP (arXiv 2303.15343): sigmoid loss, a tokenizer of its own, images squashed.",
        license="Apache-2.0",
        pattern=r"ViT-.*-SigLIP(-i18n)?(-\d+)?",
        tokenizer="tokenizer.json",
    ),
    "siglip2": Family(
        "SigLIP 2 (arXiv 2502.14786): multilingual, Gemma's tokenizer.",
        license="Apache-2.0",
        pattern=r"ViT-.*-SigLIP2(-\d+)?",
        languages=MANY,
        tokenizer="tokenizer.json",
    ),
    "pe": Family(
        "Perception Encoder, PE-Core (arXiv 2504.13181): CLIP's tokenizer, 32 or 72 tokens.",
        license="Apache-2.0",
        pattern=r"PE-Core-.*",
    ),
    "metaclip2": Family(
        "MetaCLIP 2 (arXiv 2507.22062): more than 300 languages, non-commercial license.",
        license="CC-BY-NC-4.0",
        pattern=r"ViT-.*-worldwide(-378)?",
        languages=WORLD,
        tokenizer="tokenizer.json",
    ),
    "roberta": Family(
        "LAION's CLIP with text towers of RoBERTa and XLM-RoBERTa (multilingual).",
        license="MIT",
        pattern=r"(xlm-)?roberta-.*",
        tokenizer="tokenizer.json",
    ),
    "biomedclip": Family(
        "BiomedCLIP (arXiv 2303.00915): PubMedBERT, images of biomedical articles.",
        license="MIT",
        tokenizer="tokenizer.json",
    ),
    "chineseclip": Family(
        "Chinese-CLIP (arXiv 2211.01335), in the transformers format. Its code is MIT;\n"
        "# the model cards state no license of the weights.",
        languages="Chinese",
        tokenizer="vocab.txt",
    ),
    "eva": Family(
        "EVA-CLIP (arXiv 2303.15389), converted to open_clip's format by timm.",
        license="MIT",
        pattern=r"EVA0.*",
    ),
    "mobileclip": Family(
        "Apple's MobileCLIP 1 and 2 (arXiv 2311.17049, 2508.20691), research only.",
        license="Apple",
        pattern=r"MobileCLIP.*",
    ),
    "clipa": Family(
        "CLIPA-v2 (arXiv 2306.15658): BERT's tokenizer, 32 tokens.",
        license="Apache-2.0",
        pattern=r"ViT-.*-CLIPA(-336)?",
        tokenizer="tokenizer.json",
    ),
    "convnext": Family(
        "LAION's CLIP with ConvNeXt image towers.",
        license="MIT",
        pattern=r"convnext_.*",
    ),
    "longclip": Family(
        "Long-CLIP (arXiv 2403.15378): 248 tokens, bare state dicts.",
        license="Apache-2.0",
    ),
}
SKIPPED = {"ViT-SO400M-14-SigLIP-378"}  # the weights of -384
# open_clip docs/model_profile.csv, "mparams"
PROFILE = {
    "roberta-ViT-B-32": 212.72,
    "xlm-roberta-base-ViT-B-32": 366.12,
    "xlm-roberta-large-ViT-H-14": 1193.01,
}
DOWNLOADS = {  # megabytes of open_clip_model.safetensors or open_clip_pytorch_model.bin
    "EVA02-L-14-336": 856,  # float16
    "BiomedCLIP": 784,
    "convnext_base": 606,
    "roberta-ViT-B-32": 851,
    "xlm-roberta-large-ViT-H-14": 4770,
    "PE-Core-S-16-384": 349,
    "ViT-B-16-SigLIP": 813,
    "LongCLIP-L": 1710,
    "LongCLIP-B-32": 606,
    "Chinese-CLIP-ViT-L-14": 1630,
    "Chinese-CLIP-ViT-L-14-336": 1630,
    "Chinese-CLIP-ViT-H-14": 3830,
}
MIRRORS = {
    "ViT-B-16-SigLIP": "google/siglip-base-patch16-224",
    "ViT-B-16-SigLIP-256": "google/siglip-base-patch16-256",
    "ViT-B-16-SigLIP-384": "google/siglip-base-patch16-384",
    "ViT-B-16-SigLIP-512": "google/siglip-base-patch16-512",
    "ViT-B-16-SigLIP-i18n-256": "google/siglip-base-patch16-256-multilingual",
    "ViT-L-16-SigLIP-256": "google/siglip-large-patch16-256",
    "ViT-L-16-SigLIP-384": "google/siglip-large-patch16-384",
    "ViT-SO400M-14-SigLIP": "google/siglip-so400m-patch14-224",
    "ViT-SO400M-14-SigLIP-384": "google/siglip-so400m-patch14-384",
    "ViT-SO400M-16-SigLIP-i18n-256": "google/siglip-so400m-patch16-256-i18n",
    "ViT-B-32-SigLIP2-256": "google/siglip2-base-patch32-256",
    "ViT-B-16-SigLIP2": "google/siglip2-base-patch16-224",
    "ViT-B-16-SigLIP2-256": "google/siglip2-base-patch16-256",
    "ViT-B-16-SigLIP2-384": "google/siglip2-base-patch16-384",
    "ViT-B-16-SigLIP2-512": "google/siglip2-base-patch16-512",
    "ViT-L-16-SigLIP2-256": "google/siglip2-large-patch16-256",
    "ViT-L-16-SigLIP2-384": "google/siglip2-large-patch16-384",
    "ViT-L-16-SigLIP2-512": "google/siglip2-large-patch16-512",
    "ViT-SO400M-14-SigLIP2": "google/siglip2-so400m-patch14-224",
    "ViT-SO400M-14-SigLIP2-378": "google/siglip2-so400m-patch14-384",
    "ViT-SO400M-16-SigLIP2-256": "google/siglip2-so400m-patch16-256",
    "ViT-SO400M-16-SigLIP2-384": "google/siglip2-so400m-patch16-384",
    "ViT-SO400M-16-SigLIP2-512": "google/siglip2-so400m-patch16-512",
    "ViT-gopt-16-SigLIP2-256": "google/siglip2-giant-opt-patch16-256",
    "ViT-gopt-16-SigLIP2-384": "google/siglip2-giant-opt-patch16-384",
    # Meta's own files, as named in comments of open_clip's pretrained.py
    "PE-Core-T-16-384": "facebook/PE-Core-T16-384:PE-Core-T16-384.pt",
    "PE-Core-S-16-384": "facebook/PE-Core-S16-384:PE-Core-S16-384.pt",
    "PE-Core-B-16": "facebook/PE-Core-B16-224:PE-Core-B16-224.pt",
    "PE-Core-L-14-336": "facebook/PE-Core-L14-336:PE-Core-L14-336.pt",
    "PE-Core-bigG-14-448": "facebook/PE-Core-G14-448:PE-Core-G14-448.pt",
    # Apple's own files, as named in the README of apple/ml-mobileclip; not verified on the Hub
    "MobileCLIP-S1": "apple/MobileCLIP-S1:mobileclip_s1.pt",
    "MobileCLIP-S2": "apple/MobileCLIP-S2:mobileclip_s2.pt",
    "MobileCLIP-B:datacompdr": "apple/MobileCLIP-B:mobileclip_b.pt",
    "MobileCLIP-B:datacompdr_lt": "apple/MobileCLIP-B-LT:mobileclip_blt.pt",
    "MobileCLIP2-S0": "apple/MobileCLIP2-S0:mobileclip2_s0.pt",
    "MobileCLIP2-S2": "apple/MobileCLIP2-S2:mobileclip2_s2.pt",
    "MobileCLIP2-S3": "apple/MobileCLIP2-S3:mobileclip2_s3.pt",
    "MobileCLIP2-S4": "apple/MobileCLIP2-S4:mobileclip2_s4.pt",
    "MobileCLIP2-B": "apple/MobileCLIP2-B:mobileclip2_b.pt",
    "MobileCLIP2-L-14": "apple/MobileCLIP2-L-14:mobileclip2_l14.pt",
    "ViT-H-14-worldwide": "facebook/metaclip-2-worldwide-huge-quickgelu",
    "ViT-H-14-worldwide-378": "facebook/metaclip-2-worldwide-huge-378",
    "ViT-bigG-14-worldwide": "facebook/metaclip-2-worldwide-giant",
    "ViT-bigG-14-worldwide-378": "facebook/metaclip-2-worldwide-giant-378",
}
ALIASES = {
    "ViT-B-16-SigLIP": ["siglip", "siglip-base"],
    "ViT-L-16-SigLIP-384": ["siglip-large"],
    "ViT-SO400M-14-SigLIP-384": ["siglip-so400m"],
    "ViT-B-16-SigLIP-i18n-256": ["siglip-multilingual", "siglip-i18n"],
    "ViT-B-16-SigLIP2": ["siglip2", "siglip2-base"],
    "ViT-L-16-SigLIP2-384": ["siglip2-large"],
    "ViT-SO400M-14-SigLIP2-378": ["siglip2-so400m", "ViT-SO400M-14-SigLIP2-384"],  # as google says
    "ViT-gopt-16-SigLIP2-384": ["siglip2-giant"],
    "PE-Core-T-16-384": ["PE-Core-T"],
    "PE-Core-S-16-384": ["PE-Core-S"],
    "PE-Core-B-16": ["PE-Core-B", "PE-Core"],
    "PE-Core-L-14-336": ["PE-Core-L", "PE-Core-L-14"],
    "PE-Core-bigG-14-448": ["PE-Core-G", "PE-Core-bigG-14"],
    "ViT-H-14-worldwide": ["metaclip2", "metaclip-2"],
    "xlm-roberta-base-ViT-B-32": ["xlm-roberta-base"],
    "xlm-roberta-large-ViT-H-14": ["xlm-roberta-large"],
    "EVA02-L-14-336": ["EVA02"],
}
TAG_ALIASES = {
    ("MobileCLIP-B", "datacompdr"): ["MobileCLIP-B"],
    ("MobileCLIP-B", "datacompdr_lt"): ["MobileCLIP-B-LT"],
    ("ViT-H-14-CLIPA-336", "datacomp1b"): ["ViT-H-14-CLIPA-336"],
    ("convnext_base_w", "laion2b_s13b_b82k_augreg"): ["convnext_base_w"],
    ("convnext_base_w_320", "laion_aesthetic_s13b_b82k_augreg"): ["convnext_base_w_320"],
    ("convnext_large_d_320", "laion2b_s29b_b131k_ft_soup"): ["convnext_large_d_320"],
    ("convnext_xxlarge", "laion2b_s34b_b82k_augreg_soup"): ["convnext_xxlarge"],
}
ACCURACY: dict[tuple[str, str], dict[str, float]] = {  # zero-shot ImageNet top-1, percent
    (RESULTS, "webli"): {
        "ViT-B-16-SigLIP": 76.04,
        "ViT-B-16-SigLIP-256": 76.53,
        "ViT-B-16-SigLIP-384": 78.49,
        "ViT-B-16-SigLIP-512": 79.14,
        "ViT-B-16-SigLIP-i18n-256": 75.13,
        "ViT-L-16-SigLIP-256": 80.45,
        "ViT-L-16-SigLIP-384": 82.07,
        "ViT-SO400M-14-SigLIP": 82.03,
        "ViT-SO400M-14-SigLIP-384": 83.08,
    },
    (SIGLIP2, "webli"): {
        "ViT-B-32-SigLIP2-256": 74.0,
        "ViT-B-16-SigLIP2": 78.2,
        "ViT-B-16-SigLIP2-256": 79.1,
        "ViT-B-16-SigLIP2-384": 80.6,
        "ViT-B-16-SigLIP2-512": 81.2,
        "ViT-L-16-SigLIP2-256": 82.5,
        "ViT-L-16-SigLIP2-384": 83.1,
        "ViT-L-16-SigLIP2-512": 83.5,
        "ViT-SO400M-14-SigLIP2": 83.2,
        "ViT-SO400M-14-SigLIP2-378": 84.1,
        "ViT-SO400M-16-SigLIP2-256": 83.4,
        "ViT-SO400M-16-SigLIP2-384": 84.1,
        "ViT-SO400M-16-SigLIP2-512": 84.3,
        "ViT-gopt-16-SigLIP2-256": 84.5,
        "ViT-gopt-16-SigLIP2-384": 85.0,
        "ViT-B-16-SigLIP2-naflex": 78.5,
        "ViT-SO400M-16-SigLIP2-naflex": 83.5,
    },
    (PE, "meta"): {
        "PE-Core-T-16-384": 62.1,
        "PE-Core-S-16-384": 72.7,
        "PE-Core-B-16": 78.4,
        "PE-Core-L-14-336": 83.5,
        "PE-Core-bigG-14-448": 85.4,
    },
    ("arXiv 2507.22062, abstract", "metaclip2_worldwide"): {"ViT-H-14-worldwide": 81.3},
    (RESULTS, "laion2b_s12b_b32k"): {"roberta-ViT-B-32": 61.71},
    (RESULTS, "laion5b_s13b_b90k"): {"xlm-roberta-base-ViT-B-32": 62.36},
    (RESULTS, "frozen_laion5b_s13b_b90k"): {"xlm-roberta-large-ViT-H-14": 76.95},
    (RESULTS, "laion400m_s11b_b41k"): {"EVA01-g-14": 78.52},
    (RESULTS, "merged2b_s11b_b114k"): {"EVA01-g-14-plus": 79.33},
    (RESULTS, "merged2b_s8b_b131k"): {"EVA02-B-16": 74.72},
    (RESULTS, "merged2b_s4b_b131k"): {"EVA02-L-14": 79.77},
    (RESULTS, "merged2b_s6b_b61k"): {"EVA02-L-14-336": 80.39},
    (RESULTS, "laion2b_s4b_b115k"): {"EVA02-E-14": 81.96},
    (RESULTS, "laion2b_s9b_b144k"): {"EVA02-E-14-plus": 82.01},
    (MOBILECLIP, "datacompdr"): {
        "MobileCLIP-S1": 72.6,
        "MobileCLIP-S2": 74.4,
        "MobileCLIP-B": 76.8,
    },
    (MOBILECLIP, "datacompdr_lt"): {"MobileCLIP-B": 77.2},
    (MOBILECLIP, "dfndr2b"): {
        "MobileCLIP2-S0": 71.5,
        "MobileCLIP2-S2": 77.2,
        "MobileCLIP2-B": 79.4,
        "MobileCLIP2-S3": 80.7,
        "MobileCLIP2-L-14": 81.9,
        "MobileCLIP2-S4": 81.9,
    },
    (RESULTS, "datacomp1b"): {
        "ViT-L-14-CLIPA": 79.57,
        "ViT-L-14-CLIPA-336": 80.26,
        "ViT-H-14-CLIPA": 81.52,
        "ViT-H-14-CLIPA-336": 81.80,
        "ViT-bigG-14-CLIPA": 82.70,
        "ViT-bigG-14-CLIPA-336": 83.09,
    },
    (RESULTS, "laion2b"): {"ViT-H-14-CLIPA-336": 79.10},
    (RESULTS, "laion400m_s13b_b51k"): {"convnext_base": 66.27},
    (RESULTS, "laion2b_s13b_b82k"): {"convnext_base_w": 70.78},
    (RESULTS, "laion2b_s13b_b82k_augreg"): {"convnext_base_w": 71.47},
    (RESULTS, "laion_aesthetic_s13b_b82k"): {
        "convnext_base_w": 70.99,
        "convnext_base_w_320": 71.67,
    },
    (RESULTS, "laion_aesthetic_s13b_b82k_augreg"): {"convnext_base_w_320": 71.28},
    (RESULTS, "laion2b_s26b_b102k_augreg"): {"convnext_large_d": 75.91},
    (RESULTS, "laion2b_s29b_b131k_ft"): {"convnext_large_d_320": 76.60},
    (RESULTS, "laion2b_s29b_b131k_ft_soup"): {"convnext_large_d_320": 76.85},
    (RESULTS, "laion2b_s34b_b82k_augreg"): {"convnext_xxlarge": 79.07},
    (RESULTS, "laion2b_s34b_b82k_augreg_rewind"): {"convnext_xxlarge": 79.31},
    (RESULTS, "laion2b_s34b_b82k_augreg_soup"): {"convnext_xxlarge": 79.47},
}
# MetaCLIP 2 in the transformers format only. Sizes: facebookresearch/MetaCLIP at f47f784,
# src/mini_clip/model_configs: image size and tower (width, patch, heads), text width, ids.
SMALL, MEDIUM = (384, 16, 6), (512, 16, 8)
XLM_V, MT5 = 901_629, 250_000
METACLIP2 = {
    "ViT-S-16-worldwide": (224, SMALL, 384, XLM_V, "worldwide-s16"),
    "ViT-S-16-worldwide-384": (384, SMALL, 384, XLM_V, "worldwide-s16-384"),
    "ViT-S-16-mT5-worldwide": (224, SMALL, 384, MT5, "mt5-worldwide-s16"),
    "ViT-M-16-worldwide": (224, MEDIUM, 512, XLM_V, "worldwide-m16"),
    "ViT-M-16-worldwide-384": (384, MEDIUM, 512, XLM_V, "worldwide-m16-384"),
    "ViT-M-16-mT5-worldwide": (224, MEDIUM, 512, MT5, "mt5-worldwide-m16"),
    "ViT-B-32-worldwide": (224, (768, 32, 12), 512, XLM_V, "worldwide-b32"),
    "ViT-B-32-worldwide-384": (384, (768, 32, 12), 512, XLM_V, "worldwide-b32-384"),
    "ViT-B-32-mT5-worldwide": (224, (768, 32, 12), 512, MT5, "mt5-worldwide-b32"),
    "ViT-B-16-worldwide": (224, (768, 16, 12), 512, XLM_V, "worldwide-b16"),
    "ViT-B-16-worldwide-384": (384, (768, 16, 12), 512, XLM_V, "worldwide-b16-384"),
    "ViT-L-14-worldwide": (224, (1024, 14, 16), 768, XLM_V, "worldwide-l14"),
}
# Name, repository, image tower's width, layers, patch and image size, embedding size, parameters.
# Sizes and parameters: README_En.md of OFA-Sys/Chinese-CLIP and the repositories' config.json.
CHINESE = {
    "Chinese-CLIP-ViT-B-16": ("base-patch16", 768, 12, 16, 224, 512, 188.0),
    "Chinese-CLIP-ViT-L-14": ("large-patch14", 1024, 24, 14, 224, 768, 406.0),
    "Chinese-CLIP-ViT-L-14-336": ("large-patch14-336px", 1024, 24, 14, 336, 768, 407.0),
    "Chinese-CLIP-ViT-H-14": ("huge-patch14", 1280, 32, 14, 224, 1024, 958.0),
}
LONGCLIP = {"LongCLIP-B": ("ViT-B-16", 512), "LongCLIP-L": ("ViT-L-14", 768)}
LONGCLIP |= {"LongCLIP-B-32": ("ViT-B-32", 512)}
NAFLEX = {
    "ViT-B-16-SigLIP2-naflex": ("base", "ViT-B-16-SigLIP2-256", ["siglip2-naflex"]),
    "ViT-SO400M-16-SigLIP2-naflex": ("so400m", "ViT-SO400M-16-SigLIP2-256", []),
}


def tables() -> dict[str, tuple[str, dict[str, dict[str, Any]]]]:
    """Return the title and the tables of each family, by the names of checkpoints."""
    found: dict[str, dict[str, dict[str, Any]]] = {family: {} for family in FAMILIES}
    for architecture, tags in _PRETRAINED.items():
        family = family_of(architecture)
        if family is None:
            continue
        for tag, facts in tags.items():
            values = of_open_clip(family, architecture, tag, facts, single=len(tags) == 1)
            found[family][f"{architecture}:{tag}"] = values
            for problem in disagreements(config_of(architecture), values):
                print(f"{architecture}:{tag}: {problem}", file=sys.stderr)
    found["siglip2"] |= naflex()
    found["metaclip2"] |= metaclip2()
    found["biomedclip"] |= biomedclip()
    found["chineseclip"] |= chinese_clip()
    found["longclip"] |= long_clip()
    return {family: (FAMILIES[family].title, entries) for family, entries in found.items()}


def family_of(architecture: str) -> str | None:
    """Return the family of an architecture in open_clip's table; None: it is not in the catalog."""
    if architecture in SKIPPED or "quickgelu" in architecture:
        return None
    found = (name for name, facts in FAMILIES.items() if re.fullmatch(facts.pattern, architecture))
    return next(found, None)


def of_open_clip(
    family: str, architecture: str, tag: str, facts: dict[str, Any], *, single: bool
) -> dict[str, Any]:
    """Return the values of a checkpoint in open_clip's table."""
    config = config_of(architecture)
    text = config["text_cfg"]
    aliases = [architecture] if single else []
    aliases += [*ALIASES.get(architecture, []), *TAG_ALIASES.get((architecture, tag), [])]
    parameters, gflops = size(config)
    i18n = "i18n" in architecture or architecture.startswith("xlm")
    tanh = text.get("act_kwargs", {}).get("approximate") == "tanh"
    quick = facts.get("quick_gelu") or config.get("quick_gelu")
    mirror = MIRRORS.get(architecture) or MIRRORS.get(f"{architecture}:{tag}")
    source, accuracy = accuracy_of(architecture, tag)
    return {
        "family": family,
        "repository": facts["hf_hub"].rstrip("/"),
        "files": [],
        "layout": "open_clip",
        "mirrors": [mirror] if mirror else None,
        "architecture": architecture,
        "tag": tag,
        "aliases": aliases or None,
        "activation": "quick_gelu" if quick else "gelu_tanh" if tanh else "gelu",
        "activation_source": FLAGS if family == "metaclip2" else None,
        "preprocess": preprocess(facts),
        "image_size": config["vision_cfg"]["image_size"],
        "embed_dim": config["embed_dim"],
        "context_length": text.get("context_length", 77),
        "parameters": PROFILE.get(architecture, parameters),
        "gflops": gflops,
        "download": DOWNLOADS.get(architecture),
        "license": FAMILIES[family].license,
        "languages": MANY if i18n else FAMILIES[family].languages,
        "tokenizer": FAMILIES[family].tokenizer,
        "accuracy": accuracy,
        "accuracy_source": source,
    }


def networks() -> dict[str, dict[str, Any]]:
    """Return open_clip's `model_cfg` by architecture.

    They are used for bare files, and for repositories without a config (open_clip#521, #594).
    """
    return {a: config_of(a) for a in _PRETRAINED if family_of(a) is not None}


def config_of(architecture: str) -> dict[str, Any]:
    """Return open_clip's `model_cfg` of an architecture."""
    config: dict[str, Any] = json.loads((CONFIGS / f"{architecture}.json").read_text())
    return config


def disagreements(config: dict[str, Any], values: dict[str, Any]) -> list[str]:
    """Compare the values with the network that this package reads from the config."""
    try:
        network = from_config(Fields({"model_cfg": config}, "config")).network
    except IncompatibleWeights as error:
        return [str(error)]
    with torch.device("meta"):
        count = sum(p.numel() for p in Network(network).parameters()) / 1e6
    found = {
        "image_size": network.vision.image_size,
        "embed_dim": network.embed_dim,
        "context_length": network.text.context_length,
    }
    differ = [f"{name} is {value}" for name, value in found.items() if values[name] != value]
    if abs(count - values["parameters"]) > 0.02 * count:  # unused poolers, folded branches
        differ.append(f"{count:.2f} million parameters")
    return differ


def accuracy_of(architecture: str, tag: str) -> tuple[str | None, float | None]:
    for (source, of_tag), figures in ACCURACY.items():
        if of_tag == tag and architecture in figures:
            return source, figures[architecture]
    return None, None


def preprocess(facts: dict[str, Any]) -> dict[str, Any] | None:
    """Return what differs from OpenAI's preprocessing."""
    return {
        key: list(facts[key]) if isinstance(facts[key], tuple) else facts[key]
        for key, usual in DEFAULT_PREPROCESS.items()
        if facts[key] != usual
    } or None


def size(config: dict[str, Any]) -> tuple[float, float]:
    """Count parameters in millions, and operations of the image tower for one image in billions."""
    text_cfg = CLIPTextCfg(**config["text_cfg"])
    vision_cfg = CLIPVisionCfg(**config["vision_cfg"])
    quick_gelu, dim = config.get("quick_gelu", False), config["embed_dim"]
    with torch.device("meta"):
        visual = _build_vision_tower(dim, vision_cfg, quick_gelu).eval().requires_grad_(False)
        towers: list[nn.Module] = [visual]
        if not text_cfg.hf_model_name:
            towers.append(_build_text_tower(dim, text_cfg, quick_gelu))
        pixels = torch.empty(1, 3, vision_cfg.image_size, vision_cfg.image_size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        visual(pixels)
    parameters = sum(p.numel() for tower in towers for p in tower.parameters())
    parameters += 2 if "init_logit_bias" in config else 1  # scale and bias of logits
    return round(parameters / 1e6, 2), round(counter.get_total_flops() / 1e9, 2)


def naflex() -> dict[str, dict[str, Any]]:
    """SigLIP 2 with images of any aspect ratio, in the transformers format."""
    found = {}
    for name, (width, like, aliases) in NAFLEX.items():
        facts = _PRETRAINED[like]["webli"] | {"interpolation": "bilinear"}
        values = of_open_clip("siglip2", like, "webli", facts, single=False)
        source, accuracy = accuracy_of(name, "webli")
        found[f"{name}:webli"] = values | {
            "repository": f"google/siglip2-{width}-patch16-naflex",
            "layout": "huggingface",
            "mirrors": None,
            "architecture": name,
            "aliases": [name, *aliases, f"siglip2-{width}-naflex"],
            "activation": "gelu_tanh",
            "preprocess": {k: v for k, v in values["preprocess"].items() if k != "resize_mode"},
            "tokenizer": "tokenizer.model",
            "download": 1500 if width == "base" else None,
            "accuracy": accuracy,
            "accuracy_source": source,
            "note": "images keep their aspect ratio, with at most 256 patches",
        }
    return found


def metaclip2() -> dict[str, dict[str, Any]]:
    """Return the small checkpoints of MetaCLIP 2, distilled from the large ones."""
    found = {}
    for name, (image_size, (width, patch, heads), text, ids, repository) in METACLIP2.items():
        vision = {"image_size": image_size, "layers": 24 if width == 1024 else 12, "width": width}
        config = {
            "embed_dim": text,
            "vision_cfg": vision | {"patch_size": patch, "head_width": width // heads},
            "text_cfg": {
                "context_length": 77,
                "vocab_size": ids,
                "width": text,
                "heads": text // 64,
                "layers": 12,
            },
        }
        parameters, gflops = size(config)
        found[f"{name}:metaclip2_worldwide"] = {
            "family": "metaclip2",
            "repository": f"facebook/metaclip-2-{repository}",
            "files": [],
            "layout": "huggingface",
            "architecture": name,
            "tag": "metaclip2_worldwide",
            "aliases": [name],
            "activation": "gelu",
            "image_size": image_size,
            "embed_dim": text,
            "context_length": 77,
            "parameters": parameters,
            "gflops": gflops,
            "license": FAMILIES["metaclip2"].license,
            "languages": WORLD,
            "tokenizer": "tokenizer.json",
        }
    return found


def biomedclip() -> dict[str, dict[str, Any]]:
    config = {  # open_clip_config.json of the repository: a ViT of timm without ln_pre
        "embed_dim": 512,
        "vision_cfg": {"timm_model_name": "vit_base_patch16_224", "image_size": 224}
        | {"timm_model_pretrained": False, "timm_pool": "", "timm_proj": "linear"},
        "text_cfg": {"hf_model_name": "PubMedBERT"},
    }
    _, gflops = size(config)
    return {
        "BiomedCLIP": {
            "family": "biomedclip",
            "repository": "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
            "files": [],
            "layout": "open_clip",
            "architecture": "BiomedCLIP",
            "activation": "gelu",
            "image_size": 224,
            "embed_dim": 512,
            "context_length": 256,
            "gflops": gflops,
            "download": DOWNLOADS["BiomedCLIP"],
            "license": FAMILIES["biomedclip"].license,
            "tokenizer": "tokenizer.json",
            "note": "for biomedical images",
        }
    }


def chinese_clip() -> dict[str, dict[str, Any]]:
    found = {}
    for name, (repository, width, layers, patch, pixels, dim, parameters) in CHINESE.items():
        vision = {"image_size": pixels, "layers": layers, "width": width, "patch_size": patch}
        head = {"head_width": 80} if width == 1280 else {}
        config = {"embed_dim": dim, "vision_cfg": vision | head}
        _, gflops = size(config | {"text_cfg": {"hf_model_name": "RoBERTa-wwm"}})
        found[name] = {
            "family": "chineseclip",
            "repository": f"OFA-Sys/chinese-clip-vit-{repository}",
            "files": [],
            "layout": "huggingface",
            "architecture": name,
            "aliases": ["chinese-clip"] if pixels == 224 and patch == 16 else None,
            "activation": "gelu",
            "image_size": pixels,
            "embed_dim": dim,
            "context_length": 52,
            "parameters": parameters,
            "gflops": gflops,
            "download": DOWNLOADS.get(name),
            "languages": "Chinese",
            "tokenizer": "vocab.txt",
        }
    return found


def long_clip() -> dict[str, dict[str, Any]]:
    found = {}
    for name, (architecture, dim) in LONGCLIP.items():
        config = config_of(architecture)
        text = config["text_cfg"] | {"context_length": 248}
        parameters, gflops = size(config | {"text_cfg": text})
        found[name] = {
            "family": "longclip",
            "repository": f"BeichenZhang/{name}",
            "files": [f"longclip{name.removeprefix('LongCLIP')}.pt"],
            "layout": "openai",
            "architecture": name,
            "aliases": [name.replace("LongCLIP", "long_clip_vit"), *(["longclip"] * (dim == 768))],
            "activation": "quick_gelu",  # as OpenAI's, which it was trained from
            "activation_source": "beichenzbc/Long-CLIP model/model_longclip.py",
            "image_size": 224,
            "embed_dim": dim,
            "context_length": 248,
            "parameters": parameters,
            "gflops": gflops,
            "download": DOWNLOADS.get(name),
            "license": FAMILIES["longclip"].license,
            "note": "texts of up to 248 tokens",
        }
    return found
