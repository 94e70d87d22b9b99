"""What benchmarks/growth.py measured: the exponents, a Markdown table, a figure."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

SMALLEST = 0.05  # seconds; what is faster is mostly start-up, and no basis for an exponent
Results = dict[str, dict[int, dict[str, float]]]  # by stage and count: seconds, megabytes, perhaps instructions


def exponent(counts: Sequence[int], values: Sequence[float], smallest: float) -> float:
    """p of values ~ counts**p: the slope of the last two sizes in logarithms, where both are large enough to tell."""
    pairs = [(count, value) for count, value in zip(counts, values, strict=True) if value >= smallest]
    if len(pairs) < 2:
        return math.nan
    (n1, v1), (n2, v2) = pairs[-2:]
    return math.log(v2 / v1) / math.log(n2 / n1)


def draw(path: Path, over_images: tuple[Results, str], over_classes: tuple[Results, str]) -> None:
    """Seconds and MB against images, seconds against classes, with slopes of n and n log n to compare."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(15, 4.6), layout="constrained")
    for axis, results, what, name in (
        (axes[0], over_images[0], "seconds", over_images[1]),
        (axes[1], over_images[0], "megabytes", over_images[1]),
        (axes[2], over_classes[0], "seconds", over_classes[1]),
    ):
        for stage, points in results.items():
            axis.plot(
                list(points),
                [max(p[what], 0.1 if what == "megabytes" else 1e-3) for p in points.values()],
                marker="o",
                markersize=4,
                label=stage,
            )
        axis.set(xscale="log", yscale="log", xlabel=name, ylabel=what)
        axis.grid(alpha=0.3)
    counts = np.array(list(next(iter(over_images[0].values()))), float)
    guide = counts * np.log(counts)
    axes[0].plot(counts, guide / guide[-1] * 20, color="grey", linestyle=":", label="n log n")
    axes[1].plot(counts, counts / counts[-1] * 1000, color="grey", linestyle=":", label="n")
    axes[0].legend(fontsize=8)
    axes[1].legend(fontsize=8)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def table(title: str, results: Results) -> list[str]:
    """Return a Markdown table: seconds and MB of each stage and size, and the exponents of the last two sizes."""
    counts = list(next(iter(results.values())))
    counted = any("instructions" in point for points in results.values() for point in points.values())
    head = ["time ~", "memory ~", *(["instructions ~"] if counted else [])]
    lines = [f"| {title} | " + " | ".join([f"{count:,}" for count in counts] + head) + " |",
             "|---" * (len(counts) + 1 + len(head)) + "|"]  # fmt: skip
    for stage, points in results.items():
        cells = [f"{p['seconds']:.2f} s, {p['megabytes']:.0f} MB" for p in points.values()]
        powers = [
            exponent(counts, [p.get(what, 0.0) for p in points.values()], least)
            for what, least in (("seconds", SMALLEST), ("megabytes", 10.0), ("instructions", 1.0))[: len(head)]
        ]
        shown = ["small" if math.isnan(p) else "flat" if p < 0.15 else f"n^{p:.2f}" for p in powers]
        lines.append(f"| {stage} | " + " | ".join([*cells, *shown]) + " |")
    return lines
