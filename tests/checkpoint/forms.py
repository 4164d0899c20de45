"""One tiny CLIP in every supported layout, made by renaming its tensors.

Its values are multiples of 1/64, which half precision represents exactly. So all forms hold the
same checkpoint.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from zeroshot.checkpoint.layouts import native
from zeroshot.nn.network import Network
from zeroshot.spec import (
    BertConfig,
    NetworkConfig,
    PreprocessConfig,
    ResNetConfig,
    Spec,
    TextConfig,
    ViTConfig,
)

Tensors = dict[str, Tensor]
TEXT = TextConfig(16, 49408, 64, 1, 1, 256, "quick_gelu")
VIT = Spec(
    NetworkConfig(32, ViTConfig(32, 8, 64, 2, 1, 256, "quick_gelu"), TEXT), PreprocessConfig(32)
)
RESNET = Spec(NetworkConfig(32, ResNetConfig(64, 8, (1, 1, 1, 1), 4), TEXT), PreprocessConfig(64))


def tensors_of(spec: Spec, seed: int = 7) -> Tensors:
    """Draw a checkpoint under this package's names."""
    random = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        state = Network(spec.network).state_dict()
    tensors = {}
    for name, empty in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        values = torch.randint(-12, 13, empty.shape, generator=random) / 64
        if name == "logit_scale":
            values = torch.tensor(2.5)
        elif name.endswith(("running_var", "weight")) and empty.ndim == 1:
            values = 1 + values
        tensors[name] = values
    return tensors


def openai(tensors: Tensors) -> Tensors:
    return {name.removeprefix("text."): tensor for name, tensor in tensors.items()}


def half(tensors: Tensors) -> Tensors:
    """Convert as `convert_weights` of openai/CLIP does: matrices, not norms."""
    return {name: t.half() if t.ndim > 1 else t for name, t in tensors.items()}


def extras(spec: Spec) -> Tensors:
    text = spec.network.text
    return {
        "input_resolution": torch.tensor(spec.preprocess.size),
        "context_length": torch.tensor(text.context_length),
        "vocab_size": torch.tensor(text.vocab_size),
    }


HUGGINGFACE = (  # ours, theirs
    ("visual.class_embedding", "vision_model.embeddings.class_embedding"),
    ("visual.conv1.", "vision_model.embeddings.patch_embedding."),
    ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
    ("visual.ln_pre.", "vision_model.pre_layrnorm."),
    ("visual.ln_post.", "vision_model.post_layernorm."),
    ("visual.transformer.resblocks.", "vision_model.encoder.layers."),
    ("visual.proj", "visual_projection.weight"),
    ("text.token_embedding.", "text_model.embeddings.token_embedding."),
    ("text.positional_embedding", "text_model.embeddings.position_embedding.weight"),
    ("text.ln_final.", "text_model.final_layer_norm."),
    ("text.transformer.resblocks.", "text_model.encoder.layers."),
    ("text.text_projection", "text_projection.weight"),
    (".ln_1.", ".layer_norm1."),
    (".ln_2.", ".layer_norm2."),
    (".attn.out_proj.", ".self_attn.out_proj."),
    (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
)


def huggingface(tensors: Tensors) -> Tensors:
    renamed: Tensors = {}
    for name, tensor in tensors.items():
        if name in ("visual.proj", "text.text_projection"):
            tensor = tensor.T.contiguous()
        theirs = name
        for ours, other in HUGGINGFACE:
            theirs = theirs.replace(ours, other)
        if ".in_proj_" in theirs:
            stem, kind = theirs.split(".attn.in_proj_")
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                renamed[f"{stem}.self_attn.{letter}_proj.{kind}"] = part.clone()
        else:
            renamed[theirs] = tensor
    places = torch.arange(tensors["text.positional_embedding"].shape[0])[None]
    renamed["text_model.embeddings.position_ids"] = places  # of old files; no weight
    return renamed


def open_clip_config(spec: Spec) -> dict[str, Any]:
    vision, text = spec.network.vision, spec.network.text
    assert isinstance(vision, ViTConfig | ResNetConfig)
    assert isinstance(text, TextConfig)
    tower: dict[str, Any] = {"image_size": vision.image_size, "width": vision.width}
    if isinstance(vision, ViTConfig):
        tower |= {"layers": vision.layers, "patch_size": vision.patch_size}
        tower |= {"head_width": vision.width // vision.heads}
        tower |= {"mlp_ratio": vision.mlp_width / vision.width}
    else:
        tower |= {"layers": list(vision.layers)}
    return {
        "model_cfg": {
            "embed_dim": spec.network.embed_dim,
            "quick_gelu": text.activation == "quick_gelu",
            "vision_cfg": tower,
            "text_cfg": open_clip_text(text),
        },
        "preprocess_cfg": open_clip_preprocess(spec),
    }


def open_clip_text(text: TextConfig | BertConfig) -> dict[str, Any]:
    names = ("context_length", "vocab_size", "width", "heads", "layers")
    return {name: getattr(text, name) for name in names}


def open_clip_preprocess(spec: Spec) -> dict[str, Any]:
    names = ("mean", "std", "interpolation", "resize_mode")
    return {name: value for name, value in asdict(spec.preprocess).items() if name in names}


def huggingface_config(spec: Spec) -> dict[str, Any]:
    vision, text = spec.network.vision, spec.network.text
    assert isinstance(vision, ViTConfig)
    assert isinstance(text, TextConfig)

    def tower(config: ViTConfig | TextConfig) -> dict[str, Any]:
        return {
            "hidden_size": config.width,
            "num_hidden_layers": config.layers,
            "num_attention_heads": config.heads,
            "intermediate_size": config.mlp_width,
            "hidden_act": config.activation,
            "eos_token_id": 2,  # wrong in every old file, and not used
        }

    return {
        "model_type": "clip",
        "projection_dim": spec.network.embed_dim,
        "vision_config": tower(vision)
        | {"image_size": vision.image_size, "patch_size": vision.patch_size},
        "text_config": tower(text)
        | {"max_position_embeddings": text.context_length, "vocab_size": text.vocab_size},
    }


def huggingface_preprocess(spec: Spec) -> dict[str, Any]:
    size = spec.preprocess.size
    return {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": size},
        "crop_size": {"height": size, "width": size},
        "image_mean": list(spec.preprocess.mean),
        "image_std": list(spec.preprocess.std),
        "resample": 3,
    }


class Tree(nn.Module):
    """Nested modules that hold tensors by their dotted names and compute nothing."""

    def add(self, name: str, tensor: Tensor) -> None:
        head, _, rest = name.partition(".")
        if not rest:
            self.register_buffer(head, tensor)
            return
        if head not in dict(self.named_children()):
            self.add_module(head, Tree())
        child = self.get_submodule(head)
        assert isinstance(child, Tree)
        child.add(rest, tensor)

    def forward(self, x: Tensor) -> Tensor:
        return x


def save_torchscript(tensors: Tensors, path: Path) -> None:
    tree = Tree()
    for name, tensor in tensors.items():
        tree.add(name, tensor)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.")  # deprecated as a whole
        torch.jit.save(torch.jit.script(tree), str(path))


def save_shards(tensors: Tensors, path: Path, save: Callable[[Tensors, Path], None]) -> None:
    """Write two shards and their index, named as transformers names them."""
    stem, suffix = path.name.removesuffix(path.suffix), path.suffix
    names = sorted(tensors)
    places: dict[str, str] = {}
    for n, part in enumerate((names[::2], names[1::2]), 1):
        shard = f"{stem}-{n:05}-of-00002{suffix}"
        save({name: tensors[name] for name in part}, path.with_name(shard))
        places |= dict.fromkeys(part, shard)
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    path.with_name(path.name + ".index.json").write_text(json.dumps(index))


def save_legacy(content: Any, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


# ---- whole checkpoints: each writes into a folder and returns what to read


def openai_archive(spec: Spec, tensors: Tensors, folder: Path) -> Path:
    save_torchscript(half(openai(tensors)) | extras(spec), folder / "ViT.pt")
    return folder / "ViT.pt"


def openai_state(spec: Spec, tensors: Tensors, folder: Path) -> Path:
    state = {f"module.{n}": t for n, t in (openai(tensors) | extras(spec)).items()}
    torch.save({"epoch": 3, "state_dict": state}, folder / "epoch_3.pt")
    return folder


def openai_legacy(spec: Spec, tensors: Tensors, folder: Path) -> Path:
    save_legacy(half(openai(tensors)) | extras(spec), folder / "old.pth")
    return folder / "old.pth"


def open_clip(spec: Spec, tensors: Tensors, folder: Path) -> Path:
    save_file(openai(tensors), folder / "open_clip_model.safetensors")
    write_json(folder / "open_clip_config.json", open_clip_config(spec))
    return folder


def open_clip_custom_text(spec: Spec, tensors: Tensors, folder: Path) -> Path:
    content = tensors | {"logit_scale": tensors["logit_scale"].reshape(1)}
    save_legacy(content, folder / "open_clip_pytorch_model.bin")
    config = open_clip_config(spec)
    config["model_cfg"]["custom_text"] = True
    write_json(folder / "open_clip_config.json", config)
    return folder / "open_clip_pytorch_model.bin"  # a bare file beside its config


def open_clip_shards(spec: Spec, tensors: Tensors, folder: Path) -> Path:
    save_shards(openai(tensors), folder / "open_clip_model.safetensors", save_file)
    write_json(folder / "open_clip_config.json", open_clip_config(spec))
    return folder


def transformers(spec: Spec, tensors: Tensors, folder: Path) -> Path:
    save_file(huggingface(tensors), folder / "model.safetensors", {"format": "pt"})
    write_json(folder / "config.json", huggingface_config(spec))
    write_json(folder / "preprocessor_config.json", huggingface_preprocess(spec))
    return folder


def transformers_shards(spec: Spec, tensors: Tensors, folder: Path) -> Path:
    save_shards(huggingface(tensors), folder / "model.safetensors", save_file)
    write_json(folder / "config.json", huggingface_config(spec))
    write_json(folder / "processor_config.json", {"image_processor": huggingface_preprocess(spec)})
    return folder / "model.safetensors.index.json"


def transformers_bin_shards(spec: Spec, tensors: Tensors, folder: Path) -> Path:
    save_shards(huggingface(tensors), folder / "pytorch_model.bin", torch.save)
    write_json(folder / "config.json", huggingface_config(spec))
    write_json(folder / "preprocessor_config.json", huggingface_preprocess(spec))
    return folder


def ours(spec: Spec, tensors: Tensors, folder: Path) -> Path:
    native.save(folder / "ours.safetensors", "tiny", spec, tensors)
    return folder / "ours.safetensors"


def ours_half(spec: Spec, tensors: Tensors, folder: Path) -> Path:
    native.save(folder / "half.safetensors", "tiny", spec, native.halve(tensors))
    return folder / "half.safetensors"


Form = Callable[[Spec, Tensors, Path], Path]
RESNET_FORMS: tuple[Form, ...] = (
    openai_archive,
    openai_state,
    openai_legacy,
    open_clip,
    open_clip_custom_text,
    open_clip_shards,
    ours,
    ours_half,
)
VIT_FORMS: tuple[Form, ...] = (
    *RESNET_FORMS,
    transformers,
    transformers_shards,
    transformers_bin_shards,
)
