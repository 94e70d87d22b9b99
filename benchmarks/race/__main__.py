"""Does a race choose as well as a search that gives every body all images? Over divisions of all samples.

    python -m benchmarks.race [--shared ../shared] [--flowers FOLDER] [--only hymenoptera,digits] [--seeds 20]

Makes a project for each set in .bench/race and runs the pipeline there as far as split. Every body embeds every image
of train and val once, into the race's own folder. In each division two thirds of them are raced on, and the last third
judges what was chosen: by the race (quarter, half, all), by cross-validation of every body on all images, and what the
race advises. Finished divisions are kept in .bench/race: a run that was broken off goes on. Writes benchmarks/race.json
and the table in benchmarks/README.md: mean accuracies on the last third, the mean difference to the exhaustive search
with its 95 % interval over divisions, and processor seconds of the race's heads.

This is a `__main__.py`, for the processes that decode do not import one: of a module they would, torch and all, each
time (8 s of a processor).
"""

import argparse
import json
import os
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.recipes import mnist
from benchmarks.side_by_side.darkroom import Project
from benchmarks.side_by_side.settings import ROOT
from benchmarks.side_by_side.store import Store
from darkroom.core import files
from darkroom.core.randomness import generator
from darkroom.core.runtime import from_environment
from darkroom.search.entrants import read_race
from darkroom.search.pool import Pool
from darkroom.search.race import FOLDER, ROUNDS, Race, rounds_of
from darkroom.search.standings import Standing, advised, lost
from darkroom.training.recipe import Recipe

KEPT, README, WORK = ROOT / "benchmarks/race.json", ROOT / "benchmarks/README.md", ROOT / ".bench/race"
BEGINS, ENDS = "<!-- race, written by `python -m benchmarks.race` -->", "<!-- end of race -->"
RACED = 2 / 3  # of the images; the others judge
BODIES = {
    "timm/tf_efficientnet_lite0": "tf_efficientnet_lite0.safetensors",
    "timm/tf_efficientnet_lite2": "tf_efficientnet_lite2.safetensors",
    "mobilenet_v2": "mobilenet_v2.pth",
    "squeezenet1_1": "squeezenet1_1.pth",
}


def main() -> None:
    """Measure what is not measured yet, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="folder with data/ and weights/")
    parser.add_argument("--flowers", type=Path, help="folder of photos of flowers, in class folders")
    parser.add_argument("--only", help="sets, by commas")
    parser.add_argument("--seeds", type=int, default=20, help="divisions")
    parser.add_argument("--report", action="store_true", help="only write the table of what was measured")
    asked = parser.parse_args()
    kept = files.read_json(KEPT) if KEPT.exists() else {}
    every = sources(asked.shared.resolve()) | ({"flowers": str(asked.flowers.resolve())} if asked.flowers else {})
    for name, source in every.items() if not asked.report else ():
        if asked.only and name not in asked.only.split(","):
            continue
        pools, recipe, rates = open_pools(project(name, source, asked.shared.resolve()))
        store = Store(WORK / "kept", {"set": name, "bodies": sorted(pools)})
        kept[name] = []
        for seed in range(asked.seeds):
            found = store.measured(name, f"division {seed}", partial(division, pools, recipe, rates, seed))
            kept[name].append(found)
            files.write_json(KEPT, kept)  # a run that is broken off leaves its table, too
            write(kept)
    write(kept)


def sources(shared: Path) -> dict[str, str]:
    """Return the sources of the sets at hand."""
    photos = {name: str(shared / "data" / name) for name in ("hymenoptera", "dogs-vs-cats")}
    return photos | {"digits": "sources/digits.yaml", "100 classes of 10": str(mnist(shared, 10, 10))}


def project(name: str, source: str, shared: Path) -> Path:
    """Run the pipeline as far as split in a project of its own, and return the race's file that is written there."""
    os.environ["DARKROOM_DOWNLOADS"] = str(ROOT / ".bench/recipes")  # below which the card of the 100 classes lies
    made = Project(WORK / name.replace(" ", "-"), {"source": source})
    made.dvc(WORK / f"{made.folder.name}.log", "repro", "split")
    bodies = [{"backbone": body, "weights": str(shared / "weights" / file)} for body, file in BODIES.items()]
    bodies.append({"backbone": "small_cnn", "weights": "weights/small_cnn-mnist.safetensors"})
    (made.folder / "five.yaml").write_text(json.dumps({"backbones": bodies}))  # JSON is YAML
    return made.folder / "five.yaml"


def open_pools(file: Path) -> tuple[dict[str, Pool], Recipe, dict[str, float]]:
    """Return each body's features of all images, the head's recipe, and images a second of the exported body."""
    home = Path.cwd()
    os.chdir(file.parent)  # paths in params.yaml and in the race's file start there
    try:
        race = Race(Path.cwd(), read_race(Path(file.name), gpu=False), Path.cwd() / FOLDER / file.stem,
                    from_environment())  # fmt: skip
        for begin, end in zip((0.0, *ROUNDS), ROUNDS, strict=False):
            race.embed(begin, end)
        pools = {each.entry.name: Pool(each.parts, race.labels, race.folds, race.val) for each in race.entrants}
        return pools, race.recipe, {each.entry.name: 1000 / each.latency for each in race.entrants}
    finally:
        os.chdir(home)


def division(pools: dict[str, Pool], recipe: Recipe, rates: dict[str, float], seed: int) -> dict[str, Any]:
    """Return the accuracies on the last third of what the race, the exhaustive search and the advice choose.

    Also their names, the images raced on, how many bodies' worth of images was embedded in the race and in the search,
    and processor seconds of the race's heads.
    """
    one = next(iter(pools.values()))
    raced = one.subset(RACED, seed)
    shares = rounds_of(int(raced.sum()), len(one.classes))
    order = generator(seed, "race", "rounds").permutation(len(one)) / len(one)
    known: dict[tuple[str, float], tuple[Standing, float]] = {}

    def judge(body: str, share: float) -> Standing:
        if (body, share) not in known:
            started = time.process_time()
            standing = _standing(body, pools[body], raced & (order < share), recipe, rates[body])
            known[body, share] = standing, time.process_time() - started
        return known[body, share][0]

    left, work, before = list(pools), 0.0, 0.0
    for share in shares:
        standings = [judge(body, share) for body in left]
        work += (share - before) * len(left)
        before = share
        if share < shares[-1] and len(left) > 1:
            out = {loser.name for loser in lost(standings)}
            left = [body for body in left if body not in out]
    seconds = sum(taken for _, taken in known.values())
    chosen, cheap = advised([each for each in standings if each.name in left])
    best = min((judge(body, 1.0) for body in pools), key=lambda standing: standing.rank)
    truth = {name: _truth(pools[name], raced, recipe) for name in {chosen.name, cheap.name, best.name}}
    return {
        "race": truth[chosen.name], "exhaustive": truth[best.name], "advised": truth[cheap.name],
        "chosen": [chosen.name, best.name, cheap.name], "images": int(raced.sum()), "seconds": seconds,
        "embedded": work / len(pools),
    }  # fmt: skip


def _standing(name: str, pool: Pool, rows: np.ndarray, recipe: Recipe, rate: float) -> Standing:
    answers = pool.out_of_fold(recipe, rows, rows)
    answers[~rows] = np.nan
    return Standing.of(name, pool.ids, pool.labels, answers, embed_rate=0.0, export_rate=rate, megabytes=0.0,
                       parameters=0, licence="")  # fmt: skip


def _truth(pool: Pool, raced: np.ndarray, recipe: Recipe) -> float:
    """Return the accuracy, on the samples that are not `raced` on, of a head that learnt from all that are."""
    answers = pool.answers(recipe, raced, ~raced)
    return float((answers.argmax(axis=1) == pool.labels[~raced]).mean())


def write(kept: dict[str, list[dict[str, Any]]]) -> None:
    """Write the table into the README, between two markers."""
    columns = ("set", "divisions", "images raced on", "race", "exhaustive", "advised", "race - exhaustive",
               "advised - exhaustive", "same body", "embedded, of the exhaustive", "seconds of heads")  # fmt: skip
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *(_line(*row) for row in sorted(kept.items()))]
    before, _, rest = README.read_text().partition(BEGINS)
    files.write_text(README, f"{before}{BEGINS}\n" + "\n".join(lines) + f"\n{ENDS}{rest.partition(ENDS)[2]}")


def _line(name: str, found: list[dict[str, Any]]) -> str:
    race, best, cheap, images, embedded, seconds = (
        np.array([each[key] for each in found])
        for key in ("race", "exhaustive", "advised", "images", "embedded", "seconds")
    )
    same = sum(each["chosen"][0] == each["chosen"][1] for each in found)
    cells: Iterable[str] = (
        name, str(len(found)), f"{images.mean():,.0f}", f"{race.mean():.4f}", f"{best.mean():.4f}",
        f"{cheap.mean():.4f}", _interval(race - best), _interval(cheap - best), f"{same} of {len(found)}",
        f"{embedded.mean():.2f}", f"{seconds.mean():.0f}",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _interval(points: np.ndarray) -> str:
    half = 1.96 * points.std(ddof=1) / np.sqrt(len(points)) if len(points) > 1 else np.nan
    return f"{100 * points.mean():+.2f} ({100 * (points.mean() - half):+.2f} to {100 * (points.mean() + half):+.2f})"


if __name__ == "__main__":
    main()
