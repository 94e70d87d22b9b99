"""The sections of the report, each a function from the run's material to HTML; a new one is an entry in SECTIONS."""

from collections.abc import Callable
from typing import Any

from darkroom.core import files
from darkroom.metrics.curves import class_curves
from darkroom.reporting.charts import Interval, Line, interval_chart, line_chart
from darkroom.reporting.report_material import Material
from darkroom.reporting.report_page import CARDS, METRICS, number, share, table

SHOWN = 20  # classes in the chart; the table has all
READABLE = 12  # classes up to which a confusion matrix can be read on a telephone


def _headline(material: Material) -> str:
    test = material.test
    cards = []
    for name, (title, good) in CARDS.items():
        if test.get(name) is not None:
            low, high = test.get(f"{name}_low"), test.get(f"{name}_high")
            span = f"{number(low)} to {number(high)}" if low is not None else ""
            cards.append(
                f'<div class="card"><b>{number(test[name])}</b><span>{title}</span><small>{span}</small>'
                f"<small>{good}</small></div>"
            )
    return f'<div class="cards">{"".join(cards)}</div>'


def _bought(material: Material) -> str:
    test, baseline = material.test, material.test.get("baseline", {})
    majority, mean = baseline.get("majority", {}), baseline.get("nearest_class_mean", {})
    known = [
        ("commonest class", majority),
        ("before training", mean),
        ("this classifier", test),
    ]
    rows = [
        Interval(name, row["accuracy"], row["accuracy_low"], row["accuracy_high"], share(row["accuracy"]))
        for name, row in known
        if row.get("accuracy") is not None
    ]
    if not rows:
        return ""
    words = (
        "Accuracy with its 95 % interval: answering always with the commonest class; the network before training, which"
        " answers with the class whose mean feature is nearest; and this classifier."
    )
    return f"<p>{words}</p>" + _figure(interval_chart(rows, "Accuracy against the baselines"))


def _curves(material: Material) -> str:
    charts = []
    for kind in ("loss", "accuracy"):
        lines = [
            Line(f"{name} {kind}", _points(material.history, f"{part}_{kind}"), dots=len(material.history) < 3)
            for part, name in (("train", "training"), ("val", "validation"))
        ]
        charts.append(_figure(line_chart(lines, "epoch", kind)))
    best = material.train.get("best_epoch")
    words = f"<p>The weights of epoch {best} were kept.</p>" if best and any(charts) else ""
    return words + _row(charts)


def _points(rows: list[dict[str, str]], column: str) -> list[tuple[float, float]]:
    return [(float(row["epoch"]), float(row[column])) for row in rows if row.get(column)]


def _confusion(material: Material) -> str:
    readable = len(material.test.get("per_class", {})) <= READABLE
    return material.picture("plots/test/confusion.png", "Confusion matrix", sheet=not readable)


def _per_class(material: Material) -> str:
    rows = material.test.get("per_class", {})
    known = sorted((row["f1"], name) for name, row in rows.items() if row["f1"] is not None)
    chart = interval_chart(
        [
            Interval(name, f1, rows[name]["f1_low"], rows[name]["f1_high"], f"{f1:.3f} ({rows[name]['support']:,})")
            for f1, name in known[:SHOWN]
        ],
        "F1 of each class",
    )
    head = (
        f"<p>F1 with its 95 % interval and, in brackets, the number of images{_only(len(known))}.</p>" if known else ""
    )
    columns = ("class", "images", "precision", "recall", "F1")
    cells = [
        (name, f"{row['support']:,}", number(row["precision"]), number(row["recall"]), number(row["f1"]))
        for name, row in sorted(rows.items())
    ]
    whole = f"<details><summary>All {len(rows):,} classes</summary>{table(columns, cells)}</details>"
    return head + _figure(chart) + whole


def _only(classes: int) -> str:
    return f", of the {SHOWN} lowest of {classes:,} classes" if classes > SHOWN else ", the lowest first"


def _ranking(material: Material) -> str:
    own = material.predictions
    if own is None:
        return ""
    charts = []
    for kind, x_label, y_label, diagonal in (
        ("roc", "false positive rate", "true positive rate", True),
        ("precision_recall", "recall", "precision", False),
    ):
        lines = [
            Line(name, _thinned(list(zip(x.tolist(), y.tolist(), strict=True))), faint=True)
            for name, x, y in class_curves(own, kind)
        ][:200]
        averaged = material.root / f"plots/test/{kind}.csv"
        if averaged.exists() and lines:
            points = [tuple(map(float, row.values())) for row in files.read_csv(averaged)]
            lines.append(Line("mean of the classes", [(x, y) for x, y in points]))
        charts.append(_figure(line_chart(lines, x_label, y_label, (0, 1), (0, 1.02), diagonal=diagonal)))
    return "<p>Thin: each class against the rest. Thick: their mean.</p>" + _row(charts) if any(charts) else ""


def _thinned(points: list[tuple[float, float]], most: int = 200) -> list[tuple[float, float]]:
    step = -(-len(points) // most)
    return [*points[::step], points[-1]] if step > 1 else points


def _reliability(material: Material) -> str:
    path = material.root / "plots/test/reliability.csv"
    rows = list(files.read_csv(path)) if path.exists() else []
    line = Line(
        "accuracy",
        [(float(row["confidence"]), float(row["accuracy"])) for row in rows],
        dots=True,
        whiskers=[(float(row["accuracy_low"]), float(row["accuracy_high"])) for row in rows],
    )
    before = material.test.get("before_calibration", {})
    words = (
        f"<p>How often an answer given with some confidence is right, with 95 % intervals; a perfect classifier lies"
        f" on the dashed line. The temperature {number(material.test.get('temperature'))}, fitted on validation,"
        f" changed the calibration error from {number(before.get('ece'))} to {number(material.test.get('ece'))}.</p>"
    )
    chart = line_chart([line], "confidence", "accuracy", (0, 1), (0, 1.02), diagonal=True)
    return words + _row([_figure(chart)]) if rows else ""


def _pictures(*names: tuple[str, str]) -> Callable[[Material], str]:
    return lambda material: "".join(material.picture(path, alt) for path, alt in names)


def _data(material: Material) -> str:
    data = material.data
    if not data:
        return ""
    facts = [(key.replace("_", " "), _plain(value)) for key, value in data.items() if key != "per_class"]
    samples = material.picture("plots/samples.png", "Images of each class")
    return samples + table(("fact", "value"), facts) + _class_table(data.get("per_class", {}))


def _class_table(rows: dict[str, dict[str, int]]) -> str:
    parts = ("train", "val", "test")
    cells = [(name, *(f"{row.get(part, 0):,}" for part in parts)) for name, row in sorted(rows.items())]
    head = ("class", "train", "validation", "test")
    return f"<details><summary>Images of each class</summary>{table(head, cells)}</details>" if cells else ""


def _params(material: Material) -> str:
    cells = [(key, _plain(value)) for key, value in material.params.items()]
    third = -(-len(cells) // 3)
    return _row([table(("param", "value"), cells[i : i + third]) for i in range(0, len(cells), third)])


def _metrics(material: Material) -> str:
    cells = []
    for name, title in METRICS.items():
        if name in material.test:
            low, high = material.test.get(f"{name}_low"), material.test.get(f"{name}_high")
            span = "–" if low is None else f"{number(low)} to {number(high)}"
            cells.append((title, number(material.test[name]), span))
    return table(("metric", "value", "95 % interval"), cells)


def _ran(material: Material) -> str:
    if not material.run:
        return ""
    stages = material.run.get("stages", {})
    cells = [(name, f"{facts['seconds']:.1f}", f"{facts['peak_memory_mb']:,}") for name, facts in stages.items()]
    facts = [(key.replace("_", " "), _plain(value)) for key, value in material.run.get("machine", {}).items()]
    versions = sorted(material.run.get("versions", {}).items())
    exported = [(key.replace("_", " "), _plain(value)) for key, value in material.export.items()]
    tables = [
        table(("stage", "seconds", "memory, MB"), cells),
        table(("package", "version"), versions),
        table(("machine", ""), facts),
        table(("exported model", ""), exported) if exported else "",
    ]
    return _row(tables)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_plain(part)}" for key, part in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "none"
    return "none" if value is None else f"{value:,}" if type(value) is int else str(value)


def _figure(chart: str) -> str:
    return f"<figure>{chart}</figure>" if chart else ""


def _row(figures: list[str]) -> str:
    return f'<div class="row">{"".join(figures)}</div>' if any(figures) else ""


SECTIONS: dict[str, Callable[[Material], str]] = {
    "Result": _headline,
    "What training bought": _bought,
    "All metrics": _metrics,
    "Learning curves": _curves,
    "Confusion matrix": _confusion,
    "Each class": _per_class,
    "ROC and precision-recall": _ranking,
    "Calibration": _reliability,
    "Worst errors": _pictures(("plots/test/worst_errors.png", "The most confident wrong answers")),
    "Confused pairs": _pictures(("plots/test/confused_pairs.png", "Classes taken for each other")),
    "Least certain": _pictures(("plots/test/least_certain.png", "Answers with the smallest lead")),
    "Where the model looks": _pictures(("plots/test/where_it_looks.png", "Heat maps over images")),
    "Likely label errors": _pictures(("plots/test/label_errors.png", "Images whose label looks wrong")),
    "Map of the features": lambda material: material.picture(
        "plots/test/map.png", "Test images by likeness", sheet=False
    ),
    "Data": _data,
    "Params": _params,
    "The run": _ran,
}
