"""Templates and labels: shipped sets, user files, and invalid input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zeroshot import prompts
from zeroshot.errors import LabelError, PromptError
from zeroshot.prompts import PromptSet

# templates


@pytest.mark.parametrize(
    "label", ["{x}", "{}", "{0.__class__}", "%s", "a\\nb", "犬", "$1", "{", "}{", "  two  spaces "]
)
def test_a_label_with_braces_is_rendered_verbatim(label: str) -> None:
    assert PromptSet(("a photo of {}.",)).render(label) == [f"a photo of {label}."]


def test_other_braces_of_a_template_are_kept() -> None:
    assert PromptSet(("{{a}} {c} {0} {}",)).render("dog") == ["{{a}} {c} {0} dog"]


@given(
    st.text(), st.text().filter(lambda t: "{" not in t and "}" not in t), st.text(alphabet="ab{")
)
def test_rendering_is_plain_concatenation(label: str, before: str, after: str) -> None:
    if after.startswith("}") or prompts.ARTICLE.match(label):
        return
    assert PromptSet((before + "{}" + after,)).render(label) == [before + label + after]


@pytest.mark.parametrize(
    "template", ["no slot", "two {} of {}", "{label}", "", "\udc80 {}", None, b"{}"]
)
def test_a_template_needs_exactly_one_slot(template: Any) -> None:
    with pytest.raises(PromptError, match=r"exactly one \{\}"):
        PromptSet((template,))


def test_a_bare_str_as_templates_is_rejected_with_a_fix() -> None:
    with pytest.raises(PromptError, match=r"pass a list: \['a {}'\]"):
        PromptSet("a {}")  # type: ignore[arg-type]


def test_an_empty_list_of_templates_is_rejected() -> None:
    with pytest.raises(PromptError, match="'bare' has no templates"):
        PromptSet((), "bare")


def test_a_list_of_templates_becomes_a_tuple() -> None:
    made = PromptSet(["a {}", "b {}"])  # type: ignore[arg-type]
    assert made.templates == ("a {}", "b {}")
    assert len(made) == 2
    assert hash(made) == hash(PromptSet(("a {}", "b {}")))


def test_joined_sets_keep_order_and_drop_repetitions() -> None:
    joined = PromptSet(("a {}", "b {}"), "one") + PromptSet(("b {}", "c {}"), "two")
    assert joined.templates == ("a {}", "b {}", "c {}")
    assert joined.name == "one+two"


@pytest.mark.parametrize(
    ("template", "label", "expected"),
    [
        ("a photo of a {}.", "a cat", "a photo of a cat."),
        ("a photo of the {}.", "An  owl", "a photo of the owl."),
        ("{} in the snow", "a cat", "a cat in the snow"),
        ("itap of {}.", "the moon", "itap of the moon."),
        ("a photo of a {}.", "a", "a photo of a a."),
        ("a photo of a {}.", "a ", "a photo of a a ."),
        ("a photo of a {}.", "another cat", "a photo of a another cat."),
        ("pizza {}", "a cat", "pizza a cat"),
        ("a {}", "The Hague", "a Hague"),
    ],
)
def test_an_article_is_not_repeated(template: str, label: str, expected: str) -> None:
    assert PromptSet((template,)).render(label) == [expected]


@pytest.mark.parametrize("name", prompts.available())
def test_labels_of_shipped_sets_are_rendered_as_published(name: str) -> None:
    try:
        names = [each for names in prompts.labels(name).values() for each in names]
    except PromptError:
        return
    found = prompts.get(name)
    for each in names:
        assert found.render(each) == [t.replace("{}", each) for t in found.templates]


# user files


FILES = {
    "set.toml": 'name = "mine"\ntemplates = ["a {}", "ein Bild: {} – schön"]\n',
    "set.json": '{"name": "mine", "templates": ["a {}", "ein Bild: {} – schön"]}',
    "list.json": '["a {}", "ein Bild: {} – schön"]',
    "set.txt": "# mine\n\na {}\r\n  ein Bild: {} – schön  \n",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("name", FILES)
def test_templates_are_read_from_files_of_every_kind(
    name: str, encoding: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(FILES[name], encoding)
    for given_as in (path, str(path)):
        found = prompts.get(given_as)
        assert found.templates == ("a {}", "ein Bild: {} – schön")
        assert found.source == str(path)
        assert found.name == (
            "mine" if name.startswith("set.") and name != "set.txt" else path.stem
        )


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.toml", b"templates = [", r"malformed TOML \(.*\); correct the file"),
        ("a.json", b"{", "malformed"),
        ("a.json", b"[" * 100_000, "malformed"),
        ("a.json", b"5", "expected a list named 'templates'"),
        ("a.toml", b"labels = ['a']", "expected a list named 'templates'"),
        ("a.toml", b"templates = 'a {}'", "expected a list named 'templates'"),
        ("a.json", b'{"templates": [1]}', "exactly one {}"),
        ("a.txt", b"\xff\xfea\x00", "exactly one {}"),
        ("a.txt", b"caf\xe9 {}", "not UTF-8"),
        ("a.txt", b"# nothing\n", "no templates"),
        ("a.txt", b"a photo\n", "exactly one {}"),
    ],
)
def test_a_malformed_file_raises_a_prompt_error(
    name: str, content: bytes, says: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(PromptError, match=says.replace("{}", r"\{\}")):
        prompts.get(path)


def test_a_folder_or_missing_file_raises_a_prompt_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.toml"):
        with pytest.raises(PromptError, match="cannot be read"):
            prompts.get(path)


# names


@pytest.mark.parametrize("name", prompts.available())
def test_every_shipped_set_is_found_by_its_name(name: str) -> None:
    found = prompts.get(name)
    assert found.name == name
    assert found.source
    assert all(len(found.render("x")[i]) == len(t) - 1 for i, t in enumerate(found.templates))


def test_a_prompt_set_is_returned_unchanged() -> None:
    mine = PromptSet(("a {}",))
    assert prompts.get(mine) is mine


def test_one_template_or_a_list_becomes_a_prompt_set() -> None:
    assert prompts.get("a {} here").templates == ("a {} here",)
    assert prompts.get(["a {}", "b {}"]).templates == ("a {}", "b {}")


@pytest.mark.parametrize(
    ("name", "near"), [("imagnet", "imagenet"), ("CIFAR10", "cifar10"), ("photos", "photo")]
)
def test_an_unknown_name_suggests_the_nearest(name: str, near: str) -> None:
    for ask in (prompts.get, prompts.labels):
        with pytest.raises(PromptError, match=f"named {name!r}; did you mean {near!r}"):
            ask(name)


@pytest.mark.parametrize("name", ["a photo without a slot " * 50, "nul\0", "", "~", "\udcff"])
def test_any_other_text_raises_a_prompt_error(name: str) -> None:
    for ask in (prompts.get, prompts.labels):
        with pytest.raises(PromptError):
            ask(name)


@pytest.mark.parametrize("value", [5, None, 1.5, object()])
def test_prompts_of_another_type_raise_a_prompt_error(value: Any) -> None:
    with pytest.raises(PromptError, match=type(value).__name__):
        prompts.get(value)


# labels


def test_each_label_of_a_list_is_its_own_name() -> None:
    assert prompts.named(["b", "a"]) == {"b": ["b"], "a": ["a"]}


def test_synonyms_are_kept_in_order() -> None:
    labels = {"crane": ["crane", "sandhill crane"], "wren": "wren"}
    found = prompts.named(labels)
    assert found == {"crane": ["crane", "sandhill crane"], "wren": ["wren"]}
    assert list(found) == ["crane", "wren"]


@pytest.mark.parametrize("labels", [("a", "b"), np.array(["a", "b"]), {"a": "a", "b": "b"}.keys()])
def test_any_sequence_of_text_is_accepted(labels: Any) -> None:
    assert list(prompts.named(labels)) == ["a", "b"]


def test_labels_are_case_sensitive() -> None:
    assert list(prompts.named(["Turkey", "turkey"])) == ["Turkey", "turkey"]


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ("cat", r"the str 'cat'; pass a list of labels: \['cat'"),
        ([], "no labels given; pass a list of labels"),
        ({}, "no labels given"),
        (5, "expected labels to be a list, got int 5"),
        (None, "expected labels to be a list, got NoneType None"),
        (["cat", ""], "label '' is empty"),
        (["cat", " \t"], "is empty"),
        (["cat", 5], "label 5 is int"),
        (["cat", b"dog"], "is bytes"),
        (["cat", None], "is NoneType"),
        (["cat", "do\0g"], "control characters"),
        (["cat", "do\x1bg"], "control characters"),
        (["cat", "dog", "cat"], "duplicate label 'cat'; remove one"),
        (["cat", None], "None is NoneType, expected text; remove it"),
        (["cat", float("nan")], "nan is float, expected text; remove it"),
        ([["cat", "dog"]], "is list, expected text; pass one flat list"),
        ([1, 2], r"pass str\(label\)"),
        (["a cat", " a  cat "], r"first given as 'a cat'"),
        (["caf\u00e9", "cafe\u0301"], "duplicate label"),
        ({"cat": []}, "'cat' has no names"),
        ({"cat": None}, "'cat' has no names"),
        ({"cat": 5}, "expected names of 'cat' to be a list, got int 5"),
        ({"cat": ["cat", 5]}, "label 5 is int"),
        ({"cat": ["cat", ""]}, "is empty"),
        ({5: "cat"}, "label 5 is int"),
    ],
)
def test_invalid_labels_are_rejected_with_the_reason(labels: Any, says: str) -> None:
    with pytest.raises(LabelError, match=says):
        prompts.named(labels)


def test_too_many_labels_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "MAX_LABELS", 3)
    assert len(prompts.named(["a", "b", "c"])) == 3
    with pytest.raises(LabelError, match="expected at most 3 labels, got 4"):
        prompts.named(["a", "b", "c", "d"])


def test_labels_of_a_shipped_set_are_in_class_order() -> None:
    labels = prompts.labels("cifar10")
    assert list(labels)[:3] == ["airplane", "automobile", "bird"]
    assert len(prompts.labels("imagenet")) == 1000
    assert prompts.labels("imagenet7") == prompts.labels("imagenet")


@pytest.mark.parametrize("name", ["imagenet", "imagenet7"])
def test_wordnet_ids_of_imagenet_give_its_labels(name: str) -> None:
    found = prompts.wnids(name)

    assert list(found.values()) == list(prompts.labels("imagenet"))
    assert found["n04008634"] == "projectile"


@pytest.mark.parametrize("name", ["cifar10", "photo", "imagenett"])
def test_wordnet_ids_of_other_sets_are_rejected(name: str) -> None:
    with pytest.raises(PromptError, match=f"'{name}'"):
        prompts.wnids(name)


def test_a_set_with_synonyms_has_all_of_them() -> None:
    happy = [names for label, names in prompts.labels("fer2013").items() if "happy" in label]
    assert happy
    assert len(happy[0]) > 1


def test_a_set_without_labels_lists_sets_with_labels() -> None:
    with pytest.raises(PromptError, match=r"'photo' has templates only; .*imagenet"):
        prompts.labels("photo")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "# pets\nDackel\n\nKätzchen\n"),
        ("a.csv", "Dackel\r\nKätzchen\r\n"),
        ("a.json", '["Dackel", "Kätzchen"]'),
        ("a.json", '{"labels": ["Dackel", "Kätzchen"]}'),
        ("a.toml", 'labels = ["Dackel", "Kätzchen"]'),
    ],
)
def test_labels_are_read_from_files_of_every_kind(
    name: str, content: str, encoding: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(content, encoding)
    assert prompts.labels(path) == {"Dackel": ["Dackel"], "Kätzchen": ["Kätzchen"]}
    assert prompts.labels(str(path)) == prompts.labels(path)


@pytest.mark.parametrize(
    "labels", [{"dog": ["a dog", "a hound"], "cat": "cat"}, [["dog", "hound"], "cat"]]
)
def test_files_can_contain_synonyms(labels: Any, tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"labels": labels}))
    names = {"dog": ["a dog", "a hound"]} if isinstance(labels, dict) else {"dog": ["dog", "hound"]}
    assert prompts.labels(path) == {**names, "cat": ["cat"]}


@pytest.mark.parametrize("labels", [["a", "a"], [1], [[]], [["a"], ["a", "b"]], [None], {"a": 1}])
def test_invalid_labels_in_a_file_raise_label_errors(labels: Any, tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"labels": labels}))
    with pytest.raises(LabelError):
        prompts.labels(path)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (["a", "a"], "duplicate label 'a'; remove one"),
        (["a", 1], "label 1 is int, expected text; correct the file"),
        ([[]], r"label \[\] is list, expected text"),
    ],
)
def test_a_duplicate_is_distinguished_from_a_value_that_is_not_text(
    labels: Any, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"labels": labels}))
    with pytest.raises(LabelError, match=says):
        prompts.labels(path)


def test_a_missing_label_file_is_named_with_the_working_folder(tmp_path: Path) -> None:
    for name in ("words.txt", "lists/words", Path("words")):
        with pytest.raises(PromptError, match=rf"no such label file: {name} \(working folder "):
            prompts.labels(name)
    with pytest.raises(PromptError, match=r"none\.txt; check the path"):
        prompts.labels(tmp_path / "none.txt")


@given(st.lists(st.text(max_size=8), max_size=6))
def test_any_labels_are_accepted_unchanged_or_rejected(labels: list[str]) -> None:
    try:
        found = prompts.named(labels)
    except LabelError:
        return
    assert list(found) == labels


def test_an_invalid_label_file_is_rejected_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text('["cat", ""]')
    with pytest.raises(LabelError, match=r"labels\.json: label '' is empty"):
        prompts.labels(path)
    path.write_text('{"cat": "a cat"}')
    with pytest.raises(
        PromptError, match=r'\["cat", \.\.\.\]\} or \{"labels": \{"cat": \["cat", "tabby"\]\}\}'
    ):
        prompts.labels(path)
    path.with_suffix(".txt").write_text("café", "latin-1")
    with pytest.raises(PromptError, match="not UTF-8"):
        prompts.labels(path.with_suffix(".txt"))


def test_the_path_of_a_label_file_is_distinguished_from_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("cat")
    with pytest.raises(LabelError, match=r"zeroshot\.prompts\.labels\('.*labels\.txt'\)"):
        prompts.named(str(path))


@pytest.mark.parametrize("read", [prompts.labels, prompts.get])
def test_a_local_file_with_the_name_of_a_set_is_mentioned(
    read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cifar10").write_text("a\nb\n")

    assert len(read("cifar10")) in (10, 18)
    assert "'cifar10' is both a set of the package and a local file" in caplog.text
    assert list(prompts.labels("./cifar10")) == ["a", "b"]


def test_background_words_are_distinct() -> None:
    words = prompts.background_words()

    assert len(words) == len({word.casefold() for word in words}) == 2483
    assert {"tench", "abbey", "banded", "baklava"} <= set(words)


def test_labels_of_a_file_can_be_read_unchecked(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text('["cat", "cat", ""]')

    assert prompts.read_labels(path) == ["cat", "cat", ""]
