"""Explain a run's numbers in sentences: whether to trust it, where it fails, what to do next, and warnings."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from darkroom.core.text import counted, percent
from darkroom.reporting.confusion import Pair

FEW_TESTED = 30  # test images below which an accuracy is hardly known
FEW_OF_A_CLASS = 10  # test images of a class below which its own scores are hardly known
WIDE = 0.2  # width from which the accuracy's 95 % interval is called wide
WORSE_CALIBRATED = 0.005  # rise of the calibration error from which it is worth a warning
CALIBRATED = 0.05  # calibration error up to which confidence is called right
OVERFITTED = 0.1  # lead of training over validation accuracy that is called overfitting
GOOD, CAREFUL, BAD, STEP = "good", "careful", "bad", "step"


@dataclass(frozen=True)
class Finding:
    """The answer to a question: how good it is, the figure behind it, one sentence, and where to read on."""

    question: str
    level: str
    figure: str
    sentence: str
    link: str
    link_text: str


def share(value: float | None) -> str:
    """Return 0.9876 as "98.8 %", unbroken at a line's end, and None as a dash."""
    return "–" if value is None else percent(value).replace(" ", "\N{NO-BREAK SPACE}")


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return the names in one line; of more than `most`, so many and the number of the others."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown


def trust(test: Mapping[str, Any]) -> Finding:
    """Answer whether the measured accuracy can be relied upon. `test` is metrics/test.json."""
    question, link = "Can I trust it?", ("#calibration", "How sure it is, and how right")
    if test.get("accuracy") is None:
        return Finding(question, BAD, "–", "No test image has been answered, so nothing is known.", *link)
    accuracy, low, high, n = test["accuracy"], test["accuracy_low"], test["accuracy_high"], test["n"]
    figure, span = share(accuracy), f"between {share(low)} and {share(high)}"
    groups = test.get("groups", n)
    grouped = f" in {counted(groups, 'group')}" if groups * 2 <= n else ""
    tested = counted(n, "test image") + grouped
    if groups < FEW_TESTED:
        verb = "says" if n == 1 else "say"
        few = f"Not yet: {tested} {verb} little; the true share of right answers may be anywhere {span}."
        return Finding(question, BAD, figure, few, "#numbers", "All numbers")
    majority = test.get("baseline", {}).get("majority", {}).get("accuracy")
    if majority is not None and low <= majority:
        than = "within this one's interval" if majority <= high else "which is more"
        same = f"No: always answering with the commonest class is right for {share(majority)}, {than}."
        return Finding(question, BAD, figure, same, "#training", "What training bought")
    if accuracy < 0.5:
        mostly = f"No: more of its answers are wrong than right; the true share of right ones is {span}."
        return Finding(question, BAD, figure, mostly, *link)
    if _wide(test):
        wide = f"With care: {tested} leave the true share of right answers anywhere {span}."
        return Finding(question, CAREFUL, figure, wide, *link)
    error = test.get("ece")
    if error is not None and error > CALIBRATED:
        off = f"Its answers, yes: the true share is {span}. Its confidence is off by {share(error)} on average."
        return Finding(question, CAREFUL, figure, off, *link)
    sure = "" if error is None else f", and its confidence is off by only {share(error)} on average"
    yes = f"Yes, on images like these {n:,}{grouped}: the true share of right answers is {span} (95 % interval){sure}."
    return Finding(question, GOOD, figure, yes, *link)


def failures(
    test: Mapping[str, Any], pairs: Sequence[Pair], classes: Sequence[str], part: tuple[str, float, int] | None = None
) -> Finding:
    """Answer where the classifier fails; `pairs` are confusion.pairs of its answers to the test set.

    `part`: a part of the test set that is surely worse than the rest, with its accuracy and images; None without one.
    """
    question, n = "Where does it fail?", test.get("n", 0)
    unanswered = test.get("unanswered", 0)
    wrong = sum(pair.count for pair in pairs) + unanswered
    if not n:
        return Finding(question, BAD, "–", "No test image has been answered.", "#data", "The data")
    if not wrong:
        still = share(1 - test["accuracy_low"])
        possible = f"On no test image; with {n:,} of them the true share of errors can still be {still}."
        return Finding(
            question, GOOD if n >= FEW_TESTED else CAREFUL, f"0 of {n:,}", possible, "#pictures", "Its answers"
        )
    figure, level = f"{wrong:,} of {n:,}", CAREFUL if wrong * 2 < n else BAD
    if unanswered * 2 >= wrong:
        none = f"{counted(unanswered, 'test image')} got no answer at all: the network's output is not a number."
        return Finding(question, BAD, figure, none, "#pictures", "These images")
    _, count = _one_answer(pairs)
    if part and count * 2 <= wrong:
        name, accuracy, images = part
        sentence = f"Most of all on {name}: {share(accuracy)} of its {counted(images, 'test image')} are right."
        return Finding(question, level, figure, sentence, "#weak-spots", "Parts of the test set")
    sentence, link = _where(test, pairs, classes, wrong)
    return Finding(question, level, figure, sentence, f"#pictures?{link}", "These images")


def _where(test: Mapping[str, Any], pairs: Sequence[Pair], classes: Sequence[str], wrong: int) -> tuple[str, str]:
    """Return what most of the `wrong` answers have in common, as a sentence, and the filter that shows them."""
    errors, first, most_wrong = counted(wrong, "error"), pairs[0], wrong * 2 >= test["n"]
    answer, count = _one_answer(pairs)
    if count * 2 > wrong > 2:
        return (
            f"{count:,} of {errors} answer {classes[answer]}, whatever the image shows.",
            f"answer={answer}&show=wrong",
        )
    others = [pair for pair in pairs[1:] if (pair.actual, pair.answer) != (first.answer, first.actual)]
    alone = not others or others[0].count < first.count
    if first.count * 4 >= wrong and (first.count > 1 or wrong == 1) and alone:
        back = sum(pair.count for pair in pairs[1:]) - sum(pair.count for pair in others)
        which = "The only error calls" if wrong == 1 else f"{first.count:,} of {errors} call"
        reverse = f", and {back:,} the other way round" if back * 2 >= first.count else ""
        return (
            f"{which} {classes[first.actual]} {classes[first.answer]}{reverse}.",
            f"actual={first.actual}&answer={first.answer}",
        )
    weak = hardest(test)
    if weak and weak[1] < 0.9 and not most_wrong:
        name, recall, support = weak
        return (
            f"Most of all on {name}: {share(recall)} of its {counted(support, 'test image')} are recognised.",
            f"actual={list(classes).index(name)}&show=wrong",
        )
    mixed = f"mix up {counted(len(pairs), 'different pair')} of classes."
    if most_wrong:
        return f"Throughout: {wrong:,} of {counted(test['n'], 'answer')} are wrong, and {mixed}", "show=wrong"
    if test["n"] < FEW_TESTED:
        return f"Too few test images to say: the {errors} {mixed}", "show=wrong"
    return f"No confusion stands out: the {errors} {mixed}", "show=wrong"


def _one_answer(pairs: Sequence[Pair]) -> tuple[int, int]:
    """Return the answer that most errors of three classes or more give, and their number; (-1, 0) without one."""
    counts: dict[int, list[int]] = {}
    for pair in pairs:
        counts.setdefault(pair.answer, []).append(pair.count)
    found = [(sum(parts), answer) for answer, parts in counts.items() if len(parts) > 2]
    count, answer = max(found, default=(0, -1))
    return answer, count


def _wide(test: Mapping[str, Any]) -> bool:
    """Return whether the interval of the accuracy leaves much open."""
    return bool(test["accuracy_high"] - test["accuracy_low"] > WIDE)


def hardest(test: Mapping[str, Any]) -> tuple[str, float, int] | None:
    """Return the class of the lowest recall among those with enough test images, with recall and images."""
    known = [
        (row["recall"], name, row["support"])
        for name, row in test.get("per_class", {}).items()
        if row.get("recall") is not None and row["support"] >= FEW_OF_A_CLASS
    ]
    return (min(known)[1], min(known)[0], min(known)[2]) if known else None


def next_steps(test: Mapping[str, Any], train: Mapping[str, Any], commands: Sequence[str]) -> list[Finding]:
    """Answer what to do next, the most useful first; never empty. `commands` are those that `darkroom` has."""
    question = "What do I do next?"
    found = []
    n, accuracy = test.get("n", 0), test.get("accuracy")
    if accuracy is not None and (n < FEW_TESTED or _wide(test)):
        need = math.ceil(images_for(0.05, accuracy) * test.get("design_effect", 1))
        text = f"Collect test images: to know the accuracy within 5 points takes about {need:,} of them."
        found.append(Finding(question, STEP, f"{n:,} → {need:,}", text, "#data", "Images of each class"))
    suspects, labels = test.get("likely_label_errors", 0), []
    if suspects:
        look = "`darkroom review`" if "review" in commands else "look at them, and correct or `exclude` them"
        text = f"{counted(suspects, 'label')} {'looks' if suspects == 1 else 'look'} wrong: {look}."
        labels.append(Finding(question, STEP, f"{suspects:,}", text, "#pictures?show=suspect", "These labels"))
    doubtful = accuracy is not None and accuracy < 0.5  # most of these are then errors of the model
    found += [] if doubtful else labels
    if gained_nothing(test):
        text = "Train otherwise: a lower `lr`, or another `backbone` or `weights`; this training gained nothing."
        found.append(Finding(question, STEP, share(accuracy), text, "#training", "What training bought"))
    gap = overfitting(train)
    if gap:
        lead = f"{100 * gap:.0f} points better than new ones"
        text = f"Add images or a stronger `augment`: training images are answered {lead}."
        found.append(Finding(question, STEP, share(gap), text, "#training", "Learning curves"))
    learned = train.get("train", {}).get("accuracy")
    if learned is not None and learned < 0.9 and not gap:
        text = (
            f"Learn more: even training images are right for {share(learned)} only; thaw the backbone or train longer."
        )
        found.append(Finding(question, STEP, share(learned), text, "#training", "Learning curves"))
    few = [name for name, row in test.get("per_class", {}).items() if row.get("support", 0) < FEW_OF_A_CLASS]
    if few and n >= FEW_TESTED:
        text = f"Collect images of {listed(few, 3)}: fewer than {FEW_OF_A_CLASS} of each were tested."
        found.append(Finding(question, STEP, counted(len(few), "class"), text, "#classes", "Each class"))
    found += labels if doubtful else []
    text = "Try a change with `dvc exp run -S lr=…`, and ask `darkroom compare` whether it is really better."
    found.append(Finding(question, STEP, "Compare", text, "#numbers", "All numbers"))
    return found


def warnings(test: Mapping[str, Any], data: Mapping[str, Any] | None = None, after_trust: bool = False) -> list[str]:
    """Return warnings about the numbers, a sentence each. `data` is metrics/data.json.

    `after_trust`: leave out what `trust` has said.
    """
    found = []
    n, accuracy = test.get("n", 0), test.get("accuracy")
    if accuracy is not None and n < FEW_TESTED and not after_trust:
        found.append(
            f"{share(accuracy)} on {counted(n, 'test image')} is not a result: the 95 % interval reaches from"
            f" {share(test['accuracy_low'])} to {share(test['accuracy_high'])}."
        )
    if gained_nothing(test):
        before = test["baseline"]["nearest_class_mean"]["accuracy"]
        found.append(
            f"Training bought nothing: the network before training, which answers with the nearest class mean, is right"
            f" for {share(before)}, this classifier for {share(accuracy)}."
        )
    before, after = test.get("before_calibration", {}).get("ece"), test.get("ece")
    if before is not None and after is not None and after - before >= WORSE_CALIBRATED:
        chance = test.get("ece_low") is None or test["ece_low"] <= before
        found.append(
            f"The temperature {test['temperature']:.2f}, fitted on the validation images, made the calibration of the"
            f" test images worse: its error rose from {share(before)} to {share(after)}"
            f"{', which may be chance on so few images' if chance else ''}."
        )
    if test.get("unanswered"):
        found.append(f"{counted(test['unanswered'], 'test image')} got no answer, and count as wrong.")
    found += _promises(test)
    data = data or {}
    rejects = data.get("rejects", {}).get("total", 0)
    if rejects:
        found.append(f"{counted(rejects, 'file')} could not be read and {'is' if rejects == 1 else 'are'} left out.")
    conflicts = data.get("label_conflicts", {}).get("total", 0)
    if conflicts:
        what = "copy of an image stands" if conflicts == 1 else "copies of an image stand"
        found.append(f"{conflicts:,} {what} under another label: one of the two labels is wrong.")
    return found


def _promises(test: Mapping[str, Any]) -> list[str]:
    """Return which requirements of params.yaml the validation images are too few for, a sentence each."""
    found = []
    sets, unknown, answering = (test.get(block, {}) for block in ("sets", "unknown", "answering"))
    levels = [row["level"] for row in sets.get("levels", [])]
    if sets.get("asked") is not None and sets["asked"] not in levels:
        need = math.ceil(round(1 / (1 - sets["asked"]), 6)) - 1
        shown = f"{sets['level']:g} is shown first" if levels else "there are no sets"
        found.append(f"Sets of level {sets['asked']:g} take {need:,} validation images or more; {shown}.")
    if unknown and unknown["threshold"] is None:
        need = math.ceil(round(1 / unknown["share"], 6)) - 1
        found.append(
            f"No picture is called unknown: an unknown_share of {unknown['share']:g} takes {need:,} validation images."
        )
    if answering.get("threshold") is not None and answering["threshold"] > 1:
        wanted = answering["asked"]["accuracy"]
        need = math.ceil(round(1 / (1 - wanted), 6)) - 1
        found.append(
            f"Every answer is uncertain: an answer_accuracy of {wanted:g} takes {need:,} validation images or more "
            "whose surest answers are right."
        )
    return found


def gained_nothing(test: Mapping[str, Any]) -> bool:
    """Return whether the classifier is not better than the network before training."""
    before = test.get("baseline", {}).get("nearest_class_mean", {}).get("accuracy")
    return before is not None and test.get("accuracy") is not None and 1 > before >= test["accuracy"]


def overfitting(train: Mapping[str, Any]) -> float | None:
    """Return the lead of the accuracy in training over that in validation where it is large, otherwise None."""
    parts = [train.get(part, {}).get("accuracy") for part in ("train", "val")]
    if None in parts or parts[0] - parts[1] < OVERFITTED:
        return None
    return float(parts[0] - parts[1])


def images_for(half_width: float, accuracy: float) -> int:
    """Return how many test images give the accuracy's 95 % interval this half width (normal approximation).

    An accuracy near 0 or 1, measured on few images, is uncertain: it is taken to be 0.1 to 0.9.
    """
    p = min(max(accuracy, 0.1), 0.9)
    return math.ceil(1.96**2 * p * (1 - p) / half_width**2)
