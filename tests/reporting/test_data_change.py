"""A change of the data in a comparison: what changed, and the same test images under one set of labels."""

import numpy as np
import pytest

from darkroom.metrics.predictions import Predictions
from darkroom.reporting.compare import as_markdown, as_text
from darkroom.reporting.comparison import compare
from darkroom.reporting.data_change import Image, difference
from darkroom.reporting.pairing import pair
from darkroom.reporting.runs import CompareError, Run

CLASSES = ["ant", "bee"]


def made(name: str, labels: str, answers: str, first: int = 0, classes: list[str] = CLASSES) -> Run:
    """Return a run whose test images, numbered from `first`, have labels and answers by the first letter of a class."""
    at = {one[0]: index for index, one in enumerate(classes)}
    p = np.full((len(answers), len(classes)), 0.1 / (len(classes) - 1))
    p[np.arange(len(answers)), [at[letter] for letter in answers]] = 0.9
    ids = [f"{number:064x}" for number in range(first, first + len(labels))]
    found = Predictions.of(ids, classes, np.array([at[letter] for letter in labels]), p)
    return Run(name, {}, {}, found)


def test_corrected_test_labels_judge_both_runs_and_the_labels_before_are_told_too():
    old = made("main", "aaaaabbbbb", "aaaaabbbba")
    new = made("workspace", "aaaaabbbba", "aaaaabbbba")
    found = compare(old, new, {})
    assert (found.fixed, found.broken) == (0, 0)
    assert found.accuracy.old == found.accuracy.new == 1.0
    assert "1 of these images has another label now" in found.tested
    assert "under the labels before, accuracy is 0.9000 → 0.9000" in found.tested
    assert f"Test set: {found.tested}." in as_text(found, 5)
    assert "Test set: 1 of these images has another label now" in as_markdown(found, 5)


def test_an_excluded_test_image_is_left_out_for_both():
    paired = pair(made("main", "aaaaabbbbb", "aaaaabbbbb"), made("workspace", "aaaabbbbb", "aaaabbbbb", first=1))
    assert len(paired.old) == len(paired.new) == 9
    assert (paired.only_old, paired.only_new, paired.relabelled) == (1, 0, 0)
    assert paired.old.ids == paired.new.ids


def test_a_class_that_only_one_run_knows_has_no_probability_in_the_other():
    new = made("workspace", "aaaaabbbbc", "aaaaabbbbc", classes=["ant", "bee", "cicada"])
    found = compare(made("main", "aaaaabbbbb", "aaaaabbbbb"), new, {})
    assert (found.fixed, found.broken) == (1, 0)
    assert [row.name for row in found.classes] == ["cicada"]
    paired = pair(made("main", "aaaaabbbbb", "aaaaabbbbb"), new)
    assert paired.old.classes == ["ant", "bee", "cicada"]
    assert paired.old.probabilities[:, 2].tolist() == [0.0] * 10
    back = pair(new, made("main", "aaaaabbbbb", "aaaaabbbbb"))
    assert (back.renamed, back.new.classes) == ({"cicada": "bee"}, ["ant", "bee"])


@pytest.mark.parametrize(
    ("labels", "first", "message"),
    [
        ("aaaaabbbbb", 3, r"7 in both, 3 only in main, 3 only in workspace; run one of them again"),
        ("bbbaabbbbb", 0, r"under the same labels: 3 of 10 have another label now, too many to be corrections"),
    ],
)
def test_other_questions_are_not_compared(labels, first, message):
    with pytest.raises(CompareError, match=message):
        compare(made("main", "aaaaabbbbb", "aaaaabbbbb"), made("workspace", labels, "aaaaabbbbb", first), {})


def test_the_change_of_the_data_is_counted_by_content():
    train, test = Image("train", "ant"), Image("test", "bee")
    old = {
        "kept": train,
        "fixed": train,
        "gone": train,
        "out": test,
        "moved": train,
        "copy": train,
        "was": Image("dropped", "ant"),
    }
    new = {
        "kept": train, "fixed": Image("train", "bee"), "out": Image("excluded", "bee"), "moved": Image("val", "ant"),
        "copy": Image("dropped", "ant"), "was": Image("dropped", "ant"), "new": train, "judge": test,
    }  # fmt: skip
    found = difference(old, new)
    assert found.in_words() == (
        "2 new images (1 train, 1 test), 1 relabelled (1 train), 1 excluded, 1 no longer there, "
        "1 copy of other images left out, 1 moved to another split"
    )
    assert difference(old, old).in_words() == ""
