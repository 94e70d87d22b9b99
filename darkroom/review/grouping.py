"""`darkroom group FOLDER`: start without labels. Photos that look alike to a backbone become groups, which people name.

The groups are written as a table of paths and labels, for `source`. `darkroom review` shows each as a class, to be
renamed, joined or corrected for the next run. Several groups under one name are one class, so it is better to propose
too many than too few: a mixed group costs a decision a photo, two halves of a class one decision in all.
"""

import argparse
import os
from pathlib import Path

import numpy as np

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.core.params import read_yaml
from darkroom.core.progress import say
from darkroom.core.runtime import from_environment
from darkroom.review.evidence import Components
from darkroom.review.unlabelled import Cache

FEWEST, MOST = 2, 20  # groups that are proposed; of n photos, the rounded root of n at most
COMPONENTS = 64  # of the features, that photos are compared in
COMPARED = 2000  # photos from which the number of groups is chosen
NEARLY = 0.75  # of the best silhouette: the largest number of groups that keeps it is proposed
STARTS = 5  # of k-means; the best is taken


def grouped(rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return the group of each row (n, d), numbered by size, the largest first: int64 (n,). k-means.

    There are fewer than `count` where fewer rows differ.
    """
    from sklearn.cluster import KMeans

    count = min(count, len(np.unique(rows, axis=0)))
    found = KMeans(count, n_init=STARTS, random_state=seed).fit_predict(rows)
    rank = np.argsort(np.argsort(-np.bincount(found, minlength=count), kind="stable"))
    return rank[found].astype(np.int64)


def number_of_groups(rows: np.ndarray, seed: int) -> int:
    """Return how many groups to propose for rows (n, d), FEWEST to MOST.

    Of the numbers whose mean silhouette (P. Rousseeuw, 1987) is nearly the best, it is the largest. Of 24, 72 or 200
    photos of ants, bees, cats and dogs, naming groups and correcting photos then took 9.5 decisions in the mean of 30
    draws; with the best silhouette 16.0, and with the best number that there is 6.8.
    """
    from sklearn.metrics import silhouette_score

    most = min(MOST, max(FEWEST, round(len(rows) ** 0.5)))
    rows = rows[:: max(1, len(rows) // COMPARED)]
    silhouette = {}
    different = len(np.unique(rows, axis=0))
    for count in range(FEWEST, min(most, different, len(rows) - 1) + 1):
        silhouette[count] = float(silhouette_score(rows, grouped(rows, count, seed)))
    best = max(silhouette.values(), default=0.0)
    return max((count for count, value in silhouette.items() if value >= NEARLY * best), default=FEWEST)


def write_groups(cache: Cache, groups: np.ndarray, out: Path) -> None:
    """Write the table `out`: of each photo the path, from the table's folder on, and its group as a label."""
    width = len(str(groups.max() + 1))
    label = {photo.sha256: f"group {group + 1:0{width}d}" for photo, group in zip(cache.photos, groups, strict=True)}
    folder = Path(os.path.relpath(cache.source, out.parent))
    rows = [(str(folder / row["location"]), label[row["sha256"]])
            for row in files.read_csv(cache.folder / "index.csv") if row["sha256"] in label]  # fmt: skip
    files.write_csv(out, ("path", "label"), sorted(rows))


def main(arguments: list[str]) -> int:
    """Return 0: done."""
    asked = _options(arguments)
    source = Path(os.path.normpath(asked.source))
    out = source.parent / f"{source.resolve().name}.csv"
    if not source.is_dir():
        raise DarkroomError(f"{source} is not a folder; expected one with photos in it, unpacked")
    if out.exists() and not asked.replace:
        raise DarkroomError(f"{out} exists already; --replace writes other groups into it (decisions stay)")
    root = Path.cwd()
    cache = Cache.before_a_run(root, source)
    cache.update(from_environment())
    if len(cache) < 2 * FEWEST:
        raise DarkroomError(f"{source}: {len(cache)} different photos can be read; expected {2 * FEWEST} or more to "
                            "group")  # fmt: skip
    if asked.groups and not FEWEST <= asked.groups <= len(cache):
        raise DarkroomError(f"--groups {asked.groups}: expected {FEWEST} to {len(cache):,}, the number of photos")
    params = read_yaml(root / "params.yaml")
    features = cache.features()
    rows = Components.of(features, COMPONENTS).all(features)
    groups = grouped(rows, asked.groups or number_of_groups(rows, params["seed"]), params["seed"])
    write_groups(cache, groups, out)
    sizes = np.bincount(groups)
    say(f"{len(cache):,} photos in {len(sizes)} groups of {sizes.max():,} to {sizes.min():,}, by {params['backbone']} "
        f"with {Path(str(params['weights'])).name}; --groups changes the number: {out}")  # fmt: skip
    say(f"`dvc exp run -S source={out}` takes them as classes; name and correct them in `darkroom review`, run again")
    return 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="darkroom group",
        description="Start without labels: put photos that look alike into groups, which `darkroom review` shows as "
        "classes to be named. The backbone is the one in params.yaml.",
    )
    parser.add_argument("source", metavar="FOLDER", help="a folder of photos without labels")
    parser.add_argument("--groups", type=int, default=0, help="how many (default: as the photos suggest)")
    parser.add_argument("--replace", action="store_true", help="write FOLDER.csv anew where it exists")
    return parser.parse_args(arguments)
