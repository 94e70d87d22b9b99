"""Freeze a part of a body: `backbone` all of it, `none` nothing, a block's name everything up to that block.

A frozen part always gives the same features for the same image: no gradient, and BatchNorm and dropout in eval mode,
also after `.train()`. Blocks are modules in the order in which they are registered, which in all our backbones is the
order in which an image passes through them.
"""

import difflib
from typing import TYPE_CHECKING

from darkroom.core.errors import DarkroomError
from darkroom.core.text import quoted

if TYPE_CHECKING:
    from torch import nn

EVERYTHING, NOTHING = "backbone", "none"
CONTAINERS = ("features", "trunk_output", "blocks", "layers")


def check(body: "nn.Module", freeze: str) -> None:
    """Raise DarkroomError unless `freeze` is backbone, none, or the name of one of the body's modules."""
    if freeze in (EVERYTHING, NOTHING):
        return
    names = [name for name, module in body.named_modules() if name and next(module.parameters(), None) is not None]
    if freeze in names:
        return
    near = difflib.get_close_matches(freeze, names, n=1, cutoff=0.4)
    hint = f"; did you mean `{near[0]}`?" if near else ""
    known = ", ".join(blocks(body))
    raise DarkroomError(f"freeze is {quoted(freeze)}, expected backbone, none, or a block: {known}{hint}")


def freeze_body(body: "nn.Module", freeze: str) -> "list[nn.Module]":
    """Stop the gradients of what `freeze` names alone; return the modules that must stay in eval mode.

    Network.train puts them into eval mode again after each `.train()`.
    """
    check(body, freeze)
    names = [name for name, module in body.named_modules() if not any(module.children())]
    if freeze == EVERYTHING:
        names_frozen = names
    elif freeze == NOTHING:
        names_frozen = []
    else:
        last = max(i for i, name in enumerate(names) if name == freeze or name.startswith(f"{freeze}."))
        names_frozen = names[: last + 1]
    frozen = {body.get_submodule(name) for name in names_frozen}
    still = []
    for module in body.modules():
        inside = _leaves(module)
        if frozen.issuperset(inside):
            still.append(module)
        # What a container holds itself (a class token, positions) is used before the blocks inside it.
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(frozen.isdisjoint(inside))
    return still


def batch_norms(body: "nn.Module") -> "list[nn.Module]":
    """Return the BatchNorm layers: they normalise with a batch's statistics in training, then with a running mean."""
    from torch.nn.modules.batchnorm import _BatchNorm

    return [module for module in body.modules() if isinstance(module, _BatchNorm)]


def blocks(body: "nn.Module") -> list[str]:
    """Return the names of the body's blocks in order: its children, or theirs where a child only wraps blocks."""
    names: list[str] = []
    _collect("", body, sum(parameter.numel() for parameter in body.parameters()), names)
    return names


def groups(body: "nn.Module") -> "list[list[nn.Parameter]]":
    """Return the body's parameters, block by block in order (layer groups for discriminative learning rates)."""
    named = dict(body.named_parameters())
    out: list[list[nn.Parameter]] = []
    for block in blocks(body):
        mine = [name for name in named if name.startswith(f"{block}.")]
        out.append([named.pop(name) for name in mine])
    if named:  # a container's own parameters are used first
        out.insert(0, list(named.values()))
    return out


def _collect(prefix: str, module: "nn.Module", total: int, names: list[str]) -> None:
    for name, child in module.named_children():
        size = sum(parameter.numel() for parameter in child.parameters())
        if not size:
            continue
        inner = [part for part in child.children() if next(part.parameters(), None) is not None]
        if len(inner) > 1 and (name in CONTAINERS or size > 0.9 * total):
            _collect(f"{prefix}{name}.", child, total, names)
        else:
            names.append(prefix + name)


def _leaves(module: "nn.Module") -> "list[nn.Module]":
    return [part for part in module.modules() if not any(part.children())]
