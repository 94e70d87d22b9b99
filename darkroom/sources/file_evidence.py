"""Doubt class folders by their files' names: they say other classes, or numbers, days and cameras part them."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise

from darkroom.sources.encodings import few_of, printable
from darkroom.sources.file_names import CAMERAS, few_counts, name_readings
from darkroom.sources.folder_names import is_container, split_in, words_of
from darkroom.sources.labels import Sample
from darkroom.sources.vocabulary import KINDS, plain

LAST_WORD = r"(?:^|[^A-Za-z])([^\W\d_]{3,})\.[^.]*$"  # as a `label_pattern`: cat of `001_cat.jpg`
NUMBER = re.compile(r"(.*?)(\d+)\D*")  # the first number in a name, and what precedes it
CAMERA = re.compile(r"(_?IMG|_MG|DSC[NF]?|PXL|MVIMG|GOPR|DJI|SAM|CIMG|PANA|HPIM|P)[_-]?(?=\d{4})")
DAY = re.compile(r"(?<!\d)((?:19|20)\d\d)([-_.]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?!\d(?!\d{5}(?!\d)))")
CHANGED = frozenset((
    "aug", "augmented", "flip", "flipped", "hflip", "vflip", "rot", "rotate", "rotated", "noise", "noisy", "blur",
    "crop", "cropped", "mirror", "mirrored", "orig", "original", "zoom", "zoomed", "shear", "shift", "shifted",
    "scaled", "resized", "contrast", "brightness", "gray", "grey", "color", "colour", "copy", "mask",
))  # fmt: skip
FEWEST, MOST, NEARLY, LOOKED_AT = 3, 10, 0.95, 200
Table = dict[str, Counter[str]]  # how often each folder has each word, day or camera


def other_classes(samples: list[Sample]) -> dict[str, Counter[str]]:
    """Return the ways to read classes from names that divide all folders alike: `lab/cat_1.jpg`, `home/cat_2.jpg`."""
    looked_at = samples[:: max(len(samples) // LOOKED_AT, 1)]
    if sum(_name(sample)[:3].isalpha() for sample in looked_at) < NEARLY * len(looked_at):
        return {}
    readings = name_readings([sample.location for sample in samples])
    return {
        pattern: labels
        for pattern, labels in readings.items()
        if labels.total() >= NEARLY * len(samples) and _crosses(samples, pattern)
    }


def doubts_of_files(samples: list[Sample]) -> list[str]:
    """Return notes about what the files' names say against the folders as classes."""
    if len({sample.label for sample in samples}) < 2:
        return []
    notes = []
    if _crosses(samples, LAST_WORD):
        ends = Counter(match[1] for sample in samples if (match := re.search(LAST_WORD, _name(sample))))
        notes.append(f"the names of files end in the same words in all folders ({few_counts(ends)}); if these are the "
                     f"classes, `label_pattern: '{LAST_WORD}'` takes them")  # fmt: skip
    return notes + [note for note in (_days(samples) or _cameras(samples) or _numbers(samples),) if note]


def _name(sample: Sample) -> str:
    return sample.location.rpartition("/")[2]


def _crosses(samples: Iterable[Sample], pattern: str) -> bool:
    """Return whether the words that `pattern` takes are no folder's own, and none is known to be no class."""
    table: Table = defaultdict(Counter)
    words = Counter[str]()
    expression, missed, count = re.compile(pattern), 0, 0
    for sample in samples:
        count += 1
        match = expression.search(_name(sample))
        if not match or not match[1][:3].isalpha():
            missed += 1
            if missed > LOOKED_AT and missed * NEARLY > count * (1 - NEARLY) * 2:
                return False
            continue
        table[sample.label][match[1]] += 1
    for found in table.values():
        words.update(found.keys())
    own = [found.most_common(1)[0][0] for found in table.values()]
    sure = len(set(own)) == len(own) and all(
        2 * found[word] > found.total() for found, word in zip(table.values(), own, strict=True)
    )
    return (
        len(table) > 1
        and missed <= (1 - NEARLY) * count
        and 1 < len(words) <= count // FEWEST
        and min(words.values()) > 1
        and all(len(found) > 1 for found in table.values())
        and not sure
        and not any(_is_no_class(word) for word in words)
    )


def _is_no_class(word: str) -> bool:
    parts = {*words_of(word), plain(word)}
    known = any(not some.isdisjoint(parts) for some in (CAMERAS, CHANGED, *KINDS.values()))
    return known or is_container(word) or bool(split_in(word))


def _days(samples: list[Sample]) -> str:
    """Return a note where the files of each folder have days of their own in their names, else ""."""
    table = _table(samples, DAY, 0)
    days = [day for found in table.values() for day in found]
    if not table or len(days) > len(set(days)) or FEWEST * len(days) > len(samples):
        return ""
    return _note("the pictures of each folder are of days of their own, by their names", table, "day")


def _cameras(samples: list[Sample]) -> str:
    """Return a note where the files of each folder are named by a camera of its own, else ""."""
    table = _table(samples, CAMERA, 1)
    cameras = [camera for found in table.values() for camera in found]
    if not 1 < len(set(cameras)) == len(cameras) <= MOST:
        return ""
    return _note("the files of each folder are named as one camera does", table, "camera")


def _numbers(samples: list[Sample]) -> str:
    """Return a note where the numbers of one camera or one series go on from folder to folder, else ""."""
    spans: dict[str, list[int]] = {}
    counts, before, camera = Counter[str](), set[str](), False
    for sample in samples:
        match = NUMBER.fullmatch(_name(sample).rpartition(".")[0])
        if not match:
            return ""
        before.add(match[1])
        if len(before) > 1 or len(match[2]) > 9:
            return ""
        number = int(match[2])
        span = spans.setdefault(sample.label, [number, number])
        span[0], span[1] = min(span[0], number), max(span[1], number)
        counts[sample.label] += 1
        camera = camera or bool(CAMERA.match(_name(sample)))
    order = sorted(spans.items(), key=lambda item: item[1])
    if not 1 < len(order) <= MOST or min(counts.values()) < FEWEST:
        return ""
    steps = [after[0] - earlier[1] for (_, earlier), (_, after) in pairwise(order)]
    dense = all(last - first < counts[label] for label, (first, last) in order)
    if min(steps) < 1 or not (camera or (dense and set(steps) == {1})):
        return ""
    shown = ", ".join(f"{first} to {last} in {printable(label)}" for label, (first, last) in order[:FEWEST])
    return f"the numbers of the files go on from folder to folder ({shown}){_CONCLUSION.format('session')}"


_CONCLUSION = (
    "; if the folders are times, places or persons and not classes, label the images by a table; otherwise a "
    "classifier may learn the {} instead of the class"
)


def _note(what: str, table: Table, kind: str) -> str:
    shown = few_of([f"{next(iter(found))} in {label}" for label, found in sorted(table.items())])
    return f"{what} ({shown}){_CONCLUSION.format(kind)}"


def _table(samples: list[Sample], pattern: re.Pattern[str], group: int) -> Table:
    """Count what `pattern` finds in the names of each folder; {} where it does not in nearly all, or few are there."""
    table: Table = defaultdict(Counter)
    missed = 0
    for sample in samples:
        if match := pattern.search(_name(sample)):
            table[sample.label][match[group]] += 1
        else:
            missed += 1
            if missed * 20 > len(samples):
                return {}
    few = len(table) < 2 or min(found.total() for found in table.values()) < FEWEST
    return {} if few or len(table) > MOST * MOST else table
