"""The digest by which `dvc.lock` names a file or a folder, computed from the files themselves."""

import hashlib
import json
from pathlib import Path


def dvc_md5(path: Path) -> str:
    """Return the md5 of a file.

    Of a folder, DVC's md5 of the sorted list of its files' md5 and relative paths, `.dir`.
    """
    if path.is_file():
        return _md5(path)
    entries = [
        {"md5": _md5(file), "relpath": file.relative_to(path).as_posix()} for file in path.rglob("*") if file.is_file()
    ]
    listed = json.dumps(sorted(entries, key=lambda entry: entry["relpath"]), sort_keys=True)
    return hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest() + ".dir"


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
