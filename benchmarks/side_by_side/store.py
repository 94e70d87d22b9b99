"""Finished measurements, each a JSON file of its own: a run that was broken off goes on from here."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.side_by_side.processes import Failed
from darkroom.core import files


class Store:
    """Measurements of one set of settings in a folder; those made with other settings are not looked at."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder / files.digest(settings)[:12]

    def measured(self, part: str, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what `measure` gives, from the file if it was measured before. {"failed": reason} is told, and not
        kept."""
        path = self.folder / part / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.json"
        if path.exists():
            return files.read_json(path)
        print(f"{part}: {name} ", end="", flush=True)
        try:
            found = measure()
        except Failed as error:
            print(f"failed: {error}", flush=True)
            return {"failed": str(error)}
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(path, found)
        said = {key: value for key, value in found.items() if isinstance(value, int | float)}
        print(json.dumps({key: round(value, 3) for key, value in said.items()}), flush=True)
        return found
