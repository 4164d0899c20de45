"""Write tests/fixtures: tiny checkpoints, tokens and pixels, with outputs of the references.

    tests/parity/environment.sh tests/parity/make_fixtures.py

The weights are random and seeded. tests/test_golden.py compares zeroshot with the outputs.
"""

from __future__ import annotations

import io
import json
import lzma
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
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
from checkpoints import MODULE, Peer
from numpy.typing import NDArray
from peers import (
    OPENAI_MEAN,
    OPENAI_STD,
    OpenAIClip,
    SimpleTokenizer,
    clip,
    gray_levels,
    open_clip_transform,
    openai_transform,
    release,
    rgb_first,
)
from PIL import Image
from sentences import sentences

from tests.tokenizers.training import XLM_R, train

FIXTURES = Path(__file__).parents[1] / "fixtures"
SPREAD = 0.95  # highest allowed cosine between two inputs of a fixture
VOCABULARY = 49408
HALF = (0.5, 0.5, 0.5)
WAYS = (("bicubic", "squash"), ("bilinear", "squash"), ("bilinear", "shortest"))


@dataclass(frozen=True)
class Tiny:
    """One golden checkpoint: its entry path, and the functions that write and read it."""

    name: str
    entry: str  # path to pass to zeroshot.load, relative to the unpacked folder
    write: Callable[[Path], None]
    read: Callable[[Path], Peer]


def main() -> None:
    torch.set_num_threads(1)
    FIXTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FIXTURES) as temporary:  # replace all or none
        folder = Path(temporary)
        for tiny in TINY:
            write_checkpoint(tiny, folder)
        write_naflex(folder)
        write_tokens(folder)
        write_pixels(folder)
        for old in FIXTURES.glob("*.xz"):
            old.unlink()
        for path in folder.iterdir():
            path.rename(FIXTURES / path.name)
    sizes = {path.name: path.stat().st_size for path in sorted(FIXTURES.glob("*.xz"))}
    for name, size in sizes.items():
        print(f"{size:9,d}  {name}")
    print(f"{sum(sizes.values()):9,d}  in all")


# ---- checkpoints


def write_checkpoint(tiny: Tiny, target: Path) -> None:
    """Pack a checkpoint with the outputs of the reference that reads it."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tiny.write(folder / tiny.entry)
        answers = ask(tiny.read(folder / tiny.entry))
        for kind in ("image_unit", "text_unit"):
            cosines = answers[kind] @ answers[kind].T - 2 * np.eye(len(answers[kind]))
            assert cosines.max() < SPREAD, f"{tiny.name}: {kind} too similar, {cosines.max()}"
        save_arrays(folder / "answers.npz", answers)
        (folder / "entry.txt").write_text(tiny.entry)
        pack(folder, target / f"{tiny.name}.tar.xz")


@torch.no_grad()
def ask(peer: Peer) -> dict[str, NDArray[Any]]:
    """Return the outputs of a reference for the standard images and sentences."""
    photographs = [Image.fromarray(array) for array in pictures.some_photographs()]
    pixels = torch.stack([peer.transform(photograph) for photograph in photographs])
    ids = peer.tokenize(pictures.SOME_SENTENCES)
    image, text = peer.image_tower(pixels), peer.text_tower(ids)
    assert image.dtype == text.dtype == torch.float32
    logits = peer.logits(pixels, ids)
    answers = {
        "pixels": torch.from_numpy(np.stack([gray_levels(p, peer.mean, peer.std) for p in pixels])),
        "mean": torch.tensor(peer.mean, dtype=torch.float64),
        "std": torch.tensor(peer.std, dtype=torch.float64),
        "ids": ids.to(torch.int32),
        "image": image,
        "image_unit": image / image.norm(dim=-1, keepdim=True),
        "text": text,
        "text_unit": text / text.norm(dim=-1, keepdim=True),
        "logits": logits,
        "probabilities": peer.probabilities(logits),
        "logit_scale": torch.tensor(peer.logit_scale, dtype=torch.float64),
    }
    if peer.logit_bias is not None:
        answers["logit_bias"] = torch.tensor(peer.logit_bias, dtype=torch.float64)
    return {name: value.numpy() for name, value in answers.items()}


def write_openai_vit(path: Path) -> None:
    """Two heads of width 64 in the image encoder, one in the text encoder: OpenAI's rule."""
    model = OpenAIClip(
        embed_dim=48, image_resolution=32, vision_layers=2, vision_width=128, vision_patch_size=8,
        context_length=77, vocab_size=VOCABULARY,
        transformer_width=64, transformer_heads=1, transformer_layers=2,
    )  # fmt: skip
    checkpoints.randomize(model, seed=1, logit_scale=23.7)
    checkpoints.write_openai_archive(model, path)


def write_openai_resnet(path: Path) -> None:
    model = OpenAIClip(
        embed_dim=40, image_resolution=64, vision_layers=(2, 1, 1, 1), vision_width=6,
        vision_patch_size=None, context_length=77, vocab_size=VOCABULARY,
        transformer_width=64, transformer_heads=1, transformer_layers=1,
    )  # fmt: skip
    checkpoints.randomize(model, seed=2, logit_scale=31.0)
    checkpoints.settle_batch_norm(model, pixels_of_photographs(64))
    checkpoints.write_openai_archive(model, path)


def write_bare_state_dict(path: Path) -> None:
    """A training checkpoint of open_clip, in torch.save's legacy format (before 2020)."""
    model = OpenAIClip(
        embed_dim=32, image_resolution=32, vision_layers=1, vision_width=64, vision_patch_size=16,
        context_length=77, vocab_size=VOCABULARY,
        transformer_width=64, transformer_heads=1, transformer_layers=2,
    )  # fmt: skip
    checkpoints.randomize(model, seed=6, logit_scale=17.0)
    key, prefix = MODULE
    state = {prefix + name: value for name, value in model.state_dict().items()}
    document = {"epoch": 32, "name": "tiny", key: state}
    torch.save(document, path, _use_new_zipfile_serialization=False)


def write_open_clip_gelu(folder: Path) -> None:
    """Unusual shapes: head width 16, MLP ratio 2.5, context length 32."""
    checkpoints.write_open_clip_folder(
        folder,
        {
            "embed_dim": 40,
            "vision_cfg": {
                "image_size": 40, "layers": 3, "width": 48, "head_width": 16, "mlp_ratio": 2.5,
                "patch_size": 8,
            },
            "text_cfg": {
                "context_length": 32, "vocab_size": VOCABULARY, "width": 40, "heads": 5,
                "layers": 2,
            },
        },
        {"mean": list(OPENAI_MEAN), "std": list(OPENAI_STD)},
        seed=3,
        logit_scale=12.5,
    )  # fmt: skip


def write_open_clip_custom_text(folder: Path) -> None:
    """The `text.` layout, QuickGELU, a logit scale of shape [1], torch.save's zip format."""
    checkpoints.write_open_clip_folder(
        folder,
        {
            "embed_dim": 32,
            "quick_gelu": True,
            "custom_text": True,
            "nonscalar_logit_scale": True,
            "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
            "text_cfg": {
                "context_length": 77, "vocab_size": VOCABULARY, "width": 32, "heads": 4,
                "layers": 2,
            },
        },
        {
            "mean": list(OPENAI_MEAN), "std": list(OPENAI_STD), "interpolation": "bicubic",
            "resize_mode": "shortest",
        },
        seed=4,
        logit_scale=44.0,
        form="zip",
    )  # fmt: skip


def write_open_clip_squash(folder: Path) -> None:
    """Preprocessing that differs from OpenAI's in every field."""
    checkpoints.write_open_clip_folder(
        folder,
        {
            "embed_dim": 24,
            "vision_cfg": {
                "image_size": 48, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16,
            },
            "text_cfg": {
                "context_length": 77, "vocab_size": VOCABULARY, "width": 32, "heads": 2,
                "layers": 1,
            },
        },
        {
            "size": 48, "mode": "RGB", "mean": list(HALF), "std": [0.25, 0.5, 0.75],
            "interpolation": "bilinear", "resize_mode": "squash", "fill_color": 0,
        },
        seed=7,
        logit_scale=9.0,
    )  # fmt: skip


def write_hf_quick_gelu(folder: Path) -> None:
    """Like OpenAI's own Hub repositories: legacy end-of-text id 2, defaults omitted."""
    checkpoints.write_hf_folder(
        folder,
        text={
            "hidden_size": 40, "intermediate_size": 100, "num_hidden_layers": 2,
            "num_attention_heads": 5, "hidden_act": "quick_gelu", "eos_token_id": 2,
            "bos_token_id": 0, "pad_token_id": 1,
        },
        vision={
            "hidden_size": 48, "intermediate_size": 192, "num_hidden_layers": 2,
            "num_attention_heads": 4, "hidden_act": "quick_gelu", "image_size": 32,
            "patch_size": 8,
        },
        embed_dim=36,
        seed=5,
        logit_scale=28.0,
        terse=True,
    )  # fmt: skip


def write_hf_gelu(folder: Path) -> None:
    """Like LAION's repositories: GELU, current end-of-text id, all fields present."""
    checkpoints.write_hf_folder(
        folder,
        text={
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
            "num_attention_heads": 2, "hidden_act": "gelu", "bos_token_id": 49406,
            "eos_token_id": 49407,
        },
        vision={
            "hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 3,
            "num_attention_heads": 2, "hidden_act": "gelu", "image_size": 28, "patch_size": 7,
        },
        embed_dim=24,
        seed=8,
        logit_scale=50.0,
    )  # fmt: skip


def write_hf_siglip(folder: Path) -> None:
    """SigLIP: no class token, attention pool, texts without a mask, sigmoid scores."""
    siglip.write_hf_folder(
        folder,
        text={
            "vocab_size": 500, "hidden_size": 32, "intermediate_size": 80, "num_hidden_layers": 2,
            "num_attention_heads": 2, "max_position_embeddings": 32, "projection_size": 48,
        },
        vision={
            "hidden_size": 48, "intermediate_size": 100, "num_hidden_layers": 2,
            "num_attention_heads": 3, "image_size": 40, "patch_size": 8,
        },
        seed=10,
        logit_scale=16.0,
    )  # fmt: skip


def write_open_clip_fastvit(folder: Path) -> None:
    """MobileCLIP: training branches that are folded, texts without a mask, mean 0 and std 1."""
    config = convolutional.mobileclip("fastvit_test_small", image_size=64, width=24)
    preprocess = {"mean": [0.0] * 3, "std": [1.0] * 3, "interpolation": "bilinear"}
    convolutional.write_mobileclip(folder, config, preprocess, seed=12)


def write_open_clip_convnext(folder: Path) -> None:
    """ConvNeXt with a projection of two layers."""
    config = convolutional.convnext("mlp", "convnext_test", image_size=32, width=24)
    convolutional.write_convnext(folder, config, seed=13)


def write_hf_chinese_clip(folder: Path) -> None:
    """A BERT as text tower: padding is masked, the first token is projected; squashed images."""
    write = bert.chinese_folder(
        12,
        text_config={
            "vocab_size": 420, "hidden_size": 32, "intermediate_size": 80, "num_hidden_layers": 2,
            "num_attention_heads": 2, "max_position_embeddings": 64,
        },
        vision_config={
            "hidden_size": 32, "intermediate_size": 96, "num_hidden_layers": 2,
            "num_attention_heads": 2, "image_size": 32, "patch_size": 8,
        },
        projection_dim=24,
    )  # fmt: skip
    write(folder)


def write_hf_metaclip(folder: Path) -> None:
    """MetaCLIP 2: the first end token, of another tokenizer, is projected."""
    metaclip.write_hf_folder(
        folder,
        "facebook/xlm-v-base",
        text={
            "vocab_size": 320, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 2,
        },
        vision={
            "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3,
            "num_attention_heads": 3, "image_size": 28, "patch_size": 7,
        },
        seed=11,
        embed_dim=24,
    )  # fmt: skip
    # without the table of replacements, which has 83 kB compressed
    model = train(**XLM_R | {"normalization_rule_name": "identity"})
    (folder / "sentencepiece.bpe.model").write_bytes(model)


def write_naflex(target: Path) -> None:
    """SigLIP 2 NaFlex: the pixels of each picture have their own shape."""
    with tempfile.TemporaryDirectory() as temporary, torch.no_grad():
        folder = Path(temporary)
        naflex.write_hf_folder(
            folder / "tiny",
            text={
                "vocab_size": 1000, "hidden_size": 24, "intermediate_size": 40,
                "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 32,
                "projection_size": 48,
            },
            vision={
                "hidden_size": 48, "intermediate_size": 60, "num_hidden_layers": 2,
                "num_attention_heads": 3, "num_patches": 25, "patch_size": 8,
            },
            seed=12,
            logit_scale=16.0,
        )  # fmt: skip
        peer = naflex.read_hf_folder(folder / "tiny")
        drawn = [Image.fromarray(array) for array in pictures.some_photographs()]
        pixels = [peer.transform(picture) for picture in drawn]
        ids = peer.tokenize(pictures.SOME_SENTENCES)
        image, text, logits = (
            peer.image_tower(pixels), peer.text_tower(ids), peer.logits(pixels, ids),
        )  # fmt: skip
        answers = {
            **{f"shape_{i}": each.shape for i, each in enumerate(pixels)},
            "ids": ids.to(torch.int32),
            "image_unit": image / image.norm(dim=-1, keepdim=True),
            "text_unit": text / text.norm(dim=-1, keepdim=True),
            "probabilities": peer.probabilities(logits),
        }
        for kind in ("image_unit", "text_unit"):
            cosines = answers[kind] @ answers[kind].T - 2 * torch.eye(len(answers[kind]))
            assert cosines.max() < SPREAD, f"naflex: {kind} too similar, {cosines.max()}"
        save_arrays(folder / "answers.npz", answers)
        pack(folder, target / "hf-naflex.tar.xz")


TINY = (
    Tiny("openai-vit", "ViT.pt", write_openai_vit, checkpoints.read_openai_archive),
    Tiny("openai-resnet", "RN.pt", write_openai_resnet, checkpoints.read_openai_archive),
    Tiny("state-dict", "epoch_32.pt", write_bare_state_dict, checkpoints.read_openai_state_dict),
    Tiny("open_clip-gelu", "tiny", write_open_clip_gelu, checkpoints.read_open_clip_folder),
    Tiny(
        "open_clip-custom-text",
        "tiny",
        write_open_clip_custom_text,
        checkpoints.read_open_clip_folder,
    ),
    Tiny("open_clip-squash", "tiny", write_open_clip_squash, checkpoints.read_open_clip_folder),
    Tiny("hf-quick-gelu", "tiny", write_hf_quick_gelu, checkpoints.read_hf_folder),
    Tiny("hf-gelu", "tiny", write_hf_gelu, checkpoints.read_hf_folder),
    Tiny("open_clip-fastvit", "tiny", write_open_clip_fastvit, checkpoints.read_open_clip_folder),
    Tiny("open_clip-convnext", "tiny", write_open_clip_convnext, checkpoints.read_open_clip_folder),
    Tiny("hf-siglip", "tiny", write_hf_siglip, siglip.read_hf_folder),
    Tiny("hf-chinese-clip", "tiny", write_hf_chinese_clip, bert.read_chinese_folder),
    Tiny("hf-metaclip", "tiny", write_hf_metaclip, metaclip.read_hf_folder),
    Tiny(
        "open_clip-eva02",
        "tiny",
        eva.golden_folder("golden_eva02", "eva02_base_patch16_clip_224", 10, causal=True),
        eva.read_open_clip_folder,
    ),
    Tiny(
        "open_clip-eva02-e",  # with the text tower of MobileCLIP2, which has no mask
        "tiny",
        eva.golden_folder(
            "golden_eva02_enormous", "eva02_enormous_patch14_clip_224", 11, causal=False
        ),
        eva.read_open_clip_folder,
    ),
    Tiny("open_clip-clipa", "tiny", eva.clipa_folder(12, golden=True), eva.read_clipa_folder),
)


def pixels_of_photographs(size: int) -> torch.Tensor:
    photographs = [Image.fromarray(array) for array in pictures.some_photographs()]
    return torch.stack([openai_transform(size)(photograph) for photograph in photographs])


# ---- tokens


def write_tokens(target: Path) -> None:
    """Write ids from OpenAI's SimpleTokenizer, and truncated rows from clip.tokenize."""
    texts = sentences()
    assert len(texts) >= 2000
    tokenizer = SimpleTokenizer()
    ids = [tokenizer.encode(text) for text in texts]
    long = [i for i, row in enumerate(ids) if len(row) > 75][::4]
    cut = clip.tokenize([texts[i] for i in long], truncate=True)
    document = {
        "by": release("clip-anytorch") + ", " + release("ftfy"),
        "texts": texts,
        "ids": ids,
        "cut": {"texts": long, "context_length": 77, "rows": cut.tolist()},
    }
    compact = json.dumps(document, separators=(",", ":")).encode()
    (target / "tokens.json.xz").write_bytes(lzma.compress(compact, preset=9))


# ---- pixels


def write_pixels(target: Path) -> None:
    """Write gray levels from the references' transforms, for every kind of image, in two orders.

    `resized-first` is the order of OpenAI and open_clip: resized in the image's own mode, with the
    orientation ignored. `rgb-first` applies the same transform after the image was rotated upright
    and converted to RGB. It is stored only where it differs.
    """
    drawn = {kind.name: (kind.draw(), 64) for kind in pictures.KINDS}
    drawn |= {f"{kind.name}@224": (kind.draw(), 224) for kind in pictures.LARGE_KINDS}
    files = pictures.encoded_files()
    drawn |= {name: (Image.open(io.BytesIO(content)), 64) for name, content in files.items()}
    assert len(drawn) >= 30
    levels: dict[str, NDArray[np.uint8]] = {}
    for name, (image, size) in drawn.items():
        transform = openai_transform(size)
        resized_first = gray_levels(transform(image))
        other = gray_levels(open_clip_transform(size)(image))
        assert np.array_equal(resized_first, other), f"the references differ for {name}"
        levels[f"{name}|resized-first"] = resized_first
        converted = gray_levels(rgb_first(transform, image))
        if not np.array_equal(resized_first, converted):
            levels[f"{name}|rgb-first"] = converted
    for interpolation, resize_mode in WAYS:
        transform = open_clip_transform(
            48, mean=HALF, std=HALF, interpolation=interpolation, resize_mode=resize_mode
        )
        for kind in pictures.KINDS[4:20:3]:
            name = f"{kind.name}|{interpolation}-{resize_mode}"
            levels[name] = gray_levels(transform(kind.draw()), HALF, HALF)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save_arrays(folder / "levels.npz", levels)
        peers = ("clip-anytorch", "open_clip_torch", "torchvision", "pillow")
        (folder / "by.txt").write_text(", ".join(map(release, peers)) + "\n")
        for name, content in files.items():
            (folder / name).write_bytes(content)
        pack(folder, target / "pixels.tar.xz")


def save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Write an npz file; numpy's stub does not accept typed arrays as keyword arguments."""
    np.savez(path, **arrays)


def pack(folder: Path, target: Path) -> None:
    """Pack a folder; the same content gives the same bytes."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
            if path.is_file():
                content = path.read_bytes()
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    # lc, lp, pb: predict bytes from their position in a 4-byte float
    float_filter = {
        "id": lzma.FILTER_LZMA2,
        "preset": 9 | lzma.PRESET_EXTREME,
        "lc": 0,
        "lp": 2,
        "pb": 2,
    }
    target.write_bytes(lzma.compress(stream.getvalue(), filters=[float_filter]))


if __name__ == "__main__":
    main()
