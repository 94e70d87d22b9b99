import numpy as np
import pytest
import torch

from darkroom.training.losses import class_weights, cross_entropy, mix


def test_weights_make_every_class_count_the_same():
    labels = np.array([0] * 6 + [1] * 3 + [3])
    weights = class_weights(labels, 5)
    assert [weights[labels][labels == label].sum() for label in (0, 1, 3)] == pytest.approx([10 / 3] * 3)
    assert weights[[2, 4]].tolist() == [0, 0]


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_label_smoothing_spreads_its_share_over_all_classes(smoothing):
    logits, labels = torch.tensor([[2.0, 0.0, -1.0, 0.5], [0.0, 3.0, 1.0, 1.0]]), torch.tensor([0, 2])
    targets = np.full((2, 4), smoothing / 4)
    targets[[0, 1], [0, 2]] += 1 - smoothing
    odds = np.exp(logits.numpy().astype(float))
    by_hand = -(targets * np.log(odds / odds.sum(axis=1, keepdims=True))).sum(axis=1).mean()
    assert cross_entropy(smoothing, None)(logits, labels).item() == pytest.approx(by_hand, rel=1e-6)


def test_a_batch_in_parts_has_the_loss_of_the_whole():
    loss = cross_entropy(0.1, torch.tensor([1.0, 2.0, 0.5]))
    logits, labels = torch.randn(12, 3), torch.randint(0, 3, (12,))
    parts = [loss(logits[part], labels[part]) * 4 / 12 for part in (slice(0, 4), slice(4, 8), slice(8, 12))]
    torch.testing.assert_close(sum(parts), loss(logits, labels))


def test_mixup_is_a_mixture_with_another_sample_of_the_batch():
    inputs, labels = torch.eye(6), torch.arange(6)
    mixed = mix(inputs, labels, 1.0, 0.0, 0, 1, 2)
    assert mixed.second is not None
    expected = mixed.share * inputs + (1 - mixed.share) * inputs[mixed.second]
    torch.testing.assert_close(mixed.inputs, expected)


def test_cutmix_pastes_a_rectangle_of_the_share_it_says():
    inputs = torch.arange(8.0)[:, None, None, None].expand(8, 3, 10, 10).contiguous()
    for step in range(20):
        mixed = mix(inputs, torch.arange(8), 0.0, 1.0, 0, 0, step)
        assert mixed.second is not None
        own = (mixed.inputs == torch.arange(8.0)[:, None, None, None]).float().mean((1, 2, 3))
        other = mixed.second != torch.arange(8)
        torch.testing.assert_close(own[other], torch.full_like(own[other], mixed.share))
        assert torch.equal(inputs[3], torch.full((3, 10, 10), 3.0)), "the batch itself is not changed"


def test_the_same_step_is_mixed_the_same_way_and_another_is_not():
    inputs, labels = torch.eye(6), torch.arange(6)
    once, again, other = (mix(inputs, labels, 0.4, 0.0, 0, 1, step).inputs for step in (2, 2, 3))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_features_are_never_cut():
    assert mix(torch.eye(4), torch.arange(4), 0.0, 1.0, 0).second is None
