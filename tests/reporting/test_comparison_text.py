import html
import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from markdown_it import MarkdownIt

from darkroom.metrics.predictions import Predictions
from darkroom.reporting.compare import as_markdown, as_text
from darkroom.reporting.comparison import compare
from darkroom.reporting.runs import Run, groups

ODD = ["[c](http://e)", "![i](x)", "*b*", "__init__", "`x`", "a``b`", "end\\", "a\\|b", "|", "<b>&amp;", "~~s~~", "#1",
       "http://e.org", "www.e.org", "$x$", " pad "]  # fmt: skip


def run(name: str, right: int, classes: list[str], params: dict[str, str]) -> Run:
    labels = np.arange(60) % 2
    sure = np.where(np.arange(60) < right, 0.9, 0.1)
    probabilities = np.where(labels[:, None] == [0, 1], sure[:, None], 1 - sure[:, None])
    return Run(name, params, {}, Predictions.of([f"{n:064x}" for n in range(60)], classes, labels, probabilities))


def shown(markdown: str) -> list[list[str]]:
    """Return the cells of every table row, as a reader sees them."""
    page = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown)
    rows = [
        re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)
        for row in re.findall("<tr>(.*?)</tr>", page, re.DOTALL)
    ]
    return [[html.unescape(re.sub("</?code>", "", cell)).replace("@\u200b", "@") for cell in row] for row in rows]


@pytest.mark.parametrize("name", ODD)
def test_any_name_of_a_class_or_value_of_a_param_is_shown_as_it_is(name):
    classes = [name, "other"]
    old, new = (
        run(side, right, classes, {"label_pattern": value}) for side, right, value in (("a", 30, name), ("b", 50, ""))
    )
    rows = shown(as_markdown(compare(old, new, {f"{40:064x}": name}), 20))
    assert ["label_pattern", name, "(empty)"] in rows
    per_class = next(row for row in rows if len(row) == 8 and row[0] == name.strip())
    assert per_class[1:3] == ["30", "15"]
    assert ["fixed", name.strip(), "other", name.strip(), name.strip()] in rows


def test_a_line_end_in_a_name_stays_in_its_row():
    old, new = (run(side, right, ["a\r\nb\u2028c", "d"], {}) for side, right in (("a", 30), ("b", 50)))
    assert any(row[0] == "a b c" and len(row) == 8 for row in shown(as_markdown(compare(old, new, {}), 20)))


def test_an_empty_value_is_seen_on_a_terminal_too():
    old, new = (run(side, 50, ["a", "b"], {"group_by": value}) for side, value in (("a", "x"), ("b", "")))
    assert "group_by  x    (empty)" in as_text(compare(old, new, {}), 20)


def test_images_of_one_group_count_as_one_and_that_is_said():
    old, new = run("old", 40, ["cat", "dog"], {}), run("new", 60, ["cat", "dog"], {})
    assert "exact McNemar p" in as_text(compare(old, new, {}), 20)
    groups = {sample: str(row // 20) for row, sample in enumerate(old.predictions.ids)}
    found = compare(old, new, {}, groups=groups)
    assert (found.groups, found.p, found.verdict) == (3, 1.0, "no evidence of a difference")
    assert "20 fixed, 0 broken" in as_text(found, 20)
    assert "exact sign flips of 3 groups, p = 1" in as_text(found, 20)


def test_groups_are_what_index_and_split_say(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/index.csv").write_text("id,group\na,bird\nb,bird\nc,\nd,\n")
    (tmp_path / "data/split.csv").write_text("id,split,fold,duplicate_of\na,test,,\nb,test,,\nc,test,,a\nd,test,,\n")
    assert groups(tmp_path) == {"a": "bird", "b": "bird", "c": "bird"}
    assert groups(tmp_path / "data") == {}


def test_the_groups_of_the_predictions_come_before_those_of_the_workspace():
    old, new = run("old", 40, ["cat", "dog"], {}), run("new", 60, ["cat", "dog"], {})
    known = [str(row // 10) for row in range(len(old.predictions))]
    grouped = replace(old, predictions=replace(old.predictions, groups=known))
    for pair in ((grouped, new), (replace(new, predictions=replace(new.predictions, groups=known)), old)):
        found = compare(*pair, {}, groups=dict.fromkeys(old.predictions.ids, "one"))
        assert found.groups == len(set(known))
    few = next(row for row in compare(grouped, new, {}).rows if row.name == "macro_f1")
    assert (few.low, few.high) == (None, None)  # of six groups
    assert all(row.p > 0.05 for row in compare(grouped, new, {}).classes)


def test_what_either_run_binds_together_flips_together():
    """The old run knows of two copies; the new one, by group_by, which patient each image is of."""
    old, new = run("old", 40, ["cat", "dog"], {}), run("new", 60, ["cat", "dog"], {})
    copies = ["copy" if row in (9, 10) else "" for row in range(60)]
    patients = [str(row // 10) if row < 50 else "" for row in range(60)]
    one = replace(old, predictions=replace(old.predictions, groups=copies))
    two = replace(new, predictions=replace(new.predictions, groups=patients))
    for pair in ((one, two), (two, one)):
        assert compare(*pair, {}).groups == 4 + 10  # patients 0 and 1 share a copy; ten images stand alone


def test_a_difference_that_is_the_same_at_every_image_has_no_interval():
    old, new = run("old", 0, ["cat", "dog"], {}), run("new", 60, ["cat", "dog"], {})
    rows = {row.name: (row.low, row.high) for row in compare(old, new, {}).rows}
    assert rows["log_loss"] == rows["brier"] == (None, None)
    assert rows["accuracy"][0] > 0.9
    assert "1 answer changed" in as_text(compare(old, run("new", 1, ["cat", "dog"], {}), {}), 20)


def answers(classes: list[str], labels: np.ndarray, wrong: int = 0) -> Predictions:
    """Answers of which the first `wrong` are the next class, each with a probability of 0.9."""
    shares = np.full((len(labels), len(classes)), 0.1 / (len(classes) - 1))
    answered = np.where(np.arange(len(labels)) < wrong, (labels + 1) % len(classes), labels)
    shares[np.arange(len(labels)), answered] = 0.9
    return Predictions.of([f"{n:064x}" for n in range(len(labels))], classes, labels, shares)


LABELS = np.arange(60) % 4
OLD = Run("old", {}, {}, answers(["ant", "bee", "cat", "dog"], LABELS))


@pytest.mark.parametrize(
    ("classes", "labels", "what"),
    [
        (["Ant", "bee", "cat", "dog"], LABELS, "ant is called Ant now"),
        (["a", "b", "c", "d"], LABELS, "ant is called a now; bee is called b now; cat is called c now; 1 more"),
        (
            ["bee", "dog", "insect"],
            np.array([2, 0, 2, 1])[LABELS],
            "ant is called insect now; cat is called insect now",
        ),
        (["bee", "cat", "dog"], np.array([0, 0, 1, 2])[LABELS], "ant is called bee now"),
    ],
)
def test_a_class_that_is_called_otherwise_now_or_joined_another_makes_no_difference(classes, labels, what):
    found = compare(OLD, Run("new", {}, {}, answers(classes, labels)), {})
    assert (found.fixed, found.broken, found.changed) == (0, 0, 0)
    assert f"Test set: {what}" in as_text(found, 5)
    loss = next(row for row in found.rows if row.name == "log_loss")
    assert loss.old == pytest.approx(loss.new, abs=0.04)  # of a class that has two probabilities


def test_images_of_a_class_that_the_old_run_does_not_know_are_counted():
    labels = np.where(np.arange(60) < 6, 4, LABELS)
    found = compare(OLD, Run("new", {}, {}, answers(["ant", "bee", "cat", "dog", "elk"], labels)), {})
    assert (
        "6 of these images are of a class that old cannot answer; 6 of these images have another label" in found.tested
    )


@pytest.mark.parametrize(
    ("margin", "says"),
    [
        (0.0, "better: accuracy +15.00 points"),
        (0.01, "better: accuracy +15.00 points"),
        (0.1, "no evidence of a difference beyond the margin: accuracy +15.00 points"),
        (0.2, "no evidence of a difference beyond the margin: accuracy +15.00 points"),
        (0.3, "no difference that matters: accuracy +15.00 points"),
    ],
)
def test_with_a_margin_it_is_about_the_margin(margin, says):
    old = replace(OLD, predictions=answers(OLD.predictions.classes, LABELS, wrong=9))
    found = compare(old, OLD, {}, margin)
    assert found.sentence.startswith(says)
    assert as_markdown(found, 5).splitlines()[0][6:].lower() == says.partition(":")[0]
    assert found.rows[0].verdict == ("better" if says.startswith("better") else "")
    assert ("more test images" in found.sentence) == (margin == 0.1)  # below the margin no number of images tells


def test_so_few_images_or_groups_that_nothing_could_be_seen_say_so():
    two = Run("old", {}, {}, answers(["cat", "dog"], np.array([0, 1])))
    assert compare(two, two, {}).sentence.endswith("p = 1); these images are too few to show any difference")
    one = compare(OLD, OLD, {}, groups=dict.fromkeys(OLD.predictions.ids, "one"))
    assert "exact sign flips of 1 group, p = 1" in as_text(one, 5)
    assert all(row.low is None for row in one.rows)


def test_a_change_of_data_beside_the_training_seed_is_not_called_chance_alone():
    seeds = [{"train_seed": 0}, {"train_seed": 1}]
    alike, fewer = (answers(OLD.predictions.classes, LABELS[:n]) for n in (60, 55))
    old, new = (Run(name, params, {}, alike) for name, params in zip(("old", "new"), seeds, strict=True))
    assert "only the training seed differs" in compare(old, new, {}).question
    assert "trained models" in compare(old, replace(new, predictions=fewer), {}).question
    assert compare(old, old, {}).question.startswith("No param or data differs, the training seed included")


@pytest.mark.parametrize("images", [1, 3, 10, 60])
@pytest.mark.parametrize("per_group", [1, 5, 60])
def test_odd_runs_get_sentences_and_intervals_that_agree(images, per_group):
    """All right, all wrong, unanswered, classes in another order: no crash, and no interval beside its number."""
    rng = np.random.default_rng(images)
    groups = [f"group {row // per_group}" for row in range(images)]
    for first, second, classes in product(["right", "wrong", "some", "none"], ["right", "wrong", "none"], [2, 7]):
        labels, order = rng.integers(0, classes, images), rng.permutation(classes)
        runs = []
        for kind in (first, second):
            wrong = {"right": 0, "wrong": images, "some": images // 3, "none": 0}[kind]
            made = answers([f"{number}" for number in range(classes)], labels, wrong)
            shares = np.where(kind == "none", np.nan, made.probabilities)
            columns = order if kind == second else np.arange(classes)
            names = [made.classes[number] for number in columns]
            where = np.argsort(columns)[labels]
            runs.append(Run(kind, {}, {}, Predictions.of(made.ids, names, where, shares[:, columns], groups)))
        found = compare(runs[0], runs[1], {})
        assert "nan" not in as_text(found, 5)
        accuracy = found.accuracy
        assert accuracy.low is None or (found.p > 0.05) == (accuracy.low <= 0 <= accuracy.high)
        for row in found.rows:
            assert row.low is None or row.low - 1e-6 <= row.difference <= row.high + 1e-6
