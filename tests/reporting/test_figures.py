"""Names in figures: what the font lacks is numbered as in labels.txt, and long names stay distinct."""

import warnings

import numpy as np
import pytest
from PIL import Image, ImageDraw

from darkroom.reporting.charts import risk_coverage
from darkroom.reporting.confusion import confusion_sheet
from darkroom.reporting.figures import caption_names, names_in_lines
from darkroom.reporting.sheets import font, save_png


def test_classes_that_the_font_cannot_draw_have_their_number():
    assert caption_names(["日本", "cat", "犬 dog", "🐶"]) == ["#1", "cat", "#3 dog", "#4"]
    assert caption_names(["ünï", "Ωμέγα", "кот", "$5"]) == ["ünï", "Ωμέγα", "кот", "$5"]

    assert caption_names(["a\u202egnp.\x1b/1.png"]) == ["a\\u202egnp.\\x1b/1.png"]


def test_a_name_in_hebrew_keeps_its_figure_behind_it():
    assert names_in_lines(["עברית", "cat"]) == ["\u200eעברית\u200e", "cat"]
    for name, more in zip(names_in_lines(["עברית", "عربي"]), (" (73.8 %)", ": 2×"), strict=True):
        alone, whole = (np.asarray(written(text)) for text in (name, name + more))
        width = np.flatnonzero(alone.any(0))[-1] + 1
        assert np.array_equal(alone[:, :width], whole[:, :width])


def written(text):
    line = Image.new("L", (300, 30))
    ImageDraw.Draw(line).text((4, 4), text, 255, font(16))
    return line


@pytest.mark.parametrize(
    "names", [["日本", "中国", "🐶"], [f"class number {i} of a very long species" for i in range(9)]]
)
def test_a_figure_of_any_names_is_drawn_without_a_missing_glyph(tmp_path, names):
    counts = np.eye(len(names), dtype=int) * 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_png(tmp_path / "confusion.png", confusion_sheet(counts, names))
    assert (tmp_path / "confusion.png").stat().st_size > 1000


def test_no_axis_of_accuracy_goes_beyond_always():
    chart = risk_coverage([{"answered": "0.5", "accuracy": "1.0"}, {"answered": "1.0", "accuracy": "1.0"}])
    assert "1.00<" in chart
    assert "1.02<" not in chart
