"""Train a linear head on cached features in numpy, with the same bits on every processor.

This is softmax regression by mini-batches. With targets T (b, K), a batch's mean cross entropy has the gradient
(P - T)ᵀX / b. All that a recipe says of a head means here what it means in darkroom.training.fit, for the same samples
in the same order; a test holds the two to the same curve. Importing torch takes longer than the whole training.

Everything is float64. Features are rounded to multiples of 2**-15, weights and P - T to 2**-22 before each product, so
that its sums are exact in any order; all else is single IEEE 754 operations in a fixed order (darkroom.core.exactmath).
No sum of a product reaches 2**53 units: `exactmath.multiply` asserts it.
"""

import math
import time

import numpy as np
from threadpoolctl import threadpool_limits

from darkroom.core import exactmath
from darkroom.core.errors import TrainingError
from darkroom.core.randomness import generator
from darkroom.images.batches import Table, views
from darkroom.model import classifier
from darkroom.model.tensors import Tensors
from darkroom.training import losses
from darkroom.training.history import Monitor, Reporter, Row, scores
from darkroom.training.numpy_optimizers import RULES
from darkroom.training.recipe import Recipe, rate_factor
from darkroom.training.result import Trained
from darkroom.training.schedules import Plateau, ema_decay, factor

MOST_STEPS = 100_000
MOST_PRODUCTS = 1e11  # multiplications: some ten seconds of one thread
ROWS = 4096  # that are validated together
DECAYED = "0.weight"  # biases neither decay nor have an l1 term
UNIT = 2.0**-exactmath.INPUT_BITS


def suits(recipe: Recipe, samples: int, features: int, classes: int) -> bool:
    """Return whether `train_head` suits a training: a linear head alone, done in seconds, and so without a checkpoint.

    Longer ones are torch's, with its threads, GPUs and checkpoints. Counts alone decide, so the answer is the same
    everywhere.
    """
    count = recipe.epochs * -(-samples // recipe.batch_size)
    products = 2.0 * recipe.epochs * samples * features * classes
    alone = recipe.only_head and recipe.head == "linear"
    return alone and count <= MOST_STEPS and products <= MOST_PRODUCTS


def train_head(
    train: Table,
    val: Table,
    head: Tensors,
    recipe: Recipe,
    rate: float = 1.0,
    reporter: Reporter | None = None,
) -> Trained:
    """Return the head of the best epoch, from features (n, views, D) of `train` and `val`, starting at `head`.

    `rate`: what `lr` is multiplied by, see recipe.rate_factor.
    Raises TrainingError when there is nothing to learn from, or the loss runs away.
    """
    if not len(train):
        raise TrainingError("there is nothing to train on: the train split is empty; look at data/split.csv")
    # A loss that is not a number is reported with its step.
    with threadpool_limits(1, "blas"), np.errstate(over="ignore", invalid="ignore"):
        return _Training(train, val, head, recipe, rate).run(reporter or Reporter())


class _Training:
    """The state of one training."""

    def __init__(self, train: Table, val: Table, head: Tensors, recipe: Recipe, rate: float) -> None:
        self.train, self.val, self.recipe, self.lr = train, val, recipe, recipe.lr * rate
        self.head = {name: np.array(value, np.float64) for name, value in head.items()}
        self.average = {name: value.copy() for name, value in self.head.items()} if recipe.ema else self.head
        self.optimizer = RULES[recipe.optimizer](recipe.momentum)
        # Features that are small need a finer grid than 2**-15; a power of two, so that large ones keep theirs.
        self.finer = max(1.0, rate_factor(train, "adamw"))
        self.unit = UNIT / self.finer
        self.plateau = Plateau()
        self.updates = 0
        self.views = train.row_shape[0]
        self.classes = len(train.classes)
        self.weights = losses.class_weights(train.labels, self.classes) if recipe.balance == "loss" else None
        self.heaviest = 1.0 if self.weights is None else float(self.weights.max())

    def run(self, reporter: Reporter) -> Trained:
        """Run all epochs, or those that `patience` allows."""
        recipe, monitor, labels = self.recipe, Monitor(self.recipe.monitor, self.recipe.settles), self.val.labels
        history: list[Row] = []
        seconds: list[float] = []
        for epoch in range(recipe.epochs):
            started = time.monotonic()
            row = self.train_epoch(epoch)
            kept = self.rounded()
            logits = self.validate(kept)
            val_losses, right = losses.of_samples(logits, labels), logits.argmax(axis=1) == labels
            history.append(row | scores(val_losses, right))
            if monitor.epoch_ended(epoch, val_losses, right):
                best = kept, logits, epoch
            if recipe.schedule == "plateau":
                self.plateau.epoch_ended(monitor.highest_epoch == epoch)
            seconds.append(time.monotonic() - started)
            reporter.epoch_ended(history, recipe.epochs, seconds[-1])
            if monitor.gives_up(recipe.patience, epoch):
                break
        head, logits, best_epoch = best
        took = [round(each, 3) for each in seconds]
        ran = {"engine": "numpy", "precision": "float64, exact", "epoch_seconds": took, "processes": 1}
        return Trained(head, {}, sum(value.size for value in head.values()), logits, best_epoch, history, ran)

    def train_epoch(self, epoch: int) -> Row:
        """Run all steps of an epoch; return its row of the history, before validation."""
        recipe, count = self.recipe, len(self.train)
        parts = recipe.batches(self.train.labels, epoch)
        warmup = min(recipe.warmup_epochs, recipe.epochs / 2)
        total, right, lr = 0.0, 0, 0.0
        for step, part in enumerate(parts):
            share = factor(recipe.schedule, epoch + step / len(parts), recipe.epochs, warmup)
            lr = self.lr * share * self.plateau.factor
            loss, correct = self.step(part, lr, epoch, step)
            losses.require_sensible(loss, self.classes, epoch, step, recipe.lr, heaviest=self.heaviest)
            total, right = total + loss * len(part), right + correct
        return {"epoch": epoch + 1, "train_loss": total / count, "train_accuracy": right / count, "lr": lr}

    def step(self, part: np.ndarray, lr: float, epoch: int, step: int) -> tuple[float, int]:
        """Do a step on samples `part` (b,); return the batch's mean loss before it and the number of right answers."""
        recipe = self.recipe
        samples = part % len(self.train)
        features = self.train.features(samples, views(part, self.views, len(self.train), epoch))
        inputs = exactmath.units(features * features.dtype.type(self.finer))
        labels = self.train.labels[samples]
        targets = losses.targets(labels, self.classes, recipe.label_smoothing, self.weights)
        if recipe.mixup:
            share, other = losses.partners(generator(recipe.training_seed, epoch, step, "mix"), recipe.mixup, len(part))
            inputs = np.rint(inputs[other] + share * (inputs - inputs[other]))
            targets = targets[other] + share * (targets - targets[other])
        try:
            loss, right, gradients = self.gradients(inputs, labels, targets)
        except OverflowError:  # the weights are so large that the loss would be, too
            return math.inf, 0
        self.update(gradients, lr)
        return loss, right

    def gradients(self, inputs: np.ndarray, labels: np.ndarray, targets: np.ndarray) -> tuple[float, int, Tensors]:
        """Return the mean loss, the right answers and the gradients of a batch.

        inputs (b, D) whole numbers of `unit`, labels (b,), targets (b, K). Raises OverflowError.
        """
        logits = exactmath.multiply(inputs, self.head[DECAYED].T) * self.unit + self.head["0.bias"]
        loss, gradient = cross_entropy(logits, targets)
        product = exactmath.multiply(np.ascontiguousarray(inputs.T), gradient)
        gradients = {
            DECAYED: product.T * (self.unit / len(inputs)),
            "0.bias": exactmath.total(gradient, 0) / len(inputs),
        }
        return loss, int((logits.argmax(axis=1) == labels).sum()), gradients

    def update(self, gradients: Tensors, lr: float) -> None:
        """Change the weights, and their running mean, by the gradients of a batch."""
        recipe = self.recipe
        if recipe.l1:
            gradients[DECAYED] += recipe.l1 * np.sign(self.head[DECAYED])
        if recipe.grad_clip:
            norm = math.sqrt(sum(float(exactmath.total((value * value).ravel())) for value in gradients.values()))
            for value in gradients.values():
                value *= min(1.0, recipe.grad_clip / (norm + 1e-6))
        for name, value in self.head.items():
            self.optimizer.step(name, value, gradients[name], lr, recipe.weight_decay if name == DECAYED else 0.0)
        if recipe.ema:
            self.updates += 1
            for name, value in self.average.items():
                value += (1 - ema_decay(recipe.ema, self.updates)) * (self.head[name] - value)

    def rounded(self) -> Tensors:
        """Return the head as it is validated and kept: float32, weights on the grid on which products are exact."""
        return {
            DECAYED: exactmath.round_to(self.average[DECAYED], exactmath.WEIGHT_BITS).astype(np.float32),
            "0.bias": self.average["0.bias"].astype(np.float32),
        }

    def validate(self, head: Tensors) -> np.ndarray:
        """Return the logits of the validation samples, each as its view 0, float32 (n, K)."""
        samples = np.arange(len(self.val))
        parts = [samples[start : start + ROWS] for start in range(0, len(samples), ROWS)]
        rows = [classifier.logits(self.val.features(part, np.zeros(len(part), np.int64)), head) for part in parts]
        return np.concatenate([np.empty((0, self.classes), np.float32), *rows])


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean loss of a batch of logits (b, K), and b times its gradient with respect to them, (b, K).

    Rows of `targets` (b, K) need not sum to one: the sum is the sample's weight.
    """
    shifted = logits.astype(np.float64, copy=False) - logits.max(axis=1, keepdims=True)
    exponentials = exactmath.exp(shifted)
    sums = exactmath.total(exponentials)[:, None]
    loss = -float(exactmath.total((targets * (shifted - exactmath.log(sums))).ravel())) / len(logits)
    weight = exactmath.total(targets)[:, None]
    return loss, exponentials / sums * weight - targets
