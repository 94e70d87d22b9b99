"""When a network is compiled: by counts, and only where it can be."""

import shutil

import pytest
import torch

from darkroom.core.errors import ParamsError
from darkroom.training.step import compiled
from darkroom.training.torch_training import COMPILE_REPAYS, compiles

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("setting", "device", "steps", "expected"),
    [
        ("never", GPU, 10**9, False), ("always", CPU, 1, True), ("auto", CPU, 10**9, False),
        ("auto", GPU, COMPILE_REPAYS - 1, False), ("auto", GPU, COMPILE_REPAYS, True),
    ],
)  # fmt: skip
def test_a_network_is_compiled_where_the_steps_repay_it(monkeypatch, setting, device, steps, expected):
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert compiles(setting, device, steps) is expected


def test_without_a_compiler_auto_does_without_and_always_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert compiles("auto", GPU, 10**9) is False
    with pytest.raises(ParamsError, match=r"compile: always needs a C\+\+ compiler"):
        compiles("always", CPU, 1)


def test_what_the_compiler_cannot_do_runs_as_it_is():
    def fails(_graph, _inputs):
        raise RuntimeError("no such kernel")

    module = torch.nn.Linear(2, 3)
    inputs = torch.ones(4, 2)
    compiled(module)
    assert torch.equal(torch.compile(module, backend=fails)(inputs), module(inputs))
