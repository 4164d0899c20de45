"""Convert text to token ids.

`base` defines the protocol, `clip` implements CLIP's tokenizer, `tokenizer_files` reads those of
models with another vocabulary.
"""

from zeroshot.tokenizers.base import Tokenizer
from zeroshot.tokenizers.clip import ClipTokenizer

__all__ = ["ClipTokenizer", "Tokenizer"]
