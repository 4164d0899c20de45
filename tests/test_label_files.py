"""Lists of labels and templates are read by the suffix of their file."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest

from zeroshot import label_files, prompts
from zeroshot.errors import PromptError

PETS = ["cat, small", "café"]


def labels(path: Path, content: str | bytes) -> list[str]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(prompts.labels(path))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "# pets\n\n  cat, small \r\ncafé"),
        ("a.names", "cat, small\ncafé\n"),
        ("a", "cat, small\ncafé\n"),
        ("a.csv", '"cat, small"\ncafé\n'),
        ("a.csv", 'label\n"cat, small"\n\n"café"\n'),
        ("a.csv", 'id,Label\r\n1,"cat, small"\r\n2,café\r\n'),
        ("a.CSV", 'name,description\n"cat, small","a ""small"" one"\ncafé,"one, two"\n'),
        ("a.csv", "id;class\n1;cat, small\n2;café\n".replace("cat, small", '"cat, small"')),
        ("a.csv", 'sep=;\nid;class\n1;"cat, small"\n2;café\n'),
        ("a.csv", 'label,name\n0,"cat, small"\n1,café\n'),
        ("a.tsv", "id\tname\n7\tcat, small\n8\tcafé\n"),
        ("a.tsv", "cat, small\ncafé\n"),
        ("a.json", '["cat, small", "café"]'),
        ("a.json", '{"labels": ["cat, small", "caf\\u00e9"]}'),
        ("a.json", '{"1": "café", "0": "cat, small"}'),
        ("a.json", '{"id2label": {"0": "cat, small", "10": "café"}, "model_type": "vit"}'),
        ("a.json", '{"café": 2, "cat, small": 1}'),
        ("a.json", '[{"id": 0, "name": "cat, small"}, {"id": 1, "name": "café"}]'),
        ("a.jsonl", '{"label": "cat, small", "n": 1}\n\n{"label": "café", "n": 2}\n'),
        ("a.jsonl", '"cat, small"\n"café"\n'),
        ("a.toml", 'labels = ["cat, small", "café"]'),
        ("data.yaml", "path: x\nnames:\n  0: cat, small  # first\n  1: 'café'\nnc: 2\n"),
        ("data.yml", 'names:\n- "cat, small"\n- café\n\nnc: 2\n'),
        ("data.yaml", "names:\n  - cat, small\n  - café\n"),
        ("data.yaml", "nc: 2\nnames: ['cat, small', \"caf\\u00e9\"]\n"),
        ("data.yaml", "names: ['cat, small',\n  café]  # two\nval: x\n"),
        ("data.yaml", "names: {1: café, 0: 'cat, small'}\n"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.filterwarnings("ignore:.*contain a comma")
def test_labels_are_read_by_suffix(name: str, content: str, encoding: str, tmp_path: Path) -> None:
    assert labels(tmp_path / name, content.encode(encoding)) == PETS


def test_a_backslash_escapes_a_leading_hash(tmp_path: Path) -> None:
    text = "# a comment\n#commented\n\\#1 fan\n\\#hashtag\nC#\n"

    assert labels(tmp_path / "l.txt", text) == ["#1 fan", "#hashtag", "C#"]


def test_hashes_of_a_csv_file_are_no_comments(tmp_path: Path) -> None:
    assert labels(tmp_path / "l.csv", "#1 fan\ncat\n") == ["#1 fan", "cat"]


def test_yaml_quotes_and_words_are_text(tmp_path: Path) -> None:
    text = "names: ['it''s', no, \"a, b\", bull's eye]\n"

    assert labels(tmp_path / "d.yaml", text) == ["it's", "no", "a, b", "bull's eye"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (
            "a.csv",
            "id,title\n1,cat\n",
            "got the columns id, title; rename the column",
        ),
        (
            "a.csv",
            "class,name\nc1,cat\nc2,dog\n",
            "one column of labels, got 2: class, name",
        ),
        ("a.csv", "cat\ndog, small\n", r"row 2 has 2 columns, the first has 1.*double quotes"),
        ("a.csv", "label,label\na,b\n", "expected distinct columns"),
        ("a.csv", 'label\n"cat\n', "malformed CSV"),
        ("a.tsv", "a\tb\nc\td\n", "got the columns a, b"),
        ("a.json", '{"cat": "a cat"}', r'expected \{"labels": \["cat"'),
        ("a.json", '{"0": "cat", "0": "dog"}', "the key '0' occurs twice"),
        ("a.json", '[{"x": "cat"}]', "got the columns x"),
        ("a.json", '[{"name": "cat"}, "dog"]', "objects only or text only"),
        ("a.jsonl", '{"label": "cat"}\n{"lable": "dog"}\n', "object 2 has no 'label'"),
        ("a.jsonl", '{"label": "cat"\n', "malformed JSONL"),
        ("a.yaml", "cat\ndog\n", "found `names:` 0 times; expected a list"),
        ("a.yaml", "names: &x [cat]\n", "is not a list"),
        ("a.yaml", "names:\n  cat: 0\n  dog: 1\n", "expected a number, a colon and a label"),
        ("a.yaml", "names:\n  0: cat\n  0: dog\n", "each number once"),
        ("a.yaml", "names:\n  - *x\n", r"cannot read the label '\*x'"),
        ("a.yaml", "names:\n  - a: b\n", "cannot read the label 'a: b'"),
        ("a.xlsx", "PK", r"got \.xlsx; save the sheet as \.csv"),
        ("a.PDF", "%PDF", "save it as a plain text file"),
        ("a.pkl", "x", r"export the labels to \.json"),
        ("a.pbtxt", "item {}", r"copy the labels to \.txt"),
        ("a.txt", '"cat"\n"dog"\n', r"every line is in quotes.*rename the file to \.csv"),
        ("a.txt", b"caf\xe9\n", "not UTF-8 .*save it as UTF-8"),
        ("a.txt", "cat\n".encode("utf-16-le"), "contains NUL bytes"),
        ("a.toml", "labels = [", "malformed TOML"),
    ],
)
def test_files_that_are_no_list_are_rejected(
    name: str, content: str | bytes, says: str, tmp_path: Path
) -> None:
    with pytest.raises(PromptError, match=says) as caught:
        labels(tmp_path / name, content)

    assert str(tmp_path / name) in str(caught.value)
    assert len(str(caught.value)) < 600 + len(str(tmp_path))


def test_a_text_file_that_looks_like_a_table_causes_a_warning(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"3 of 3 lines contain a comma or tab.*\.csv or \.tsv"):
        found = labels(tmp_path / "l.txt", "id,label\n1,cat\n2,dog\n")
    assert found == ["id,label", "1,cat", "2,dog"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(labels(tmp_path / "l.txt", "cat, small\ndog\n")) == 2


def test_templates_are_read_from_the_column_template(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('id,template\n1,"a {}, small"\n2,the {}\n')

    assert prompts.get(path).templates == ("a {}, small", "the {}")
    path.write_text("id,text\n1,a {}\n")
    with pytest.raises(PromptError, match="column named template, got the columns id"):
        prompts.get(path)


def test_suffixes_have_a_parser_or_are_text() -> None:
    assert {*label_files.SUFFIXES} - {*label_files.PARSERS} == {".txt", ".names"}
    assert not {*label_files.SUFFIXES} & {*label_files.REJECTED}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.csv", "category\ncat\ndog\n"),
        ("l.csv", "id,Category\n0,cat\n1,dog\n"),
        ("l.csv", "id\tlabel\n0\tcat\n1\tdog\n"),
        ("l.csv", "label|kind\ncat|pet\ndog|pet\n"),
        ("l.tsv", "label,kind\ncat,pet\ndog,pet\n"),
        ("l.yaml", "names:\n- cat\n- dog\n---\n"),
        ("l.yaml", "labels:\n- cat\n- dog\n"),
        ("l.yaml", "---\n# pets\n- cat\n\n- 'dog'\n"),
        ("l.json", '{"names": ["cat", "dog"]}'),
        ("l.json", '{"nc": 2, "names": {"1": "dog", "0": "cat"}}'),
        ("l.json", '{"classes": ["cat", "dog"]}'),
        ("l.json", '{"classes": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]}'),
    ],
)
def test_headers_and_separators_of_other_tools_are_read(
    name: str, content: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)

    assert list(prompts.labels(tmp_path / name)) == ["cat", "dog"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("l.txt", '["cat", "dog"]', "got JSON; rename the file to .json"),
        ("l.txt", '[\n  "cat",\n  "dog"\n]\n', "got JSON; rename the file to .json"),
        ("l.txt", '{"label": "cat"}\n{"label": "dog"}\n', "rename the file to .jsonl"),
        ("l.txt", "nc: 2\nnames:\n  0: cat\n", "got YAML; rename the file to .yaml"),
        ("l.txt", "- cat\n- dog\n", "every line starts with a bullet, as in '- cat'"),
        ("l.jsonl", '{"label": "cat", "label": "dog"}\n', "the key 'label' occurs twice"),
        ("l.yaml", "names:\n- - cat\n- dog\n", "cannot read the label '- cat'"),
        ("l.yaml", "names: ['cat' 'dog', boat]\n", "cannot read the label"),
        ("l.yaml", "names: [cat, 'dog]\n", "unclosed quote '"),
    ],
)
def test_a_file_of_another_kind_than_its_suffix_says_is_rejected(
    name: str, content: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)

    with pytest.raises(PromptError, match=re.escape(says)):
        prompts.labels(tmp_path / name)


@pytest.mark.parametrize("content", ["0 cat\n1 dog\n", "1. cat\n2. dog\n", "n02123045 tabby\n"])
def test_numbers_before_all_labels_are_mentioned(content: str, tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text(f"{content}n02123159 tiger cat\n")

    with pytest.warns(UserWarning, match="every line starts with a number or id"):
        prompts.labels(tmp_path / "l.txt")


def test_a_line_separator_inside_a_json_label_is_kept(tmp_path: Path) -> None:
    (tmp_path / "l.jsonl").write_text('{"label": "a\u2028b"}\n{"label": "c"}\n', "utf-8")

    assert list(prompts.labels(tmp_path / "l.jsonl")) == ["a\u2028b", "c"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.txt", True), ("b/LABELS.CSV", True), ("a.xlsx", True), ("v1.5", False), ("and/or", False)],
)
def test_names_of_label_files_have_a_known_suffix(name: str, expected: bool) -> None:
    assert label_files.has_suffix(name) is expected


def test_a_json_object_of_lists_gives_labels_with_names(tmp_path: Path) -> None:
    (tmp_path / "l.json").write_text('{"pet": ["cat", "dog"], "car": ["car"]}')

    assert prompts.labels(tmp_path / "l.json") == {"pet": ["cat", "dog"], "car": ["car"]}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.csv", "image,label\na.jpg,cat\nb.jpg,dog\nc.jpg,cat\n"),
        ("l.jsonl", '{"label": "dog"}\n{"label": "cat"}\n{"label": "cat"}\n'),
    ],
)
def test_a_table_of_labeled_images_is_rejected(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)

    says = "'cat' occurs 2 times in 'label', so the file seems to list images; write each label"
    with pytest.raises(PromptError, match=says):
        prompts.labels(tmp_path / name)


def test_quotes_of_a_line_are_mentioned(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text('"San Francisco, CA"\nParis\nRome\n')

    with pytest.warns(UserWarning, match="the quotes of .* are part of the label"):
        prompts.labels(tmp_path / "l.txt")
