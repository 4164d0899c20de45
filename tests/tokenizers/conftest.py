"""Small SentencePiece models of the kinds that checkpoints have."""

from __future__ import annotations

import pytest

from tests.tokenizers.training import KINDS, train


@pytest.fixture(scope="session")
def trained() -> dict[str, bytes]:
    """Model files by kind, trained in a tenth of a second each."""
    return {kind: train(**options) for kind, options in KINDS.items()}
