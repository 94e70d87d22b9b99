"""The loop itself, on real digits: errors that stop it, memory that runs out, epochs that are kept."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from darkroom.core.errors import TrainingError
from darkroom.images.batches import Table
from darkroom.images.shard_writer import write_shards
from darkroom.images.shards import Shards
from darkroom.model import builders, classifier
from darkroom.model.network import Body, Network, pixels
from darkroom.training import losses
from darkroom.training.data import FeatureInputs, ImageInputs
from darkroom.training.fit import Fit
from darkroom.training.recipe import Recipe
from darkroom.training.step import Phase, equal_parts
from tests.training.recipes import recipe
from tests.training.small import CLASSES, SIZE, write_data

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_data(folder, train=320, val=100, test=10)
    return folder


def phase(data, module: nn.Module, chosen: Recipe, split: str = "val") -> Phase:
    train, val = (
        ImageInputs(Table([Shards(data / f"data/shards/{name}")]), CPU, 0, None, False) for name in ("train", split)
    )
    return Phase(module, [list(module.parameters())], train, val, 0, chosen.epochs, chosen.lr)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3 * 16 * 16), nn.Linear(3 * 16 * 16, 10))


def test_it_learns(data):
    chosen = recipe(epochs=5)
    fitted = Fit([phase(data, network(), chosen)], chosen, CPU).run()
    assert fitted.history[-1]["val_accuracy"] > 0.85
    assert [row["epoch"] for row in fitted.history] == [1, 2, 3, 4, 5]
    assert fitted.history[-1]["lr"] < fitted.history[0]["lr"]


def test_the_best_epoch_is_kept_and_not_the_last(data):
    chosen = recipe(epochs=12, lr=0.3, schedule="constant", optimizer="sgd", monitor="val_accuracy")
    module = network()
    fitted = Fit([phase(data, module, chosen)], chosen, CPU).run()
    accuracies = [row["val_accuracy"] for row in fitted.history]
    assert accuracies[fitted.best_epoch] == max(accuracies)
    module.load_state_dict(fitted.best)
    module.eval()
    images = Shards(data / "data/shards/val")
    logits = module(torch.from_numpy(images.rows(np.arange(100))).permute(0, 3, 1, 2).float() / 255)
    torch.testing.assert_close(logits.detach(), fitted.logits)


def test_patience_ends_it(data):
    chosen = recipe(epochs=50, lr=0.05, patience=2, schedule="constant")
    fitted = Fit([phase(data, network(), chosen)], chosen, CPU).run()
    assert len(fitted.history) < 50
    assert len(fitted.history) == fitted.best_epoch + 3


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop"])
def test_a_loss_that_runs_away_names_the_step_and_three_things_to_try(data, optimizer):
    chosen = recipe(lr=1e6, optimizer=optimizer)
    message = r"the loss is \S+ in epoch 1, step \d: .*lower lr \(it is 1e\+06; .*grad_clip: 1, or an epoch of warm-up"
    with pytest.raises(TrainingError, match=message):
        Fit([phase(data, network(), chosen)], chosen, CPU).run()


def one_step(data, **changes) -> tuple[float, Any]:
    """How far a single step of plain descent with rate 0.5 goes from given weights, and the loss before it."""
    chosen = recipe(epochs=1, batch_size=400, optimizer="sgd", momentum=0.0, weight_decay=0.0, lr=0.5,
                    schedule="constant", **changes)  # fmt: skip
    module = network()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    fitted = Fit([phase(data, module, chosen)], chosen, CPU).run()
    learnt = [name for name, _ in module.named_parameters()]
    squares = sum(float(((fitted.best[name] - before[name]) ** 2).sum()) for name in learnt)
    return squares**0.5, fitted.history[0]["train_loss"]


def test_grad_clip_is_the_largest_norm_of_a_steps_gradient(data):
    free, _ = one_step(data)
    assert one_step(data, grad_clip=0.25 * free / 0.5)[0] == pytest.approx(0.25 * free, rel=1e-3)
    assert one_step(data, grad_clip=4 * free / 0.5)[0] == pytest.approx(free, rel=1e-5)


def test_label_smoothing_reaches_the_loss(data):
    """All else equal, before any step: smoothing s adds s times (the mean over all classes less that of the label)."""
    plain, half, whole = (one_step(data, label_smoothing=share)[1] for share in (0.0, 0.4, 0.8))
    assert whole - plain == pytest.approx(2 * (half - plain), rel=1e-3)
    assert abs(half - plain) > 1e-4


def test_not_a_number_stops_it(data):
    module = network()
    with torch.no_grad():
        module[2].weight[0, 0] = float("nan")
    with pytest.raises(TrainingError, match="the loss is nan in epoch 1, step 1"):
        Fit([phase(data, module, recipe())], recipe(), CPU).run()


def test_the_rate_is_cut_on_a_plateau_by_the_schedule_of_that_name_alone(data):
    rates = {}
    for schedule in ("constant", "plateau"):
        chosen = recipe(epochs=14, lr=0.1, schedule=schedule)
        rates[schedule] = [row["lr"] for row in Fit([phase(data, network(), chosen)], chosen, CPU).run().history]
    assert rates["constant"] == [0.1] * 14
    assert sorted(set(rates["plateau"]), reverse=True)[:2] == pytest.approx([0.1, 0.03])


class Greedy(nn.Module):
    """Asks for more memory than there is when more than `limit` images come together."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training and len(images) > self.limit:
            torch.empty(1 << 60, dtype=torch.uint8)
        return images


def test_out_of_memory_goes_on_in_smaller_parts_and_says_so(data, capsys):
    chosen = recipe(epochs=2)
    plain, greedy = (nn.Sequential(Greedy(limit), nn.Flatten(), nn.Linear(768, 10)) for limit in (64, 10))
    greedy[2].load_state_dict(plain[2].state_dict())
    whole = Fit([phase(data, plain, chosen)], chosen, CPU).run()
    parts = Fit([phase(data, greedy, chosen)], chosen, CPU).run()
    assert parts.micro.size == 8
    assert "micro-batches of 8 instead of 16" in capsys.readouterr().err
    for name, value in whole.best.items():
        torch.testing.assert_close(parts.best[name], value, rtol=1e-3, atol=1e-4)


def test_out_of_memory_leaves_no_trace_of_the_step_that_failed(data):
    """BatchNorm has seen the batch before the memory runs out; its statistics are set back."""
    chosen = recipe(epochs=1)
    module = nn.Sequential(nn.BatchNorm2d(3), Greedy(16), nn.Flatten(), nn.Linear(768, 10))
    fitted = Fit([phase(data, module, chosen)], chosen, CPU).run()
    assert fitted.best["0.num_batches_tracked"] == 2 * 10


def test_out_of_memory_with_a_single_image_is_an_error(data):
    module = nn.Sequential(Greedy(0), nn.Flatten(), nn.Linear(768, 10))
    with pytest.raises(TrainingError, match="out of memory with a single image"):
        Fit([phase(data, module, recipe())], recipe(), CPU).run()


def test_out_of_memory_in_validation_is_an_error(data):
    class GreedyInAnswering(Greedy):
        def forward(self, images):
            return images if self.training else torch.empty(1 << 60, dtype=torch.uint8)

    module = nn.Sequential(GreedyInAnswering(0), nn.Flatten(), nn.Linear(768, 10))
    with pytest.raises(TrainingError, match="not in a step that could be done in parts"):
        Fit([phase(data, module, recipe())], recipe(), CPU).run()


def test_a_mean_of_weights_is_what_is_kept(data):
    chosen = recipe(epochs=3, ema=0.9, lr=0.1, optimizer="sgd", schedule="constant")
    module = network()
    fitted = Fit([phase(data, module, chosen)], chosen, CPU).run()
    assert not torch.equal(fitted.best["2.weight"], module[2].weight)
    assert fitted.history[-1]["val_accuracy"] > 0.8


def test_without_validation_images_the_last_epoch_is_kept(data, tmp_path):
    write_data(tmp_path, train=64, val=0, test=0)
    chosen = recipe(epochs=2)
    fitted = Fit([phase(tmp_path, network(), chosen)], chosen, CPU).run()
    assert fitted.best_epoch == 1
    assert fitted.history[0]["val_loss"] is None


def test_nothing_to_train_on_is_an_error(tmp_path):
    write_data(tmp_path, train=0, val=10, test=0)
    with pytest.raises(TrainingError, match="the train split is empty"):
        Fit([phase(tmp_path, network(), recipe())], recipe(), CPU)


def test_balance_lifts_a_rare_class(data):
    features = {split: Table([Shards(data / f"data/features/{split}")]) for split in ("train", "val")}
    labels = features["train"].labels
    rare = Table(features["train"].parts, [np.flatnonzero((labels > 2) | (np.arange(len(labels)) % 8 == 0))])
    recalls = {}
    for balance in ("none", "loss", "sampler"):
        chosen = recipe(balance=balance, epochs=30, lr=0.3)
        inputs = FeatureInputs(rare, CPU), FeatureInputs(features["val"], CPU)
        torch.manual_seed(0)
        module = nn.Linear(features["train"].row_shape[1], 10)
        fitted = Fit([Phase(module, [list(module.parameters())], *inputs, 0, 30, chosen.lr)], chosen, CPU).run()
        truth = features["val"].labels
        recalls[balance] = float((fitted.logits.argmax(1).numpy() == truth)[truth <= 2].mean())
    assert recalls["loss"] > recalls["none"]
    assert recalls["sampler"] > recalls["none"]


def test_rare_classes_may_weigh_a_lot_and_a_loss_that_runs_away_is_still_seen(data):
    """Of a batch that holds the one rare sample, the loss is hundreds of times that of a guess, and in order."""
    features = Table([Shards(data / "data/features/train")])
    one = np.flatnonzero(features.labels == 3)[:1]
    rare = Table(features.parts, [np.concatenate([one, *[np.flatnonzero(features.labels == 5)] * 90])])
    inputs = FeatureInputs(rare, CPU)

    def fitted(**changes):
        chosen = recipe(balance="loss", epochs=1, batch_size=1, **changes)
        module = nn.Linear(features.row_shape[1], 10)
        return Fit([Phase(module, [list(module.parameters())], inputs, inputs, 0, 1, chosen.lr)], chosen, CPU).run()

    assert losses.class_weights(rare.labels, 10).max() > 1000
    assert fitted(lr=1e-6).history
    with pytest.raises(TrainingError, match="training has run away"):
        fitted(lr=1e9, optimizer="sgd")


def test_batch_norm_with_a_single_value_is_one_line(data):
    chosen = recipe(batch_size=1, epochs=1)
    module = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(768), nn.Linear(768, 10))
    with pytest.raises(TrainingError, match="a single image goes through the network: use a larger batch_size"):
        Fit([phase(data, module, chosen)], chosen, CPU).run()


@pytest.mark.parametrize(("count", "size"), [(65, 32), (5, 3), (64, 32), (7, 7), (9, 4)])
def test_parts_of_a_batch_leave_no_single_image_over(count, size):
    parts = [part.stop - part.start for part in equal_parts(count, -(-count // size))]
    assert sum(parts) == count
    assert max(parts) <= size
    assert max(parts) - min(parts) <= 1
    assert min(parts) > 1


@pytest.mark.parametrize("backbone", ["small_cnn", "simple_cnn"])
def test_a_head_learns_the_same_from_features_as_through_the_network(data, tmp_path, backbone):
    """With BatchNorm (small_cnn) and with dropout (simple_cnn) in the frozen body, which learns and drops nothing."""
    images = {split: Table([Shards(data / f"data/shards/{split}")]) for split in ("train", "val")}
    chosen = recipe(epochs=5, lr=0.1)

    def parts() -> tuple[Body, nn.Module]:
        body = Body(builders.build(backbone, SIZE, seed=3), [0.3] * 3, [0.35] * 3)
        features = builders.features_of(body.net, SIZE)
        linear = classifier.Head("linear", 1, 0.0)
        return body, classifier.build(linear, classifier.initial(linear, features, 10, seed=3))

    body, head = parts()
    cached = {}
    for split, table in images.items():
        with write_shards(tmp_path / split, "features", CLASSES) as writer, torch.inference_mode():
            values = body.eval()(pixels(table.rows(np.arange(len(table))))).numpy()
            for place, row in enumerate(values):
                writer.add(row[None], int(table.labels[place]), f"{place:064x}")
            writer.close()
        cached[split] = FeatureInputs(Table([Shards(tmp_path / split)]), CPU)
    groups = [list(head.parameters())]
    quick = Fit([Phase(head, groups, cached["train"], cached["val"], 0, 5, chosen.lr)], chosen, CPU).run()

    body, head = parts()
    network = Network(body, head, "backbone")
    train, val = (ImageInputs(images[split], CPU, 0, None, False) for split in ("train", "val"))
    groups = [list(network.parameters())]
    slow = Fit([Phase(network, groups, train, val, 0, 5, chosen.lr)], chosen, CPU).run()
    assert quick.logits.argmax(1).tolist() == slow.logits.argmax(1).tolist()
    torch.testing.assert_close(quick.logits, slow.logits, rtol=1e-3, atol=1e-4)
