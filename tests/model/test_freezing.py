"""Frozen means no gradient and no change of BatchNorm's statistics, whatever `.train()` is called on."""

import pytest
import torch

from darkroom.core.errors import DarkroomError
from darkroom.model import builders, classifier, freezing
from darkroom.model.network import Body, Network
from tests.model.samples import empty_backbone


def network(backbone="small_cnn", size=28, freeze="backbone", frozen_statistics=False):
    body = Body(builders.build(backbone, size, seed=0), [0.5] * 3, [0.25] * 3)
    linear = classifier.Head("linear", 0, 0)
    first = classifier.initial(linear, builders.features_of(body.net, size), 3, seed=0)
    return Network(body, classifier.build(linear, first), freeze, frozen_statistics)


def one_step(network, size=28):
    network.train()
    images = torch.rand(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    torch.nn.functional.cross_entropy(network(images), torch.tensor([0, 1, 2, 0])).backward()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter -= 0.1 * parameter.grad


@pytest.mark.parametrize(("freeze", "moved"), [
    ("backbone", set()), ("none", {"block1", "block2", "block3"}), ("block1", {"block2", "block3"}),
    ("block2.1", {"block2", "block3"}), ("block3", set()),
])  # fmt: skip
def test_a_step_changes_exactly_what_is_not_frozen(freeze, moved):
    model = network(freeze=freeze)
    before = {name: value.clone() for name, value in model.body.net.state_dict().items()}
    one_step(model)
    after = model.body.net.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.partition(".")[0] for name in changed} == moved
    if freeze == "block2.1":  # BatchNorm's statistics too: of the first convolution frozen, of the second not
        assert not any(name.startswith(("block2.1", "block2.0")) for name in changed)
        assert "block2.5.running_mean" in changed


def test_batchnorm_of_a_frozen_body_stays_in_eval_mode_after_train():
    model = network().train()
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)
    assert model.head.training


def test_frozen_statistics_stay_while_all_weights_learn_and_make_a_batch_the_sum_of_its_parts():
    model = network(freeze="none", frozen_statistics=True)
    before = {name: value.clone() for name, value in model.body.net.state_dict().items()}
    one_step(model)
    changed = {name for name, value in model.body.net.state_dict().items() if not torch.equal(before[name], value)}
    assert changed == {name for name, _ in model.body.net.named_parameters()}  # norms' scale and shift among them
    images = torch.rand(4, 3, 28, 28)
    torch.testing.assert_close(model(images), torch.cat([model(images[:1]), model(images[1:])]))
    model.freeze("block1")
    assert not any(norm.training for norm in freezing.batch_norms(model.train().body))


def test_dropout_inside_a_frozen_body_is_off():
    model = network("alexnet", 64).train()
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(model.body(images), model.body(images))


def test_thawing_lets_everything_learn_again():
    model = network(freeze="backbone").train()
    model.freeze("none")
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(module.training for module in model.modules())


def test_tokens_and_positions_of_a_vit_are_frozen_with_the_first_block():
    body = empty_backbone("vit_b_32", 224)
    freezing.freeze_body(body, "encoder.layers.encoder_layer_3")
    learning = {name for name, parameter in body.named_parameters() if parameter.requires_grad}
    assert not learning & {"class_token", "encoder.pos_embedding", "conv_proj.weight"}
    assert all(name.startswith(("encoder.layers", "encoder.ln")) for name in learning)


@pytest.mark.parametrize(
    ("freeze", "hint"),
    [
        ("layer5", "did you mean `layer"),
        ("Layer3", "did you mean `layer3`"),
        ("fc", "expected backbone, none, or a block: conv1, bn1, layer1"),
    ],
)
def test_a_wrong_block_is_answered_with_the_right_names(freeze, hint):
    with pytest.raises(DarkroomError, match=hint):
        freezing.check(empty_backbone("resnet18", 224), freeze)


def test_groups_hold_every_parameter_once():
    for backbone in ("resnet18", "vit_b_32", "mobilenet_v2"):
        body = empty_backbone(backbone, 224)
        grouped = [id(parameter) for group in freezing.groups(body) for parameter in group]
        assert sorted(grouped) == sorted(id(parameter) for parameter in body.parameters())
