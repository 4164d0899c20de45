"""Write src/zeroshot/reference.json: outputs of the reference packages for selfcheck's inputs.

    tests/parity/environment.sh && .parity-venv/bin/python scripts/make_reference.py

Inputs and weights are computed by zeroshot.diagnostics.selfcheck; no other zeroshot code runs here.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "parity"))

from peers import (  # noqa: E402
    OpenAIClip,
    SimpleTokenizer,
    clip,
    gray_levels,
    open_clip,
    open_clip_transform,
    openai_transform,
    release,
)

from zeroshot.diagnostics import selfcheck  # noqa: E402
from zeroshot.spec import NetworkConfig, ResNetConfig, ViTConfig  # noqa: E402

OPENAI = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
TEXT_ROOTS = ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_proj")
TEXTS = (
    "a photo of a cat.",
    "A Photo of A CAT.",
    "  two   spaces,\ttabs\nand lines ",
    "",
    "!",
    "don't you've we'll I'm he'd they're it's",
    "DON'T",
    "1234567890 1st 2.5x",
    "$9.99 & 50% off!!!",
    "a satellite photo of {}.",
    'the {label} (and "quotes") [brackets]',
    "snake_case-and-hyphens/slashes\\back",
    "antidisestablishmentarianism floccinaucinihilipilification",
    "Lorem ipsum dolor sit amet",
    "https://example.com/a?b=c#d",
    "e-mail@example.org",
    "&lt;b&gt;bold&lt;/b&gt; &amp;amp; more",
    "caf\u00e9 na\u00efve \u00fcber",
    "cafe\u0301",
    "sch\u00c3\u00b6n",
    "\u2018single\u2019 \u201cdouble\u201d \u2014 dash",
    "\uff26\uff55\uff4c\uff4c\uff57\uff49\uff44\uff54\uff48",
    "\u732b\u306e\u5199\u771f",
    "\u4e00\u5f20\u72d7\u7684\u7167\u7247\u3002",
    "\uace0\uc591\uc774 \uc0ac\uc9c4",
    "\u0444\u043e\u0442\u043e \u043a\u043e\u0448\u043a\u0438",
    "\u0635\u0648\u0631\u0629 \u0642\u0637\u0629",
    "\u0e20\u0e32\u0e1e\u0e16\u0e48\u0e32\u0e22\u0e41\u0e21\u0e27",
    "\u03a6\u03c9\u03c4\u03bf\u03b3\u03c1\u03b1\u03c6\u03af\u03b1",
    "\U0001f431 \U0001f436 \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\u00bd \u00b2 \u2460 \u2163",
    "\u0130stanbul STRASSE stra\u00dfe",
    "\u200bzero\u200bwidth",
    "<|startoftext|> inside <|endoftext|>",
    "<start_of_text>",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "a" * 70,
    "o'clock rock'n'roll 'tis '90s",
    "...---...",
    "maillot, tank suit",
)
LONG = "a photo of " + "a very " * 60 + "long cat"


def main() -> None:
    torch.set_num_threads(1)
    tokenizer = SimpleTokenizer()
    document = {
        "made_with": [release("clip-anytorch"), release("open_clip_torch"), release("torchvision")],
        "tokenizer": {
            "texts": {text: tokenizer.encode(text) for text in TEXTS},
            "long": [LONG, clip.tokenize([LONG], truncate=True)[0].tolist()],
        },
        "resize": [
            resize("bicubic, shortest side and crop", 24, OPENAI, "bicubic", "shortest"),
            resize("bilinear, squash", 20, HALF, "bilinear", "squash"),
        ],
        "towers": {name: towers(name, config) for name, config in selfcheck.NETWORKS.items()},
    }
    path = ROOT / "src" / "zeroshot" / "reference.json"
    path.write_text(json.dumps(document, ensure_ascii=True, indent=1) + "\n", "utf-8")
    print(f"{path.stat().st_size:,d} bytes  {path}")


def resize(name: str, size: int, colors: Any, interpolation: str, mode: str) -> dict[str, Any]:
    mean, std = colors
    if (interpolation, mode) == ("bicubic", "shortest"):
        transform = openai_transform(size)
    else:
        transform = open_clip_transform(
            size, mean=mean, std=std, interpolation=interpolation, resize_mode=mode
        )
    levels = gray_levels(transform(selfcheck.sample_image()), mean, std)
    assert levels.dtype == np.uint8
    assert levels.shape == (size, size, 3)
    return {
        "name": name,
        "size": size,
        "mean": mean,
        "std": std,
        "interpolation": interpolation,
        "resize_mode": mode,
        "levels": base64.b64encode(levels.tobytes()).decode(),
    }


@torch.no_grad()
def towers(name: str, config: NetworkConfig) -> dict[str, Any]:
    """Run OpenAI's code, or open_clip's for head widths other than 64."""
    if isinstance(config.vision, ViTConfig) and config.vision.activation == "gelu":
        model = open_clip_model(config)
    else:
        model = openai_model(config)
    shapes = {
        our_name(each): tuple(tensor.shape)
        for each, tensor in model.state_dict().items()
        if tensor.is_floating_point() and each != "attn_mask"
    }
    values = selfcheck.weights(shapes)
    state = {
        each: values.get(our_name(each), tensor) for each, tensor in model.state_dict().items()
    }
    model.load_state_dict(state)
    model.eval()
    ids = torch.zeros(len(selfcheck.TEXT_LENGTHS), selfcheck.CONTEXT, dtype=torch.long)
    for i, row in enumerate(selfcheck.rows()):
        ids[i, : len(row)] = torch.tensor(row)
    answers = {}
    for tower, found in (
        ("image", model.encode_image(selfcheck.pixels(config.vision.image_size))),
        ("text", model.encode_text(ids)),
    ):
        unit = found / found.norm(dim=-1, keepdim=True)
        cosines = unit @ unit.T - 2 * torch.eye(len(unit))
        print(f"{name}, {tower}: highest cosine {cosines.max():.3f}")
        assert cosines.max() < 0.99, "inputs too similar to detect a wrong encoder"
        answers[tower] = [[round(float(value), 8) for value in row] for row in unit]
    return answers


def our_name(name: str) -> str:
    return f"text.{name}" if name.startswith(TEXT_ROOTS) else name


def openai_model(config: NetworkConfig) -> Any:
    vision, text = config.vision, config.text
    assert isinstance(vision, ViTConfig | ResNetConfig)
    return OpenAIClip(
        embed_dim=config.embed_dim,
        image_resolution=vision.image_size,
        vision_layers=vision.layers,
        vision_width=vision.width,
        vision_patch_size=vision.patch_size if isinstance(vision, ViTConfig) else None,
        context_length=text.context_length,
        vocab_size=text.vocab_size,
        transformer_width=text.width,
        transformer_heads=text.heads,
        transformer_layers=text.layers,
    )


def open_clip_model(config: NetworkConfig) -> Any:
    vision, text = config.vision, config.text
    assert isinstance(vision, ViTConfig)
    return open_clip.model.CLIP(
        config.embed_dim,
        open_clip.model.CLIPVisionCfg(
            layers=vision.layers,
            width=vision.width,
            head_width=vision.width // vision.heads,
            patch_size=vision.patch_size,
            image_size=vision.image_size,
        ),
        open_clip.model.CLIPTextCfg(
            context_length=text.context_length,
            vocab_size=text.vocab_size,
            width=text.width,
            heads=text.heads,
            layers=text.layers,
        ),
        quick_gelu=False,
    )


if __name__ == "__main__":
    main()
