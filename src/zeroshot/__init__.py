"""Zero-shot image classification with CLIP.

    zeroshot.classify("cat.jpg", ["cat", "dog"]).label

Public names are imported on first use, so `import zeroshot` is fast: torch is imported only when a
model is needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_MODULES = {
    "Classifier": "classifier",
    "ClipTokenizer": "tokenizers",
    "Failure": "predictions",
    "Head": "head",
    "ImageLike": "images",
    "Labels": "prompts",
    "Model": "model",
    "Prediction": "predictions",
    "Predictions": "gallery",
    "PromptSet": "prompts",
    "Prompts": "prompts",
    "Sample": "images",
    "Tokenizer": "tokenizers",
    "ZeroshotError": "errors",
    "available_models": "catalog",
    "classify": "api",
    "errors": "",
    "load": "loading",
    "prompts": "",
    "sample_image": "resources",
}

__all__ = [
    "Classifier",
    "ClipTokenizer",
    "Failure",
    "Head",
    "ImageLike",
    "Labels",
    "Model",
    "Prediction",
    "Predictions",
    "PromptSet",
    "Prompts",
    "Sample",
    "Tokenizer",
    "ZeroshotError",
    "__version__",
    "available_models",
    "classify",
    "errors",
    "load",
    "prompts",
    "sample_image",
]

if TYPE_CHECKING:
    from zeroshot import errors as errors
    from zeroshot import prompts as prompts
    from zeroshot.api import classify as classify
    from zeroshot.catalog import available_models as available_models
    from zeroshot.classifier import Classifier as Classifier
    from zeroshot.errors import ZeroshotError as ZeroshotError
    from zeroshot.gallery import Predictions as Predictions
    from zeroshot.head import Head as Head
    from zeroshot.images import ImageLike as ImageLike
    from zeroshot.images import Sample as Sample
    from zeroshot.loading import load as load
    from zeroshot.model import Model as Model
    from zeroshot.predictions import Failure as Failure
    from zeroshot.predictions import Prediction as Prediction
    from zeroshot.prompts import Labels as Labels
    from zeroshot.prompts import Prompts as Prompts
    from zeroshot.prompts import PromptSet as PromptSet
    from zeroshot.resources import sample_image as sample_image
    from zeroshot.tokenizers import ClipTokenizer as ClipTokenizer
    from zeroshot.tokenizers import Tokenizer as Tokenizer
else:

    def __getattr__(name):
        module = _MODULES.get(name)
        if module is None:
            raise AttributeError(f"module 'zeroshot' has no attribute {name!r}")
        if not module:
            return import_module(f"zeroshot.{name}")
        from zeroshot.collector import paused_for_import

        with paused_for_import():
            value = getattr(import_module(f"zeroshot.{module}"), name)
        globals()[name] = value
        return value

    def __dir__():
        return sorted(__all__)
