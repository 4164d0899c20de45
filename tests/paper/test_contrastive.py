"""The loss, initial values, optimizer and schedule of the paper."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from examples.paper import contrastive
from examples.paper.contrastive import Vocabulary
from zeroshot.nn.network import Network
from zeroshot.spec import NetworkConfig


@pytest.fixture(scope="module")
def config() -> NetworkConfig:
    spec = contrastive.spec(
        image_size=16, patch_size=8, width=64, layers=2, text_layers=3, embed_dim=24
    )
    return replace(spec.network, text=replace(spec.network.text, vocab_size=50))


@pytest.fixture
def network(config: NetworkConfig) -> Network:
    network = Network(config)
    for values in network.parameters():
        values.data.fill_(math.nan)
    contrastive.initialize(network, config, seed=0)
    return network


def test_the_loss_of_two_pairs_is_the_value_computed_by_hand() -> None:
    images = torch.tensor([[2.0, 0.0], [0.0, 3.0]])  # unit vectors (1, 0) and (0, 1)
    texts = torch.tensor([[5.0, 0.0], [3.0, 4.0]])  # (1, 0) and (0.6, 0.8)

    loss = contrastive.contrastive_loss(images, texts, torch.tensor(math.log(10.0)))

    # logits: [[10, 6], [0, 8]]; cross-entropy of pair i is log(1 + exp(other - own))
    rows = math.log1p(math.exp(6 - 10)), math.log1p(math.exp(0 - 8))
    columns = math.log1p(math.exp(0 - 10)), math.log1p(math.exp(6 - 8))
    assert loss.item() == pytest.approx((sum(rows) / 2 + sum(columns) / 2) / 2, rel=1e-5)


def test_the_loss_equals_the_pseudocode_of_figure_3() -> None:
    random = torch.Generator().manual_seed(1)
    images, texts = torch.randn(7, 5, generator=random), torch.randn(7, 5, generator=random)
    t = torch.tensor(2.0)

    unit_images = images / images.norm(dim=1, keepdim=True)
    unit_texts = texts / texts.norm(dim=1, keepdim=True)
    logits = unit_images @ unit_texts.T * math.exp(2.0)
    over_images = -logits.log_softmax(dim=0).diagonal().mean()
    over_texts = -logits.log_softmax(dim=1).diagonal().mean()

    loss = contrastive.contrastive_loss(images, texts, t)
    torch.testing.assert_close(loss, (over_images + over_texts) / 2)


def test_the_loss_is_that_of_chance_if_all_embeddings_are_equal() -> None:
    same = torch.ones(16, 4)

    loss = contrastive.contrastive_loss(same, same, torch.tensor(3.0))

    assert loss.item() == pytest.approx(math.log(16), rel=1e-5)


def test_the_scale_never_exceeds_100(network: Network) -> None:
    network.logit_scale.data.fill_(7.0)
    contrastive.clip_scale(network)
    assert network.logit_scale.exp().item() == pytest.approx(100.0, rel=1e-5)

    network.logit_scale.data.fill_(1.0)
    contrastive.clip_scale(network)
    assert network.logit_scale.item() == 1.0


def test_every_parameter_is_initialized(network: Network) -> None:
    assert [name for name, v in network.named_parameters() if not v.isfinite().all()] == []
    assert network.logit_scale.exp().item() == pytest.approx(1 / 0.07)


@pytest.mark.parametrize(
    ("name", "std"),
    [
        ("text.token_embedding.weight", 0.02),
        ("text.positional_embedding", 0.01),
        ("text.transformer.resblocks.1.attn.in_proj_weight", 64**-0.5),
        ("text.transformer.resblocks.1.attn.out_proj.weight", 64**-0.5 * 6**-0.5),
        ("text.transformer.resblocks.1.mlp.c_fc.weight", 128**-0.5),
        ("text.transformer.resblocks.1.mlp.c_proj.weight", 64**-0.5 * 6**-0.5),
        ("text.text_projection", 64**-0.5),
        ("visual.transformer.resblocks.0.attn.out_proj.weight", 64**-0.5 * 4**-0.5),
        ("visual.positional_embedding", 64**-0.5),
        ("visual.conv1.weight", (3 * 192) ** -0.5),
        ("visual.proj", 64**-0.5),
    ],
)
def test_initial_values_have_the_published_deviation(
    network: Network, name: str, std: float
) -> None:
    values = network.get_parameter(name)

    assert values.std().item() == pytest.approx(std, rel=5 / values.numel() ** 0.5)


def test_the_seed_determines_the_initial_values(network: Network, config: NetworkConfig) -> None:
    again, other = Network(config), Network(config)
    contrastive.initialize(again, config, seed=0)
    contrastive.initialize(other, config, seed=1)

    assert torch.equal(again.visual.proj, network.visual.proj)
    assert not torch.equal(other.visual.proj, network.visual.proj)


def test_gains_biases_and_the_temperature_are_not_decayed(network: Network) -> None:
    optimizer = contrastive.optimizer(network, rate=1e-3)
    names = {id(values): name for name, values in network.named_parameters()}
    decayed, kept = (
        {names[id(values)] for values in group["params"]} for group in optimizer.param_groups
    )

    assert optimizer.param_groups[0]["weight_decay"] == 0.2
    assert optimizer.param_groups[1]["weight_decay"] == 0
    assert decayed | kept == set(names.values())
    assert "visual.ln_pre.weight" in kept
    assert "text.ln_final.weight" in kept
    assert "logit_scale" in kept
    assert {name for name in names.values() if name.endswith("bias")} <= kept
    assert "text.token_embedding.weight" in decayed
    assert "visual.conv1.weight" in decayed
    assert {name for name in decayed if network.get_parameter(name).ndim < 2} == {
        "visual.class_embedding"
    }


def test_the_rate_rises_linearly_and_falls_as_a_cosine() -> None:
    rates = [contrastive.rate_at(done, 0.1) for done in (0, 0.05, 0.1, 0.55, 1.0)]

    assert rates == pytest.approx([0, 0.5, 1, 0.5, 0])


def test_a_network_with_the_used_tokens_gives_the_embeddings_of_the_whole_table(
    config: NetworkConfig,
) -> None:
    ids = torch.tensor([[47, 3, 9, 49], [47, 30, 49, 49]])
    vocabulary = Vocabulary(ids.flatten().tolist())
    small_config = vocabulary.config(config)
    small, whole = Network(small_config), Network(config)
    contrastive.initialize(small, small_config, seed=3)
    tensors = dict(small.state_dict())
    name = "text.token_embedding.weight"
    whole.load_state_dict(tensors | {name: vocabulary.restore(tensors[name], 50, seed=3)})

    assert len(vocabulary) == 5
    assert whole.text.token_embedding.weight.std().item() == pytest.approx(0.02, rel=0.1)
    with torch.no_grad():
        torch.testing.assert_close(whole.text(ids), small.text(vocabulary.reduce(ids)))


def test_all_parameters_get_a_gradient(network: Network) -> None:
    pixels = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[1, 2, 49], [1, 3, 49], [1, 4, 49]])

    loss = contrastive.contrastive_loss(
        network.visual(pixels), network.text(ids), network.logit_scale
    )
    loss.backward()

    assert [name for name, values in network.named_parameters() if values.grad is None] == []
    assert F.cosine_similarity(network.visual(pixels), network.text(ids)).shape == (3,)
