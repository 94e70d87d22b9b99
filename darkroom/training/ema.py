"""A running mean of the weights, which is what is validated and kept (Polyak and Juditsky, 1992)."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn


def decay_at(decay: float, update: int) -> float:
    """The decay of update number `update` (from 1): early ones decay faster, to forget the first weights."""
    return min(decay, (1 + update) / (10 + update))


class Ema:
    """`average` is a copy of `module` whose floating tensors follow with `decay`; BatchNorm's statistics too."""

    def __init__(self, module: "nn.Module", decay: float) -> None:
        import copy

        self.module, self.decay, self.updates = module, decay, 0
        self.average = copy.deepcopy(module)
        for parameter in self.average.parameters():
            parameter.requires_grad_(False)
        self._pairs: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._copied: list[tuple[torch.Tensor, torch.Tensor]] = []
        state = module.state_dict(keep_vars=True)
        for name, target in self.average.state_dict(keep_vars=True).items():
            source = state[name].detach()
            frozen = isinstance(state[name], torch_parameter()) and not state[name].requires_grad
            if target.is_floating_point() and not frozen:
                self._pairs.append((target, source))
            elif not frozen:
                self._copied.append((target, source))

    def update(self) -> None:
        """Follow the module by one step."""
        import torch

        self.updates += 1
        decay = decay_at(self.decay, self.updates)
        with torch.no_grad():
            torch._foreach_lerp_([t for t, _ in self._pairs], [s for _, s in self._pairs], 1 - decay)
            for target, source in self._copied:
                target.copy_(source)


def torch_parameter() -> type:
    """torch.nn.Parameter, imported late."""
    from torch.nn import Parameter

    return Parameter
