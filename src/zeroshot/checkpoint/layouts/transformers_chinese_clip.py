"""Read ChineseCLIPModel of the transformers library: CLIP's image tower and a BERT.

Its config has the defaults of ChineseCLIPTextConfig; the image tower's are those of CLIP. Source:
`models/chinese_clip/configuration_chinese_clip.py` of transformers 5. Texts are cut to the length
that the models were trained with: `tokenize` in `cn_clip/clip/utils.py` of OFA-Sys/Chinese-CLIP.
"""

from __future__ import annotations

from zeroshot.checkpoint.config_fields import Fields
from zeroshot.checkpoint.layouts.open_clip_tokenizers import BERT
from zeroshot.spec import Activation, BertConfig

LENGTH = 52  # tokens of a text
PREFIX = "text_model."  # of the text tower's tensors
# Fields of its text tower besides those of CLIP's: sizes of tables and dropout, and fields of a
# pooler that does not exist in the model.
FIELDS = (
    *("type_vocab_size", "position_embedding_type", "hidden_dropout_prob"),
    *("attention_probs_dropout_prob", "classifier_dropout", "directionality", "output_past"),
    *("pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers"),
    *("pooler_size_per_head", "pooler_type"),
)


def read_text(text: Fields, activation: Activation) -> BertConfig:
    """Read the text tower in `config.json`, whose fields have been checked."""
    text.require(position_embedding_type="absolute")
    pad = text.content.get("pad_token_id", BERT.pad)
    if type(pad) is not int or pad != BERT.pad:
        raise text.field_error("pad_token_id", pad, f"{BERT.pad}, the padding of BERT's tokenizer")
    positions = text.number("max_position_embeddings", 512)
    return BertConfig(
        context_length=min(LENGTH, positions),
        vocab_size=text.number("vocab_size", 30522),
        width=text.number("hidden_size", 768),
        layers=text.number("num_hidden_layers", 12),
        heads=text.number("num_attention_heads", 12),
        mlp_width=text.number("intermediate_size", 3072),
        eps=text.real("layer_norm_eps", 1e-12),
        positions=positions,
        pad=pad,
        mlp_activation=activation,
        pool="first",
        head="linear",
    )
