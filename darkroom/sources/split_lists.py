"""Official splits from lists of paths beside the images: `train.txt` and `test.txt` with a path a line."""

from dataclasses import replace
from pathlib import PurePosixPath

from darkroom.core.errors import SourceError
from darkroom.sources.encodings import decode
from darkroom.sources.folder_names import strict_split
from darkroom.sources.frames import LISTS
from darkroom.sources.labels import Labelled
from darkroom.sources.matching import FileFinder
from darkroom.sources.trees import Tree, read_one

WHOLE = 0.9  # share of a list's lines that must name images


def with_split_lists(tree: Tree, images: list[str], found: Labelled) -> Labelled:
    """Return the labelled files with the splits of the tree's lists: one list a split, where there is no split yet."""
    names = {name: strict_split(PurePosixPath(name).stem) for name in tree.files if name.lower().endswith(LISTS)}
    names = {name: split for name, split in names.items() if split}
    kinds = set(names.values())
    if (
        len(kinds) < len(names)
        or "train" not in kinds
        or len(kinds) < 2
        or any(sample.split for sample in found.samples)
    ):
        return found
    splits: dict[str, str] = {}
    for name, split in names.items():
        listed = _listed(tree, name, images)
        if not listed:
            return found
        splits |= dict.fromkeys(listed, split)
    found.samples = [replace(sample, split=splits.get(sample.location, "")) for sample in found.samples]
    found.notes.append(f"official splits are those of {' and '.join(sorted(names))}")
    return found


def _listed(tree: Tree, name: str, images: list[str]) -> list[str]:
    """Return the images that a list names, [] where its lines are no paths."""
    try:
        lines = [line.strip() for line in decode(read_one(tree, name))[0].splitlines() if line.strip()]
    except SourceError:
        return []
    found = FileFinder(images, str(PurePosixPath(name).parent)).find_all(lines)[0]
    known = [image for image in found if image]
    return known if len(known) >= WHOLE * len(lines) else []
