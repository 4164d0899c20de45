"""Use zeroshot inside other programs: data pipelines and clusters."""

from zeroshot.integrations.labeler import Labeler

__all__ = ["Labeler"]
