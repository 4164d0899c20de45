"""Label pictures with words: CLIP for inference.

    zeroshot.classify("cat.jpg", ["cat", "dog"]).label

Public names are resolved on first use, so `import zeroshot` is quick and torch is imported when a
network is needed.
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOMES = {
    "Classifier": "classifier",
    "Failure": "predictions",
    "Head": "head",
    "Model": "model",
    "Prediction": "predictions",
    "PromptSet": "prompts",
    "Tokenizer": "tokenizer",
    "ZeroshotError": "errors",
    "available_models": "catalog",
    "classify": "api",
    "errors": "",
    "load": "model",
    "prompts": "",
}

__all__ = [
    "Classifier",
    "Failure",
    "Head",
    "Model",
    "Prediction",
    "PromptSet",
    "Tokenizer",
    "ZeroshotError",
    "__version__",
    "available_models",
    "classify",
    "errors",
    "load",
    "prompts",
]

if TYPE_CHECKING:
    from zeroshot import errors as errors
    from zeroshot import prompts as prompts
    from zeroshot.api import classify as classify
    from zeroshot.catalog import available_models as available_models
    from zeroshot.classifier import Classifier as Classifier
    from zeroshot.errors import ZeroshotError as ZeroshotError
    from zeroshot.head import Head as Head
    from zeroshot.model import Model as Model
    from zeroshot.model import load as load
    from zeroshot.predictions import Failure as Failure
    from zeroshot.predictions import Prediction as Prediction
    from zeroshot.prompts import PromptSet as PromptSet
    from zeroshot.tokenizer import Tokenizer as Tokenizer
else:

    def __getattr__(name):
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module 'zeroshot' has no attribute {name!r}")
        if not home:
            return import_module(f"zeroshot.{name}")
        value = getattr(_imported(f"zeroshot.{home}"), name)
        globals()[name] = value
        return value

    def _imported(name):
        """Import a module, and torch with it, while the search for garbage cycles rests.

        It would look through all that torch makes, again and again, for a seventh of the time.
        It is the whole process's, so other threads and a caller's own settings are left alone.
        """
        threading = sys.modules.get("threading")
        alone = threading is None or threading.active_count() == 1
        if "torch" in sys.modules or not alone or not gc.isenabled() or gc.get_freeze_count():
            return import_module(name)
        gc.disable()
        try:
            return import_module(name)
        finally:
            # Frozen for an instant, objects become old without being looked at one by one.
            gc.freeze()
            gc.unfreeze()
            gc.enable()

    def __dir__():
        return sorted(__all__)
