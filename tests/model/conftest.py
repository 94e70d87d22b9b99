"""Fixtures of the models' tests."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """A few small images: more threads would only wait for each other, and for the other test processes."""
    torch.set_num_threads(1)
