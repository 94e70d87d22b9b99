"""Doubt names of classes that people give to other things, too: numbered parts, persons, conditions, devices, rests."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from darkroom.sources.encodings import few_of, printable
from darkroom.sources.folder_names import PARTS, is_container, words_of
from darkroom.sources.vocabulary import COMPANIONS, FILLERS, KINDS, NUMBERS, RESTS, STATES, plain, rank

PROGRAMS = {"whatsapp", "telegram", "signal", "google", "icloud", "from", "album", "albums", "my", "new", "old"}
# Names that are classes beside one of some others: {name, as in COMPANIONS, RESTS or STATES: its neighbours}.
_GOOD = {"pass", "passed", "ok", "okay", "good", "success", "successful", "normal"}
NEIGHBOURS = {
    **dict.fromkeys(("bad", "fail", "failed", "failure", "reject", "rejected"), _GOOD),
    "trash": {"paper", "glass", "plastic", "metal", "cardboard", "organic"}, "old": {"young", "middle", "new", "adult"},
    "photo": {"cartoon", "sketch", "drawing", "painting", "art painting", "meme", "screenshot"},
}  # fmt: skip
ALBUMS = ("Camera", "Camera Roll", "Camera Uploads", "Downloads")  # of telephones; `camera` may be a class
WEATHERS = frozenset(("cloudy", "rain", "rainy", "fog", "foggy", "snow", "snowy", "sunny", "overcast", "sunrise"))
MANY = 4  # kinds of weather are classes
# Words whose numbers are classes; of others (`tank1`, `tank2`), the numbers may be things or places.
GRADES = frozenset((
    "grade", "stage", "class", "type", "level", "category", "label", "digit", "score", "kl", "degree", "phase", "rank",
    "tier", "birads", "rads", "tirads", "pirads", "fitzpatrick", "bethesda", "gleason", "stufe", "grad", "klasse",
    "classe", "clase", "tipo", "typ", "grado", "grau", "niveau", "nivel",
))  # fmt: skip
WORDNET = re.compile(r"n\d{8}")  # a class of ImageNet
CODE = re.compile(r"([A-Za-z]{1,2})[_-]?(\d{2,})")
# What stands before a number, and the number: as digits, a letter, a word or a Roman numeral, or a rank at either end.
GAP = r"(?:[ _.\-(]+|(?<=[a-z])(?=[A-Z]))"
ORDINALS: tuple[tuple[re.Pattern[str], Callable[[str], int]], ...] = (
    (re.compile(r"(?P<stem>.*?)[ _.\-]*\(?(?P<number>\d{1,3})\)?"), int),
    (re.compile(rf"(?P<stem>.*?){GAP}(?P<number>[A-Za-z])\)?"), lambda letter: ord(letter.lower()) - ord("a") + 1),
    (re.compile(rf"(?P<stem>.*?){GAP}(?P<number>[^\W\d_]+)\)?"), lambda word: NUMBERS.get(plain(word), 0)),
    (re.compile(r"(?P<number>[^\W_]+)(?:[ _.\-]+(?P<stem>.+))?"), rank),
    (re.compile(rf"(?P<stem>.*?){GAP}(?P<number>[^\W_]+)"), rank),
)
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
BEFORE_NUMBER = r"([^/]+?)[ _.-]*\(?\d*\)?/[^/]*$"
LONG = 300  # signs of a pattern that nobody would copy


def are_things(names: Iterable[str]) -> bool:
    """Return whether names are single words, each with several numbers from 0 or 1: `cat1`, `cat (2)`, `dog_II`.

    The words may be the classes, and the numbers their cats and dogs. `boeing737` is a class.
    """
    names = list(names)
    counted = _counted(names)
    words = all(LETTERS.fullmatch(stem) and stem not in GRADES for stem in counted)
    return words and len(counted) > 1 and set().union(*counted.values()) == set(names)


def joining(names: Iterable[str]) -> str:
    """Return a `label_pattern` that takes what numbered folders have in common: cat of `catI` and `catII`."""
    counted, stems = _counted(names := list(names)), set[str]()
    if _any_digits(set().union(*counted.values())):
        return FIRST_WORD
    for stem, parts in counted.items():
        stems |= {name[start : start + len(stem)] for name in parts if (start := name.lower().find(stem)) >= 0}
    stems |= set(names) - set().union(*counted.values())
    return rf"(?:^|/)[^/]*?({'|'.join(map(re.escape, sorted(stems, key=lambda stem: (-len(stem), stem))))})[^/]*/[^/]*$"


def _any_digits(names: Iterable[str]) -> bool:
    return any(name[-1] in "0123456789)" for name in names)


def doubts(labels: Iterable[str], folders: bool) -> list[str]:
    """Return a note for each reason why names may not be classes; `folders`: whether they are names of folders."""
    names = sorted(filter(None, labels))
    whole = _doubt(names, folders)
    notes = [whole] if whole else []
    if folders:
        sure = {name for name in names if _is_class_beside(name, names)}
        notes += [f"{printable(name)} is called like what comes with data, and is taken for a class; if it is not one, "
                  "`exclude` it" for name in names if is_companion(name) and name not in sure]  # fmt: skip
        notes += [
            f"{printable(name)} is taken for a class; if it holds what was not sorted, `exclude` it"
            for name in names
            if not whole and not is_companion(name) and name not in sure and _is_rest(name)
        ]
    return notes


def _doubt(names: list[str], folders: bool) -> str:
    """Return what names may be instead of classes and how to choose otherwise, "" without a doubt."""
    shown = few_of(names)
    words = [{*words_of(name), *WORD.findall(plain(name)), _spoken(name)} for name in names]
    if len({_spoken(name).partition(" ")[0] for name in names}) > 1:  # `ok_front` and `bad_front`, not `lab_1`, `lab_2`
        words = [some - set.intersection(*words) for some in words]
    other = "label the images by a table or by their names"
    if _are_codes(names):
        return f"the classes are numbered ({shown}); if these are persons, places or samples, and not classes, {other}"
    if not folders and _are_initials(names):
        return (
            f"the classes are short codes ({shown}); if these are persons, places or samples, and not classes, {other}"
        )
    if kind := next((kind for kind, some in KINDS.items() if _are_of_kind(words, some)), ""):
        return f"the classes are called like {kind} ({shown}); if that is not what is to be learnt, {other}"
    if _are_measures(names):
        return f"the classes are called like measures ({shown}); if that is not what is to be learnt, {other}"
    if parts := _numbered_parts(names):
        pattern = BEFORE_NUMBER if _any_digits(parts) else joining(names)
        how = f"`label_pattern: '{pattern}'`" if folders and len(pattern) < LONG else "`label_pattern`"
        return f"{few_of(parts)} look like numbered parts of a class, and are taken for classes; {how} joins them"
    for separated, pattern in PAIRS.items():
        if pair := _grid_of(names, separated):
            how = f"`label_pattern: '{pattern}'` takes the first" if folders else "choose it by `label_pattern`"
            others = [word or "nothing" for word in pair[1]]
            return (f"each class is a pair of {few_of(pair[0])} and {few_of(others)}; if one of the two is the class, "
                    f"{how}")  # fmt: skip
    if pair := _glued(names):
        how = f"`label_pattern: '({'|'.join(pair[0])})[^/]*/[^/]*$'` takes the first" if folders else other
        return f"each class is {few_of(pair[0])} with {few_of(pair[1])}; if one of the two is the class, {how}"
    return ""


def _stems(names: Iterable[str]) -> Iterator[dict[str, dict[int, str]]]:
    """Yield, for each way to write numbers, the names by what precedes the number and by the number, from 0."""
    for pattern, value in ORDINALS:
        found: dict[str, dict[int, str]] = defaultdict(dict)
        for name in names:
            match = pattern.fullmatch(name)
            if match and ((number := value(match["number"])) or match["number"].isdigit()):
                found[PART.sub("", match["stem"] or "").lower()][number] = name
        yield found


def _counted(names: Iterable[str]) -> dict[str, set[str]]:
    """Return the names that differ by a number from 0 or 1 alone, hardly with a gap, by what they have in common."""
    names = list(names)
    whole = {name.lower(): name for name in names}
    counted: dict[str, set[str]] = {}
    for stems in _stems(names):
        for stem, parts in stems.items():
            if stem in whole and parts.keys().isdisjoint((0, 1)):  # `cat`, `cat2`
                parts = parts | {1: whole[stem]}
            if len(parts) > 1 and min(parts) <= 1 and max(parts) < 2 * len(parts) and WORD.search(stem):
                counted[stem] = counted.get(stem, set()) | set(parts.values())
    return counted


def _numbered_parts(names: list[str]) -> list[str]:
    """Return the names that differ from another by a number alone: `Apple Red 1`, `Apple Red 2`; `cat`, `cat2`."""
    counted = _counted(names)
    return sorted(name for stem in counted if GRADES.isdisjoint(words_of(stem)) for name in counted[stem])


def _grid_of(names: list[str], separated: re.Pattern[str]) -> tuple[list[str], list[str]] | None:
    """Return the words of names that are nearly all pairs of two or more words and two or more others, else None.

    One of the others may be missing: `leaf`, `leaf_new`, `bark`, `bark_new`.
    """
    pairs = {(match[1], match[2]) for name in names if (match := separated.fullmatch(name))}
    pairs |= {(first, "") for first in {first for first, _ in pairs} & set(names)}
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
    return 0 < len(unit) < 4 and unit.lower() not in GRADES


def _are_codes(names: list[str]) -> bool:
    """Return whether names are one or two letters with numbers of one width (`P001`), or one word with numbers."""
    for stems in _stems(names):
        (stem, parts), *others = stems.items() or [("", {})]
        ranks = not stem and all(map(rank, names))
        if not others and len(names) > 1 and len(parts) == len(names) and (WORD.fullmatch(stem) or ranks):
            return GRADES.isdisjoint(words_of(stem))
    shapes = {re.sub(r"\d+", "#", name) for name in names}
    letters = set(words_of(names[0])) - GRADES if names else set()
    if len(shapes) == 1 < len(names) and len(re.findall(r"\d+", names[0])) > 1 and any(map(str.isalpha, letters)):
        return True  # `2023W04`, `N48E16`
    found = [CODE.fullmatch(name) for name in names if not WORDNET.fullmatch(name)]
    return len(found) > 2 and len({match and (match[1], len(match[2])) for match in found}) == 1 and None not in found


def _are_initials(names: list[str]) -> bool:
    """Return whether all names are two or three letters, as the initials of persons are: `ab`, `JKL`."""
    return all(len(name) in (2, 3) and name.isascii() and name.isalpha() and (len(name) == 2 or name.isupper())
               for name in names)  # fmt: skip


def _are_of_kind(words: list[set[str]], kind: frozenset[str]) -> bool:
    """Return whether each name has one of the words of a kind."""
    found = [kind.intersection(some) for some in words]
    weathers = len(words) >= MANY and all(some <= WEATHERS for some in found)
    return len(words) > 1 and all(found) and not weathers


def _is_rest(name: str) -> bool:
    """Return whether a class is called like what nobody has sorted, or like a folder of any pictures."""
    words = [word for word in words_of(name.lower()) if not word.isdigit()]
    pictures = is_container(" ".join(word for word in words if word not in PROGRAMS))
    unsorted = set(_spoken(name).split()) - FILLERS
    return (
        pictures or name in ALBUMS or _spoken(name) in RESTS | STATES or (bool(unsorted) and unsorted <= RESTS | STATES)
    )


def _is_class_beside(name: str, names: list[str]) -> bool:
    """Return whether the neighbours of a name say that it is a class: `old` beside `young`, `trash` beside `glass`."""
    return not NEIGHBOURS.get(_spoken(name), set()).isdisjoint(map(_spoken, names))


def is_companion(name: str) -> bool:
    """Return whether a folder is called like what comes with data sets, and not like a class: `docs`, `_old`."""
    return _spoken(name) in COMPANIONS


def _spoken(name: str) -> str:
    """Return a name without accents, with single spaces between its words: `À_trier` is `a trier`."""
    return " ".join(plain(name).replace("_", " ").replace("-", " ").split())
