"""Small networks with the options of other families than OpenAI's CLIP."""

from __future__ import annotations

from dataclasses import replace

from tests.checkpoint.families import PE_IMAGE, PE_IMAGE_WITHOUT_CLASS, SIGLIP_IMAGE, SIGLIP_TEXT
from tests.checkpoint.families_bert import BERT, ROBERTA
from tests.checkpoint.families_eva import EVA_01, EVA_02, MOBILECLIP_B
from zeroshot.spec import BertConfig, NetworkConfig, TextConfig, ViTConfig

CAUSAL = TextConfig(20, 600, 32, 2, 2, 64, "gelu")
CLIPA = ViTConfig(  # the mean of the patches, normalized after the pool
    image_size=32,
    patch_size=8,
    width=48,
    layers=2,
    heads=3,
    mlp_width=96,
    activation="gelu",
    pre_norm=False,
    pool="mean",
    norm_after_pool=True,
)
VISION = {
    "siglip": SIGLIP_IMAGE,
    "siglip, any grid": replace(SIGLIP_IMAGE, any_grid=True),
    "pe": PE_IMAGE,
    "pe without class token": PE_IMAGE_WITHOUT_CLASS,
    "mean, norm after": CLIPA,
    "mean without class token": replace(CLIPA, class_token=False, norm_after_pool=False),
    "rotary, class token": replace(PE_IMAGE, pool="token", rotary="yx", rotary_grid=16),
    "eva02": EVA_02,
    "eva01": EVA_01,
    "eva02-e": replace(EVA_01, block_norm="output"),
    "gated, mean": replace(EVA_02, pool="mean", rotary="none"),
    "norm of the output, inner norm": replace(EVA_01, block_norm="output", inner_norm=True),
    "convolutions": MOBILECLIP_B,
    "convolutions, mean": replace(MOBILECLIP_B, pool="mean", class_position=True),
    "class token without position": replace(CLIPA, class_position=False, image_size=40),
    "one layer": replace(PE_IMAGE, layers=1),
    "one layer, token": replace(PE_IMAGE, layers=1, pool="token", projection="matrix"),
}
TEXT = {
    "siglip": SIGLIP_TEXT,
    "full rows, end": replace(SIGLIP_TEXT, pool="end", end_id=1, projection="matrix"),
    "full rows, largest": replace(SIGLIP_TEXT, pool="largest", layers=1),
    "full rows of CLIP's tokenizer": replace(CAUSAL, causal=False),
    "causal, end": replace(CAUSAL, pool="end", end_id=2, projection="biased"),
    "causal, without projection": replace(CAUSAL, width=20, heads=2, projection="none"),
}
BERTS = {
    "roberta": ROBERTA,
    "bert": BERT,
    "bert, linear": replace(BERT, head="linear", mlp_activation="quick_gelu"),
    "mean, without head": replace(ROBERTA, width=20, head="none", first_position=0),
    "first, one layer": replace(BERT, layers=1, first_position=1, mlp_activation="gelu_tanh"),
}


def with_vision(config: ViTConfig) -> NetworkConfig:
    return NetworkConfig(config.width if config.projection == "none" else 20, config, CAUSAL)


def with_text(config: TextConfig | BertConfig) -> NetworkConfig:
    return NetworkConfig(20, ViTConfig(8, 8, 16, 1, 1, 16, "gelu"), config)
