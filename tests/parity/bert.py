"""CLIPs with a BERT as text encoder, as open_clip and transformers write them.

Each folder has a small trained tokenizer. The model hub is not asked: configs of text encoders are
those that their repositories have.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import checkpoints
import torch
from checkpoints import Peer
from peers import OPENAI_MEAN, OPENAI_STD, open_clip, transformers

from tests.checkpoint.families_bert import CHINESE
from tests.tokenizers.training import VOCABULARY, XLM_R, train, train_byte_bpe
from zeroshot.checkpoint.layouts import bert
from zeroshot.spec import BertConfig

SMALL = "xlm-roberta-small"  # not published: the smallest published one has 278 M parameters
PUBMED = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
bert.BERTS[SMALL] = BertConfig(
    77, 400, 128, 3, 2, 320, eps=1e-5, positions=514, pad=1, first_position=2
)
ROBERTA = {
    "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5,
    "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
}  # fmt: skip
CONFIGS: dict[str, Callable[[], Any]] = {  # hf_model_name -> the config of its repository
    SMALL: lambda: transformers.XLMRobertaConfig(
        vocab_size=400, hidden_size=128, num_hidden_layers=3, num_attention_heads=2,
        intermediate_size=320, **ROBERTA,
    ),
    "roberta-base": lambda: transformers.RobertaConfig(vocab_size=50265, **ROBERTA),
    PUBMED: lambda: transformers.BertConfig(vocab_size=30522),
}  # fmt: skip
TOKENIZERS: dict[str, tuple[dict[str, bytes], str]] = {  # hf_model_name -> files, class
    SMALL: ({"sentencepiece.bpe.model": train(**XLM_R)}, "XLMRobertaTokenizer"),
    "roberta-base": (
        dict(zip(("vocab.json", "merges.txt"), train_byte_bpe(), strict=True)),
        "RobertaTokenizer",
    ),
    PUBMED: ({"vocab.txt": VOCABULARY}, "BertTokenizer"),
}
WORDS = 32.0  # factor of the embeddings of words
SHARPER, SHALLOW = 4.0, 3  # factor of queries and values, in networks of fewer layers
PREPROCESS = {"mean": list(OPENAI_MEAN), "std": list(OPENAI_STD)}
SMALL_IMAGE = {"image_size": 96, "layers": 2, "width": 128, "patch_size": 16}
B_32 = {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32}
TIMM = {
    "timm_model_name": "vit_base_patch16_224", "timm_model_pretrained": False, "timm_pool": "",
    "timm_proj": "linear", "image_size": 224,
}  # fmt: skip
LAION_TEXT = {"hf_pooler_type": "mean_pooler"}
BIOMED_TEXT = {
    "hf_pooler_type": "cls_last_hidden_state_pooler", "hf_proj_type": "mlp", "context_length": 256,
}  # fmt: skip


@contextmanager
def hub_configs() -> Iterator[None]:
    """Give open_clip the configs of text encoders instead of requests."""
    with mock.patch.object(
        open_clip.hf_model.AutoConfig, "from_pretrained", lambda name: CONFIGS[name]()
    ):
        yield


def open_clip_folder(
    name: str,
    seed: int,
    *,
    vision: dict[str, Any],
    text: dict[str, Any],
    tokenizer: str,
    quick_gelu: bool = False,
) -> Callable[[Path], None]:
    """Return a writer of a network whose text encoder has this `hf_model_name`."""
    config = {
        "embed_dim": 96 if name == SMALL else 512,
        "quick_gelu": quick_gelu,
        "custom_text": True,
        "vision_cfg": vision,
        "text_cfg": {
            "hf_model_name": name, "hf_tokenizer_name": tokenizer, "hf_model_pretrained": False,
        } | text,
    }  # fmt: skip

    def write(folder: Path) -> None:
        with hub_configs():
            checkpoints.write_open_clip_folder(
                folder, config, PREPROCESS, seed=seed, logit_scale=50.0, adjust=adjust
            )
        write_tokenizer(folder, *TOKENIZERS[name])

    return write


def write_tokenizer(folder: Path, files: dict[str, bytes], kind: str) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    settings = json.dumps({"tokenizer_class": kind})
    (folder / "tokenizer_config.json").write_text(settings)


def read_open_clip_folder(folder: Path) -> Peer:
    """Load with open_clip, which reads the tokenizer of the folder as its config says."""
    with hub_configs():
        model, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    tokenizer: Callable[..., torch.Tensor] = open_clip.get_tokenizer(f"local-dir:{folder}")
    return checkpoints.open_clip_peer(model.eval(), transform, lambda texts: tokenizer(list(texts)))


def chinese_folder(seed: int, **config: Any) -> Callable[[Path], None]:
    """Return a writer of a ChineseCLIPModel folder; the default sizes are those of the library."""

    def write(folder: Path) -> None:
        model = transformers.ChineseCLIPModel(transformers.ChineseCLIPConfig(**config))
        checkpoints.randomize(model, seed, logit_scale=50.0)
        adjust(model)
        model.save_pretrained(folder)
        processor(model).save_pretrained(folder)
        write_tokenizer(folder, {"vocab.txt": CHINESE}, "BertTokenizer")

    return write


def read_chinese_folder(folder: Path) -> Peer:
    """Load with transformers. Texts have the length of `cn_clip.clip.tokenize`."""
    model = transformers.ChineseCLIPModel.from_pretrained(folder, local_files_only=True).eval()
    prepare = processor(model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    length = 52
    options = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}

    def tokenize(texts: Sequence[str]) -> torch.Tensor:
        ids: torch.Tensor = tokenizer(list(texts), max_length=length, **options).input_ids
        return ids

    def masked(ids: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"input_ids": ids, "attention_mask": (ids != tokenizer.pad_token_id).long()}

    return Peer(
        transform=lambda image: prepare(images=image, return_tensors="pt").pixel_values[0],
        image_tower=lambda pixels: model.get_image_features(pixel_values=pixels).pooler_output,
        text_tower=lambda ids: model.get_text_features(**masked(ids)).pooler_output,
        logits=lambda pixels, ids: model(pixel_values=pixels, **masked(ids)).logits_per_image,
        logit_scale=model.logit_scale.exp().item(),
        context_length=length,
        model=model,
        tokenizer=tokenize,
    )


def processor(model: Any) -> Any:
    """Return the preprocessing of the published repositories, which squash images."""
    from transformers.models.chinese_clip.image_processing_pil_chinese_clip import (
        ChineseCLIPImageProcessorPil,
    )

    size = model.config.vision_config.image_size
    return ChineseCLIPImageProcessorPil(size={"height": size, "width": size}, do_center_crop=False)


def adjust(model: Any) -> None:
    """Enlarge the embeddings of words, so that texts differ by more than their lengths.

    In a network of few layers, the first token also attends to few others, and takes more of them.
    """
    with torch.no_grad():
        state = model.state_dict()
        queries = [name for name in state if name.endswith("attention.self.query.weight")]
        for name, tensor in state.items():
            if name.endswith("word_embeddings.weight"):
                tensor.mul_(WORDS)
            elif len(queries) < SHALLOW and name.endswith(
                ("self.query.weight", "self.value.weight")
            ):
                tensor.mul_(SHARPER)
