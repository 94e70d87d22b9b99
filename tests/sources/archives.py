"""Archives as the usual tools make them."""

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from PIL import Image


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


def picture(level, kind="JPEG"):
    """Return a grey picture of one level, so that its pixels say which file was read."""
    data = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), level, np.uint8)).save(data, kind)
    return data.getvalue()


def zipped(files, method=zipfile.ZIP_DEFLATED):
    """Return the bytes of a zip of files by name."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def parquet(path, labels, start=0, names=None, column="image", plain=False):
    """Write a Parquet file as the Hugging Face Hub's `datasets` writes them: image {bytes, path}, label, names of
    classes."""
    pictures = [picture(start + n, "PNG") for n in range(len(labels))]
    kind = pa.binary() if plain else pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = pictures if plain else [{"bytes": data, "path": f"{n}.png"} for n, data in enumerate(pictures)]
    table = pa.table({column: pa.array(cells, kind), "label": labels})
    if names:
        features = {column: {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
