"""From the index's rows to the split's: exclusion, duplicates, groups, limit, then the division itself."""

import difflib
import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from darkroom.data.duplicates import clusters
from darkroom.data.splitting import DROPPED, EXCLUDED, Candidate, assign, folds, limited
from darkroom.errors import ParamsError

SPLIT_COLUMNS = ("id", "split", "fold", "duplicate_of")
Rows = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class SplitOptions:
    """How to divide; the fields are params of split."""

    seed: int
    val_fraction: float
    test_fraction: float
    folds: int
    limit: int | None
    exclude: list[str]
    duplicates: str


def divide(rows: Rows, options: SplitOptions) -> list[tuple[str, str, int | str, str]]:
    """(id, split, fold, id of the sample it copies or "") of each row of the index, in order of id."""
    if options.val_fraction + options.test_fraction >= 1:
        raise ParamsError(f"params.yaml: val_fraction {options.val_fraction} and test_fraction {options.test_fraction} "
                          "leave nothing to learn from; their sum must be below 1")  # fmt: skip
    rows = sorted(rows, key=lambda row: row["id"])
    excluded = _excluded(rows, options.exclude)
    rows_left = [row for row in rows if row["id"] not in excluded]
    copies = _copies(rows_left, options.duplicates)
    split = dict.fromkeys(excluded, EXCLUDED)
    if options.duplicates == "drop":
        split |= dict.fromkeys(copies, DROPPED)
    candidates = _bound([row for row in rows_left if row["id"] not in split], copies)
    if options.limit:
        kept = limited(candidates, options.seed, options.limit)
        split |= dict.fromkeys({c.id for c in candidates} - {c.id for c in kept}, EXCLUDED)
        candidates = kept
    split |= assign(candidates, options.seed, options.val_fraction, options.test_fraction)
    fold = folds(candidates, split, options.seed, options.folds)
    return [(row["id"], split[row["id"]], fold.get(row["id"], ""), copies.get(row["id"], "")) for row in rows]


def _excluded(rows: Rows, patterns: Sequence[str]) -> set[str]:
    excluded: set[str] = set()
    for pattern in patterns:
        match = re.compile(fnmatch.translate(pattern)).match
        found = {row["id"] for row in rows if pattern in (row["id"], row["location"]) or match(row["location"])}
        if not found:
            near = difflib.get_close_matches(pattern, [row["location"] for row in rows[:10000]], n=1, cutoff=0)
            raise ParamsError(f"params.yaml: exclude: {pattern!r} is no id and matches no path"
                              + (f", such as {near[0]}" if near else ""))  # fmt: skip
        excluded |= found
    return excluded


def _copies(rows: Rows, duplicates: str) -> dict[str, str]:
    """The sample that each copy repeats, by id: the largest of its cluster, then the one with the lowest id."""
    if duplicates == "ignore":
        return {}
    found = clusters([row["sha256"] for row in rows], [row["phash"] for row in rows])
    members: dict[int, list[Mapping[str, str]]] = {}
    for row, cluster in zip(rows, found.tolist(), strict=True):
        members.setdefault(cluster, []).append(row)
    copies: dict[str, str] = {}
    for cluster_rows in members.values():
        if len(cluster_rows) > 1:
            best = min(cluster_rows, key=lambda row: (-int(row["width"]) * int(row["height"]), row["id"]))
            copies |= {row["id"]: best["id"] for row in cluster_rows if row is not best}
    return copies


def _bound(rows: Rows, copies: Mapping[str, str]) -> list[Candidate]:
    """Candidates whose `bound` joins copies and groups: two groups that share a picture become one."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for row in rows:
        for other in (copies.get(row["id"]), f"group:{row['group']}" if row["group"] else None):
            if other:
                one, two = sorted((root(row["id"]), root(other)))
                parent[two] = one
    return [Candidate(row["id"], row["label"], row["split"], root(row["id"])) for row in rows]
