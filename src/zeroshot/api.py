"""`classify()`: the one-call front door, over a model and heads kept from call to call."""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from typing import overload

from zeroshot import catalog
from zeroshot import prompts as prompt_sets
from zeroshot.classifier import TOP, Classifier
from zeroshot.head import Head
from zeroshot.images import ImageLike
from zeroshot.loading import load
from zeroshot.model import Model
from zeroshot.predictions import Prediction
from zeroshot.prompts import Labels, Prompts, PromptSet

HEADS = 16  # heads remembered; one of 1000 labels takes 2 MB


class _Memory:
    """The last model used by `classify`, and the classifiers made with it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.name: str | None = None
        self.model: Model | None = None
        self.classifiers: OrderedDict[str, Classifier] = OrderedDict()

    def use(self, model: str | os.PathLike[str] | Model) -> Model:
        """Return the model meant, loaded unless it is the one used last."""
        if isinstance(model, Model):
            if model is not self.model:
                self.classifiers.clear()
            self.name, self.model = None, model
            return model
        name = _key(model)
        if self.model is None or name != self.name:
            self.classifiers.clear()
            self.model = load(model)
            self.name = name
        return self.model

    def classifier(
        self, model: Model, named: dict[str, list[str]], prompt_set: PromptSet
    ) -> Classifier:
        """Return the classifier of these labels and prompts, its head built unless remembered."""
        key = json.dumps([list(named.items()), prompt_set.templates])
        if key not in self.classifiers:
            self.classifiers[key] = model.classifier(named, prompt_set)
            if len(self.classifiers) > HEADS:
                self.classifiers.popitem(last=False)
        self.classifiers.move_to_end(key)
        return self.classifiers[key]


def _key(model: object) -> str:
    """Tell names from paths, and a file from what it was before."""
    if isinstance(model, str | os.PathLike):
        path = os.path.abspath(os.fspath(model))
        with suppress(OSError, ValueError):
            facts = os.stat(path)
            return repr((path, facts.st_mtime_ns, facts.st_size))
    return repr(model)


_memory = _Memory()


@overload
def classify(  # type: ignore[overload-overlap]
    images: ImageLike,
    labels: Labels | Head,
    *,
    prompts: Prompts = ...,
    model: str | os.PathLike[str] | Model = ...,
    top: int = ...,
) -> Prediction: ...
@overload
def classify(
    images: Iterable[ImageLike],
    labels: Labels | Head,
    *,
    prompts: Prompts = ...,
    model: str | os.PathLike[str] | Model = ...,
    top: int = ...,
) -> list[Prediction]: ...
def classify(
    images: ImageLike | Iterable[ImageLike],
    labels: Labels | Head,
    *,
    prompts: Prompts = prompt_sets.DEFAULT,
    model: str | os.PathLike[str] | Model = catalog.DEFAULT,
    top: int = TOP,
) -> Prediction | list[Prediction]:
    """Say which of the labels each image shows.

    One image gives a Prediction, any other iterable of images a list in its order. The model and
    the last heads are remembered, so the next call with the same labels is quick.

    An image that cannot be read is an error; `Classifier.stream(on_error="yield")` makes it a row
    among the others.

    Raises ImageError, LabelError, PromptError, ModelNotFound and what else `load` raises.
    """
    if isinstance(labels, Head):
        with _memory.lock:
            classifier = _memory.use(model).classifier(labels)
    else:
        # checked before a model is loaded, or even fetched, for them
        named, prompt_set = prompt_sets.named(labels), prompt_sets.get(prompts)
        with _memory.lock:
            classifier = _memory.classifier(_memory.use(model), named, prompt_set)
    return classifier(images, top=top)
