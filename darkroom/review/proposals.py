"""Show proposed photos on the page, and store the labels they get: copies in `added/`, rows of its table."""

from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.core.progress import say
from darkroom.core.text import one_line
from darkroom.model.classifier import SavedClassifier
from darkroom.review.decisions import WITHDRAWN, Change, DecisionLog, now
from darkroom.review.originals import Originals
from darkroom.review.samples import Sample, Samples
from darkroom.review.unlabelled import PROPOSED, Cache
from darkroom.splits.corrections import Correction

NAME = "next"
LOCK = Path(".darkroom/added.lock")


class Proposals:
    """The photos that the last `darkroom next` chose. `position`: the number of each in the list, by its sha256.

    `learnt`: sha256 of the run's own images, which are not proposed any more.
    """

    def __init__(self, root: Path, table: Path, learnt: Collection[str] = ()) -> None:
        facts = files.read_json(root / PROPOSED)
        source = Path(facts["source"])
        self.cache, self.table = Cache.of_run(root, source), table
        number = {photo.sha256: at for at, photo in enumerate(self.cache.photos)}
        self.names = [name for name in facts["photos"] if name in number and name not in learnt]
        self.position = {name: index for index, name in enumerate(self.names)}
        self._at = [number[name] for name in self.names]
        self.log = DecisionLog(root / table, root / LOCK)
        self.originals = Originals(root, str(source))
        saved = SavedClassifier.load(root / "models/classifier")
        self.classes = saved.classes
        self._values = self.cache.values()[self._at] if self.names else np.empty((0, 1))
        self.probabilities = saved.probabilities(self._values) if self.names else np.empty((0, len(self.classes)))

    def facts(self) -> dict[str, Any]:
        """Return what the page says of the list."""
        decided = sum(name in self.log.decided() for name in self.names)
        return {
            "name": NAME, "title": "Label next", "count": len(self.names), "open": len(self.names) - decided,
            "total": len(self.names),
            "about": f"Photos of {self.cache.source} without a label. Those that get one are only learnt from.",
        }  # fmt: skip

    def page(self, start: int, count: int, is_open: bool) -> tuple[list[dict[str, Any]], int]:
        """Return `count` items from `start` on, and how many there are; `is_open`: of those without a decision."""
        names = [name for name in self.names if not (is_open and name in self.log.decided())]
        return [self.item(name) for name in names[start : start + count]], len(names)

    def item(self, name: str) -> dict[str, Any]:
        """Return what a tile shows of a photo."""
        index = self.position[name]
        decision = self.log.decided().get(name)
        row = self.probabilities[index]
        best = int(row.argmax())
        return {
            "id": name, "location": self.photo(name).location, "was": "", "split": "not in the run",
            "label": decision.becomes if decision else "", "decision": decision.decision if decision else "",
            "proposal": {"class": self.classes[best], "probability": round(float(row[best]), 4)},
            "pictured": True, "unlabelled": True, "why": f"number {index + 1:,} of the photos to label next",
        }  # fmt: skip

    def detail(self, name: str) -> dict[str, Any]:
        """Return all that is known of a photo."""
        photo, row = self.photo(name), self.probabilities[self.position[name]]
        best = np.argsort(-row, kind="stable")[:9].tolist()
        decision = self.log.decided().get(name)
        return self.item(name) | {
            "width": photo.width, "height": photo.height, "bytes": photo.bytes, "reason": "",
            "answers": [{"class": self.classes[at], "probability": round(float(row[at]), 5)} for at in best],
            "beside": None, "copies": [], "note": decision.note if decision else "",
        }  # fmt: skip

    def photo(self, name: str) -> Sample:
        """Return a photo as a sample, which `originals` reads."""
        found = self.cache.photos[self._at[self.position[name]]]
        return Sample(name, name, name, found.location, "", "", "", -1, found.width, found.height, found.bytes)

    def pixels(self, name: str) -> np.ndarray:
        """Return the pixels (S, S, 3) uint8 of a photo, as the model sees them."""
        return self.cache.pixels(self._at[self.position[name]])

    def features(self, name: str) -> np.ndarray:
        """Return the features (D,) of a photo."""
        return np.asarray(self._values[self.position[name]])

    def corrections(self, changes: Sequence[Change], classes: Collection[str]) -> dict[str, Correction | None]:
        """Return what `changes` decide about each photo, None to withdraw it. Raises DarkroomError.

        A photo that gets a label is copied beside the table first, so that it stays when its folder does not.
        """
        return {change.id: self._correction(change, classes) for change in changes}

    def _correction(self, change: Change, classes: Collection[str]) -> Correction | None:
        name, (decision, becomes) = change.id, change.checked(classes)
        if decision == WITHDRAWN:
            return None
        photo = self.photo(name)
        location = photo.location
        if decision == "keep":  # there is no label to keep but the model's guess
            decision, becomes = "relabel", self.item(name)["proposal"]["class"]
        if decision == "relabel":
            location = f"photos/{name[:32]}{PurePosixPath(photo.location).suffix.lower()}"
            target = self.log.path.parent / location
            if not target.exists():
                try:
                    files.write_bytes(target, self.originals.read(photo))
                except OSError as error:
                    raise DarkroomError(f"{target}: {error.strerror}; the decision is not saved") from error
        return Correction(
            name, one_line(location), decision, "", becomes, f"review: {NAME}", now(), one_line(change.note)[:500]
        )


def open_proposals(root: Path, samples: Samples) -> Proposals | None:
    """Return the photos to label next that are not yet samples of the run; None without any."""
    if not (root / PROPOSED).exists():
        return None
    try:
        found = Proposals(root, Path(samples.params["added"]), samples.by_key)
    except (DarkroomError, KeyError, ValueError) as error:
        say(f"review: the photos of `darkroom next` are not shown: {error}; run it again")
        return None
    return found if found.names else None
