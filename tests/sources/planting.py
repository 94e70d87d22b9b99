"""Plant trees of empty images from a line of text, and sum up in one line how they are read."""

import gzip
import re
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from darkroom.core.errors import SourceError
from darkroom.sources.labels import Labelled, LayoutOptions
from darkroom.sources.layouts import read_layout
from darkroom.sources.trees import open_tree

FILE = re.compile(r".*\.[A-Za-z0-9_]{2,9}")
CANNOT_TELL = "!cannot tell where the labels are"
FOUR, TWO_TWO = "images/{1..4}.jpg", "cat 2, dog 2"  # four images, and what is read where two are of each class


def expanded(text: str) -> list[str]:
    """Expand braces as a shell does: `{train,test}/a` is `train/a` and `test/a`, `{1..3}` is 1, 2 and 3."""
    parts = re.split(r"\{([^{}]*)\}", text)
    choices = []
    for number, part in enumerate(parts):
        if number % 2 == 0:
            choices.append([part])
        elif match := re.fullmatch(r"(\d+)\.\.(\d+)", part):
            choices.append([str(n).zfill(len(match[1])) for n in range(int(match[1]), int(match[2]) + 1)])
        else:
            choices.append(part.split(","))
    return ["".join(chosen) for chosen in product(*choices)]


def names_in(text: str) -> Iterator[str]:
    """Yield the files of a tree: `cat*5` is a folder of 5 pictures (3 without a number), `a.txt` is a file.

    `~` stands for a space in a name.
    """
    for token in text.split():
        for name in expanded(token.replace("~", " ")):
            folder, _, count = name.partition("*")
            if FILE.fullmatch(folder.rpartition("/")[2]) and not count:
                yield folder
            else:
                yield from (f"{folder}/{number:04}.jpg" for number in range(int(count or 3)))


def plant(root: Path, text: str, **tables: str) -> None:
    """Make the files of `text` below `root`, all empty, and tables of the given content: `labels__csv="id,label"`."""
    for name in names_in(text):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    for name, content in tables.items():
        path = root / name.replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def read(root: Path, **options: object) -> Labelled:
    """Read the labels of the tree below `root`."""
    return read_layout(open_tree(root), LayoutOptions(**options))  # type: ignore[arg-type]


def summary(found: Labelled) -> str:
    """Return the number of images of each class and, where there are any, of each official split, in one line."""
    classes = Counter(sample.label for sample in found.samples)
    splits = Counter(sample.split or "none" for sample in found.samples)
    text = ", ".join(f"{label} {count}" for label, count in sorted(classes.items()))
    return text if set(splits) == {"none"} else f"{text} | " + ", ".join(f"{s} {n}" for s, n in sorted(splits.items()))


def assert_read(root: Path, expected: str, note: str, layout: str = "") -> None:
    """Check the summary of what is below `root`, a part of a note and the layout; or, after `!`, the one-line error."""
    if expected.startswith("!"):
        with pytest.raises(SourceError, match=expected[1:]) as caught:
            read(root)
        assert "\n" not in str(caught.value)
        return
    found = read(root)
    assert summary(found) == expected
    assert note in " ".join(found.notes)
    assert layout in ("", found.layout)


def tree_of(root, *names, **texts):
    """Make a folder of empty files of these names and of texts, and open it."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    for name, text in texts.items():
        (root / name.replace("__", ".")).write_text(text)
    return open_tree(root)


def found(root, *names, options=None, **texts):
    """Read the labels of such a folder."""
    return read_layout(tree_of(root, *names, **texts), options or LayoutOptions())


def labels_of(root, *names, options=None, **texts):
    """Return the label of each location in such a folder."""
    return {sample.location: sample.label for sample in found(root, *names, options=options, **texts).samples}


def four(header, row="{n},{label}"):
    """Return a table of a header and four rows: two cats and two dogs."""
    labels = enumerate(("cat", "cat", "dog", "dog"), 1)
    return header + "".join(row.format(n=n, label=label) + "\n" for n, label in labels)


def write_tables(root: Path, tables: dict[str, str | bytes]) -> None:
    """Write tables of the given content below `root`; one whose name ends in `.gz` is compressed."""
    for name, text in tables.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = text.encode() if isinstance(text, str) else text
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
