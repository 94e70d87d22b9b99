"""Apply decisions about labels: `corrections.csv`, a file in Git with one decision per row.

A decision is found by the sha256 of the file's bytes, so it holds when files are moved or renamed, and for every copy.
Neither the source nor the split of an image changes. What differs from the source's labels is written to one JSON file
per split, which `darkroom.images.shards.Shards` applies to its labels: `classes`, all that remain, sorted; `changes`,
the new label by id, null for an excluded sample.

A decision that another one has replaced, or that was withdrawn, stays in its line, marked as replaced (`replaced
exclude`): it has no effect, and undoing the later one brings it back.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from darkroom.core import files
from darkroom.core.errors import REASONS, SourceError
from darkroom.core.text import one_line, quoted, without_controls

COLUMNS = ("sha256", "id", "decision", "was", "becomes", "by", "when", "note")
DECISIONS = ("keep", "relabel", "exclude", "unsure")
SPLITS = ("train", "val", "test")
REPLACED = "replaced "  # before the decision of a row that another row has replaced
ONLY_TRAINS = "added"  # the official split of photos that were labelled later (darkroom.sources.index)
CONFLICT = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")
MERGED = "a merge left its conflict here; keep the lines that are right, delete the marks"
SHA256 = re.compile("[0-9a-f]{64}")
SHOWN = 5


@dataclass(frozen=True)
class Correction:
    """One decision.

    `was`: the label that the person saw; `becomes`: the new label of a relabelled image; `by`: who or what proposed it;
    `when`: ISO 8601 in UTC; `line`: line of the file, from 1; `replaced`: another row has replaced this one.
    """

    sha256: str
    id: str
    decision: str
    was: str
    becomes: str
    by: str
    when: str
    note: str
    line: int = 0
    replaced: bool = False

    @property
    def key(self) -> str:
        """The image's sha256, or its id where the row has no sha256."""
        return self.sha256 or self.id

    @property
    def outcome(self) -> tuple[str, str]:
        """The effect, (kind, new label): decisions with equal outcomes do not contradict each other."""
        return (self.decision, self.becomes) if self.decision in ("relabel", "exclude") else ("keep", "")

    def row(self) -> list[str]:
        """Return the cells in the order of COLUMNS."""
        cells = {column: getattr(self, column) for column in COLUMNS}
        return list((cells | {"decision": REPLACED * self.replaced + self.decision}).values())


@dataclass
class Applied:
    """The effect of the corrections.

    `changes`: the new label by id, for each split, "" for an excluded sample; `classes`: all that remain, sorted;
    `notes`: one line each.
    """

    changes: dict[str, dict[str, str]]
    classes: list[str]
    counts: dict[str, int]
    notes: list[str] = field(default_factory=list)


def read_corrections(path: Path) -> list[Correction]:
    """Return the decisions in `path` in order, with the replaced ones. Raises SourceError with line and column."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise SourceError(f"{path} does not exist; expected a table with the columns {', '.join(COLUMNS)}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SourceError(
            f"{path}, line {line} is not UTF-8 (byte {error.start}); save the file as CSV in UTF-8"
        ) from error
    except OSError as error:
        raise SourceError(f"{path}: {REASONS.get(error.errno or 0, error.strerror)}") from error
    rows = csv.reader(io.StringIO(text, newline=""))
    try:
        header = next(rows, [])
    except csv.Error as error:
        raise SourceError(f"{path}, line 1: {error}; expected the columns {', '.join(COLUMNS)}") from error
    if tuple(header) != COLUMNS:
        _reject_header(path, header)
    return list(_corrections(path, rows))


def write_corrections(path: Path, corrections: Iterable[Correction]) -> None:
    """Write the decisions atomically and durably, in the given order."""
    files.write_csv(path, COLUMNS, (correction.row() for correction in corrections), durable=True)


def decisions(corrections: Iterable[Correction], path: Path) -> dict[str, Correction]:
    """Return the decision about each sha256 (or id, where a row has no sha256), without the replaced ones.

    Equal decisions of several people are fine. Raises SourceError where they contradict each other: a person has to
    choose, not the order of lines. A row that is there as replaced too, since a merge kept both, counts only alone.
    """
    rows = list(corrections)
    replaced = {tuple(replace(row, replaced=False).row()) for row in rows if row.replaced}
    present = [row for row in rows if not row.replaced]
    if replaced:
        newer = {row.key for row in present if tuple(row.row()) not in replaced}
        present = [row for row in present if row.key not in newer or tuple(row.row()) not in replaced]
    found: dict[str, Correction] = {}
    for correction in present:
        other = found.setdefault(correction.key, correction)
        _one_of([other, correction], path)
    return found


def _one_of(rows: list[Correction], path: Path) -> Correction | None:
    """Return the first of the decisions about one image, None without any. Raises SourceError for contradictions."""
    for other in rows[1:]:
        if other.outcome != rows[0].outcome:
            raise SourceError(
                f"{path}, lines {rows[0].line} and {other.line} decide differently about {rows[0].key[:12]}: "
                f"{_in_words(rows[0])}, and {_in_words(other)}; delete one of the two lines"
            )
    return rows[0] if rows else None


def apply(
    corrections: list[Correction], path: Path, index: Iterable[Mapping[str, Any]], split: Mapping[str, str],
    rejects: Collection[str] = (),
) -> Applied:  # fmt: skip
    """Return the effect of `corrections`, read from `path`, on the samples of `index` that have a `split`, by id.

    `rejects`: the sha256 of files that could not be decoded. Raises SourceError for contradictions, and where a class
    is left without a training image.
    """
    by_content = decisions(corrections, path)
    changes: dict[str, dict[str, str]] = {name: {} for name in SPLITS}
    labels: dict[str, Counter[str]] = {name: Counter() for name in SPLITS}
    used: set[str] = set()
    stale: list[Correction] = []
    for row in index:
        name = split.get(row["id"])
        found = [by_content[key] for key in dict.fromkeys((row["sha256"], row["id"])) if key in by_content]
        decided = _one_of(found, path)
        used.update(one.key for one in found)
        if name not in changes or row["sha256"] in rejects:
            continue
        kind, becomes = decided.outcome if decided else ("keep", "")
        if decided and kind == "relabel" and row["label"] not in (decided.was, becomes):
            stale.append(decided)
        if kind == "exclude":
            changes[name][row["id"]] = ""
        elif kind == "relabel" and becomes != row["label"]:
            changes[name][row["id"]] = becomes
            labels[name][becomes] += 1
        else:
            labels[name][row["label"]] += 1
    classes = sorted(set().union(*labels.values()))
    new = [label for changed in changes.values() for label in changed.values()]
    counts = {"decisions": len(by_content), "relabelled": len(new) - new.count(""), "excluded": new.count("")}
    applied = Applied(changes, classes, counts)
    _check_classes(path, classes, labels["train"])
    _note(applied, path, [one for key, one in by_content.items() if key not in used], stale)
    return applied


def write_labels(folder: Path, applied: Applied) -> None:
    """Write `{train,val,test}.json` into `folder`."""
    for name, changed in applied.changes.items():
        changes = {sample: label or None for sample, label in changed.items()}
        files.write_json(folder / f"{name}.json", {"classes": applied.classes, "changes": changes})


def is_label(text: str) -> bool:
    """Return whether a label is valid: not empty, without control characters, and without a space at either end."""
    return bool(text) and text.strip() == text == without_controls(text)


def _reject_header(path: Path, header: list[str]) -> NoReturn:
    """Raise SourceError that says what the first line holds in place of COLUMNS."""
    if header and header[0].startswith(CONFLICT):
        raise SourceError(f"{path}, line 1: {MERGED}")
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        if mark.join(COLUMNS) in header:
            raise SourceError(f"{path}, line 1: {name} divide the columns; save the table as CSV with commas, in UTF-8")
    found = ", ".join(one_line(cell) for cell in header)[:100] or "missing"
    raise SourceError(f"{path}, line 1: the columns are {found}, expected {', '.join(COLUMNS)}")


def _corrections(path: Path, rows: Any) -> Iterator[Correction]:
    """Yield one decision per line. A line end within a cell means a quote left open, which would swallow decisions."""
    while True:
        line = rows.line_num + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise SourceError(f"{path}, line {line}: {error}; close the quotes of this line, or shorten it") from error
        if row is None:
            return
        broken = next((at for at, cell in enumerate(row) if "\n" in cell or "\r" in cell), None)
        if broken is not None:
            column = COLUMNS[broken] if broken < len(COLUMNS) else str(broken + 1)
            where = f"{path}, line {line}, column {column}"
            raise SourceError(f"{where}: a quote is opened, and not closed on its line; close it")
        if row:
            yield _correction(path, line, row)


def _correction(path: Path, line: int, row: list[str]) -> Correction:
    where = f"{path}, line {line}"
    if row[0].startswith(CONFLICT):
        raise SourceError(f"{where}: {MERGED}")
    if len(row) != len(COLUMNS):
        raise SourceError(f"{where}: {len(row)} columns, expected {len(COLUMNS)}: {', '.join(COLUMNS)}")
    cells = dict(zip(COLUMNS, row, strict=True))
    replaced = cells["decision"].startswith(REPLACED)
    cells["decision"] = cells["decision"].removeprefix(REPLACED)
    if cells["decision"] not in DECISIONS:
        raise SourceError(
            f"{where}, column decision: {quoted(cells['decision'])}, expected one of {', '.join(DECISIONS)}"
        )
    if not (cells["sha256"] or cells["id"]):
        raise SourceError(f"{where}: neither sha256 nor id says which image is meant; give one of them")
    if cells["sha256"] and not SHA256.fullmatch(cells["sha256"]):
        wrong = quoted(cells["sha256"])
        raise SourceError(f"{where}, column sha256: {wrong}, expected 64 hexadecimal digits, a to f in small letters")
    if (cells["decision"] == "relabel") != bool(cells["becomes"]):
        expected = "the new label" if cells["decision"] == "relabel" else f"nothing, for {cells['decision']}"
        raise SourceError(f"{where}, column becomes: {quoted(cells['becomes'])}, expected {expected}")
    becomes = cells["becomes"]
    if becomes and not is_label(becomes):
        raise SourceError(
            f"{where}, column becomes: {quoted(becomes)} has a control character or a space at an end; remove it"
        )
    return Correction(**cells, line=line, replaced=replaced)


def _check_classes(path: Path, classes: list[str], train: Counter[str]) -> None:
    missing = [name for name in classes if not train[name]]
    if missing:
        raise SourceError(
            f"{path}: no training image is left of {', '.join(missing[:SHOWN])}; a class needs at least one: "
            "undo a correction, or exclude the class's images in val and test, too"
        )
    if len(classes) < 2:
        raise SourceError(f"{path}: the corrections leave {len(classes)} class; a classifier needs two")


def _note(applied: Applied, path: Path, unused: list[Correction], stale: list[Correction]) -> None:
    if unused:
        lines = ", ".join(str(one.line) for one in unused[:SHOWN]) + (", …" if len(unused) > SHOWN else "")
        applied.notes.append(f"{len(unused)} of the decisions in {path} fit no image of the source (lines {lines})")
    if stale:
        one = stale[0]
        applied.notes.append(
            f"{len(stale)} images have another label in the source than when they were corrected (line {one.line} of "
            f"{path}: was {quoted(one.was)}); the correction holds"
        )


def _in_words(correction: Correction) -> str:
    kind, becomes = correction.outcome
    return f"{kind} to {quoted(becomes)}" if kind == "relabel" else kind
