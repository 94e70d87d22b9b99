import numpy as np
import pytest
from PIL import Image

from darkroom.reporting import gallery, sheets
from darkroom.reporting.confusion import confusion_sheet
from darkroom.reporting.gallery import Photos
from tests.metrics.made import draw, predictions


def photos(count: int, classes: int, size: int = 16) -> Photos:
    own = predictions(*draw(count, classes))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, size, size, 3), np.uint8)
    return Photos(own, [f"a folder with a long name/{n}.jpg" for n in range(count)], lambda rows: images[rows])


def test_worst_errors_are_ordered_by_their_confidence():
    own = photos(200, 4).predictions
    order = gallery.worst_order(own)
    assert (np.diff(own.scorer.confidence[order]) <= 0).all()
    assert not own.scorer.correct[order].any()
    assert len(order) == (~own.scorer.correct).sum()


@pytest.mark.parametrize("draw_sheet", [gallery.worst_errors, gallery.least_certain, gallery.confused_pairs])
@pytest.mark.parametrize(("count", "classes", "size"), [(1, 2, 16), (80, 2, 16), (300, 40, 224)])
def test_sheets_are_as_wide_as_their_columns(draw_sheet, count, classes, size):
    sheet = draw_sheet(photos(count, classes, size))
    assert sheet.width == sheets.GAP + 6 * (sheets.SIDE + sheets.GAP)
    assert sheet.height > 40


def test_the_first_picture_of_a_sheet_is_that_of_the_worst_error():
    own = photos(200, 4, sheets.SIDE)
    drawn = np.asarray(gallery.worst_errors(own))
    worst = own.image(gallery.worst_order(own.predictions)[0])
    corner = (drawn[:, sheets.GAP :] == worst[0, 0]).all(axis=2)[:, 0].argmax()
    assert (drawn[corner : corner + sheets.SIDE, sheets.GAP : sheets.GAP + sheets.SIDE] == worst).all()


def test_without_errors_the_sheet_says_so():
    perfect = predictions(np.arange(4), np.eye(4))
    sheet = gallery.worst_errors(Photos(perfect, ["a"] * 4, lambda rows: np.zeros((len(rows), 8, 8, 3), np.uint8)))
    assert sheet.height < 100


def test_paths_that_the_font_cannot_write_stay_different():
    own = photos(4, 2)
    own.locations[1:3] = ["猫/6.png", "犬/6.png"]
    assert [own.tile(row).lines[-1][0] for row in (1, 2)] == ["#2 /6.png", "#3 /6.png"]


def test_two_looks_are_of_right_and_of_wrong_answers():
    own = photos(100, 4).predictions
    right, wrong = gallery.to_look_at(own)
    assert own.scorer.correct[right].all()
    assert not own.scorer.correct[wrong].any()
    assert len({own.labels[place] for place in right}) >= 3


@pytest.mark.parametrize(("classes", "seen"), [(2, 2), (6, 6), (30, 6)])
def test_right_answers_that_are_looked_at_are_of_as_many_classes_as_fit(classes, seen):
    perfect = predictions(np.arange(90) % classes, np.eye(classes)[np.arange(90) % classes])
    right, wrong = gallery.to_look_at(perfect)
    assert (len(right), len(wrong)) == (gallery.LOOKED_AT, 0)
    assert len({perfect.labels[place] for place in right}) == seen


def test_pngs_depend_on_their_pixels_alone(tmp_path):
    for name in "ab":
        sheets.save_png(tmp_path / f"{name}.png", gallery.worst_errors(photos(50, 3)))
        sheets.save_png(tmp_path / f"{name}-m.png", confusion_sheet(np.eye(3, dtype=int) * 5, ["a", "$b$", "c"]))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a-m.png").read_bytes() == (tmp_path / "b-m.png").read_bytes()


@pytest.mark.parametrize("end", ["\n", "\r", "\x1c", "\x85", "\u2028", "\u2029"])
def test_a_line_end_in_a_name_is_drawn_as_a_blank(end):
    def sheet(sign: str) -> Image.Image:
        tile = sheets.Tile([np.zeros((16, 16, 3), np.uint8)], [(f"a{sign}cat", sheets.INK)])
        return sheets.draw_sheet(f"of a{sign}cat", [sheets.Group([tile], f"a{sign}cat")])

    assert sheet(end).tobytes() == sheet(" ").tobytes()
