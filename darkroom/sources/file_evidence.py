"""Doubt class folders by their files' names: they say other classes, or numbers, days and cameras part them."""

import re
from collections import Counter, defaultdict
from itertools import pairwise

from darkroom.sources.encodings import few_of, printable
from darkroom.sources.file_names import CAMERAS, few_counts, name_readings
from darkroom.sources.folder_names import is_container, split_in, words_of
from darkroom.sources.labels import Sample
from darkroom.sources.vocabulary import KINDS, plain

# As a `label_pattern`, the second word of a name, the third and the last: cat of `IMG_cat_1.jpg`, of `001_cat.jpg`.
WORDS = (r"^[^._\-\s]+[._\-\s]+([^\W\d_]{2,})", r"^(?:[^._\-\s]+[._\-\s]+){2}([^\W\d_]{2,})",
         r"(?:^|[^A-Za-z])([^\W\d_]{2,})\.[^.]*$")  # fmt: skip
NUMBER = re.compile(r"(.*?)(\d+)\D*")  # the first number in a name, and what precedes it
CAMERA = re.compile(r"(_?IMG|_MG|DSC[NF]?|PXL|MVIMG|GOPR|DJI|SAM|CIMG|PANA|HPIM|P)[_-]?(?=\d{4})")
NUMBERING = re.compile(r"(?:[a-z]*[ _-]?)?\(?\d{1,5}\)?")  # 1, img_0001, image (12)
DAY = re.compile(
    r"(?<!\d)(?:(?:19|20)\d\d([-_.]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])(?!\d(?!\d{5}(?!\d)))"
    r"|(?:0[1-9]|[12]\d|3[01])([-_.])(?:0[1-9]|1[0-2])\2(?:19|20)\d\d(?!\d))"
)
CHANGED = frozenset((
    "aug", "augmented", "flip", "flipped", "hflip", "vflip", "rot", "rotate", "rotated", "noise", "noisy", "blur",
    "crop", "cropped", "mirror", "mirrored", "orig", "original", "zoom", "zoomed", "shear", "shift", "shifted",
    "scaled", "resized", "contrast", "brightness", "gray", "grey", "color", "colour", "copy", "mask",
))  # fmt: skip
FEWEST, MOST, NEARLY, LOOKED_AT = 3, 10, 0.95, 300
SHARED = 0.7  # share of the images whose word occurs in other folders, too
Table = dict[str, Counter[str]]  # how often each folder has each word, day or camera


def other_classes(samples: list[Sample]) -> dict[str, Counter[str]]:
    """Return the ways to read classes from names that divide all folders alike: `lab/cat_1.jpg`, `home/cat_2.jpg`."""
    few = _some(samples)
    if sum(_name(sample)[:2].isalpha() for sample in few) < NEARLY * len(few):
        return {}
    readings = name_readings([sample.location for sample in samples])
    return {
        pattern: labels
        for pattern, labels in readings.items()
        if all(label[:3].isalpha() for label in labels) and _cross(samples, pattern)
    }


def doubts_of_files(samples: list[Sample]) -> list[str]:
    """Return notes about what the files' names say against the folders as classes."""
    if len({sample.label for sample in samples}) < 2:
        return []
    notes = [note for note in (_days(samples) or _cameras(samples) or _numbers(samples), _twins(samples)) if note]
    for pattern in WORDS:
        if words := _cross(_some(samples), pattern) and _cross(samples, pattern):
            return [f"the names of files hold the same words in different folders ({few_counts(words)}); if these are "
                    f"the classes, `label_pattern: '{pattern}'` takes them", *notes]  # fmt: skip
    return notes


def notes_about_origins(origins: list[tuple[str, str, str]]) -> list[str]:
    """Return a note where the pictures of each class, by EXIF, are of one camera or of days of its own.

    `origins`: a label, a camera and a day a picture, "" where the file does not say.
    """
    for column, kind in ((1, "camera"), (2, "day")):
        table: Table = defaultdict(Counter)
        for origin in origins:
            if origin[column]:
                table[origin[0]][origin[column]] += 1
        found = [one for counts in table.values() for one in counts]
        known = sum(counts.total() for counts in table.values())
        apart = len(found) == len(set(found)) and FEWEST * len(found) <= known
        labels = {label for label, *_ in origins}
        if apart and 1 < len(table) == len(labels) <= MOST and known >= NEARLY * len(origins):
            return [_note(f"the pictures of each class are of a {kind} of its own, by EXIF", table, kind)]
    return []


def _twins(samples: list[Sample]) -> str:
    """Return a note where most images share their name with another of their class and split, else "".

    Such are `color/oak/a1.jpg` and `segmented/oak/a1.jpg`, thumbnails, and a picture in two formats. Names that only
    number the files of a folder begin anew in each: these count below one another alone.
    """
    named: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for sample in samples:
        named[sample.label, sample.split, _name(sample).rpartition(".")[0].lower()].append(sample.location)
    twins = [locations for (_, _, stem), locations in named.items()
             if len(locations) > 1 and (not NUMBERING.fullmatch(stem) or _below(locations))]  # fmt: skip
    count = sum(map(len, twins))
    if 2 * count <= len(samples):
        return ""
    shown = " and ".join(printable(location) for location in twins[0][:2])
    return (
        f"{count:,} of {len(samples):,} images share their name with another of their class ({shown}); if these show "
        "the same, leave out one kind by `exclude`, or keep each name in one split by a `group_by` that takes it"
    )


def _below(locations: list[str]) -> bool:
    """Return whether one of the files lies in the folder of another, or below it."""
    folders = sorted({location.rpartition("/")[0] for location in locations}, key=len)
    return len(folders) < len(locations) or any(folder.startswith(f"{folders[0]}/") for folder in folders[1:])


def _some(samples: list[Sample]) -> list[Sample]:
    return samples[:: max(len(samples) // LOOKED_AT, 1)]


def _name(sample: Sample) -> str:
    return sample.location.rpartition("/")[2]


def _cross(samples: list[Sample], pattern: str) -> Counter[str]:
    """Count the words that `pattern` takes from names; none where they are a folder's own, or known to be no classes.

    Each folder holds several of them, and most are in several folders.
    """
    table: Table = defaultdict(Counter)
    expression = re.compile(pattern)
    for sample in samples:
        match = expression.search(_name(sample))
        if match and match.end(1) < len(_name(sample)):  # not the suffix
            table[sample.label][match[1]] += 1
    words, folders = Counter[str](), Counter[str]()
    for found in table.values():
        words.update(found)
        folders.update(found.keys())
    shared = sum(count for word, count in words.items() if folders[word] > 1)
    own = [found.most_common(1)[0] for found in table.values()]
    sure = len({word for word, _ in own}) == len(own) and all(
        2 * most > found.total() for found, (_, most) in zip(table.values(), own, strict=True)
    )
    crossing = (
        words.total() >= NEARLY * len(samples)
        and min(map(len, table.values())) > 1
        and FEWEST * len(words) <= len(samples)
        and shared >= SHARED * words.total()
        and not sure
        and 2 * sum(map(_is_no_class, words)) <= len(words)
    )
    return words if len(table) > 1 and crossing else Counter()


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
    "; if these are times, places or persons and not classes, label the images by a table; otherwise a "
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
