"""Trees drawn from a grammar of what people have, the truth known: read rightly or stopped, never wrong in silence."""

import json
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.core.errors import SourceError
from darkroom.sources.labels import Labelled
from tests.sources.planting import read

CLASSES = ("cat", "dog", "sea lion", "Golden_Retriever", "n01440764", "0", "1", "7", "café", "猫", "no tumor", "benign",
           "with_mask", "without_mask", "class_a", "Apple___Black_rot", "steam_train", "NORMAL", "testudo",
           "set theory", "person", "new", "crack-2", "raw meat")  # fmt: skip
SPELLINGS: tuple[Callable[[str], str], ...] = (
    str, str.upper, str.title, "{}ing".format, "{}_set".format, "{}_images".format, "{} data".format, "01_{}".format,
    "seg_{}".format, "my_flowers_{}".format, "{}_2019".format, "{}-Images-small".format, "aug_{}".format,
    "{}set".format,
)  # fmt: skip
WRAPPERS = ("data", "images", "archive", "v1", "set-master", "Dataset", "photos 2019")
ABOVE = (("original", "augmented"), ("cam1", "cam2"), ("fold1", "fold2", "fold3"), ("40X", "100X"),
         ("color", "grayscale"), ("patient_01", "patient_02"), ("part_1", "part_2"), ("1", "2", "3"),
         ("left", "right"), ("2019", "2020"))  # fmt: skip
BELOW = (("40X", "100X"), ("cam1", "cam2"), ("images",), ("original", "cropped"), ("session1", "session2"))
JUNK = (
    "__MACOSX/x/0.jpg",
    "@eaDir/1.jpg",
    "README.md",
    "notes/read.txt",
    ".hidden/2.jpg",
    "annotations/a.xml",
    "docs/a.pdf",
)


@dataclass
class Tree:
    """The label and the official split of each picture, by path; "" for those that have no label; other files."""

    truth: dict[str, tuple[str, str]] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)  # tables and small texts by their paths

    def labels(self) -> dict[str, str]:
        """Return the labels of the pictures that have one."""
        return {path: label for path, (label, _) in self.truth.items() if label}

    def splits(self) -> dict[str, str]:
        """Return the official splits of the pictures that have a label."""
        return {path: split for path, (label, split) in self.truth.items() if label}

    def planted(self, root: Path) -> None:
        """Make the files below `root`."""
        for name in (*self.truth, *self.others):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"")
        for name, text in self.texts.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)


@st.composite
def class_folders(draw: st.DrawFn) -> Tree:
    """Class folders below splits, wrappers and containers, with what lies about beside them."""
    tree = Tree()
    classes = draw(st.lists(st.sampled_from(CLASSES), min_size=2, max_size=4, unique=True))
    spelt = draw(st.sampled_from(SPELLINGS))
    kinds = draw(st.sampled_from([("",), ("train", "test"), ("train", "val"), ("train", "val", "test")]))
    if spelt is SPELLINGS[3]:
        kinds = tuple({"val": "valid"}.get(kind, kind) for kind in kinds if kind != "val")
    doubled, split_last = draw(st.booleans()), draw(st.integers(0, 4)) == 0
    wrappers = draw(st.lists(st.sampled_from(WRAPPERS), max_size=2, unique=True))
    above = draw(st.sampled_from([("",), ("",), ("",), *ABOVE]))
    below = draw(st.sampled_from([("",), ("",), ("",), *BELOW]))
    count = draw(st.integers(1, 4))
    for kind in kinds:
        folder = spelt(kind) if kind else ""
        folders = [folder, folder] if doubled and not split_last else [folder]
        for container in above:
            for label in classes:
                middle = [container, label, *folders] if split_last else [*folders, container, label]
                for inner in below:
                    path = "/".join(part for part in [*wrappers, *middle, inner] if part)
                    split = kind if len(kinds) > 1 else ""
                    tree.truth |= {f"{path}/{number:03}.jpg": (label, split) for number in range(count)}
    if draw(st.booleans()) and not split_last:  # a sibling without labels
        sibling = (
            "pred" if "seg" in spelt("x") else draw(st.sampled_from(["unlabelled", "unlabeled data", "samples_pred"]))
        )
        if len(kinds) > 1 or above == ("",):
            tree.truth |= {"/".join([*wrappers, sibling, f"{n}.jpg"]): ("", "") for n in range(2)}
    where = "".join(f"{wrapper}/" for wrapper in wrappers)
    tree.others = [where + name for name in draw(st.lists(st.sampled_from(JUNK), max_size=3, unique=True))]
    return tree


@st.composite
def tables(draw: st.DrawFn) -> Tree:
    """Return a table of labels beside flat images, or images in folders that are not classes."""
    tree = Tree()
    classes = draw(st.lists(st.sampled_from(CLASSES), min_size=2, max_size=4, unique=True))
    folders = draw(st.sampled_from([("images",), ("train", "test"), ("",), ("part1", "part2"), ("a/b", "a/c")]))
    form = draw(st.sampled_from(["name", "stem", "path", "backslashes", "elsewhere"]))
    paths, labels = draw(st.sampled_from([("image_id", "label"), ("filename", "class"), ("Image Name", "Category")]))
    separator = draw(st.sampled_from([",", ";", "\t"]))
    lines = [f"{paths}{separator}score{separator}{labels}"]
    for number in range(draw(st.integers(8, 16))):
        folder, label = folders[number % len(folders)], classes[(number // 2) % len(classes)]
        path = f"{folder}/{number:04}.jpg".lstrip("/")
        labelled = folder != "test"
        tree.truth[path] = (label, "") if labelled else ("", "")
        name = path.rpartition("/")[2]
        cell = {"name": name, "stem": name[:-4], "path": path, "backslashes": path.replace("/", "\\"),
                "elsewhere": f"/home/me/set/{path}"}[form]  # fmt: skip
        if labelled:
            lines.append(f"{cell}{separator}{'0.5' if separator != ';' else '0,5'}{separator}{label}")
    tree.texts["labels.csv"] = "\n".join(lines) + "\n"
    return tree


Rows = list[tuple[str, str]]  # a path and its label


def _joined(rows: Rows) -> dict[str, str]:
    """CUB-200's lists, joined by numbers."""
    kinds = sorted({label for _, label in rows})
    return {
        "images.txt": "".join(f"{number} {path}\n" for number, (path, _) in enumerate(rows, 1)),
        "image_class_labels.txt": "".join(f"{n} {kinds.index(label) + 1}\n" for n, (_, label) in enumerate(rows, 1)),
        "classes.txt": "".join(f"{number} {kind}\n" for number, kind in enumerate(kinds, 1)),
    }


def _by_label(rows: Rows) -> dict[str, str]:
    return {"labels.json": json.dumps({kind: [path for path, label in rows if label == kind] for _, kind in rows})}


def _columns(rows: Rows, head: str, row: Callable[[str, str, str], str]) -> dict[str, str]:
    """Return a table of one row a picture, from its folder, its name and its label."""
    return {"labels.csv": head + "".join(row(*path.rpartition("/")[::2], label) + "\n" for path, label in rows)}


# How labels stand beside images that lie in folders which mean nothing.
FORMS: tuple[Callable[[Rows], dict[str, str]], ...] = (
    _joined,
    _by_label,
    lambda rows: _columns(rows, "folder,file,label\n", "{},{},{}".format),
    lambda rows: _columns(rows, "sep=;\nlabel;image\n", lambda above, name, label: f"{label};{above}/{name}"),
    lambda rows: _columns(rows, "file\tclass\tfolder\n", lambda above, name, label: f"{name}\t{label}\t{above}"),
    lambda rows: _columns(rows, "image,label\n", lambda above, name, label: f"{above}/{name},\"['{label}']\""),
    lambda rows: _columns(rows, "Survey of 2023\n\n,image,label\n", "0,{}/{},{}".format),
    lambda rows: {"all.jsonl": "".join(json.dumps({"image": {"file_name": path}, "is": {"label": label}}) + "\n"
                                       for path, label in rows)},
    lambda rows: {f"{path[:-4]}.txt": label for path, label in rows},
    lambda rows: {f"{path[:-4]}.cls": label + "\n" for path, label in rows},
    lambda rows: {f"{path[:-4]}.json": json.dumps({"meta": {"label": label}}) for path, label in rows},
)  # fmt: skip


@st.composite
def labels_beside(draw: st.DrawFn) -> Tree:
    """Images of the same names in several folders that are not classes, and labels in one of many forms."""
    tree = Tree()
    classes = draw(st.lists(st.sampled_from(CLASSES), min_size=2, max_size=4, unique=True))
    folders = draw(st.sampled_from([("images",), ("a", "b"), ("part1", "part2"), ("2020/01", "2020/02"), ("x", "cat")]))
    each = draw(st.integers(8, 12))  # of fewer, texts beside them need not repeat
    paths = [f"{folder}/{number:03}.jpg" for folder in folders for number in range(each)]
    rows = [(path, classes[n] if n < 2 else draw(st.sampled_from(classes))) for n, path in enumerate(paths)]
    tree.truth = {path: (label, "") for path, label in rows}
    tree.texts = draw(st.sampled_from(FORMS))(rows)
    return tree


@st.composite
def kinds_of_kinds(draw: st.DrawFn) -> Tree:
    """Folders in folders that could both be the classes: "?" is no label, so that reading them at all is wrong."""
    tree = Tree()
    outer = draw(st.lists(st.sampled_from(("animal", "vehicle", "plant", "dog", "cat")), min_size=2, unique=True))
    inner = [draw(st.lists(st.sampled_from(("pug", "bus", "oak", "siam", "red")), min_size=2, max_size=3, unique=True))
             for _ in outer]  # fmt: skip
    splits = draw(st.sampled_from([("",), ("train/", "test/")]))
    folders = [f"{above}/{below}" for above, some in zip(outer, inner, strict=True) for below in some]
    paths = [f"{split}{folder}/{number}.jpg" for split in splits for folder in folders for number in range(2)]
    tree.truth = dict.fromkeys(paths, ("?", ""))
    return tree


def read_or_reason(tree: Tree) -> Labelled | str:
    """Return what is read of a tree, or why nothing."""
    with tempfile.TemporaryDirectory() as folder:
        tree.planted(Path(folder))
        try:
            return read(Path(folder))
        except SourceError as error:
            return str(error)


@pytest.mark.parametrize(
    ("trees", "count", "least"),
    [(class_folders(), 30, 0.5), (tables(), 20, 0.9), (labels_beside(), 20, 0.9), (kinds_of_kinds(), 10, 0.0)],
    ids=["class folders", "tables", "labels beside", "kinds of kinds"],
)
def test_drawn_trees_are_read_rightly_or_stopped_with_one_line(
    trees: st.SearchStrategy[Tree], count: int, least: float
) -> None:
    """`least`: the share that must be read, for a reader that stops at everything makes no mistake."""
    outcomes: Counter[str] = Counter()

    @settings(max_examples=count, deadline=None, derandomize=False, database=None)
    @given(trees)
    def check(tree: Tree) -> None:
        found = read_or_reason(tree)
        if isinstance(found, str):
            assert "\n" not in found
            outcomes["stopped"] += 1
            return
        assert {sample.location: sample.label for sample in found.samples} == tree.labels()
        splits = {sample.location: sample.split for sample in found.samples}
        assert splits == tree.splits() or set(splits.values()) == {"train"}  # `train` alone divides nothing
        outcomes["read"] += 1

    check()
    assert outcomes["read"] >= least * outcomes.total(), outcomes
