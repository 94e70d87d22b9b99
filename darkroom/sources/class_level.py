"""Find the level of a folder tree whose names are classes, by comparing the tree's branches."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from darkroom.sources.folder_names import (
    SPLITS,
    classes_with_splits,
    is_container,
    is_mask,
    is_unlabelled,
    is_unnamed,
    may_be_unlabelled,
    names_no_class,
    split_names,
    strict_split,
)

Folders = tuple[str, ...]
DIGIT, WORD = re.compile(r"\d"), re.compile(r"[^\W\d_]{3,}")
STRAY = 10  # images beside folders with this many times as many images are strays


@dataclass
class Node:
    """A folder: the number of images directly in it, and its folders that hold images at any depth."""

    images: int = 0
    children: dict[str, "Node"] = field(default_factory=dict)

    def total(self) -> int:
        """Count the images at any depth."""
        return self.images + sum(child.total() for child in self.children.values())


Branches = dict[Folders, Node]


@dataclass(frozen=True)
class Reading:
    """One way to read the folders: `parents` are those whose children are classes."""

    parents: frozenset[Folders]
    unlabelled: frozenset[str] = frozenset()  # names of children that are not classes
    renamed: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # class and split of children as `cat_train`
    splits_below: bool = False  # whether each class folder holds folders of splits
    copies: tuple[str, ...] = ()  # folders that repeat the class folders beside them
    shared: int = 0  # how many leading folders all images share: `train/` around everything is not a split
    splits: Mapping[Folders, str] = field(default_factory=dict)  # all folders that are official splits
    masks: frozenset[Folders] = frozenset()  # folders of masks, which are left out

    @property
    def level(self) -> int:
        """The level of the class folders; 1 is directly in the source."""
        return min(map(len, self.parents)) + 1

    def label_and_split(self, folders: Folders) -> tuple[str, str]:
        """Return the class and the official split of the images in `folders`, "" for each that they do not have."""
        if self.masks and _is_within(folders, self.masks):
            return "", ""
        for depth in range(len(folders) - 1, -1, -1):
            if folders[:depth] in self.parents:
                label, split = self.renamed.get(folders[depth], (folders[depth], ""))
                if label in self.unlabelled:
                    return "", ""
                last = depth + 2 if self.splits_below else depth
                above = (folders[:end] for end in range(self.shared + 1, last + 1) if end != depth + 1)
                return label, split or next((self.splits[path] for path in above if path in self.splits), "")
        return "", ""

    def classes(self, counts: Counter[Folders]) -> Counter[str]:
        """Count the images of each class."""
        classes: Counter[str] = Counter()
        for folders, count in counts.items():
            label, _ = self.label_and_split(folders)
            if label:
                classes[label] += count
        return classes


def _is_within(folders: Folders, others: frozenset[Folders]) -> bool:
    """Return whether a path is one of `others`, or below one of them."""
    return any(folders[:depth] in others for depth in range(1, len(folders) + 1))


def at_level(counts: Counter[Folders], level: int) -> Reading:
    """Return the reading in which the folders at `level` are the classes; 1 is directly in the source."""
    parents = {folders[: level - 1] for folders in counts if len(folders) >= level}
    return Reading(frozenset(parents), shared=_shared(counts), splits=_split_folders(_tree(counts)))


def possible_readings(counts: Counter[Folders]) -> list[Reading]:
    """Return one reading where it is certain, several where a person must choose, none without class folders.

    `counts`: the number of images in each folder, given by its path from the source.
    """
    counts = without_strays(counts)
    root = _tree(counts)
    masks = frozenset(_mask_folders(root, ()))
    pruned = _tree(Counter({path: count for path, count in counts.items() if not _is_within(path, masks)}))
    readings = [replace(reading, masks=masks) for reading in _read({(): pruned})] if masks else []
    if not readings:  # without masks there are no class folders: then folders named like masks may be classes
        readings = [one for one in _read({(): root}) if not masks or _may_be_masks(root, one.classes(counts))]
    shared, splits = _shared(counts), _split_folders(root)
    return [replace(reading, shared=shared, splits=splits) for reading in readings]


def without_strays(counts: Counter[Folders]) -> Counter[Folders]:
    """Return the counts without those of folders around all others that hold few images: a cover, a logo."""
    outer = min(counts, key=len, default=())
    rest = counts - Counter({outer: counts[outer]})
    around_all = all(folders[: len(outer)] == outer for folders in counts)
    return without_strays(rest) if rest and around_all and STRAY * counts[outer] <= rest.total() else counts


def _may_be_masks(root: Node, labels: Counter[str]) -> bool:
    """Return whether some labels are named like masks, unless all extend another folder's name: `trainannot`."""
    beside = tuple(root.children)
    return any(map(is_mask, labels)) and not all(any(label != name and label.startswith(name) for name in beside)
                                                 for label in labels)  # fmt: skip


def _tree(counts: Counter[Folders]) -> Node:
    root = Node()
    for folders, count in counts.items():
        node = root
        for name in folders:
            node = node.children.setdefault(name, Node())
        node.images += count
    return root


def _shared(counts: Counter[Folders]) -> int:
    first, last = min(counts, default=()), max(counts, default=())
    differ = (depth for depth, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    return next(differ, min(len(first), len(last)))


def _split_folders(node: Node, path: Folders = ()) -> dict[Folders, str]:
    """Return the folders at any depth that are official splits by their names and their neighbours' names."""
    found = {(*path, name): split for name, split in split_names(node.children).items()}
    for name, child in node.children.items():
        found |= _split_folders(child, (*path, name))
    return found


def _mask_folders(node: Node, path: Folders) -> list[Folders]:
    """Return the folders named like masks beside one named like images or a split."""
    masks = {name for name in node.children if is_mask(name)}
    if not any(is_container(name) or strict_split(name) for name in node.children if name not in masks):
        masks = set()
    below = [found for name, child in node.children.items() for found in _mask_folders(child, (*path, name))]
    return [(*path, name) for name in masks] + below


def _read(branches: Branches) -> list[Reading]:
    """Return the readings of `branches`: the folders in them are classes, or the classes are below those."""
    branches = dict(_unwrapped(path, node, len(branches) > 1) for path, node in branches.items())
    branches, copies = _with_copies(branches)
    children = {
        (*path, name): child
        for path, node in branches.items()
        for name, child in node.children.items()
        if (*path, name) not in branches
    }
    if not children:
        return []
    names = {path[-1] for path in children}
    splits = split_names(names)
    here = Reading(
        frozenset(branches), _unlabelled(branches, names, splits), copies=tuple("/".join(path) for path in copies)
    )
    if renamed := classes_with_splits(names - here.unlabelled):
        return [replace(here, renamed=renamed)]
    deep = {path: child for path, child in children.items() if child.children}
    if not deep:
        return [here] if names - here.unlabelled else []
    above = {path: child for path, child in deep.items() if path[-1] in splits or is_container(path[-1])}
    above |= {path: child for path, child in deep.items() if _wraps_splits(path, child, names - {path[-1]}, splits)}
    if above:
        readings = _read_below(here, children, above, deep, splits)
        return [replace(reading, copies=reading.copies + here.copies) for reading in readings]
    return _read_groups(here, children, deep, splits)


def _wraps_splits(path: Folders, node: Node, beside: set[str], splits: dict[str, str]) -> bool:
    """Return whether a folder holds only splits, and all folders beside it are splits: `X/{train,valid}`, `test`."""
    inside = _unwrapped(path, node, True)[1].children
    return bool(beside) and beside <= splits.keys() and 0 < len(inside) == len(split_names(inside))


def _with_copies(branches: Branches) -> tuple[Branches, list[Folders]]:
    """Add to `branches` the folders in them that repeat the folders beside them; also return their paths."""
    names = {name for node in branches.values() for name in node.children}
    copies = {}
    for path, node in branches.items():
        for name, child in node.children.items():
            again = _unwrapped((*path, name), child, True)[1].children.keys()
            if len(again) > 1 and again <= names - {name}:
                copies[(*path, name)] = child
    return branches | copies, list(copies)


def _read_groups(here: Reading, children: Branches, deep: Branches, splits: dict[str, str]) -> list[Reading]:
    """Return the readings of folders of which some hold folders, and none is named like a split or a container."""
    unwrapped = {path: _unwrapped(path, child, False) for path, child in deep.items()}
    wide = [child for _, child in unwrapped.values() if child.children]
    if not wide:
        return [here]  # each class is wrapped in one more folder
    if all(len(split_names(child.children)) == len(child.children) for child in deep.values()):
        return _read_splits_below(here, deep)
    below = Counter(name for child in wide for name in child.children)
    repeated = any(count > 1 for name, count in below.items() if not is_container(name))
    inside = sum(child.total() - child.images for child in deep.values())
    if any(child.images for child in deep.values()) and not (
        repeated and inside > STRAY * sum(child.images for child in deep.values())
    ):
        return [here]  # folders in folders of images
    flat = {path[-1] for path in children} - {path[-1] for path in deep}
    if all(is_container(name) for name in below):  # cameras and the like within a class
        return [replace(here, unlabelled=here.unlabelled | {name for name in flat if may_be_unlabelled(name)})]
    if flat and all(may_be_unlabelled(name) or name in splits for name in flat):
        return _read(deep)
    if not repeated and are_numbered(below):
        return [here]  # series, days, persons
    opened = (found if found[1].children else (path, deep[path]) for path, found in unwrapped.items())
    return [here, *_read(dict(opened))]


def are_numbered(names: Iterable[str]) -> bool:
    """Return whether all names have digits, and not each also a word that others lack, as `01_cat` and `02_dog` do."""
    words = {name: set(WORD.findall(name.lower())) for name in names}
    shared = set.intersection(*words.values())
    return all(map(DIGIT.search, words)) and not all(found - shared for found in words.values())


def _read_splits_below(here: Reading, deep: Branches) -> list[Reading]:
    """Return the readings of folders that hold splits: they are classes; where splits hold folders, those may be."""
    splits = (split for child in deep.values() for split in child.children.values())
    apart = replace(here, splits_below=True)
    return [apart, *_read(deep)] if any(not all(map(is_container, split.children)) for split in splits) else [apart]


def _read_below(
    here: Reading, children: Branches, above: Branches, deep: Branches, splits: dict[str, str]
) -> list[Reading]:
    """Return the readings below the folders `above`, splits or containers, and below others with the same children.

    Where this leaves out most of the images, or containers have no child in common, `here` is another reading.
    """
    opened = {path: _unwrapped(path, node, True)[1].children for path, node in above.items()}
    names = Counter(name for folders in opened.values() for name in folders)
    taken = {
        path: node
        for path, node in deep.items()
        if path in above or names.keys() & _unwrapped(path, node, True)[1].children.keys()
    }
    left_out = sum(
        node.total()
        for path, node in children.items()
        if path not in taken and path[-1] not in here.unlabelled and not may_be_unlabelled(path[-1])
    )
    readings = _read(taken)
    others = [node for path, node in deep.items() if path not in taken and len(node.children) > 1]
    different = others or (len(above) > 1 and max(names.values(), default=2) < 2)
    apart = different and not any(path[-1] in splits for path in above)
    return [here, *readings] if apart or left_out > sum(node.total() for node in taken.values()) else readings


def _unwrapped(path: Folders, node: Node, beside_others: bool) -> tuple[Folders, Node]:
    """Skip folders that hold a single folder and nothing else; return the path and node that remain.

    With `beside_others`, that folder may be a class, and is skipped only if it is named like a container, a split or
    the folder around it.
    """
    while not node.images and len(node.children) == 1:
        (name, child), *_ = node.children.items()
        known = is_container(name) or strict_split(name) or (path and name.lower() == path[-1].lower())
        if beside_others and not known:
            break
        path, node = (*path, name), child
    return path, node


def _unlabelled(branches: Branches, names: set[str], splits: dict[str, str]) -> frozenset[str]:
    """Return the names of folders whose images have no label, such as splits without class folders.

    A single folder `train` beside two others or more is a class: a data set of vehicles has trains.
    """
    if len(branches) > 1:
        counts = Counter(name for node in branches.values() for name in node.children)
        alone = {name for node in branches.values() if len(node.children) == 1 for name in node.children}
        return frozenset(
            name
            for name, count in counts.items()
            if (is_unlabelled(name) and (count < len(branches) or is_unnamed(name)))  # `train/unsup` alone
            or (count == 1 and name in alone and names_no_class(name))  # `test/unknown`
        )
    others = names - splits.keys()
    trains = {name for name in splits if name.lower() in SPLITS and splits[name] == "train"}
    unlabelled = {name for name in names if name in splits or is_unlabelled(name)}
    if all(map(is_unnamed, names)):
        return frozenset()
    is_class = len(trains) == 1 and len(others) > 1 and unlabelled == trains
    return frozenset(unlabelled - trains if is_class else unlabelled)
