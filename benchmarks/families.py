"""T15 T16 T17: SigLIP and PE-Core, compared with transformers and open_clip.

The other library writes the checkpoints, with random weights; without it zeroshot writes its own.
Both sides embed the same pixels or the same ids in one process and alternate.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import peers
import torch
from checkpoints import agreement
from images import BFLOAT16, FLOAT32, memory_given_back, ours, row, taken
from safetensors.torch import save_file
from table import Row, Run, main
from torch import Tensor

import zeroshot
from zeroshot import Head, prompts
from zeroshot.checkpoint.layouts import native, timm
from zeroshot.checkpoint.layouts.open_clip_tokenizers import siglip_tokenizer
from zeroshot.diagnostics.bench import SEED, draw, flop_per_image, random_pixels
from zeroshot.nn.network import Network
from zeroshot.spec import (
    NetworkConfig,
    PreprocessConfig,
    Spec,
    TextConfig,
    ViTConfig,
)

HALF = (0.5, 0.5, 0.5)
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
VOCABULARY = 32_000
TEMPLATES = (  # as many as the ImageNet head of OpenAI's notebook
    "itap of a {}",
    "a bad photo of the {}",
    "a origami {}",
    "a photo of the large {}",
    "a {} in a video game",
    "art of the {}",
    "a photo of the small {}",
)
BATCH = 32  # texts, for transformers


def measure(run: Run) -> Iterator[Row]:
    """Measure the selected targets."""
    if run.wants("T15"):
        yield from images(run, "T15", "SigLIP B/16", siglip_folder(run), siglip_images)
    if run.wants("T16"):
        yield from images(run, "T16", "PE-Core B/16", pe_folder(run), pe_images)
    if run.wants("T17"):
        yield from head(run)


def siglip(run: Run) -> Spec:
    """Return SigLIP B/16, or a tiny one."""
    width, layers, heads = run.size((768, 12, 12), (32, 2, 2))
    size, vocabulary = run.size((224, VOCABULARY), (32, 1000))
    vision = timm.TOWERS["vit_base_patch16_siglip"]
    sizes = {"width": width, "layers": layers, "heads": heads, "mlp_width": 4 * width}
    pool = {"pool_heads": heads, "pool_mlp_width": 4 * width}
    text: dict[str, Any] = sizes | {"activation": "gelu_tanh", "eps": 1e-6, "causal": False}
    return Spec(
        NetworkConfig(
            width,
            ViTConfig(**vars(vision) | sizes | pool | {"activation": "gelu_tanh"}).resized(size),
            TextConfig(64, vocabulary, pool="last", projection="biased", **text),
            logit_bias=True,
        ),
        PreprocessConfig(size, HALF, HALF, resize_mode="squash"),
        scoring="sigmoid",
        tokenizer=siglip_tokenizer(64, vocabulary),
    )


def perception_encoder(run: Run) -> Spec:
    """Return PE-Core B/16, or a tiny one."""
    vision = timm.TOWERS["vit_pe_core_base_patch16"].resized(run.size(224, 32))
    text = TextConfig(32, 49408, *run.size((1024, 24, 16, 4096), (64, 2, 1, 256)), "gelu")
    if run.quick:
        small = {"width": 64, "layers": 2, "heads": 2, "mlp_width": 128, "pool_mlp_width": 256}
        vision = ViTConfig(**vars(vision) | small)
    preprocess = PreprocessConfig(vision.image_size, HALF, HALF, "bilinear", "squash")
    return Spec(NetworkConfig(run.size(1024, 32), vision, text), preprocess)


# ---- checkpoints


def siglip_folder(run: Run) -> Path:
    """Return a folder of a SiglipModel with random weights; create it if missing."""

    def write(folder: Path) -> None:
        if not peers.installed("transformers"):
            _write_native(folder, siglip(run))
            return
        network = siglip(run).network
        library = peers.transformers()
        model = library.SiglipModel(library.SiglipConfig(**_siglip_config(network)))
        _draw(model)
        model.save_pretrained(folder)
        size = network.vision.image_size
        settings = {"image_mean": HALF, "image_std": HALF, "size": {"height": size, "width": size}}
        library.SiglipImageProcessor(**settings).save_pretrained(folder)

    folder = _made(run.work / "SigLIP-B-16", write)
    pieces = ["[UNK]", "</s>", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    count = siglip(run).network.text.vocab_size
    pieces += [f"[unused{number}]" for number in range(count - len(pieces))]
    (folder / "vocab.txt").write_text("\n".join(pieces), "utf-8")  # one token per letter
    return folder


def _siglip_config(network: NetworkConfig) -> dict[str, Any]:
    def tower(config: Any) -> dict[str, Any]:
        return {
            "hidden_size": config.width,
            "num_hidden_layers": config.layers,
            "num_attention_heads": config.heads,
            "intermediate_size": config.mlp_width,
        }

    vision, text = network.vision, network.text
    return {
        "vision_config": tower(vision) | {"image_size": vision.image_size},
        "text_config": tower(text) | {"vocab_size": text.vocab_size},
    }


def pe_folder(run: Run) -> Path:
    """Return a folder of a PE-Core with random weights; create it if missing."""

    def write(folder: Path) -> None:
        if not peers.installed("open_clip", "timm") or run.quick:
            _write_native(folder, perception_encoder(run))
            return
        library = peers.open_clip()
        model = library.create_model("PE-Core-B-16", load_weights=False)
        _draw(model)
        tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
        save_file(tensors, folder / "open_clip_model.safetensors")
        preprocess = {"mean": HALF, "std": HALF, "interpolation": "bilinear"}
        config = {
            "model_cfg": library.get_model_config("PE-Core-B-16"),
            "preprocess_cfg": preprocess | {"resize_mode": "squash"},
        }
        (folder / "open_clip_config.json").write_text(json.dumps(config), "utf-8")

    return _made(run.work / "PE-Core-B-16", write)


def _write_native(folder: Path, spec: Spec) -> None:
    """Write a checkpoint with random weights in the package's own layout."""
    metadata = {native.METADATA_KEY: json.dumps(native.to_json(spec))}
    save_file(draw(spec.network), folder / "model.safetensors", metadata)


def _made(folder: Path, write: Callable[[Path], object]) -> Path:
    if not folder.is_dir():
        part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
        part.mkdir()
        try:
            write(part)
            os.replace(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folder


def _draw(model: torch.nn.Module) -> None:
    """Draw all weights, so that different inputs get clearly different embeddings."""
    random = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for name, values in model.named_parameters():
            if name.startswith("logit_"):
                continue
            values.normal_(generator=random)
            if values.ndim >= 2 and "embed" not in name:
                values.mul_(values[0].numel() ** -0.5)
            elif values.ndim == 1:
                values.mul_(0.1).add_("norm" in name and name.endswith("weight"))


# ---- measurements


def siglip_images(folder: Path, pixels: Tensor) -> Callable[[], Tensor] | None:
    """Return how transformers embeds pixels, or None without it."""
    if not peers.installed("transformers"):
        return None
    model = peers.transformers().SiglipModel.from_pretrained(folder, local_files_only=True).eval()
    return partial(peers.transformers_images(model, 8), pixels)


def pe_images(folder: Path, pixels: Tensor) -> Callable[[], Tensor] | None:
    """Return how open_clip embeds pixels, or None without it."""
    if not (folder / "open_clip_config.json").is_file():
        return None
    model, _ = peers.open_clip_model(folder)

    @torch.inference_mode()
    def encode() -> Tensor:
        return torch.cat([model.encode_image(part) for part in pixels.split(8)])

    return encode


def images(
    run: Run,
    number: str,
    model_name: str,
    folder: Path,
    peer: Callable[[Path, Tensor], Callable[[], Tensor] | None],
) -> Iterator[Row]:
    """T15 and T16: images per second."""
    over = {"T15": "transformers float32", "T16": "open_clip float32"}[number]
    network = {"T15": siglip, "T16": perception_encoder}[number](run).network
    with memory_given_back():
        count = run.size(16, 2)
        pixels = random_pixels(count, network.vision.image_size)
        contenders = ours(folder, BFLOAT16, pixels) | ours(folder, FLOAT32, pixels)
        encode = peer(folder, pixels)
        if encode is not None:
            contenders[over] = encode
        found = taken(run, contenders, rounds=5)
        work = flop_per_image(Network(network).visual, network.vision.image_size)
        for dtype in (BFLOAT16, FLOAT32):
            name = f"zeroshot {dtype}"
            note = "" if encode is None else f"cosine {agreement(contenders[name](), encode()):.6f}"
            yield row(
                found,
                number=number,
                what=f"{model_name} images/s, {name} vs. {over}",
                name=name,
                over=over,
                images=count,
                flop=work,
                note=note,
            )


def head(run: Run) -> Iterator[Row]:
    """T17: a head of SigLIP, whose texts have 64 tokens because the model reads the padding.

    No prefix is shared, so the time is proportional to the number of prompts: zeroshot builds the
    head of some labels, transformers embeds some prompts, and both times are scaled.
    """
    folder = siglip_folder(run)
    names = [each[0] for each in prompts.labels("imagenet").values()]
    labels = [label for label in dict.fromkeys(names) if label.isascii()]
    prompt_set = prompts.PromptSet(TEMPLATES[: run.size(len(TEMPLATES), 2)])
    total, built = run.size(1000, 20), labels[: run.size(60, 10)]
    texts = [template.replace("{}", x) for x in built for template in prompt_set.templates]
    sample = random.Random(SEED).sample(texts, run.size(64, 4))
    over = "transformers float32"
    for dtype in (FLOAT32, BFLOAT16):
        with memory_given_back():
            model = zeroshot.load(folder, device="cpu", dtype=dtype)
            name = f"zeroshot {dtype}"
            contenders: dict[str, Callable[[], object]] = {
                name: partial(Head.build, model, built, prompt_set, allow_equal=True)
            }
            note = ""
            if peers.installed("transformers"):
                library = peers.transformers().SiglipModel
                theirs = library.from_pretrained(folder, local_files_only=True).eval()
                ids = torch.from_numpy(model.tokenizer(sample))
                encode = partial(peers.transformers_texts(theirs, BATCH), ids)
                contenders[over] = encode
                note = f"cosine {agreement(model.encode_text(sample), encode()):.6f}; "
            found = taken(run, contenders, rounds=3)
            seconds = found.median(name) * total / len(built)
            figures = f"{seconds:.0f} s, scaled; {note}GEMM {found.gemm(dtype):,.0f} GFLOP/s"
            what = f"SigLIP B/16 head of {len(prompt_set.templates)} x {total}, {name}"
            reached = None
            if over in contenders:
                reached = found.ratio(name, over) * len(texts) / len(sample)
                theirs_s = found.median(over) * total * len(prompt_set.templates) / len(sample)
                figures += f"; {over} {theirs_s:.0f} s, scaled"
            yield Row("T17", f"{what} vs. {over}", reached, figures)


if __name__ == "__main__":
    main(measure, __doc__)
