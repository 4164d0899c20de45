"""MetaCLIP 2: the first end token is projected, and other tokenizers than CLIP's are used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import zeroshot
from tests.checkpoint import families_metaclip as family
from tests.checkpoint import forms
from tests.checkpoint.families import tensors_of
from tests.checkpoint.forms import write_json
from zeroshot.checkpoint import reader
from zeroshot.checkpoint.config_fields import Fields
from zeroshot.checkpoint.layouts import transformers
from zeroshot.checkpoint.reader import check_configs
from zeroshot.errors import IncompatibleWeights, TokenLimitError
from zeroshot.spec import Spec

SPECS = {"xlm-v": family.XLM_V, "mt5": family.MT5}
TEXTS = ["a photo of a cat", "dog", "", "fünf &amp; 東", "river tree"]
WRITERS = (family.write_open_clip, family.write_transformers)


def load(path: Path) -> zeroshot.Model:
    return zeroshot.load(path, device="cpu", dtype="float32")


@pytest.fixture(params=SPECS, scope="module")
def model(request: Any, tmp_path_factory: pytest.TempPathFactory) -> zeroshot.Model:
    folder = tmp_path_factory.mktemp("metaclip") / request.param
    return load(family.write_transformers(folder, SPECS[request.param]))


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_every_tensor_is_read_by_its_own_name(write: Any, spec: Spec, tmp_path: Path) -> None:
    tensors = tensors_of(spec)

    found = reader.read(write(tmp_path, spec, tensors))

    assert found.spec == spec
    state = found.network.state_dict()
    assert state.keys() == tensors.keys()
    assert [name for name in tensors if not torch.equal(state[name], tensors[name])] == []


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_identity_is_equal_in_both_layouts(spec: Spec, tmp_path: Path) -> None:
    first, second = (load(write(tmp_path / write.__name__, spec)) for write in WRITERS)

    assert first.identity == second.identity


def test_first_end_token_is_projected_although_it_is_not_the_largest_id(
    model: zeroshot.Model,
) -> None:
    rows = model.tokenizer(TEXTS)  # padded
    end = model.spec.network.text.pooled_id
    assert end is not None
    assert all(row.max() > end for row in rows[:2])

    with torch.no_grad():
        expected = F.normalize(model.network.text(torch.from_numpy(rows)), dim=1)

    assert torch.allclose(model.encode_text(TEXTS), expected, atol=1e-6)
    cosines = expected @ expected.T - 2 * torch.eye(len(TEXTS))
    assert cosines.max() < 0.99


def test_rows_have_no_padding_and_ids_after_the_end_change_nothing(model: zeroshot.Model) -> None:
    (row,) = model.tokenizer.rows(["a cat"])
    end = row[-1]
    padded = torch.tensor([row + [end] * 3, [*row, 5, end, 7]])

    with torch.no_grad():
        found = F.normalize(model.network.text(padded), dim=1)

    assert len(row) < family.LENGTH
    assert row.count(end) == 1
    assert torch.allclose(found, model.encode_text("a cat").expand(2, -1), atol=1e-6)


def test_many_texts_with_common_prefixes_equal_the_plain_tower(model: zeroshot.Model) -> None:
    words = ("cat", "dog", "river", "tree", "car", "red", "house", "photo")
    texts = [f"a {first} {second}" for first in words for second in words]

    with torch.no_grad():
        ids = torch.from_numpy(model.tokenizer(texts, truncate=True))
        expected = F.normalize(model.network.text(ids), dim=1)

    assert torch.allclose(model.encode_text(texts, truncate=True), expected, atol=1e-6)


def test_end_token_stays_in_a_text_that_is_cut(model: zeroshot.Model) -> None:
    text = "river tree dog cat " * 9

    with pytest.raises(TokenLimitError, match=f"the model reads {family.LENGTH}"):
        model.encode_text(text)
    (row,) = model.tokenizer.rows([text], truncate=True)

    assert (len(row), row[-1]) == (family.LENGTH, model.spec.network.text.pooled_id)


def test_name_of_the_end_token_in_a_text_is_text(model: zeroshot.Model) -> None:
    (row,) = model.tokenizer.rows(["a </s>"])

    assert row.count(row[-1]) == 1


def test_saved_model_contains_the_tokenizer(model: zeroshot.Model, tmp_path: Path) -> None:
    model.save(tmp_path / "saved.safetensors")

    found = load(tmp_path / "saved.safetensors")

    assert (found.spec, found.identity) == (model.spec, model.identity)
    assert torch.equal(found.encode_text(TEXTS), model.encode_text(TEXTS))


def test_end_id_2_means_the_largest_id_only_in_clip() -> None:
    documents = [forms.huggingface_config(forms.VIT) for _ in range(2)]
    for document in documents:
        document["text_config"]["eos_token_id"] = 2
    documents[1]["model_type"] = "metaclip_2"

    clip, metaclip = (transformers.network_of(Fields(each, "x")).text for each in documents)

    assert (clip.pool, clip.pooled_id) == ("largest", 49407)
    assert (metaclip.pool, metaclip.pooled_id) == ("end", 2)


@pytest.mark.parametrize("end", [None, 49407, 0, True, [2], "2"])
def test_end_id_of_an_unknown_tokenizer_is_rejected_by_its_field(end: Any, tmp_path: Path) -> None:
    folder = family.write_transformers(tmp_path)
    document = forms.huggingface_config(family.XLM_V) | {"model_type": "metaclip_2"}
    document["text_config"]["eos_token_id"] = end
    write_json(folder / "config.json", document)

    with pytest.raises(IncompatibleWeights, match=r"text_config\.eos_token_id is .*, expected 2 w"):
        reader.read(folder)


def test_config_says_that_a_tokenizer_file_is_needed(tmp_path: Path) -> None:
    for write in WRITERS:
        folder = write(tmp_path / write.__name__)
        assert check_configs(sorted(folder.glob("*config.json")))


def test_other_end_in_open_clips_config_than_that_of_the_tokenizer_is_rejected(
    tmp_path: Path,
) -> None:
    folder = family.write_open_clip(tmp_path)
    document = forms.open_clip_config(family.XLM_V)
    document["model_cfg"]["text_cfg"] |= {
        "hf_tokenizer_name": "facebook/xlm-v-base",
        "pool_type": "eos",
        "eos_id": 1,
    }
    write_json(folder / "open_clip_config.json", document)

    with pytest.raises(IncompatibleWeights, match="tokenizer end is 2, expected 1, the id that"):
        reader.read(folder)
