"""The range test on real digits, and its reading of curves whose answer is known."""

import numpy as np
import pytest

from darkroom.core.errors import DarkroomError
from darkroom.core.params import load
from darkroom.search import lr_find
from darkroom.search.lr_find import valley
from darkroom.training.recipe import Recipe
from tests.training.small import write_data, write_params


@pytest.fixture
def project(tmp_path, monkeypatch):
    write_data(tmp_path, train=200, val=20, test=10)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKROOM_THREADS", "1")
    return tmp_path


@pytest.mark.parametrize("changes", [{}, {"freeze": "none"}, {"thaw_epoch": 2}])
def test_it_suggests_a_rate_and_draws_the_curve(project, changes, capsys):
    write_params(project, **changes)
    assert lr_find.main(["--steps", "60", "--out", "curve.png"]) == 0
    said = capsys.readouterr().out
    suggested = float(said.split("suggested lr: ")[1].split()[0])
    assert 1e-5 < suggested < 3
    assert f"dvc exp run -S lr={suggested:.1e}" in said
    assert (project / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_thawed_network_is_tested_at_the_rate_that_it_would_have(project):
    """The last phase learns at lr times thaw_lr_factor: a tenth of the factor is the same as ten times the rate."""

    def curve(factor, low, high):
        write_params(project, thaw_epoch=2, thaw_lr_factor=factor)
        return lr_find.range_test(load(Recipe), 20, low, high)

    (rates, losses), (scaled, same) = curve(1.0, 1e-4, 1e-2), curve(0.1, 1e-3, 1e-1)
    np.testing.assert_allclose(scaled, 10 * rates)
    np.testing.assert_allclose(same, losses, rtol=1e-4)


def test_the_suggestion_lies_where_the_loss_falls():
    rates = np.logspace(-6, 1, 200)
    losses = 2 - 1.8 / (1 + (1e-3 / rates) ** 1.5) + np.where(rates > 0.3, (rates / 0.3) ** 2 - 1, 0)
    assert 1e-4 < valley(rates, losses) < 1e-2


def test_a_loss_that_never_falls_is_an_error():
    with pytest.raises(DarkroomError, match="the loss never fell"):
        valley(np.logspace(-6, 1, 50), np.linspace(1, 5, 50))


def test_wrong_limits_are_refused(project):
    write_params(project)
    with pytest.raises(DarkroomError, match="expected 0 < --low < --high"):
        lr_find.main(["--low", "1", "--high", "0.1"])
