"""`darkroom predict`: classify pictures from the command line, one line each."""

import argparse
import csv
import glob
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from darkroom.app.pictures import Pictures
from darkroom.app.predictor import Prediction, Predictor
from darkroom.errors import BadImage
from darkroom.progress import say

STDIN = "-"
MAGIC = frozenset("*?[")


def main(arguments: list[str]) -> int:
    """Print a line a picture; 1 at the end when any of them was bad."""
    options = _parser().parse_args(arguments)
    # Threads that wait busily would take the processors from those that decode.
    predictor = Predictor(options.model, spin=False)
    write = WRITERS[options.format](predictor.classes, options.top or len(predictor.classes))
    pictures = Pictures(options.save_pictures) if options.save_pictures else None
    total = bad = 0
    for name, answer in predictor.stream(names(options.images), read):
        total += 1
        if isinstance(answer, Prediction) and pictures:
            pictures.save(name, read(name), answer)
        bad += isinstance(answer, BadImage)
        write(name, answer)
    sys.stdout.flush()
    if bad:
        say(f"darkroom predict: {bad:,} of {total:,} could not be read")
    return 1 if bad or not total else 0


def names(arguments: Iterable[str]) -> Iterator[str]:
    """The files that IMAGE, FOLDER, GLOB and - stand for: folders from top to bottom, in the order of their names."""
    for argument in arguments:
        path = Path(argument)
        if argument == STDIN:
            yield STDIN
        elif path.is_dir():
            yield from _walk(path)
        elif path.exists() or not MAGIC & set(argument):
            yield argument
        else:
            found = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 - Path.glob refuses absolute patterns
            yield from [name for name in found if Path(name).is_file()] or [argument]


def read(name: str) -> bytes:
    """The bytes of a file, or of standard input for `-`; an OSError becomes this picture's line."""
    return _stdin() if name == STDIN else Path(name).read_bytes()


def _walk(folder: Path) -> Iterator[str]:
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and not entry.is_symlink():  # a link could lead back here
            yield from _walk(entry)
        elif entry.is_file():
            yield str(entry)


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
        if isinstance(answer, BadImage):
            print(f"{name}: not classified: {answer}")
        else:
            print(f"{name}: {', '.join(f'{label} {100 * p:.1f} %' for label, p in answer.top(self.top))}")


class _Json:
    """One JSON object a line: file, class, probability, top; or file and error."""

    def __init__(self, classes: list[str], top: int) -> None:
        self.top = min(top, len(classes))

    def __call__(self, name: str, answer: Prediction | BadImage) -> None:
        print(json.dumps({"file": name} | facts(answer, self.top), ensure_ascii=False))


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


def facts(answer: Prediction | BadImage, top: int) -> dict[str, Any]:
    """An answer as JSON: class, probability and the `top` classes; or the error."""
    if isinstance(answer, BadImage):
        return {"error": str(answer)}
    best = [{"class": label, "probability": round(p, 6)} for label, p in answer.top(top)]
    return best[0] | {"top": best}


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
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 0")
    return int(text)
