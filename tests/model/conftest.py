"""Fixtures of the models' tests."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Use one thread: with a few small images, more would only wait for each other, and for the other test
    processes."""
    torch.set_num_threads(1)
