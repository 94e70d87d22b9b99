"""What a report is made of: the files of the run that lies in a project's folder."""

import base64
import io
from html import escape
from pathlib import Path
from typing import Any

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.core.params import read_yaml
from darkroom.metrics.predictions import Predictions, read_predictions

LARGE = 200_000  # bytes from which a picture is kept as JPEG


class Material:
    """The files of the run in a project's folder; those that are not there are None or empty."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.test: dict[str, Any] = self.json("metrics/test.json")
        if not self.test:
            raise DarkroomError(f"{root / 'metrics/test.json'} does not exist; run `dvc repro`, or `dvc pull`")
        self.data, self.train, self.export, self.run = (
            self.json(f"metrics/{name}.json") for name in ("data", "train", "export", "run")
        )
        self.params = read_yaml(root / "params.yaml")
        history = root / "plots/history.csv"
        self.history = list(files.read_csv(history)) if history.exists() else []
        self.predictions = self._predictions()

    def json(self, path: str) -> dict[str, Any]:
        """A JSON file's mapping; {} where there is none. Raises DarkroomError when it is no such file."""
        try:
            found = files.read_json(self.root / path) if (self.root / path).exists() else {}
        except ValueError as error:
            raise DarkroomError(
                f"{self.root / path} is not valid JSON: {error}; solve the conflict, or run `dvc repro` with -f"
            ) from error
        if not isinstance(found, dict):
            raise DarkroomError(f"{self.root / path}: expected a mapping, found {found!r:.40}; run `dvc repro` with -f")
        return found

    def _predictions(self) -> Predictions | None:
        path = self.root / "plots/predictions.csv"
        if not path.exists():
            return None
        with path.open(encoding="utf-8", newline="") as file:
            return read_predictions(file, str(path))

    def picture(self, path: str, alt: str, sheet: bool = True) -> str:
        """A PNG of the project inside an <img>; "" where there is none. A `sheet` is not shrunk on a narrow screen."""
        file = self.root / path
        if not file.exists():
            return ""
        data, kind = file.read_bytes(), "png"
        if len(data) > LARGE:
            from PIL import Image

            buffer = io.BytesIO()
            Image.open(io.BytesIO(data)).convert("RGB").save(buffer, "JPEG", quality=88)
            data, kind = min((data, "png"), (buffer.getvalue(), "jpeg"), key=lambda pair: len(pair[0]))
        text = base64.b64encode(data).decode()
        kinds = "wide sheet" if sheet else "wide"
        return f'<div class="{kinds}"><img alt="{escape(alt)}" src="data:image/{kind};base64,{text}"></div>'
