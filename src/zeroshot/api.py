"""`classify()`: classify images in one call, with cached model and heads."""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from typing import overload

from zeroshot import catalog
from zeroshot import prompts as prompt_sets
from zeroshot.arguments import flag
from zeroshot.classifier import TOP, Classifier
from zeroshot.engine.fork_lock import ForkLock
from zeroshot.errors import short_errors
from zeroshot.gallery import Predictions
from zeroshot.head import Head
from zeroshot.images import ImageLike
from zeroshot.loading import load
from zeroshot.model import Model
from zeroshot.predictions import Prediction
from zeroshot.prompts import Labels, Prompts, PromptSet

HEADS = 16  # number of cached heads; a head of 1000 labels takes 2 MB


class _Cache:
    """The last model used by `classify`, and the last classifiers created with it."""

    def __init__(self) -> None:
        self.lock = ForkLock()
        self.name: str | None = None
        self.model: Model | None = None
        self.classifiers: OrderedDict[str, Classifier] = OrderedDict()

    def load(self, model: str | os.PathLike[str] | Model) -> Model:
        """Return the model, and load it if it differs from the last one."""
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
        self,
        model: Model,
        named: dict[str, list[str]],
        prompt_set: PromptSet,
        allow_equal: bool,
        progress: bool | None,
    ) -> Classifier:
        """Return the cached classifier of these labels and prompts, or build it."""
        key = json.dumps([list(named.items()), prompt_set.templates, allow_equal])
        if key not in self.classifiers:
            self.classifiers[key] = model.classifier(
                named, prompt_set, allow_equal=allow_equal, progress=progress
            )
            if len(self.classifiers) > HEADS:
                self.classifiers.popitem(last=False)
        self.classifiers.move_to_end(key)
        return self.classifiers[key]


def _key(model: object) -> str:
    """Return a cache key: a name, or a path with its modification time and size."""
    if isinstance(model, str | os.PathLike):
        path = os.path.abspath(os.fspath(model))
        with suppress(OSError, ValueError):
            facts = os.stat(path)
            return repr((path, facts.st_mtime_ns, facts.st_size))
    return repr(model)


_cache = _Cache()


@overload
def classify(  # type: ignore[overload-overlap]
    images: ImageLike,
    labels: Labels | Head,
    *,
    prompts: Prompts = ...,
    model: str | os.PathLike[str] | Model = ...,
    top: int = ...,
    allow_equal: bool = ...,
    progress: bool | None = ...,
) -> Prediction: ...
@overload
def classify(
    images: Iterable[ImageLike],
    labels: Labels | Head,
    *,
    prompts: Prompts = ...,
    model: str | os.PathLike[str] | Model = ...,
    top: int = ...,
    allow_equal: bool = ...,
    progress: bool | None = ...,
) -> Predictions: ...
@short_errors
def classify(
    images: ImageLike | Iterable[ImageLike],
    labels: Labels | Head,
    *,
    prompts: Prompts = prompt_sets.DEFAULT,
    model: str | os.PathLike[str] | Model = catalog.DEFAULT,
    top: int = TOP,
    allow_equal: bool = False,
    progress: bool | None = None,
) -> Prediction | Predictions:
    """Classify one image or many with your own labels.

    The last model and the last heads are cached, so further calls with the same labels are fast.
    An image that cannot be read raises an error; use `Classifier.stream(on_error="yield")` to
    continue with the other images.

    Args:
        images: one image, or an iterable of images. An image is a path, an http(s) URL, encoded
            bytes, a binary file, a PIL image, a numpy array or a torch tensor.
        labels: at least one label: a sequence of str, a mapping from each label to its names in
            the prompts, or a Head.
        prompts: the name of a prompt set, a PromptSet, a template with one {}, a list of templates,
            or the path of a prompt file. Ignored if `labels` is a Head.
        model: a name, Hub repository or path as for `load`, or a Model.
        top: number of labels in the ranking of each prediction, at least 1.
        allow_equal: accept labels with the same tokens, such as "Cat" and "cat".
        progress: show a progress bar. None shows one on a terminal or in a notebook if the work
            takes longer than two seconds.

    Returns:
        A Prediction for one image, or a list of Predictions in the order of the images.

    Raises:
        LabelError, PromptError: The labels or prompts are invalid.
        ImageError: An image cannot be read.
        ModelNotFound, DownloadError, WeightsError: As in `load`.

    Example:
        >>> zeroshot.classify("cat.jpg", ["cat", "dog"], model="mini").label
        'cat'
    """
    if isinstance(labels, Head):
        with _cache.lock:
            classifier = _cache.load(model).classifier(labels)
    else:
        # checked before a model is downloaded or loaded
        named, prompt_set = prompt_sets.named(labels), prompt_sets.get(prompts)
        allow_equal = flag("allow_equal", allow_equal)
        with _cache.lock:
            loaded = _cache.load(model)
            classifier = _cache.classifier(loaded, named, prompt_set, allow_equal, progress)
    return classifier(images, top=top, progress=progress)
