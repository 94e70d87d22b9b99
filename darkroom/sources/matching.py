"""Files by what a table may call them: a path of another machine, an id, a name in other case or without its zeros."""

import re
import unicodedata
from collections.abc import Callable
from pathlib import PurePosixPath
from urllib.parse import unquote

from darkroom.images.formats import SUFFIXES

ADDRESS_WITH_PATH = re.compile(r"\?d=(.+)")  # of Label Studio's local files
ADDRESS_WITH_QUESTION = re.compile(r"^([^?]+)\?")
UPLOAD = re.compile(r"upload/\d+/(?:[0-9a-f]{8}-)?(.+)")  # Label Studio puts a number of its own before a file's name
SLASHES = re.compile("/+")
WHOLE = re.compile(r"\d+\.0")


class FileFinder:
    """Find images by a path from the table or the root, by its end, or by the bare name; each also without suffix."""

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
        """Return the image's name; "" when there is none, None when several could be meant.

        A bare name may lie in any folder. A path with folders may begin with some of another machine, or below one of
        here, but the last folder that it names is the image's own.
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
        text = text[2:] if text.startswith("./") else text
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
        """Return what `find` does for each text, and notes. Where it finds none of them, another case is tried, then
        numbers without their leading zeros; these count only where all rows fit one file each."""
        found = [self.find(text) for text in texts]
        if any(found):
            return found, []
        if texts and all(WHOLE.fullmatch(text) for text in texts):  # a column of numbers that had an empty cell
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
        if texts and all(text.lower().endswith(SUFFIXES) for text in texts):
            found = [self.find(text.rpartition(".")[0]) for text in texts]
            if any(found):
                return found, ["suffixes in the table and on disk differ, and are taken as equal"]
        return found, []

    def _renamed(self, rename: Callable[[str], str], texts: list[str]) -> list[str | None]:
        """Return the images found under other names of theirs; [] where none is, or where two become one."""
        originals = {rename(image): image for image in self._images}
        if len(originals) < len(self._images):
            return []
        finder = FileFinder(sorted(originals), rename(self._folder).rstrip("/") or ".")
        found = [finder.find(text) for text in texts]
        return [originals[name] if name else name for name in found] if any(found) else []


def _without_zeros(path: str) -> str:
    above, slash, name = path.rpartition("/")
    stem, dot, suffix = name.partition(".")
    return above + slash + (str(int(stem)) if stem.isdecimal() else stem) + dot + suffix


def _composed(text: str) -> str:
    """Return the text in Unicode's form NFC: macOS names files in another form than tables are written in."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)
