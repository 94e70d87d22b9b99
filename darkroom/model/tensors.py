"""Named tensors in a .safetensors file, with the facts that belong to them in its one metadata key. No torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from darkroom import files
from darkroom.errors import WeightsError

Tensors = dict[str, np.ndarray]


def save(path: Path, tensors: Mapping[str, np.ndarray], facts: Mapping[str, Any] | None = None) -> None:
    """Write `tensors` atomically; the bytes depend on the values alone."""
    # More than one metadata key would be written in an order that changes from run to run.
    metadata = None if facts is None else {"json": json.dumps(facts, sort_keys=True, allow_nan=False)}
    arrays = {name: np.ascontiguousarray(array) for name, array in sorted(tensors.items())}
    with files.atomic(path) as temporary:
        save_file(arrays, temporary, metadata)


def load(path: Path) -> Tensors:
    """All tensors of a file, in memory. Raises WeightsError for one that is missing or damaged."""
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise WeightsError(f"{path} does not exist; run `dvc repro`, or check the name") from error
    except (SafetensorError, KeyError, ValueError) as error:
        raise WeightsError(f"{path} is no whole safetensors file ({error}); fetch or make it again") from error


def facts(path: Path) -> dict[str, Any] | None:
    """The facts in a file's header, read without its tensors; None when another program wrote it."""
    header = _header(path)
    text = header.get("__metadata__", {}).get("json")
    return None if text is None else json.loads(text)


def _header(path: Path) -> dict[str, Any]:
    # The format: an 8-byte little-endian length, then a JSON header of that length.
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= path.stat().st_size:
            raise WeightsError(f"{path} is no whole safetensors file; fetch or make it again")
        try:
            return json.loads(file.read(length))
        except ValueError as error:
            raise WeightsError(f"{path} is no whole safetensors file; fetch or make it again") from error
