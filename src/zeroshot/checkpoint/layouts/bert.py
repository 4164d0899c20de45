"""Read BERT encoders of transformers, which other layouts contain as text towers.

open_clip's configs only name the model, so its sizes are in a table here. They are those of
`config.json` in the repositories of these names. Sources of the tensor names: `BertModel`,
`RobertaModel` and `ChineseCLIPTextModel` of transformers 5, `HFTextEncoder` of open_clip 3.3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from zeroshot.checkpoint.config_fields import Fields
from zeroshot.checkpoint.layouts.base import join_projections
from zeroshot.spec import BertConfig, BertHead, BertPool

PREFIX = "text.transformer."  # of the encoder's tensors in open_clip's layout
WORDS = "embeddings.word_embeddings.weight"  # a tensor that every encoder has
HEAD = "text.proj."
NAMES = (
    (r"^embeddings\.word_embeddings\.", "token_embedding."),
    (r"^embeddings\.position_embeddings\.weight$", "positional_embedding"),
    (r"^embeddings\.token_type_embeddings\.weight$", "token_type_embedding"),
    (r"^embeddings\.LayerNorm\.", "ln_embed."),
    (r"^encoder\.layer\.(\d+)\.", r"blocks.\1."),
    (r"\.attention\.self\.([qkv])(uery|ey|alue)\.", r".attn.\1_proj."),
    (r"\.attention\.output\.dense\.", ".attn.out_proj."),
    (r"\.attention\.output\.LayerNorm\.", ".ln_1."),
    (r"\.intermediate\.dense\.", ".mlp.c_fc."),
    (r"\.output\.dense\.", ".mlp.c_proj."),
    (r"\.output\.LayerNorm\.", ".ln_2."),
)
HEADS: dict[object, BertHead] = {"mlp": "mlp", "linear": "linear", None: "none"}
POOLS: dict[object, BertPool] = {"mean_pooler": "mean", "cls_last_hidden_state_pooler": "first"}
LENGTH = 77  # tokens, if a config of open_clip does not say it

BASE, LARGE = (768, 12, 12, 3072), (1024, 24, 16, 4096)
ROBERTA_IDS, XLM_ROBERTA_IDS, BERT_IDS = 50_265, 250_002, 30_522


def _roberta(vocab_size: int, size: tuple[int, int, int, int]) -> BertConfig:
    return BertConfig(LENGTH, vocab_size, *size, eps=1e-5, positions=514, pad=1, first_position=2)


# BERT, and BERT with the vocabulary of PubMed, which has as many ids
UNCASED = BertConfig(LENGTH, BERT_IDS, *BASE, eps=1e-12, positions=512, pad=0)
# The value of `hf_model_name` -> the sizes. Repositories without an owner were moved to one.
BERTS: dict[str, BertConfig] = {
    "roberta-base": _roberta(ROBERTA_IDS, BASE),
    "roberta-large": _roberta(ROBERTA_IDS, LARGE),
    "xlm-roberta-base": _roberta(XLM_ROBERTA_IDS, BASE),
    "xlm-roberta-large": _roberta(XLM_ROBERTA_IDS, LARGE),
    "bert-base-uncased": UNCASED,
    "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract": UNCASED,
    "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext": UNCASED,
    "microsoft/BiomedNLP-PubMedBERT-base-uncased-abstract": UNCASED,
    "microsoft/BiomedNLP-PubMedBERT-base-uncased-abstract-fulltext": UNCASED,
}
OWNERS = ("FacebookAI/", "google-bert/")


def read_tower(text: Fields) -> BertConfig:
    """Read the text tower that `hf_model_name` of open_clip names.

    Raises IncompatibleWeights for an unknown one. As in open_clip, the fields of other text towers
    are not used.
    """
    name = text.content["hf_model_name"]
    config = None
    if isinstance(name, str):
        owner = next((owner for owner in OWNERS if name.startswith(owner)), "")
        config = BERTS.get(name.removeprefix(owner))
    if config is None:
        raise text.field_error("hf_model_name", name, f"one of {', '.join(BERTS)}")
    return replace(
        config,
        context_length=text.number("context_length", LENGTH),
        pool=text.choice("hf_pooler_type", POOLS, "mean_pooler"),
        head=text.choice("hf_proj_type", HEADS, "mlp"),
    )


def split(
    tensors: Mapping[str, Tensor], prefix: str
) -> tuple[dict[str, tuple[Tensor, ...]], dict[str, Tensor]]:
    """Return the encoder's tensors by this package's names, and the other tensors.

    The first is empty if there is no encoder below this prefix of names.
    """
    if f"{prefix}{WORDS}" not in tensors:
        return {}, dict(tensors)
    mine = {name: each for name, each in tensors.items() if name.startswith(prefix)}
    others = {name: each for name, each in tensors.items() if name not in mine}
    return _rename(mine, prefix), others


def _rename(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, tuple[Tensor, ...]]:
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        ours = name.removeprefix(prefix)
        for pattern, replacement in NAMES:
            ours = re.sub(pattern, replacement, ours)
        if ours == "token_type_embedding" and tensor.ndim == 2 and len(tensor):
            tensor = tensor[0]  # texts are of the first type
        renamed[f"text.{ours}"] = tensor
    return join_projections(renamed)


def rename_head(name: str, tensor: Tensor) -> tuple[str, Tensor]:
    """Return a tensor of open_clip's head by this package's name; others stay the same."""
    if name == f"{HEAD}weight" and tensor.ndim == 2:
        return "text.text_projection", tensor.T
    name = re.sub(rf"^{re.escape(HEAD)}0\.", "text.head.c_fc.", name)
    return re.sub(rf"^{re.escape(HEAD)}2\.", "text.head.c_proj.", name), tensor
