"""The level of a folder tree whose names are classes, found by comparing the tree's branches."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

Folders = tuple[str, ...]

SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
_FILLER = r"(?:[ _.-]?(?:set|data|dataset|images?|imgs?|pictures?|photos?|folder|samples?|\d+))*"
_SPLIT = re.compile(rf"({'|'.join(sorted(SPLITS, key=len, reverse=True))}){_FILLER}", re.IGNORECASE)
_PREFIXED = re.compile(rf"[a-z0-9]+[_.-]({'|'.join(sorted(SPLITS, key=len, reverse=True))}){_FILLER}", re.IGNORECASE)
# Folders of images that have no label, where they lie beside class folders or splits.
_UNLABELLED = re.compile(
    r"(test|val|eval)[ _.-].*|(.*[_.-])?(unlab|unsup|pred|submission|holdout|samples?$).*", re.IGNORECASE
)
_NO_LABEL = re.compile("unlab|unsup", re.IGNORECASE)
# Folders of pictures of labels, beside those of the images.
_MASKS = re.compile(
    r"(gt|ground[ _-]?truths?|(.*[ _-])?(masks?|segmentations?|annotations?|labels?|heat ?maps|depth|bbox(es)?))",
    re.IGNORECASE,
)
# Folders above the classes that say where pictures come from or what was done to them.
_CONTAINER = re.compile(
    r"images?|imgs?|photos?|pictures?|pics|data|datasets?|raw|originals?|augment\w*|processed|crop(s|ped)|resized|jpe?g|png"
    r"|\d+ ?x|(cam|camera|patient|subject|session|day|fold|batch|part|site|scanner|device|lens)[ _.-]?\w{0,4}",
    re.IGNORECASE,
)


@dataclass
class Node:
    """A folder: the number of images in itself, and the folders in it that hold images at any depth."""

    images: int = 0
    children: dict[str, "Node"] = field(default_factory=dict)

    def total(self) -> int:
        """Count the images at any depth."""
        return self.images + sum(child.total() for child in self.children.values())


@dataclass(frozen=True)
class Reading:
    """One way to read the folders: those whose children are classes, and names of children that are none."""

    parents: frozenset[Folders]
    unlabelled: frozenset[str] = frozenset()
    splits_below: bool = False  # whether each class folder holds folders of splits
    shared: int = 0  # the leading folders that all images share: `train/` around everything is no split

    @property
    def level(self) -> int:
        """The level of the class folders below the source; 1 is directly in it."""
        return max(map(len, self.parents)) + 1

    def label_and_split(self, folders: Folders) -> tuple[str, str]:
        """Return the class and the official split of the images in `folders`; the class is "" where there is none."""
        for depth in range(len(folders) - 1, -1, -1):
            if folders[:depth] in self.parents:
                label, around = folders[depth], folders[self.shared : depth]
                around += folders[depth + 1 : depth + 2] if self.splits_below else ()
                return ("" if label in self.unlabelled else label), _official_split(around)
        return "", ""

    def classes(self, counts: Counter[Folders]) -> Counter[str]:
        """Count the images of each class."""
        classes: Counter[str] = Counter()
        for folders, count in counts.items():
            label, _ = self.label_and_split(folders)
            if label:
                classes[label] += count
        return classes


def split_names(names: Iterable[str]) -> dict[str, str]:
    """Return those folder names that are official splits, and which.

    `train`, `training_set` and `test1` are splits anywhere; `seg_train` is one only beside a `seg_test` or the like,
    because `steam_train` may be a class.
    """
    found, prefixed = {}, {}
    for name in names:
        match, with_prefix = _SPLIT.fullmatch(name), _PREFIXED.fullmatch(name)
        if match:
            found[name] = SPLITS[match[1].lower()]
        elif with_prefix:
            prefixed[name] = SPLITS[with_prefix[1].lower()]
    kinds = {*found.values(), *prefixed.values()}
    return found | prefixed if "train" in kinds and len(kinds) > 1 else found


def at_level(counts: Counter[Folders], level: int) -> Reading:
    """Return the reading in which the folders at `level` are the classes; 1 is directly in the source."""
    parents = {folders[: level - 1] for folders in counts if len(folders) >= level}
    return Reading(frozenset(parents), shared=_shared(counts))


def possible_readings(counts: Counter[Folders]) -> list[Reading]:
    """Return one reading where it is certain, several where a person must choose, none without class folders.

    `counts` has the number of images in each folder, written from the source down.
    """
    root = Node()
    for folders, count in counts.items():
        node = root
        for name in folders:
            node = node.children.setdefault(name, Node())
        node.images += count
    return [replace(reading, shared=_shared(counts)) for reading in _read({(): root})]


def are_images_and_masks(labels: Iterable[str]) -> bool:
    """Whether the names are `images` and `masks` or the like: pictures and their annotations, which are no classes."""
    masks = [label for label in labels if _MASKS.fullmatch(label)]
    others = [label for label in labels if label not in masks]
    return bool(masks) and bool(others) and all(_CONTAINER.fullmatch(label) for label in others)


def _shared(counts: Counter[Folders]) -> int:
    first, last = min(counts, default=()), max(counts, default=())
    differ = (depth for depth, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    return next(differ, min(len(first), len(last)))


def _read(branches: dict[Folders, Node]) -> list[Reading]:
    """Compare the folders in `branches`: are they classes, or are the classes below them?"""
    branches = dict(_unwrapped(path, node, len(branches) > 1) for path, node in branches.items())
    children = {(*path, name): child for path, node in branches.items() for name, child in node.children.items()}
    if not children:
        return []
    names = {path[-1] for path in children}
    splits = split_names(names)
    everywhere = names.intersection(*(node.children for node in branches.values()))
    here = Reading(
        frozenset(branches), frozenset(_unlabelled(names, splits, everywhere if len(branches) > 1 else None))
    )
    deep = {path: child for path, child in children.items() if child.children}
    if not deep:
        return [here] if names - here.unlabelled else []
    above = {path: child for path, child in deep.items() if path[-1] in splits or _CONTAINER.fullmatch(path[-1])}
    flat = names - {path[-1] for path in deep}
    below = {name for child in deep.values() for name in child.children}
    if above:
        return _read_below(here, children, above, deep)
    if any(child.images for child in deep.values()) or all(len(child.children) < 2 for child in deep.values()):
        return [here]  # folders in folders of images, or each class in one more folder
    if len(split_names(below)) == len(below):
        return [replace(here, splits_below=True)]
    if all(_CONTAINER.fullmatch(name) for name in below):
        return [here]  # cameras and the like within a class
    if flat and all(_UNLABELLED.fullmatch(name) or name in splits for name in flat):
        return _read(deep)
    if all(any(sign.isdigit() for sign in name) for name in below):
        return [here]  # numbered series, days, persons
    return [here, *_read(deep)]


def _read_below(
    here: Reading, children: dict[Folders, Node], above: dict[Folders, Node], deep: dict[Folders, Node]
) -> list[Reading]:
    """Read below the folders `above` that are splits or containers, and below those that hold folders of the same
    names. Where this leaves out most of the images, the names `here` may be classes, too."""
    shared = {name for path, node in above.items() for name in _unwrapped(path, node, True)[1].children}
    taken = {
        path: node
        for path, node in deep.items()
        if path in above or shared & _unwrapped(path, node, True)[1].children.keys()
    }
    left_out = sum(
        node.total()
        for path, node in children.items()
        if path not in taken and path[-1] not in here.unlabelled and not _UNLABELLED.fullmatch(path[-1])
    )
    readings = _read(taken)
    return [here, *readings] if left_out > sum(node.total() for node in taken.values()) else readings


def _unwrapped(path: Folders, node: Node, beside_others: bool) -> tuple[Folders, Node]:
    """Skip folders that hold nothing but one folder. Beside other branches that one may be a class: there it must be
    called like a container, a split or the folder around it."""
    while not node.images and len(node.children) == 1:
        (name, child), *_ = node.children.items()
        known = _CONTAINER.fullmatch(name) or _SPLIT.fullmatch(name) or (path and name.lower() == path[-1].lower())
        if beside_others and not known:
            break
        path, node = (*path, name), child
    return path, node


def _unlabelled(names: set[str], splits: dict[str, str], everywhere: set[str] | None) -> set[str]:
    """Return the names of folders of images that are splits without class folders, and so have no label.

    `everywhere` are the names that each of several branches has, None where there is one branch.
    One folder called `train` beside two others or more is a class: a set of vehicles has trains.
    """
    if everywhere is not None:  # `train/unsup` without a `test/unsup`
        return {name for name in names - everywhere if _NO_LABEL.match(name)}
    others = names - splits.keys()
    trains = {name for name in splits if name.lower() in SPLITS and splits[name] == "train"}
    unlabelled = {name for name in names if name in splits or _NO_LABEL.match(name)}
    return unlabelled - trains if len(trains) == 1 and len(others) > 1 and unlabelled == trains else unlabelled


def _official_split(around: Folders) -> str:
    """Return the split that the first folder called like one names, "" where none is."""
    matches = (_SPLIT.fullmatch(name) or _PREFIXED.fullmatch(name) for name in around)
    return next((SPLITS[match[1].lower()] for match in matches if match), "")
