"""The parts of `make bench` as tables: what each column shows, what counts as better, and what was aimed at."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
Cell = Callable[[Row, list[Row]], str]


@dataclass(frozen=True)
class Part:
    """A table and a figure: `value` is what is compared, in `unit`; `aim` says in words how Darkroom did, by the rows
    and the number of test images."""

    title: str
    says: str
    value: str
    unit: str
    columns: dict[str, Cell]
    aim: Callable[[list[Row], int], str]
    less_is_better: bool = True


def ours(rows: list[Row], index: int = 0) -> Row:
    """Darkroom's row, or one of them."""
    return [row for row in rows if row.get("ours")][index]


def fastest(rows: list[Row], value: str, less: bool = True) -> Row | None:
    """Return the best of the peers that took part, by `value`."""
    able = [row for row in rows if not row.get("ours") and value in row]
    return (min if less else max)(able, key=lambda row: row[value], default=None)


def seconds(row: Row, _: list[Row]) -> str:
    """Wall seconds."""
    return f"{row['wall']:.2f}" if row["wall"] < 10 else f"{row['wall']:.1f}"


def processor(row: Row, _: list[Row]) -> str:
    """Processor seconds of all its processes, where they were counted."""
    return f"{row['processor']:.1f}" if "processor" in row else ""


def accuracy(row: Row, _: list[Row]) -> str:
    """Share of the test images that were answered right."""
    return f"{row['accuracy']:.3f}"


def rate(row: Row, _: list[Row]) -> str:
    """Images a second."""
    return f"{row['images_per_second']:,.0f}" if "images_per_second" in row else ""


def times(value: str, index: int = 0, less: bool = True) -> Cell:
    """How many times Darkroom's row number `index` is as good as this one."""

    def cell(row: Row, rows: list[Row]) -> str:
        try:
            mine = ours(rows, index)
            mine = (row["beside"][mine["name"]] if "beside" in row else mine)[value]
        except (KeyError, IndexError):
            return ""
        return f"{row[value] / mine if less else mine / row[value]:.1f}"

    return cell


def text(key: str) -> Cell:
    """Return a column of words."""
    return lambda row, _: str(row.get(key, ""))


def _accuracy_aim(rows: list[Row], count: int) -> list[str]:
    """How Darkroom's accuracy compares with the best peer's, and whether `count` test images can tell; [] without."""
    mine = next((row for row in rows if row.get("ours") and "accuracy" in row), None)
    best = fastest(rows, "accuracy", less=False)
    if mine is None or best is None:
        return []
    said = f"- {mine['name']}: its accuracy, {mine['accuracy']:.3f}, is "
    rival = f"the best peer's ({best['name']}: {best['accuracy']:.3f})"
    right, theirs = mine["accuracy"] * count, best["accuracy"] * count  # over seeds: means, with a part of an image
    if right > theirs - 0.05:  # an accuracy is written with six digits
        return [f"{said}no lower than {rival}."]
    from scipy.stats import fisher_exact

    chance = fisher_exact([[round(n), count - round(n)] for n in (right, theirs)]).pvalue
    verdict = "no difference that can be told" if chance >= 0.05 else "a real difference"
    return [f"{said}**lower than** {rival}: {_images(right)} right against {_images(theirs)} of {count} images, "
            f"{verdict} (p = {chance:.2g}, Fisher's exact test)."]  # fmt: skip


def _images(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _second_aim(rows: list[Row], count: int) -> str:
    rival = fastest(rows, "wall")
    if rival is None:
        return ""
    said = []
    for row in (row for row in rows if row.get("ours") and "wall" in row):
        ratio = rival["wall"] / row["wall"]
        enough = "at least 20: met" if ratio >= 20 else "20 was aimed at: behind"
        said.append(f"- {row['name']} is {ratio:.1f} times as fast as the fastest peer ({rival['name']}); {enough}.")
    return "\n".join(said + _accuracy_aim(rows, count))


def _beats(value: str, less: bool, what: str) -> Callable[[list[Row], int], str]:
    def aim(rows: list[Row], count: int) -> str:
        rival, mine = fastest(rows, value, less), ours(rows)
        if rival is None or value not in mine:
            return ""
        ratio = rival[value] / mine[value] if less else mine[value] / rival[value]
        verdict = "met" if ratio >= 1 else "**behind**"
        said = f"- Darkroom is {ratio:.2f} times as fast as the fastest peer ({rival['name']}); {what}: {verdict}."
        return "\n".join([said, *_accuracy_aim(rows, count)])

    return aim


def _startup_aim(rows: list[Row], _: int) -> str:
    said = [
        f"- {row['name']}: {row['wall']:.2f} s, under {row['target']} s wanted: "
        f"{'met' if row['wall'] < row['target'] else '**behind**'}."
        for row in rows
        if row.get("target") and "wall" in row
    ]
    return "\n".join(said)


def setup(row: Row, _: list[Row]) -> str:
    """How it was set up, and when it was measured where that was not with the others."""
    return str(row.get("setup", "")) + (f"; {row['measured']}" if "measured" in row else "")


EXPERIMENT = {"set up as": setup}
PARTS = {
    "second": Part(
        "Time to the second experiment",
        "Another learning rate, everything else as it was: the head on a frozen mobilenet_v2, {epochs} epochs in "
        "batches of {batch_size}; Darkroom's as params.yaml has it. Seconds of the whole process, from the command to "
        "the accuracy on the test images; peers export nothing.",
        "wall", "seconds",
        {"seconds": seconds, "of processors": processor, "× `dvc exp run`": times("wall"),
         "× to accuracy": times("wall", 1), "× train stage": times("wall", 2), "accuracy": accuracy, **EXPERIMENT},
        _second_aim,
    ),
    "first": Part(
        "Time to the first result",
        "From raw photos to an accuracy on the test images and a model.onnx: the head on a frozen mobilenet_v2, "
        "{epochs} epochs in batches of {batch_size}; Darkroom's as params.yaml has it.",
        "wall", "seconds",
        {"seconds": seconds, "of processors": processor, "× Darkroom": times("wall"), "accuracy": accuracy,
         **EXPERIMENT},
        _beats("wall", True, "no slower than the fastest was aimed at"),
    ),
    "finetune": Part(
        "Full fine-tuning",
        "All of mobilenet_v2 learns for {tuning_epochs} epochs at 224 px, batches of {batch_size}. Images a second of "
        "the training loop, loading included and start-up not.",
        "images_per_second", "images a second",
        {"images/s": rate, "Darkroom ×": times("images_per_second", less=False), "seconds in all": seconds,
         "accuracy": accuracy, **EXPERIMENT},
        _beats("images_per_second", False, "ahead of all was aimed at"),
        less_is_better=False,
    ),
    "loading": Part(
        "Data loading",
        "Images a second to a training-ready batch: 32 images in random order, float32 NCHW of 224 px, normalised, no "
        "augmentation; at least {samples:,} samples (the photos, repeated), two epochs after one that warms up, with "
        "the best of 0, 1 and 2 workers. `arrays`: decoded to uint8 when the data set is written, as Darkroom's are.",
        "images_per_second", "images a second",
        {"images/s": rate, "Darkroom ×": times("images_per_second", less=False), "workers": text("workers"),
         "seconds to write": lambda row, _: f"{row['writing']:.1f}", "MB": lambda row, _: f"{row['bytes'] / 1e6:.0f}"},
        _beats("images_per_second", False, "ahead of all was aimed at"),
        less_is_better=False,
    ),
    "startup": Part(
        "Import and start-up",
        "Seconds of a fresh process, files in the page cache; medians of three.",
        "wall", "seconds",
        {"what": text("kind"), "seconds": seconds},
        _startup_aim,
    ),
}  # fmt: skip
