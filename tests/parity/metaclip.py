"""MetaCLIP 2 as open_clip and transformers write it, with a small trained tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import checkpoints
import torch
from checkpoints import Peer
from peers import OPENAI_MEAN, OPENAI_STD, open_clip, open_clip_transform, transformers

from tests.tokenizers.training import SIGLIP, XLM_R, train

# hf_tokenizer_name: its file, class of transformers and options, cleaning, id of the end
KINDS: dict[str, tuple[str, bytes, dict[str, Any], dict[str, str], int]] = {
    "facebook/xlm-v-base": (
        "sentencepiece.bpe.model",
        train(**XLM_R),
        {"tokenizer_class": "XLMRobertaTokenizer"},
        {},
        2,
    ),
    # SigLIP's, which has the special ids of mT5's: transformers drops mT5's fallback to bytes
    "google/mt5-base": (
        "spiece.model",
        train(**SIGLIP),
        {"tokenizer_class": "T5Tokenizer", "extra_ids": 0},
        {"clean": "canonicalize"},
        1,
    ),
}
VOCABULARY = 450  # ids of the text tower; the files have fewer


def write_tokenizer(folder: Path, name: str) -> None:
    file, content, settings, _, _ = KINDS[name]
    (folder / file).write_bytes(content)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def open_clip_folder(name: str, seed: int, *, squash: bool) -> Callable[[Path], None]:
    """Return a writer of a network like ViT-H-14-worldwide (-378) or ViT-L-14-worldwide."""
    *_, options, end = KINDS[name]
    config = {
        "embed_dim": 96,
        "quick_gelu": not squash,
        "vision_cfg": {
            "image_size": 84, "layers": 3, "width": 160, "head_width": 80, "patch_size": 14,
        },
        "text_cfg": {
            "hf_tokenizer_name": name, "tokenizer_kwargs": options, "pool_type": "eos",
            "eos_id": end, "context_length": 77, "vocab_size": VOCABULARY, "width": 128,
            "heads": 2, "layers": 3,
        },
    }  # fmt: skip
    preprocess: dict[str, Any] = {"mean": list(OPENAI_MEAN), "std": list(OPENAI_STD)}
    preprocess |= {"interpolation": "bicubic", "resize_mode": "squash" if squash else "shortest"}

    def write(folder: Path) -> None:
        checkpoints.write_open_clip_folder(folder, config, preprocess, seed=seed, logit_scale=50.0)
        write_tokenizer(folder, name)

    return write


def read_open_clip_folder(folder: Path) -> Peer:
    """Load with open_clip, which reads the tokenizer of the folder as its config says."""
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    tokenizer: Callable[..., torch.Tensor] = open_clip.get_tokenizer(f"local-dir:{folder}")
    return checkpoints.open_clip_peer(model.eval(), transform, lambda texts: tokenizer(list(texts)))


TEXT = {
    "vocab_size": VOCABULARY, "hidden_size": 128, "intermediate_size": 256,
    "num_hidden_layers": 3, "num_attention_heads": 2,
}  # fmt: skip
VISION = {
    "hidden_size": 160, "intermediate_size": 640, "num_hidden_layers": 3,
    "num_attention_heads": 2, "image_size": 84, "patch_size": 14,
}  # fmt: skip


def hf_folder(name: str, seed: int) -> Callable[[Path], None]:
    """Return a writer of a MetaClip2Model folder."""
    return lambda folder: write_hf_folder(folder, name, text=TEXT, vision=VISION, seed=seed)


def write_hf_folder(
    folder: Path,
    name: str,
    *,
    text: dict[str, Any],
    vision: dict[str, Any],
    seed: int,
    embed_dim: int = 96,
) -> None:
    """Write a MetaClip2Model folder with save_pretrained, and its tokenizer."""
    model = transformers.MetaClip2Model(
        transformers.MetaClip2Config(
            text_config=text | {"eos_token_id": KINDS[name][-1]},
            vision_config=vision,
            projection_dim=embed_dim,
        )
    )
    checkpoints.randomize(model, seed, logit_scale=50.0)
    model.save_pretrained(folder)
    size = vision["image_size"]
    transformers.CLIPImageProcessor(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}
    ).save_pretrained(folder)
    write_tokenizer(folder, name)


def read_hf_folder(folder: Path) -> Peer:
    """Load with transformers; texts are cleaned as in training, which its tokenizer does not do."""
    model = transformers.MetaClip2Model.from_pretrained(folder, local_files_only=True).eval()
    text = model.config.text_config
    clean = (
        "whitespace" if text.eos_token_id == KINDS["facebook/xlm-v-base"][-1] else "canonicalize"
    )
    length = text.max_position_embeddings
    tokenizer: Callable[..., torch.Tensor] = open_clip.tokenizer.HFTokenizer(
        str(folder), context_length=length, clean=clean
    )

    def tokenize(texts: Sequence[str]) -> torch.Tensor:
        return tokenizer(list(texts))

    return Peer(
        transform=open_clip_transform(model.config.vision_config.image_size),
        image_tower=lambda pixels: model.get_image_features(pixel_values=pixels).pooler_output,
        text_tower=lambda ids: model.get_text_features(input_ids=ids).pooler_output,
        logits=lambda pixels, ids: model(pixel_values=pixels, input_ids=ids).logits_per_image,
        logit_scale=model.logit_scale.exp().item(),
        context_length=length,
        model=model,
        tokenizer=tokenize,
    )
