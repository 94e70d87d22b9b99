"""Run one step of training in torch: forward and backward in micro-batches, then the optimizer and the running mean."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from darkroom.core.errors import TrainingError, is_out_of_memory
from darkroom.core.progress import say
from darkroom.core.randomness import number
from darkroom.training import losses, torch_optimizers
from darkroom.training.data import Inputs
from darkroom.training.distributed import Group
from darkroom.training.recipe import Recipe
from darkroom.training.torch_optimizers import Ema


@dataclass
class Phase:
    """Epochs `first` to `last` (exclusive) in which `module` learns from `train`, at `lr` times the schedule.

    `layers`: the module's parameters in layer groups, from the input to the head. `dtype`: of its arithmetic.
    `prepare`: called when the phase begins (it thaws what was frozen).
    """

    module: nn.Module
    layers: Sequence[Iterable[nn.Parameter]]
    train: Inputs
    val: Inputs
    first: int
    last: int
    lr: float
    dtype: torch.dtype = torch.float32
    compile: bool = False
    prepare: Callable[[], object] = lambda: None


class Step:
    """The steps of one phase.

    `network` is what a step calls: the phase's module, perhaps compiled, perhaps parallel. `ema`: None where it is off.
    """

    def __init__(
        self,
        phase: Phase,
        recipe: Recipe,
        device: torch.device,
        group: Group,
        micro: "MicroBatches",
        loss: losses.Loss,
    ) -> None:
        module = phase.module
        self.module, self.dtype, self.recipe, self.device = module, phase.dtype, recipe, device
        self.group, self.micro, self.loss = group, micro, loss
        self.ema = Ema(module, recipe.ema) if recipe.ema else None
        groups = torch_optimizers.parameter_groups(phase.layers, recipe.lr_decay)
        self.optimizer = torch_optimizers.build(
            recipe.optimizer, groups, phase.lr, recipe.weight_decay, recipe.momentum
        )
        self.parameters = [parameter for each in groups for parameter in each["params"]]
        self.network = group.parallel(compiled(module) if phase.compile else module, device)

    def run(
        self, inputs: Tensor, targets: Tensor, lr: float, epoch: int, step: int, count: int | None = None
    ) -> tuple[Tensor, Tensor, int]:
        """Do one step of the optimizer on this process's part of a batch of `count`; None: the part is the batch.

        Returns the part's share of the batch's mean loss and its number of right answers, on the device, and `count`.
        """
        recipe, group = self.recipe, self.group
        count = len(targets) if count is None else count
        first = group.first(count)
        mixed = losses.mix(inputs, targets, recipe.mixup, recipe.cutmix, recipe.training_seed, epoch, step)

        def forward_backward(part: slice) -> tuple[Tensor, Tensor]:
            # Dropout draws from torch's own generator: each part of each step seeds it.
            seed_dropout(self.device, number(recipe.training_seed, "step", epoch, step, first + part.start))
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                logits = self.network(mixed.inputs[part])
            logits = logits.float()
            loss = self.loss(logits, mixed.first[part])
            if mixed.second is not None:
                loss = torch.lerp(self.loss(logits, mixed.second[part]), loss, mixed.share)
            share = len(logits) / count
            weight = share * group.size  # gradients are averaged over the group
            (loss * weight if weight != 1 else loss).backward()
            return loss.detach() * share, (logits.detach().argmax(1) == targets[part]).sum()

        torch_optimizers.set_lr(self.optimizer, lr)
        loss, right = self.micro.run(forward_backward, len(targets), self.module, retry=group.size == 1)
        if recipe.l1:
            torch_optimizers.add_l1(self.optimizer, recipe.l1)
        if recipe.grad_clip:
            nn.utils.clip_grad_norm_(self.parameters, recipe.grad_clip, foreach=True)
        torch_optimizers.step(self.optimizer)
        if self.ema:
            self.ema.update()
        return loss, right, count


class MicroBatches:
    """Do a step in smaller parts where memory runs out; their gradients add up to the whole batch's.

    `size`: the samples that go through the network together; None: a whole batch. Kept in checkpoints.

    BatchNorm sees one part at a time, as it does on several GPUs; all else is the same sum in another order.
    """

    def __init__(self) -> None:
        self.size: int | None = None
        self._module: nn.Module | None = None
        self._statistics: list[tuple[list[Tensor], list[Tensor]]] = []  # of each dtype: buffers, and what they held

    def run(
        self,
        forward_backward: Callable[[slice], tuple[Tensor, Tensor]],
        count: int,
        module: nn.Module,
        retry: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Return the sums of what `forward_backward` returns for the parts of a batch of `count`. Raises TrainingError.

        Without `retry` the step is not repeated: other processes that train with this one would go out of step.
        """
        self._remember(module)
        while True:
            size = min(self.size or count, count)
            parts = equal_parts(count, -(-count // size))
            try:
                results = [forward_backward(part) for part in parts]
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if not retry:
                    raise TrainingError("out of memory in one of the processes that train together; use a smaller "
                                        "batch_size, or more processes (DARKROOM_PROCESSES)") from error  # fmt: skip
                if size == 1:
                    raise TrainingError("out of memory with a single image; use a smaller image_size or backbone, "
                                        "or free some memory") from error  # fmt: skip
                failed = True
            else:
                failed = False
            if not failed:
                break
            # Outside of `except`: the exception holds on to the tensors of the step that failed.
            self.size = -(-size // 2)
            say(f"train: out of memory; continues with micro-batches of {self.size} instead of {size}")
            module.zero_grad(set_to_none=True)
            with torch.no_grad():
                for buffers, before in self._statistics:
                    torch._foreach_copy_(buffers, before)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        if len(results) == 1:
            return results[0]
        return torch.stack([loss for loss, _ in results]).sum(), torch.stack([right for _, right in results]).sum()

    def _remember(self, module: nn.Module) -> None:
        """Copy the buffers of `module` before a step: on a GPU one kernel copies all of a dtype."""
        if module is not self._module:
            self._module = module
            of_dtype: dict[torch.dtype, list[Tensor]] = {}
            for buffer in module.buffers():
                of_dtype.setdefault(buffer.dtype, []).append(buffer)
            self._statistics = [(alike, [torch.empty_like(each) for each in alike]) for alike in of_dtype.values()]
        for buffers, before in self._statistics:
            torch._foreach_copy_(before, buffers)


def equal_parts(count: int, parts: int) -> list[slice]:
    """Divide `count` samples into `parts` whose sizes differ by one at most.

    So no part is a single image, which BatchNorm cannot normalise, unless parts have two at most.
    """
    ends = [count * number // parts for number in range(parts + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]


def compiled(module: torch.nn.Module) -> Any:
    """Return `module`, compiled at its first call; what the compiler cannot compile runs uncompiled, with a warning."""
    import torch._dynamo

    torch._dynamo.config.suppress_errors = True
    return torch.compile(module)


def seed_dropout(device: torch.device, seed: int) -> None:
    """Seed the generator of dropout on `device` alone: torch.manual_seed takes longer, since it seeds every backend."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.get_device_module(device).manual_seed(seed)


@contextmanager
def explained_errors(micro: MicroBatches) -> Iterator[None]:
    """Raise TrainingError, with the next step, for torch's errors that settings cause."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        size = (
            "smaller batch_size (memory ran out, and parts of it are too small)" if micro.size else "larger batch_size"
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
