"""`darkroom predict`: classify pictures from the command line, one line each."""

import argparse
import csv
import glob
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from darkroom.core.errors import BadImage, DarkroomError
from darkroom.core.progress import say
from darkroom.core.text import escape, json_line, percent
from darkroom.images.decode import check_format
from darkroom.metrics.conformal import in_words
from darkroom.serve.pictures import Pictures, drawable
from darkroom.serve.predictor import Prediction, Predictor, answer_facts, no_sets

STDIN = "-"
DOUBTED = 3  # the exit status where every picture was read, and some are unknown or uncertain; 2 is a wrong option
LARGE = 64 << 20  # bytes; few photos are larger, and most films are
MOST = 2 << 30  # bytes; the largest picture that is decoded has 0.6 GB of pixels
MAGIC = frozenset("*?[")


def main(arguments: list[str]) -> int:
    """Print a line a picture; return 1 when any of them was bad, else DOUBTED when any is to be doubted, else 0."""
    options = _parser().parse_args(arguments)
    # Threads that wait busily would take the processors from those that decode.
    predictor = Predictor(options.model, spin=False)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what a terminal cannot show must not end the run
    level = _level(options, predictor)
    write = WRITERS[options.format](predictor, options.top or len(predictor.classes), level)
    pictures = Pictures(options.save_pictures) if options.save_pictures else None
    total = bad = unknown = uncertain = 0
    files = map(_File, names(options.images))
    for file, answer in predictor.stream(files, _File.keep if pictures else _File.read):
        total += 1
        if isinstance(answer, Prediction) and pictures:
            try:
                pictures.save(file.name, file.data, _caption(answer))
            except BadImage as error:
                answer = error
        if isinstance(answer, BadImage):
            bad += 1
        else:
            unknown += answer.unknown
            uncertain += answer.uncertain and not answer.unknown
        write(shown(file.name), answer)
    sys.stdout.flush()
    if bad:
        say(f"darkroom predict: {bad:,} of {total:,} could not be read")
    if not total:
        say(f"darkroom predict: no files in {', '.join(map(shown, options.images))}")
    if unknown:
        say(f"darkroom predict: {unknown:,} of {total:,} unknown: unlike the training images")
    if uncertain:
        say(f"darkroom predict: {uncertain:,} of {total:,} uncertain: less sure than params.yaml asks for")
    if bad or not total:
        return 1
    return DOUBTED if unknown or uncertain else 0


def _caption(answer: Prediction) -> str:
    """Return what is written under a picture."""
    told = f"{drawable(answer.label, int(answer.probabilities.argmax()) + 1)}  {percent(answer.probability)}"
    return f"{answer.doubt}: {told}" if answer.doubt else told


def _level(options: argparse.Namespace, predictor: Predictor) -> float | None:
    """Return the level of the sets that were asked for, None without any. Raises DarkroomError."""
    if not options.sets and options.level is None:
        return None
    level = predictor.limits.level if options.level is None else options.level
    if level is None or level not in predictor.limits.sets:
        raise DarkroomError(f"--sets: {no_sets(predictor.limits, level)}")
    return float(level)


def names(arguments: Iterable[str]) -> Iterator[str]:
    """Yield the files that IMAGE, FOLDER, GLOB and - stand for: folders from top to bottom, in order of names."""
    for argument in arguments:
        if argument == STDIN:
            yield STDIN
        elif os.path.isdir(argument):  # noqa: PTH112 - Path.is_dir raises where a folder above may not be read
            yield from _walk(str(Path(argument)))
        elif os.path.exists(argument) or not MAGIC & set(argument):  # noqa: PTH110
            yield argument
        else:
            found = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 - Path.glob rejects absolute patterns
            yield from [name for name in found if os.path.isfile(name)] or [argument]  # noqa: PTH113


def shown(name: str) -> str:
    """Return a file's name as text: bytes of it that are not UTF-8 as \\x…"""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _walk(folder: str) -> Iterator[str]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError:
        yield folder  # its line will say why it cannot be read
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):  # a link could lead back here
            yield from _walk(entry.path)
        elif _may_be_a_file(entry):
            yield str(Path(entry.path))  # without the ./ of `predict .`


def _may_be_a_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:
        return True  # a link to where one may not look: its line will say so


class _File:
    """Read a file to classify, or standard input for `-`; an OSError becomes this picture's line."""

    def __init__(self, name: str) -> None:
        self.name, self.data = name, b""

    def read(self) -> bytes:
        """Return its bytes. Raises BadImage for a large file that is not a picture (a video), before it is read."""
        if self.name == STDIN:
            return _stdin()
        with Path(self.name).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > LARGE:
                check_format(file)
            if size > MOST:
                raise BadImage(f"too large: {size:,} bytes")
            return _up_to_most(file)

    def keep(self) -> bytes:
        """Return its bytes and keep them for the drawing: a pipe can be read only once."""
        self.data = self.read()
        return self.data


_stdin_bytes: list[bytes] = []


def _stdin() -> bytes:
    if not _stdin_bytes:
        _stdin_bytes.append(_up_to_most(sys.stdin.buffer))
    return _stdin_bytes[0]


def _up_to_most(file: BinaryIO) -> bytes:
    """Return all that is left to read; raises BadImage for a pipe or a device that goes on after MOST bytes."""
    data = file.read(MOST + 1)
    if len(data) > MOST:
        raise BadImage(f"too large: more than {MOST:,} bytes")
    return data


class _Lines:
    """`photo.jpg: cat 98.2 %, dog 1.8 %`; with sets `photo.jpg: cat or dog (95 %)`; doubts come first: `unknown: …`"""

    def __init__(self, predictor: Predictor, top: int, level: float | None) -> None:
        self.top, self.level = min(top, len(predictor.classes)), level

    def __call__(self, name: str, answer: Prediction | BadImage) -> None:
        name = escape(name, "terminal")  # whatever files and classes are called, they are one line
        if isinstance(answer, BadImage):
            print(f"{name}: not classified: {escape(str(answer), 'terminal')}")
        else:
            doubt = f"{answer.doubt}: " if answer.doubt else ""
            print(f"{name}: {doubt}{self._told(answer)}")

    def _told(self, answer: Prediction) -> str:
        if self.level is None:
            return ", ".join(f"{escape(label, 'terminal')} {percent(p)}" for label, p in answer.top(self.top))
        names = [escape(label, "terminal") for label in answer.classes_at(self.level)]
        # What a set promises holds for pictures like those of the training.
        return in_words(names) if answer.unknown else f"{in_words(names)} ({100 * self.level:g} %)"


class _Json:
    """One JSON object a line: file, class, probability, top, doubts and the set; or file and error."""

    def __init__(self, predictor: Predictor, top: int, level: float | None) -> None:
        self.top, self.level = min(top, len(predictor.classes)), level
        self.ascii = sys.stdout.encoding.lower().replace("-", "") != "utf8"  # what another encoding can hold: ASCII

    def __call__(self, name: str, answer: Prediction | BadImage) -> None:
        facts = {"file": name} | answer_facts(answer, self.top, self.level)
        print(json.dumps(facts) if self.ascii else json_line(facts))


class _Csv:
    """file, predicted, one probability a class, error: the columns of plots/predictions.csv beside the file's name.

    Then, where the model has such limits, `unknown` and `uncertain`, true or false; with sets, the classes by " | ".
    A class that is called as one of these is the column `class unknown`.
    """

    def __init__(self, predictor: Predictor, _: int, level: float | None) -> None:
        self.blank, self.level = [""] * len(predictor.classes), level
        limits = predictor.limits
        self.doubts = [
            *(["unknown"] if limits.similarity is not None else []),
            *(["uncertain"] if limits.confidence is not None else []),
        ]
        self.writer = csv.writer(sys.stdout, lineterminator="\n")
        more = [*self.doubts, *([] if level is None else ["set"])]
        taken = {"file", "predicted", "error", *more}
        columns = []
        for label in predictor.classes:
            while label in taken:  # two columns of one name: most readers keep the last, and lose the probability
                label = f"class {label}"
            taken.add(label)
            columns.append(label)
        self.writer.writerow(["file", "predicted", *columns, "error", *more])
        self.none = [""] * len(more)

    def __call__(self, name: str, answer: Prediction | BadImage) -> None:
        if isinstance(answer, BadImage):
            self.writer.writerow([name, "", *self.blank, str(answer), *self.none])
            return
        doubts = ["true" if getattr(answer, name) else "false" for name in self.doubts]
        chosen = [] if self.level is None else [" | ".join(answer.classes_at(self.level))]
        shares = (f"{p:.6f}" for p in answer.probabilities.tolist())
        self.writer.writerow([name, answer.label, *shares, "", *doubts, *chosen])


WRITERS: dict[str, Any] = {"text": _Lines, "json": _Json, "csv": _Csv}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="darkroom predict",
        description="Classify pictures with the exported model. A bad file gets its line with the reason, and the exit "
        f"status is 1 at the end. It is {DOUBTED} when all could be read and some are unknown, or uncertain.",
    )
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE|FOLDER|GLOB|-",
        help="pictures, folders of them, quoted patterns (** for any depth), or - for one picture on standard input",
    )
    parser.add_argument("--model", default="models/export", metavar="DIR", help="an exported model (models/export)")
    parser.add_argument("--top", type=_count, default=5, metavar="N", help="the N most probable classes, 0 for all (5)")
    parser.add_argument("--sets", action="store_true", help="the classes of which one is right with a stated chance")
    parser.add_argument("--level", type=float, metavar="P", help="--sets with that chance, as 0.95 (the model's own)")
    form = parser.add_mutually_exclusive_group()
    for name, what in (("json", "one JSON object a line"), ("csv", "a table with every class's probability")):
        form.add_argument(f"--{name}", dest="format", action="store_const", const=name, default="text", help=what)
    parser.add_argument("--save-pictures", type=Path, metavar="DIR", help="draw each answer on its picture, in DIR")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)
