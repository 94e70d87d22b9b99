"""One thread: the networks of these tests are too small to share, and tests may run side by side."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """Set torch's threads for the tests of this folder."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
