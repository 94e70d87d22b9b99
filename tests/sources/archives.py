"""Archives as the usual tools make them."""

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any


def packed(folder: Path, suffix: str) -> Path:
    """Pack `folder` into an archive beside it, as the usual tools make it."""
    path = folder.with_name(folder.name + suffix)
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(folder.rglob("*")):
                archive.write(file, file.relative_to(folder.parent))
    else:
        mode: Any = {".tar": "w", ".tgz": "w:gz"}.get(suffix, "w:" + suffix.rpartition(".")[2])
        with tarfile.open(path, mode) as archive:
            archive.add(folder, "./" + folder.name)
    return path


def tar_of(path: Path, *members: tuple[str, bytes]) -> Path:
    """Write a tar of members by name and content."""
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path
