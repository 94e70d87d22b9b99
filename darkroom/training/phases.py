"""What a training is made of, and what it finds."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from darkroom.training.history import Row
from darkroom.training.inputs import Inputs


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


@dataclass
class Fitted:
    """What training found. `best`: the state_dict of phase `phase`'s module at `best_epoch` (from 0); `logits`: of the
    validation samples then, float32 (n, K); `seconds`: of each epoch that this process ran."""

    phase: int
    best_epoch: int
    best: dict[str, Tensor]
    logits: Tensor
    history: list[Row]
    seconds: list[float] = field(default_factory=list)
    micro_batch: int | None = None
    resumed: str | None = None
