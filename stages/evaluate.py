"""Score the classifier on the test set: classifier, test shards -> metrics, plots/predictions.csv, plots/test."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkroom.core import files, runtime
from darkroom.core.params import load, param
from darkroom.core.stage import note, run
from darkroom.core.text import percent
from darkroom.images.shards import DATA
from darkroom.metrics.abstention import Wanted, calibrate, measure
from darkroom.metrics.answers import VIEWS, Answerer
from darkroom.metrics.predictions import write_predictions
from darkroom.metrics.summary import headline, scores_block, summarise
from darkroom.model.classifier import TRAINING
from darkroom.reporting.evaluation import Material, draw_all
from darkroom.reporting.findings import warnings


@dataclass(frozen=True)
class EvaluateParams:
    """The params of evaluate."""

    seed: int = param("Seed of every random choice", at_least=0, at_most=2**63 - 1)
    tta: str = param("Test-time augmentation, reported beside the plain numbers", choices=VIEWS)
    set_level: str | float = param(
        "How often the set of classes holds the right one. auto: 0.9, 0.95 or 0.99, the lowest above the accuracy",
        also=("auto",),
        at_least=0.5,
        below=1,
    )
    unknown_share: float = param(
        "Share of pictures like the training images that may be called unknown, for being unlike them",
        above=0,
        at_most=0.5,
    )
    answer_share: float | None = param(
        "Share of the pictures to answer, the surest ones; null: all, however unsure", above=0, at_most=1
    )
    answer_accuracy: float | None = param(
        "Share of the answers to be right; the least sure ones are marked; null: whatever it is", above=0, below=1
    )

    @property
    def wanted(self) -> Wanted:
        """The limits that the answers are to meet."""
        level = None if self.set_level == "auto" else float(self.set_level)
        return Wanted(level, self.unknown_share, self.answer_share, self.answer_accuracy)


def main(
    classifier: Path,
    body: Path,
    shards: Path,
    features: Path,
    data: Path,
    training: Path,
    metrics: Path,
    summary: Path,
    predictions: Path,
    figures: Path,
) -> str:
    """Score the answers to the test images, write all of them, and draw the figures.

    DATA and TRAINING get copies, for Git, of what preprocess and train wrote into their folders.
    """
    params = load(EvaluateParams)
    answerer = Answerer(classifier, body, shards, features, runtime.from_environment())
    note(engine=answerer.engine)
    test, val = answerer.answers("test"), answerer.answers("val")
    table = summarise(test.predictions, params.seed)
    table["temperature"] = answerer.saved.temperature
    table["before_calibration"] = scores_block(test.uncalibrated, ("ece", "log_loss", "brier"))
    table["baseline"] = answerer.baselines(test)
    table |= measure(test.answered, calibrate(val.answered, params.wanted), params.wanted)
    if params.tta != "none":
        answers, temperature = answerer.with_tta(test, val, params.tta)
        table["tta"] = {"views": params.tta, "temperature": temperature} | summarise(answers, params.seed)
        del table["tta"]["per_class"]
    material = Material(answerer, test, val, table)
    table["likely_label_errors"] = len(material.suspects)
    files.write_bytes(data, (shards / DATA).read_bytes())
    files.write_bytes(training, (classifier / TRAINING).read_bytes())
    files.write_json(metrics, table)
    files.write_json(summary, headline(table))
    write_predictions(predictions, test.predictions)
    with files.fresh_folder(figures) as folder:
        draw_all(folder, material)
    for warning in warnings(table):
        print("evaluate:", warning.replace("\N{NO-BREAK SPACE}", " "), flush=True)
    return f"{in_words(table)} on {len(test.predictions):,} test images"


def in_words(table: dict[str, Any]) -> str:
    """Return the accuracy and its interval, for the closing line."""
    if table.get("accuracy") is None:
        return "no accuracy"
    accuracy, low, high = (percent(table[f"accuracy{end}"]) for end in ("", "_low", "_high"))
    return f"accuracy {accuracy} ({low} to {high})"


if __name__ == "__main__":
    run(main)
