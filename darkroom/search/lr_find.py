"""`darkroom lr-find`: raise the learning rate at each step, and suggest one from the curve of the loss.

The range test of Smith (2017). The suggestion is fastai's "valley": in the longest falling stretch of the loss, the
point half way through its middle third, where the loss falls steadily and is far from running away.
"""

import argparse
import itertools
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.core.params import load
from darkroom.core.progress import progress
from darkroom.core.runtime import from_environment, torch_device
from darkroom.images.batches import order, steps
from darkroom.model import classifier
from darkroom.reporting import figures
from darkroom.training.data import open_data
from darkroom.training.fit import Fit
from darkroom.training.recipe import Recipe
from darkroom.training.torch_training import choose_dtype, make_phases
from darkroom.training.train import initial_head

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SMOOTHING = 0.9  # of the running mean of the loss
WORSE = 4.0  # times the lowest loss: there the test ends


def main(arguments: list[str]) -> int:
    """Do the range test with the settings of params.yaml, print the suggestion and draw the curve."""
    parser = argparse.ArgumentParser(prog="darkroom lr-find", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(".darkroom/lr_find.png"), help="the figure (%(default)s)")
    parser.add_argument("--steps", type=int, default=150, help="steps of the test (%(default)s)")
    parser.add_argument("--low", type=float, default=1e-6, help="the first learning rate (%(default)s)")
    parser.add_argument("--high", type=float, default=10.0, help="the last learning rate (%(default)s)")
    asked = parser.parse_args(arguments)
    if not (0 < asked.low < asked.high and asked.steps >= 20):
        raise DarkroomError("expected 0 < --low < --high, and --steps of at least 20")
    recipe = load(Recipe)
    recipe.check()
    rates, losses = range_test(recipe, asked.steps, asked.low, asked.high)
    suggested = valley(rates, losses)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    figures.save(asked.out, figure(rates, losses, suggested, recipe.lr))
    print(f"suggested lr: {suggested:.1e} (params.yaml has {recipe.lr:g}); the curve is in {asked.out}")
    print(f"try it: dvc exp run -S lr={suggested:.1e}")
    return 0


def range_test(recipe: Recipe, count: int, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Return rates (s,), each a constant factor above the one before, and the loss (s,) of the step made with it.

    Trains as the first epochs of the last phase would, and ends early when the loss is far above its lowest. Rates are
    values of `lr`: a thawed network learns at `thaw_lr_factor` times as much.
    """
    runtime = from_environment()
    device = torch_device(runtime)
    body = Path("models/body")
    data = open_data(Path("data/shards"), Path("data/features"))
    first = initial_head(recipe, files.read_json(body / "body.json")["features"], data.classes, body)
    head = classifier.build(recipe.head_facts, first).to(device)
    phases, _ = make_phases(data, body, recipe, head, device, choose_dtype(recipe.precision, device), runtime.threads)
    fit = Fit(phases, recipe, device)
    fit.begin(len(phases) - 1)
    fit.phase.module.train()
    rates = low * (high / low) ** (np.arange(count) / (count - 1))
    losses: list[float] = []
    batches = (
        batch
        for epoch in itertools.count()
        for batch in fit.phase.train.training(
            steps(order(len(data.train_images), recipe.training_seed, epoch), recipe.batch_size), epoch
        )
    )
    lowest = math.inf
    for index, (rate, (inputs, labels)) in enumerate(
        progress(zip(rates, batches, strict=False), "lr-find", count, "step")
    ):
        loss = float(fit.step.run(inputs, labels, float(rate) * fit.phase.lr / recipe.lr, 0, index)[0])
        losses.append(loss)
        if not math.isfinite(loss) or (index > 10 and smooth(losses)[-1] > WORSE * lowest):
            break
        lowest = min(lowest, smooth(losses)[-1])
    kept = len(losses) - (0 if math.isfinite(losses[-1]) else 1)
    return rates[:kept], np.array(losses[:kept])


def smooth(losses: list[float] | np.ndarray) -> np.ndarray:
    """Return the running mean of losses (s,), corrected for its start at zero."""
    mean, out = 0.0, []
    for index, loss in enumerate(losses, start=1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * float(loss)
        out.append(mean / (1 - SMOOTHING**index))
    return np.array(out)


def valley(rates: np.ndarray, losses: np.ndarray) -> float:
    """Return the suggested rate. Raises DarkroomError when the loss never fell."""
    smoothed = smooth(losses)
    length = np.ones(len(smoothed), int)  # of the longest falling subsequence that ends at each step
    for index in range(1, len(smoothed)):
        above = length[:index][smoothed[:index] > smoothed[index]]
        length[index] = 1 + (above.max() if len(above) else 0)
    if len(length) < 10 or length.max() < 5:
        raise DarkroomError("the loss never fell in the range test; look at the data, or give a lower --low")
    end = int(length.argmax())
    third = length[end] / 3
    return float(rates[end - length[end] + 1 + int(third) + int(third / 2)])


def figure(rates: np.ndarray, losses: np.ndarray, suggested: float, current: float) -> "Figure":
    """Draw the loss against the rate, with the suggestion and the present setting."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = drawn.add_subplot()
    smoothed = smooth(losses)
    axes.plot(rates, losses, color="#cbd5e1", linewidth=1, label="loss of a step")
    axes.plot(rates, smoothed, color="#2563eb", linewidth=2, label="running mean")
    axes.axvline(suggested, color="#15803d", label=f"suggested lr {suggested:.1e}")
    axes.axvline(current, color="#d97706", linestyle="--", label=f"params.yaml has {current:g}")
    axes.set_xscale("log")
    axes.set_ylim(max(0.0, smoothed.min() * 0.8), smoothed[: max(10, len(smoothed) // 2)].max() * 1.5)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    axes.set_title("Learning rate range test")
    axes.legend(fontsize=8)
    return drawn
