"""Say what to write instead of the arguments and attributes of other CLIP libraries."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

# What to write instead of a keyword argument of transformers, open_clip or OpenAI's clip.
KEYWORDS = {
    "batch_size": "omit it, or use model.classifier(labels).stream(images, batch_size=64)",
    "candidate_labels": "pass the labels as the second argument: classify(images, labels)",
    "classnames": "pass the labels as the first argument: model.classifier(labels)",
    "device": "choose it in load: model=zeroshot.load('ViT-B/32', device='cuda')",
    "download_root": "write cache_dir='folder'",
    "dtype": "choose it in load: model=zeroshot.load('ViT-B/32', dtype='float16')",
    "force_image_size": "write image_size=336",
    "force_quick_gelu": "omit it: the activation is read from the checkpoint",
    "hypothesis_template": "write prompts='This is a photo of {}.'",
    "jit": "omit it: TorchScript is not used",
    "max_num_patches": "write max_patches=576 in zeroshot.load",
    "precision": "write dtype='float16' in zeroshot.load",
    "pretrained": "add it to the name: zeroshot.load('ViT-B-32:laion2b_s34b_b79k')",
    "template": "write prompts='a photo of a {}.'",
    "templates": "write prompts=['a photo of a {}.', 'a drawing of a {}.']",
    "top_k": "write top=5",
    "torch_dtype": "write dtype='float16' in zeroshot.load",
    "trust_remote_code": "omit it: checkpoints are parsed, never executed",
    "truncation": "write truncate=True in model.encode_text",
}

# What to write if a function got too many positional arguments.
POSITIONAL = {
    "classify": "use keywords: classify(images, labels, model='ViT-B/32')",
    "encode_text": "use keywords: encode_text(texts, truncate=True)",
    "load": "use keywords: zeroshot.load('ViT-B/32', device='cpu')",
}

# What to write instead of an attribute of a model.
MODEL = {
    "classify": "write model.classifier(labels)(images)",
    "cpu": "write model.to('cpu')",
    "cuda": "write model.to('cuda')",
    "encode": "write model.encode_image(images) or model.encode_text(texts)",
    "eval": "omit it: a model is always in evaluation mode",
    "float": "write model.to(dtype='float32')",
    "get_image_features": "write model.encode_image(images, normalize=False)",
    "get_text_features": "write model.encode_text(texts, normalize=False)",
    "half": "write model.to(dtype='float16')",
    "parameters": "write model.network.parameters(); the network is a float32 copy",
    "predict": "write model.classifier(labels).predict(images)",
    "state_dict": "write model.network.state_dict(), or model.save(path)",
    "tokenize": "write model.tokenizer(texts)",
    "train": "train model.network, a float32 copy in plain modules",
}

# What to write instead of an attribute of the package.
PACKAGE = {
    "CLIPModel": "write zeroshot.load('openai/clip-vit-base-patch32')",
    "CLIPProcessor": "write model.encode_image(images) or model.encode_text(texts)",
    "create_model": "write zeroshot.load('ViT-B-32:openai')",
    "create_model_and_transforms": "write model = zeroshot.load('ViT-B-32:openai')",
    "create_model_from_pretrained": "write model = zeroshot.load('ViT-B-32:openai')",
    "from_pretrained": "write zeroshot.load('openai/clip-vit-base-patch32')",
    "get_tokenizer": "write model.encode_text(texts), which tokenizes, or model.tokenizer",
    "list_pretrained": "write zeroshot.available_models()",
    "pipeline": "write zeroshot.classify(images, labels)",
    "tokenize": "write model.encode_text(texts), which tokenizes, or model.tokenizer(texts)",
}


def argument_advice(
    function: Callable[..., Any], args: tuple[Any, ...], options: Mapping[str, Any]
) -> str | None:
    """Return the message for arguments of another library, or None for others."""
    parameters = inspect.signature(function).parameters
    name = function.__name__.strip("_")
    for keyword in options:
        if keyword not in parameters and keyword in KEYWORDS:
            return f"{name}() has no argument {keyword!r}; {KEYWORDS[keyword]}"
    kinds = [parameter.kind for parameter in parameters.values()]
    limit = sum(kind is not inspect.Parameter.KEYWORD_ONLY for kind in kinds)
    if len(args) > limit and name in POSITIONAL:
        return f"{name}() got too many positional arguments; {POSITIONAL[name]}"
    return None


def attribute_advice(table: Mapping[str, str], name: str) -> str:
    """Return the end of the message for a missing attribute, or ""."""
    return f"; {table[name]}" if name in table else ""
