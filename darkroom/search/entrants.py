"""Prepare the bodies of a race: check their licences, and compute their features of a part of the images."""

import contextlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, StrictInt, ValidationError, field_validator

from darkroom.core import files, tensorfile
from darkroom.core.errors import DarkroomError, ParamsError, is_out_of_memory
from darkroom.core.params import read_yaml
from darkroom.core.progress import say
from darkroom.core.runtime import Runtime
from darkroom.images.assemble import write_splits
from darkroom.images.framing import Framing
from darkroom.images.preprocess import decoded, rows_of_splits
from darkroom.images.shard_writer import write_shards
from darkroom.images.shards import Shards
from darkroom.model import published, timm_models, weights
from darkroom.model.backbones import TIMM, is_file
from darkroom.model.embedding import Copies, embedded
from darkroom.model.exact_body import calibration_pictures, frozen_graph, write_body
from darkroom.model.preprocessing import framing
from darkroom.model.runner import OnnxBody
from darkroom.search.space import Strict, SweepError, reason, require_file
from darkroom.sources.trees import Locations

PERMISSIVE = ("Apache-2.0", "BSD-3-Clause", "MIT")
UNKNOWN = "not stated"
CPU = ("timm/tf_efficientnet_lite0", "timm/tf_efficientnet_lite2", "mobilenet_v3_large", "resnet18", "efficientnet_b0")
GPU = (*CPU, "resnet50", "convnext_tiny", "efficientnet_v2_s", "timm/vit_small_patch14_dinov2")
DIGESTS = "body.sha256.json"  # of the body's files
BUDGET = 0.2  # seconds in which a body's latency is measured
Row = Mapping[str, str]


class Entry(Strict):
    """A backbone with its weights, as a race's file lists it."""

    backbone: str
    weights: str

    @property
    def name(self) -> str:
        """The name of the entry in tables and folders."""
        usual = self.weights in ("imagenet", "package")
        return self.backbone if usual else f"{self.backbone} ({Path(self.weights).name})"


class RaceFile(Strict):
    """A race's file: `backbones`, each a name or `{backbone: …, weights: …}`; see docs/experiments.md."""

    backbones: list[Entry] = Field(min_length=1)
    accept_licences: list[str] = Field(default_factory=list)
    limit: Annotated[StrictInt, Field(ge=10)] = 10_000

    @field_validator("backbones", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        return [entry(item) if isinstance(item, str) else item for item in value] if isinstance(value, list) else value


def entry(backbone: str) -> Entry:
    """Return `backbone` with the weights that are easiest to get: a package's, otherwise the published ones."""
    return Entry(backbone=backbone, weights="package" if backbone in published.PACKAGES else "imagenet")


def read_race(path: Path | None, gpu: bool) -> RaceFile:
    """Return the race in the file at `path`; None: the default list for a CPU or a GPU. Raises SweepError."""
    if path is None:
        return RaceFile(backbones=[entry(name) for name in (GPU if gpu else CPU)])
    require_file(path, "YAML files")
    try:
        found = RaceFile.model_validate(read_yaml(path))
    except ParamsError as error:
        raise SweepError(f"{error}; a race's file has a line such as backbones: [mobilenet_v2, resnet18]") from error
    except ValidationError as error:
        raise SweepError(f"{path}: {reason(error, RaceFile, Entry)}") from error
    names = [each.name for each in found.backbones]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SweepError(f"{path}: {twice[0]} stands twice under `backbones`; remove one of them, or rename its file")
    return found


def licence(chosen: Entry) -> str:
    """Return the licence of the weights, by its SPDX name, as far as it is known."""
    if chosen.weights == "package":
        return "Apache-2.0"
    if chosen.weights == "none":
        return PERMISSIVE[0]  # random weights of this project's code
    if chosen.backbone.startswith(TIMM) and chosen.weights == "imagenet":
        stated = timm_models.licence(chosen.backbone.removeprefix(TIMM)) or UNKNOWN
        return {name.lower(): name for name in PERMISSIVE}.get(stated.lower(), stated)
    if "SWAG" in chosen.weights:
        return "CC-BY-NC-4.0"
    return "BSD-3-Clause" if chosen.weights == "imagenet" or chosen.weights.startswith("IMAGENET") else UNKNOWN


def entering(file: RaceFile, root: Path) -> RaceFile:
    """Return the race without the bodies that cannot run, which are reported; the body of params.yaml enters too.

    All that can be known before a picture is decoded: licences, weights, which are downloaded here, and whether they
    fit. Raises DarkroomError where fewer than two are left.
    """
    params, entries = read_yaml(root / "params.yaml"), [*file.backbones]
    current = Entry(backbone=params["backbone"], weights=str(params["weights"]))
    if current.weights != "none" and current.name not in [each.name for each in entries]:  # by whatever path
        entries.append(current)
    accepted = (*PERMISSIVE, *file.accept_licences)
    found = []
    for each in entries:
        try:
            terms = licence(each)
            if terms not in accepted and each != current and not is_file(each.weights):
                raise DarkroomError(f"its licence is {terms}; list it under `accept_licences`")
            require_weights(each, params["image_size"], params["resize"])
        except (DarkroomError, MemoryError, RuntimeError) as error:
            say(f"race: {each.name} is left out: {why(error)}")
        else:
            found.append(each)
    if len(found) < 2:
        raise DarkroomError(f"a race needs two bodies, {len(found)} can run here; name others in a race's file")
    return file.model_copy(update={"backbones": found})


def require_weights(chosen: Entry, image_size: int | str, resize: str) -> None:
    """Raise DarkroomError where the weights cannot be had or do not fit; published ones are downloaded."""
    size = framing(image_size, resize, chosen.backbone, chosen.weights).size
    weights.resolve(chosen.backbone, chosen.weights, size, 0, (0.5,) * 3, (0.5,) * 3)


def why(error: Exception) -> str:
    """Return why a body cannot run, in words; raise an error that nobody can cause who uses this."""
    if is_out_of_memory(error):
        return "too little memory here"
    if not isinstance(error, DarkroomError):
        raise error
    return str(error)


@dataclass
class Entrant:
    """A body in a race.

    `arithmetic`: that of params.yaml; `parts`: its features of the images so far; `facts`: body.json; `embedded`:
    images so far, in `seconds`; `latency`: milliseconds for one image by its ONNX file.
    """

    entry: Entry
    licence: str
    framing: Framing
    arithmetic: str
    folder: Path
    parts: list[Shards] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    embedded: int = 0
    seconds: float = 0.0
    latency: float = 0.0

    @property
    def megabytes(self) -> float:
        """The size of the body's file."""
        return (self.folder / "body/body.onnx").stat().st_size / 1e6

    def has(self, rung: str) -> bool:
        """Return whether the body, and its features of a part of the images, are there whole from an earlier race."""
        if not (self._has_body() and (self.folder / rung / "index.json").exists()):
            return False
        try:
            Shards(self.folder / rung)
        except (DarkroomError, ValueError):
            return False
        return True

    def _has_body(self) -> bool:
        """Return whether the body's files are those that were written."""
        try:
            written = files.read_json(self.folder / DIGESTS)
            return all(files.sha256(self.folder / "body" / name) == digest for name, digest in written.items())
        except (OSError, ValueError):
            return False

    def embed(self, shards: Shards | None, rung: str, seed: int, runtime: Runtime) -> None:
        """Add the features of `shards`, a part of the images called `rung`; None where they are there already."""
        folder, body = self.folder / rung, self.folder / "body"
        if shards is not None and not self._has_body():
            self._write_body(shards, body, seed)
        self.facts = files.read_json(body / "body.json")
        if shards is not None:
            started = time.monotonic()
            ids = iter(shards.ids())
            with write_shards(folder, "features", shards.classes) as writer:
                for batch in embedded(shards, body, Copies(0, "none", False, seed), runtime):
                    for row in batch:
                        writer.add(row, 0, next(ids))
                writer.close(seconds=time.monotonic() - started)
        self.parts.append(Shards(folder))
        self.embedded += len(self.parts[-1])
        self.seconds += self.parts[-1].index["seconds"]
        self.latency = self.latency or measure(body / "body.onnx", self.framing.size, runtime.threads)

    def answers(self, asked: Sequence[Any], compute: Callable[[], np.ndarray]) -> np.ndarray:
        """Return what `compute` does, float64; where an earlier race has kept it for the same `asked`, that.

        `asked`: JSON, all that the answers depend on beside the body.
        """
        state = files.digest([*asked, files.read_json(self.folder / DIGESTS)])
        kept = self.folder / f"answers-{state[:16]}.safetensors"
        with contextlib.suppress(OSError, ValueError, KeyError):
            return np.array(tensorfile.mapped(kept)["answers"])
        found = compute()
        tensorfile.write(kept, {"answers": found})
        return found

    def _write_body(self, shards: Shards, folder: Path, seed: int) -> None:
        facts = shards.index
        resolved = weights.resolve(
            self.entry.backbone, self.entry.weights, self.framing.size, seed, facts["mean"], facts["std"]
        )
        write_body(folder, resolved, frozen_graph(self.arithmetic, resolved, calibration_pictures(shards)))
        files.write_json(self.folder / DIGESTS, {path.name: files.sha256(path) for path in folder.iterdir()})


def shards_of(
    rows: Sequence[Row], locations: Locations, framing: Framing, folder: Path, flips: bool, runtime: Runtime
) -> Shards:
    """Return the pictures of `rows` in `framing`, decoded into `folder`."""
    split = rows_of_splits(rows, {row["id"]: "train" for row in rows})
    with decoded(split, locations, framing, runtime, folder) as (prepared, scratch):
        write_splits(prepared, scratch, framing, folder, {"flips": flips}, runtime.workers)
    return Shards(folder / "train")


def measure(model: Path, size: int, threads: int) -> float:
    """Return the milliseconds that the body's file takes for one picture on this machine's processor.

    By the fastest call: what else runs on the machine slows the others, of squeezenet1_1 to a sixth.
    """
    body = OnnxBody(model, threads)
    picture = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
    body.features(picture)  # the first call also allocates
    times: list[float] = []
    while len(times) < 5 or sum(times) < BUDGET:
        started = time.perf_counter()
        body.features(picture)
        times.append(time.perf_counter() - started)
    return 1000 * min(times)


def discard(folder: Path) -> None:
    """Remove pictures that every body has embedded."""
    shutil.rmtree(folder, ignore_errors=True)
