"""Zero-shot image classification with CLIP.

    import zeroshot
    print(zeroshot.classify(zeroshot.sample_image(), ["cat", "dog"], model="mini"))

Start here; `help(zeroshot.classify)` prints the details of a function:

    classify(images, labels)    Classify one image or many with your own labels.
    evaluate(classifier, images, truth)
                                Measure a classifier on images with known labels.
    load(name)                  Load a model by name, Hub repository or path.
    available_models()          List the names that `load` accepts.
    prompts.labels(name)        Return the labels of a data set, such as "imagenet", with synonyms.
    label(inputs, out)          Label a collection of images into a table that resumes.
    bulk                        Relabel, search, merge, sort and tag such a table.
    lint(labels)                Find problems of labels and prompts.
    sample_image()              Return the path of a photograph to try the package with.

`load` returns a Model. `model.classifier(labels)` makes a Classifier for many images, and
`model.encode_image`, `model.encode_text` and `model.similarity` work with embeddings. Errors are
subclasses of ZeroshotError; `help(zeroshot.errors)` shows them as a tree.

Documentation:

    Quickstart        https://github.com/zeroshot-clip/zeroshot/blob/main/docs/quickstart.md
    API reference     https://github.com/zeroshot-clip/zeroshot/blob/main/docs/api.md
    Command line      https://github.com/zeroshot-clip/zeroshot/blob/main/docs/cli.md

Public names are imported on first use, so `import zeroshot` is fast: torch is imported only when a
model is needed.
"""

import typing as _typing

from zeroshot._lazy import loader as _loader

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
    "Problem": "linting",
    "PromptSet": "prompts",
    "Prompts": "prompts",
    "Report": "evaluation.report",
    "Sample": "images",
    "Tokenizer": "tokenizers",
    "ZeroshotError": "errors",
    "available_models": "catalog",
    "bulk": "",
    "calibration": "",
    "classify": "api",
    "errors": "",
    "evaluate": "evaluation.measuring",
    "label": "bulk.job",
    "lint": "linting",
    "load": "loading",
    "metrics": "",
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
    "Problem",
    "PromptSet",
    "Prompts",
    "Report",
    "Sample",
    "Tokenizer",
    "ZeroshotError",
    "__version__",
    "available_models",
    "bulk",
    "calibration",
    "classify",
    "errors",
    "evaluate",
    "label",
    "lint",
    "load",
    "metrics",
    "prompts",
    "sample_image",
]

if _typing.TYPE_CHECKING:
    from zeroshot import bulk as bulk
    from zeroshot import calibration as calibration
    from zeroshot import errors as errors
    from zeroshot import metrics as metrics
    from zeroshot import prompts as prompts
    from zeroshot.api import classify as classify
    from zeroshot.bulk.job import label as label
    from zeroshot.catalog import available_models as available_models
    from zeroshot.classifier import Classifier as Classifier
    from zeroshot.errors import ZeroshotError as ZeroshotError
    from zeroshot.evaluation.measuring import evaluate as evaluate
    from zeroshot.evaluation.report import Report as Report
    from zeroshot.gallery import Predictions as Predictions
    from zeroshot.head import Head as Head
    from zeroshot.images import ImageLike as ImageLike
    from zeroshot.images import Sample as Sample
    from zeroshot.linting import Problem as Problem
    from zeroshot.linting import lint as lint
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
    __getattr__ = _loader(globals(), _MODULES)

    def __dir__():
        return sorted(__all__)
