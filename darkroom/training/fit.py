"""The training loop: phases of epochs of steps, the best epoch kept, and a state that goes on exactly where it stopped.

Everything random in step s of epoch e is drawn from (seed, e, s) or (seed, e, sample), and a checkpoint holds all that
steps change. So a run that was killed and resumed, at whatever step, computes what an undisturbed one computes.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from darkroom.core.errors import TrainingError, is_out_of_memory
from darkroom.core.progress import progress, say
from darkroom.core.randomness import number
from darkroom.images.batches import balanced_order, order, steps
from darkroom.training import losses, optimizers, precision
from darkroom.training.checkpoint import Checkpoint
from darkroom.training.distributed import Group
from darkroom.training.ema import Ema
from darkroom.training.history import Row, Watcher, tell
from darkroom.training.micro_batches import Micro
from darkroom.training.monitor import Monitor
from darkroom.training.phases import Fitted, Phase
from darkroom.training.recipe import Recipe
from darkroom.training.schedules import Plateau, factor

LOOK_EVERY = {"cpu": 1}  # steps between two looks at the loss; elsewhere a look waits for the device
LOOK_SELDOM = 25


class Fit:
    """One training. `run` does it; the rest is its parts."""

    def __init__(
        self,
        phases: Sequence[Phase],
        recipe: Recipe,
        device: torch.device,
        checkpoint: Checkpoint | None = None,
        after_epoch: Callable[[list[Row]], None] = lambda _rows: None,
        watchers: Sequence[Watcher] = (),
        group: Group | None = None,
    ) -> None:
        self.phases, self.recipe, self.device = list(phases), recipe, device
        # Of the processes that train together, the first alone keeps checkpoints and reports.
        self.group = group or Group()
        self.checkpoint = checkpoint if self.group.leads else None
        self.after_epoch, self.watchers = after_epoch, watchers
        self.history: list[Row] = []
        self.seconds: list[float] = []
        self.monitor = Monitor(recipe.monitor)
        self.micro = Micro()
        self.best: dict[str, Any] = {}
        labels = self.phases[0].train.table.labels
        if not len(labels):
            raise TrainingError("there is nothing to train on: the train split is empty; look at data/split.csv")
        self.classes = len(self.phases[0].train.table.classes)
        weights, self.heaviest = None, 1.0
        if recipe.balance == "loss":
            weights = torch.from_numpy(losses.class_weights(labels, self.classes)).to(device)
            self.heaviest = float(weights.max())
        self.loss = losses.cross_entropy(recipe.label_smoothing, weights)

    def run(self) -> Fitted:
        """Train, from the checkpoint where there is one. Raises TrainingError."""
        try:
            return self._run()
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            size = (
                "smaller batch_size (memory ran out, and parts of it are too small)"
                if self.micro.size
                else "larger batch_size"
            )
            raise TrainingError(
                "BatchNorm has a single value of each channel to normalise, since a single image goes through the "
                f"network: use a {size}, a larger image_size, or batch_norm: frozen"
            ) from error
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingError("out of memory, and not in a step that could be done in parts; use a smaller "
                                "batch_size or image_size, or free some memory") from error  # fmt: skip

    def _run(self) -> Fitted:
        state = self.group.agreed(self.checkpoint.load("cpu") if self.checkpoint else None)
        resumed = None
        if state:
            resumed = f"epoch {state['epoch'] + 1}, step {state['step'] + 1}"
            say(f"train: goes on from a checkpoint, at {resumed}")
            self._restore(state)
        for index in range(state["phase"] if state else 0, len(self.phases)):
            self.begin(index)
            if state:
                self._restore_phase(state)
            if not self._phase(state["epoch"] if state else self.phase.first, state):
                break
            state = None
        return Fitted(
            **self.best,
            history=self.history,
            seconds=self.seconds,
            micro_batch=self.micro.size,
            resumed=resumed,
        )

    def begin(self, index: int) -> None:
        """Make phase `index` the current one."""
        self.index, self.phase = index, self.phases[index]
        self.phase.prepare()
        module = self.phase.module
        self.ema = Ema(module, self.recipe.ema) if self.recipe.ema else None
        self.plateau = Plateau()
        self.monitor.waited = 0
        groups = optimizers.parameter_groups(self.phase.layers, self.recipe.lr_decay)
        recipe = self.recipe
        self.optimizer = optimizers.build(recipe.optimizer, groups, self.phase.lr, recipe.weight_decay, recipe.momentum)
        self.learning = [parameter for group in groups for parameter in group["params"]]
        self.network = self.group.parallel(precision.compiled(module) if self.phase.compile else module, self.device)

    def _phase(self, first: int, state: dict[str, Any] | None) -> bool:
        """Train the epochs of the current phase; returns whether the next phase is to come."""
        last = len(self.phases) - 1
        for epoch in range(first, self.phase.last):
            started = time.monotonic()
            begun = (state["step"], state["sums"]) if state and epoch == first else (0, [0.0, 0, 0])
            row = self.train_epoch(epoch, *begun)
            val_loss, val_accuracy, logits = self._validate()
            row |= {"val_loss": val_loss, "val_accuracy": val_accuracy}
            self.history.append(row)
            better = self.monitor.epoch_ended(epoch, row)
            if self.recipe.schedule == "plateau":
                self.plateau.epoch_ended(better)
            if better:
                kept = self.ema.average if self.ema else self.phase.module
                copy = {name: value.detach().clone() for name, value in kept.state_dict().items()}
                self.best = {"phase": self.index, "best_epoch": epoch, "best": copy, "logits": logits}
            self._report(row, time.monotonic() - started)
            # The head alone always gets its epochs: patience decides when the last phase ends.
            if self.index == last and self.monitor.gives_up(self.recipe.patience, epoch):
                return False
            if self.checkpoint and epoch + 1 < self.phase.last and self.checkpoint.due():
                self._save(epoch + 1, 0, [0.0, 0, 0])
        return True

    def train_epoch(self, epoch: int, first_step: int, sums: list[float]) -> Row:
        """The steps of an epoch from `first_step` on; `sums` of those before: loss, right answers, samples."""
        labels = self.phase.train.table.labels
        samples = (
            balanced_order(labels, self.recipe.seed, epoch)
            if self.recipe.balance == "sampler"
            else order(len(labels), self.recipe.seed, epoch)
        )
        parts = steps(samples, self.recipe.batch_size)
        sums, unseen = list(sums), []
        self.phase.module.train()
        batches = self.phase.train.training([self.group.part(part) for part in parts[first_step:]], epoch)
        lr = 0.0
        for step, (inputs, targets) in enumerate(
            progress(batches, f"epoch {epoch + 1}", len(parts) - first_step, "step"), first_step
        ):
            lr = self._lr(epoch + step / len(parts))
            unseen.append((step, *self.step(inputs, targets, lr, epoch, step, len(parts[step]))))
            if len(unseen) >= LOOK_EVERY.get(self.device.type, LOOK_SELDOM) or step + 1 == len(parts):
                self._look(epoch, unseen, sums)
                if self.checkpoint and step + 1 < len(parts) and self.checkpoint.due():
                    self._save(epoch, step + 1, sums)
        return {
            "epoch": epoch + 1,
            "train_loss": sums[0] / sums[2],
            "train_accuracy": sums[1] / sums[2],
            "lr": lr or self._lr(epoch + (len(parts) - 1) / len(parts)),
        }

    def step(
        self, inputs: Tensor, targets: Tensor, lr: float, epoch: int, step: int, count: int | None = None
    ) -> tuple[Tensor, Tensor, int]:
        """One step of the optimizer on this process's part of a batch of `count`; None: the part is all there is.

        Returns the part's share of the batch's mean loss, the number of right answers, both on the device, and `count`.
        """
        recipe, group = self.recipe, self.group
        count = len(targets) if count is None else count
        first = group.first(count)
        mixed = losses.mix(inputs, targets, recipe.mixup, recipe.cutmix, recipe.seed, epoch, step)

        def forward_backward(part: slice) -> tuple[Tensor, Tensor]:
            # Dropout and its like draw from torch's own generator: each part of each step starts it anew.
            _start_generator(self.device, number(recipe.seed, "step", epoch, step, first + part.start))
            with torch.autocast(self.device.type, self.phase.dtype, enabled=self.phase.dtype != torch.float32):
                logits = self.network(mixed.inputs[part])
            logits = logits.float()
            loss = self.loss(logits, mixed.first[part])
            if mixed.second is not None:
                loss = torch.lerp(self.loss(logits, mixed.second[part]), loss, mixed.share)
            share = len(logits) / count
            weight = share * group.size  # gradients are averaged over the group
            (loss * weight if weight != 1 else loss).backward()
            return loss.detach() * share, (logits.detach().argmax(1) == targets[part]).sum()

        optimizers.set_lr(self.optimizer, lr)
        loss, right = self.micro.run(forward_backward, len(targets), self.phase.module, retry=group.size == 1)
        if recipe.l1:
            optimizers.add_l1(self.optimizer, recipe.l1)
        if recipe.grad_clip:
            nn.utils.clip_grad_norm_(self.learning, recipe.grad_clip, foreach=True)
        optimizers.step(self.optimizer)
        if self.ema:
            self.ema.update()
        return loss, right, count

    def _look(self, epoch: int, unseen: list[tuple[int, Tensor, Tensor, int]], sums: list[float]) -> None:
        """Add what steps returned to `sums`, and forget it. Raises TrainingError where a loss is no sensible number."""
        values = self.group.total(torch.stack([loss for _, loss, _, _ in unseen])).tolist()
        rights = self.group.total(torch.stack([right for _, _, right, _ in unseen])).tolist()
        also = ", or precision: float32" if self.phase.dtype != torch.float32 else ""
        for (step, _, _, size), loss, right in zip(unseen, values, rights, strict=True):
            losses.require_sensible(loss, self.classes, epoch, step, self.recipe.lr, also, self.heaviest)
            sums[0] += loss * size
            sums[1] += right
            sums[2] += size
        unseen.clear()

    def _lr(self, at: float) -> float:
        """The learning rate `at` epochs from the start of the training."""
        first, last = self.phase.first, self.phase.last
        warmup = min(self.recipe.warmup_epochs, (last - first) / 2)
        share = factor(self.recipe.schedule, at - first, last - first, warmup)
        return self.phase.lr * share * self.plateau.factor

    def _validate(self) -> tuple[float | None, float | None, Tensor]:
        """Loss, accuracy and logits (n, K) of the validation samples; None without any."""
        module = self.ema.average if self.ema else self.phase.module
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
        logits = self.group.joined(torch.cat(rows).cpu(), count)
        if not len(logits):
            return None, None, logits
        labels = torch.from_numpy(self.phase.val.table.labels)
        loss = float(nn.functional.cross_entropy(logits, labels))
        if not math.isfinite(loss):
            loss = np.finfo(np.float32).max.item()  # a step of the next epoch says so, with its number
        return loss, float((logits.argmax(1) == labels).double().mean()), logits

    def _report(self, row: Row, seconds: float) -> None:
        self.seconds.append(seconds)
        if not self.group.leads:
            return
        self.after_epoch(self.history)
        for watch in self.watchers:
            watch(row, seconds)
        tell(row, self.recipe.epochs, seconds)

    def _save(self, epoch: int, step: int, sums: list[float]) -> None:
        """Write a checkpoint from which `step` of `epoch` comes next."""
        if self.checkpoint is None:
            return
        self.checkpoint.save({
            "phase": self.index, "epoch": epoch, "step": step, "sums": sums,
            "module": self.phase.module.state_dict(), "optimizer": self.optimizer.state_dict(),
            "ema": {"average": self.ema.average.state_dict(), "updates": self.ema.updates} if self.ema else None,
            "plateau": dataclasses.asdict(self.plateau), "monitor": dataclasses.asdict(self.monitor),
            "micro": self.micro.size, "best": self.best, "history": self.history,
        })  # fmt: skip

    def _restore(self, state: dict[str, Any]) -> None:
        self.history, self.best = state["history"], state["best"]
        self.micro.size = state["micro"]

    def _restore_phase(self, state: dict[str, Any]) -> None:
        self.phase.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.ema:
            self.ema.average.load_state_dict(state["ema"]["average"])
            self.ema.updates = state["ema"]["updates"]
        self.plateau = Plateau(**state["plateau"])
        self.monitor = Monitor(**state["monitor"] | {"best": tuple(state["monitor"]["best"])})


def _start_generator(device: torch.device, seed: int) -> None:
    """Seed what dropout draws from, on `device` alone: torch.manual_seed goes round all backends there are."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.get_device_module(device).manual_seed(seed)
