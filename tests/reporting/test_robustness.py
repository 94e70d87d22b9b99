import re

import numpy as np
import pytest
from PIL import Image

from darkroom.core.runtime import from_environment
from darkroom.metrics.answers import Answerer
from darkroom.reporting import report
from darkroom.reporting.evaluation import Material
from darkroom.reporting.robustness import CORRUPTIONS, robustness
from stages import evaluate
from tests.images.pictures import photos
from tests.reporting.run import make_run


def differences(kind: str) -> list[float]:
    """How far a photo is from itself at each severity, in grey levels on average."""
    corrupt, strengths = CORRUPTIONS[kind]
    image = photos()[6]
    spoilt = [corrupt(image, strength, np.random.default_rng(0)) for strength in strengths]
    assert all(found.size == image.size and found.mode == "RGB" for found in spoilt)
    return [float(np.abs(np.asarray(found, float) - np.asarray(image, float)).mean()) for found in spoilt]


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_each_severity_spoils_more_than_the_one_before(kind):
    found = differences(kind)
    assert 1 < found[0] < found[1] < found[2]


def test_what_is_spoilt_is_the_picture_and_not_its_frame():
    image = Image.new("RGB", (64, 64), (200, 100, 50))
    for kind in ("blur", "small size"):
        corrupt, strengths = CORRUPTIONS[kind]
        spoilt = np.asarray(corrupt(image, strengths[2], np.random.default_rng(0)), int)
        assert np.abs(spoilt - np.asarray(image, int)).max() <= 4, kind
    darkest = CORRUPTIONS["darkness"]
    assert np.asarray(darkest[0](image, darkest[1][2], np.random.default_rng(0))).max() == 50


def test_the_report_has_accuracy_by_severity_only_when_asked(tmp_path, monkeypatch):
    run = make_run(tmp_path, counts=(300, 60, 90))
    monkeypatch.chdir(tmp_path)
    evaluate.main(*run.arguments)
    assert "spoilt" not in report.page(tmp_path)
    text = report.page(tmp_path, robust=True)
    assert "accuracy by severity" in text
    table = text[text.index('aria-label="Accuracy on spoilt test images"') :].partition("</table>")[0]
    rows = re.findall(r'<tr><th scope="row">(.+)</th>(.+)</tr>', table)
    assert [kind for kind, _ in rows] == list(CORRUPTIONS)
    assert all(len(re.findall(r"[\d.]+.%<br>[\d.]+.% to [\d.]+.%</td>", cells)) == 3 for _, cells in rows)


def test_untouched_images_are_answered_as_evaluate_does_and_the_same_twice(tmp_path, monkeypatch):
    run = make_run(tmp_path, counts=(300, 60, 90))
    monkeypatch.chdir(tmp_path)
    answerer = Answerer(*run.arguments[:4], from_environment())
    material = Material(answerer, answerer.answers("test"), answerer.answers("val"), {})
    rows = robustness(material)
    assert rows == robustness(material)
    whole = float(material.test.predictions.scorer.correct.mean())
    assert {row.accuracy for row in rows if row.severity == 0} == {whole}
    assert min(row.accuracy for row in rows) < whole - 0.1
    assert all(row.low <= row.accuracy <= row.high for row in rows)
