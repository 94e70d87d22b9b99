"""Doubt names of classes that people give to other things, too: numbered parts, persons, conditions, devices, rests."""

import re
from collections import defaultdict
from collections.abc import Iterable

from darkroom.sources.encodings import few_of, printable
from darkroom.sources.folder_names import PARTS, is_container, words_of

NO_CLASSES = (
    "annotations", "annotation", "labels", "docs", "doc", "meta", "metadata", "scripts", "code", "src", "assets",
    "figures", "screenshots", "demo", "demos", "notebooks", "plots", "logs", "results", "output", "outputs", "examples",
    "checkpoints", "runs", "venv", "env", "tmp", "temp", "backup", "old", "inbox", "incoming", "todo", "to_label",
    "unsorted", "thumbs", "thumb", "thumbnails", "previews", "delete", "delete_me", "deleted", "rejected", "trash",
    "lost", "recycled",
)  # fmt: skip
LEFTOVERS = frozenset((
    "misc", "miscellaneous", "other", "others", "various", "rest", "etc", "uncategorized", "unclassified", "unknown",
    "junk", "noise", "review", "duplicates", "to sort", "to_sort", "bad", "blurry", "corrupt", "skip", "ignore",
    "check", "unsure", "all", "alle", "everything", "selected", "favorites", "favourites", "best", "final", "camera",
    "downloads", "divers", "sonstiges", "verschiedenes", "otros", "outros", "altro", "varie",
))  # fmt: skip
PROGRAMS = {"whatsapp", "telegram", "signal", "google", "icloud", "from", "album", "albums", "my", "new", "old"}
# Where pictures are found: {word of a class name}.
ORIGINS = frozenset((
    "google", "bing", "baidu", "yandex", "flickr", "kaggle", "imagenet", "openimages", "coco", "unsplash", "pexels",
    "pixabay", "shutterstock", "istock", "getty", "wikimedia", "wikipedia", "instagram", "facebook", "twitter",
    "reddit", "youtube", "tiktok", "pinterest", "inaturalist", "gbif", "internet", "web", "scraped", "downloaded",
    "synthetic",
))  # fmt: skip
KINDS = {
    "times, weather or light": frozenset((
        "morning", "noon", "midday", "afternoon", "evening", "night", "nighttime", "day", "daytime", "daylight", "dawn",
        "dusk", "sunrise", "sunset", "spring", "summer", "autumn", "fall", "winter", "sunny", "cloudy", "rain", "rainy",
        "fog", "foggy", "snow", "snowy", "overcast", "bright", "dark", "flash",
    )),
    "places or views": frozenset((
        "indoor", "outdoor", "indoors", "outdoors", "inside", "outside", "front", "frontal", "back", "rear", "left",
        "right", "top", "bottom", "side", "lateral", "north", "south", "east", "west", "near", "far",
    )),
    "devices": frozenset((
        "iphone", "ipad", "android", "samsung", "galaxy", "pixel", "xiaomi", "huawei", "oppo", "vivo", "oneplus",
        "nokia", "motorola", "htc", "lg", "canon", "nikon", "sony", "fuji", "fujifilm", "olympus", "panasonic", "leica",
        "pentax", "kodak", "gopro", "dji", "drone", "webcam", "phone", "smartphone", "mobile", "dslr", "scanner",
    )),
    "sources of pictures": ORIGINS,
    "sizes or versions": frozenset((
        "small", "medium", "large", "big", "before", "after", "old", "new", "high", "low", "hq", "lq", "v",
    )),
}  # fmt: skip
# Words whose numbers are classes; of others (`tank1`, `tank2`), the numbers may be things or places.
GRADES = frozenset(("grade", "stage", "class", "type", "level", "category", "label", "digit", "score", "kl", "degree"))
CODE = re.compile(r"([A-Za-z]{1,2})[_-]?(\d{2,})")
NUMBERED = re.compile(r"(.*?)[ _.\-]*\(?(?:(\d{1,3})|(?<=[ _.\-(])([A-Za-z]))\)?")
PART = re.compile(rf"[ _.\-]+({'|'.join(sorted(PARTS))}|v)$", re.IGNORECASE)  # of `cat_part`
WORD, LETTERS = re.compile(r"[^\W\d_]+"), re.compile(r"[^\W\d_]{2,}")
# Names of two parts, split at the first and at the last separator; and each first part as a `label_pattern`.
PAIRS = {
    re.compile(r"(.+?)[ _.\-]+(.+)"): r"([^/]+?)[ _.-]+[^/]*/[^/]*$",
    re.compile(r"(.+)[ _.\-]+(.+?)"): r"([^/]+)[ _.-]+[^/]*/[^/]*$",
}
MEASURE = re.compile(r"([^\W\d_]*)[ _.\-]?\d{1,4}(?:[.,]\d+)?[ _.\-]?([^\W\d_]*|%)")  # `20C`, `10 cm`, `f2.8`, `iso400`
GRID = 0.75  # share of the pairs of two words that are classes
# As a `label_pattern`, the first word of a class folder, and what precedes a number or a single letter.
FIRST_WORD = r"([^\W\d_]+)[^/]*/[^/]*$"
BEFORE_NUMBER, BEFORE_LETTER = r"([^/]+?)[ _.-]*\(?\d*\)?/[^/]*$", r"([^/]+?)(?:[ _.-][A-Za-z])?/[^/]*$"


def are_things(names: Iterable[str]) -> bool:
    """Return whether names are single words, each with several numbers from 0 or 1: `cat1`, `cat (2)`, `dog_part1`.

    The words may be the classes, and the numbers their cats and dogs. `boeing737` is a class.
    """
    names = list(names)
    stems = _stems(names)
    counted = all(LETTERS.fullmatch(stem) and stem not in GRADES and _are_counted(parts)
                  for stem, parts in stems.items())  # fmt: skip
    return counted and len(stems) > 1 and sum(map(len, stems.values())) == len(names)


def doubts(labels: Iterable[str], folders: bool) -> list[str]:
    """Return a note for each reason why names may not be classes; `folders`: whether they are names of folders."""
    names = sorted(filter(None, labels))
    whole = _doubt(names, folders)
    notes = [whole] if whole else []
    if folders:
        notes += [f"{printable(name)} is called like what comes with data, and is taken for a class; if it is not one, "
                  "`exclude` it" for name in names if name.lower() in NO_CLASSES]  # fmt: skip
        notes += [f"{printable(name)} is taken for a class; if it holds what was not sorted, `exclude` it"
                  for name in names if _is_rest(name, len(names))]  # fmt: skip
    return notes


def _doubt(names: list[str], folders: bool) -> str:
    """Return what names may be instead of classes and how to choose otherwise, "" without a doubt."""
    shown, words = few_of(names), [{*words_of(name), *WORD.findall(name.lower())} for name in names]
    other = "label the images by a table or by their names"
    if _are_codes(names):
        return f"the classes are numbered ({shown}); if these are persons, places or samples, and not classes, {other}"
    if not folders and _are_initials(names):
        return (
            f"the classes are short codes ({shown}); if these are persons, places or samples, and not classes, {other}"
        )
    if kind := next(
        (kind for kind, some in KINDS.items() if len(names) > 1 and all(map(some.intersection, words))), ""
    ):
        return f"the classes are called like {kind} ({shown}); if that is not what is to be learnt, {other}"
    if _are_measures(names):
        return f"the classes are called like measures ({shown}); if that is not what is to be learnt, {other}"
    if parts := _numbered_parts(names):
        pattern = BEFORE_NUMBER if any(part[-1] in "0123456789)" for part in parts) else BEFORE_LETTER
        how = f"`label_pattern: '{pattern}'`" if folders else "`label_pattern`"
        return f"{few_of(parts)} look like numbered parts of a class, and are taken for classes; {how} joins them"
    for separated, pattern in PAIRS.items():
        if pair := _grid_of(names, separated):
            how = f"`label_pattern: '{pattern}'` takes the first" if folders else "choose it by `label_pattern`"
            return (f"each class is a pair of {few_of(pair[0])} and {few_of(pair[1])}; if one of the two is the class, "
                    f"{how}")  # fmt: skip
    if pair := _glued(names):
        how = f"`label_pattern: '({'|'.join(pair[0])})[^/]*/[^/]*$'` takes the first" if folders else other
        return f"each class is {few_of(pair[0])} with {few_of(pair[1])}; if one of the two is the class, {how}"
    return ""


def _stems(names: Iterable[str]) -> dict[str, set[str]]:
    """Return the numbers or single letters behind each stem: `cat 1` and `cat_part2` are 1 and 2 of cat."""
    found: dict[str, set[str]] = defaultdict(set)
    for name in names:
        if (match := NUMBERED.fullmatch(name)) and WORD.search(match[1]):
            found[PART.sub("", match[1]).lower()].add((match[2] or match[3]).lower())
    return found


def _are_counted(parts: set[str]) -> bool:
    """Return whether two or more parts are numbers from 0 or 1, or letters from a, hardly with a gap."""
    if len(parts) < 2 or len({part.isdigit() for part in parts}) > 1:
        return False
    numbers = [int(part) if part.isdigit() else ord(part) - ord("a") for part in parts]
    return min(numbers) <= 1 and max(numbers) < 2 * len(numbers)


def _numbered_parts(names: list[str]) -> list[str]:
    """Return the names that differ from another by a number alone: `Apple Red 1`, `Apple Red 2`; `cat`, `cat2`."""
    whole = {name.lower() for name in names}
    found = {stem: parts | ({"1"} if stem in whole else set()) for stem, parts in _stems(names).items()}
    stems = {stem for stem, parts in found.items() if GRADES.isdisjoint(words_of(stem)) and _are_counted(parts)}
    return [name for name in names if name.lower() in stems or stems.intersection(_stems([name]))]


def _grid_of(names: list[str], separated: re.Pattern[str]) -> tuple[list[str], list[str]] | None:
    """Return the words of names that are nearly all pairs of two or more words and two or more others, else None."""
    pairs = {match.groups() for name in names if (match := separated.fullmatch(name))}
    one, other = sorted({pair[0] for pair in pairs}), sorted({pair[1] for pair in pairs})
    whole = len(pairs) == len(names) and min(len(one), len(other)) > 1
    return (one, other) if whole and len(pairs) >= GRID * len(one) * len(other) else None


def _glued(names: list[str]) -> tuple[list[str], list[str]] | None:
    """Return the beginnings and the ends of names that are all pairs of the two: `oakspring`, `oakfall`…"""
    first = names[0] if len(names) > 3 else ""
    for cut in range(len(first) - 2, 1, -1):  # the longest beginnings: fire and police, not fir and polic
        ends = sorted(name[cut:] for name in names if name.startswith(first[:cut]))
        starts = sorted(name[: -len(first[cut:])] for name in names if name.endswith(first[cut:]))
        pairs = [start + end for start in starts for end in ends]
        if min(len(starts), len(ends)) > 1 and sorted(pairs) == names and all(map(LETTERS.fullmatch, starts + ends)):
            return starts, ends
    return None


def _are_measures(names: list[str]) -> bool:
    """Return whether names are different numbers of one unit: `20C` and `30C`, `f4` and `f8`, but not `class1`."""
    matches = [match for match in map(MEASURE.fullmatch, names) if match]
    units = {match[1] + match[2] for match in matches}
    if len(names) < 2 or len(matches) < len(names) or len(units) > 1:
        return False
    unit = units.pop()
    return 0 < len(unit) < 4 and unit not in GRADES


def _are_codes(names: list[str]) -> bool:
    """Return whether names are one or two letters with numbers of one width (`P001`), or one word with numbers."""
    stems = _stems(names)
    one = len(names) > 1 and len(stems) == 1 and all(name[-1].isdigit() or name.endswith(")") for name in names)
    if one and sum(map(len, stems.values())) == len(names) and all(map(WORD.fullmatch, stems)):
        return GRADES.isdisjoint(stems)
    found = [CODE.fullmatch(name) for name in names]
    return len(found) > 2 and len({match and (match[1], len(match[2])) for match in found}) == 1 and None not in found


def _are_initials(names: list[str]) -> bool:
    """Return whether all names are two or three letters, as the initials of persons are: `ab`, `JKL`."""
    return all(len(name) in (2, 3) and name.isascii() and name.isalpha() and (len(name) == 2 or name.isupper())
               for name in names)  # fmt: skip


def _is_rest(name: str, count: int) -> bool:
    """Return whether one of `count` classes is called like what nobody has sorted, or like a folder of any pictures."""
    words = [word for word in words_of(name.lower()) if not word.isdigit()]
    pictures = is_container(" ".join(word for word in words if word not in PROGRAMS))
    return name.lower() in LEFTOVERS - ({"bad"} if count < 3 else set()) or pictures
