"""Train one network in several processes: each takes its part of every batch, and all hold the same weights.

The batches are those of one process, in the same order: of a step's samples, process r takes the r-th contiguous part.
Gradients are added up by DistributedDataParallel. BatchNorm sees a process's part, as it sees a micro-batch, and its
running statistics are the first process's. None of this happens in a group of one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from darkroom.core.errors import TrainingError
from darkroom.core.runtime import Runtime
from darkroom.training.checkpoint import Checkpoint
from darkroom.training.history import Reporter

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

T = TypeVar("T")


def backend(device: str) -> str:
    """Return torch.distributed's backend for `device` (auto, cpu, cuda, …): gloo, and nccl between GPUs."""
    import torch

    return "cpu:gloo,cuda:nccl" if device != "cpu" and torch.cuda.is_available() else "gloo"


@dataclass(frozen=True)
class Group:
    """The processes that train together; this one is number `rank` of `size` in torch.distributed's default group."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes and reports for all."""
        return self.rank == 0

    def part(self, samples: np.ndarray) -> np.ndarray:
        """Return this process's contiguous part of `samples` (n,); the parts' sizes differ by one at most."""
        return np.array_split(samples, self.size)[self.rank] if self.size > 1 else samples

    def first(self, count: int) -> int:
        """Return the index of the first sample of this process's part of a batch of `count`. Raises TrainingError."""
        if count < self.size:
            raise TrainingError(
                f"a batch of {count} samples cannot be divided among {self.size} processes; "
                f"use a larger batch_size, or DARKROOM_PROCESSES={count} at most"
            )
        share, more = divmod(count, self.size)
        return self.rank * share + min(self.rank, more)

    def parallel(self, module: Any, device: "torch.device") -> Any:
        """Return `module` such that a backward pass averages the gradients over the group."""
        if self.size == 1 or not any(parameter.requires_grad for parameter in module.parameters()):
            return module
        from torch.nn.parallel import DistributedDataParallel

        # Looking for unused parameters keeps the order in which gradients are added up the same from the first step
        # on; otherwise it changes after it, and a resumed training would have other last bits.
        indices = [device.index] if device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=indices, find_unused_parameters=True)

    def total(self, values: "Tensor") -> "Tensor":
        """Return the sum of `values` over the group."""
        if self.size > 1:
            import torch

            torch.distributed.all_reduce(values)
        return values

    def joined(self, rows: "Tensor", count: int) -> "Tensor":
        """Return the rows (n, …) of all processes' parts of `count`, in order, each once."""
        if self.size == 1:
            return rows
        whole = rows.new_zeros((count, *rows.shape[1:]))
        start = int(sum(len(part) for part in np.array_split(np.arange(count), self.size)[: self.rank]))
        whole[start : start + len(rows)] = rows
        return self.total(whole)

    def follow_first(self, module: "nn.Module") -> None:
        """Take over the buffers (BatchNorm's running statistics) of the first process."""
        if self.size > 1:
            import torch

            for buffer in module.buffers():
                torch.distributed.broadcast(buffer, 0)

    def agreed(self, value: T) -> T:
        """Return the first process's `value`, picklable."""
        if self.size == 1:
            return value
        import torch

        values: list[Any] = [value]
        torch.distributed.broadcast_object_list(values, 0)
        return values[0]


@dataclass(frozen=True)
class Worker:
    """The process that trains: its runtime, its group, where it reports epochs, and how it opens a checkpoint.

    `make_checkpoint(folder, key, seconds between two saves)`: see Checkpoint.
    """

    runtime: Runtime
    group: Group
    reporter: Reporter
    make_checkpoint: Callable[[Path, str, float], Checkpoint]
