"""A head holds one unit vector per label and scores image embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import zeroshot
from tests.support import FakeEncoder
from zeroshot import Classifier, Head, PromptSet, prompts
from zeroshot.errors import HeadMismatch, LabelError, PromptError, TokenLimitError

TEMPLATES = PromptSet(("{}", "a photo of a {}.", "the {}, on green grass"), "mine")
LABELS = {"red": ["red", "crimson roof"], "blue": "blue", "gray": ["gray", "grey", "ash"]}


def plain_head(encoder: Any, labels: dict[str, Any], templates: Sequence[str]) -> torch.Tensor:
    """Normalize each sentence's embedding, average, normalize again; one sentence at a time."""
    rows = []
    for names in labels.values():
        embeddings = []
        for name in [names] if isinstance(names, str) else names:
            for template in templates:
                embedding = encoder.encode_text([template.replace("{}", name)])[0].double()
                embeddings.append(embedding / embedding.norm())
        mean = torch.stack(embeddings).mean(dim=0)
        rows.append(mean / mean.norm())
    return torch.stack(rows)


def test_a_head_equals_the_plain_loop_over_templates(encoder: FakeEncoder) -> None:
    head = Head.build(encoder, LABELS, TEMPLATES)
    wanted = plain_head(encoder, LABELS, TEMPLATES.templates)
    torch.testing.assert_close(head.weight.double(), wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["imagenet7", "photo", "fer2013"])
def test_a_head_of_a_model_equals_the_plain_loop(tiny: zeroshot.Model, name: str) -> None:
    labels = {"dog": ["dog", "hound"], "cat": "cat", "fire engine": "fire engine"}
    head = tiny.head(labels, name)
    wanted = plain_head(tiny, labels, prompts.get(name).templates)
    torch.testing.assert_close(head.weight.double(), wanted.cpu(), atol=1e-6, rtol=0)


def test_both_normalizations_change_the_head(tiny: zeroshot.Model) -> None:
    """Skipping the first or the second one gives another head, so the tests above would fail."""
    templates = prompts.get("imagenet7").templates
    raw = tiny.encode_text([t.replace("{}", "dog") for t in templates], normalize=False).cpu()
    assert raw.norm(dim=1).std() > 0.01 * raw.norm(dim=1).mean()  # lengths differ
    first_skipped = torch.nn.functional.normalize(raw.mean(dim=0), dim=0)
    second_skipped = torch.nn.functional.normalize(raw, dim=1).mean(dim=0)
    weight = tiny.head(["dog", "cat"], "imagenet7").weight[0]
    assert (weight - first_skipped).abs().max() > 1e-4
    assert (weight - second_skipped).abs().max() > 1e-4
    torch.testing.assert_close(weight.norm(), torch.tensor(1.0))


def test_one_name_and_one_template_give_the_sentence_embedding(encoder: FakeEncoder) -> None:
    head = Head.build(encoder, ["red", "blue"], "my {}")
    torch.testing.assert_close(head.weight, encoder.encode_text(["my red", "my blue"]))


def test_a_head_records_labels_templates_and_model(encoder: FakeEncoder) -> None:
    head = Head.build(encoder, LABELS, TEMPLATES)
    assert head.labels == ("red", "blue", "gray")
    assert head.names == (("red", "crimson roof"), ("blue",), ("gray", "grey", "ash"))
    assert (head.templates, head.prompts) == (TEMPLATES.templates, "mine")
    assert (head.model, head.logit_scale, head.logit_bias) == ("fake", 10.0, None)
    assert len(head) == 3
    assert repr(head) == "<Head of 3 labels, prompts 'mine', 3-d>"


def test_a_label_over_the_token_limit_is_named_with_its_count(tiny: zeroshot.Model) -> None:
    with pytest.raises(TokenLimitError, match=r"very very .* tokens") as caught:
        tiny.head(["cat", "very " * 200 + "long dog"])
    assert caught.value.tokens > 200
    assert "long dog" in caught.value.text


@pytest.mark.parametrize(
    ("labels", "templates", "error"),
    [
        ("cat", TEMPLATES, LabelError),
        ([], TEMPLATES, LabelError),
        (["a", "a"], TEMPLATES, LabelError),
        (["a"], "imagnet", PromptError),
        (["a"], ["no slot"], PromptError),
    ],
)
def test_invalid_labels_and_prompts_are_rejected_before_encoding(
    labels: Any, templates: Any, error: type[Exception]
) -> None:
    class Silent(FakeEncoder):
        def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
            raise AssertionError("asked")

    with pytest.raises(error):
        Head.build(Silent(), labels, templates)


def test_logits_are_scaled_cosines(encoder: FakeEncoder) -> None:
    head = Head.build(encoder, ["red", "green", "blue"], "{}")
    images = torch.nn.functional.normalize(torch.rand(5, 3), dim=1)
    logits = head.logits(images)
    assert logits.shape == (5, 3)
    for row in range(5):
        for column in range(3):
            cosine = float(images[row].double() @ head.weight[column].double())
            assert logits[row, column] == pytest.approx(10 * cosine, abs=1e-5)
    torch.testing.assert_close(head.logits(images[2]), logits[2])


def test_a_bias_is_added(encoder: FakeEncoder) -> None:
    head = Head.build(encoder, ["red", "green"], "{}")
    images = torch.nn.functional.normalize(torch.rand(5, 3), dim=1)
    biased = replace(head, logit_bias=-12.5)
    torch.testing.assert_close(biased.logits(images), head.logits(images) - 12.5)


def test_half_precision_embeddings_are_scored_in_float32(encoder: FakeEncoder) -> None:
    head = Head.build(encoder, ["red", "green"], "{}")
    assert head.logits(torch.rand(2, 3).half()).dtype == torch.float32


def test_select_keeps_the_given_labels_in_the_given_order(encoder: FakeEncoder) -> None:
    head = Head.build(encoder, LABELS, TEMPLATES)
    part = head.select(["gray", "red"])
    assert part.labels == ("gray", "red")
    assert part.names == (("gray", "grey", "ash"), ("red", "crimson roof"))
    torch.testing.assert_close(part.weight, head.weight[[2, 0]])
    assert part.model == head.model
    assert head.labels == ("red", "blue", "gray")


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (["pink"], "no label 'pink'; choose from 'red', 'blue'"),
        ("red", "expected labels to be a list, got str 'red'"),
        ([], "no labels given"),
        (["red", "red"], "duplicate label"),
    ],
)
def test_select_rejects_labels_it_cannot_select(
    encoder: FakeEncoder, labels: Any, says: str
) -> None:
    with pytest.raises(LabelError, match=says):
        Head.build(encoder, LABELS, TEMPLATES).select(labels)


def test_heads_of_one_model_can_be_concatenated(encoder: FakeEncoder) -> None:
    whole = Head.build(encoder, ["red", "green", "blue"], TEMPLATES)
    joined = Head.build(encoder, ["red", "green"], TEMPLATES) + Head.build(
        encoder, ["blue"], TEMPLATES
    )
    assert joined.labels == whole.labels
    assert joined.names == whole.names
    assert joined.templates == TEMPLATES.templates
    torch.testing.assert_close(joined.weight, whole.weight)


def test_concatenated_heads_record_both_prompt_sets(encoder: FakeEncoder) -> None:
    joined = Head.build(encoder, ["red"], TEMPLATES) + Head.build(encoder, ["blue"], "my {}")
    assert joined.templates == (*TEMPLATES.templates, "my {}")
    assert joined.prompts == "mine|custom"


@pytest.mark.parametrize("again", ["red", " red ", "red\t"])
def test_heads_that_share_a_label_cannot_be_concatenated(encoder: FakeEncoder, again: str) -> None:
    with pytest.raises(LabelError, match="select"):
        Head.build(encoder, ["red"], "{}") + Head.build(encoder, ["blue", again], "{}")


def test_heads_of_different_models_cannot_be_concatenated(encoder: FakeEncoder) -> None:
    head = Head.build(encoder, ["red"], "{}")
    with pytest.raises(HeadMismatch, match=r"'other'.*rebuild it"):
        replace(head, model="other") + Head.build(encoder, ["blue"], "{}")


def test_logits_of_a_head_are_differentiable(tiny: zeroshot.Model) -> None:
    """Weights are ordinary tensors, not inference tensors: autograd may save them."""
    head = tiny.head(["a cat", "a dog"])
    images = torch.rand(3, tiny.embed_dim, requires_grad=True)
    head.logits(images).sum().backward()
    assert images.grad is not None


# scoring and calibration


def test_softmax_probabilities_sum_to_one(encoder: FakeEncoder) -> None:
    head = Head.build(encoder, ["red", "green", "blue"])
    logits = head.logits(torch.nn.functional.normalize(torch.rand(5, 3), dim=1))

    probabilities = head.probabilities(logits)

    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(5))
    torch.testing.assert_close(probabilities, logits.softmax(dim=1))


def test_sigmoid_probabilities_are_independent(encoder: FakeEncoder) -> None:
    head = replace(Head.build(encoder, ["red", "green", "blue"]), scoring="sigmoid", logit_bias=-9)
    images = torch.nn.functional.normalize(torch.rand(5, 3), dim=1)

    probabilities = head.probabilities(head.logits(images))

    torch.testing.assert_close(probabilities, torch.sigmoid(head.logits(images)))
    part = head.select(["blue"])
    torch.testing.assert_close(part.probabilities(part.logits(images)), probabilities[:, 2:])
    assert part.scoring == "sigmoid"


def test_sigmoid_scores_of_a_classifier_do_not_sum_to_one(encoder: FakeEncoder) -> None:
    head = replace(Head.build(encoder, ["rrrr", "gggg"], "{}"), scoring="sigmoid")
    red = np.full((4, 4, 3), (250, 5, 5), np.uint8)

    prediction = Classifier(encoder, head)(red)

    assert prediction.label == "rrrr"
    assert sum(probability for _, probability in prediction.ranking) > 1.5


def test_the_scoring_is_that_of_the_encoder() -> None:
    class Sigmoid(FakeEncoder):
        scoring = "sigmoid"
        logit_bias = -12.0

    head = Head.build(Sigmoid(), ["red", "green"])

    assert (head.scoring, head.logit_bias, head.calibration) == ("sigmoid", -12.0, None)


def test_a_moved_head_keeps_everything_else(encoder: FakeEncoder) -> None:
    head = replace(Head.build(encoder, LABELS), inverse_temperature=2.0, scoring="sigmoid")

    moved = head.to("cpu")

    assert torch.equal(moved.weight, head.weight)
    assert (moved.labels, moved.inverse_temperature, moved.scoring) == (
        *(head.labels, head.inverse_temperature, head.scoring),
    )


def test_a_callers_autocast_does_not_round_logits(encoder: FakeEncoder) -> None:
    head = Head.build(encoder, ["red", "green"])
    embeddings = encoder.encode_text(["red", "blue"])
    expected = head.logits(embeddings)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = head.logits(embeddings)

    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


# none of these


@pytest.mark.parametrize("label", ["none of these", "None of These", "none_of_these"])
def test_a_label_named_as_the_class_of_none_is_rejected(encoder: FakeEncoder, label: str) -> None:
    assert Head.build(encoder, ["cat", label]).labels == ("cat", label)
    with pytest.raises(LabelError, match="is the name of the class that none_of_these=True adds"):
        Head.build(encoder, ["cat", label], none_of_these=True)


def test_labels_that_leave_no_background_word_are_rejected(encoder: FakeEncoder) -> None:
    words = list(zeroshot.prompts.background_words())
    with pytest.raises(LabelError, match="no background word is left, because all 2483 are close"):
        Head.build(encoder, words, none_of_these=True)


# temperature


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [(1.0, 1.0, 1.0), (4.0, 1.0, 4.0), (1.0, 4.0, 4.0), (4.0, 9.0, 6)],
)
def test_the_order_of_heads_does_not_change_the_temperature_of_both(
    encoder: FakeEncoder, first: float, second: float, wanted: float
) -> None:
    one = replace(Head.build(encoder, ["a"]), inverse_temperature=first)
    other = replace(Head.build(encoder, ["b"]), inverse_temperature=second)
    for both in (one + other, other + one):
        assert both.inverse_temperature == pytest.approx(wanted)
        assert both.has_temperature == (wanted != 1)
        assert not both.is_calibrated


def test_the_logistics_of_sigmoid_heads_are_averaged(encoder: FakeEncoder) -> None:
    one, other = (replace(Head.build(encoder, [n]), scoring="sigmoid") for n in ("a", "b"))
    fitted = replace(one, logistic=(4.0, -2.0))
    assert (fitted + other).logistic == (other + fitted).logistic == (4.0, -2.0)
    assert (fitted + replace(other, logistic=(9.0, -4.0))).logistic == (6.0, -3.0)
    assert fitted.select(["a"]).logistic == (4.0, -2.0)


def test_heads_of_different_scoring_cannot_be_concatenated(encoder: FakeEncoder) -> None:
    one = Head.build(encoder, ["a"])
    for scoring in ("sigmoid", "independent"):
        other = replace(Head.build(encoder, ["b"], none_of_these=True), scoring=scoring)  # type: ignore[arg-type]
        with pytest.raises(HeadMismatch, match="expected two heads of equal scoring, got"):
            one + other
        with pytest.raises(HeadMismatch, match="build both with the same scores="):
            other + one


def test_a_classifier_says_what_is_left_of_a_calibration(encoder: FakeEncoder) -> None:
    head = replace(Head.build(encoder, ["a", "b"]), inverse_temperature=2.0)
    assert "temperature kept, promises dropped" in repr(Classifier(encoder, head))  # type: ignore[arg-type]
