"""Trees drawn from a grammar of what people have, the truth known: read rightly or stopped, never wrong in silence."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.core.errors import SourceError
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
    table: str = ""

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
        if self.table:
            (root / "labels.csv").write_text(self.table)


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
    """A table of labels beside flat images, or images in folders that are no classes."""
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
    tree.table = "\n".join(lines) + "\n"
    return tree


@settings(max_examples=40, deadline=None, derandomize=False, database=None)
@given(st.one_of(class_folders(), tables()))
def test_a_drawn_tree_is_read_rightly_or_stopped_with_one_line(tree: Tree) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tree.planted(Path(folder))
        try:
            found = read(Path(folder))
        except SourceError as error:
            reason = str(error)
        else:
            assert {sample.location: sample.label for sample in found.samples} == tree.labels()
            splits = {sample.location: sample.split for sample in found.samples}
            assert splits == tree.splits() or set(splits.values()) == {"train"}  # `train` alone divides nothing
            return
    assert "\n" not in reason
