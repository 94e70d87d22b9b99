"""Find files by their names in a table: paths of another machine, ids, other case, missing zeros or suffixes."""

import re
import unicodedata
from collections.abc import Callable
from pathlib import PurePosixPath
from urllib.parse import unquote

from darkroom.images.formats import is_image_name

ADDRESS_WITH_PATH = re.compile(r"\?d=(.+)")  # of Label Studio's local files
ADDRESS_WITH_QUESTION = re.compile(r"^([^?]+)\?")
UPLOAD = re.compile(r"upload/\d+/(?:[0-9a-f]{8}-)?(.+)")  # Label Studio puts a number of its own before a file's name
SLASHES = re.compile("/+")
WHOLE = re.compile(r"\d+\.0")
NEARLY = 0.9  # share of the names of folders that must exist
LONGEST_NAME = 255  # bytes that a file system keeps


class FileFinder:
    """Find images by a path from the table's folder or the root, by its end, or by name; also without suffix."""

    def __init__(self, images: list[str], folder: str) -> None:
        self._exact = {_composed(image): image for image in images} | {image: image for image in images}
        self._folder = "" if folder == "." else folder + "/"
        self._images = images
        self._stems: dict[str, str | None] = {}  # None: several
        self._ends: dict[str, str | None] = {}  # the bare name, and the last folder with it
        for image in images:
            above, slash, name = _composed(image).rpartition("/")
            stem, last = PurePosixPath(name).stem, above.rpartition("/")[2] + slash
            keys = {(id(self._stems), above + slash + stem): self._stems}
            for end in (name, stem, last + name, last + stem):
                keys[id(self._ends), end] = self._ends
            for (_, key), known in keys.items():
                known[key] = image if known.get(key, image) == image else None

    def find(self, text: str) -> str | None:
        """Return the image's name; "" when there is none, None when several are possible.

        A name alone may be in any folder. A path may begin with folders of another machine, or lack some of this one,
        but its last folder must be the image's.
        """
        found = self._find(text)
        if found == "" and "//" in text:
            found = self._find(SLASHES.sub("/", text))
        if found == "" and "%" in text:
            found = self._find(unquote(text))
        for known in (ADDRESS_WITH_PATH, ADDRESS_WITH_QUESTION, UPLOAD):
            if found == "" and (match := known.search(text)):
                found = self._find(match[1])
        return found

    def _find(self, text: str) -> str | None:
        text = text.replace("\\", "/")
        text = text.removeprefix("./")
        for name in (self._folder + text, text):
            if name in self._exact:
                return self._exact[name]
        rest = text = _composed(text)
        while rest:
            for name in (_composed(self._folder) + rest, rest):
                for known in (self._exact, self._stems):
                    if name in known:
                        return known[name]
            rest = rest.partition("/")[2]
        return self._ends.get("/".join(text.split("/")[-2:]), "")

    def find_all(self, texts: list[str]) -> tuple[list[str | None], list[str]]:
        """Return the result of `find` for each text, and notes.

        Where it finds none, other case is tried, then numbers without leading zeros, where each names one file, then
        other suffixes.
        """
        found = [self.find(text) for text in texts]
        if any(found):
            return found, []
        if texts and all(map(WHOLE.fullmatch, texts)):  # pandas wrote a column of numbers with an empty cell
            found = [self.find(text.partition(".")[0]) for text in texts]
            if any(found):
                return found, []
        lowered = self._renamed(str.casefold, [text.casefold() for text in texts])
        if lowered:
            return lowered, ["paths in the table and on disk differ in upper and lower case, and are taken as equal"]
        if texts and all(PurePosixPath(text).stem.isdecimal() for text in texts):
            numbers = self._renamed(_without_zeros, [_without_zeros(text) for text in texts])
            if numbers and all(numbers) and len(set(numbers)) == len(set(texts)):
                return numbers, ["ids in the table lack leading zeros of the files' names, and are taken as equal"]
        if texts and all(map(is_image_name, texts)):
            found = [self.find(text.rpartition(".")[0]) for text in texts]
            if any(found):
                return found, ["suffixes in the table and on disk differ, and are taken as equal"]
        return found, []

    def _renamed(self, rename: Callable[[str], str], texts: list[str]) -> list[str | None]:
        """Return the images found among their renamed names; [] where none is, or where two names become equal."""
        originals = {rename(image): image for image in self._images}
        if len(originals) < len(self._images):
            return []
        finder = FileFinder(sorted(originals), rename(self._folder).rstrip("/") or ".")
        found = [finder.find(text) for text in texts]
        return [originals[name] if name else name for name in found] if any(found) else []


def images_below(images: list[str], names: list[str]) -> dict[str, list[str]]:
    """Return the images in the folder of each name, all at one level; {} where many names or images are left over.

    Names may be paths, of which the last folder counts.
    """
    lasts = {name.strip("/").rpartition("/")[2]: name for name in names}
    parts = [image.split("/")[:-1] for image in images]
    for level in range(max(map(len, parts), default=0)):
        below: dict[str, list[str]] = {}
        for image, folders in zip(images, parts, strict=True):
            if len(folders) > level and folders[level] in lasts:
                below.setdefault(lasts[folders[level]], []).append(image)
        if len(below) >= NEARLY * len(names) and 2 * sum(map(len, below.values())) >= len(images):
            return below
    return {}


def _without_zeros(path: str) -> str:
    above, slash, name = path.rpartition("/")
    stem, dot, suffix = name.partition(".")
    short = len(stem) <= LONGEST_NAME and stem.isdecimal()  # int() rejects a cell of thousands of digits
    return above + slash + (str(int(stem)) if short else stem) + dot + suffix


def _composed(text: str) -> str:
    """Return the text in Unicode's form NFC, as tables are written; macOS names files in another form."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)
