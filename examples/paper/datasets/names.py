"""Map the class names of published files to the labels of a prompt set.

Most names differ in case and in characters that are no letters or digits only. The tables below are
the others; a test checks that each label of these sets has exactly one published name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from zeroshot import prompts
from zeroshot.errors import InputError, shortened

# Folders of 101_ObjectCategories, https://data.caltech.edu/records/mzrjq-6wc02
CALTECH101 = {
    "BACKGROUND_Google": "background",
    "Faces": "off-center face",
    "Faces_easy": "centered face",
    "Leopards": "leopard",
    "Motorbikes": "motorbike",
    "airplanes": "airplane",
    "car_side": "side of a car",
    "cougar_body": "body of a cougar cat",
    "cougar_face": "face of a cougar cat",
    "crocodile_head": "head of a  crocodile",
    "flamingo_head": "head of a flamingo",
    "snoopy": "snoopy (cartoon beagle)",
    "water_lilly": "water lilly",
    "yin_yang": "yin and yang symbol",
}

# Folders of the archive EuroSAT, https://github.com/phelber/EuroSAT
EUROSAT = {
    "AnnualCrop": "annual crop land",
    "Forest": "forest",
    "HerbaceousVegetation": "brushland or shrubland",
    "Highway": "highway or road",
    "Industrial": "industrial buildings or commercial buildings",
    "Pasture": "pasture land",
    "PermanentCrop": "permanent crop land",
    "Residential": "residential buildings or homes or apartments",
    "River": "river",
    "SeaLake": "lake or sea",
}

# Folders of country211.tgz are ISO 3166-1 alpha-2 codes (openai/CLIP, data/country211.md); the
# labels of the prompt set are in the order of these codes. XK is Kosovo, which has no ISO code.
COUNTRY211 = (  # noqa: SIM905 - 211 literals would fill 211 lines
    "AD AE AF AG AI AL AM AO AQ AR AT AU AW AX AZ BA BB BD BE BF BG BH BJ BM BN BO BQ BR BS BT BW "
    "BY BZ CA CD CF CH CI CK CL CM CN CO CR CU CV CW CY CZ DE DK DM DO DZ EC EE EG ES ET FI FJ FK "
    "FO FR GA GB GD GE GF GG GH GI GL GM GP GR GS GT GU GY HK HN HR HT HU ID IE IL IM IN IQ IR IS "
    "IT JE JM JO JP KE KG KH KN KP KR KW KY KZ LA LB LC LI LK LR LT LU LV LY MA MC MD ME MF MG MK "
    "ML MM MN MO MQ MR MT MU MV MW MX MY MZ NA NC NG NI NL NO NP NZ OM PA PE PF PG PH PK PL PR PS "
    "PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SS SV SX SY SZ TG TH TJ "
    "TL TM TN TO TR TT TW TZ UA UG US UY UZ VA VE VG VI VN VU WS XK YE ZA ZM ZW"
).split(" ")

# Labels of icml_face_data.csv and fer2013.csv are these numbers, as the challenge describes them:
# https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-recognition-challenge
FER2013 = {
    "Angry": "angry",  # 0
    "Disgust": "disgusted",
    "Fear": "fearful",
    "Happy": "happy",
    "Sad": "sad",
    "Surprise": "surprised",
    "Neutral": "neutral",  # 6
}

TABLES: dict[str, Mapping[str, str]] = {
    "caltech101": CALTECH101,
    "eurosat": EUROSAT,
    "fer2013": FER2013,
}


def labels(name: str) -> tuple[str, ...]:
    """Return the labels of a prompt set in class order."""
    return tuple(prompts.labels(name))


class Names:
    """Finds the column of a published class name in a prompt set.

    Args:
        name: The prompt set.
        path: The file or folder with the names, for errors.
    """

    def __init__(self, name: str, path: Path) -> None:
        self._path = path
        self._set = name
        self.labels = labels(name)
        self._columns = {_plain(label): n for n, label in enumerate(self.labels)}
        if name == "country211":
            self._columns = {_plain(code): n for n, code in enumerate(COUNTRY211)}
        for published, label in TABLES.get(name, {}).items():
            self._columns[_plain(published)] = self.labels.index(label)

    def column(self, published: str) -> int:
        """Return the column of a class name. Raises InputError for a name of no label."""
        column = self._columns.get(_plain(published))
        if column is None:
            raise InputError(
                f"{self._path}: {shortened(repr(published))} is no class of {self._set}; expected "
                f"one of its {len(self.labels)} classes. Check that the folder is this data set"
            )
        return column

    def check_order(self, published: Iterable[str]) -> None:
        """Raise InputError unless numbered classes have the order of the prompt set."""
        listed = list(published)
        if len(listed) != len(self.labels):
            raise InputError(
                f"{self._path}: expected {len(self.labels)} classes, got {len(listed)}; download "
                "it again"
            )
        for n, each in enumerate(listed):
            if self.column(each) != n:
                raise InputError(
                    f"{self._path}: expected {self.labels[n]!r} as class {n}, got "
                    f"{shortened(repr(each))}; use the published file"
                )


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())
