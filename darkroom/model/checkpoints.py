"""Find the weights of one network in what a training script saved: nested, under prefixes, beside other networks."""

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from darkroom.core.errors import WeightsError
from darkroom.core.progress import say

DEPTH = 4  # of nested dictionaries
AVERAGE = "ema"  # in the names of a moving average of the weights, which timm and others prefer, too
State = OrderedDict[str, Tensor]


def state_of(saved: Any, wanted: frozenset[str], path: Path) -> State:
    """Return the tensors that fit the names `wanted` best, without the prefix that they have in the file.

    A prefix is what DataParallel, Lightning, torch.compile or a class of the user's own put before the names. Of two
    networks that fit, a moving average is taken, and said. Raises WeightsError for two others, and for no tensors.
    """
    held = [(place, tensors) for place, tensors in _state_dicts(saved, "", DEPTH) if tensors]
    if not held:
        raise WeightsError(f"weights: {path} holds no state_dict (names and tensors); save `model.state_dict()`")
    fits = [(count, place, prefix, tensors) for place, tensors in held
            for prefix, count in _prefixes(tensors, wanted).items()]  # fmt: skip
    most = max((count for count, *_ in fits), default=0)
    if not most or most * 2 < len(wanted):  # of another network, or under older names: the caller sees which
        return max((tensors for _, tensors in held), key=len)
    best = {place + prefix: (prefix, tensors) for count, place, prefix, tensors in fits if count == most}
    averages = [name for name in best if AVERAGE in name.lower()]
    if len(best) > 1 and len(averages) != 1:
        names = ", ".join(name.rstrip(".") or "its top level" for name in best)
        raise WeightsError(f"weights: {path} holds {len(best)} networks that fit ({names}); save the state_dict of one")
    chosen = averages[0] if len(best) > 1 else next(iter(best))
    if len(best) > 1:
        say(f"note: {path} holds {len(best)} networks that fit; the moving average `{chosen.rstrip('.')}` is taken")
    return _without(*best[chosen])


def _state_dicts(saved: Any, place: str, depth: int) -> Iterator[tuple[str, State]]:
    """Yield (place, tensors) of each dictionary in `saved`, from the outermost one on."""
    if not isinstance(saved, Mapping) or not depth:
        return
    tensors: State = OrderedDict((str(name), value) for name, value in saved.items() if isinstance(value, Tensor))
    if hasattr(saved, "_metadata"):
        tensors._metadata = saved._metadata  # type: ignore[attr-defined]
    yield place, tensors
    for name, value in saved.items():
        yield from _state_dicts(value, f"{place}{name}.", depth - 1)


def _prefixes(names: Collection[str], wanted: frozenset[str]) -> Counter[str]:
    """Count the names of which `wanted` holds what follows a prefix, by prefix."""
    counts: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")
        for depth in range(len(parts)):
            if ".".join(parts[depth:]) in wanted:
                counts["".join(f"{part}." for part in parts[:depth])] += 1
    return counts


def _without(prefix: str, tensors: State) -> State:
    state: State = OrderedDict(
        (name.removeprefix(prefix), value) for name, value in tensors.items() if name.startswith(prefix)
    )
    if hasattr(tensors, "_metadata"):  # the versions of modules by name; a prefix without its dot is the network's
        state._metadata = OrderedDict(  # type: ignore[attr-defined]
            (name.removeprefix(prefix[:-1]).removeprefix("."), value)
            for name, value in tensors._metadata.items() if f"{name}.".startswith(prefix)
        )  # fmt: skip
    return state
