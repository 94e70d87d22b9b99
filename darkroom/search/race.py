"""`darkroom race [RACE.yaml]`: find the backbone that suits these images, on parts of them before the whole.

Each body embeds a quarter of the images of train and val, and a head as in params.yaml is cross-validated on them. A
body in the lower half that is worse than the best beyond noise is out; the others go on to half of the images, and to
all. The test set is looked at once, for the body that is chosen.
"""

import argparse
import inspect
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from darkroom.core import files
from darkroom.core.bound import dvc
from darkroom.core.errors import DarkroomError
from darkroom.core.params import load, read_yaml
from darkroom.core.progress import say
from darkroom.core.runtime import Runtime, from_environment, torch_device
from darkroom.core.stage import CODE
from darkroom.core.text import percent
from darkroom.images.framing import Framing
from darkroom.model.backbones import TIMM, is_file
from darkroom.model.preprocessing import framing
from darkroom.model.published import weights_file
from darkroom.reporting.figures import save
from darkroom.reproduction import preflight
from darkroom.search import project
from darkroom.search.entrants import (
    PERMISSIVE,
    UNKNOWN,
    Entrant,
    Entry,
    RaceFile,
    discard,
    entering,
    licence,
    read_race,
    shards_of,
    why,
)  # fmt: skip
from darkroom.search.experiment import Experiment, setting
from darkroom.search.pool import Pool, ranks
from darkroom.search.results import score_line
from darkroom.search.standings import Standing, advised, figure, in_words, largest_class, lost, table
from darkroom.sources.trees import FACTS, Locations
from darkroom.splits.corrections import apply, read_corrections
from darkroom.training.recipe import CUSTOM, Recipe

FOLDER = Path(".darkroom/races")
ROUNDS = (0.25, 0.5, 1.0)  # shares of the images
FEW = 400  # images up to which there is one round, on all of them
FEWEST = 4  # images of a class, on average, that a round has; of fewer, most have none of their class to learn from
INTERRUPTED = 130
INDEX, SPLIT = Path("data/index.csv"), Path("data/split.csv")


class Race:
    """The images of a race, its entrants, and the standings of its rounds."""

    def __init__(self, root: Path, file: RaceFile, folder: Path, runtime: Runtime) -> None:
        self.root, self.folder, self.runtime = root, folder, runtime
        self.params = read_yaml(root / "params.yaml")
        self.recipe = head_recipe(root)
        self.code = [*_code(root, "train"), files.sha256(Path(inspect.getfile(Pool)))]  # by which heads are trained
        divided = {row["id"]: row for row in files.read_csv(root / SPLIT)}
        index = [row for row in files.read_csv(root / INDEX) if divided[row["id"]]["split"] in ("train", "val")]
        corrections = root / self.params["corrections"]
        changes = apply(read_corrections(corrections), corrections, index,
                        {name: row["split"] for name, row in divided.items()}).changes  # fmt: skip
        changed = {name: label for part in changes.values() for name, label in part.items()}
        self.labels = {row["id"]: changed.get(row["id"], row["label"]) for row in index}
        self.labels = {name: label for name, label in self.labels.items() if label}
        self.folds = {name: int(row["fold"]) for name, row in divided.items() if row["fold"]}
        self.val = frozenset(name for name, row in divided.items() if row["split"] == "val")
        self.facts = files.read_json(root / "data/raw" / FACTS)
        self.rows = sorted((row for row in index if row["id"] in self.labels), key=lambda row: row["id"])
        labels, chooses = [row["label"] for row in self.rows], np.array([row["id"] in self.val for row in self.rows])
        self.ranks = ranks(labels, chooses, self.recipe.seed) * len(self.rows) / min(len(self.rows), file.limit)
        self.images = int((self.ranks < 1).sum())
        self.entrants = self._entrants(file.backbones)
        self.earlier: list[list[Standing]] = []  # the standings of each round before the last
        self.seconds = 0.0  # for decoding and embedding
        self.alone = 0  # images whose class no other fold has

    def _entrants(self, entries: Sequence[Entry]) -> list[Entrant]:
        found, arithmetic, code = [], self.params["arithmetic"], _code(self.root, "preprocess", "embed")
        for each in entries:
            levels = self.facts.get("levels", {})
            shape = framing(self.params["image_size"], self.params["resize"], each.backbone, each.weights, levels)
            held = weights_file(each.backbone, each.weights) if is_file(each.weights) else None
            content = held and files.sha256(held)  # a file may be replaced under its name
            state = files.digest([each.model_dump(), content, shape.facts(), arithmetic, self.recipe.seed, code])
            found.append(Entrant(each, licence(each), shape, arithmetic, self.folder / "features" / state[:16]))
        return found

    def run(self) -> list[Standing]:
        """Run all rounds, or until one body is left, and return the standings of the last one."""
        standings: list[Standing] = []
        rounds = rounds_of(self.images, len(set(self.labels.values())))
        for begin, end in zip((0.0, *rounds), rounds, strict=False):
            started = time.monotonic()
            self.embed(begin, end)
            self.seconds += time.monotonic() - started
            standings = [self._judge(entrant) for entrant in self.entrants]
            best = min(standings, key=lambda standing: standing.rank)
            say(f"race: on {len(best.ids):,} images {best.name} leads with {percent(best.accuracy)}")
            if end == rounds[-1]:
                if self.alone:
                    left = "1 image is" if self.alone == 1 else f"{self.alone:,} images are"
                    say(f"race: {left} left out: no other fold has one of the same class to learn from")
                break
            losers = lost(standings)
            for loser in losers:
                say(f"race: {loser.name} is out after {len(loser.ids):,} images, with {percent(loser.accuracy)}")
            self.earlier.append(standings)
            names = {loser.name for loser in losers}
            self.entrants = [entrant for entrant in self.entrants if entrant.entry.name not in names]
            if len(self.entrants) == 1:
                return [standing for standing in standings if standing.name not in names]
        return standings

    def embed(self, begin: float, end: float) -> None:
        """Embed the images whose rank is from `begin` to `end`; pictures are decoded once for each framing."""
        rows = [self.rows[at] for at in np.flatnonzero((begin <= self.ranks) & (self.ranks < end))]
        rung = files.digest([row["id"] for row in rows])[:16]
        locations = Locations(Path(self.params["source"]), self.root / "data/raw", self.runtime.downloads)
        shapes: dict[Framing, list[Entrant]] = {}
        for entrant in self.entrants:
            shapes.setdefault(entrant.framing, []).append(entrant)
        for shape, entrants in shapes.items():
            scratch, shards = self.folder / "pictures", None
            missing = {entrant.folder for entrant in entrants if not entrant.has(rung)}
            if missing:
                shards = shards_of(rows, locations, shape, scratch, self.facts["flips"], self.runtime)
            for entrant in entrants:
                if entrant.folder in missing:
                    say(f"race: {entrant.entry.name} embeds {len(rows):,} images")
                try:
                    entrant.embed(shards if entrant.folder in missing else None, rung, self.recipe.seed, self.runtime)
                except (DarkroomError, MemoryError, RuntimeError) as error:
                    say(f"race: {entrant.entry.name} is left out: {why(error)}")
                    self.entrants = [other for other in self.entrants if other is not entrant]
            discard(scratch)
        if len(self.entrants) < 2:
            raise DarkroomError(f"a race needs two bodies, {len(self.entrants)} can run here; name others in its file")

    def _judge(self, entrant: Entrant) -> Standing:
        pool = Pool(entrant.parts, self.labels, self.folds, self.val)
        learnable = pool.learnable()
        if not learnable.any():
            raise DarkroomError(
                f"no class of the {len(pool):,} images has two in different folds, so none can be cross-validated;"
                " add images, or lower test_fraction"
            )
        asked = [asdict(self.recipe), self.code, pool.ids,
                 *(each.tolist() for each in (pool.labels, pool.fold, pool.chooses))]  # fmt: skip
        answers = entrant.answers(asked, partial(pool.out_of_fold, self.recipe))
        answers[~learnable] = np.nan
        self.alone = int((~learnable & (pool.fold >= 0)).sum())
        return Standing.of(
            entrant.entry.name, pool.ids, pool.labels, answers,
            embed_rate=entrant.embedded / entrant.seconds, export_rate=1000 / entrant.latency,
            megabytes=entrant.megabytes, parameters=int(entrant.facts["parameters"]), licence=entrant.licence,
        )  # fmt: skip


def rounds_of(images: int, classes: int) -> list[float]:
    """Return the share of the images that each round of a race has."""
    early = [share for share in ROUNDS[:-1] if images > FEW and share * images >= FEWEST * classes]
    return [*early, ROUNDS[-1]]


def head_recipe(root: Path) -> Recipe:
    """Return the recipe of params.yaml for a linear head on cached features."""
    recipe: Recipe = load(Recipe, root / "params.yaml")
    return replace(recipe, recipe=CUSTOM, freeze="backbone", head="linear", thaw_epoch=0, cutmix=0.0, lr_decay=1.0)


def _code(root: Path, *stages: str) -> list[str]:
    """Return the digests of the code of these stages, as DVC watches it."""
    modules = [path for stage in stages for path in sorted((root / CODE / stage).glob("*"))]
    return [files.sha256(module) for module in modules]


def prepare(root: Path) -> None:
    """Mend what a kill has left in the project, and check its params and its source. Raises DarkroomError."""
    for line in preflight.mend(root):
        say(f"race: {line}")
    head_recipe(root).check()
    preflight.check(root)


def require_split(root: Path) -> None:
    """Bring data/index.csv and data/split.csv up to date. Raises DarkroomError."""
    lock = root / preflight.LOCK
    before = lock.exists() and files.sha256(lock)
    done = subprocess.run([*dvc(), "repro", "-q", "split"], cwd=root)
    if done.returncode:
        raise DarkroomError("the stages before the race do not run; make `dvc repro split` work first")
    if before != (lock.exists() and files.sha256(lock)):
        say("race: dvc.lock now holds the split of the data and params as they are, as after `dvc repro split`")


def conclude(race: Race, standings: list[Standing], test: bool) -> int:
    """Print and write the table, the figure, the advice and the command; test once. Return the exit status."""
    frame = table(standings, race.earlier)
    best, chosen = advised(standings)
    alone = largest_class(best, race.labels)
    if alone:
        chosen = best
    frame.to_csv(race.folder / "race.csv", index=False)
    save(race.folder / "race.png", figure(frame, chosen.name))
    print(in_words(frame))
    print(f"\ntable and figure: race.csv and race.png in {race.folder.relative_to(race.root)}")
    if alone:
        print(f"no body is better beyond noise than always answering {alone[0]}, right for {percent(alone[1])}: "
              "so the best is advised, not the fastest; add images")  # fmt: skip
    settings = {entrant.entry.name: _settings(entrant.entry, race.root) for entrant in race.entrants}
    why = "the best" if alone else "the best; none within half a point of it is faster"
    if chosen is not best:
        print(f"best: {best.name}; it is taken by\n  {_command(settings[best.name])}")
        rate = chosen.export_rate / best.export_rate
        why = f"the fastest of those at most half a point behind the best, {rate:.1f} times as fast"
    print(f"advised: {chosen.name}, {why}:")
    print(f"  {_command(settings[chosen.name])}")
    return _look_at_test(race, chosen.name, settings[chosen.name]) if test else 0


def _look_at_test(race: Race, chosen: str, settings: dict[str, Any]) -> int:
    say(f"race: evaluating {chosen} on the test set")
    name = f"race-{race.folder.name}-best"
    experiment = Experiment(race.root, name, settings, None, race.folder / "best.log",
                            copies=project.copies(race.root, race.params | settings))  # fmt: skip
    found = experiment.tested()
    if found is None:
        return 1
    print(score_line(found, name))
    return 0


def _settings(chosen: Entry, root: Path) -> dict[str, Any]:
    """Return the params that take a body, with those of the head that contradict a frozen one in params.yaml."""
    found: dict[str, Any] = {"backbone": chosen.backbone, "weights": chosen.weights, "freeze": "backbone"}
    recipe, raced = replace(load(Recipe, root / "params.yaml"), freeze="backbone"), head_recipe(root)
    if recipe.only_head:
        found |= {
            key: getattr(raced, key) for key in ("cutmix", "lr_decay") if getattr(recipe, key) != getattr(raced, key)
        }
    terms = licence(chosen)
    if chosen.backbone.startswith(TIMM) and chosen.weights == "imagenet" and terms not in (*PERMISSIVE, UNKNOWN):
        found["accept_license"] = terms  # the race's file has accepted it
    return found


def _command(settings: dict[str, Any]) -> str:
    return "dvc exp run " + " ".join(f"-S {quote(f'{key}={setting(value)}')}" for key, value in settings.items())


def main(arguments: list[str]) -> int:
    """Return 0: done; 1: the final evaluation failed; 130: stopped, goes on later."""
    parser = argparse.ArgumentParser(
        prog="darkroom race",
        description="Find the backbone that suits these images: cross-validated heads on parts of train and val.",
    )
    parser.add_argument("file", type=Path, nargs="?", help="a race's file (default: a list for this machine)")
    parser.add_argument("--no-test", action="store_true", help="leave out the final evaluation on the test set")
    asked = parser.parse_args(arguments)
    root, runtime = Path.cwd(), from_environment()
    file = read_race(asked.file, str(torch_device(runtime)) != "cpu")
    folder = root / FOLDER / (asked.file.stem if asked.file else "default")
    project.require_name(root, f"race-{folder.name}", "race", f"rename {asked.file}")
    with project.alone(folder):
        try:
            prepare(root)
            file = entering(file, root)
            require_split(root)
            started = time.monotonic()
            race = Race(root, file, folder, runtime)
            standings = race.run()
            say(f"race: {time.monotonic() - started:.0f} s, {race.seconds:.0f} s of them for decoding and embedding")
            return conclude(race, standings, not asked.no_test)
        except KeyboardInterrupt:
            say("race: stopped; the same command goes on from here")
            return INTERRUPTED
