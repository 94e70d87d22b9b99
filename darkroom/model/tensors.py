"""Read and write named tensors as .safetensors, with facts about them in its one metadata key. Imports no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from darkroom.core import tensorfile
from darkroom.core.errors import WeightsError

if TYPE_CHECKING:
    from torch import nn

Tensors = dict[str, np.ndarray]


def save(path: Path, tensors: Mapping[str, np.ndarray], facts: Mapping[str, Any] | None = None) -> None:
    """Write `tensors` atomically; the bytes depend on the values alone."""
    tensorfile.write(path, tensors, facts)


def load(path: Path) -> Tensors:
    """Return all tensors of a file, mapped read-only. Raises WeightsError for one that is missing or damaged."""
    try:
        return tensorfile.mapped(path)
    except FileNotFoundError as error:
        raise WeightsError(f"{path} does not exist; run `dvc repro`, or check the name") from error
    except ValueError as error:
        raise WeightsError(f"{path} is not a whole safetensors file; fetch or make it again") from error


def facts(path: Path) -> dict[str, Any] | None:
    """Return the facts in a file's header, without reading its tensors; None where another program wrote it."""
    try:
        return tensorfile.facts(path)
    except ValueError as error:
        raise WeightsError(f"{path} is not a whole safetensors file; fetch or make it again") from error


def fill(network: "nn.Module", values: Mapping[str, np.ndarray]) -> None:
    """Load arrays into a torch module that has exactly their names and shapes."""
    import torch

    network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in values.items()})
