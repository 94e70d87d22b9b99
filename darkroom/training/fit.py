"""Run the training loop in torch: phases of epochs of steps, the best epoch kept, exact resumption from a checkpoint.

Everything random in step s of epoch e is drawn from (seed, e, s) or (seed, e, sample), and a checkpoint holds all that
steps change. So a run that was killed at any step and resumed computes the same as one that was not.
"""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from darkroom.core.errors import TrainingError
from darkroom.core.progress import progress, say
from darkroom.training import losses
from darkroom.training.checkpoint import Checkpoint
from darkroom.training.distributed import Group
from darkroom.training.history import Monitor, Reporter, Row, scores
from darkroom.training.recipe import Recipe
from darkroom.training.schedules import Plateau, factor
from darkroom.training.step import MicroBatches, Phase, Step, explained_errors

READ_EVERY = {"cpu": 1}  # steps between two readings of the loss; elsewhere a reading waits for the device
READ_SELDOM = 25


class Fit:
    """Train the phases of a recipe with `run`, which leaves its results here.

    `best`: the state_dict of the module at `best_epoch` (from 0); `logits`: of the validation samples at that epoch,
    float32 (n, K); `history`: a row an epoch; `seconds`: of each epoch that this process ran; `micro.size`: the samples
    of a micro-batch, None where memory sufficed; `resumed`: the epoch and step of the checkpoint, None without one.
    """

    def __init__(
        self,
        phases: Sequence[Phase],
        recipe: Recipe,
        device: torch.device,
        checkpoint: Checkpoint | None = None,
        reporter: Reporter | None = None,
        group: Group | None = None,
    ) -> None:
        self.phases, self.recipe, self.device = list(phases), recipe, device
        # Of the processes that train together, the first alone keeps checkpoints and reports.
        self.group = group or Group()
        self.checkpoint = checkpoint if self.group.leads else None
        self.reporter = reporter or Reporter()
        self.history: list[Row] = []
        self.seconds: list[float] = []
        self.monitor = Monitor(recipe.monitor, recipe.settles)
        self.micro = MicroBatches()
        self.best: dict[str, Tensor] = {}
        self.best_epoch, self.logits = -1, torch.empty(0, 0)
        self.resumed: str | None = None
        labels = self.phases[0].train.table.labels
        if not len(labels):
            raise TrainingError("there is nothing to train on: the train split is empty; look at data/split.csv")
        self.classes = len(self.phases[0].train.table.classes)
        weights, self.heaviest = None, 1.0
        if recipe.balance == "loss":
            weights = torch.from_numpy(losses.class_weights(labels, self.classes)).to(device)
            self.heaviest = float(weights.max())
        self.loss = losses.cross_entropy(recipe.label_smoothing, weights)

    def run(self) -> "Fit":
        """Train, from the checkpoint where there is one. Raises TrainingError."""
        with explained_errors(self.micro):
            state = self.group.agreed(self.checkpoint.load("cpu") if self.checkpoint else None)
            if state:
                self.resumed = f"epoch {state['epoch'] + 1}, step {state['step'] + 1}"
                say(f"train: continues from a checkpoint, at {self.resumed}")
                self._restore(state)
            for index in range(state["phase"] if state else 0, len(self.phases)):
                self.begin(index)
                first, step, sums = self.phase.first, 0, [0.0, 0, 0]
                if state:
                    self._restore_phase(state)
                    first, step, sums = state["epoch"], state["step"], state["sums"]
                    state = None
                for epoch in range(first, self.phase.last):
                    self._epoch(epoch, step, sums)
                    step, sums = 0, [0.0, 0, 0]
                    # A phase before the last always gets its epochs: patience decides when the last one ends.
                    if index + 1 == len(self.phases) and self.monitor.gives_up(self.recipe.patience, epoch):
                        break
                    if epoch + 1 < self.phase.last and self._checkpoint_due():
                        self._save(epoch + 1, 0, [0.0, 0, 0])
        return self

    def begin(self, index: int) -> None:
        """Make phase `index` the current one."""
        self.index, self.phase = index, self.phases[index]
        self.phase.prepare()
        self.plateau = Plateau()
        self.monitor.waited = 0
        self.step = Step(self.phase, self.recipe, self.device, self.group, self.micro, self.loss)

    def _epoch(self, epoch: int, first_step: int, sums: list[float]) -> None:
        """Train and validate one epoch, keep the weights where it is the best, and report it."""
        started = time.monotonic()
        row = self.train_epoch(epoch, first_step, sums)
        logits = self._validate()
        labels = torch.from_numpy(self.phase.val.table.labels)
        val_losses = nn.functional.cross_entropy(logits, labels, reduction="none").double().numpy()
        right = (logits.argmax(1) == labels).numpy()
        self.history.append(row | scores(val_losses, right))
        best = self.monitor.epoch_ended(epoch, val_losses, right)
        if self.recipe.schedule == "plateau":
            self.plateau.epoch_ended(self.monitor.highest_epoch == epoch)
        if best:
            kept = self.step.ema.average if self.step.ema else self.phase.module
            self.best = {name: value.detach().clone() for name, value in kept.state_dict().items()}
            self.best_epoch, self.logits = epoch, logits
        self.seconds.append(time.monotonic() - started)
        if self.group.leads:
            self.reporter.epoch_ended(self.history, self.recipe.epochs, self.seconds[-1])

    def train_epoch(self, epoch: int, first_step: int, sums: list[float]) -> Row:
        """Do the steps of an epoch from `first_step` on; `sums`: loss, right answers and samples of those before."""
        parts = self.recipe.batches(self.phase.train.table.labels, epoch)
        sums, unread = list(sums), []
        self.phase.module.train()
        batches = self.phase.train.training([self.group.part(part) for part in parts[first_step:]], epoch)
        lr = 0.0
        for step, (inputs, targets) in enumerate(
            progress(batches, f"epoch {epoch + 1}", len(parts) - first_step, "step"), first_step
        ):
            lr = self._lr(epoch + step / len(parts))
            unread.append((step, *self.step.run(inputs, targets, lr, epoch, step, len(parts[step]))))
            if len(unread) >= READ_EVERY.get(self.device.type, READ_SELDOM) or step + 1 == len(parts):
                self._read_losses(epoch, unread, sums)
                if step + 1 < len(parts) and self._checkpoint_due():
                    self._save(epoch, step + 1, sums)
        return {
            "epoch": epoch + 1,
            "train_loss": sums[0] / sums[2],
            "train_accuracy": sums[1] / sums[2],
            "lr": lr or self._lr(epoch + (len(parts) - 1) / len(parts)),
        }

    def _read_losses(self, epoch: int, unread: list[tuple[int, Tensor, Tensor, int]], sums: list[float]) -> None:
        """Add what steps returned to `sums`, and clear `unread`. Raises TrainingError where the loss has run away."""
        values = self.group.total(torch.stack([loss for _, loss, _, _ in unread])).tolist()
        rights = self.group.total(torch.stack([right for _, _, right, _ in unread])).tolist()
        also = ", or precision: float32" if self.phase.dtype != torch.float32 else ""
        for (step, _, _, size), loss, right in zip(unread, values, rights, strict=True):
            losses.require_sensible(loss, self.classes, epoch, step, self.recipe.lr, also, self.heaviest)
            sums[0] += loss * size
            sums[1] += right
            sums[2] += size
        unread.clear()

    def _lr(self, at: float) -> float:
        """Return the learning rate `at` epochs from the start of the training."""
        first, last = self.phase.first, self.phase.last
        warmup = min(self.recipe.warmup_epochs, (last - first) / 2)
        share = factor(self.recipe.schedule, at - first, last - first, warmup)
        return self.phase.lr * share * self.plateau.factor

    def _validate(self) -> Tensor:
        """Return the logits of the validation samples, float32 (n, K)."""
        module = self.step.ema.average if self.step.ema else self.phase.module
        module.eval()
        self.group.follow_first(module)
        count = len(self.phase.val.table)
        mine = self.group.part(np.arange(count))
        rows = [torch.empty(0, self.classes, device=self.device)]
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, self.phase.dtype, enabled=self.phase.dtype != torch.float32),
        ):
            rows += [module(inputs).float() for inputs in self.phase.val.evaluation(self.recipe.batch_size, mine)]
        return self.group.joined(torch.cat(rows).cpu(), count)

    def _checkpoint_due(self) -> bool:
        return self.checkpoint is not None and self.checkpoint.due()

    def _save(self, epoch: int, step: int, sums: list[float]) -> None:
        """Write a checkpoint from which `step` of `epoch` comes next."""
        if self.checkpoint is None:
            return
        ema = self.step.ema
        self.checkpoint.save({
            "phase": self.index, "epoch": epoch, "step": step, "sums": sums,
            "module": self.phase.module.state_dict(), "optimizer": self.step.optimizer.state_dict(),
            "ema": {"average": ema.average.state_dict(), "updates": ema.updates} if ema else None,
            "plateau": dataclasses.asdict(self.plateau),
            "monitor": dataclasses.asdict(self.monitor) | {"highest": torch.from_numpy(self.monitor.highest)},
            "micro": self.micro.size, "history": self.history,
            "best": self.best, "best_epoch": self.best_epoch, "logits": self.logits,
        })  # fmt: skip

    def _restore(self, state: dict[str, Any]) -> None:
        self.history, self.micro.size = state["history"], state["micro"]
        self.best, self.best_epoch, self.logits = state["best"], state["best_epoch"], state["logits"]

    def _restore_phase(self, state: dict[str, Any]) -> None:
        self.phase.module.load_state_dict(state["module"])
        self.step.optimizer.load_state_dict(state["optimizer"])
        if self.step.ema:
            self.step.ema.average.load_state_dict(state["ema"]["average"])
            self.step.ema.updates = state["ema"]["updates"]
        self.plateau = Plateau(**state["plateau"])
        self.monitor = Monitor(**state["monitor"] | {"highest": state["monitor"]["highest"].numpy()})
