"""Measure how often an 8-bit model that loses accuracy would be kept, and one that loses nothing, by simulation.

    python -m benchmarks.quantized [--trials 20000]

Each trial draws which of n pictures only the full model, only the 8-bit one, or both or neither get right. `kept`: by
`largest_loss` on the validation set; `by McNemar`: where an exact one-sided test gave p >= 0.05, as it was before.
"""

import argparse

import numpy as np
from scipy.stats import binomtest

from darkroom.export.quantize import MARGIN
from darkroom.metrics.significance import largest_loss

IMAGES = (37, 150, 400, 1000, 3000, 10_000)
LOSSES = (0.0, 0.01, 0.02)
FLIPS = (0.0, 0.005, 0.02)  # share of the pictures that the 8-bit model alone gets right


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=20_000)
    trials = parser.parse_args().trials
    print("| pictures | loss | only 8-bit right | kept | by McNemar |\n|---|---|---|---|---|")
    for images in IMAGES:
        for loss in LOSSES:
            for won in FLIPS:
                kept, before = shares_kept(images, loss, won, trials)
                print(
                    f"| {images:,} | {100 * loss:g} % | {100 * won:g} % | {100 * kept:.1f} % | {100 * before:.1f} % |"
                )


def shares_kept(images: int, loss: float, won: float, trials: int) -> tuple[float, float]:
    """Return the share of trials in which the 8-bit model is kept: by `largest_loss`, and by McNemar's test."""
    shares = [won + loss, won, 1 - 2 * won - loss]
    drawn = np.random.default_rng(0).multinomial(images, shares, trials)[:, :2]
    pairs, counts = np.unique(drawn, axis=0, return_counts=True)
    kept, before = np.zeros(len(pairs), bool), np.zeros(len(pairs), bool)
    for number, (lost, gained) in enumerate(pairs.tolist()):
        kept[number] = largest_loss(lost, gained, images) < MARGIN
        flips = lost + gained
        before[number] = not flips or binomtest(lost, flips, alternative="greater").pvalue >= 0.05
    return float((kept * counts).sum() / trials), float((before * counts).sum() / trials)


if __name__ == "__main__":
    main()
