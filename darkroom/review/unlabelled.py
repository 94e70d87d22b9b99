"""Decode and embed photos without labels, each once, into a cache.

The cache `.darkroom/next/<key>/` belongs to one body and framing. New photos become a new part of it: `index.csv`, and
shards of pixels and of features.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.core.params import read_yaml
from darkroom.core.progress import progress, say
from darkroom.core.runtime import Runtime
from darkroom.images.batches import Table
from darkroom.images.formats import SUFFIXES
from darkroom.images.framing import Framing
from darkroom.images.preprocess import decoded, rows_of_splits
from darkroom.images.shard_writer import write_shards
from darkroom.images.shards import Shards
from darkroom.model.runner import OnnxBody, batch_size
from darkroom.sources.encodings import is_text
from darkroom.sources.index import COLUMNS, write_index
from darkroom.sources.labels import Sample
from darkroom.sources.trees import FACTS, MEMBER, Locations, open_tree

CACHE = Path(".darkroom/next")
PROPOSED = CACHE / "proposed.json"  # what `darkroom next` chose last
BODY, FRAMING, RAW = Path("models/body/body.onnx"), Path("data/framing.json"), Path("data/raw")
UNLABELLED = "unlabelled"
PACKED = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz")


@dataclass(frozen=True)
class Photo:
    """An unlabelled photo: its sha256, its location below the folder it was found in, and its size in pixels."""

    sha256: str
    location: str
    width: int
    height: int
    bytes: int


class Cache:
    """The photos of a folder or archive that have been embedded by `body`, an ONNX file, in `parts`."""

    def __init__(self, root: Path, source: Path, body: Path, framing: Framing) -> None:
        self.root, self.source, self.body, self.framing = root, source, body, framing
        state = [files.sha256(body), framing.facts(), str(source.resolve())]
        self.folder = root / CACHE / files.digest(state)[:16]
        self.photos: list[Photo] = []
        self.parts: list[Path] = []
        for part in sorted(self.folder.glob("part-*/features")):
            self._take(part.parent)

    @staticmethod
    def of_run(root: Path, source: Path) -> "Cache":
        """Return the photos of `source` as the frozen body of the run in `root` sees them. Raises DarkroomError."""
        if not (root / BODY).exists() or not (root / FRAMING).exists():
            raise DarkroomError(f"{BODY} is missing: photos are compared by a frozen backbone; run `dvc repro` with "
                                "freeze: backbone first")  # fmt: skip
        framing = files.read_json(root / FRAMING) | files.read_json(root / RAW / FACTS).get("levels", {})
        return Cache(root, source, root / BODY, Framing(**framing))

    @staticmethod
    def before_a_run(root: Path, source: Path) -> "Cache":
        """Return the photos of `source` as the backbone and weights in params.yaml see them. Raises DarkroomError."""
        from darkroom.model import onnx_export, preprocessing, weights

        params = read_yaml(root / "params.yaml")
        backbone, named = str(params["backbone"]), str(params["weights"])
        framing = preprocessing.framing(params["image_size"], params["resize"], backbone, named)
        found = weights.resolve(backbone, named, framing.size, params["seed"], (0.5,) * 3, (0.25,) * 3)
        body = root / CACHE / f"{files.digest([found.facts, params['seed']])[:16]}.onnx"
        if not body.exists():
            files.write_bytes(body, onnx_export.export(found.body, framing.size))
        return Cache(root, source, body, framing)

    def __len__(self) -> int:
        return len(self.photos)

    def update(self, runtime: Runtime) -> None:
        """Decode and embed the photos that are new. Raises DarkroomError."""
        if not self.source.exists():
            raise DarkroomError(f"{self.source} does not exist; expected a folder, a zip or a tar of photos")
        tree = open_tree(self.source)
        prefix = "" if self.source.is_dir() else self.source.name + MEMBER
        names = [name for name in tree.files if name.lower().endswith(SUFFIXES)]
        if not names:
            packed = sum(name.lower().endswith(PACKED) for name in tree.files)
            hint = f"; of its {packed} archives, name one, or unpack them" if packed else ""
            raise DarkroomError(f"{self.source} holds no image; expected files such as photo.jpg in it{hint}")
        found = [Sample(prefix + name, UNLABELLED) for name in names if is_text(name)]
        if len(found) < len(names):
            say(f"note: {len(names) - len(found)} photos have names that are not UTF-8 and are left out; rename them")
        locations = Locations(self.source, self.root / RAW, runtime.downloads)
        locations.know(tree)
        here = self.folder / "index.csv"
        write_index(found, locations, here, runtime, hashing=False, missing=None)
        tried = {row["sha256"] for part in self.parts for row in files.read_csv(part / "index.csv")} | {""}
        rows = {row["sha256"]: row for row in files.read_csv(here) if row["sha256"] not in tried}  # of equal files one
        if rows:
            folder = self.folder / f"part-{len(self.parts):05d}"
            with files.fresh_folder(folder) as part:
                files.write_csv(part / "index.csv", COLUMNS, rows.values())
                self._embed(list(rows.values()), locations, part, runtime)
            self._take(folder)
        if not self.photos:
            raise DarkroomError(f"{self.source}: none of {len(names)} photos can be read; `darkroom predict "
                                f"{self.source}` says of each why")  # fmt: skip

    def features(self) -> Table:
        """Return the features of all photos, in order."""
        return Table([Shards(part / "features") for part in self.parts])

    def values(self) -> np.ndarray:
        """Return the features of all photos, in order: (n, D) float32."""
        return self.features().rows(np.arange(len(self)))[:, 0]

    def pixels(self, at: int) -> np.ndarray:
        """Return the pixels (S, S, 3) uint8 of photo number `at`."""
        for part in self.parts:
            shards = Shards(part / "images")
            if at < len(shards):
                return shards.rows(np.array([at]))[0]
            at -= len(shards)
        raise IndexError(at)

    def _embed(self, rows: list[dict[str, str]], locations: Locations, part: Path, runtime: Runtime) -> None:
        split = rows_of_splits(rows, {row["id"]: "train" for row in rows})
        size = self.framing.size
        with decoded(split, locations, self.framing, runtime, part) as (prepared, scratch):
            os.truncate(scratch, len(rows) * size * size * 3)  # the last rows may be rejects, which write nothing
            if prepared.rejects:
                say(f"note: {len(prepared.rejects)} of {len(rows)} photos cannot be decoded and are left out")
            pixels = np.memmap(scratch, np.uint8, "r", shape=(len(rows), size, size, 3))
            with write_shards(part / "images", "images", [UNLABELLED]) as writer:
                for rank, row in enumerate(split["train"]):
                    if row["id"] not in prepared.rejects:
                        writer.add(pixels[rank], 0, row["sha256"])
                writer.close()
        images = Shards(part / "images")
        body = OnnxBody(self.body, runtime.threads)
        with write_shards(part / "features", "features", [UNLABELLED]) as writer:
            count = batch_size(images)
            names = iter(images.ids())
            for batch, _ in progress(images.batches(count), "embedding", -(-len(images) // count), "batch"):
                for row in body.features(batch):
                    writer.add(row[None], 0, next(names))
            writer.close()

    def _take(self, part: Path) -> None:
        rows = {row["sha256"]: row for row in files.read_csv(part / "index.csv")}
        for name in Shards(part / "features").ids():
            row = rows[name]
            self.photos.append(Photo(name, row["location"], int(row["width"]), int(row["height"]), int(row["bytes"])))
        self.parts.append(part)
