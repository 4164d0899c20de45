"""Read lists of labels or templates from files, by suffix.

Text files have one entry per line; .csv and .tsv files a column, .json, .jsonl and .toml files a
list, and .yaml files a list, or the `names` of a YOLO data set. Other kinds of files are rejected.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import tomllib
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from zeroshot.callers import stack_level
from zeroshot.errors import PromptError, shortened, some

COLUMNS = ("label", "labels", "name", "names", "class", "class_name", "classname")
# used if there is no column of COLUMNS
OTHER_COLUMNS = ("classes", "category", "categories", "class name", "label name", "label_name")
TEMPLATE_COLUMNS = ("template", "templates", "prompt", "prompts")
MARKS = (  # byte order marks; UTF-32 first, because its mark starts with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
SUFFIXES = (".txt", ".names", ".csv", ".tsv", ".json", ".jsonl", ".toml", ".yaml", ".yml")
NUMBERED = re.compile(r"(?:\d+\s*[.:)]?|n\d{8})\s+\S")  # "0 cat", "1. cat", "n02123045 tabby"
REJECTED = {  # suffixes of files that are no list, and what to do
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".ods", ".numbers"), "save the sheet as .csv"),
    **dict.fromkeys((".docx", ".doc", ".odt", ".pdf", ".rtf"), "save it as a plain text file"),
    **dict.fromkeys((".parquet", ".feather", ".npy", ".npz"), "export the column to .csv"),
    **dict.fromkeys((".pkl", ".pickle", ".pt", ".pth"), "export the labels to .json"),
    **dict.fromkeys((".xml", ".html", ".htm", ".pbtxt", ".md", ".ini"), "copy the labels to .txt"),
}


def read(path: Path, key: str) -> dict[str, Any]:
    """Return the content of a file; its list is the value of `key`, "labels" or "templates".

    Raises:
        PromptError: The file cannot be read, or is of an unsupported kind or malformed.
    """
    suffix = path.suffix.lower()
    if suffix in REJECTED:
        raise PromptError(
            f"{path}: expected a text file with {key}, got {suffix}; {REJECTED[suffix]}"
        )
    try:
        text = decode(path.read_bytes())
        return PARSERS.get(suffix, _read_lines)(text, key)
    except OSError as error:
        raise PromptError(
            f"{path}: cannot be read ({error.strerror}); check the file and its permissions"
        ) from error
    except UnicodeDecodeError as error:
        raise PromptError(f"{path}: not UTF-8 ({error.reason}); save it as UTF-8") from error
    except PromptError as error:
        raise PromptError(f"{path}: {error}") from error
    except (ValueError, RecursionError, csv.Error) as error:
        raise PromptError(
            f"{path}: malformed {suffix[1:].upper()} ({shortened(str(error), 200)}); "
            "correct the file"
        ) from error


def has_suffix(name: str) -> bool:
    """Return whether text ends like the name of a label file."""
    suffix = Path(name).suffix.lower()
    return suffix in SUFFIXES or suffix in REJECTED


def decode(content: bytes) -> str:
    """Decode text in UTF-8, or in UTF-16 or UTF-32 with a byte order mark.

    Raises:
        UnicodeDecodeError: The content is neither.
    """
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), "utf-8")
    text = content.decode(encoding)
    if "\0" in text:
        raise UnicodeDecodeError("utf-8", content, 0, 1, "it contains NUL bytes")
    return text


def parse_lines(text: str) -> list[str]:
    r"""Return one entry per line.

    Empty lines and lines that start with # are ignored; a line that starts with \# is an entry
    that starts with #.
    """
    lines = (line.strip() for line in text.splitlines())
    return [
        line[1:] if line.startswith("\\#") else line
        for line in lines
        if line and not line.startswith("#")
    ]


def _read_lines(text: str, key: str) -> dict[str, Any]:
    entries = parse_lines(text)
    if key == "labels" and entries:
        _reject_structure(text, entries)
        quoted = [e for e in entries if len(e) > 1 and e[0] == e[-1] and e[0] in "\"'"]
        if len(quoted) == len(entries):
            raise PromptError(
                f"every line is in quotes, as in {shortened(entries[0])}; remove them, or rename "
                "the file to .csv"
            )
        if quoted:
            warnings.warn(
                f"the quotes of {shortened(quoted[0])} are part of the label; remove them if they "
                "should not be",
                stacklevel=stack_level(),
            )
        if len(entries) > 1 and all(NUMBERED.match(entry) for entry in entries):
            warnings.warn(
                f"every line starts with a number or id, such as {shortened(repr(entries[0]), 80)},"
                " which is taken as part of the label; remove them if they are not",
                stacklevel=stack_level(),
            )
        tabular = sum("," in e or "\t" in e for e in entries)
        if len(entries) > 1 and 2 * tabular > len(entries):
            warnings.warn(
                f"{tabular} of {len(entries)} lines contain a comma or tab, such as "
                f"{shortened(repr(entries[0]), 80)}; each line is one label. If it is a table, "
                "rename the file to .csv or .tsv",
                stacklevel=stack_level(),
            )
    return {key: entries}


def _reject_structure(text: str, entries: list[str]) -> None:
    """Raise PromptError for JSON, YAML or a list with bullets in a file of plain lines."""
    for part in (text, entries[0]) if text.lstrip()[:1] in ("[", "{") else ():
        try:
            is_json = isinstance(json.loads(part), dict | list)
        except (ValueError, RecursionError):
            continue
        if is_json:
            suffix = ".json" if part is text else ".jsonl"
            raise PromptError(f"expected one label per line, got JSON; rename the file to {suffix}")
    if any(re.match(r"names\s*:(\s*$|\s*\[)", entry) for entry in entries):
        raise PromptError("expected one label per line, got YAML; rename the file to .yaml")
    if all(re.match(r"[-*\u2022]\s", entry) for entry in entries):
        raise PromptError(
            f"every line starts with a bullet, as in {shortened(repr(entries[0]))}; remove them"
        )


def _read_toml(text: str, key: str) -> dict[str, Any]:
    return tomllib.loads(text)


def _read_json(text: str, key: str) -> dict[str, Any]:
    content = json.loads(text, object_pairs_hook=_unique)
    if isinstance(content, dict):
        if key == "labels" and key not in content:
            content = _find_labels(content)
        return content if isinstance(content, dict) else {key: content}
    return {key: _pick_field(content, key)}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these pairs; a key that occurs twice would hide a value."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {shortened(repr(twice))} occurs twice")
    return found


def _find_labels(content: dict[str, Any]) -> Any:
    """Return the labels of an object without `labels`, or the object."""
    for name in ("names", "classes"):
        if isinstance(content.get(name), list | dict):
            return _number_labels(_pick_field(content[name], "labels"))
    if content and all(map(_is_list_of_text, content.values())):
        return {"labels": content}  # {"pet": ["cat", "dog"]}: labels with their names
    return _number_labels(content.get("id2label", content))


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)


def _number_labels(content: Any) -> Any:
    """Return the labels of {"0": "cat"} or {"cat": 0} in order of the numbers, or the content."""
    if not isinstance(content, dict) or not content:
        return content
    keys, values = list(content), list(content.values())
    if all(re.fullmatch(r"\d+", key) for key in keys) and all(isinstance(v, str) for v in values):
        return [content[key] for key in sorted(keys, key=int)]
    if all(type(value) is int for value in values) and len(set(values)) == len(values):
        return sorted(keys, key=content.__getitem__)
    return content


def _read_json_lines(text: str, key: str) -> dict[str, Any]:
    lines = [line for line in text.split("\n") if line.strip()]  # other breaks may be in a label
    objects = [json.loads(line, object_pairs_hook=_unique) for line in lines]
    return {key: _pick_field(objects, key)}


def _pick_field(content: Any, key: str) -> Any:
    """Return the label of each object in a list of objects; other content is returned as it is."""
    if not isinstance(content, list) or not any(isinstance(entry, dict) for entry in content):
        return content
    if not all(isinstance(entry, dict) for entry in content):
        raise PromptError("expected objects only or text only, got both; use one kind")
    name = _choose_column(content[0], content, key)
    for number, entry in enumerate(content, 1):
        if name not in entry:
            raise PromptError(f"object {number} has no {name!r}; add it")
    return _check_once([entry[name] for entry in content], name, key)


def read_rows(text: str, delimiter: str = ",") -> list[list[str]]:
    """Return the rows of CSV text with stripped cells, without empty rows.

    Raises:
        PromptError: Rows have different lengths.
        csv.Error: Quotes are malformed.
    """
    if separator := re.match(r"sep=(.)\r?\n", text):  # written by Excel
        delimiter, text = separator[1], text[separator.end() :]
    elif delimiter == "," and re.match(r"[^,\n]*;[^,\n]*(\n|$)", text.lstrip()):
        delimiter = ";"  # Excel, where the comma is the decimal separator
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows = [[cell.strip() for cell in row] for row in lines if any(map(str.strip, row))]
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise PromptError(
                f"row {number} has {len(row)} columns, the first has {len(rows[0])}: "
                f"{shortened(repr(row), 100)}; put text with a comma in double quotes"
            )
    return rows


def _read_table(text: str, key: str, delimiter: str = ",") -> dict[str, Any]:
    """Return the column of the labels, or the only column."""
    rows = read_rows(text, delimiter)
    names = COLUMNS + OTHER_COLUMNS if key == "labels" else TEMPLATE_COLUMNS
    if not rows:
        return {key: []}
    header = rows[0]
    for other in "\t,;|" if len(header) == 1 else "":
        columns = [column.strip().lower() for column in header[0].split(other)]
        if len(columns) > 1 and any(column in names for column in columns):
            return _read_table(text, key, other)
    if len(header) == 1:
        return {key: [row[0] for row in rows[header[0].lower() in names :]]}
    if len(set(header)) < len(header):
        raise PromptError(f"expected distinct columns, got {some(header)}; rename one")
    table = [dict(zip(header, row, strict=True)) for row in rows[1:]]
    column = _choose_column(header, table, key)
    return {key: _check_once([row[column] for row in table], column, key)}


def _check_once(values: list[Any], column: str, key: str) -> list[Any]:
    """Return the labels of a table; raise PromptError for a table of labeled images."""
    counted = Counter(value for value in values if isinstance(value, str)).most_common(1)
    if key == "labels" and counted and counted[0][1] > 1:
        raise PromptError(
            f"{shortened(repr(counted[0][0]))} occurs {counted[0][1]} times in {column!r}, so the "
            "file seems to list images; write each label once, in a file of its own"
        )
    return values


def _choose_column(header: Iterable[str], table: Iterable[Mapping[str, Any]], key: str) -> str:
    """Return the column with the labels; of several, columns of numbers are ignored.

    Raises:
        PromptError: There is no such column, or more than one.
    """
    columns = list(header)
    found: list[str] = []
    names = COLUMNS if key == "labels" else TEMPLATE_COLUMNS
    for wanted in (names, OTHER_COLUMNS) if key == "labels" else (names,):
        found = found or [name for name in columns if name.strip().lower() in wanted]
    if len(found) > 1:
        rows = list(table)
        found = [n for n in found if not all(str(row.get(n)).isdecimal() for row in rows)]
    if len(found) > 1:
        raise PromptError(
            f"expected one column of {key}, got {len(found)}: {shortened(', '.join(found), 200)}; "
            "rename or remove the others"
        )
    if not found:
        name = names[0]
        raise PromptError(
            f"expected a column named {name}, got the columns {some(list(map(str, columns)))}; "
            f"rename the column of {key} to {name}"
        )
    return found[0]


def _read_tabs(text: str, key: str) -> dict[str, Any]:
    return _read_table(text, key, "\t")


YAML_ADVICE = (
    "expected a list, or `names` or `labels` with a list or a map from numbers, as in YOLO's "
    "data.yaml; fix it, or save the labels as .txt, one per line, or as .json"
)


def _read_yaml(text: str, key: str) -> dict[str, Any]:
    """Read a list, or `names` in the shapes that YOLO's data.yaml uses."""
    lines = [re.sub(r"(^|\s)#.*", "", line).rstrip() for line in text.splitlines()]
    listed = [line for line in lines if line and not line.startswith("---")]
    if listed and all(line.startswith("- ") for line in listed) and key == "labels":
        return {key: [_yaml_text(line[1:].strip()) for line in listed]}
    starts = [n for n, line in enumerate(lines) if re.match(r"(names|labels)\s*:(\s|$)", line)]
    if len(starts) != 1 or key != "labels":
        raise PromptError(f"found `names:` {len(starts)} times; {YAML_ADVICE}")
    name, _, first = map(str.strip, lines[starts[0]].partition(":"))
    rest = [line for line in lines[starts[0] + 1 :] if line.strip()]
    block = []
    for line in rest:  # up to the next key
        if not line.startswith((" ", "-", "]", "}")) or line.startswith("---"):
            break
        block.append(line.strip())
    if first:
        flow = " ".join([first, *block])
        if flow[0] + flow[-1] not in ("[]", "{}"):
            raise PromptError(f"`{name}: {shortened(flow, 80)}` is not a list; {YAML_ADVICE}")
        entries = [e for e in _split_flow(flow[1:-1]) if e]
        numbered = flow[0] == "{"
    else:
        numbered = not all(line.startswith("-") for line in block)
        entries = block if numbered else [line[1:].strip() for line in block]
    if not numbered:
        return {key: [_yaml_text(entry) for entry in entries]}
    labels: dict[int, str] = {}
    for entry in entries:
        number, found = re.match(r"(\d+)\s*:\s*(.*)", entry), entry
        if not number or int(number[1]) in labels:
            raise PromptError(
                f"expected a number, a colon and a label, each number once, got "
                f"{shortened(repr(found), 80)}; {YAML_ADVICE}"
            )
        labels[int(number[1])] = _yaml_text(number[2])
    return {key: [labels[number] for number in sorted(labels)]}


def _split_flow(text: str) -> list[str]:
    """Split at commas outside of quotes."""
    pattern = r"""(?:"(?:\\.|[^"\\])*"|'(?:''|[^'])*'|[^,"']|(?<=\w)['"])+"""
    if unread := re.sub(pattern, "", text).strip(","):
        raise PromptError(f"unclosed quote {unread[0]}; {YAML_ADVICE}")
    return [part.strip() for part in re.findall(pattern, text)]


def _yaml_text(text: str) -> str:
    """Return the text of a plain or quoted scalar."""
    if re.fullmatch("'(?:''|[^'])*'", text):
        return text[1:-1].replace("''", "'")
    if len(text) > 1 and text[0] == text[-1] == '"':
        return str(json.loads(text))
    is_special = not text or text[0] in "&*!|>%@`{}[]\"'," or text.startswith(("- ", "? "))
    if is_special or ": " in text or text.endswith(":"):
        raise PromptError(f"cannot read the label {shortened(repr(text), 80)}; {YAML_ADVICE}")
    return text


PARSERS: dict[str, Callable[[str, str], dict[str, Any]]] = {
    ".csv": _read_table,
    ".tsv": _read_tabs,
    ".json": _read_json,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".toml": _read_toml,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
}
