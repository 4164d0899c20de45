"""Attention in plain steps or fused, the same result either way."""

from __future__ import annotations

import pytest
import torch

from zeroshot.engine.cpu import attention


@pytest.mark.parametrize(
    ("has", "dtype", "unfused"),
    [
        (["AVX512-BF16"], torch.bfloat16, True),
        (["AVX512-BF16"], torch.float32, False),
        (["AVX512-BF16", "AMX"], torch.bfloat16, False),
        ([], torch.bfloat16, False),
    ],
)
def test_attention_is_unfused_faster_where_it_was_measured_to_be_faster(
    monkeypatch: pytest.MonkeyPatch,
    has: list[str],
    dtype: torch.dtype,
    unfused: bool,
) -> None:
    monkeypatch.setattr(attention, "cpu_has", has.__contains__)

    assert attention.is_unfused_faster.__wrapped__(dtype) is unfused


# ---- values


def heads(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_hand(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Softmax attention one query at a time, in float64."""
    b, h, t, d = q.shape
    mixed = torch.zeros(b, t, h, d, dtype=torch.float64)
    for image in range(b):
        for head in range(h):
            for place in range(t):
                scores = (k[image, head].double() @ q[image, head, place].double()) / d**0.5
                if mask is not None:
                    seen = mask[image, 0] if mask.ndim == 4 else mask
                    scores[~seen[place]] = -torch.inf
                mixed[image, place, head] = scores.softmax(dim=0) @ v[image, head].double()
    return mixed.flatten(2).float()


def causal(t: int, u: int) -> torch.Tensor:
    return torch.ones(t, u, dtype=torch.bool).tril(u - t)


@pytest.mark.parametrize("unfused", [False, True], ids=["fused", "written out"])
@pytest.mark.parametrize("at_once", [1, 2**20], ids=["one head", "all heads"])
@pytest.mark.parametrize("masked", [None, "shared", "per row"])
@pytest.mark.parametrize(("t", "u"), [(1, 1), (1, 7), (5, 5), (3, 9)])
def test_attention_matches_softmax_by_hand(
    monkeypatch: pytest.MonkeyPatch,
    unfused: bool,
    at_once: int,
    masked: str | None,
    t: int,
    u: int,
) -> None:
    monkeypatch.setattr(attention, "is_unfused_faster", lambda dtype: unfused)
    monkeypatch.setattr(attention, "SCORES", at_once)
    q, k, v = heads(2, 3, t, 4, seed=1), heads(2, 3, u, 4, seed=2), heads(2, 3, u, 4, seed=3)
    mask = None if masked is None else causal(t, u)
    if masked == "per row":
        other = torch.zeros(t, u, dtype=torch.bool)
        other[:, 0] = True  # the second row sees the first key only
        mask = torch.stack([causal(t, u), other]).unsqueeze(1)

    found = attention.attend(q, k, v, mask)

    assert found.shape == (2, t, 12)
    assert torch.allclose(found, by_hand(q, k, v, mask), atol=1e-5)


def test_inputs_are_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "is_unfused_faster", lambda dtype: True)
    given = [heads(2, 3, 5, 4, seed=n) for n in range(3)]
    mask = causal(5, 5)
    before = [tensor.clone() for tensor in (*given, mask)]

    attention.attend(*given, mask)

    assert all(torch.equal(a, b) for a, b in zip((*given, mask), before, strict=True))
