"""The rules of a race, on answers made for the purpose."""

import numpy as np
import pytest

from darkroom.search.standings import Standing, advised, against, figure, in_words, largest_class, lost, table


def standing(name: str, right: list[int], rate: float, n: int = 200, losses: float = 0.1) -> Standing:
    """Return a body that answers `right` of `n` images, those with these numbers."""
    mask = np.zeros(n, bool)
    mask[right] = True
    ids = [f"{number:03d}" for number in range(n)]
    return Standing(name, ids, mask, np.full(n, losses), 100.0, rate, 9.0, 1_000_000, "MIT")


BEST = standing("best", [*range(190)], 10)
LEVEL = standing("level", [*range(187)], 40)
WORSE = standing("worse", [*range(150)], 90)
WORST = standing("worst", [*range(120)], 99)


def test_the_advice_is_the_fastest_of_those_at_most_half_a_point_behind_the_best():
    close = standing("close", [*range(189)], 30)
    assert advised([WORSE, close, BEST, WORST]) == (BEST, close)
    assert advised([WORSE, LEVEL, BEST, close]) == (BEST, close)  # level, for the noise of 200 images, yet 1.5 points
    assert advised([WORSE, BEST]) == (BEST, BEST)
    assert advised([standing("a", [*range(190)], 5, losses=0.2), BEST])[0] is BEST  # the log loss between equals


def test_always_answering_the_largest_class_is_beaten_or_not():
    labels = {name: "a" if number < 190 else "b" for number, name in enumerate(BEST.ids)}
    assert largest_class(BEST, labels) == ("a", 0.95)
    assert largest_class(standing("all", [*range(200)], 10), labels) is None


def test_a_round_loses_those_in_the_lower_half_that_are_worse_beyond_noise():
    assert lost([BEST, LEVEL, WORSE, WORST]) == [WORSE, WORST]
    assert lost([BEST, WORSE, WORST]) == [WORST]  # the upper half goes on in any case
    assert lost([BEST, LEVEL]) == []


def test_bodies_are_compared_on_the_images_that_both_answered():
    few = Standing("few", BEST.ids[150:], BEST.right[150:].copy(), np.full(50, 0.1), 1.0, 1.0, 1.0, 1, "MIT")
    few.right[:3] = False
    pair = against(BEST, [few])[0]
    assert pair.difference == pytest.approx(-3 / 50)
    assert pair.low < pair.difference < pair.high
    assert not pair.worse


def test_the_table_says_how_sure_each_figure_is_and_the_figure_shows_every_body():
    frame = table([LEVEL, BEST], [[LEVEL, BEST, WORST]])
    assert list(frame["verdict"]) == ["best", "level", "worse, out"]
    text = in_words(frame)
    assert "95.0 (90.9 to 97.4)" in text
    assert "-1.5 (-3.4 to +0.4)" in text
    assert "level, licence: MIT" in text
    assert "9.0 MB, 1.0 M parameters; images a second: 100 in batches, 40 singly" in text
    assert text.count("0.100") == 3  # the log loss
    assert max(map(len, text.splitlines())) <= 80
    axes = figure(frame, "level").axes[0]
    assert [each.get_text() for each in axes.texts] == ["1", "2", "3"]
    edges = [each.lines[0].get_markeredgecolor() for each in axes.containers]
    assert [edge == "black" for edge in edges] == [False, True, False]  # the one that is advised
    assert axes.containers[2].lines[0].get_markerfacecolor() == "white"  # the one that is out
    assert "Holm" not in text


def test_a_body_that_is_out_is_compared_with_the_best_as_it_stood_then():
    early = [standing("best", [*range(80)], 10, n=100), standing("early", [*range(60)], 10, n=100)]
    row = table([BEST], [early]).iloc[1]  # of the first 100 images the best answers all, at the end
    assert (row["images"], row["verdict"]) == (100, "worse, out")
    assert row["vs best"] == pytest.approx(-0.2)


def test_the_columns_of_the_table_stand_below_their_heads_with_wide_figures_too():
    whole, none = standing("whole", [*range(200)], 10), standing("none", [*range(60)], 10)
    lines = in_words(table([whole, none], [])).splitlines()
    assert "100.0 (97.7 to 100.0)" in lines[2]
    assert "-70.0 (-75.7 to -62.9)" in lines[5]
    assert {lines[0].index("verdict"), lines[2].index("best"), lines[5].index("worse")} == {lines[0].index("verdict")}


def test_the_labels_of_the_figure_are_the_heights_they_stand_at():
    axes = figure(table([standing(str(n), [*range(195 - 2 * n)], 9 + n) for n in range(12)], []), "0").axes[0]
    ticks = axes.yaxis.get_majorticklocs()  # steps of 2.5 %
    read = [float(axes.yaxis.get_major_formatter()(tick).rstrip("%")) for tick in ticks]
    assert read == pytest.approx(100 * ticks)


def test_the_table_explains_an_interval_without_zero_beside_the_verdict_level():
    alone, among = ([BEST, *(standing(str(n), [*range(184)], n) for n in range(count))] for count in (1, 4))
    assert list(table(alone, [])["verdict"]) == ["best", "worse"]
    assert list(table(among, [])["verdict"]) == ["best", *["level"] * 4]
    assert in_words(table(among, [])).endswith("(Holm), an interval for its own alone")
