"""Settings of a training that contradict each other."""

import dataclasses

import pytest

from darkroom.core.errors import ParamsError
from tests.training.recipes import recipe


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"freeze": "none", "thaw_epoch": 1}, "thaw_epoch has nothing to thaw"),
        ({"thaw_epoch": 4}, "thaw_epoch is 4, expected less than epochs"),
        ({"warmup_epochs": 2.5}, r"warmup_epochs is 2.5, expected at most half of epochs \(4\)"),
        (
            {"warmup_epochs": 1.0, "schedule": "onecycle"},
            "onecycle rises from a low rate by itself",
        ),
        (
            {"patience": 3, "schedule": "plateau"},
            "patience: 3 ends the training before schedule: plateau",
        ),
        ({"cutmix": 1.0}, "cutmix pastes images, and with freeze: backbone none are seen"),
        ({"lr_decay": 0.5}, "lr_decay acts on the backbone's layers"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes, message):
    with pytest.raises(ParamsError, match=message):
        recipe(**changes).check()
    assert dataclasses.asdict(recipe(**changes))
