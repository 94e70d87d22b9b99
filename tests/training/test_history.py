from darkroom.training.history import Monitor


def row(loss, accuracy):
    return {"val_loss": loss, "val_accuracy": accuracy}


def test_the_lowest_loss_is_the_best():
    monitor = Monitor("val_loss")
    assert [monitor.epoch_ended(epoch, row(loss, 0.5)) for epoch, loss in enumerate([3, 1, 2])] == [True, True, False]
    assert monitor.best_epoch == 1


def test_equal_accuracies_are_told_apart_by_the_loss():
    monitor = Monitor("val_accuracy")
    better = [monitor.epoch_ended(e, row(*r)) for e, r in enumerate([(0.5, 0.9), (0.4, 0.9), (0.1, 0.8), (0.4, 0.9)])]
    assert better == [True, True, False, False]


def test_patience_counts_epochs_since_the_best():
    monitor = Monitor("val_loss")
    gave_up = []
    for epoch, loss in enumerate([1.0, 2.0, 0.5, 1.0, 1.0]):
        monitor.epoch_ended(epoch, row(loss, 0.5))
        gave_up.append(monitor.gives_up(2, epoch))
    assert gave_up == [False, False, False, False, True]
    assert not monitor.gives_up(0, 9)


def test_without_validation_samples_the_last_epoch_is_kept():
    monitor = Monitor("val_loss")
    assert [monitor.epoch_ended(epoch, row(None, None)) for epoch in range(3)] == [True] * 3
    assert monitor.best_epoch == 2
