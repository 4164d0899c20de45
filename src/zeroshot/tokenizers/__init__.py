"""Text becomes ids: `base` says what a tokenizer is, `clip` is CLIP's."""

from zeroshot.tokenizers.base import Tokenizer
from zeroshot.tokenizers.clip import ClipTokenizer

__all__ = ["ClipTokenizer", "Tokenizer"]
