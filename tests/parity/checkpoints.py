"""Checkpoints in every supported format, written by the reference packages with seeded weights.

Each `write_*` function writes one. Each `Peer` loads one with the reference's own code and runs it.
The weights are random, but chosen so that attention is not uniform and different inputs get clearly
different embeddings. A wrong activation, head count or mask is then detected.
"""

from __future__ import annotations

import json
import math
import re
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peers import (
    OPENAI_MEAN,
    OPENAI_STD,
    OpenAIClip,
    build_model,
    clip,
    convert_weights,
    open_clip,
    open_clip_transform,
    openai_transform,
    transformers,
)
from safetensors.torch import save_file

REPEAT = 251  # rows after which the token embedding repeats; prime, so that adjacent rows differ
BLOCK_NUMBER = r"(?:resblocks|encoder\.layers?)\.(\d+)\."
LEARNED = ("class_embedding", "cls_token", "pos_embed", "latent", "probe")  # tokens, in all names
MODULE = "state_dict", "module."  # key and name prefix in checkpoints of open_clip's training


@dataclass(frozen=True)
class Peer:
    """A model loaded and run by its own package, in float32 on the CPU."""

    transform: Callable[..., torch.Tensor]  # image to pixels
    image_tower: Callable[[torch.Tensor], torch.Tensor]  # pixels to embeddings, not normalized
    text_tower: Callable[[torch.Tensor], torch.Tensor]  # ids to embeddings, not normalized
    logits: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # logits_per_image
    logit_scale: float
    context_length: int
    mean: tuple[float, ...] = OPENAI_MEAN
    std: tuple[float, ...] = OPENAI_STD
    model: Any = None
    tokenizer: Callable[[Sequence[str]], torch.Tensor] | None = None  # None: OpenAI's
    logit_bias: float | None = None  # of models that score each label by itself

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the scores that the model was trained for."""
        return logits.softmax(dim=-1) if self.logit_bias is None else logits.sigmoid()

    def tokenize(self, texts: Sequence[str]) -> torch.Tensor:
        """Return the ids, truncated to the context length like the reference does."""
        if self.tokenizer is not None:
            return self.tokenizer(texts)
        ids: torch.Tensor = clip.tokenize(
            list(texts), context_length=self.context_length, truncate=True
        )
        return ids


# ---- weights


def randomize(model: torch.nn.Module, seed: int, *, logit_scale: float) -> None:
    """Replace all weights of a model by random values, four levels per tensor.

    With four levels the fixtures compress to two bits per weight.
    """
    generator = torch.Generator().manual_seed(seed)
    blocks = [int(n) for name in model.state_dict() for n in re.findall(BLOCK_NUMBER, name)]

    def levels(tensor: torch.Tensor, step: float, middle: float = 0.0) -> None:
        drawn = torch.randint(0, 4, tensor.shape, generator=generator) * 2 - 3
        tensor.copy_(middle + step * drawn)

    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            leaf = name.rsplit(".", 1)[-1]
            if name == "logit_scale":
                tensor.fill_(math.log(logit_scale))
            elif leaf in ("num_batches_tracked", "position_ids"):
                continue
            elif "token_embedding" in name:
                few = torch.empty(REPEAT, tensor.shape[1])
                levels(few, 1 / 4)
                tensor.copy_(few.repeat(-(-len(tensor) // REPEAT), 1)[: len(tensor)])
            elif leaf in LEARNED or ("position" in name and tensor.ndim == 2):
                levels(tensor, 1 / 4)
            elif name.endswith("bn3.weight"):
                # Half of what the branches of a ResNet add. With all of it, RN50 amplifies rounding
                # so much that OpenAI's own float32 differs from its float64 by 2e-5.
                levels(tensor, 1 / 32, middle=0.5)
            elif tensor.ndim == 1 and leaf in ("weight", "running_var"):
                levels(tensor, 1 / 16, middle=1.0)
            elif tensor.ndim == 1:
                levels(tensor, 1 / 32)
            elif tensor.ndim >= 2:
                levels(tensor, _step(name, tensor, 1 + max(blocks)))


def _step(name: str, tensor: torch.Tensor, layers: int) -> float:
    """Return a power of two that keeps a layer's output about as large as its input.

    The branches of a deep transformer are scaled down with its depth, like OpenAI's initialization.
    Without this, ViT-B/32 amplifies rounding so much that OpenAI's own float32 differs from its
    float64 by 7e-6, and two correct results can differ by the tolerance.
    """
    stored_transposed = name.endswith(("proj", "projection"))  # x @ proj, as in OpenAI's code
    fan_in = tensor.shape[0] if stored_transposed else tensor[0].numel()
    gain = 1.0
    if any(part in name for part in ("in_proj", "q_proj", "k_proj", "attn.qkv")):
        gain = 1.5  # makes attention non-uniform
    elif name.endswith(
        ("out_proj.weight", "attn.proj.weight", "mlp.c_proj.weight", "mlp.fc2.weight")
    ):
        gain = 1.0 if layers <= 3 else (2 * layers) ** -0.5
    elif tensor.ndim == 4:
        gain = 2**0.5  # a ReLU halves the variance
    return 2.0 ** round(math.log2(gain / math.sqrt(5 * fan_in)))


def settle_batch_norm(model: torch.nn.Module, pixels: torch.Tensor) -> None:
    """Set the BatchNorm statistics of a ResNet from images, so that values stay near one.

    The statistics are rounded, so that they compress.
    """
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
        norm.reset_running_stats()
    model.train()
    with torch.no_grad():
        model.get_submodule("visual")(pixels)
        for norm in norms:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            assert norm.num_batches_tracked is not None
            norm.running_mean.copy_((norm.running_mean * 64).round() / 64)
            norm.running_var.copy_((norm.running_var * 64).round() / 64 + 1 / 64)
            norm.num_batches_tracked.fill_(1000)
            norm.momentum = 0.1
    model.eval()


# ---- OpenAI


def write_openai_archive(model: OpenAIClip, path: Path) -> None:
    """Write a TorchScript archive like the released ones.

    It has half-precision weights, three additional scalars in the state dict, and storages marked
    as cuda:0, the device on which OpenAI traced them.
    """
    model = model.eval()
    convert_weights(model)
    resolution, context = model.visual.input_resolution, model.context_length
    scalars = {
        "input_resolution": resolution,
        "context_length": context,
        "vocab_size": model.vocab_size,
    }
    for name, value in scalars.items():
        if hasattr(model, name):
            delattr(model, name)
        model.register_buffer(name, torch.tensor(value))
    picture = torch.zeros(1, 3, resolution, resolution)
    text = torch.zeros(1, context, dtype=torch.long)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace_module(
            model,
            {"forward": (picture, text), "encode_image": (picture,), "encode_text": (text,)},
            check_trace=False,
        )
    plain = path.with_name(path.name + ".cpu")
    traced.save(str(plain))
    _move_storages(plain, path, device="cuda:0")
    plain.unlink()


def _move_storages(source: Path, target: Path, *, device: str) -> None:
    """Rewrite the pickles of an archive as if its storages had been saved from `device`."""

    def text(value: str) -> bytes:  # pickle's BINUNICODE
        return b"X" + len(value).to_bytes(4, "little") + value.encode()

    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as moved:
        for entry in archive.infolist():
            content = archive.read(entry)
            if entry.filename.endswith("/data.pkl"):
                assert text("cpu") in content
                content = content.replace(text("cpu"), text(device))
            moved.writestr(entry, content)


def openai_peer(model: OpenAIClip) -> Peer:
    def logits(pixels: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        per_image: torch.Tensor = model(pixels, ids)[0]
        return per_image

    return Peer(
        transform=openai_transform(model.visual.input_resolution),
        image_tower=model.encode_image,
        text_tower=model.encode_text,
        logits=logits,
        logit_scale=model.logit_scale.exp().item(),
        context_length=model.positional_embedding.shape[0],
        model=model,
    )


def read_openai_archive(path: Path) -> Peer:
    """Load a TorchScript archive, or a state dict written by torch.save, with clip.load."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, _ = clip.load(str(path), device="cpu")
    return openai_peer(model)


def read_openai_state_dict(path: Path) -> Peer:
    """Load a plain state dict with OpenAI's build_model, without the training prefix."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    key, prefix = MODULE
    state = {name.removeprefix(prefix): value for name, value in state.get(key, state).items()}
    return openai_peer(build_model(state).float())


# ---- open_clip


def write_open_clip_folder(
    folder: Path,
    config: dict[str, Any],
    preprocess: dict[str, Any],
    *,
    seed: int,
    logit_scale: float,
    form: str = "safetensors",
    pixels: torch.Tensor | None = None,
    adjust: Callable[[Any], None] | None = None,
) -> None:
    """Write open_clip_config.json and weights like open_clip's push_to_hf_hub."""
    folder.mkdir(parents=True, exist_ok=True)
    kwargs = {name: value for name, value in config.items() if name != "custom_text"}
    build = open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP
    model = build(**kwargs)
    randomize(model, seed, logit_scale=logit_scale)
    if pixels is not None:
        settle_batch_norm(model, pixels)
    if adjust is not None:
        adjust(model)
    document = {"model_cfg": config, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(document, indent=2))
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    if form == "safetensors":
        save_file(state, folder / "open_clip_model.safetensors")
    else:
        torch.save(
            state,
            folder / "open_clip_pytorch_model.bin",
            _use_new_zipfile_serialization=form == "zip",
        )


def read_open_clip_folder(folder: Path) -> Peer:
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    return open_clip_peer(model.eval(), transform)


def open_clip_peer(
    model: Any,
    transform: Callable[..., torch.Tensor],
    tokenizer: Callable[[Sequence[str]], torch.Tensor] | None = None,
    logit_bias: float | None = None,
) -> Peer:
    preprocess = open_clip.get_model_preprocess_cfg(model)
    return Peer(
        transform=transform,
        image_tower=model.encode_image,
        text_tower=model.encode_text,
        logits=lambda pixels, ids: model.get_logits(pixels, ids)[0],
        logit_scale=model.logit_scale.exp().item(),
        context_length=model.context_length,
        mean=tuple(preprocess["mean"]),
        std=tuple(preprocess["std"]),
        model=model,
        tokenizer=tokenizer,
        logit_bias=logit_bias,
    )


# ---- transformers


def write_hf_folder(
    folder: Path,
    *,
    text: dict[str, Any],
    vision: dict[str, Any],
    embed_dim: int,
    seed: int,
    logit_scale: float,
    terse: bool = False,
) -> None:
    """Write a CLIPModel folder with save_pretrained, without tokenizer files.

    `terse` omits values from config.json that equal the library's defaults, like older releases.
    """
    config = transformers.CLIPConfig(
        text_config=text, vision_config=vision, projection_dim=embed_dim
    )
    model = transformers.CLIPModel(config)
    randomize(model, seed, logit_scale=logit_scale)
    model.save_pretrained(folder)
    size = vision["image_size"]
    transformers.CLIPImageProcessor(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}
    ).save_pretrained(folder)
    if terse:
        _drop_defaults(folder / "config.json")


def _drop_defaults(path: Path) -> None:
    document = json.loads(path.read_text())
    for part, default in (
        ("text_config", transformers.CLIPTextConfig()),
        ("vision_config", transformers.CLIPVisionConfig()),
    ):
        values = default.to_dict()
        document[part] = {
            name: value
            for name, value in document[part].items()
            if name == "model_type" or name not in values or values[name] != value
        }
    path.write_text(json.dumps(document, indent=2, sort_keys=True))


def read_hf_folder(folder: Path) -> Peer:
    model = transformers.CLIPModel.from_pretrained(folder, local_files_only=True).eval()
    size = model.config.vision_config.image_size
    return Peer(
        transform=open_clip_transform(size),  # OpenAI's; transformers' own is compared separately
        image_tower=lambda pixels: model.get_image_features(pixel_values=pixels).pooler_output,
        text_tower=lambda ids: model.get_text_features(input_ids=ids).pooler_output,
        logits=lambda pixels, ids: model(pixel_values=pixels, input_ids=ids).logits_per_image,
        logit_scale=model.logit_scale.exp().item(),
        context_length=model.config.text_config.max_position_embeddings,
        model=model,
    )
