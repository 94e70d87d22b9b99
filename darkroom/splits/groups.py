"""Find the images that belong together: those of one `group_by` value, and copies of one picture."""

from collections import Counter
from collections.abc import Iterable, Mapping


def groups_of(index: Iterable[Mapping[str, str]], split: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the group of each image that is not alone in it, by id, from rows of data/index.csv and data/split.csv.

    A copy belongs to the group of its original; without `group_by` the original's id names the group.
    """
    original = {row["id"]: row["duplicate_of"] or row["id"] for row in split}
    named = {row["id"]: row["group"] for row in index if row["group"]}
    found = {sample: named.get(sample) or named.get(first) or first for sample, first in original.items()}
    members = Counter(found.values())
    return {sample: group for sample, group in found.items() if members[group] > 1}
