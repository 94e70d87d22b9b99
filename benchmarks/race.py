"""Does a race choose as well as a search that gives every body all images? Over divisions of all samples.

    python -m benchmarks.race hymenoptera=RUN/five.yaml digits=RUN/five.yaml [--seeds 20]

RUN is a project in which the pipeline has run as far as split, with a race's file in it. Every body embeds every image
of train and val once, into the race's own folder. In each division two thirds of them are raced on, and the last third
judges what was chosen: by the race (quarter, half, all), by cross-validation of every body on all images, and what the
race advises. Prints Markdown rows: mean accuracies on the last third, and the mean difference to the exhaustive search
with its 95 % interval over divisions.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np

from darkroom.core.randomness import generator
from darkroom.core.runtime import from_environment
from darkroom.search.entrants import read_race
from darkroom.search.pool import Pool
from darkroom.search.race import FEW, FOLDER, ROUNDS, Race
from darkroom.search.standings import Standing, advised, lost
from darkroom.training.recipe import Recipe

RACED = 2 / 3  # of the images; the others judge


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", help="name=PROJECT/RACE.yaml")
    parser.add_argument("--seeds", type=int, default=20)
    asked = parser.parse_args()
    columns = ("set", "images raced on", "race", "exhaustive", "advised", "race - exhaustive", "advised - exhaustive",
               "same body", "embedded, race / exhaustive")  # fmt: skip
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name, _, path in (run.partition("=") for run in asked.runs):
        pools, recipe, rates = open_pools(Path(path))
        rows = []
        for seed in range(asked.seeds):
            started = time.monotonic()
            rows.append(division(pools, recipe, rates, seed))
            print(f"<!-- {name} {seed} {rows[-1]} {time.monotonic() - started:.0f} s -->", flush=True)
        chosen, best, cheap, same, raced, work, every = np.array(rows).T
        print(f"| {name} | {raced.mean():,.0f} | {chosen.mean():.4f} | {best.mean():.4f} | {cheap.mean():.4f} | "
              f"{_interval(chosen - best)} | {_interval(cheap - best)} | {int(same.sum())} of {len(same)} | "
              f"{work.mean() / every.mean():.2f} |", flush=True)  # fmt: skip


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


def division(
    pools: dict[str, Pool], recipe: Recipe, rates: dict[str, float], seed: int
) -> tuple[float, float, float, bool, int, float, float]:
    """Return the accuracies on the last third of what the race, the exhaustive search and the advice choose, whether
    the first two agree, the images raced on, and how often all images were embedded in the race and in the search."""
    one = next(iter(pools.values()))
    raced = one.subset(RACED, seed)
    shares = ROUNDS if raced.sum() > FEW else ROUNDS[-1:]
    order = generator(seed, "race", "rounds").permutation(len(one)) / len(one)
    known: dict[tuple[str, float], Standing] = {}

    def judge(body: str, share: float) -> Standing:
        if (body, share) not in known:
            known[body, share] = _standing(body, pools[body], raced & (order < share), recipe, rates[body])
        return known[body, share]

    left, work, before = list(pools), 0.0, 0.0
    for share in shares:
        standings = [judge(body, share) for body in left]
        work += (share - before) * len(left)
        before = share
        if share < shares[-1] and len(left) > 1:
            out = {loser.name for loser in lost(standings)}
            left = [body for body in left if body not in out]
    chosen, cheap = advised([each for each in standings if each.name in left])
    best = min((judge(body, 1.0) for body in pools), key=lambda standing: standing.rank)
    truth = {name: _truth(pools[name], raced, recipe) for name in {chosen.name, cheap.name, best.name}}
    return (truth[chosen.name], truth[best.name], truth[cheap.name], chosen.name == best.name, int(raced.sum()), work,
            float(len(pools)))  # fmt: skip


def _standing(name: str, pool: Pool, rows: np.ndarray, recipe: Recipe, rate: float) -> Standing:
    answers = pool.out_of_fold(recipe, rows, rows)
    answers[~rows] = np.nan
    return Standing.of(name, pool.ids, pool.labels, answers, embed_rate=0.0, export_rate=rate, megabytes=0.0,
                       parameters=0, licence="")  # fmt: skip


def _truth(pool: Pool, raced: np.ndarray, recipe: Recipe) -> float:
    """Return the accuracy, on the samples that are not `raced` on, of a head that learnt from all that are."""
    answers = pool.answers(recipe, raced, ~raced)
    return float((answers.argmax(axis=1) == pool.labels[~raced]).mean())


def _interval(points: np.ndarray) -> str:
    half = 1.96 * points.std(ddof=1) / np.sqrt(len(points)) if len(points) > 1 else np.nan
    return f"{100 * points.mean():+.2f} ({100 * (points.mean() - half):+.2f} to {100 * (points.mean() + half):+.2f})"


if __name__ == "__main__":
    main()
