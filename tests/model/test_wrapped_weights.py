"""Weights that a training framework saved from inside its own module load as the model's."""

import pytest
import torch

from darkroom.model import builders, weights


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "model._orig_mod.", "module.model."])
def test_the_prefix_of_a_wrapper_is_taken_off(tmp_path, prefix):
    network = builders.build("resnet18", 64, seed=5)
    state = {prefix + name: value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "last.ckpt")
    body = weights.resolve("resnet18", str(tmp_path / "last.ckpt"), 64, 0, (0.5,) * 3, (0.2,) * 3).body
    assert torch.equal(body.net.conv1.weight, network.conv1.weight)
