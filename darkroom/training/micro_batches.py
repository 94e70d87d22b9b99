"""Out of memory: do a step again in smaller parts whose gradients add up to the whole batch's."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from darkroom.core.errors import TrainingError, is_out_of_memory
from darkroom.core.progress import say


class Micro:
    """`size`: the samples that go through the network together; None: a whole batch. Part of a checkpoint.

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
        """The sums of what `forward_backward` returns for the parts of a batch of `count`. Raises TrainingError.

        Without `retry` the step is not done again: the other processes that train with this one would not know.
        """
        self._remember(module)
        while True:
            size = min(self.size or count, count)
            parts = _parts(count, -(-count // size))
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
            say(f"train: out of memory; goes on with micro-batches of {self.size} in place of {size}")
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
        """Keep what the buffers of `module` hold before a step: on a GPU one kernel for all of a dtype."""
        if module is not self._module:
            self._module = module
            of_dtype: dict[torch.dtype, list[Tensor]] = {}
            for buffer in module.buffers():
                of_dtype.setdefault(buffer.dtype, []).append(buffer)
            self._statistics = [(alike, [torch.empty_like(each) for each in alike]) for alike in of_dtype.values()]
        for buffers, before in self._statistics:
            torch._foreach_copy_(before, buffers)


def _parts(count: int, parts: int) -> list[slice]:
    """`count` samples in `parts` whose sizes differ by one at most: no single image is left over, with which
    BatchNorm can do nothing, unless parts have two at most."""
    ends = [count * number // parts for number in range(parts + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]
