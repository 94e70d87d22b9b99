"""`darkroom labels`: import decisions from Label Studio, FiftyOne and cleanlab, and export this run's labels to them.

A statement of another tool about an image becomes a row of `corrections.csv`. An image is found by its sha256 where the
file has one, otherwise by the end of its path. A suggestion that nobody has confirmed becomes `unsure`: the page shows
it under Not sure.
"""

import argparse
import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.core.progress import say
from darkroom.core.text import one_line, quoted
from darkroom.review.decisions import Change, DecisionLog, decided
from darkroom.review.evidence import gather
from darkroom.review.samples import Finder, Sample, Samples
from darkroom.splits.corrections import Correction

LOCAL_FILES = "/data/local-files/?d="  # where Label Studio finds a file below its document root
IDENTITIES = ("sha256", "id", "location", "filepath", "path", "image", "filename", "file")
LABELS = ("corrected_label", "new_label", "label", "ground_truth")
SHOWN = 3


@dataclass(frozen=True)
class Statement:
    """The label that a file gives one image, or only suggests (`suggested`).

    `looked_at`: whether a person is known to have seen it; False for a row of a list of all labels.
    """

    image: str
    label: str
    looked_at: bool
    suggested: bool = False
    note: str = ""


def read_statements(path: Path) -> list[Statement]:
    """Read a file of Label Studio (JSON), FiftyOne (JSON, CSV) or cleanlab (CSV). Raises DarkroomError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".csv":
            return list(_of_table(path, csv.DictReader(text.splitlines(keepends=True))))
        content = json.loads(text)
    except OSError as error:
        raise DarkroomError(f"{path}: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise DarkroomError(f"{path}, line {error.lineno}, column {error.colno}: {error.msg}; expected JSON") from error
    except (UnicodeDecodeError, RecursionError, csv.Error) as error:
        raise DarkroomError(f"{path}: {error}; expected JSON, or CSV in UTF-8") from error
    if isinstance(content, list) and all(isinstance(task, dict) for task in content):
        return [statement for number, task in enumerate(content, 1) for statement in _of_task(path, number, task)]
    if isinstance(content, dict) and isinstance(content.get("labels"), dict):
        return list(_of_fiftyone(path, content["labels"], content.get("classes")))
    raise DarkroomError(f"{path}: expected Label Studio's list of tasks, or FiftyOne's object with `labels`")


def _of_task(path: Path, number: int, task: dict[str, Any]) -> Iterator[Statement]:
    """Yield the label of a task of Label Studio, exported as JSON or JSON-MIN, unless nobody has finished it.

    Several choices for one image are a suggestion: a person has to choose.
    """
    try:
        data = task.get("data", task)
        image = str(data.get("sha256") or next((data[key] for key in ("image", "img", "url") if data.get(key)), ""))
        if "data" not in task:
            choices = [task[key] for key in ("choice", *LABELS) if isinstance(task.get(key), str)][:1]
        else:
            done = [one for one in task.get("annotations", []) if not one.get("was_cancelled")]
            results = done[-1].get("result", []) if done else []  # the last one is the newest
            choices = [str(choice) for result in results for choice in result.get("value", {}).get("choices", [])]
    except (AttributeError, TypeError) as error:
        raise DarkroomError(f"{path}: task {number} is not as Label Studio exports it (its object `data`, its lists "
                            "`annotations` and `result`); export it again as JSON") from error  # fmt: skip
    if choices:
        several = len(choices) > 1
        yield Statement(image, choices[0], True, several, f"Label Studio: {', '.join(choices)}" if several else "")


def _of_fiftyone(path: Path, labels: dict[str, Any], classes: Any) -> Iterator[Statement]:
    for image, target in labels.items():
        label = target.get("label") if isinstance(target, dict) else target
        if isinstance(label, int) and not isinstance(label, bool):
            if not isinstance(classes, list) or not 0 <= label < len(classes):
                wrong = f"{path}, label of {quoted(image)}: {quoted(label)}"
                raise DarkroomError(f"{wrong} is not the number of one of its `classes`")
            label = classes[label]
        if label:
            yield Statement(image, str(label), looked_at=False)


def _of_table(path: Path, rows: "csv.DictReader[str]") -> Iterator[Statement]:
    """Yield the labels of a table: of FiftyOne, or of cleanlab, whose rows with is_label_issue are suggestions."""
    columns = rows.fieldnames or []
    identity = next((name for name in IDENTITIES if name in columns), None)
    issues = "is_label_issue" in columns
    label = next((name for name in LABELS if name in columns), None)
    guess = next((name for name in ("predicted_label", "suggested_label") if name in columns), None)
    if not identity or not (label or (issues and guess)):
        found = one_line(", ".join(columns))[:200] or "missing"
        raise DarkroomError(
            f"{path}: its columns are {found}; expected one of {', '.join(IDENTITIES)}, and one of "
            f"{', '.join(LABELS)}, or is_label_issue with predicted_label"
        )
    for row in rows:
        cells = [cell for cell in row.values() if cell is not None]
        if None in row or len(cells) < len(columns):
            raise DarkroomError(f"{path}, line {rows.line_num}: {len(cells)} columns, expected {len(columns)}")
        image = row[identity]
        corrected = (row.get("corrected_label") or row.get("new_label") or "") if issues else row[label or ""]
        if corrected:
            yield Statement(image, corrected, looked_at=issues or label in ("corrected_label", "new_label"))
        elif issues and str(row["is_label_issue"]).strip().lower() in ("true", "1"):
            score = row.get("label_score") or row.get("label_quality") or ""
            other = row[guess or ""]
            yield Statement(image, other, False, True, f"cleanlab: {other}?" + (f" (score {score})" if score else ""))


def take(statements: list[Statement], samples: Samples, log: DecisionLog, by: str) -> list[str]:
    """Write `statements` as decisions by `by`; return what was done and what was not, a line each.

    Existing decisions stay. A label that only repeats the present one, in a list that does not say which images a
    person has looked at, is not a decision.
    """
    finder = Finder(samples)
    wanted: dict[str, Correction] = {}
    unknown: list[str] = []
    contradicted: set[str] = set()
    repeated = 0
    for statement in statements:
        sample = finder.find(statement.image)
        if sample is None:
            unknown.append(statement.image)
            continue
        index = samples.position[sample.id]
        if not statement.looked_at and not statement.suggested and statement.label == samples.label(index):
            repeated += 1
            continue
        change = Change(sample.id, "unsure" if statement.suggested else "relabel", statement.label, note=statement.note)
        try:
            row = decided(change, samples, index, by)
        except DarkroomError as error:
            named = f"{statement.image[:100]}: {quoted(statement.label)}"
            raise DarkroomError(f"{named} is not a label: {error}") from error
        assert row  # nothing is withdrawn
        if wanted.setdefault(row.key, row).outcome != row.outcome:
            contradicted.add(row.key)
    there = log.decided()
    kept = [key for key in wanted if key in there and there[key].outcome != wanted[key].outcome]
    fresh = {key: row for key, row in wanted.items() if key not in there and key not in contradicted}
    log.record(fresh)
    kinds = [row.decision for row in fresh.values()]
    relabelled, same, unsure = (kinds.count(kind) for kind in ("relabel", "keep", "unsure"))
    lines = [f"{log.path.name}: {len(fresh):,} decisions more: {relabelled:,} relabelled, {same:,} kept, {unsure:,} to "
             "look at (`darkroom review`, Not sure)"]  # fmt: skip
    if repeated:
        lines.append(f"{repeated:,} labels equal the present ones and are not marked as looked at: no decisions")
    for count, what, examples in (
        (len(unknown), "fit no image of this run, or several", unknown),
        (len(contradicted), "have two labels in the file, and none was taken", sorted(contradicted)),
        (len(kept), "were decided otherwise here before, which stays", kept),
    ):
        if count:
            lines.append(f"note: {count:,} {what}: {', '.join(one_line(one)[:60] for one in examples[:SHOWN])}"
                         + (", …" if count > SHOWN else ""))  # fmt: skip
    return lines


def label_studio(samples: Samples, out: Path) -> None:
    """Write the labels as tasks of Label Studio, with the files below its document root.

    The labels are predictions, which its page shows beforehand; what a person has submitted is an annotation.
    """
    files.write_json(out, [
        {"data": {"image": LOCAL_FILES + quote(sample.location), "sha256": sample.sha256},
         "predictions": [{"result": [{"from_name": "label", "to_name": "image", "type": "choices",
                                      "value": {"choices": [label]}}]}]}
        for _, sample, label in _labelled(samples)
    ])  # fmt: skip


def fiftyone(samples: Samples, out: Path) -> None:
    """Write the labels as FiftyOne's labels.json, by path without suffix. Raises DarkroomError where two are equal."""
    found: dict[str, str] = {}
    for _, sample, label in _labelled(samples):
        name = str(PurePosixPath(sample.location).with_suffix(""))
        if found.setdefault(name, label) != label:
            raise DarkroomError(f"{name} names two images, whose labels FiftyOne cannot tell apart; rename one of them")
    classes = sorted(set(found.values()))
    files.write_json(out, {"classes": classes, "labels": {name: classes.index(found[name]) for name in found}})


def cleanlab(samples: Samples, out: Path) -> None:
    """Write a table for cleanlab: labels, and out-of-fold probabilities in a column for each class."""
    evidence = [*gather(samples)][-1]
    rows = [[sample.sha256, sample.location, label, *(f"{share:.6f}" for share in evidence.probabilities[at])]
            for at, sample, label in _labelled(samples)]  # fmt: skip
    files.write_csv(out, ("sha256", "location", "label", *evidence.classes), rows)


FORMATS: dict[str, Callable[[Samples, Path], None]] = {
    "label-studio": label_studio, "fiftyone": fiftyone, "cleanlab": cleanlab,
}  # fmt: skip


def _labelled(samples: Samples) -> Iterator[tuple[int, Sample, str]]:
    """Yield the samples that have pixels and a label now, with their index and that label."""
    for index, sample in enumerate(samples.all[: samples.pictured]):
        if samples.label(index):
            yield index, sample, samples.label(index)


def main(arguments: list[str]) -> int:
    """Return 0: done."""
    parser = argparse.ArgumentParser(
        prog="darkroom labels",
        description="Take decisions about labels from Label Studio, FiftyOne or cleanlab into corrections.csv, or hand "
        "them the labels of this run.",
    )
    parser.add_argument("what", choices=("import", "export"))
    parser.add_argument("file", type=Path, metavar="FILE", help="to read (.json, .csv), or to write")
    parser.add_argument("--to", choices=FORMATS, help="of export: whose format")
    asked = parser.parse_args(arguments)
    if (asked.what == "export") != bool(asked.to):
        parser.error(f"export takes --to {', '.join(FORMATS)}; import finds out what a file is")
    samples = Samples(Path.cwd())
    log = DecisionLog(Path(samples.params["corrections"]))
    samples.apply(dict(log.decided()))
    if asked.what == "export":
        FORMATS[asked.to](samples, asked.file)
        say(f"{asked.file}: the labels of {sum(1 for _ in _labelled(samples)):,} images for {asked.to}")
        return 0
    for line in take(read_statements(asked.file), samples, log, f"import: {one_line(asked.file.name)}"[:100]):
        say(line)
    return 0
