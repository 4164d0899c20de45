"""The text transformer: any length up to the context, pooled at the end-of-text token."""

from __future__ import annotations

import pytest
import torch

from tests.nn.test_layers import filled
from zeroshot.nn.text_transformer import TextTransformer
from zeroshot.spec import TextConfig

END = 49


def tower() -> TextTransformer:
    found = filled(TextTransformer(TextConfig(12, END + 1, 16, 2, 2, 32, "quick_gelu"), 10))
    assert isinstance(found, TextTransformer)
    return found


@pytest.mark.parametrize("length", [1, 2, 7, 12])
@pytest.mark.parametrize("count", [1, 5])
def test_output_is_one_row_per_text(length: int, count: int) -> None:
    ids = torch.full((count, length), 3)
    ids[:, -1] = END

    found = tower()(ids)

    assert found.shape == (count, 10)
    assert torch.isfinite(found).all()


def test_text_longer_than_the_context_is_an_error() -> None:
    with pytest.raises(RuntimeError):
        tower()(torch.full((1, 13), END))


def test_parameters_are_named_as_in_openai_checkpoints() -> None:
    names = {name for name in tower().state_dict() if not name.startswith("transformer.")}

    assert names == {
        *("token_embedding.weight", "positional_embedding", "text_projection"),
        *("ln_final.weight", "ln_final.bias"),
    }


def test_tokens_after_the_end_do_not_change_the_result() -> None:
    network = tower()
    short = network(torch.tensor([[48, 5, 6, END]]))

    for rest in ([0, 0], [7, 8, 9], [0] * 8):
        assert torch.allclose(network(torch.tensor([[48, 5, 6, END, *rest]])), short, atol=1e-5)


def test_tokens_before_the_end_change_the_result() -> None:
    network = tower()

    found = network(torch.tensor([[48, 5, 6, END], [48, 6, 5, END]]))

    assert not torch.allclose(found[0], found[1], atol=1e-2)


def test_text_is_pooled_at_the_first_of_the_largest_ids() -> None:
    network = tower()
    ids = torch.tensor([[48, 5, END, 6, END]])
    x = network.token_embedding(ids) + network.positional_embedding[:5]
    x = network.ln_final(network.transformer(x, causal=True))

    assert torch.allclose(network(ids), x[:, 2] @ network.text_projection, atol=1e-6)


def test_token_table_can_be_trained() -> None:
    network = TextTransformer(TextConfig(12, END + 1, 16, 1, 2, 32, "gelu"), 10)

    assert network.token_embedding.weight.requires_grad
