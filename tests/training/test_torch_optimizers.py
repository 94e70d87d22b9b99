import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from darkroom.training import torch_optimizers
from darkroom.training.torch_optimizers import Ema


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def groups(net: nn.Sequential, lr_decay: float = 1.0) -> list:
    return torch_optimizers.parameter_groups(
        [list(layer.parameters()) for layer in net if list(layer.parameters())], lr_decay
    )


@pytest.mark.parametrize("kind", torch_optimizers.OPTIMIZERS)
def test_a_step_equals_that_of_torch_itself(kind):
    mine, theirs = network(), network()
    optimizer = torch_optimizers.build(kind, groups(mine), lr=0.01, weight_decay=0.1, momentum=0.9)
    settings = {"momentum": 0.9} if torch_optimizers.OPTIMIZERS[kind].momentum else {}
    reference = getattr(torch.optim, torch_optimizers.OPTIMIZERS[kind].name)(
        [
            {"params": [p for p in theirs.parameters() if p.ndim >= 2], "weight_decay": 0.1},
            {"params": [p for p in theirs.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=0.01,
        **settings,
    )
    inputs, labels = torch.randn(16, 4), torch.randint(0, 3, (16,))
    for _ in range(3):
        nn.functional.cross_entropy(mine(inputs), labels).backward()
        torch_optimizers.set_lr(optimizer, 0.01)
        torch_optimizers.step(optimizer)
        reference.zero_grad()
        nn.functional.cross_entropy(theirs(inputs), labels).backward()
        reference.step()
    for ours, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(ours, other)
        assert ours.grad is None


def test_norms_and_biases_do_not_decay():
    for group in groups(network()):
        assert all((parameter.ndim < 2) == (group.get("weight_decay") == 0) for parameter in group["params"])


def test_frozen_parameters_are_in_no_group():
    net = network()
    net[0].requires_grad_(False)
    held = {id(parameter) for group in groups(net) for parameter in group["params"]}
    assert held == {id(parameter) for layer in net[1:] for parameter in layer.parameters()}


def test_each_layer_group_has_its_own_rate():
    net = network()
    optimizer = torch_optimizers.build("sgd", groups(net, lr_decay=0.5), lr=1.0, weight_decay=0, momentum=0)
    torch_optimizers.set_lr(optimizer, 0.8)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert [rates[id(p)] for p in net.parameters()] == pytest.approx([0.2, 0.4, 0.4, 0.8, 0.8])


def test_l1_pulls_weights_and_not_biases_to_zero():
    net = nn.Linear(4, 3)
    before = copy.deepcopy(net)
    optimizer = torch_optimizers.build("sgd", groups(nn.Sequential(net)), lr=0.1, weight_decay=0, momentum=0)
    (net(torch.ones(1, 4)) * 0).sum().backward()
    torch_optimizers.add_l1(optimizer, 0.5)
    torch_optimizers.set_lr(optimizer, 0.1)
    torch_optimizers.step(optimizer)
    torch.testing.assert_close(net.weight, before.weight - 0.05 * before.weight.sign())
    torch.testing.assert_close(net.bias, before.bias)


def test_a_step_does_not_import_the_compiler():
    code = (
        "import sys, torch; from darkroom.training import torch_optimizers; net = torch.nn.Linear(2, 2);"
        "groups = torch_optimizers.parameter_groups([net.parameters()], 1.0);"
        "optimizer = torch_optimizers.build('adamw', groups, 0.1, 0.0, 0.9);"
        "net(torch.ones(1, 2)).sum().backward(); torch_optimizers.step(optimizer); optimizer.state_dict();"
        "assert 'torch._dynamo' not in sys.modules and 'torch._inductor' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_average_follows_weights_and_statistics_and_leaves_what_is_frozen():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2))
    module[0].requires_grad_(False)
    ema = Ema(module, 0.9)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with torch.no_grad():
        module[2].weight.add_(1.0)
        module[1].running_mean.add_(1.0)
        module[1].num_batches_tracked.add_(5)
    ema.update()
    decay = 2 / 11  # the first step: (1 + 1) / (10 + 1), less than 0.9
    after = ema.average.state_dict()
    torch.testing.assert_close(after["2.weight"], before["2.weight"] + 1 - decay)
    torch.testing.assert_close(after["1.running_mean"], before["1.running_mean"] + 1 - decay)
    assert after["1.num_batches_tracked"] == 5
    assert torch.equal(after["0.weight"], before["0.weight"])
    assert not any(parameter.requires_grad for parameter in ema.average.parameters())


def test_many_steps_converge_to_still_weights():
    module = nn.Linear(2, 2)
    ema = Ema(module, 0.9)
    with torch.no_grad():
        module.weight.fill_(3.0)
    for _ in range(200):
        ema.update()
    torch.testing.assert_close(ema.average.weight, module.weight.detach())
