"""The training recipe of the CLIP paper: loss, initialization, optimizer and schedule.

Source: Radford et al. 2021, https://arxiv.org/abs/2103.00020, sections 2.3 to 2.5, Figure 3 and
Table 18; initial values as in `CLIP.initialize_parameters` and `VisionTransformer` of
https://github.com/openai/CLIP/blob/main/clip/model.py.

Letters in the shape comments are those of `zeroshot.nn`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from zeroshot.nn.network import Network
from zeroshot.spec import NetworkConfig, PreprocessConfig, Spec, TextConfig, ViTConfig

TEMPERATURE = 0.07  # initial value; section 2.5
MAX_SCALE = 100.0  # the logits are never scaled by more; section 2.5
BETAS, EPS = (0.9, 0.98), 1e-6  # Adam, for vision transformers; Table 18
WEIGHT_DECAY = 0.2  # Table 18
TOKEN_STD, POSITION_STD = 0.02, 0.01  # of the initial embeddings; openai/CLIP
HEAD_WIDTH = 64  # of each attention head in all published CLIP vision transformers
MLP_RATIO = 4  # width of the MLP divided by the width of its tower
CONTEXT_LENGTH = 77  # tokens, with start and end: OpenAI's checkpoints
VOCABULARY_SIZE = 49_408  # tokens of CLIP's tokenizer: OpenAI's checkpoints


def spec(
    *, image_size: int, patch_size: int, width: int, layers: int, text_layers: int, embed_dim: int
) -> Spec:
    """Describe a small CLIP: ViT and text transformer of the same width, CLIP's tokenizer."""
    heads, hidden = max(1, width // HEAD_WIDTH), MLP_RATIO * width
    vision = ViTConfig(image_size, patch_size, width, layers, heads, hidden, "quick_gelu")
    text = TextConfig(
        CONTEXT_LENGTH, VOCABULARY_SIZE, width, text_layers, heads, hidden, "quick_gelu"
    )
    return Spec(NetworkConfig(embed_dim, vision, text), PreprocessConfig(image_size))


def contrastive_loss(images: Tensor, texts: Tensor, logit_scale: Tensor) -> Tensor:
    """Return the symmetric cross-entropy of n pairs; Figure 3.

    Args:
        images: Embeddings [n, d], not normalized.
        texts: Embeddings [n, d]; row i belongs to row i of `images`, all others do not.
        logit_scale: Natural logarithm of the factor on cosine similarities, [].
    """
    images, texts = F.normalize(images.float(), dim=1), F.normalize(texts.float(), dim=1)
    logits = logit_scale.exp() * images @ texts.T  # [n, n]
    pairs = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2


@torch.no_grad()
def clip_scale(network: Network) -> None:
    """Keep the factor on the logits at most 100, for stable training; section 2.5."""
    network.logit_scale.clamp_(max=math.log(MAX_SCALE))


@torch.no_grad()
def initialize(network: Network, config: NetworkConfig, seed: int) -> None:
    """Set every parameter to its initial value.

    The scheme is openai/CLIP's: tokens 0.02, positions of text 0.01, matrices by width and depth.
    Their image blocks keep torch's defaults; here both towers have the blocks of the text tower.
    Biases are 0 and gains 1.
    """
    random = torch.Generator().manual_seed(seed)

    def normal(values: Tensor, std: float) -> None:
        values.copy_(torch.randn(values.shape, generator=random) * std)

    towers = (network.visual, config.vision.depth), (network.text, config.text.depth)
    for tower, layers in towers:
        width = dict(tower.named_parameters())["positional_embedding"].shape[1]
        for name, values in tower.named_parameters():
            part = name.rpartition(".")[0].rpartition(".")[2]
            if name.endswith("bias"):
                values.zero_()
            elif part.startswith("ln_"):
                values.fill_(1)
            elif part in ("out_proj", "c_proj"):  # the ends of residual branches
                normal(values, width**-0.5 * (2 * layers) ** -0.5)
            elif part == "c_fc":
                normal(values, (2 * width) ** -0.5)
            elif part == "conv1":  # the variance of torch's default
                normal(values, (3 * values[0].numel()) ** -0.5)
            elif part == "token_embedding":
                normal(values, TOKEN_STD)
            elif name == "positional_embedding" and tower is network.text:
                normal(values, POSITION_STD)
            else:  # projections, class token, positions of patches, queries, keys and values
                normal(values, width**-0.5)
    network.logit_scale.fill_(math.log(1 / TEMPERATURE))


def optimizer(network: Network, rate: float) -> torch.optim.AdamW:
    """Create Adam with decoupled weight decay of all weights that are not gains or biases.

    Source: section 2.5. The temperature is a gain too.
    """
    decayed: list[Tensor] = []
    kept: list[Tensor] = []
    for name, values in network.named_parameters():
        is_gain = ".ln_" in name or name.startswith("ln_") or name == "logit_scale"
        (kept if is_gain or name.endswith("bias") else decayed).append(values)
    groups = [
        {"params": decayed, "weight_decay": WEIGHT_DECAY},
        {"params": kept, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=BETAS, eps=EPS)


def rate_at(done: float, warmup: float) -> float:
    """Return the learning rate as a share of its peak: linear warm-up, then a cosine to 0.

    Args:
        done: Share of the training that is done, 0 to 1.
        warmup: Share of the training with a rising rate.

    Source: section 2.5 (cosine) and Table 18 (warm-up, 2000 steps of about 400,000).
    """
    if done < warmup:
        return done / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - warmup) / (1 - warmup))))


class Vocabulary:
    """The tokens that occur in the captions, renumbered without gaps.

    AdamW updates every row of the token table in each step, and a small data set uses few of the
    49,408. So a network with only those rows is trained, and `restore` makes the complete table.
    """

    def __init__(self, ids: Iterable[int]) -> None:
        self.ids = torch.tensor(sorted(set(ids)), dtype=torch.long)  # the end token stays last

    def __len__(self) -> int:
        return len(self.ids)

    def reduce(self, rows: Tensor) -> Tensor:
        """Return the new numbers of ids that occur in the captions; the same shape."""
        return torch.searchsorted(self.ids, rows)

    def config(self, whole: NetworkConfig) -> NetworkConfig:
        """Return the configuration of the network that is trained."""
        return replace(whole, text=replace(whole.text, vocab_size=len(self)))

    def restore(self, table: Tensor, size: int, seed: int) -> Tensor:
        """Return the complete token table [size, w]; tokens that never occurred are initial."""
        random = torch.Generator().manual_seed(seed)
        whole = torch.randn(size, table.shape[1], generator=random) * TOKEN_STD
        whole[self.ids] = table
        return whole
