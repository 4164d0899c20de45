"""Tiny CLIPs with a BERT as text tower, in the layouts in which they are published.

The sizes of towers that a config only names are in tables of this package, so tests add rows.
"""

from __future__ import annotations

from zeroshot.spec import BertConfig

LENGTH = 12  # tokens of a text
ROBERTA = BertConfig(  # LAION's: the mean of the tokens, a head of two layers
    context_length=LENGTH,
    vocab_size=400,
    width=32,
    layers=2,
    heads=2,
    mlp_width=64,
    eps=1e-5,
    positions=20,
    pad=1,
    first_position=2,
    pool="mean",
    head="mlp",
)
BERT = BertConfig(  # BiomedCLIP's: the first token, no padding among the positions
    context_length=LENGTH,
    vocab_size=300,
    width=48,
    layers=2,
    heads=3,
    mlp_width=80,
    eps=1e-12,
    positions=16,
    pad=0,
    pool="first",
    head="mlp",
)
