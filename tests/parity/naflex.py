"""SigLIP 2 NaFlex as transformers writes it, with a small trained tokenizer of Gemma's kind.

Pixels have the form of this package, float32 [3, height, width]: the patches of transformers are
put together to images here, and cut again by its own function.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import siglip
import torch
from checkpoints import Peer
from numpy.typing import NDArray
from peers import open_clip, transformers
from PIL import Image

from tests.tokenizers.training import GEMMA, corpus

PATCH, MOST = 16, 256
SIZES = (  # width, height
    *((640, 480), (480, 640), (1000, 37), (37, 1000), (16, 16), (5, 7), (1, 900), (900, 1)),
    *((224, 224), (1500, 1000), (257, 256), (301, 299), (1, 1), (2000, 3)),
)
LIMITS = (256, 128, 576, 1024)  # patches
SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")


def write_tokenizer(folder: Path) -> None:
    """Write a tokenizer.json whose post-processor adds the end, as the published one does."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers.models.siglip2.tokenization_siglip2 import Siglip2Tokenizer

    trained = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    initial = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=GEMMA["size"] + 300,
        special_tokens=[AddedToken(name) for name in initial],
        show_progress=False,
    )
    sentences = (sentence.lower().replace(" ", "\u2581") for sentence in corpus())
    trained.train_from_iterator(sentences, trainer)
    model = json.loads(trained.to_str())["model"]
    tokenizer = Siglip2Tokenizer(
        vocab=model["vocab"],
        merges=[tuple(merge) for merge in model["merges"]],
        padding_side="right",
    )
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", 1)]
    )
    tokenizer.save_pretrained(folder)


def write_hf_folder(
    folder: Path, *, text: dict[str, Any], vision: dict[str, Any], seed: int, logit_scale: float
) -> None:
    """Write a Siglip2Model folder with save_pretrained, its processor and its tokenizer."""
    model = transformers.Siglip2Model(
        transformers.Siglip2Config(text_config=text, vision_config=vision)
    )
    checkpoints.randomize(model, seed, logit_scale=logit_scale)
    siglip.adjust(model)
    model.save_pretrained(folder)
    processor(MOST, model.config.vision_config.patch_size).save_pretrained(folder)
    write_tokenizer(folder)


def processor(most: int, patch: int) -> Any:
    """Return the processor that computes pixels with Pillow."""
    from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

    return Siglip2ImageProcessorPil(max_num_patches=most, patch_size=patch)


def pixels_of(prepare: Any, image: Image.Image) -> torch.Tensor:
    """Return the pixels of an image: float32 [3, height, width]."""
    found = prepare(images=image, return_tensors="pt")
    rows, columns = found.spatial_shapes[0].tolist()
    patch = prepare.patch_size
    patches = found.pixel_values[0, : rows * columns].view(rows, columns, patch, patch, 3)
    whole: torch.Tensor = patches.permute(4, 0, 2, 1, 3).reshape(3, rows * patch, columns * patch)
    return whole


def inputs_of(images: Sequence[torch.Tensor], patch: int, most: int) -> dict[str, torch.Tensor]:
    """Return the arguments of Siglip2Model for pixels of images, padded to `most` patches."""
    from transformers.models.siglip2.image_processing_pil_siglip2 import (
        convert_image_to_patches,
        pad_along_first_dim,
    )

    cut = [convert_image_to_patches(image.numpy(), patch) for image in images]
    padded = [pad_along_first_dim(patches, most) for patches in cut]
    shapes = [(image.shape[1] // patch, image.shape[2] // patch) for image in images]
    return {
        "pixel_values": torch.from_numpy(np.stack([patches for patches, _ in padded])),
        "pixel_attention_mask": torch.from_numpy(np.stack([mask for _, mask in padded])),
        "spatial_shapes": torch.tensor(shapes),
    }


def read_hf_folder(folder: Path) -> Peer:
    """Load with transformers. Texts are cleaned by open_clip: Siglip2Tokenizer only lowers them."""
    model = transformers.Siglip2Model.from_pretrained(folder, local_files_only=True).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    assert type(tokenizer).__name__ == "Siglip2Tokenizer"
    clean = open_clip.tokenizer.get_clean_fn("canonicalize")
    patch, length = (
        model.config.vision_config.patch_size,
        model.config.text_config.max_position_embeddings,
    )
    prepare = processor(MOST, patch)

    def tokenize(texts: Sequence[str]) -> torch.Tensor:
        ids: torch.Tensor = tokenizer(
            [clean(text) for text in texts],
            padding="max_length",
            truncation=True,
            max_length=length,
            return_tensors="pt",
        ).input_ids
        return ids

    def image_tower(images: Sequence[torch.Tensor]) -> torch.Tensor:
        found: torch.Tensor = model.get_image_features(
            **inputs_of(images, patch, MOST)
        ).pooler_output
        return found

    return Peer(
        transform=lambda image: pixels_of(prepare, image),
        image_tower=image_tower,
        text_tower=lambda ids: model.get_text_features(input_ids=ids).pooler_output,
        logits=lambda images, ids: (
            model(input_ids=ids, **inputs_of(images, patch, MOST)).logits_per_image
        ),
        logit_scale=model.logit_scale.exp().item(),
        context_length=length,
        mean=siglip.HALF,
        std=siglip.HALF,
        model=model,
        tokenizer=tokenize,
        logit_bias=model.logit_bias.item(),
        features=image_tower,  # it has no projection
    )


def drawn(width: int, height: int) -> Image.Image:
    """Draw a picture with ramps, edges and noise, in which resampling errors show."""
    y, x = np.mgrid[:height, :width]
    noise: NDArray[np.int64] = np.random.RandomState(width).randint(0, 256, (height, width))
    channels = [(x * 7 + y * 3) % 256, (x // 9 % 2) * 255, noise]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))
