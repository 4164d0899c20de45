"""Say how texts become rows for the tokenizers that open_clip's configs name.

A config names the repository of a tokenizer, whose files contain the special ids; they are in a
table here. Sources: `model_configs/*.json` and `HFTokenizer` of open_clip 3.3, and the tokenizer
files of the repositories.
"""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase

from zeroshot.checkpoint.config_fields import Fields
from zeroshot.spec import Cleaning, TokenizerConfig

GEMMA_IDS = 256_000
# The context length is replaced by that of the config.
LENGTH = 77
T5 = TokenizerConfig(LENGTH, end=1, pad=1)  # of SigLIP, whose pad is its end
GEMMA = TokenizerConfig(LENGTH, end=1, pad=0)
MT5 = TokenizerConfig(LENGTH, end=1, pad=0)
XLM_ROBERTA = TokenizerConfig(LENGTH, start=0, end=2, pad=1, piece_ids="fairseq")
ROBERTA = TokenizerConfig(LENGTH, start=0, end=2, pad=1)
BERT = TokenizerConfig(LENGTH, start=101, end=102, pad=0)
PUBMED_BERT = TokenizerConfig(LENGTH, start=2, end=3, pad=0)  # its vocabulary is its own
# Repository of the tokenizer -> what its rows contain. The first matching pattern counts.
TOKENIZERS: dict[str, TokenizerConfig] = {
    "timm/ViT-*-SigLIP2*": GEMMA,
    "timm/ViT-*-SigLIP*": T5,
    "facebook/xlm-v-base": XLM_ROBERTA,  # MetaCLIP 2
    "google/mt5-*": MT5,
    "xlm-roberta-*": XLM_ROBERTA,  # LAION
    "FacebookAI/xlm-roberta-*": XLM_ROBERTA,
    "roberta-base": ROBERTA,
    "FacebookAI/roberta-base": ROBERTA,
    "bert-base-uncased": BERT,  # CLIPA
    "google-bert/bert-base-uncased": BERT,
    # BiomedCLIP; the repository was renamed
    "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract*": PUBMED_BERT,
    "microsoft/BiomedNLP-PubMedBERT-base-uncased-abstract*": PUBMED_BERT,
}
CLEANINGS: tuple[Cleaning, ...] = ("whitespace", "lower", "canonicalize")
STRIPPED_END = 0  # what open_clip writes instead of [SEP] if `strip_sep_token` is set


def read_tokenizer(text: Fields, context_length: int, *, full_rows: bool) -> TokenizerConfig | None:
    """Read the tokenizer that `text_cfg` names; None for CLIP's.

    `full_rows` says whether the text tower reads padding, see `TokenizerConfig`. Raises
    IncompatibleWeights for an unknown tokenizer or option.
    """
    options, name = text.part("tokenizer_kwargs"), text.content.get("hf_tokenizer_name")
    options.allow_only(("clean", "strip_sep_token"))
    cleaning = options.content.get("clean")
    strips = options.content.get("strip_sep_token") or False
    if not name:
        if cleaning not in (None, "lower"):
            raise options.field_error(
                "clean", cleaning, "'lower', as CLIP's tokenizer cleans texts"
            )
        if strips:
            raise options.field_error("strip_sep_token", strips, "false with CLIP's tokenizer")
        return None
    found = None
    if isinstance(name, str):
        found = next((row for key, row in TOKENIZERS.items() if fnmatchcase(name, key)), None)
    if found is None:
        raise text.field_error("hf_tokenizer_name", name, f"one of {', '.join(TOKENIZERS)}")
    cleaning = "whitespace" if cleaning is None else cleaning  # as in open_clip
    if not isinstance(cleaning, str) or cleaning not in CLEANINGS:
        raise options.field_error("clean", cleaning, f"one of {', '.join(CLEANINGS)}")
    if strips:
        if strips is not True or found not in (BERT, PUBMED_BERT):
            raise options.field_error("strip_sep_token", strips, "false except with BERT's")
        found = replace(found, end=STRIPPED_END)
    return replace(found, context_length=context_length, cleaning=cleaning, full_rows=full_rows)


def siglip_tokenizer(context_length: int, vocab_size: int) -> TokenizerConfig:
    """Return how texts of SigLIP, or of SigLIP 2 with Gemma's vocabulary, become rows."""
    found = GEMMA if vocab_size == GEMMA_IDS else T5
    return replace(found, context_length=context_length, cleaning="canonicalize", full_rows=True)
