"""`darkroom repeats [REV]`: train the recipe with several seeds, to measure it, or its change since REV.

`darkroom compare` compares two trained models; this compares recipes.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core import files, yaml12
from darkroom.core.errors import DarkroomError
from darkroom.core.params import load
from darkroom.core.progress import say
from darkroom.core.runtime import Runtime, from_environment
from darkroom.images.shards import open_split
from darkroom.metrics.intervals import OUT_OF_FOLD
from darkroom.metrics.predictions import group_codes
from darkroom.metrics.scores import most_probable
from darkroom.metrics.significance import OverSeeds, over_seeds
from darkroom.model import classifier
from darkroom.model.runner import cached_features
from darkroom.reporting.runs import Revision, used_params
from darkroom.search.project import shared_params
from darkroom.training.data import Data, open_data
from darkroom.training.folds import open_fold
from darkroom.training.recipe import Recipe
from darkroom.training.train import train

SPLIT = Path("data/split.csv")
SHARDS, FEATURES, BODY = Path("data/shards"), Path("data/features"), Path("models/body")
OUT = Path(".darkroom/repeats.json")


def main(arguments: list[str]) -> int:
    """Train each recipe with each seed, answer the test set, and print and write the accuracies."""
    asked = _parser().parse_args(arguments)
    root, runtime = Path.cwd(), from_environment()
    recipe = load(Recipe)
    seeds = range(recipe.training_seed, recipe.training_seed + asked.seeds)
    right = right_in_folds if asked.folds else right_in_test
    other = recipe_of(asked.rev, root, recipe) if asked.rev else recipe
    if asked.rev:
        require_another(other, asked.rev, recipe)
    new, groups = right(recipe, seeds, runtime)
    group = group_codes(groups)
    widen = OUT_OF_FOLD if asked.folds else 1.0
    mine = over_seeds(new, group, widen=widen)
    found = {"seeds": list(seeds), "n": new.shape[1], "workspace": facts(mine)}
    print(in_words("this recipe", mine, "accuracy"))
    if asked.rev:
        old, _ = right(other, seeds, runtime)
        for name, values, what in ((asked.rev, old, "accuracy"), ("difference", new - old, "difference")):
            summary = over_seeds(values, group, what == "difference", widen)
            found[name] = facts(summary)
            print(in_words(name if what == "accuracy" else f"since {asked.rev}", summary, what))
        print(verdict(over_seeds(new - old, group, True, widen)))
    files.write_json(OUT, found)
    used = (
        "the test set stayed unseen" if asked.folds else "the test set was answered, so choose by --folds, not by this"
    )
    say(f"repeats: {OUT} has the accuracy of every seed; {used}")
    return 0


def right_in_test(recipe: Recipe, seeds: range, runtime: Runtime) -> tuple[np.ndarray, list[str]]:
    """Return which test images the recipe's classifier of each seed gets right, float64 (seeds, n), and groups (n,)."""
    _require_features(recipe, seeds)
    data, test = open_data(SHARDS, FEATURES), open_split(SHARDS, "test")
    kept = cached_features(open_split(FEATURES, "test", SHARDS))
    if kept is None or not len(test):
        raise DarkroomError("data/features holds no test image; run `dvc repro evaluate` first")
    rows = [_right(data, kept[0], test.labels, recipe, seed, runtime) for seed in seeds]
    return np.array(rows, np.float64), test.groups()


def right_in_folds(recipe: Recipe, seeds: range, runtime: Runtime) -> tuple[np.ndarray, list[str]]:
    """Return which images of train and val a classifier trained without their fold gets right: (seeds, n), and groups.

    The answers of all folds are pooled, and their interval is widened (intervals.OUT_OF_FOLD).
    """
    _require_features(recipe, seeds)
    folds = sorted({int(row["fold"]) for row in files.read_csv(SPLIT) if row["fold"]})
    parts: list[list[np.ndarray]] = [[] for _ in seeds]
    groups: list[str] = []
    for fold in folds:
        data, held = open_fold(SPLIT, SHARDS, FEATURES, fold)
        if held.features is None:
            raise DarkroomError("data/features does not hold the images of train and val; run `dvc repro embed`")
        values = held.features.features(np.arange(len(held.ids)), np.zeros(len(held.ids), np.int64))
        groups += held.groups
        for row, seed in zip(parts, seeds, strict=True):
            row.append(_right(data, values, held.labels, recipe, seed, runtime))
    return np.array([np.concatenate(row) for row in parts], np.float64), groups


def _right(
    data: Data, features: np.ndarray, labels: np.ndarray, recipe: Recipe, seed: int, runtime: Runtime
) -> np.ndarray:
    """Train on `data` with this seed; return which of features (n, D) are answered with their label, bool (n,)."""
    with contextlib.redirect_stderr(io.StringIO()):  # each of them would report its epochs
        trained = train(data, BODY, dataclasses.replace(recipe, train_seed=seed), runtime, lambda _rows: None)
    return most_probable(classifier.logits(features, trained.head)) == labels


def _require_features(recipe: Recipe, seeds: range) -> None:
    if not recipe.only_head:
        raise DarkroomError(
            "repeats train a head on cached features (recipe: custom, freeze: backbone); a network that learns takes as"
            f" long as its training each time: dvc exp run --queue -S 'train_seed=range({seeds.start},{seeds.stop})'"
        )


def recipe_of(rev: str, root: Path, current: Recipe) -> Recipe:
    """Return the recipe of a branch, tag, commit or experiment. Raises DarkroomError where its features are others."""
    revision = Revision(rev, root)
    params = revision.mapping("params.yaml") | used_params(revision.lock)
    here = yaml12.read(root / "params.yaml")
    other = sorted(key for key in shared_params(root) or () if params.get(key) != here.get(key))
    if other:
        raise DarkroomError(
            f"{rev} has other data or features ({', '.join(f'{key}: {params.get(key)}' for key in other)}); recipes are"
            " compared on the same ones: check out that commit and run `darkroom repeats` there"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        kept = dataclasses.asdict(current) | {key: params[key] for key in dataclasses.asdict(current) if key in params}
        files.write_text(path, json.dumps(kept))
        return load(Recipe, path)


def require_another(other: Recipe, rev: str, recipe: Recipe) -> None:
    """Raise DarkroomError where the recipes differ in the training seed at most: both are trained with the same ones.

    Their answers would be the same, and an interval of their difference would say what nobody has asked.
    """
    if dataclasses.replace(other, train_seed=recipe.train_seed, seed=recipe.seed) == recipe:
        raise DarkroomError(
            f"{rev} has the recipe of params.yaml, which is trained with several seeds anyway: change what is to be "
            "compared, or leave REV out to see what this recipe is worth"
        )


def facts(found: OverSeeds) -> dict[str, Any]:
    """Return the summary as JSON, to six digits."""
    values = dataclasses.asdict(found) | {"by_seed": found.by_seed.round(6).tolist()}
    return {key: round(value, 6) if isinstance(value, float) else value for key, value in values.items()}


def in_words(name: str, found: OverSeeds, what: str) -> str:
    """Return one line: the mean over seeds and images, its interval, and the spread of the seeds."""
    signed = "+" if what == "difference" else ""
    text = f"{name}: {what} {100 * found.mean:{signed}.2f} {'points' if signed else '%'}"
    if len(found.by_seed) < 2:
        return f"{text}, of one seed: how much of it is luck is unknown; --seeds 5 shows it"
    if found.low is None or found.high is None or found.spread is None:
        return f"{text}, of {len(found.by_seed)} seeds; too few images, or groups of them, for an interval"
    span = f"{100 * found.low:{signed}.2f} to {100 * found.high:{signed}.2f}"
    return (f"{text} (95 % interval over images and {len(found.by_seed)} seeds {span}); "
            f"seeds differ by a standard deviation of {100 * found.spread:.2f} points")  # fmt: skip


def verdict(difference: OverSeeds) -> str:
    """Return whether the recipes differ, in a sentence."""
    if len(difference.by_seed) < 2:
        return "no verdict on the recipes: one seed is one draw"
    if difference.low is None or difference.high is None:
        return "no verdict on the recipes: too few images, or groups of them"
    if difference.low <= 0 <= difference.high:
        return "no evidence that the recipes differ, over images and seeds"
    return f"the recipe of the workspace is {'better' if difference.low > 0 else 'worse'}, over images and seeds"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="darkroom repeats",
        description="Train the recipe of params.yaml with several training seeds on the cached features, and say what"
        " it is worth over test images and seeds. With REV: whether it is better than that revision's recipe.",
    )
    parser.add_argument("rev", metavar="REV", nargs="?", help="a branch, tag, commit or DVC experiment to compare with")
    parser.add_argument(
        "--folds", action="store_true", help="by cross-validation of train and val; the test set stays unseen"
    )
    parser.add_argument("--seeds", type=_seeds, default=5, help="how many, from train_seed on (default: %(default)s)")
    return parser


def _seeds(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 1000:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to 1000")
    return value
