"""`darkroom report`: all results of a run as one HTML file, which opens without a network."""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from darkroom.core import files, runtime
from darkroom.core.commands import COMMANDS
from darkroom.core.errors import DarkroomError
from darkroom.core.params import read_yaml
from darkroom.core.text import counted, decimal, escape, percent
from darkroom.images.batches import balanced_rows
from darkroom.images.shards import Shards
from darkroom.metrics import registry
from darkroom.metrics.answers import Answerer
from darkroom.metrics.predictions import Predictions, read_predictions
from darkroom.metrics.scores import confusion
from darkroom.metrics.significance import ALPHA
from darkroom.metrics.slices import Slice
from darkroom.metrics.summary import why_no_interval
from darkroom.reporting import charts, findings, pictures, robustness, weak_spots
from darkroom.reporting.card import TEMPLATES, limits, templates
from darkroom.reporting.confusion import pairs, similar_order, similarity
from darkroom.reporting.evaluation import Material
from darkroom.reporting.projection import MOST, project
from darkroom.reporting.runs import models_that_answered, warning_of_many

READABLE = 25  # classes up to which the confusion matrix is a table
PAIRS = 60  # in the table of classes taken for each other
FEWEST_ON_MAP = 10  # images: fewer have no neighbourhood
# What of a README is replaced: projects that `darkroom new` has made have these marks.
NUMBERS = re.compile(r"(<!-- numbers\b.*?-->\n).*?(\n<!-- end of numbers -->)", re.DOTALL)
FOLDERS = ("models/classifier", "models/body", "data/shards", "data/features")


def main(arguments: list[str]) -> int:
    """Write the report of the workspace."""
    parser = argparse.ArgumentParser(
        prog="darkroom report", description="Write everything about the workspace's run into one HTML file."
    )
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="the file (default: %(default)s)")
    parser.add_argument(
        "--robustness",
        action="store_true",
        help="also answer spoilt test images (blur, noise, JPEG, darkness, turn, small size), which takes a while",
    )
    parsed = parser.parse_args(arguments)
    if parsed.out.is_dir():
        raise DarkroomError(f"--out {parsed.out} is a folder; name a file, such as {parsed.out / 'report.html'}")
    files.write_text(parsed.out, page(Path(), parsed.robustness))
    size = parsed.out.stat().st_size / 1e6
    written = (
        "; its main numbers are in README.md" if write_numbers(Path("README.md"), Path("metrics/test.json")) else ""
    )
    print(f"report: {parsed.out} ({size:.1f} MB), one file that opens without a network{written}", file=sys.stderr)
    return 0


def write_numbers(readme: Path, metrics: Path) -> bool:
    """Write the main numbers of `metrics` between the marks of a README; return whether it has such marks."""
    text = readme.read_text(encoding="utf-8", errors="surrogateescape") if readme.is_file() else ""
    test = read_json(metrics)
    if not NUMBERS.search(text) or test.get("accuracy") is None:
        return False
    accuracy, low, high = (percent(test[f"accuracy{end}"]) for end in ("", "_low", "_high"))
    lines = [f"{accuracy} of {test['n']:,} test images are answered right (95 % interval {low} to {high}); "
             f"log loss {decimal(test['log_loss'])}, macro F1 {decimal(test['macro_f1'])}."]  # fmt: skip
    if rows := [row for row in class_rows(test, {}) if row["f1"] is not None and row["f1"] < 1]:
        worst = ", ".join(f"{escape(row['name'], 'markdown')} ({decimal(row['f1'])})" for row in rows[:3])
        lines.append(f"The classes of the lowest F1: {worst}.")
    numbers = " ".join(lines)
    changed = NUMBERS.sub(lambda found: found[1] + numbers + found[2], text, count=1)
    if changed != text:
        files.write_bytes(readme, changed.encode("utf-8", "surrogateescape"))
    return True


def page(root: Path, robust: bool = False) -> str:
    """Return the HTML about the run in the project `root`; `robust`: with answers to corrupted test images.

    Raises DarkroomError where there is no run.
    """
    environment = templates(autoescape=True)
    environment.filters |= {"share": findings.share, "number": decimal, "plain": plain, "counted": counted,
                            "why_no_interval": why_no_interval}  # fmt: skip
    return environment.get_template("report.html").render(contents(root, robust))


def contents(root: Path, robust: bool = False) -> dict[str, Any]:
    """Return what the template shows of the run in the folder `root`."""
    test = read_json(root / "metrics/test.json")
    if not test:
        raise DarkroomError(f"{root / 'metrics/test.json'} does not exist; run `dvc repro`, or `dvc pull`")
    data, train, export, run = (read_json(root / f"metrics/{name}.json") for name in ("data", "train", "export", "run"))
    params = read_yaml(root / "params.yaml")
    predictions = _predictions(root)
    classes = predictions.classes if predictions else list(test.get("per_class", {}))
    wrong_pairs, matrix, order = [], None, np.arange(len(classes))
    if predictions is not None and len(predictions):
        counts = confusion(predictions.labels, predictions.predicted, len(classes))
        wrong_pairs, order = pairs(counts), similar_order(similarity(predictions))
        matrix = _matrix(counts, order)
    material = _material(root, test)
    shown: dict[str, Any] = {"classes": classes, "matrix": matrix, "order": order.tolist(), "tested": test.get("n", 0)}
    shown |= pictures.album(material) if material else {"shots": [], "near": []}
    config = read_json(root / "models/export/config.json")
    drawn = charts.of_run(root, predictions)
    drawn["map"], shown["map"] = _map(material) if material else ("", [])
    on_map = charts.map_colours(np.array([label for label, *_ in shown["map"]], np.int64))
    pictured = _pictured(material, root, robust)
    drawn["robustness"] = charts.robustness(pictured["spoilt"])
    return pictured | {
        "title": f"{params.get('backbone', 'A classifier')} on {Path(str(params.get('source', ''))).stem}",
        "test": test,
        "data": data,
        "data_facts": data_facts(data, params.get("duplicates") != "ignore"),
        "train": train,
        "export": export,
        "run": run,
        "params": params,
        "trust": findings.trust(test),
        "failures": findings.failures(test, wrong_pairs, classes, _worst(pictured["slices"])),
        "steps": findings.next_steps(test, train, list(COMMANDS)),
        "warnings": [
            *findings.warnings(test, data, after_trust=True),
            *filter(None, [warning_of_many(models_that_answered(root))]),
        ],
        "limits": limits(classes, config.get("image_size"), test, bool(config.get("quantized"))),
        "baselines": _baselines(test),
        "classes": classes,
        "class_rows": class_rows(test, data),
        "few": findings.FEW_OF_A_CLASS,
        "pairs": wrong_pairs[:PAIRS],
        "pair_count": len(wrong_pairs),
        "matrix": matrix,
        "order": order.tolist(),
        "readable": len(classes) <= READABLE,
        "charts": drawn,
        "map_colours": {classes[label]: number for label, number in on_map.items()},
        "metrics": registry.in_report(),
        "main": registry.at_top_of_report(),
        "shown": shown,
        "style": Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        "script": Markup((TEMPLATES / "report.js").read_text(encoding="utf-8")),
    }


def _pictured(material: Material | None, root: Path, robust: bool) -> dict[str, Any]:
    """Return the parts of the page that need the pictures; empty ones where these are missing."""
    if material is None:
        return {
            "samples": [], "slices": [], "slice_notes": [], "labels": {"count": 0, "looked_at": 0}, "spoilt": [],
            "leaks": [], "doubtful": {"kinds": []},
        }  # fmt: skip
    slices, notes = weak_spots.slices_of_test(material, root)
    return {
        "samples": pictures.class_samples(Shards(root / "data/shards/train")),
        "slices": slices,
        "slice_notes": notes,
        "labels": weak_spots.doubtful_labels(material, root),
        "spoilt": robustness.robustness(material) if robust else [],
        "leaks": weak_spots.leaking_pictures(material),
        "doubtful": weak_spots.doubtful_pictures(root / "data/shards"),
    }


def class_rows(test: Mapping[str, Any], data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each class with its images in each split, the lowest F1 first, those without one last."""
    images = data.get("per_class", {})
    rows = [{"name": name, **row, "images": images.get(name, {})} for name, row in test.get("per_class", {}).items()]
    return sorted(rows, key=lambda row: (row["f1"] is None, row["f1"] or 0.0, row["name"]))


def data_facts(data: Mapping[str, Any], looked: bool = True) -> dict[str, Any]:
    """Return metrics/data.json in words, without what the page shows elsewhere; {} without data.

    `looked`: whether copies were looked for. Unknown keys are kept as they are.
    """
    known = dict(data)
    for name in ("per_class", "label_conflicts", "notes"):
        known.pop(name, None)
    found: dict[str, Any] = {name: known.pop(name) for name in ("images", "classes") if name in known}
    splits = [f"{known.pop(name):,} {name}" for name in ("train", "val", "test") if name in known]
    if splits:
        found["divided into"] = ", ".join(splits)
    rejects, copies, sizes = (known.pop(name, {}) for name in ("rejects", "duplicates", "sizes"))
    left_out = [("copies", known.pop("dropped", 0)), ("excluded", known.pop("excluded", 0))]
    left_out += [(reason, count) for reason, count in rejects.get("by_reason", {}).items()]
    found["left out"] = ", ".join(f"{count:,} {name}" for name, count in left_out if count) or "none"
    none = "none" if looked else "none were looked for (duplicates: ignore)"
    found["copies found"] = ", ".join(f"{count:,} {name}" for name, count in copies.items() if count) or none
    for side, row in sizes.items():
        if row.get("median") is not None:
            alike = row["min"] == row["max"]
            spread = f"{row['min']:,} to {row['max']:,} pixels, median {row['median']:,.0f}"
            found[side] = f"{row['min']:,} pixels" if alike else spread
    return found | known if data else {}


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON file's mapping; {} without a file. Raises DarkroomError where it holds anything else."""
    try:
        found = files.read_json(path) if path.exists() else {}
    except ValueError as error:
        raise DarkroomError(
            f"{path} is not valid JSON: {error}; solve the conflict, or run `dvc repro` with -f"
        ) from error
    if not isinstance(found, dict):
        raise DarkroomError(f"{path}: expected a mapping, found {found!r:.40}; run `dvc repro` with -f")
    return found


def plain(value: Any) -> str:
    """Return a value of a metrics file as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')}: {plain(part)}" for key, part in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(plain, value)) or "none"
    if isinstance(value, float):
        return f"{value:,.6g}"
    return "none" if value is None or value == "" else f"{value:,}" if isinstance(value, int) else str(value)


def _predictions(root: Path) -> Predictions | None:
    path = root / "plots/predictions.csv"
    if not path.exists():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        return read_predictions(file, str(path))


def _material(root: Path, test: dict[str, Any]) -> Material | None:
    """Return the classifier's answers with their pictures; None where they are missing, or no image was tested."""
    classifier, body, shards, features = (root / folder for folder in FOLDERS)
    if not test.get("n") or not all(folder.is_dir() for folder in (classifier, body, shards, features)):
        return None
    answerer = Answerer(classifier, body, shards, features, runtime.from_environment())
    return Material(answerer, answerer.answers("test"), answerer.answers("val"), test)


def _matrix(counts: np.ndarray, order: np.ndarray) -> dict[str, Any]:
    """Return the cells that are not zero, [row, column, count] in the given order, and the images of each row."""
    sorted_counts = counts[np.ix_(order, order)]
    rows, columns = np.nonzero(sorted_counts)
    cells = np.column_stack([rows, columns, sorted_counts[rows, columns]])
    return {"cells": cells.tolist(), "totals": sorted_counts.sum(axis=1).tolist()}


def _baselines(test: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    known = test.get("baseline", {})
    rows = [
        ("the commonest class", known.get("majority", {})),
        ("before training", known.get("nearest_class_mean", {})),
        ("this classifier", test),
    ]
    return [(name, row) for name, row in rows if row.get("accuracy") is not None]


def _worst(parts: Sequence[Slice]) -> tuple[str, float, int] | None:
    """Return the first part of the test set, its accuracy and images, where it is surely worse than the rest."""
    if not parts or parts[0].p_adjusted > ALPHA:
        return None
    return f"{parts[0].column} {parts[0].value}", parts[0].accuracy, parts[0].images


def _map(material: Material) -> tuple[str, list[list[Any]]]:
    """Return the map of at most MOST test images as SVG; and label, answer and file of each point."""
    own = material.test.predictions
    known = np.flatnonzero(np.isfinite(material.test.features).all(axis=1)) if len(own) else np.empty(0, np.int64)
    rows = known[balanced_rows(own.labels[known], len(own.classes), MOST)] if len(known) > MOST else known
    if len(rows) < FEWEST_ON_MAP:
        return "", []
    points = project(material.test.features[rows])
    facts = [[int(own.labels[row]), int(own.predicted[row]), material.test.locations[row]] for row in rows]
    return charts.map_chart(points, own.labels[rows], own.scorer.correct[rows]), facts
