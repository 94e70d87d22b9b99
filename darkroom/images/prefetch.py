"""The next batch, made ready on its device while the network computes with this one."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from darkroom.core.errors import is_out_of_memory
from darkroom.images.batches import read_ahead

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Part = tuple[np.ndarray, np.ndarray]  # samples, and their rows
Ready = TypeVar("Ready", bound="tuple[Tensor, ...]")


def ready(
    parts: Sequence[np.ndarray],
    read: Callable[[np.ndarray], np.ndarray],
    finish: Callable[[np.ndarray, np.ndarray], Ready],
    device: "torch.device",
) -> Iterator[Ready]:
    """`finish(samples, read(samples))` of each of `parts`, samples int64 (b,), in order: tensors on `device`.

    A thread reads. On a CPU `finish` runs in the caller, where torch's threads are free for it. On a GPU another thread
    runs it, on a stream of its own, so that pixels travel and are augmented while the network computes.
    """
    read_rows = read_ahead(parts, read)
    if device.type != "cuda":
        for samples, rows in zip(parts, read_rows, strict=True):
            yield finish(samples, rows)
        return
    import torch

    stream = torch.cuda.Stream(device)

    def on_stream(part: Part) -> tuple[Part, Ready | None, "torch.cuda.Event | None"]:
        try:
            with torch.cuda.stream(stream):
                return part, finish(*part), stream.record_event()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        return part, None, None  # outside of `except`: the exception holds on to the tensors there were

    for part, tensors, made in read_ahead(zip(parts, read_rows, strict=True), on_stream, ahead=1):
        if tensors is None or made is None:  # the step that filled the memory has ended, or was divided
            tensors = finish(*part)
        else:
            current = torch.cuda.current_stream(device)
            current.wait_event(made)
            for tensor in tensors:
                tensor.record_stream(current)  # its memory is free again when this stream too is done with it
        yield tensors


def on_device(rows: np.ndarray, device: "torch.device") -> "Tensor":
    """`rows` as a tensor on `device`; to a GPU it travels while the program goes on."""
    import torch

    tensor = torch.from_numpy(rows)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
