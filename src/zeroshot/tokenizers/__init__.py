"""Convert text to token ids.

`base` defines the protocol, `clip` implements CLIP's tokenizer.
"""

from zeroshot.tokenizers.base import Tokenizer
from zeroshot.tokenizers.clip import ClipTokenizer

__all__ = ["ClipTokenizer", "Tokenizer"]
