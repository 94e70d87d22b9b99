"""Read photos that were labelled later: a table in Git beside copies of the files. They are used for training only.

The table has the columns of `corrections.csv` (darkroom.splits.corrections). A row with the decision `relabel` adds the
photo `id`, a path below the table's folder, with the label `becomes`; other decisions add nothing. `darkroom review`
writes the table for the photos that `darkroom next` proposes.
"""

import hashlib
import shutil
from pathlib import Path

from darkroom.core.errors import SourceError
from darkroom.sources.labels import Sample
from darkroom.sources.trees import ADDED
from darkroom.splits.corrections import ONLY_TRAINS, decisions, read_corrections


def read_added(table: Path, raw: Path) -> list[Sample]:
    """Copy the added photos into `raw`, and return them; [] without a table.

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
