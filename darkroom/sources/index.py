"""Write data/index.csv: a row for each labelled file, with the digest of its bytes and its perceptual hash.

The hashes are computed here and not in images/hashes.py, so that split, which compares them, does not depend on
decoding.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from darkroom.cluster.tasks import run
from darkroom.core import files
from darkroom.core.errors import BadImage, NoMemory, SourceError, is_out_of_memory
from darkroom.core.progress import progress, say
from darkroom.core.runtime import Runtime
from darkroom.images import hashes
from darkroom.images.decode import decode_grey
from darkroom.images.formats import what_is_wrong
from darkroom.images.hashes import from_text, with_picture
from darkroom.images.headers import camera_and_day, upright_size
from darkroom.images.levels import Range, file_range
from darkroom.images.workers import Died
from darkroom.sources.extents import Extent
from darkroom.sources.file_evidence import notes_about_origins
from darkroom.sources.labels import Sample
from darkroom.sources.lost_classes import report_lost
from darkroom.sources.trees import ADDED, Locations
from darkroom.splits.alike import STORED
from darkroom.splits.corrections import ONLY_TRAINS, decisions, read_corrections
from darkroom.splits.duplicates import MOST_CHECKED, as_bits, doubtful

COLUMNS = ("id", "label", "split", "group", "location", "bytes", "sha256", "phash", "windows", "width", "height")
# bytes, sha256, phash, windows, width, height, camera and day, range of values beyond 8 bits, known mistake
Facts = tuple[int, str, str, str, int, int, tuple[str, str], Range | None, str]
UNREAD: Facts = (0, "", "", "", 0, 0, ("", ""), None, "")


def write_index(
    samples: list[Sample], locations: Locations, path: Path, runtime: Runtime, hashing: bool = True,
    missing: str | None = "stop",
) -> tuple[int, list[Range], list[str]]:  # fmt: skip
    """Read every file once, describe it, and write the index, sorted by location.

    Return the number of rows, the range of values of each picture of more than 8 bits, and notes about copies that are
    judged by hashes alone, and about cameras and days that part the classes. `hashing` False leaves out the perceptual
    hashes, to measure what they cost. Raises SourceError when most files are the same kind of other files, such as
    pointers of Git LFS, when no file of a class is a picture, unless `missing` is drop, or None for files without
    labels, and when memory is too short for a picture: what the index holds never depends on that.
    """
    facts: dict[str, Facts] = {}
    tasks = locations.extents([sample.location for sample in samples])
    results = run(partial(describe, hashing=hashing), tasks, runtime)
    fatal: list[tuple[str, Extent]] = []
    for task, fact in progress(results, "indexing", total=len(samples)):
        if isinstance(fact, Died):
            if is_out_of_memory(BadImage(fact.reason)):
                raise _too_short(task[0], fact)
            fatal.append(task)
            say(f"note: {task[0]}: {fact.reason}; it is indexed by its bytes alone")
        else:
            facts[task[0]] = fact
    for task, fact in run(partial(describe, decoding=False), fatal, runtime):
        facts[task[0]] = UNREAD if isinstance(fact, Died) else fact
    notes = _keep_pictures(locations, facts, runtime) if hashing else []
    _check_mistakes(samples, Counter(fact[-1] for fact in facts.values() if fact[-1]))
    if missing is not None:
        _check_classes(samples, facts, missing)
    ranges = [fact[-2] for _, fact in sorted(facts.items()) if fact[-2] is not None]
    notes += notes_about_origins([(sample.label, *facts[sample.location][-3]) for sample in samples])
    return files.write_csv(path, COLUMNS, _rows(samples, facts)), ranges, notes


def describe(task: tuple[str, Extent], hashing: bool = True, decoding: bool = True) -> Facts:
    """Return the facts of one file; a file that is not a picture has size 0 x 0 and no perceptual hash.

    `decoding` False only counts and digests its bytes.
    """
    try:
        data = task[1].read()
    except (BadImage, OSError):  # preprocess reports the reason
        return UNREAD
    if not decoding:
        return len(data), hashlib.sha256(data).hexdigest(), "", "", 0, 0, ("", ""), None, ""
    width, height = upright_size(data)
    phash, windows = fingerprints(data, min(width, height)) if hashing and width else ("", "")
    mistake = "" if width else what_is_wrong(data)
    values = file_range(data) if width else None
    digest = hashlib.sha256(data).hexdigest()
    return len(data), digest, phash, windows, width, height, camera_and_day(data), values, mistake


def _too_short(location: str, died: Died) -> SourceError:
    return SourceError(f"{location}: {died.reason}, though nothing else was read at the time; free some memory, or use "
                       "a machine with more, then run the same command again")  # fmt: skip


def _keep_pictures(locations: Locations, facts: dict[str, Facts], runtime: Runtime) -> list[str]:
    """Add small pictures to the facts of those that may be copies, by which split checks that they are; return notes.

    Raises SourceError for a file of which none can be made any more.
    """
    first = {facts[name][2]: name for name in sorted(facts, reverse=True) if facts[name][3]}  # of each hash
    rows = doubtful(as_bits(list(first)), from_text([facts[name][3] for name in first.values()]))
    if len(rows) > MOST_CHECKED:
        return [f"{len(rows):,} pictures may be copies, and at most {MOST_CHECKED:,} are laid over each other to see: "
                "perceptual hashes alone decide, by which similar pictures may count as copies"]  # fmt: skip
    names = list(first.values())
    tasks = locations.extents([names[row] for row in rows.tolist()])
    for task, picture in run(partial(_small_picture, side=STORED), tasks, runtime):
        if isinstance(picture, Died):
            raise _too_short(task[0], picture)
        fact = facts[task[0]]
        if picture:
            facts[task[0]] = (*fact[:3], with_picture(fact[3], picture), *fact[4:])
    return []


def _small_picture(task: tuple[str, Extent], side: int) -> bytes:
    """Return the small picture of a file; nothing where its hash alone can be made. Raises NoMemory and OSError."""
    try:
        return small_picture(task[1].read(), side)
    except NoMemory:
        raise  # the file is tried again while nothing else runs
    except BadImage:
        return b""


def _check_mistakes(samples: list[Sample], mistakes: Counter[str]) -> None:
    for mistake, count in mistakes.most_common():
        if count * 2 > len(samples):
            which = "all" if count == len(samples) else f"{count} of"
            raise SourceError(f"{which} {len(samples)} files that should be images are not, but: {mistake}")
        say(f"note: {count} files are not images, but: {mistake}; preprocess sets them aside")


def _check_classes(samples: list[Sample], facts: dict[str, Facts], missing: str) -> None:
    """Report the classes of which no file is a picture. Raises SourceError unless `missing` is drop."""
    unread: dict[str, list[tuple[str, str]]] = {}
    for sample in samples:
        mistake, width = facts[sample.location][-1], facts[sample.location][4]
        unread.setdefault(sample.label, []).append(
            (sample.location, "" if width else mistake or "its header is damaged")
        )
    lost = {label: found for label, found in unread.items() if all(reason for _, reason in found)}
    if lost:
        report_lost(lost, missing)


def _rows(samples: list[Sample], facts: dict[str, Facts]) -> Iterable[tuple[object, ...]]:
    seen: dict[str, int] = {}
    # Photos that were labelled later come last, so that no other id depends on them.
    for sample in sorted(samples, key=lambda sample: (sample.location.startswith(ADDED), sample.location)):
        size, sha256, phash, windows, width, height, *_ = facts[sample.location]
        identity = sha256 or hashlib.sha256(sample.location.encode()).hexdigest()
        seen[identity] = seen.get(identity, 0) + 1
        unique = identity if seen[identity] == 1 else f"{identity}-{seen[identity]}"
        yield (unique, sample.label, sample.split, sample.group, sample.location, size, sha256, phash, windows, width,
               height)  # fmt: skip


def small_picture(data: bytes, side: int) -> bytes:
    """Return the grey levels of an image file, (side, side) uint8. Raises BadImage for an unreadable one."""
    return decode_grey(data, side)[0].tobytes()


def fingerprints(data: bytes, short_side: int = 0) -> tuple[str, str]:
    """Return (perceptual hash, window hashes) of an image file's bytes; "" for a flat or unreadable picture.

    The first is 64 hex digits: 256 bits, low frequencies first. The second, written by `hashes.as_text`, is "" where
    the picture's `short_side` is below hashes.MIN_SIDE pixels. Raises NoMemory.
    """
    try:
        if short_side < hashes.MIN_SIDE:
            return hashes.hash_of(*decode_grey(data, hashes.SIDE)), ""
        small, larger = decode_grey(data, hashes.SIDE, hashes.GRID)
    except NoMemory:
        raise  # the caller tries again while nothing else runs
    except BadImage:
        return "", ""
    whole = hashes.hash_of(small)
    return whole, hashes.as_text(hashes.window_hashes(larger)) if whole else ""


def read_added(table: Path, raw: Path) -> list[Sample]:
    """Copy photos that were labelled later into `raw`, and return them, for training only; [] without a table.

    `darkroom review` writes the table for the photos that `darkroom next` proposes: it has the columns of
    `corrections.csv`, and a row with the decision `relabel` adds the photo `id`, a path below the table's folder, with
    the label `becomes`; other decisions add nothing.

    Raises SourceError for a photo that is missing, or has another sha256 than when it was labelled.
    """
    if not table.is_file():
        return []
    found = []
    folder = raw / ADDED.rstrip(":/")
    for row in decisions(read_corrections(table), table).values():
        if row.decision != "relabel":
            continue
        photo = table.parent / row.id
        where = f"{table}, line {row.line}: {photo}"
        if not row.id or ".." in Path(row.id).parts or not photo.is_file():
            raise SourceError(f"{where} is not there; put the file back, or delete the line")
        if hashlib.sha256(photo.read_bytes()).hexdigest() != row.sha256:
            raise SourceError(f"{where} is another file than was labelled; put that one back, or delete the line")
        folder.mkdir(exist_ok=True)
        name = f"{row.sha256}{photo.suffix.lower()}"
        shutil.copyfile(photo, folder / name)
        found.append(Sample(ADDED + name, row.becomes, ONLY_TRAINS))
    return sorted(found, key=lambda sample: sample.location)
