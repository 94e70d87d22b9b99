import torch
from torch import nn

from darkroom.training.ema import Ema


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
