"""Compare zeroshot with the reference implementations and write docs/parity.md.

`make parity` runs this script in the environment created by environment.sh. Weights are random and
seeded. Shapes are those of published checkpoints, or small ones that cover edge cases. Exits with 1
if an error is above its tolerance.
"""

from __future__ import annotations

import contextlib
import gc
import json
import lzma
import os
import platform
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import bert
import checkpoints
import convolutional
import eva
import metaclip
import naflex
import numpy as np
import pictures
import siglip
import torch
from checkpoints import Peer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from make_fixtures import pixels_of_photographs
from numpy.typing import NDArray
from peers import (
    OPENAI_MEAN,
    OPENAI_STD,
    OpenAIClip,
    SimpleTokenizer,
    clip,
    open_clip,
    open_clip_transform,
    openai_transform,
    release,
    rgb_first,
)
from PIL import Image
from sentences import BLOCKS, EMOJI, ODD, PHRASES, TEMPLATES

import zeroshot
from zeroshot.images.preprocess import Preprocess
from zeroshot.spec import Interpolation, ResizeMode
from zeroshot.tokenizers import tokenizer_files
from zeroshot.tokenizers.clip import ClipTokenizer

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "docs" / "parity.md"
EMBEDDING = 1e-5  # relative to the embedding's norm, in float32
GRAY_LEVEL = 1.001  # one of 255, plus the rounding of the normalization
PROBABILITY = 1e-5
EXAMPLES = 2500  # random texts per hypothesis strategy
VOCABULARY = 49408
SCALED_MODES = ("I;16", "I", "F")  # zeroshot scales them to 8 bits, the references clip
OPENAI, OPEN_CLIP, TRANSFORMERS = "clip-anytorch", "open_clip_torch", "transformers"

LABELS = (
    "tench", "golden retriever", "tabby cat", "airliner", "container ship", "espresso",
    "acoustic guitar", "volcano", "St. Bernard", "crane (bird)",
)  # fmt: skip
SEVEN_TEMPLATES = (  # OpenAI's subset, notebooks/Prompt_Engineering_for_ImageNet.ipynb
    "itap of a {}.", "a bad photo of the {}.", "a origami {}.", "a photo of the large {}.",
    "a {} in a video game.", "art of the {}.", "a photo of the small {}.",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One row of the report."""

    peer: str
    subject: str
    what: str
    error: float
    tolerance: float
    note: str = ""

    @property
    def good(self) -> bool:
        return self.error <= self.tolerance  # false for NaN


def main() -> int:
    tokenizer_files.MIN_SHARE = 0  # towers of full size read the small vocabularies trained here
    torch.set_num_threads(max(1, min(4, os.cpu_count() or 1)))
    started = time.perf_counter()
    rows: list[Row] = []
    for part in (
        *(sizes, other_sizes, tokens, pixels, hf_pixels, naflex_pixels),
        *(case.rows for case in CASES),
    ):
        try:
            for row in part():
                rows.append(row)
                verdict = "ok  " if row.good else "FAIL"
                print(
                    f"{verdict} {row.error:9.2e} <= {row.tolerance:7.1e}  {row.peer:16s} "
                    f"{row.subject}: {row.what}  {row.note}",
                    flush=True,
                )
        except Exception as error:  # one failing part must not hide the others
            traceback.print_exc()
            what = f"comparison failed: {type(error).__name__}"
            case = getattr(part, "__self__", None)
            peer, subject = (case.peer, case.subject) if case else ("-", part.__name__)
            rows.append(Row(peer, subject, what, float("nan"), 0.0))
        gc.collect()
    write_report(rows)
    failures = [row for row in rows if not row.good]
    seconds = time.perf_counter() - started
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{len(rows) - len(failures)} of {len(rows)} comparisons within tolerance; "
        f"{seconds:.0f} s, peak {gigabytes:.1f} GB; wrote {REPORT.relative_to(ROOT)}"
    )
    return 1 if failures else 0


# ---- checkpoints


@dataclass(frozen=True)
class Case:
    """A checkpoint that a reference package writes and both packages read."""

    peer: str
    subject: str
    entry: str
    write: Callable[[Path], None]
    read: Callable[[Path], Peer]
    like: str | None = None  # for bare state dicts, which do not store the activation
    head: bool = False  # compare the zero-shot head too

    def rows(self) -> Iterator[Row]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / self.entry
            self.write(path)
            model = zeroshot.load(path, device="cpu", dtype="float32", like=self.like)
            peer = self.read(path)
            with torch.inference_mode():
                yield from self._compared(model, peer)
                if self.head:
                    yield from self._compared_heads(model, peer)

    def _row(self, what: str, error: float, tolerance: float) -> Row:
        return Row(self.peer, self.subject, what, error, tolerance)

    def _compared(self, model: Any, peer: Peer) -> Iterator[Row]:
        photographs = pictures.some_photographs()
        seen = together([peer.transform(Image.fromarray(array)) for array in photographs])
        ids = peer.tokenize(pictures.SOME_SENTENCES)
        image, text = peer.image_tower(seen), peer.text_tower(ids)
        logits = peer.logits(seen, ids)
        sentences = list(pictures.SOME_SENTENCES)

        levels = max(
            levels_apart(model.prepare(array), pixels.numpy(), peer.std)
            for array, pixels in zip(photographs, seen, strict=True)
        )
        yield self._row("pixels of photographs, gray levels", levels, GRAY_LEVEL)
        towers = model.encode_pixels(seen)
        yield self._row(
            "image embeddings from the same pixels", far(towers, unit(image)), EMBEDDING
        )
        features = model.encode_pixels(seen, project=False)
        yield self._row(
            "features before the projection", far(features, unprojected(peer, seen)), EMBEDDING
        )
        pictured = model.encode_image(photographs, normalize=False)
        yield self._row("image embeddings from images", far(pictured, image), EMBEDDING)
        different = (model.tokenizer(sentences, truncate=True) != ids.numpy()).any(axis=1).sum()
        yield self._row("token rows, mismatches", float(different), 0.0)
        written = model.encode_text(sentences, normalize=False, truncate=True)
        yield self._row("text embeddings", far(written, text), EMBEDDING)
        scale = abs(model.logit_scale / peer.logit_scale - 1)
        yield self._row("logit scale, relative", scale, 1e-6)
        scores = model.logit_scale * model.similarity(pictured, written) + (model.logit_bias or 0)
        gap = (scores - logits).abs().max().item() / model.logit_scale
        yield self._row("logits divided by the logit scale", gap, EMBEDDING)
        gap = (peer.probabilities(scores) - peer.probabilities(logits)).abs().max().item()
        if peer.logit_bias is None:
            yield self._row("probabilities", gap, PROBABILITY)
            return
        yield self._row("logit bias", abs(model.logit_bias - peer.logit_bias), 1e-6)
        yield self._row("sigmoid probabilities", gap, PROBABILITY)

    def _compared_heads(self, model: Any, peer: Peer) -> Iterator[Row]:
        """Compare our head with open_clip's build_zero_shot_classifier (prompt ensembling)."""
        expected = open_clip.build_zero_shot_classifier(
            peer.model, open_clip.SimpleTokenizer(), list(LABELS), list(SEVEN_TEMPLATES)
        )
        classifier = model.classifier(list(LABELS), prompts=list(SEVEN_TEMPLATES))
        what = f"zero-shot head, {len(LABELS)} labels x {len(SEVEN_TEMPLATES)} templates"
        yield self._row(what, far(classifier.head.weight, expected.T), EMBEDDING)
        photographs = pictures.some_photographs()
        seen = torch.stack([peer.transform(Image.fromarray(array)) for array in photographs])
        logits = peer.logit_scale * unit(peer.image_tower(seen)) @ expected
        found = torch.from_numpy(classifier.predict_proba(photographs))
        gap = (found - logits.softmax(dim=1)).abs().max().item()
        yield self._row("classifier probabilities", gap, PROBABILITY)


def together(images: list[torch.Tensor]) -> Any:
    """Stack the pixels of images of one size; those of NaFlex have different shapes."""
    same = len({image.shape for image in images}) == 1
    return torch.stack(images) if same else images


def far(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the largest distance of a row from its target, relative to the target's norm."""
    return float(((found - expected).norm(dim=-1) / expected.norm(dim=-1)).max())


def unprojected(peer: Peer, pixels: torch.Tensor) -> torch.Tensor:
    """Run a peer's image tower without its projection to the shared space: [n, w]."""
    if peer.features is not None:
        return peer.features(pixels)
    visual = getattr(peer.model, "visual", None)
    if visual is None:  # transformers
        found: torch.Tensor = peer.model.vision_model(pixel_values=pixels).pooler_output
        return found
    if hasattr(visual, "trunk"):  # timm; its head is the projection, if it has one
        if len(visual.head):  # a projection behind timm's tower
            found = visual.trunk(pixels)
            return found
        head = visual.trunk.head
        owner, name = (head, "fc") if hasattr(head, "fc") else (visual.trunk, "head")
        projection = getattr(owner, name)
        setattr(owner, name, torch.nn.Identity())
        try:
            found = visual(pixels)
        finally:
            setattr(owner, name, projection)
        return found
    # attention pooling reads the weights of c_proj, so a hook would see nothing
    owner, name = (visual.attnpool, "c_proj") if hasattr(visual, "attnpool") else (visual, "proj")
    projection = getattr(owner, name)
    setattr(owner, name, identity(projection.in_features) if name == "c_proj" else None)
    try:
        found = visual(pixels)
    finally:
        setattr(owner, name, projection)
    return found


def identity(width: int) -> torch.nn.Linear:
    layer = torch.nn.Linear(width, width)
    layer.weight.data, layer.bias.data = torch.eye(width), torch.zeros(width)
    return layer


def unit(embeddings: torch.Tensor) -> torch.Tensor:
    rows: torch.Tensor = embeddings / embeddings.norm(dim=-1, keepdim=True)
    return rows


VIT_B_32 = {
    "embed_dim": 512, "image_resolution": 224, "vision_layers": 12, "vision_width": 768,
    "vision_patch_size": 32, "context_length": 77, "vocab_size": VOCABULARY,
    "transformer_width": 512, "transformer_heads": 8, "transformer_layers": 12,
}  # fmt: skip
RN50 = VIT_B_32 | {
    "embed_dim": 1024,
    "vision_layers": (3, 4, 6, 3),
    "vision_width": 64,
    "vision_patch_size": None,
}
PREPROCESS = {"mean": list(OPENAI_MEAN), "std": list(OPENAI_STD)}


def openai_archive(shape: dict[str, Any], seed: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        model = OpenAIClip(**shape)
        checkpoints.randomize(model, seed, logit_scale=100.0)
        if shape["vision_patch_size"] is None:
            checkpoints.settle_batch_norm(model, pixels_of_photographs(shape["image_resolution"]))
        checkpoints.write_openai_archive(model, path)

    return write


def state_dict(shape: dict[str, Any], seed: int, *, zipped: bool) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        model = OpenAIClip(**shape)
        checkpoints.randomize(model, seed, logit_scale=100.0)
        torch.save(model.state_dict(), path, _use_new_zipfile_serialization=zipped)

    return write


def long_clip(seed: int) -> Callable[[Path], None]:
    """Return a writer of a file of Long-CLIP, whose two tables of positions are one of OpenAI's."""

    def write(path: Path) -> None:
        model = OpenAIClip(**SMALL_VIT | {"context_length": LONG})
        checkpoints.randomize(model, seed, logit_scale=100.0)
        state = model.state_dict()
        torch.save(state, path.with_name("one-table.pt"))
        name = "positional_embedding"
        first, second = state[name].clone(), state[name].clone()
        first[KEPT:], second[:KEPT] = second[:-KEPT], 9.0  # neither is read
        torch.save(state | {name: first, f"{name}_res": second}, path)

    return write


def read_long_clip(path: Path) -> Peer:
    return checkpoints.read_openai_state_dict(path.with_name("one-table.pt"))


def open_clip_folder(
    config: dict[str, Any],
    seed: int,
    *,
    form: str = "safetensors",
    preprocess: dict[str, Any] | None = None,
    pixels: torch.Tensor | None = None,
) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        checkpoints.write_open_clip_folder(
            path,
            config,
            preprocess or PREPROCESS,
            seed=seed,
            logit_scale=64.0,
            form=form,
            pixels=pixels,
        )

    return write


def hf_folder(activation: str, seed: int, *, terse: bool) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        checkpoints.write_hf_folder(
            path,
            text={"hidden_act": activation, "eos_token_id": 2 if terse else 49407},
            vision={"hidden_act": activation, "image_size": 224, "patch_size": 32},
            embed_dim=512,
            seed=seed,
            logit_scale=80.0,
            terse=terse,
        )

    return write


def timm_folder(name: str, interpolation: str, seed: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        siglip.write_open_clip_folder(path, name, interpolation, seed=seed, logit_scale=20.0)

    return write


def convnext_folder(projection: str, seed: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        convolutional.write_convnext(path, convolutional.convnext(projection), seed)

    return write


def mobileclip_folder(tower: str, preprocess: dict[str, Any], seed: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        config = convolutional.mobileclip(tower)
        convolutional.write_mobileclip(path, config, preprocess, seed)

    return write


def siglip_folder(seed: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        siglip.write_hf_folder(path, text={}, vision={}, seed=seed, logit_scale=20.0)

    return write


def naflex_folder(seed: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        naflex.write_hf_folder(path, text={}, vision={}, seed=seed, logit_scale=20.0)

    return write


def _text(width: int, heads: int, layers: int, context: int = 77) -> dict[str, int]:
    return {
        "context_length": context, "vocab_size": VOCABULARY, "width": width, "heads": heads,
        "layers": layers,
    }  # fmt: skip


H_14_LIKE = {  # head width 80, as in ViT-H/14
    "embed_dim": 96,
    "vision_cfg": {
        "image_size": 224, "layers": 4, "width": 240, "head_width": 80, "patch_size": 14,
    },
    "text_cfg": _text(128, 2, 3),
}  # fmt: skip
BIGG_14_LIKE = {  # head width 104 and a fractional MLP ratio, as in ViT-bigG/14
    "embed_dim": 80,
    "quick_gelu": True,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 112, "layers": 2, "width": 208, "head_width": 104, "mlp_ratio": 4.9231,
        "patch_size": 14,
    },
    "text_cfg": _text(96, 3, 2, context=40),
}  # fmt: skip
SMALL_RESNET = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 96, "layers": [1, 2, 1, 1], "width": 16, "patch_size": None},
    "text_cfg": _text(64, 1, 2),
}
SQUASH = {
    "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic",
    "resize_mode": "squash",
}  # fmt: skip
LONG, KEPT = 248, 20  # tokens of Long-CLIP, rows of its first table of positions
BILINEAR = {"interpolation": "bilinear"}
NEUTRAL = {"mean": [0.0] * 3, "std": [1.0] * 3} | BILINEAR  # of MobileCLIP S0 to S2
SMALL_VIT = VIT_B_32 | {"vision_layers": 3, "transformer_layers": 3}


EVA: tuple[tuple[int, str, dict[str, Any]], ...] = (
    (51, "EVA02-B-16", {}), (52, "EVA02-L-14-336", {}), (53, "EVA02-E-14", {}),
    (54, "EVA01-g-14", {}), (55, "MobileCLIP2-L-14", {}),
    (56, "MobileCLIP-B", {"mean": [0.0] * 3, "std": [1.0] * 3, "interpolation": "bilinear"}),
)  # fmt: skip


def _cases() -> tuple[Case, ...]:
    archive, folder = checkpoints.read_openai_archive, checkpoints.read_open_clip_folder
    b_32, b_32_quick = (
        open_clip.get_model_config(name) for name in ("ViT-B-32", "ViT-B-32-quickgelu")
    )
    resnet_pixels = pixels_of_photographs(96)
    return (
        Case(OPENAI, "TorchScript archive, ViT-B/32", "ViT-B-32.pt",
             openai_archive(VIT_B_32, 11), archive),
        Case(OPENAI, "TorchScript archive, RN50", "RN50.pt", openai_archive(RN50, 12), archive),
        Case(OPENAI, "state dict, torch.save zip format", "zip.pt",
             state_dict(SMALL_VIT, 13, zipped=True), archive, like="ViT-B/32"),
        Case(OPENAI, "state dict, torch.save legacy format", "legacy.pt",
             state_dict(SMALL_VIT, 14, zipped=False), archive, like="ViT-B/32"),
        Case(OPENAI, "Long-CLIP's file, two tables of positions", "longclip-B.pt",
             long_clip(15), read_long_clip),
        Case(OPEN_CLIP, "folder, safetensors, ViT-B-32 (GELU)", "b32",
             open_clip_folder(b_32, 21), folder, head=True),
        Case(OPEN_CLIP, "folder, .bin zip, ViT-B-32-quickgelu", "b32q",
             open_clip_folder(b_32_quick, 22, form="zip"), folder, head=True),
        Case(OPEN_CLIP, "folder, legacy .bin, H/14-like, head width 80", "h14",
             open_clip_folder(H_14_LIKE, 23, form="legacy"), folder),
        Case(OPEN_CLIP, "folder, custom text, bigG/14-like, head width 104", "bigg",
             open_clip_folder(BIGG_14_LIKE, 24), folder),
        Case(OPEN_CLIP, "folder, small ResNet, squash", "rn",
             open_clip_folder(SMALL_RESNET, 25, preprocess=SQUASH, pixels=resnet_pixels), folder),
        Case(TRANSFORMERS, "CLIPModel folder, ViT-B/32, quick_gelu, config without defaults", "hfq",
             hf_folder("quick_gelu", 31, terse=True), checkpoints.read_hf_folder),
        Case(TRANSFORMERS, "CLIPModel folder, ViT-B/32, gelu", "hfg",
             hf_folder("gelu", 32, terse=False), checkpoints.read_hf_folder),
        Case(OPEN_CLIP, "folder, ViT-B-16-SigLIP", "ocs",
             timm_folder("ViT-B-16-SigLIP", "bicubic", 26), siglip.read_open_clip_folder),
        Case(OPEN_CLIP, "folder, PE-Core-T-16-384", "ocp",
             timm_folder("PE-Core-T-16-384", "bilinear", 27), siglip.read_open_clip_folder),
        Case(OPEN_CLIP, "Meta's own file, PE-Core-T16-384", "PE-Core-T16-384.pt",
             siglip.meta_file("PE-Core-T-16-384", 28), siglip.read_meta_file),
        *(
            Case(OPEN_CLIP, f"folder, ConvNeXt with a projection of {layers}", f"occ{seed}",
                 convnext_folder(projection, seed), folder)
            for seed, projection, layers in ((58, "linear", "one layer"), (59, "mlp", "two layers"))
        ),
        Case(OPEN_CLIP, "folder, MobileCLIP with FastViT of S0", "ocmobile",
             mobileclip_folder("fastvit_mci0", NEUTRAL, 28), folder),
        Case(OPEN_CLIP, "folder, MobileCLIP with a small FastViT like that of S4", "ocmobilel",
             mobileclip_folder("fastvit_test_large", PREPROCESS | BILINEAR, 29), folder),
        *(
            Case(OPEN_CLIP, f"Apple's own file, small {model}", f"{model}.pt",
                 convolutional.apple_file(model, seed), convolutional.read_apple_file)
            for seed, model in ((65, "MobileCLIP-S1"), (66, "MobileCLIP-B"))
        ),
        Case(TRANSFORMERS, "SiglipModel folder, B/16", "hfs",
             siglip_folder(33), siglip.read_hf_folder),
        Case(OPEN_CLIP, "folder, MetaCLIP 2 like H/14, XLM-V tokenizer", "ocm",
             metaclip.open_clip_folder("facebook/xlm-v-base", 41, squash=False),
             metaclip.read_open_clip_folder),
        Case(OPEN_CLIP, "folder, MetaCLIP 2 like H/14-378, squash", "ocm378",
             metaclip.open_clip_folder("facebook/xlm-v-base", 42, squash=True),
             metaclip.read_open_clip_folder),
        Case(OPEN_CLIP, "folder, MetaCLIP 2 like L/14, mT5 tokenizer", "ocmt5",
             metaclip.open_clip_folder("google/mt5-base", 43, squash=False),
             metaclip.read_open_clip_folder),
        Case(TRANSFORMERS, "MetaClip2Model folder, XLM-V tokenizer", "hfm",
             metaclip.hf_folder("facebook/xlm-v-base", 44), metaclip.read_hf_folder),
        Case(TRANSFORMERS, "MetaClip2Model folder, mT5 tokenizer", "hfmt5",
             metaclip.hf_folder("google/mt5-base", 45), metaclip.read_hf_folder),
        *(
            Case(OPEN_CLIP, f"folder, narrow {model}", f"oce{seed}",
                 eva.folder(model, seed, preprocess), eva.read_open_clip_folder)
            for seed, model, preprocess in EVA
        ),
        *(
            Case(OPEN_CLIP, f"original file, narrow {model}", f"{model}.pt",
                 eva.own_file(model, seed), eva.read_own_file)
            for seed, model in ((67, "EVA02-L-14-336"), (68, "EVA02-E-14"), (69, "EVA01-g-14"))
        ),
        Case(OPEN_CLIP, "folder, CLIPA, BERT tokenizer", "occlipa",
             eva.clipa_folder(57), eva.read_clipa_folder),
        Case(OPEN_CLIP, "folder, small XLM-R CLIP, ViT", "ocx",
             bert.open_clip_folder(bert.SMALL, 61, vision=bert.SMALL_IMAGE, text=bert.LAION_TEXT,
                                   tokenizer="xlm-roberta-base"),
             bert.read_open_clip_folder),
        Case(OPEN_CLIP, "folder, roberta-ViT-B-32 (QuickGELU in the image tower only)", "ocr",
             bert.open_clip_folder("roberta-base", 62, vision=bert.B_32, text=bert.LAION_TEXT,
                                   tokenizer="roberta-base", quick_gelu=True),
             bert.read_open_clip_folder),
        Case(OPEN_CLIP, "folder, BiomedCLIP", "ocb",
             bert.open_clip_folder(bert.PUBMED, 63, vision=bert.TIMM, text=bert.BIOMED_TEXT,
                                   tokenizer=bert.PUBMED),
             bert.read_open_clip_folder),
        Case(TRANSFORMERS, "ChineseCLIPModel folder, default sizes", "hfc",
             bert.chinese_folder(64), bert.read_chinese_folder),
        Case(TRANSFORMERS, "Siglip2Model folder, NaFlex B/16", "hfn",
             naflex_folder(34), naflex.read_hf_folder),
    )  # fmt: skip


CASES = _cases()


# ---- pixels


def drawn_pictures(folder: Path) -> dict[str, Image.Image]:
    """Return images of every kind in their own mode; the last ones are decoded from files."""
    drawn = {kind.name: kind.draw() for kind in (*pictures.KINDS, *pictures.LARGE_KINDS)}
    for name, content in pictures.encoded_files().items():
        (folder / name).write_bytes(content)
        drawn[name] = Image.open(folder / name)
    return drawn


def pixels() -> Iterator[Row]:
    """Compare gray levels for every kind of image, both orders and every resize mode."""
    ways: list[tuple[Interpolation, ResizeMode]] = [
        ("bicubic", "shortest"),
        ("bilinear", "shortest"),
        ("bicubic", "squash"),
        ("bilinear", "squash"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        drawn = drawn_pictures(Path(folder))
        comparable = {n: p for n, p in drawn.items() if p.mode not in SCALED_MODES}
        for size in (224, 336):
            transform = openai_transform(size)
            what = f"{len(comparable)} images at {size}, as RGB, gray levels"
            yield _pixel_row(OPENAI, what, Preprocess(size), rgb_first_of(transform), comparable)
            what = f"{len(drawn)} images at {size}, OpenAI's order (parity=True), gray levels"
            yield _pixel_row(OPENAI, what, Preprocess(size, parity=True), transform, drawn)
        for interpolation, mode in ways:
            transform = open_clip_transform(128, interpolation=interpolation, resize_mode=mode)
            what = f"{len(comparable)} images at 128, {interpolation}, {mode}, gray levels"
            ours = Preprocess(128, interpolation=interpolation, resize_mode=mode)
            yield _pixel_row(OPEN_CLIP, what, ours, rgb_first_of(transform), comparable)


def rgb_first_of(transform: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    return lambda picture: rgb_first(transform, picture)


def _pixel_row(
    peer: str,
    what: str,
    ours: Preprocess,
    transform: Callable[..., torch.Tensor],
    drawn: dict[str, Image.Image],
) -> Row:
    errors = {
        name: levels_apart(ours(picture), transform(picture).numpy(), ours.std)
        for name, picture in drawn.items()
    }
    worst = max(errors, key=lambda name: errors[name])
    exact = sum(error < 0.01 for error in errors.values())
    note = f"{exact} of {len(errors)} exact"
    if exact < len(errors):
        note += f", worst {worst}"
    return Row(peer, "preprocessing", what, errors[worst], GRAY_LEVEL, note)


def levels_apart(
    found: NDArray[np.float32], expected: NDArray[np.float32], std: tuple[float, ...]
) -> float:
    return float((np.abs(found - expected) * np.array(std)[:, None, None]).max() * 255)


def hf_pixels() -> Iterator[Row]:
    """Compare with transformers' own preprocessing, on images that both crop at the same place.

    transformers rounds the crop offset down, OpenAI rounds half to even. Only images with an even
    remainder can agree.
    """
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    size = 224
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}
    )

    def transform(picture: Image.Image) -> torch.Tensor:
        rows: torch.Tensor = processor(
            images=picture.convert("RGB"), return_tensors="pt"
        ).pixel_values
        return rows[0]

    kinds = [
        kind
        for kind in (*pictures.KINDS, *pictures.LARGE_KINDS)
        if kind.mode == "RGB" and min(kind.width, kind.height) > 4
        and int(size * max(kind.width, kind.height) / min(kind.width, kind.height)) % 2 == 0
    ]  # fmt: skip
    drawn = {kind.name: kind.draw() for kind in kinds}
    what = f"CLIPImageProcessorPil, {len(drawn)} RGB images at {size}, gray levels"
    yield _pixel_row(TRANSFORMERS, what, Preprocess(size), transform, drawn)


# ---- sizes


def sizes() -> Iterator[Row]:
    """Compare the tensors of timm's published towers with zeroshot's table, without values."""
    different = list(eva.different_towers())
    what = f"names and shapes of {len(eva.PUBLISHED)} towers, mismatches"
    yield Row("timm", "image towers by name", what, len(different), 0.0, ", ".join(different))


def other_sizes() -> Iterator[Row]:
    """Compare timm's towers at another image size, where positions are resampled."""
    for model, size in (("EVA02-B-16", 320), ("EVA02-E-14", 280), ("MobileCLIP-B", 256)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "resized"
            eva.folder(model, 58, {})(path)
            ours = zeroshot.load(path, device="cpu", dtype="float32", image_size=size)
            pixels = [ours.prepare(array) for array in pictures.some_photographs()]
            seen = torch.from_numpy(np.stack(pixels))
            with torch.inference_mode():
                expected = unit(eva.resized_peer(path, size).image_tower(seen))
                error = far(ours.encode_pixels(seen), expected)
            what = f"image embeddings with image_size={size}"
            yield Row(OPEN_CLIP, f"folder, narrow {model}", what, error, EMBEDDING)


def naflex_pixels() -> Iterator[Row]:
    """Compare the sizes and gray levels of images that keep their aspect ratio."""
    for most in naflex.LIMITS:
        ours = Preprocess(
            256, (0.5,) * 3, (0.5,) * 3, "bilinear", "aspect",
            patch=naflex.PATCH, max_patches=most,
        )  # fmt: skip
        prepare = naflex.processor(most, naflex.PATCH)
        drawn = {f"{w}x{h}": naflex.drawn(w, h) for w, h in naflex.SIZES}
        what = f"Siglip2ImageProcessorPil, {len(drawn)} images of at most {most} patches"
        transform = partial(naflex.pixels_of, prepare)
        yield _pixel_row(TRANSFORMERS, f"{what}, gray levels", ours, transform, drawn)


# ---- tokens


def tokens() -> Iterator[Row]:
    """Compare ids of the fixture texts, then of texts generated by hypothesis."""
    openai, theirs, ours = SimpleTokenizer(), open_clip.SimpleTokenizer(), ClipTokenizer()
    stored = ROOT / "tests" / "fixtures" / "tokens.json.xz"
    texts = json.loads(lzma.decompress(stored.read_bytes()))["texts"]
    different = sum(list(ours.encode(text)) != openai.encode(text) for text in texts)
    yield Row(OPENAI, "tokenizer", f"{len(texts)} texts, mismatches", different, 0.0)
    cut = clip.tokenize(texts, truncate=True).numpy()
    different = int((ours(texts, truncate=True) != cut).any(axis=1).sum())
    yield Row(OPENAI, "tokenizer", f"{len(texts)} rows truncated to 77, mismatches", different, 0.0)
    plain = [t for t in texts if "<|" not in t and "_of_text" not in t.lower()]
    different = sum(list(ours.encode(text)) != theirs.encode(text) for text in plain)
    what = f"{len(plain)} texts without special tokens, mismatches"
    yield Row(OPEN_CLIP, "tokenizer", what, different, 0.0)
    for name, strategy in STRATEGIES.items():
        yield _drawn_texts(name, strategy, openai, ours)


LETTERS = st.sampled_from(BLOCKS).flatmap(lambda block: st.characters(
    min_codepoint=block[0], max_codepoint=block[1]))  # fmt: skip
PIECES = st.sampled_from((*ODD, *PHRASES, *TEMPLATES, *EMOJI)).map(lambda text: text[:80])
STRATEGIES = {
    "random Unicode": st.text(max_size=60),
    "fragments of all scripts and edge cases": st.lists(
        PIECES | st.text(LETTERS, max_size=8) | st.sampled_from(("&", ";", "&#", "'", " ", "<|"))
    ).map("".join),
}


def _drawn_texts(name: str, strategy: Any, openai: SimpleTokenizer, ours: ClipTokenizer) -> Row:
    seen: set[str] = set()
    shortest: list[str] = []

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(strategy)
    def same(text: str) -> None:
        seen.add(text)
        if list(ours.encode(text)) != openai.encode(text):
            shortest[:] = [text]
            raise AssertionError(text)

    with contextlib.suppress(AssertionError):
        same()
    note = f"for example {shortest[0]!r}" if shortest else ""
    what = f"{len(seen)} texts generated by hypothesis ({name}), mismatches"
    return Row(OPENAI, "tokenizer", what, float(len(shortest)), 0.0, note)


# ---- the report


def deliberate_differences() -> list[str]:
    """Return the difference between OpenAI's order and RGB first, for each image mode."""
    by_mode: dict[str, list[NDArray[np.float32]]] = {}
    transform = openai_transform(224)
    unscaled = np.array(OPENAI_STD)[:, None, None] * 255
    for kind in pictures.KINDS:
        if kind.mode in SCALED_MODES or min(kind.width, kind.height) < 40:
            continue
        picture = kind.draw()
        gap = (transform(picture) - rgb_first(transform, picture)).abs().numpy() * unscaled
        by_mode.setdefault(kind.mode, []).append(gap)
    lines = ["| image mode | mean difference | largest |", "|---|---|---|"]
    for mode, gaps in by_mode.items():
        mean, most = np.mean([gap.mean() for gap in gaps]), max(gap.max() for gap in gaps)
        lines.append(f"| {mode} | {mean:.1f} | {most:.0f} |")
    return lines


def extreme_difference() -> float:
    """Return the largest error in gray levels of images beyond pixels.LONGEST."""
    sizes = ((2, 500), (500, 2), (3, 400), (7, 1200), (1200, 7), (1, 200))
    drawn = [pictures.Kind("RGB", *size, seed=900 + i).draw() for i, size in enumerate(sizes)]
    size = 224
    transform = openai_transform(size)
    return max(
        levels_apart(Preprocess(size)(picture), transform(picture).numpy(), OPENAI_STD)
        for picture in drawn
    )


def write_report(rows: list[Row]) -> None:
    failures = sum(not row.good for row in rows)
    verdict = "All are within tolerance." if not failures else f"**{failures} above tolerance.**"
    versions = ", ".join(
        release(name)
        for name in (OPENAI, OPEN_CLIP, TRANSFORMERS, "torch", "torchvision", "pillow", "ftfy",
                     "regex")
    )  # fmt: skip
    lines = [
        "# Numerical parity",
        "",
        "Generated by `make parity` (tests/parity/compare.py); do not edit. Each reference package "
        "writes a checkpoint with seeded random weights and reads it back with its own code. "
        "zeroshot reads the same file. All results are in float32 on CPU. "
        f"{verdict}",
        "",
        f"Versions: {versions}; Python {platform.python_version()} on {platform.machine()}. "
        "clip-anytorch is OpenAI's clip package as published on PyPI. Pixels are equal with the "
        "same Pillow, which both sides use here: Pillow 13 resamples tall pictures differently "
        "from older releases, by up to 4 gray levels.",
        "",
        "Errors of embeddings are relative to the embedding's norm. Errors of pixels are in gray "
        "levels from 0 to 255. `from the same pixels` passes the reference's pixels to both "
        "encoders; `from images` includes our own preprocessing.",
        "",
        "| reference | checkpoint or component | comparison | max error | tolerance | result |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        what = f"{row.what} ({row.note})" if row.note else row.what
        what = what.replace("|", "\\|").replace("\n", " ")
        lines.append(
            f"| {row.peer} | {row.subject} | {what} | {_number(row.error)} "
            f"| {_number(row.tolerance)} | {'pass' if row.good else '**fail**'} |"
        )
    lines += [
        "",
        "## Intentional differences",
        "",
        "- Images are converted to RGB before they are resized. OpenAI and open_clip resize first, "
        "so Pillow resamples palette and 1-bit images with nearest neighbor. "
        "`Preprocess(..., parity=True)` uses OpenAI's order. Difference between the two orders in "
        "gray levels, for the images of this suite at 224:",
        "",
        *deliberate_differences(),
        "",
        "- Images with 16 or 32 bits per pixel are scaled to 8 bits; the references clip them at "
        "255. EXIF orientation is applied; the references ignore it. With `parity=True`, zeroshot "
        "behaves like the references in both cases.",
        "- For an image more than 100 times as long as wide, only the region of the crop is "
        "resampled, because resampling the whole image can take gigabytes: up to "
        f"{extreme_difference():.0f} gray levels of difference on six such images.",
        "- A text longer than the context length is an error unless `truncate=True`, as in "
        "OpenAI's code. open_clip truncates silently.",
        "- The CLIP tokenizer of transformers does not repair broken Unicode or resolve HTML "
        "entities, and its crop rounds down where OpenAI rounds half to even. zeroshot follows "
        "OpenAI for checkpoints of every format.",
    ]
    REPORT.parent.mkdir(exist_ok=True)
    temporary = REPORT.with_suffix(".md.part")
    temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.replace(temporary, REPORT)


def _number(value: float) -> str:
    if value == 0 or value != value:
        return "0" if value == 0 else "-"
    return f"{value:.2f}" if 0.1 <= value < 1000 else f"{value:.1e}"


if __name__ == "__main__":
    sys.exit(main())
