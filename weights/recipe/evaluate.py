"""Evaluate mini on the development photographs and print the tables of its model card."""

import argparse
import time
from pathlib import Path

import corpus
import numpy as np
import photographs
import sources
import student
import targets
import teacher
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

import zeroshot
from zeroshot.tokenizers.clip import ClipTokenizer

OPENAI_7 = (  # the subset of templates OpenAI recommends for ImageNet
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)
UNSEEN = "a snapshot of a {}."  # not in any template collection
KNOWN = 20_000  # texts for the mean distance of targets to the center
DRAWS = 200  # random label sets per photograph


def main() -> None:
    """Print accuracy, agreement and speed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("truth", type=Path, help='JSON: {"root": ..., "photos": {path: label}}')
    parser.add_argument("--work", type=Path, required=True, help="work folder of make.py")
    parser.add_argument("--model", default="mini")
    options = parser.parse_args()

    packages = sources.fetch(options.work)
    images, truth = photographs.read(options.work, options.truth)
    print_accuracy(zeroshot.load(options.model), images, truth, packages)
    texts = corpus.collect(packages)
    print_likeness(texts, packages, options.work)
    print_rounding(options.model, list(texts.held_out), images, options.work)
    print_speed(options.model, images)


def print_accuracy(
    model: zeroshot.Model, images: list[Image.Image], truth: list[str], packages: Path
) -> None:
    """Print top-1 and top-5 among all labels, and top-1 among few labels, by prompts."""
    labels = sorted(set(truth))
    wanted = torch.tensor([labels.index(label) for label in truth])
    embeddings = torch.as_tensor(model.encode_image(images))
    templates = {
        "{}": ["{}"],
        "a photo of a {}.": ["a photo of a {}."],
        "both": ["{}", "a photo of a {}."],
        "OpenAI's 7": list(OPENAI_7),
        "OpenAI's 80": corpus.imagenet_templates(packages),
    }
    print("| prompts | top-1 | top-5 | of 10 labels | of 2 labels |\n|---|---|---|---|---|")
    for name, prompts in templates.items():
        scores = embeddings @ torch.as_tensor(model.head(labels, prompts).weight).T
        figures = [top(scores, wanted, k) for k in (1, 5)]
        figures += [drawn(scores, wanted, count) for count in (10, 2)]
        print(f"| {name} |", " | ".join(f"{figure:.1%}" for figure in figures), "|")
    names = {name.lower() for name in corpus.imagenet_names(packages)}
    named = torch.tensor([label.lower() in names for label in truth])
    for what, part in {"labels that are ImageNet names": named, "other labels": ~named}.items():
        print(f"{what}: {top(scores[part], wanted[part], 1):.1%} of {int(part.sum())}")
    confidence = (model.logit_scale * scores).softmax(dim=1).max(dim=1).values.mean()
    print(f"logit scale {model.logit_scale:.1f}: mean confidence {confidence:.1%}")


def print_likeness(texts: corpus.Corpus, packages: Path, work: Path) -> None:
    """Print the agreement of the student with its targets, before the held-out nouns."""
    aim = targets.Aim(packages, teacher.of(packages), work / "teacher")
    before = student.read(work / "main.pt")
    names = sorted({name for nouns in texts.training.values() for name in nouns})
    known: corpus.Texts = {UNSEEN.replace("{}", name): (name,) for name in names[::40]}
    labels: corpus.Texts = {text: nouns for text, nouns in texts.unseen.items() if len(nouns) == 1}
    collections = {
        "unseen texts": texts.unseen,
        "of these, labels: one noun, bare or in a sentence": labels,
        "of these, labels of one token": _single(labels),
        "held-out nouns": texts.held_out,
        "held-out nouns of one token": _single(texts.held_out),
        "known nouns in an unseen template": known,
        "known nouns of one token in an unseen template": _single(known),
    }
    # mean distance of targets to the center, to undo the centering of the student's embeddings
    some = dict(list(texts.training.items())[:KNOWN])
    away = aim.at(some, "measured", centered=False).aims.astype(np.float32) - aim.center
    distance = float(np.linalg.norm(away, axis=1).mean())
    print("| texts | number | cosine to the target | uncentered |\n|---|---|---|---|")
    for what, chosen in collections.items():
        found = student.embed(before, student.tokenize(list(chosen)))
        placed = F.normalize(torch.from_numpy(aim.center) + distance * found, dim=1)
        cosines = [
            float(
                (ours * torch.from_numpy(aim.at(chosen, "measured", centered=c).aims)).sum(1).mean()
            )
            for ours, c in ((found, True), (placed, False))
        ]
        print(f"| {what} | {len(chosen)} | {cosines[0]:.3f} | {cosines[1]:.3f} |")


def print_rounding(name: str, texts: list[str], images: list[Image.Image], work: Path) -> None:
    """Print cosines between embeddings of the shipped file and its float32 original."""
    shipped = zeroshot.load(name, dtype="float32")
    whole = zeroshot.load(work / "mini-float32.safetensors", dtype="float32")
    for what, ours, theirs in (
        ("texts", shipped.encode_text(texts), whole.encode_text(texts)),
        ("photographs", shipped.encode_image(images), whole.encode_image(images)),
    ):
        same = (ours * theirs).sum(dim=1)
        print(f"shipped vs. float32, {what}: mean {same.mean():.5f}, min {same.min():.5f}")


def print_speed(name: str, images: list[Image.Image]) -> None:
    """Print load time and photographs per second, for small and for full-size images."""
    began = time.perf_counter()
    model = zeroshot.load(name)
    print(f"loads in {time.perf_counter() - began:.2f} s, {model.dtype}")
    small = [image.resize((300, 300)) for image in images]
    for what, pictures in {"300 x 300": small, "about 1920 x 1080": images}.items():
        model.encode_image(pictures[:16])
        began = time.perf_counter()
        model.encode_image(pictures)
        print(f"{len(pictures) / (time.perf_counter() - began):.0f} photographs/s, {what}")


def _single(texts: corpus.Texts) -> corpus.Texts:
    """Keep texts whose noun is a single CLIP token."""
    encode = ClipTokenizer().encode
    return {text: nouns for text, nouns in texts.items() if len(encode(nouns[0])) == 1}


def top(scores: Tensor, wanted: Tensor, k: int) -> float:
    """Return the top-k accuracy."""
    own = scores.gather(1, wanted[:, None])
    return float(((scores > own).sum(dim=1) < k).float().mean())


def drawn(scores: Tensor, wanted: Tensor, count: int) -> float:
    """Return top-1 accuracy among the true label and random others, `count` in total."""
    generator = torch.Generator().manual_seed(0)
    right = 0.0
    for _ in range(DRAWS):
        order = torch.rand(scores.shape, generator=generator)
        order.scatter_(1, wanted[:, None], 2.0)  # the true label first
        chosen = order.topk(count, dim=1).indices
        right += float((scores.gather(1, chosen).argmax(dim=1) == 0).float().mean())
    return right / DRAWS


if __name__ == "__main__":
    main()
