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
from typing import Any

from darkroom.core.errors import BadImage
from darkroom.core.progress import say
from darkroom.core.text import escape
from darkroom.images.decode import check_format
from darkroom.serve.pictures import Pictures
from darkroom.serve.predictor import Prediction, Predictor, answer_facts

STDIN = "-"
LARGE = 64 << 20  # bytes; few photos are larger, and most films are
MOST = 2 << 30  # bytes; the largest picture that is decoded has 0.6 GB of pixels
MAGIC = frozenset("*?[")


def main(arguments: list[str]) -> int:
    """Print a line a picture; return 1 when any of them was bad, else 0."""
    options = _parser().parse_args(arguments)
    # Threads that wait busily would take the processors from those that decode.
    predictor = Predictor(options.model, spin=False)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what a terminal cannot show must not end the run
    write = WRITERS[options.format](predictor.classes, options.top or len(predictor.classes))
    pictures = Pictures(options.save_pictures) if options.save_pictures else None
    total = bad = 0
    files = map(_File, names(options.images))
    for file, answer in predictor.stream(files, _File.keep if pictures else _File.read):
        total += 1
        if isinstance(answer, Prediction) and pictures:
            try:
                pictures.save(file.name, file.data, f"{answer.label}  {100 * answer.probability:.1f} %")
            except BadImage as error:
                answer = error
        bad += isinstance(answer, BadImage)
        write(shown(file.name), answer)
    sys.stdout.flush()
    if bad:
        say(f"darkroom predict: {bad:,} of {total:,} could not be read")
    if not total:
        say(f"darkroom predict: no files in {', '.join(map(shown, options.images))}")
    return 1 if bad or not total else 0


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
            return file.read()

    def keep(self) -> bytes:
        """Return its bytes and keep them for the drawing: a pipe can be read only once."""
        self.data = self.read()
        return self.data


_stdin_bytes: list[bytes] = []


def _stdin() -> bytes:
    if not _stdin_bytes:
        _stdin_bytes.append(sys.stdin.buffer.read())
    return _stdin_bytes[0]


class _Lines:
    """`photo.jpg: cat 98.2 %, dog 1.8 %`"""

    def __init__(self, classes: list[str], top: int) -> None:
        self.top = min(top, len(classes))

    def __call__(self, name: str, answer: Prediction | BadImage) -> None:
        name = escape(name, "terminal")  # whatever files and classes are called, they are one line
        if isinstance(answer, BadImage):
            print(f"{name}: not classified: {escape(str(answer), 'terminal')}")
        else:
            best = [f"{escape(label, 'terminal')} {100 * p:.1f} %" for label, p in answer.top(self.top)]
            print(f"{name}: {', '.join(best)}")


class _Json:
    """One JSON object a line: file, class, probability, top; or file and error."""

    def __init__(self, classes: list[str], top: int) -> None:
        self.top = min(top, len(classes))
        self.ascii = sys.stdout.encoding.lower().replace("-", "") != "utf8"  # what another encoding can hold: ASCII

    def __call__(self, name: str, answer: Prediction | BadImage) -> None:
        print(json.dumps({"file": name} | answer_facts(answer, self.top), ensure_ascii=self.ascii))


class _Csv:
    """file, predicted, one probability a class, error: the columns of plots/predictions.csv beside the file's name."""

    def __init__(self, classes: list[str], _: int) -> None:
        self.blank = [""] * len(classes)
        self.writer = csv.writer(sys.stdout, lineterminator="\n")
        self.writer.writerow(["file", "predicted", *classes, "error"])

    def __call__(self, name: str, answer: Prediction | BadImage) -> None:
        if isinstance(answer, BadImage):
            self.writer.writerow([name, "", *self.blank, str(answer)])
        else:
            self.writer.writerow([name, answer.label, *(f"{p:.6f}" for p in answer.probabilities.tolist()), ""])


WRITERS: dict[str, Any] = {"text": _Lines, "json": _Json, "csv": _Csv}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="darkroom predict",
        description="Classify pictures with the exported model. A bad file gets its line with the reason, and the exit "
        "status is 1 at the end.",
    )
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE|FOLDER|GLOB|-",
        help="pictures, folders of them, quoted patterns (** for any depth), or - for one picture on standard input",
    )
    parser.add_argument("--model", default="models/export", metavar="DIR", help="an exported model (models/export)")
    parser.add_argument("--top", type=_count, default=5, metavar="N", help="the N most probable classes, 0 for all (5)")
    form = parser.add_mutually_exclusive_group()
    for name, what in (("json", "one JSON object a line"), ("csv", "a table with every class's probability")):
        form.add_argument(f"--{name}", dest="format", action="store_const", const=name, default="text", help=what)
    parser.add_argument("--save-pictures", type=Path, metavar="DIR", help="draw each answer on its picture, in DIR")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)
