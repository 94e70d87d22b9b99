import numpy as np

from darkroom.training.history import Monitor, mean_and_error, scores


def ended(monitor, epochs, right=None):
    """Return which of `epochs`, each the losses of its validation samples, are the best so far."""
    right = [np.ones(len(losses), bool) for losses in epochs] if right is None else right
    return [monitor.epoch_ended(e, np.array(losses, float), right[e]) for e, losses in enumerate(epochs)]


def test_an_epoch_that_is_clearly_worse_is_not_the_best():
    monitor = Monitor("val_loss", settles=True)
    assert ended(monitor, [[3, 3.1, 3, 3], [1, 1, 1.1, 1], [2, 2.1, 2, 2]]) == [True, True, False]
    assert monitor.best_epoch == monitor.highest_epoch == 1


def test_the_last_epoch_is_the_best_of_those_that_are_level():
    monitor = Monitor("val_loss", settles=True)
    # One sample gets worse, the others better: the mean rises by 0.1, no more than chance.
    assert ended(monitor, [[1, 1, 1, 1, 1], [0.9, 0.8, 0.9, 0.9, 2]]) == [True, True]
    assert (monitor.best_epoch, monitor.highest_epoch) == (1, 0)
    # Each of them a little worse is more than chance.
    assert not monitor.epoch_ended(2, np.array([1.1, 1.11, 1.1, 1.1, 1.1]), np.ones(5, bool))
    assert monitor.best_epoch == 1


def test_epochs_are_compared_with_the_highest_and_not_with_the_last_one_kept():
    monitor, drift = Monitor("val_loss", settles=True), np.array([0.9, -0.5, 0.2, 0.1])
    levels = [np.ones(4) + drift * step for step in range(6)]
    assert ended(monitor, levels) == [True] * 6
    assert monitor.highest_epoch == 0
    assert not monitor.epoch_ended(6, np.full(4, 1.5), np.ones(4, bool))


def test_where_the_rate_stays_high_chance_is_as_good_as_any_reason():
    monitor = Monitor("val_loss", settles=False)
    assert ended(monitor, [[1, 1, 1, 1, 1], [0.9, 0.8, 0.9, 0.9, 2], [1, 1, 1, 1, 1]]) == [True, False, True]
    assert monitor.best_epoch == 2


def test_one_validation_sample_chooses_nothing():
    monitor = Monitor("val_loss", settles=True)
    assert ended(monitor, [[1.0], [5.0]]) == [True, True]
    assert monitor.best_epoch == 1


def test_accuracy_decides_where_it_is_the_monitor():
    monitor = Monitor("val_accuracy", settles=True)
    right = [np.arange(20) < count for count in (10, 19, 18, 8)]
    losses = [np.ones(20), np.ones(20), np.full(20, 9.0), np.zeros(20)]
    assert ended(monitor, losses, right) == [True, True, True, False]
    assert (monitor.best_epoch, monitor.highest_epoch) == (2, 1)


def test_patience_counts_epochs_that_are_worse(capsys):
    monitor = Monitor("val_loss", settles=True)
    gave_up = []
    for epoch, loss in enumerate([1.0, 2.0, 0.5, 1.0, 1.0]):
        monitor.epoch_ended(epoch, np.full(3, loss), np.ones(3, bool))
        gave_up.append(monitor.gives_up(2, epoch))
    assert gave_up == [False, False, False, False, True]
    assert not monitor.gives_up(0, 9)
    assert "worse than in epoch 3 for 2 epochs; stops after 5" in capsys.readouterr().err
    assert monitor.gives_up(1, 4)
    assert "for 1 epoch; stops after 5" in capsys.readouterr().err


def test_a_loss_that_is_no_number_is_never_the_best():
    monitor = Monitor("val_loss", settles=True)
    assert ended(monitor, [[1, 1, 1], [np.nan, np.inf, np.inf], [np.inf, np.inf, np.nan]]) == [True, False, False]
    assert scores(np.array([np.inf, 1.0]), np.array([True, False])) == {
        "val_loss": float(np.finfo(np.float32).max),
        "val_accuracy": 0.5,
    }


def test_without_validation_samples_the_last_epoch_is_kept():
    monitor = Monitor("val_loss", settles=True)
    assert ended(monitor, [[], [], []]) == [True] * 3
    assert monitor.best_epoch == 2
    assert scores(np.empty(0), np.empty(0, bool)) == {"val_loss": None, "val_accuracy": None}


def test_the_error_of_a_mean_is_that_of_numpy():
    values = np.random.default_rng(0).normal(2, 3, 101)
    mean, error = mean_and_error(values)
    assert np.isclose(mean, values.mean())
    assert np.isclose(error, values.std(ddof=1) / 101**0.5)
