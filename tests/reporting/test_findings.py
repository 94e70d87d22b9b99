from typing import Any

import pytest

from darkroom.reporting import findings
from darkroom.reporting.confusion import Pair

CLASSES = ["ants", "bees", "wasps"]


def scores(**changed: Any) -> dict[str, Any]:
    """metrics/test.json of a good run, with some values changed."""
    test = {
        "n": 400, "accuracy": 0.95, "accuracy_low": 0.924, "accuracy_high": 0.967, "ece": 0.01, "ece_low": 0.0,
        "temperature": 1.2, "before_calibration": {"ece": 0.03}, "per_class": {},
        "baseline": {"majority": {"accuracy": 0.4}, "nearest_class_mean": {"accuracy": 0.9}},
    }  # fmt: skip
    return test | changed


FEW = scores(n=2, accuracy=1.0, accuracy_low=0.342, accuracy_high=1.0)


@pytest.mark.parametrize(
    ("test", "level", "start"),
    [
        (scores(), "good", "Yes, on images like these 400: the true share of right answers is between 92.4"),
        (FEW, "bad", "Not yet: 2 test images say little"),
        (scores(accuracy_low=0.39), "bad", "No: always answering with the commonest class is right for 40.0"),
        (scores(n=50, accuracy_low=0.7), "careful", "With care: 50 test images leave the true share"),
        (scores(ece=0.2), "careful", "Its answers, yes"),
        (
            scores(accuracy=0.07, accuracy_low=0.05, accuracy_high=0.1, baseline={}),
            "bad",
            "No: more of its answers are",
        ),
        (scores(accuracy_low=0.1, accuracy_high=0.3), "bad", "No: always answering with the commonest class is right"),
        (scores(groups=12, design_effect=8.0), "bad", "Not yet: 400 test images in 12 groups say little"),
        (scores(groups=80, design_effect=2.0), "good", "Yes, on images like these 400 in 80 groups: the true"),
        (scores(accuracy=None), "bad", "No test image has been answered"),
    ],
)
def test_trust_rests_on_images_baseline_interval_and_calibration(test, level, start):
    found = findings.trust(test)
    assert (found.level, found.sentence[: len(start)]) == (level, start)


def test_the_commonest_confusion_is_named_and_linked():
    found = findings.failures(scores(), [Pair(0, 1, 15, 100), Pair(1, 0, 5, 100)], CLASSES)
    assert (found.figure, found.sentence) == ("20 of 400", "15 of 20 errors call ants bees.")
    assert found.link == "#pictures?actual=0&answer=1"


@pytest.mark.parametrize(
    ("n", "pairs", "sentence"),
    [
        (37, [Pair(0, 1, 2, 19), Pair(1, 0, 2, 18)], "2 of 4 errors call ants bees, and 2 the other way round."),
        (40, [Pair(0, 1, 2, 9), Pair(1, 2, 2, 9), Pair(2, 0, 2, 9)], "No confusion stands out: the 6 errors mix up"),
        (
            40,
            [Pair(0, 2, 13, 15), Pair(1, 2, 12, 14), Pair(3, 2, 2, 3)],
            "27 of 27 errors answer wasps, whatever the image",
        ),
        (
            40,
            [Pair(0, 1, 9, 15), Pair(1, 2, 9, 15), Pair(2, 0, 9, 10)],
            "Throughout: 27 of 40 answers are wrong, and mix up",
        ),
        (
            6,
            [Pair(0, 1, 2, 2), Pair(1, 2, 2, 2)],
            "Throughout: 4 of 6 answers are wrong, and mix up 2 different pairs of classes.",
        ),
        (8, [Pair(0, 1, 1, 3), Pair(1, 2, 1, 3)], "Too few test images to say: the 2 errors mix up"),
    ],
)
def test_no_pair_is_called_the_commonest_where_others_are_as_common(n, pairs, sentence):
    said = findings.failures(scores(n=n), pairs, [*CLASSES, "flies"]).sentence
    assert said[: len(sentence)] == sentence


def test_a_single_error_is_named():
    assert findings.failures(FEW, [Pair(0, 1, 1, 2)], CLASSES).sentence == "The only error calls ants bees."


def test_without_a_main_confusion_the_hardest_class_is_named():
    test = scores(per_class={"wasps": {"recall": 0.5, "support": 40}, "ants": {"recall": 0.0, "support": 1}})
    spread = [Pair(2, 0, 3, 40), Pair(2, 1, 3, 40), *(Pair(number, number + 1, 1, 9) for number in range(3, 17))]
    assert findings.failures(test, spread, CLASSES).sentence.startswith("Most of all on wasps: 50.0")


def test_no_error_on_few_images_is_no_proof():
    found = findings.failures(FEW, [], CLASSES)
    assert found.level == "careful"
    assert "the true share of errors can still be 65.8" in found.sentence


def test_answers_that_are_no_numbers_come_first():
    assert "got no answer at all" in findings.failures(scores(unanswered=3), [Pair(0, 1, 1, 9)], CLASSES).sentence


def test_errors_of_no_pattern_are_not_called_few_where_most_answers_are_wrong():
    four = [Pair(0, 1, 1, 2), Pair(0, 2, 1, 2), Pair(1, 0, 1, 2), Pair(2, 0, 1, 2)]
    found = findings.failures(scores(n=6), four, CLASSES)
    assert (found.level, found.figure) == ("bad", "4 of 6")
    assert found.sentence == "Throughout: 4 of 6 answers are wrong, and mix up 4 different pairs of classes."
    found = findings.failures(scores(), four, CLASSES)
    assert found.sentence == "No confusion stands out: the 4 errors mix up 4 different pairs of classes."


@pytest.mark.parametrize(
    ("test", "train", "start"),
    [
        (FEW, {}, "Collect test images: to know the accuracy within 5 points takes about 139"),
        (
            scores(accuracy_low=0.7, design_effect=2.0),
            {},
            "Collect test images: to know the accuracy within 5 points takes",
        ),
        (scores(likely_label_errors=6), {}, "6 labels look wrong: look at them"),
        (scores(likely_label_errors=6, accuracy=0.4, baseline={}), {"train": {"accuracy": 0.5}}, "Learn more"),
        (scores(accuracy=0.64, baseline={"nearest_class_mean": {"accuracy": 0.68}}), {}, "Train otherwise"),
        (scores(), {"train": {"accuracy": 1.0}, "val": {"accuracy": 0.8}}, "Add images or a stronger `augment`"),
        (scores(), {"train": {"accuracy": 0.7}, "val": {"accuracy": 0.7}}, "Learn more: even training images"),
        (scores(per_class={"ants": {"support": 3}}), {}, "Collect images of ants"),
        (scores(), {}, "Try a change with `dvc exp run"),
    ],
)
def test_the_first_step_is_the_most_useful_one(test, train, start):
    assert findings.next_steps(test, train, [])[0].sentence.startswith(start)


def test_the_command_that_reviews_labels_is_named_where_there_is_one():
    assert "`darkroom review`" in findings.next_steps(scores(likely_label_errors=1), {}, ["review"])[0].sentence


def test_a_good_run_has_nothing_to_beware_of():
    assert findings.warnings(scores(), {}) == []


def test_training_that_bought_nothing_is_said():
    test = scores(accuracy=0.644, baseline={"nearest_class_mean": {"accuracy": 0.678}})
    (said,) = findings.warnings(test, {})
    assert said.startswith("Training bought nothing: the network before training")
    assert said.replace("\N{NO-BREAK SPACE}", " ").endswith("is right for 67.8 %, this classifier for 64.4 %.")


def test_nothing_could_be_bought_where_the_network_knew_all():
    assert not findings.gained_nothing(scores(accuracy=1.0, baseline={"nearest_class_mean": {"accuracy": 1.0}}))


def test_all_right_on_two_images_is_a_warning():
    (said,) = findings.warnings(FEW, {})
    assert said.replace("\N{NO-BREAK SPACE}", " ").startswith("100 % on 2 test images is not a result")
    assert findings.warnings(FEW, {}, after_trust=True) == []


def test_a_temperature_that_made_calibration_worse_is_said():
    (said,) = findings.warnings(scores(ece=0.08, ece_low=0.06, before_calibration={"ece": 0.05}), {})
    assert "made the calibration of the test images worse" in said
    assert "chance" not in said
    (said,) = findings.warnings(scores(ece=0.08, ece_low=0.04, before_calibration={"ece": 0.05}), {})
    assert "which may be chance on so few images" in said


def test_files_left_out_and_two_labels_of_one_image_are_said():
    said = findings.warnings(scores(), {"rejects": {"total": 1}, "label_conflicts": {"total": 2}})
    assert said == [
        "1 file could not be read and is left out.",
        "2 copies of an image stand under another label: one of the two labels is wrong.",
    ]


@pytest.mark.parametrize(("accuracy", "images"), [(0.5, 385), (0.9, 139), (1.0, 139)])
def test_images_for_an_interval_of_five_points(accuracy, images):
    assert findings.images_for(0.05, accuracy) == images


def test_a_promise_that_so_few_validation_images_cannot_keep_is_said():
    table = {
        "sets": {"asked": 0.99, "level": 0.95, "levels": [{"level": 0.95}]},
        "unknown": {"share": 0.01, "threshold": None},
        "answering": {"threshold": 2.0, "asked": {"accuracy": 0.98, "share": None}},
    }
    assert findings.warnings(table) == [
        "Sets of level 0.99 take 99 validation images or more; 0.95 is shown first.",
        "No picture is called unknown: an unknown_share of 0.01 takes 99 validation images.",
        "Every answer is uncertain: an answer_accuracy of 0.98 takes 49 validation images or more whose surest answers "
        "are right.",
    ]
    table["sets"] |= {"level": None, "levels": []}
    assert findings.warnings(table)[0] == "Sets of level 0.99 take 99 validation images or more; there are no sets."


def test_a_part_that_is_surely_worse_says_where_it_fails_unless_one_answer_does():
    part = ("column lux 0.6 to 256", 0.34, 56)
    found = findings.failures(scores(), [Pair(0, 1, 15, 100), Pair(1, 0, 5, 100)], CLASSES, part)
    assert found.sentence.replace("\N{NO-BREAK SPACE}", " ") == (
        "Most of all on column lux 0.6 to 256: 34.0 % of its 56 test images are right."
    )
    assert found.link == "#weak-spots"
    answers = [Pair(0, 3, 6, 100), Pair(1, 3, 6, 100), Pair(2, 3, 6, 100)]
    assert "whatever the image shows" in findings.failures(scores(), answers, [*CLASSES, "flies"], part).sentence
