"""Define what a checkpoint contains besides tensors, as plain values.

A `Spec` contains the configuration of both towers, the preprocessing, the tokenizer's size and the
scoring. Each tower configuration validates and describes itself: `problems()` yields invalid
values, `depth` is the number of layers, `stride` the step of the input size, and `resized()`
returns the same tower for another input size. This module does not import torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypeVar, get_args

Activation = Literal["quick_gelu", "gelu", "gelu_tanh", "silu"]
Interpolation = Literal["bicubic", "bilinear"]
ResizeMode = Literal["shortest", "squash", "aspect"]
Scoring = Literal["softmax", "sigmoid"]
ImagePool = Literal["token", "mean", "attention"]
TextPool = Literal["largest", "end", "last"]
BertPool = Literal["first", "mean"]
BertHead = Literal["none", "linear", "mlp"]
Projection = Literal["matrix", "biased", "none"]
Rotary = Literal["none", "xy", "yx"]
Stem = Literal["patch", "convolutions"]
BlockNorm = Literal["input", "output"]
# What is done to a text before it is encoded. All but "none" repair wrongly decoded text, unescape
# HTML and collapse white space; "lower" and "canonicalize" also lower the case; "canonicalize" also
# converts underscores to spaces and deletes ASCII punctuation.
Cleaning = Literal["none", "whitespace", "lower", "canonicalize"]
PieceIds = Literal["file", "fairseq"]
Problem = tuple[str, object, str]  # field, its value, what is expected

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of channel values in 0..1; clip/clip.py
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
CLIP_MERGES = (
    48_894  # byte-pair merges in CLIP's vocabulary; any prefix of them is a vocabulary too
)
CLIP_SYMBOLS = 514  # ids besides merges: 256 bytes, 256 word-final bytes, start, end
STEM_STRIDES = (4, 2, 2)  # of the convolutions before MobileCLIP-B's transformer
RESNET_STRIDE = 32  # input pixels per position of a ResNet's last feature map
CONVNEXT_STRIDE = 32
FASTVIT_STRIDE = 32  # in five stages odd sides are rounded up, so 64 is not needed
MAX_TOKEN_IDS = 1_000_000  # of a tokenizer; the largest of a CLIP has 901,629
MAX_PATCHES = 4096  # of an image; SigLIP 2 was trained with at most 1024
MAX_SCALE = 1000  # limit for the logit scale; CLIP's training keeps it below 100
CHOICES = {  # fields of configurations -> their values
    "activation": Activation,
    "mlp_activation": Activation,
    "head": BertHead,
    "projection": Projection,
    "rotary": Rotary,
    "stem": Stem,
    "block_norm": BlockNorm,
    "cleaning": Cleaning,
    "piece_ids": PieceIds,
}
LIMITS = {  # larger than any CLIP, small enough that no config can request a huge network
    "embed_dim": 16_384,
    "image_size": 4096,
    "size": 4096,
    "patch_size": 1024,
    "width": 16_384,
    "layers": 256,
    "heads": 1024,
    "head_width": 1024,
    "mlp_width": 131_072,
    "mlp_ratio": 16,
    "context_length": 4096,
    "vocab_size": 1_000_000,
    "positions": 16_384,
    "concepts": 1_000_000,
    "top_k": 1_000_000,
}


class TowerConfig(Protocol):
    """The part of a tower's configuration that loading and running require."""

    kind: ClassVar[str]  # name of this kind of tower in files

    @property
    def depth(self) -> int:
        """Number of layers with their own tensors."""

    def problems(self) -> Iterator[Problem]:
        """Yield the fields with invalid values."""


class ImageTowerConfig(TowerConfig, Protocol):
    """The part of an image tower's configuration that loading and running require."""

    @property
    def image_size(self) -> int:
        """Side of the square input, in pixels."""

    @property
    def stride(self) -> int | None:
        """Divisor of valid input sizes, in pixels; None if the size is fixed."""

    # Names of tensors [extra + positions, w] that depend on the input size: `extra_positions`
    # rows, such as that of a class token, and a square grid.
    position_embeddings: ClassVar[tuple[str, ...]]

    @property
    def extra_positions(self) -> int:
        """Number of position embeddings besides those of the grid."""

    def resized(self, size: int) -> ImageTowerConfig:
        """Return the same tower for another input size."""


class BlockOptions(NamedTuple):
    """Options of a transformer block; the defaults are those of OpenAI's CLIP.

    Sources: SwiGLU: Shazeer 2020 (arXiv 2002.05202). The others: EVA-02, Fang et al. 2023 (arXiv
    2303.11331), and EVA-CLIP, Sun et al. 2023 (arXiv 2303.15389), `eva_vit_model.py` of
    baaivision/EVA and `eva.py` of timm.
    """

    gated_mlp: bool = False
    inner_norm: bool = False
    block_norm: BlockNorm = "input"


@dataclass(frozen=True)
class ViTConfig:
    """A vision transformer; the defaults are those of OpenAI's CLIP.

    Sources: Radford et al. 2021, section 2.4; `VisionTransformer` of openai/CLIP. SigLIP: Zhai et
    al. 2023 (arXiv 2303.15343), `vit.py` of google-research/big_vision. Perception Encoder: Bolya
    et al. 2025 (arXiv 2504.13181), `pe.py` of facebookresearch/perception_models. EVA-CLIP: see
    `BlockOptions`. MobileCLIP-B: Vasu et al. 2024 (arXiv 2311.17049), `vit_base_mci_224` of timm.
    Images of any grid: Tschannen et al. 2025 (arXiv 2502.14786), section 2.4.2.
    """

    image_size: int  # pixels, side of the square input
    patch_size: int  # pixels
    width: int
    layers: int
    heads: int  # not always width / 64: H/14 has 16 heads of width 80, bigG/14 16 of 104
    mlp_width: int
    activation: Activation
    eps: float = 1e-5  # added to the variance in LayerNorm
    class_token: bool = True
    patch_bias: bool = False  # of the map from patches to tokens
    pre_norm: bool = True  # a LayerNorm before the blocks
    # Which feature is projected: the class token, the mean over patches, or that of a learned query
    # that attends to all tokens, followed by an MLP (SigLIP's MAP head).
    pool: ImagePool = "token"
    pool_heads: int = 0  # of that attention
    pool_mlp_width: int = 0  # of that MLP
    norm_after_pool: bool = False  # the last LayerNorm is applied to the pooled feature only
    projection: Projection = "matrix"  # to the shared space
    # Queries and keys of patches are rotated by angles that depend on their place (RoPE): the first
    # half of a head by x or by y, the second by the other.
    rotary: Rotary = "none"
    rotary_grid: int = 0  # side of the grid that places are counted on; 0: the grid of patches
    rotary_start: int = 0  # number of the first place
    # What turns pixels into tokens: one linear map of each patch, or three convolutions whose
    # strides are their kernel sizes, with batch norm and GELU between them.
    stem: Stem = "patch"
    class_position: bool = True  # the class token has a position embedding
    gated_mlp: bool = False  # activation(gate) * value instead of activation(value); see SwiGLU
    inner_norm: bool = False  # a LayerNorm before the output maps of attention and MLP
    # The LayerNorms of a block are applied to the input of its attention and MLP, or to their
    # output before it is added to the residual.
    block_norm: BlockNorm = "input"
    # Images have any number of rows and columns of patches; the positions of the square grid of
    # `image_size` are resampled to them (NaFlex).
    any_grid: bool = False
    kind: ClassVar[str] = "vit"
    position_embeddings: ClassVar[tuple[str, ...]] = ("positional_embedding",)

    @property
    def depth(self) -> int:
        """Number of transformer blocks."""
        return self.layers

    @property
    def stride(self) -> int | None:
        """Divisor of valid input sizes, in pixels; None if images may have any grid."""
        return None if self.any_grid else self.patch_size

    @property
    def extra_positions(self) -> int:
        """1 for a class token with a position embedding."""
        return int(self.class_token and self.class_position)

    @property
    def block_options(self) -> BlockOptions:
        """Options of the transformer blocks."""
        return BlockOptions(self.gated_mlp, self.inner_norm, self.block_norm)

    def problems(self) -> Iterator[Problem]:
        """Yield the fields with invalid values."""
        yield from _out_of_range(self)
        if _are_positive(self.width, self.heads) and self.width % self.heads:
            yield "heads", self.heads, f"a divisor of the width {self.width}"
        if _are_positive(self.patch_size, self.image_size) and self.patch_size > self.image_size:
            yield "patch_size", self.patch_size, f"at most the image size {self.image_size}"
        if self.pool not in get_args(ImagePool):
            yield "pool", self.pool, f"one of {get_args(ImagePool)}"
        if self.pool == "token" and not self.class_token:
            yield "pool", self.pool, "'mean' or 'attention' without a class token"
        if self.pool == "attention":
            if not _are_positive(self.pool_heads) or self.width % self.pool_heads:
                yield "pool_heads", self.pool_heads, f"a divisor of the width {self.width}"
            if not _are_positive(self.pool_mlp_width):
                yield "pool_mlp_width", self.pool_mlp_width, "a positive number"
        if (
            self.rotary != "none"
            and _are_positive(self.width, self.heads)
            and self.width // self.heads % 4
        ):
            yield "heads", self.heads, "heads whose width is a multiple of 4, because of rotary"
        if self.gated_mlp != (self.activation == "silu"):
            yield "gated_mlp", self.gated_mlp, "True with the activation 'silu', and only then"
        if self.inner_norm and self.activation == "quick_gelu":
            yield "inner_norm", True, "False with the activation 'quick_gelu'"
        if self.stem == "convolutions":
            if self.patch_size != math.prod(STEM_STRIDES):
                expected = f"{math.prod(STEM_STRIDES)}, the stride of the convolutions"
                yield "patch_size", self.patch_size, expected
            if self.patch_bias or (_are_positive(self.width) and self.width % 4):
                yield "width", self.width, "a multiple of 4, and patch_bias False, for convolutions"
        if self.any_grid and (self.class_token or self.rotary != "none"):
            yield "any_grid", True, "False with a class token or rotary positions"

    def resized(self, size: int) -> ViTConfig:
        """Return the same tower for another input size."""
        return replace(self, image_size=size)


@dataclass(frozen=True)
class ResNetConfig:
    """OpenAI's modified ResNet.

    It has a three-convolution stem, average-pooled strides and attention pooling.
    """

    image_size: int
    width: int  # channels after the stem; 64 for RN50
    layers: tuple[int, int, int, int]  # bottlenecks per stage
    heads: int  # of the attention pool: 32 * width / 64
    kind: ClassVar[str] = "resnet"
    position_embeddings: ClassVar[tuple[str, ...]] = ("attnpool.positional_embedding",)

    @property
    def depth(self) -> int:
        """Number of bottlenecks in all stages."""
        return sum(self.layers)

    @property
    def stride(self) -> int | None:
        """Divisor of valid input sizes, in pixels."""
        return RESNET_STRIDE

    @property
    def extra_positions(self) -> int:
        """1 for the mean, the query of the attention pool."""
        return 1

    def problems(self) -> Iterator[Problem]:
        """Yield the fields with invalid values."""
        yield from _out_of_range(self, sequences=("layers",))
        if not isinstance(self.layers, tuple) or len(self.layers) != 4:
            yield "layers", self.layers, "four numbers of blocks"
        if _are_positive(self.width, self.heads) and self.width * 32 % self.heads:
            yield "heads", self.heads, f"a divisor of the width {self.width * 32}"
        if _are_positive(self.image_size) and self.image_size % RESNET_STRIDE:
            yield "image_size", self.image_size, f"a multiple of {RESNET_STRIDE}"

    def resized(self, size: int) -> ResNetConfig:
        """Return the same tower for another input size."""
        return replace(self, image_size=size)


@dataclass(frozen=True)
class FastViTConfig:
    """FastViT, the convolutional tower of MobileCLIP S0 to S4, with its training branches folded.

    Each stage has twice the channels of the stage before it. From the fourth on, positions attend
    to each other. Sources: arXiv 2303.14189 and 2311.17049; `fastvit_mci*` of timm.
    """

    image_size: int
    width: int  # channels of the first stage
    layers: tuple[int, ...]  # blocks of each stage: 4 stages in S0 to S2, 5 in S3 and S4
    mlp_ratio: int  # hidden channels of an MLP per channel
    # Channels are weighed by gates (squeeze-and-excitation) where the third and fourth stage begin.
    squeeze: bool
    layer_norm: bool  # before attention; a BatchNorm is folded into it
    head_width: int = 32
    eps: float = 1e-5  # of that LayerNorm
    kind: ClassVar[str] = "fastvit"
    position_embeddings: ClassVar[tuple[str, ...]] = ()

    @property
    def depth(self) -> int:
        """Number of blocks in all stages."""
        return sum(self.layers)

    @property
    def stride(self) -> int | None:
        """Divisor of valid input sizes, in pixels."""
        return FASTVIT_STRIDE

    @property
    def extra_positions(self) -> int:
        """0: there are no position embeddings."""
        return 0

    def channels(self, stage: int) -> int:
        """Return the number of channels of a stage, counted from 0."""
        return self.width << stage

    def attends(self, stage: int) -> bool:
        """Return whether the blocks of a stage have attention."""
        return stage >= 3

    def squeezes(self, stage: int) -> bool:
        """Return whether channels are weighed where a stage begins."""
        return self.squeeze and stage in (2, 3)

    def problems(self) -> Iterator[Problem]:
        """Yield the fields with invalid values."""
        yield from _out_of_range(self, sequences=("layers",))
        if not isinstance(self.layers, tuple) or len(self.layers) not in (4, 5):
            yield "layers", self.layers, "four or five numbers of blocks"
        if _are_positive(self.width, self.head_width) and self.width * 8 % self.head_width:
            yield "width", self.width, f"a multiple of {self.head_width} / 8"
        if _are_positive(self.image_size) and self.image_size % FASTVIT_STRIDE:
            yield "image_size", self.image_size, f"a multiple of {FASTVIT_STRIDE}"

    def resized(self, size: int) -> FastViTConfig:
        """Return the same tower for another input size."""
        return replace(self, image_size=size)


@dataclass(frozen=True)
class ConvNeXtConfig:
    """ConvNeXt, a convolutional tower of LAION's checkpoints.

    Each stage has twice the channels of the stage before it. Sources: Liu et al. 2022
    (arXiv 2201.03545); `convnext_*` of timm.
    """

    image_size: int
    width: int  # channels of the first stage
    layers: tuple[int, int, int, int]  # blocks of each stage
    eps: float = 1e-6  # of LayerNorm; 1e-5 in xxlarge
    # The projection has a hidden layer of twice the width of the shared space (`_d` in names).
    deep_projection: bool = False
    kind: ClassVar[str] = "convnext"
    position_embeddings: ClassVar[tuple[str, ...]] = ()

    @property
    def depth(self) -> int:
        """Number of blocks in all stages."""
        return sum(self.layers)

    @property
    def stride(self) -> int | None:
        """Divisor of valid input sizes, in pixels."""
        return CONVNEXT_STRIDE

    @property
    def extra_positions(self) -> int:
        """0: there are no position embeddings."""
        return 0

    @property
    def features(self) -> int:
        """Number of channels of the last stage."""
        return self.width << 3

    def problems(self) -> Iterator[Problem]:
        """Yield the fields with invalid values."""
        yield from _out_of_range(self, sequences=("layers",))
        if not isinstance(self.layers, tuple) or len(self.layers) != 4:
            yield "layers", self.layers, "four numbers of blocks"
        if _are_positive(self.image_size) and self.image_size % CONVNEXT_STRIDE:
            yield "image_size", self.image_size, f"a multiple of {CONVNEXT_STRIDE}"

    def resized(self, size: int) -> ConvNeXtConfig:
        """Return the same tower for another input size."""
        return replace(self, image_size=size)


@dataclass(frozen=True)
class ConSEConfig:
    """EfficientNet-Lite class scores combined in the text space.

    Source: ConSE, arXiv 1312.5650.
    """

    image_size: int
    variant: int  # EfficientNet-Lite 0, 1 or 2
    concepts: int  # classes of the image classifier
    temperature: float  # divides the class scores before the softmax
    top_k: int  # classes that contribute to an image's embedding
    kind: ClassVar[str] = "concept"
    position_embeddings: ClassVar[tuple[str, ...]] = ()

    @property
    def depth(self) -> int:
        """0: the variant fixes the number of layers."""
        return 0

    @property
    def stride(self) -> int | None:
        """None: the input size is fixed."""
        return None

    @property
    def extra_positions(self) -> int:
        """0: there are no positions."""
        return 0

    def problems(self) -> Iterator[Problem]:
        """Yield the fields with invalid values."""
        yield from _out_of_range(self)
        if self.variant not in (0, 1, 2):
            yield "variant", self.variant, "0, 1 or 2"
        if _are_positive(self.top_k, self.concepts) and self.top_k > self.concepts:
            yield "top_k", self.top_k, f"at most the number of concepts {self.concepts}"

    def resized(self, size: int) -> ConSEConfig:
        """Return the same tower for another input size."""
        return replace(self, image_size=size)


@dataclass(frozen=True)
class TextConfig:
    """A text transformer; the defaults are those of OpenAI's CLIP.

    Sources: as for `ViTConfig`.
    """

    context_length: int  # tokens, start and end included
    vocab_size: int
    width: int
    layers: int
    heads: int
    mlp_width: int
    activation: Activation
    eps: float = 1e-5
    causal: bool = True  # a token attends to those before it; else to all, padding included
    # Which token is projected: that with the largest id, the first with `end_id`, or the last.
    pool: TextPool = "largest"
    end_id: int = 0
    projection: Projection = "matrix"  # to the shared space
    kind: ClassVar[str] = "clip"
    block_options: ClassVar[BlockOptions] = BlockOptions()

    @property
    def depth(self) -> int:
        """Number of transformer blocks."""
        return self.layers

    @property
    def pooled_id(self) -> int | None:
        """Id of the token that is projected; None if it is the last one."""
        if self.pool == "last":
            return None
        return self.end_id if self.pool == "end" else self.vocab_size - 1

    @property
    def last_id(self) -> int | None:
        """Id of the token after which a row is not read; None: all tokens are read."""
        return self.pooled_id if self.causal else None

    @property
    def full_rows(self) -> bool:
        """Whether rows must have the context length, because padding is read."""
        return not self.causal

    @property
    def pad(self) -> int | None:
        """Id of padding that is masked; None: there is none."""
        return None

    def trim(self, row: Sequence[int]) -> tuple[int, ...]:
        """Return the tokens of a row that are read; a text may contain another end token."""
        end = self.last_id
        return tuple(row if end is None else row[: row.index(end) + 1])

    def problems(self) -> Iterator[Problem]:
        """Yield the fields with invalid values."""
        yield from _out_of_range(self)
        if _are_positive(self.width, self.heads) and self.width % self.heads:
            yield "heads", self.heads, f"a divisor of the width {self.width}"
        if self.pool not in get_args(TextPool):
            yield "pool", self.pool, f"one of {get_args(TextPool)}"
        if type(self.end_id) is not int or not 0 <= self.end_id < max(self.vocab_size, 1):
            yield "end_id", self.end_id, f"an id below {self.vocab_size}"
        if self.activation == "silu":
            yield "activation", self.activation, "another one; text towers have no gated MLP"
        if self.causal and self.pool == "last":
            yield "pool", self.pool, "'largest' or 'end' for a causal tower"


@dataclass(frozen=True)
class BertConfig:
    """A BERT encoder, whose blocks normalize after each residual; padding is masked.

    Sources: Devlin et al. 2018 (arXiv 1810.04805); `HFTextEncoder` of open_clip (hf_model.py);
    `BertModel`, `RobertaModel` and `ChineseCLIPModel` of transformers.
    """

    context_length: int  # tokens of a text, start and end included
    vocab_size: int
    width: int
    layers: int
    heads: int
    mlp_width: int
    eps: float
    positions: int  # rows of the table of positions; more than are used
    pad: int  # id of padding
    first_position: int = 0  # number of the first token's position; (XLM-)RoBERTa: pad + 1
    # `Published.activation` is that of CLIP's towers, so this one has another name.
    mlp_activation: Activation = "gelu"
    pool: BertPool = "mean"  # of the tokens, without padding; or the first token
    # The map to the shared space: none, a matrix, or two matrices with GELU between them, of which
    # the first has the mean of both widths.
    head: BertHead = "linear"
    kind: ClassVar[str] = "bert"
    pooled_id: ClassVar[None] = None  # tokens are chosen by their place
    last_id: ClassVar[None] = None
    full_rows: ClassVar[bool] = False

    @property
    def depth(self) -> int:
        """Number of transformer blocks."""
        return self.layers

    @property
    def projection(self) -> Projection:
        """Whether the width may differ from the shared space's."""
        return "none" if self.head == "none" else "matrix"

    def trim(self, row: Sequence[int]) -> tuple[int, ...]:
        """Return a row without the padding at its end."""
        length = len(row)
        while length and row[length - 1] == self.pad:
            length -= 1
        return tuple(row[:length])

    def problems(self) -> Iterator[Problem]:
        """Yield the fields with invalid values."""
        yield from _out_of_range(self)
        if _are_positive(self.width, self.heads) and self.width % self.heads:
            yield "heads", self.heads, f"a divisor of the width {self.width}"
        if self.pool not in get_args(BertPool):
            yield "pool", self.pool, f"one of {get_args(BertPool)}"
        if type(self.pad) is not int or not 0 <= self.pad < max(self.vocab_size, 1):
            yield "pad", self.pad, f"an id below {self.vocab_size}"
        if type(self.first_position) is not int or self.first_position < 0:
            yield "first_position", self.first_position, "0 or more"
        elif _are_positive(self.positions, self.context_length):
            most = self.positions - self.first_position
            if self.context_length > most:
                yield "context_length", self.context_length, f"at most {most}, its positions"


@dataclass(frozen=True)
class NetworkConfig:
    """Both towers, the size of their shared embedding space, and whether logits have a bias."""

    embed_dim: int
    vision: ImageTowerConfig
    text: TextConfig | BertConfig
    logit_bias: bool = False

    @property
    def depth(self) -> int:
        """Number of layers in both towers."""
        return self.vision.depth + self.text.depth

    def problems(self) -> Iterator[Problem]:
        """Yield the fields with invalid values."""
        yield from _out_of_range(self)
        yield from _prefixed("vision", self.vision.problems())
        yield from _prefixed("text", self.text.problems())
        for part, tower in (("vision", self.vision), ("text", self.text)):
            width = getattr(tower, "width", None)
            if getattr(tower, "projection", None) == "none" and width != self.embed_dim:
                yield f"{part} width", width, f"{self.embed_dim}, because it is not projected"


@dataclass(frozen=True)
class PreprocessConfig:
    """How a checkpoint preprocesses images."""

    # Pixels, side of the square result. "aspect": side of a square image with the number of patches
    # that positions were trained for.
    size: int
    mean: tuple[float, float, float] = OPENAI_MEAN  # of channel values in 0..1
    std: tuple[float, float, float] = OPENAI_STD
    interpolation: Interpolation = "bicubic"
    # shortest: resize the short side, then crop. squash: resize both sides, no crop. aspect: keep
    # the aspect ratio, up to the rounding of both sides to multiples of the patch; no crop.
    resize_mode: ResizeMode = "shortest"
    # Only for "aspect": the side of a patch in pixels, and the largest number of patches.
    patch: int = 0
    max_patches: int = 0

    @property
    def square(self) -> int:
        """Side of the largest square of pixels that a square image becomes."""
        if self.resize_mode != "aspect":
            return self.size
        return math.isqrt(self.max_patches) * self.patch

    def problems(self) -> Iterator[Problem]:
        """Yield the fields with invalid values."""
        yield from _out_of_range(self)
        for name, above in (("mean", -math.inf), ("std", 0.0)):
            value = getattr(self, name)
            if not isinstance(value, tuple) or len(value) != 3 or not finite(*value, above=above):
                yield name, value, "three numbers, one per color channel"
        if self.interpolation not in get_args(Interpolation):
            yield "interpolation", self.interpolation, "'bicubic' or 'bilinear'"
        if self.resize_mode not in get_args(ResizeMode):
            yield "resize_mode", self.resize_mode, f"one of {get_args(ResizeMode)}"
        for name, most in (("patch", LIMITS["patch_size"]), ("max_patches", MAX_PATCHES)):
            value, least = getattr(self, name), int(self.resize_mode == "aspect")
            if type(value) is not int or not least <= value <= least * most:
                expected = f"1 to {most}" if least else "0 without resize_mode 'aspect'"
                yield name, value, expected


@dataclass(frozen=True)
class TokenizerConfig:
    """How texts become rows of ids, for a tokenizer that is read from a file of the publisher.

    Rows are: the start id, the ids of the text, the end id. A row that is too long is cut before
    the end id.
    """

    context_length: int  # tokens, start and end included
    cleaning: Cleaning = "none"
    start: int | None = None  # None: rows have no start id
    end: int | None = None  # None: rows have no end id; CLIPA: 0, which replaces its [SEP]
    pad: int = 0
    # The text tower attends to pads or reads the last position (SigLIP, CLIPA), so all rows are
    # padded to the context length. Otherwise rows have different lengths.
    full_rows: bool = False
    # fairseq: ids of a .model file are one higher, below them are <s>, <pad>, </s> and <unk>
    # (XLM-R). A tokenizer.json contains the final ids.
    piece_ids: PieceIds = "file"
    lowercase: bool = True  # BERT's normalizer lowers the case; used with a vocab.txt only

    @property
    def special_ids(self) -> tuple[int, ...]:
        """Ids that rows contain besides those of the text."""
        return tuple(i for i in (self.start, self.end, self.pad) if i is not None)

    @property
    def special_tokens(self) -> int:
        """Number of tokens per row that are not text: start and end."""
        return (self.start is not None) + (self.end is not None)

    def problems(self) -> Iterator[Problem]:
        """Yield the fields with invalid values."""
        yield from _out_of_range(self)
        least = self.special_tokens + 1
        if _are_positive(self.context_length) and self.context_length < least:
            yield "context_length", self.context_length, f"at least {least}: start, a token, end"
        for name in ("start", "end", "pad"):
            value = getattr(self, name)
            none = value is None and name != "pad"
            if not none and (type(value) is not int or not 0 <= value < MAX_TOKEN_IDS):
                yield name, value, f"0 to {MAX_TOKEN_IDS - 1}"


@dataclass(frozen=True)
class Spec:
    """A checkpoint's network, preprocessing, tokenizer size and scoring."""

    network: NetworkConfig
    preprocess: PreprocessConfig
    merges: int = CLIP_MERGES  # in the vocabulary of CLIP's tokenizer
    scoring: Scoring = "softmax"
    tokenizer: TokenizerConfig | None = None  # None: CLIP's tokenizer

    @property
    def takes_any_grid(self) -> bool:
        """Whether images keep their aspect ratio, so that their pixels have different shapes."""
        return getattr(self.network.vision, "any_grid", False) is True

    def problems(self) -> Iterator[Problem]:
        """Yield the fields with invalid values."""
        yield from self.network.problems()
        yield from _prefixed("preprocess", self.preprocess.problems())
        size, image_size = self.preprocess.size, self.network.vision.image_size
        if size != image_size:
            yield "preprocess size", size, f"{image_size}, the input size of the image tower"
        patch = getattr(self.network.vision, "patch_size", 0) if self.takes_any_grid else 0
        if self.preprocess.patch != patch:
            yield "preprocess patch", self.preprocess.patch, f"{patch}, as the image tower has it"
        yield from self._tokenizer_problems()
        if self.scoring not in get_args(Scoring):
            yield "scoring", self.scoring, "'softmax' or 'sigmoid'"

    def _tokenizer_problems(self) -> Iterator[Problem]:
        text = self.network.text
        if self.tokenizer is None:
            most = min(CLIP_MERGES, text.vocab_size - CLIP_SYMBOLS)
            if type(self.merges) is not int or not 0 <= self.merges <= most:
                yield "tokenizer merges", self.merges, f"at most {most}"
            elif text.pooled_id != self.merges + CLIP_SYMBOLS - 1:
                yield "text pool", text.pool, "the end-of-text token of the tokenizer"
            return
        yield from _prefixed("tokenizer", self.tokenizer.problems())
        length = self.tokenizer.context_length
        if length != text.context_length:
            yield "tokenizer context_length", length, f"{text.context_length}, as the text tower"
        if text.last_id not in (None, self.tokenizer.end):
            expected = f"{text.last_id}, the id that the text tower projects"
            yield "tokenizer end", self.tokenizer.end, expected
        if text.pad not in (None, self.tokenizer.pad):
            yield "tokenizer pad", self.tokenizer.pad, f"{text.pad}, which the text tower masks"
        if text.full_rows and not self.tokenizer.full_rows:
            yield "tokenizer full_rows", False, "True, because the text tower is not causal"

    def resized(self, size: int) -> Spec:
        """Return the spec of the same network for another image size.

        Raises ValueError if the image tower does not support that size.
        """
        vision = self.network.vision
        if self.takes_any_grid:
            raise ValueError(
                "images keep their aspect ratio, so there is no image size; omit image_size, or "
                "limit the number of patches, as in max_patches=1024"
            )
        if vision.stride is None:
            raise ValueError("this image tower has a fixed input size; omit image_size")
        limit = LIMITS["image_size"]
        if type(size) is not int or not 0 < size <= limit or size % vision.stride:
            raise ValueError(f"expected a multiple of {vision.stride} pixels, at most {limit}")
        network = replace(self.network, vision=vision.resized(size))
        return replace(self, network=network, preprocess=replace(self.preprocess, size=size))

    def with_patches(self, most: int) -> Spec:
        """Return the spec of the same network for images of at most so many patches.

        Raises ValueError if its images have one size, or for an invalid number.
        """
        if not self.takes_any_grid:
            raise ValueError("images of this model have one size; use image_size instead")
        if type(most) is not int or not 0 < most <= MAX_PATCHES:
            raise ValueError(f"expected an integer from 1 to {MAX_PATCHES}")
        return replace(self, preprocess=replace(self.preprocess, max_patches=most))


@dataclass(frozen=True)
class Published:
    """Published facts about a checkpoint that its files may not contain.

    They have two uses. Bare tensors do not determine activation and preprocessing, so those of a
    similar published checkpoint are used. A checkpoint of the catalog is loaded as published even
    if a config file beside it disagrees, because its published accuracy was measured that way:
    using a config that was uploaded later costs up to 2.7 points of accuracy (laion400m_e32 as
    GELU).
    """

    activation: Activation
    preprocess: PreprocessConfig
    embed_dim: int | None = None  # None: unknown
    context_length: int | None = None  # None: unknown
    activation_is_sourced: bool = True  # False: a config beside the weights has priority
    preprocess_is_sourced: bool = True  # likewise
    model_cfg: Mapping[str, Any] | None = None  # open_clip's, for weights without a config

    def size_conflicts(self, spec: Spec) -> list[str]:
        """List the sizes that differ.

        If any does, the files are of another checkpoint. Image sizes of the same grid of patches
        are equal: SigLIP with patches of 14 pixels is published for 378 and for 384 pixels.
        """
        vision, size = spec.network.vision, self.preprocess.size
        stride = vision.stride or 1
        same_grid = vision.image_size // stride == size // stride
        return _list_differences(
            ("image_size", vision.image_size, None if same_grid else size),
            ("embed_dim", spec.network.embed_dim, self.embed_dim),
            ("context_length", spec.network.text.context_length, self.context_length),
        )

    def recipe_conflicts(self, spec: Spec) -> list[str]:
        """List where a config disagrees about activation and preprocessing."""
        activation = self.activation if self.activation_is_sourced else None
        names = ("mean", "std", "interpolation", "resize_mode")
        return _list_differences(
            ("activation", _get_activation(spec.network), activation),
            *(
                (name, getattr(spec.preprocess, name), getattr(self.preprocess, name))
                for name in (names if self.preprocess_is_sourced else ())
            ),
        )

    def applied_to(self, spec: Spec) -> Spec:
        """Return a spec with the published activation and preprocessing."""
        network = spec.network
        if self.activation_is_sourced:
            network = replace(
                network,
                vision=_set_activation(network.vision, self.activation),
                text=_set_activation(network.text, self.activation),
            )
        preprocess = spec.preprocess
        if self.preprocess_is_sourced:
            preprocess = replace(self.preprocess, size=spec.preprocess.size)
        return replace(spec, network=network, preprocess=preprocess)


def finite(*values: object, above: float) -> bool:
    """Return whether all values are finite numbers above a bound."""
    return all(isinstance(value, int | float) and above < value < math.inf for value in values)


Config = TypeVar("Config", bound=Any)


def _set_activation(config: Config, activation: Activation) -> Config:
    """Set the activation of a configuration that has this field; a gated MLP has its own."""
    has_one = any(field.name == "activation" for field in fields(config))
    if not has_one or getattr(config, "gated_mlp", False):
        return config
    return replace(config, activation=activation)


def _get_activation(network: NetworkConfig) -> object:
    """Return the activation of CLIP's towers; BERT has its own."""
    image = getattr(network.vision, "activation", None)
    return getattr(network.text, "activation", image)


def _list_differences(*facts: tuple[str, object, object]) -> list[str]:
    return [
        f"{name} is {found!r}, published as {published!r}"
        for name, found, published in facts
        if published is not None and found != published
    ]


def _are_positive(*numbers: object) -> bool:
    return all(type(number) is int and number > 0 for number in numbers)


def _prefixed(part: str, problems: Iterator[Problem]) -> Iterator[Problem]:
    for field, value, expected in problems:
        yield f"{part} {field}", value, expected


def _out_of_range(config: Any, *, sequences: tuple[str, ...] = ()) -> Iterator[Problem]:
    """Yield the numbers that are outside the limits of their fields.

    The fields named in `sequences` contain several numbers.
    """
    for field in fields(config):
        name, value = field.name, getattr(config, field.name)
        limit = LIMITS.get(name)
        several = name in sequences and isinstance(value, tuple)
        for number in value if several else (value,):
            if limit and (type(number) is not int or not 0 < number <= limit):
                yield name, number, f"1 to {limit}"
        if name in ("eps", "temperature") and not finite(value, above=0):
            yield name, value, "a small number above 0"
        if name in CHOICES and value not in get_args(CHOICES[name]):
            yield name, value, f"one of {get_args(CHOICES[name])}"
        if field.type == "bool" and type(value) is not bool:
            yield name, value, "True or False"
