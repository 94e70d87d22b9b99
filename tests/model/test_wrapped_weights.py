"""Weights that a training framework saved from inside its own module load as the model's."""

import pytest
import torch
from safetensors.torch import save_file

from darkroom.core.errors import WeightsError
from darkroom.model import builders, weights

OTHER = {"criterion.weight": torch.ones(3), "accuracy.tp": torch.tensor(3), "n_averaged": torch.tensor(1)}


@pytest.fixture(scope="module")
def network():
    return builders.build("resnet18", 64, seed=5)


def under(prefix, network, factor=1):
    """Return the tensors of a network, times `factor`, with `prefix` before their names."""
    return {prefix + name: value * factor for name, value in network.state_dict().items()}


def is_loaded(path, network) -> bool:
    body = weights.resolve("resnet18", str(path), 64, 0, (0.5,) * 3, (0.2,) * 3).body
    return torch.equal(*(one.state_dict()["conv1.weight"] for one in (body.net, network)))


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "model._orig_mod.", "module.model.", "net.",
                                    "backbone.body.", "encoder."])  # fmt: skip
def test_the_prefix_of_a_wrapper_is_taken_off(tmp_path, network, prefix):
    torch.save({"state_dict": under(prefix, network) | OTHER, "epoch": 3}, tmp_path / "last.ckpt")
    assert is_loaded(tmp_path / "last.ckpt", network)
    save_file(under(prefix, network), tmp_path / "last.safetensors")
    assert is_loaded(tmp_path / "last.safetensors", network)


@pytest.mark.parametrize("places", [["model"], ["net"], ["params_ema"], ["model", "state_dict"], ["a", "b", "c"]])
def test_a_state_dict_is_found_in_what_a_script_saved_around_it(tmp_path, network, places):
    saved = under("", network)
    for place in reversed(places):
        saved = {place: saved, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}, "epoch": 3}
    torch.save(saved, tmp_path / "last.pth")
    assert is_loaded(tmp_path / "last.pth", network)


@pytest.mark.parametrize("average", ["state_dict_ema", "model_ema"])
def test_of_two_networks_the_moving_average_is_taken_and_said(tmp_path, network, average, capfd):
    torch.save({"state_dict": under("", network, 2), average: under("module.", network)}, tmp_path / "last.pth")
    assert is_loaded(tmp_path / "last.pth", network)
    assert f"holds 2 networks that fit; the moving average `{average}.module` is taken" in capfd.readouterr().err


def test_of_two_networks_of_which_none_is_an_average_none_is_guessed(tmp_path, network):
    torch.save({"student": under("", network), "teacher": under("", network, 2)}, tmp_path / "last.pth")
    with pytest.raises(WeightsError, match=r"2 networks that fit \(student, teacher\); save the state_dict of one"):
        is_loaded(tmp_path / "last.pth", network)


def test_the_versions_of_modules_follow_their_names(tmp_path, network):
    torch.save(torch.nn.DataParallel(network).state_dict(), tmp_path / "parallel.pth")
    state = weights.read(tmp_path / "parallel.pth", network.state_dict())
    assert state._metadata["bn1"] == {"version": 2}
    assert is_loaded(tmp_path / "parallel.pth", network)
