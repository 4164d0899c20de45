"""`classify()`: the one-call front door, over a model and heads kept from call to call."""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import overload

from zeroshot import catalog
from zeroshot import prompts as prompt_sets
from zeroshot.classifier import TOP, Classifier
from zeroshot.head import Head
from zeroshot.images import ImageLike
from zeroshot.model import Model, load
from zeroshot.predictions import Prediction
from zeroshot.prompts import Labels, Prompts

HEADS = 16  # heads remembered; one of 1000 labels takes 2 MB


class _Memory:
    """The last model used by `classify`, and the classifiers made with it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.name: str | None = None
        self.model: Model | None = None
        self.classifiers: OrderedDict[str, Classifier] = OrderedDict()

    def use(self, model: str | os.PathLike[str] | Model) -> Model:
        if isinstance(model, Model):
            if model is not self.model:
                self.classifiers.clear()
            self.name, self.model = None, model
            return model
        name = os.fspath(model)
        if self.model is None or name != self.name:
            self.classifiers.clear()
            self.model = load(model)
            self.name = name
        return self.model

    def classifier(self, model: Model, labels: Labels, prompts: Prompts) -> Classifier:
        named, prompt_set = prompt_sets.named(labels), prompt_sets.get(prompts)
        key = json.dumps([list(named.items()), prompt_set.templates])
        if key not in self.classifiers:
            self.classifiers[key] = model.classifier(named, prompt_set)
            if len(self.classifiers) > HEADS:
                self.classifiers.popitem(last=False)
        self.classifiers.move_to_end(key)
        return self.classifiers[key]


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

    Raises ImageError, LabelError, PromptError, ModelNotFound and what else `load` raises.
    """
    with _memory.lock:
        loaded = _memory.use(model)
        if isinstance(labels, Head):
            classifier = loaded.classifier(labels)
        else:
            classifier = _memory.classifier(loaded, labels, prompts)
    return classifier(images, top=top)
