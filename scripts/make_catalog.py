"""Write weights/*.toml (except embedded.toml), networks.json and the table of docs/weights.md.

    .parity-venv/bin/python scripts/make_catalog.py      # requires open_clip_torch

Sources:
- repositories, tags, activation, preprocessing, archives' sha256: open_clip 3.3.0, pretrained.py;
- architectures: its model_configs/*.json; TinyCLIP's: microsoft/Cream, TinyCLIP/src/open_clip;
- parameters and gflops: counted on this package's own networks on torch's meta device, so
  unsupported architectures are excluded; gflops count two operations per multiply-add, for the
  matrix products and convolutions of the image encoder and one image. Both equal open_clip's
  docs/model_profile.csv, except for the gflops of ResNets: our attention pool computes one query;
- accuracy: open_clip's docs/openclip_results.csv at f862f86, column "ImageNet 1k";
- licenses: the model cards of the repositories, in stored copies.
- other families than CLIP's ViT and ResNet: `catalog_families.py`, which names its sources.
Unknown values are omitted: commits, and sha256 of files on the Hub (the Hub was not reachable).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import catalog_families as families
import torch
from catalog_families import CONFIGS, FLAGS, RESULTS
from open_clip.pretrained import _PRETRAINED
from torch.utils.flop_counter import FlopCounterMode

from zeroshot import catalog
from zeroshot.catalog import Entry
from zeroshot.checkpoint.config_fields import Fields
from zeroshot.checkpoint.layouts.open_clip import from_config
from zeroshot.nn.network import Network

WEIGHTS = Path(__file__).resolve().parents[1] / "weights"
DOCS = WEIGHTS.parent / "docs" / "weights.md"
TINYCLIP_RESULTS = "microsoft/Cream TinyCLIP/README.md"
OPENAI_NAMES = {
    "ViT-B-32": "ViT-B/32",
    "ViT-B-16": "ViT-B/16",
    "ViT-L-14": "ViT-L/14",
    "ViT-L-14-336": "ViT-L/14@336px",
}
# OpenAI publishes the same weights here too, in the format of transformers
OPENAI_MIRRORS = {
    "ViT-B-32": "openai/clip-vit-base-patch32",
    "ViT-B-16": "openai/clip-vit-base-patch16",
    "ViT-L-14": "openai/clip-vit-large-patch14",
    "ViT-L-14-336": "openai/clip-vit-large-patch14-336",
}
OTHER_MIRRORS = {("ViT-B-32", "metaclip_400m"): "facebook/metaclip-b32-400m"}
# open_clip's table lists the e31 repository for e32 as well; timm 1.0.31 lists e32's own.
REPOSITORIES = {
    ("ViT-B-16-plus-240", "laion400m_e32"): "timm/vit_base_patch16_plus_clip_240.laion400m_e32"
}
# Tags that `architecture:family` selects
FLAGSHIPS = {
    "laion400m": "laion400m_e32",
    "laion2b": "laion2b_",
    "datacomp": "datacomp_(xl_)?s(13|34)b",
    "dfn": "dfn[25]b$",
    "metaclip": "metaclip_fullcc",
    "yfcc15m": "yfcc15m",
    "cc12m": "cc12m",
}
NOT_FLAGSHIPS = {("ViT-B-32", "laion2b_e16"), ("ViT-g-14", "laion2b_s12b_b42k")}
LICENSES = {
    "openai": "MIT",
    "laion": "MIT",
    "datacomp": "MIT",
    "dfn": "Apple",  # apple-amlr on the newest card seen: research only
    "metaclip": "CC-BY-NC-4.0",
    "tinyclip": "MIT",
}
ACCURACY: dict[str, dict[str, float]] = {
    "RN50": {"openai": 59.82, "yfcc15m": 32.75, "cc12m": 36.47},
    "RN101": {"openai": 62.28, "yfcc15m": 34.87},
    "RN50x4": {"openai": 66.27},
    "RN50x16": {"openai": 70.72},
    "RN50x64": {"openai": 73.91},
    "ViT-B-32": {
        "openai": 63.32,
        "laion400m_e31": 62.94,
        "laion400m_e32": 62.93,
        "laion2b_e16": 65.65,
        "laion2b_s34b_b79k": 66.56,
        "datacomp_xl_s13b_b90k": 69.17,
        "datacomp_m_s128m_b4k": 29.72,
        "commonpool_m_clip_s128m_b4k": 27.25,
        "commonpool_m_laion_s128m_b4k": 23.04,
        "commonpool_m_image_s128m_b4k": 26.78,
        "commonpool_m_text_s128m_b4k": 25.48,
        "commonpool_m_basic_s128m_b4k": 22.55,
        "commonpool_m_s128m_b4k": 17.55,
        "datacomp_s_s13m_b4k": 3.92,
        "commonpool_s_clip_s13m_b4k": 5.05,
        "commonpool_s_laion_s13m_b4k": 3.05,
        "commonpool_s_image_s13m_b4k": 3.92,
        "commonpool_s_text_s13m_b4k": 4.60,
        "commonpool_s_basic_s13m_b4k": 3.77,
        "commonpool_s_s13m_b4k": 2.70,
        "metaclip_400m": 65.58,
        "metaclip_fullcc": 67.66,
    },
    "ViT-B-32-256": {"datacomp_s34b_b86k": 72.81},
    "ViT-B-16": {
        "openai": 68.34,
        "laion400m_e31": 66.98,
        "laion400m_e32": 67.05,
        "laion2b_s34b_b88k": 70.23,
        "datacomp_xl_s13b_b90k": 73.49,
        "datacomp_l_s1b_b8k": 63.10,
        "commonpool_l_clip_s1b_b8k": 57.77,
        "commonpool_l_laion_s1b_b8k": 55.26,
        "commonpool_l_image_s1b_b8k": 57.19,
        "commonpool_l_text_s1b_b8k": 56.05,
        "commonpool_l_basic_s1b_b8k": 51.55,
        "commonpool_l_s1b_b8k": 45.93,
        "dfn2b": 76.24,
        "metaclip_400m": 70.80,
        "metaclip_fullcc": 72.12,
    },
    "ViT-B-16-plus-240": {"laion400m_e31": 69.04, "laion400m_e32": 69.19},
    "ViT-L-14": {
        "openai": 75.54,
        "laion400m_e31": 72.71,
        "laion400m_e32": 72.77,
        "laion2b_s32b_b82k": 75.25,
        "datacomp_xl_s13b_b90k": 79.21,
        "commonpool_xl_clip_s13b_b90k": 76.37,
        "commonpool_xl_laion_s13b_b90k": 75.45,
        "commonpool_xl_s13b_b90k": 72.29,
        "metaclip_400m": 76.20,
        "metaclip_fullcc": 79.17,
        "dfn2b": 81.41,
    },
    "ViT-L-14-336": {"openai": 76.56},
    "ViT-H-14": {"laion2b_s32b_b79k": 77.96, "metaclip_fullcc": 80.51, "dfn5b": 83.44},
    "ViT-H-14-378": {"dfn5b": 84.37},
    "ViT-g-14": {"laion2b_s12b_b42k": 76.63, "laion2b_s34b_b88k": 78.47},
    "ViT-bigG-14": {"laion2b_s39b_b160k": 80.09},
    "TinyCLIP-ViT-61M-32-Text-29M": {"laion400m": 62.4},
    "TinyCLIP-ViT-40M-32-Text-19M": {"laion400m": 59.8},
    "TinyCLIP-ViT-39M-16-Text-19M": {"yfcc15m": 63.5},
    "TinyCLIP-ViT-8M-16-Text-3M": {"yfcc15m": 41.1},
}
# layers, width, patch of the image encoder; layers, width, heads of the text encoder
TINYCLIP = {
    "TinyCLIP-ViT-61M-32-Text-29M": (12, 640, 32, 9, 512, 8),
    "TinyCLIP-ViT-40M-32-Text-19M": (12, 512, 32, 6, 512, 8),
    "TinyCLIP-ViT-39M-16-Text-19M": (12, 512, 16, 6, 512, 8),
    "TinyCLIP-ViT-8M-16-Text-3M": (10, 256, 16, 3, 256, 4),
}
HEADERS = {
    "openai": "OpenAI's models (github.com/openai/CLIP, MIT), converted to safetensors by timm.\n"
    "# `url` is OpenAI's own archive and `url_sha256` its sha256, as published in clip/clip.py.",
    "laion": "Trained by LAION with open_clip on LAION-400M and LAION-2B.",
    "datacomp": "DataComp's filtered pools (arXiv 2304.14108) and the CommonPool baselines.",
    "dfn": "Apple's data filtering networks (arXiv 2309.17425). All but dfn2b_s39b use QuickGELU.",
    "metaclip": "MetaCLIP 1 (arXiv 2309.16671), non-commercial license.",
    "resnets": "open_clip's ResNets on small public data sets; no license was found.",
    "tinyclip": "TinyCLIP with manual inheritance (ICCV 2023), in the transformers format. The\n"
    "# activation is read from config.json; gelu here is the one that timm uses.",
}
FOOTER = "Commits and sha256 of files on the Hub are not recorded: they could not be verified."


@dataclass
class Checkpoint:
    architecture: str
    tag: str
    family: str
    repository: str
    config: dict[str, Any]
    layout: str = "open_clip"
    quick_gelu: bool = False
    url: str = ""
    preprocess: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        if self.tag == "openai":
            return OPENAI_NAMES.get(self.architecture, self.architecture)
        return f"{self.architecture}:{self.tag}"


def main() -> None:
    by_family: dict[str, list[Checkpoint]] = {family: [] for family in HEADERS}
    for checkpoint in (*from_open_clip_tables(), *tinyclip()):
        by_family[checkpoint.family].append(checkpoint)
    for family, checkpoints in by_family.items():
        header = f"# {HEADERS[family]}\n# {FOOTER} Generated by scripts/make_catalog.py.\n"
        path = WEIGHTS / f"{family}.toml"
        path.write_text("\n".join([header, *map(table, checkpoints)]), "utf-8")
        print(f"{len(checkpoints):3d}  {path.name}")
    for family, (title, tables) in families.tables().items():
        header = f"# {title}\n# {FOOTER} Generated by scripts/make_catalog.py.\n"
        path = WEIGHTS / f"{family}.toml"
        path.write_text("\n".join([header, *(lines(*each) for each in tables.items())]), "utf-8")
        print(f"{len(tables):3d}  {path.name}")
    rows = (
        f"{json.dumps(a)}: {json.dumps(each)}" for a, each in sorted(families.networks().items())
    )
    (WEIGHTS / "networks.json").write_text("{\n" + ",\n".join(rows) + "\n}\n", "utf-8")
    document()


def document() -> None:
    """Write the table of docs/weights.md."""
    head = ["name", "params", "pixels", "ImageNet", "speed", "license", "texts", "where"]
    lines = [f"| {' | '.join(head)} |", "|---|--:|--:|--:|---|---|---|---|"]
    lines += map(row, catalog.entries().values())
    before, _, rest = DOCS.read_text("utf-8").partition(" -->\n")
    _, _, after = rest.partition("<!-- end")
    table = "\n".join(lines)
    DOCS.write_text(f"{before} -->\n\n{table}\n\n<!-- end{after}", "utf-8")


def row(entry: Entry) -> str:
    """Format one checkpoint as a row of docs/weights.md."""
    cells = (
        f"`{entry.name}`",
        "-" if entry.parameters is None else f"{entry.parameters:.0f} M",
        str(entry.image_size),
        "-" if entry.accuracy is None else f"{entry.accuracy:.2f}",
        entry.speed or "-",
        entry.license or "not stated",
        entry.languages,
        f"`{entry.repository}`" if entry.repository else "this package",
    )
    return f"| {' | '.join(cells)} |"


def from_open_clip_tables() -> Iterator[Checkpoint]:
    for architecture, tags in _PRETRAINED.items():
        if not re.fullmatch(r"(RN\d+(x\d+)?|ViT-(B|L|H|g|bigG)-\d+(-plus)?(-\d+)?)", architecture):
            continue
        config = json.loads((CONFIGS / f"{architecture}.json").read_text())
        for tag, facts in tags.items():
            repository = REPOSITORIES.get((architecture, tag), facts["hf_hub"].rstrip("/"))
            yield Checkpoint(
                architecture,
                tag,
                family_of(tag),
                repository,
                config,
                quick_gelu=facts.get("quick_gelu", False),
                url=facts["url"] if "openaipublic" in facts["url"] else "",
                preprocess=families.preprocess(facts) or {},
            )


def family_of(tag: str) -> str:
    families = {
        "openai": "openai",
        "laion": "laion",
        "datacomp": "datacomp",
        "commonpool": "datacomp",
        "dfn": "dfn",
        "metaclip": "metaclip",
    }
    return next((f for start, f in families.items() if tag.startswith(start)), "resnets")


def tinyclip() -> Iterator[Checkpoint]:
    for architecture, (layers, width, patch, words, text_width, heads) in TINYCLIP.items():
        (tag,) = ACCURACY[architecture]
        vision = {"image_size": 224, "layers": layers, "width": width, "patch_size": patch}
        text = {"width": text_width, "heads": heads, "layers": words}
        config = {"embed_dim": 512, "vision_cfg": vision, "text_cfg": text}
        repository = f"wkcn/{architecture}-{tag.upper()}"
        yield Checkpoint(architecture, tag, "tinyclip", repository, config, layout="huggingface")


def table(checkpoint: Checkpoint) -> str:
    """Format one checkpoint as a TOML table."""
    content = {"model_cfg": checkpoint.config, "preprocess_cfg": {}}
    network = from_config(Fields(content, checkpoint.architecture)).network
    parameters, gflops = size(network)
    openai = checkpoint.tag == "openai"
    timm = checkpoint.repository.startswith("timm/")
    accuracy = ACCURACY.get(checkpoint.architecture, {}).get(checkpoint.tag)
    tiny = checkpoint.family == "tinyclip"
    mirror = OPENAI_MIRRORS.get(checkpoint.architecture) if openai else None
    mirror = mirror or OTHER_MIRRORS.get((checkpoint.architecture, checkpoint.tag))
    values: dict[str, Any] = {
        "family": checkpoint.family,
        "repository": checkpoint.repository,
        # Only timm's file lists were available; otherwise the loader tries the known names in turn
        "files": ["open_clip_config.json", "open_clip_model.safetensors"] if timm else [],
        "layout": checkpoint.layout,
        "mirrors": [mirror] if mirror else None,
        "url": checkpoint.url or None,
        "url_sha256": checkpoint.url.split("/")[-2] if checkpoint.url else None,
        "architecture": checkpoint.architecture,
        "tag": checkpoint.tag,
        "aliases": aliases(checkpoint) or None,
        "activation": "quick_gelu" if checkpoint.quick_gelu else "gelu",
        "activation_source": None if tiny else FLAGS,
        "preprocess": checkpoint.preprocess or None,
        "preprocess_source": None if tiny else FLAGS,
        "image_size": network.vision.image_size,
        "embed_dim": network.embed_dim,
        "context_length": network.text.context_length,
        "parameters": round(parameters / 1e6, 2),
        "gflops": round(gflops / 1e9, 2),
        "license": LICENSES.get(checkpoint.family),
        "accuracy": accuracy,
        "accuracy_source": None if accuracy is None else TINYCLIP_RESULTS if tiny else RESULTS,
    }
    return lines(checkpoint.name, values)


def lines(name: str, values: dict[str, Any]) -> str:
    """Format the values of one checkpoint as a TOML table, without those that are None."""
    known = [f"{key} = {toml(value)}" for key, value in values.items() if value is not None]
    return "\n".join([f'["{name}"]', *known, ""])


def size(network: Any) -> tuple[int, int]:
    """Count parameters, and operations of the image encoder for one image."""
    with torch.device("meta"):
        model = Network(network).eval()
        pixels = torch.empty(1, 3, network.vision.image_size, network.vision.image_size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.visual(pixels)
    return sum(p.numel() for p in model.parameters()), counter.get_total_flops()


def aliases(checkpoint: Checkpoint) -> list[str]:
    """Return additional names that differ in more than punctuation."""
    architecture, tag = checkpoint.architecture, checkpoint.tag
    if tag == "openai":
        return [f"{architecture}:openai"]
    if checkpoint.family == "tinyclip":
        size = re.match(r"TinyCLIP-ViT-(\d+M)-(\d+)", architecture)
        assert size
        return [f"TinyCLIP-{size[1]}/{size[2]}", architecture]
    for family, pattern in FLAGSHIPS.items():
        if re.match(pattern, tag) and (architecture, tag) not in NOT_FLAGSHIPS:
            return [] if tag == family else [f"{architecture}:{family}"]
    return []


def toml(value: Any) -> str:
    """Format a value as TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(v)}" for key, v in value.items()) + " }"
    return json.dumps(value)


if __name__ == "__main__":
    main()
