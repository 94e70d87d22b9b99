"""The registry of metrics: every score has a row, and one row is all that a new score needs."""

import numpy as np
import pytest

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.metrics import registry
from darkroom.metrics.predictions import Predictions
from darkroom.metrics.registry import Interval, Metric
from darkroom.metrics.scores import Scorer
from darkroom.metrics.summary import headline, summarise
from darkroom.reporting import report
from darkroom.reporting.card import model_card
from darkroom.reporting.compare import as_markdown, as_text
from darkroom.reporting.comparison import compare
from darkroom.reporting.runs import Run
from darkroom.training import folds
from tests.metrics.made import draw, predictions

CONFIG = {"classes": ["cat", "dog"], "backbone": "small", "image_size": 8, "framing": {"size": 8}, "versions": {}}


@pytest.fixture
def error_rate(monkeypatch):
    """Return a score that is new: the share of wrong answers, in `Scorer.plain` and a row of the registry."""
    plain = Scorer.plain

    def with_error_rate(self: Scorer, weights: np.ndarray) -> dict[str, np.ndarray]:
        wrong = (weights * ~self.correct).sum(axis=1) / weights.sum(axis=1)
        return plain(self, weights) | {"error_rate": wrong}

    monkeypatch.setattr(Scorer, "plain", with_error_rate)
    row = Metric("error_rate", "share of errors", Interval.SHARE, higher_is_better=False, main=True, headline=True)
    monkeypatch.setattr(registry, "METRICS", (*registry.METRICS, row))
    return row


def answers() -> Predictions:
    return predictions(*draw(60, 3))


def test_every_score_has_a_row_and_every_row_a_score():
    scorer, once = predictions(*draw(80, 8)).scorer, np.ones((1, 80))
    plain, ranked = scorer.plain(once).keys() - {"f1_by_class"}, scorer.ranked(once).keys()
    assert {row.key for row in registry.METRICS} == plain | ranked
    assert {row.key for row in registry.METRICS if row.ranked} == ranked
    assert len({row.key for row in registry.METRICS}) == len(registry.METRICS)


def test_a_score_without_a_row_is_reported_with_what_to_do(error_rate, monkeypatch):
    monkeypatch.setattr(registry, "METRICS", registry.METRICS[:-1])
    with pytest.raises(DarkroomError, match=r"'error_rate' has no row in darkroom/metrics/registry\.py; add one"):
        summarise(answers(), seed=0, count=10)


def test_a_new_row_appears_in_the_metrics_files(error_rate):
    table = summarise(answers(), seed=0, count=10)
    assert table["error_rate"] == pytest.approx(1 - table["accuracy"], abs=1e-6)
    assert table["error_rate_low"] == pytest.approx(1 - table["accuracy_high"], abs=1e-6)
    assert headline(table)["error_rate"] == table["error_rate"]


def test_a_new_row_appears_in_the_comparison_with_its_label_and_direction(error_rate):
    runs = [Run(name, {}, {}, answers()) for name in ("old", "new")]
    found = compare(*runs, {})
    assert found.rows[-1].name == "error_rate"
    assert found.rows[-1].direction == -1
    assert "share of errors" in as_text(found, 5)
    assert "|share of errors|" in as_markdown(found, 5)


def test_a_new_row_appears_on_the_model_card_after_the_others(error_rate):
    scores = {"n": 60, "accuracy": 0.75, "ece": 0.1, "error_rate": 0.25}
    export = {"agreement": {"n": 60, "max_difference": 1e-6, "other_class": 0}}
    text = model_card({}, CONFIG, {"name": "pets"}, scores, export, {"body": "1"})
    assert text.index("| expected calibration error | 0.1000") < text.index("| share of errors | 0.2500")
    assert '"type": "error_rate"' in text


def test_a_new_row_appears_in_the_report_at_the_top_and_in_the_table(error_rate, tmp_path):
    files.write_json(tmp_path / "metrics/test.json", summarise(answers(), seed=0, count=10))
    files.write_text(tmp_path / "params.yaml", "source: pets\n")
    page = report.page(tmp_path)
    assert "<dt>share of errors</dt>" in page
    assert '<th scope="row">share of errors</th>' in page


def test_a_new_row_appears_in_the_cross_validation(error_rate):
    others = {row.key: 0.8 for row in registry.headline()}
    results = [others | {"fold": fold, "n": 10, "error_rate": 0.2 + 0.1 * fold} for fold in range(2)]
    found = folds.summary(results)
    assert found["error_rate"] == 0.25
    assert found["error_rate_low"] == 0 <= found["error_rate_high"]
