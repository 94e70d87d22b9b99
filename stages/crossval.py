"""Summarise the folds of the cross-validation: data/crossval/fold-* -> metrics/crossval.json, a table and a figure."""

from dataclasses import dataclass
from pathlib import Path

from darkroom.core import files
from darkroom.core.errors import ParamsError
from darkroom.core.params import load, param
from darkroom.core.stage import run
from darkroom.core.text import percent
from darkroom.metrics import registry
from darkroom.metrics.predictions import read_predictions
from darkroom.reporting import figures
from darkroom.training import folds


@dataclass(frozen=True)
class CrossvalParams:
    """The params of crossval."""

    folds: int = param("Number of folds of the cross-validation", at_least=2)


def main(results: Path, metrics: Path, table: Path, figure: Path) -> str:
    """Write mean, standard deviation and interval of each score over RESULTS/fold-*."""
    params = load(CrossvalParams)
    found = [files.read_json(path) for path in sorted(results.glob("fold-*/result.json"))]
    found.sort(key=lambda result: result["fold"])
    numbers = [result["fold"] for result in found]
    if numbers != list(range(params.folds)):
        raise ParamsError(
            f"params.yaml: folds is {params.folds}, but folds {numbers} were trained; write "
            f"`fold: {list(range(params.folds))}` in crossval/dvc.yaml, and delete other folds in {results}"
        )
    answers = []
    for number in numbers:
        path = results / f"fold-{number}" / "predictions.csv"
        with path.open(encoding="utf-8", newline="") as file:
            answers.append(read_predictions(file, path.as_posix()))
    together = folds.summary(found) | {"pooled": folds.pooled(answers)}
    files.write_json(metrics, together)
    columns = ("fold", "n", *(metric.key for metric in registry.headline()))
    files.write_csv(table, columns, [[result[name] for name in columns] for result in found])
    figures.save(figure, folds.figure(together))
    spans = [_span(scores["accuracy_low"], scores["accuracy_high"]) for scores in (together, together["pooled"])]
    return (
        f"accuracy {percent(together['accuracy'])} ± {100 * together['accuracy_std']:.1f} points over {len(found)} "
        f"folds (95 % interval of the mean {spans[0]}, of all answers together {spans[1]})"
    )


def _span(low: float | None, high: float | None) -> str:
    return "unknown" if low is None or high is None else f"{percent(low)} to {percent(high)}"


if __name__ == "__main__":
    run(main)
