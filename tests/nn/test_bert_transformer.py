"""The BERT text tower against torch's post-norm layers, and its options."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.nn.test_layers import filled
from zeroshot.nn.bert_transformer import BertTransformer
from zeroshot.spec import BertConfig

CONFIG = BertConfig(10, 60, 16, 2, 2, 24, 1e-5, 14, pad=1, first_position=2, head="linear")
IDS = torch.tensor([[0, 7, 9, 31, 2, 1, 1], [0, 5, 5, 8, 12, 44, 2]])


def tower(config: BertConfig = CONFIG) -> BertTransformer:
    found = filled(BertTransformer(config, 6))
    assert isinstance(found, BertTransformer)
    return found


def reference(found: BertTransformer, row: Tensor, positions: Tensor) -> Tensor:
    """Run torch's own post-norm layers over one row without padding: [t, w]."""
    config = found.config
    x = found.token_embedding.weight[row] + found.positional_embedding[positions]
    x = found.ln_embed(x + found.token_type_embedding)
    for block in found.blocks:
        layer = nn.TransformerEncoderLayer(
            config.width, config.heads, config.mlp_width, 0.0, "gelu", config.eps, batch_first=True
        )
        names = {
            "attn.": "self_attn.",
            "mlp.c_fc.": "linear1.",
            "mlp.c_proj.": "linear2.",
            "ln_1.": "norm1.",
            "ln_2.": "norm2.",
        }
        state = {
            theirs + name.removeprefix(ours): value
            for name, value in block.state_dict().items()
            for ours, theirs in names.items()
            if name.startswith(ours)
        }
        layer.load_state_dict(state)
        x = layer.eval()(x[None])[0].detach()
    return x


def test_tower_is_the_post_norm_encoder_of_torch() -> None:
    found = tower()

    expected = torch.stack(
        [
            reference(found, IDS[0, :5], torch.arange(2, 7)).mean(dim=0),
            reference(found, IDS[1], torch.arange(2, 9)).mean(dim=0),
        ]
    )

    assert torch.allclose(found(IDS), expected @ found.text_projection, atol=1e-5)
    assert float((found(IDS)[0] - found(IDS)[1]).abs().max()) > 1e-2


def test_first_token_is_pooled() -> None:
    found = tower(replace(CONFIG, pool="first", head="none", first_position=0))

    expected = reference(found, IDS[0, :5], torch.arange(5))[0]

    assert torch.allclose(found(IDS)[0], expected, atol=1e-5)


@pytest.mark.parametrize("pool", ["mean", "first"])
@pytest.mark.parametrize("first", [0, 2])
def test_padding_changes_nothing(pool: str, first: int) -> None:
    found = tower(replace(CONFIG, pool=pool, first_position=first))  # type: ignore[arg-type]
    more = F.pad(IDS, (0, 3), value=CONFIG.pad)

    assert torch.allclose(found(more), found(IDS), atol=1e-6)
    assert torch.allclose(found(IDS[:1, :5]), found(IDS)[:1], atol=1e-6)


def test_positions_are_counted_from_the_first_one() -> None:
    found = tower()
    with torch.no_grad():
        found.positional_embedding[:2] = torch.nan  # never read, as in RoBERTa

    assert torch.isfinite(found(IDS)).all()
    shifted = tower(replace(CONFIG, first_position=3))
    assert float((shifted(IDS) - tower()(IDS)).abs().max()) > 1e-2


def test_head_of_two_layers_has_the_mean_width_and_no_bias() -> None:
    found = tower(replace(CONFIG, head="mlp"))
    features = tower(replace(CONFIG, head="none"))
    state = {name: value for name, value in found.state_dict().items() if "head" not in name}
    features.load_state_dict(state)

    hidden = F.gelu(features(IDS) @ found.head.c_fc.weight.T)

    assert {n: tuple(p.shape) for n, p in found.head.named_parameters()} == {
        "c_fc.weight": (11, 16),
        "c_proj.weight": (6, 11),
    }
    assert torch.allclose(found(IDS), hidden @ found.head.c_proj.weight.T, atol=1e-5)
