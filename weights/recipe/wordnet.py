"""Read WordNet's nouns and adjectives from its data files, and the synsets of ImageNet."""

import re
from dataclasses import dataclass
from pathlib import Path

VISIBLE = {  # lexicographer files (lexnames(5WN)) with nouns that are visible in photographs
    "05": "animal",
    "06": "artifact",
    "08": "body",
    "13": "food",
    "17": "object",
    "18": "person",
    "19": "phenomenon",
    "20": "plant",
    "27": "substance",
}


@dataclass(frozen=True)
class Synset:
    """One synset: its names, the first clause of its definition, its hypernyms."""

    names: tuple[str, ...]
    gloss: str
    hypernyms: tuple[str, ...]  # offsets
    visible: bool
    instance: bool  # a named instance: a person, a place, a battle


def read(dictionary: Path, part: str) -> dict[str, Synset]:
    """Read `data.noun` or `data.adj`; keys are byte offsets, as used by pointers."""
    lines = (dictionary / f"data.{part}").read_text(encoding="latin-1").splitlines()
    return dict(_synset(line) for line in lines if not line.startswith("  "))


def _synset(line: str) -> tuple[str, Synset]:
    """Parse one line as defined in wndb(5WN): hex count of names, count of pointers."""
    fields, _, gloss = line.partition(" | ")
    offset, lexicon, _, count, *rest = fields.split()
    end = 2 * int(count, 16)
    names = tuple(re.sub(r"\(\w+\)$", "", name).replace("_", " ") for name in rest[:end:2])
    pointers = rest[end + 1 : end + 1 + 4 * int(rest[end])]
    kinds = list(zip(pointers[::4], pointers[1::4], strict=True))
    return offset, Synset(
        names=names,
        gloss=re.split(r"[;:(]|, (?:especially|used|having)", gloss)[0].strip(),
        hypernyms=tuple(target for kind, target in kinds if kind in ("@", "@i")),
        visible=lexicon in VISIBLE,
        instance=any(kind == "@i" for kind, _ in kinds),
    )


def senses(dictionary: Path) -> dict[str, list[str]]:
    """Read `index.noun`: lower-case noun -> offsets of its synsets, most frequent first."""
    lines = (dictionary / "index.noun").read_text(encoding="latin-1").splitlines()
    rows = [line.split() for line in lines if not line.startswith("  ")]
    return {row[0].replace("_", " "): row[-int(row[2]) :] for row in rows}


def imagenet(nouns: dict[str, Synset], info: Path) -> list[str]:
    """Return the offset of each of the 1000 classes, in the order of the classifier's scores.

    ImageNet uses WordNet 3.0, whose offsets differ. The synset with the most names in common is
    selected; common words in the definition break ties.
    """
    lemmas = _table(info / "imagenet_synset_to_lemma.txt")
    glosses = _table(info / "imagenet_synset_to_definition.txt")
    by_name: dict[str, set[str]] = {}
    for offset, synset in nouns.items():
        for name in synset.names:
            by_name.setdefault(name.lower(), set()).add(offset)

    def find(wnid: str) -> str:
        names = {name.strip().lower() for name in lemmas[wnid].split(",")}
        words = set(re.findall(r"\w+", glosses[wnid].lower()))

        def likeness(offset: str) -> tuple[float, int, str]:
            own = {name.lower() for name in nouns[offset].names}
            gloss = set(re.findall(r"\w+", nouns[offset].gloss.lower()))
            return (
                len(names & own) / len(names | own) + len(words & gloss) / len(gloss | {""}),
                len(words & gloss),
                offset,
            )

        return max({o for name in names for o in by_name.get(name, ())}, key=likeness)

    return [find(wnid) for wnid in (info / "imagenet_synsets.txt").read_text().split()]


def ancestors(nouns: dict[str, Synset], offset: str, depth: int) -> list[str]:
    """Return the hypernyms of a synset, nearest first, following the first hypernym."""
    names: list[str] = []
    while len(names) < depth and (above := nouns[offset].hypernyms):
        offset = above[0]
        names.append(nouns[offset].names[0])
    return names


def _table(path: Path) -> dict[str, str]:
    return dict(line.split("\t", 1) for line in path.read_text().splitlines())
