"""Build optimizers in torch: parameter groups, with learning rates and decay, and the mean of the weights."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from darkroom.training.schedules import ema_decay

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class OptimizerKind:
    """`name` in torch.optim; `fused`: it has one kernel for a whole step; `momentum`: it takes that setting."""

    name: str
    fused: bool = True
    momentum: bool = False


OPTIMIZERS: dict[str, OptimizerKind] = {
    "sgd": OptimizerKind("SGD", momentum=True),
    "adam": OptimizerKind("Adam"),
    "adamw": OptimizerKind("AdamW"),
    "rmsprop": OptimizerKind("RMSprop", fused=False, momentum=True),
}


def build(
    kind: str, groups: list[dict[str, Any]], lr: float, weight_decay: float, momentum: float
) -> "torch.optim.Optimizer":
    """Return the optimizer over `groups` (from `parameter_groups`).

    A group's `factor` is its share of the learning rate.
    """
    from torch import optim

    _keep_compiler_out(optim.Optimizer)
    chosen = OPTIMIZERS[kind]
    settings: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay}
    if chosen.momentum:
        settings["momentum"] = momentum
    # A loop over single tensors takes longer than the arithmetic of a small head.
    settings["fused" if chosen.fused else "foreach"] = True
    make: Callable[..., torch.optim.Optimizer] = getattr(optim, chosen.name)
    return make(groups, **settings)


def set_lr(optimizer: "torch.optim.Optimizer", lr: float) -> None:
    """Set the learning rate of every group to `lr` times the group's own factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["factor"]


def parameter_groups(layers: Sequence[Iterable["nn.Parameter"]], lr_decay: float) -> list[dict[str, Any]]:
    """Return the learning parameters of `layers`, in groups of one learning rate and one decay each.

    `layers` are layer groups from the input to the head; each gets `lr_decay` times the rate of the next. Norms and
    biases (parameters of less than two dimensions) do not decay. Frozen parameters are in no group.
    """
    groups = []
    for depth, layer in enumerate(reversed(list(layers))):
        learning = [parameter for parameter in layer if parameter.requires_grad]
        decayed = [parameter for parameter in learning if parameter.ndim >= 2]
        plain = [parameter for parameter in learning if parameter.ndim < 2]
        factor = lr_decay**depth
        if decayed:
            groups.append({"params": decayed, "factor": factor})
        if plain:
            groups.append({"params": plain, "factor": factor, "weight_decay": 0.0})
    return groups


def step(optimizer: "torch.optim.Optimizer") -> None:
    """Take one step, then clear the gradients.

    torch wraps steps for its compiler, whose machinery would be imported; `unwrap` avoids that.
    """
    import torch

    with torch.no_grad():
        inspect.unwrap(type(optimizer).step)(optimizer)
    optimizer.zero_grad(set_to_none=True)


def _keep_compiler_out(optimizer: type) -> None:
    """Let the optimizer's methods run without importing torch.compile's machinery, which takes longer than a head.

    torch wraps four methods to keep the compiler out of them, and imports it at their first call unless the attribute
    set here exists. If torch stops using the attribute, only the time is lost.
    """
    for name in ("add_param_group", "load_state_dict", "state_dict", "zero_grad"):
        method = getattr(getattr(optimizer, name), "__wrapped__", None)
        if method is not None and not hasattr(method, "__dynamo_disable"):
            method.__dynamo_disable = method


def add_l1(optimizer: "torch.optim.Optimizer", l1: float) -> None:
    """Add to the gradients that of `l1` times the sum of the weights' magnitudes, without norms and biases."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.ndim >= 2 and parameter.grad is not None:
                parameter.grad.add_(parameter.detach().sign(), alpha=l1)


class Ema:
    """Keep in `average` a running mean of the floating-point tensors of `module`, BatchNorm's statistics included.

    The mean is validated and saved in place of the module (Polyak and Juditsky, 1992).
    """

    def __init__(self, module: "nn.Module", decay: float) -> None:
        import copy

        from torch.nn import Parameter

        self.module, self.decay, self.updates = module, decay, 0
        self.average = copy.deepcopy(module)
        for parameter in self.average.parameters():
            parameter.requires_grad_(False)
        self._pairs: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._copied: list[tuple[torch.Tensor, torch.Tensor]] = []
        state = module.state_dict(keep_vars=True)
        for name, target in self.average.state_dict(keep_vars=True).items():
            source = state[name].detach()
            frozen = isinstance(state[name], Parameter) and not state[name].requires_grad
            if target.is_floating_point() and not frozen:
                self._pairs.append((target, source))
            elif not frozen:
                self._copied.append((target, source))

    def update(self) -> None:
        """Update the mean after a step."""
        import torch

        self.updates += 1
        decay = ema_decay(self.decay, self.updates)
        with torch.no_grad():
            torch._foreach_lerp_([t for t, _ in self._pairs], [s for _, s in self._pairs], 1 - decay)
            for target, source in self._copied:
                target.copy_(source)
