"""Excel files beside images: titles, sheets, merged cells and numbers as they are shown."""

import io

import openpyxl  # type: ignore[import-untyped]
import pytest

from tests.sources.planting import FOUR, TWO_TWO, plant, read, summary


def workbook(root, rows, merged=(), before=(), sheets=()):
    """Save an Excel file: `before` rows of a title, `merged` ranges, and further `sheets` in front."""
    book = openpyxl.Workbook()
    sheet = book.active
    for row in (*before, *rows):
        sheet.append(row)
    for cells in merged:
        sheet.merge_cells(cells)
    for title in sheets:
        book.create_sheet(title, 0).append(["about", "this set"])
    data = io.BytesIO()
    book.save(data)
    (root / "labels.xlsx").write_bytes(data.getvalue())


ROWS = [["image", "label"], ["1.jpg", "cat"], ["2.jpg", "cat"], ["3.jpg", "dog"], ["4.jpg", "dog"]]


@pytest.mark.parametrize("facts", [
    {"before": [["Survey 2023"], []]}, {"before": [["Survey", None, None]]}, {"sheets": ["about"]},
    {"before": [["Survey 2023", None]], "merged": ["A1:B1"]},
], ids=["title", "title in a wide sheet", "sheet in front", "merged title"])  # fmt: skip
def test_excel_with_titles_and_sheets(tmp_path, facts):
    plant(tmp_path, FOUR)
    workbook(tmp_path, ROWS, **facts)
    assert summary(read(tmp_path)) == TWO_TWO


def test_merged_cells_of_excel_hold_their_label_in_each_row(tmp_path):
    plant(tmp_path, FOUR)
    rows = [["image", "label"], ["1.jpg", "cat"], ["2.jpg", None], ["3.jpg", "dog"], ["4.jpg", None]]
    workbook(tmp_path, rows, merged=["B2:B3", "B4:B5"])
    assert summary(read(tmp_path)) == TWO_TWO


@pytest.mark.parametrize(("titles", "expected"), [
    (("train", "test"), "cat 2, dog 2 | test 2, train 2"), (("Sheet1", "Sheet2"), "cat 2, dog 2"),
])  # fmt: skip
def test_sheets_with_one_header_are_parts_of_one_table(tmp_path, titles, expected):
    plant(tmp_path, FOUR)
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in zip(titles, (ROWS[1::2], ROWS[2::2]), strict=True):
        sheet = book.create_sheet(title)
        for row in (ROWS[0], *rows):
            sheet.append(row)
    book.save(tmp_path / "labels.xlsx")
    found = read(tmp_path)
    assert summary(found) == expected
    assert f"labels.xlsx has 2 sheets; {titles[0]}, {titles[1]} are read" in found.notes


def test_numbers_of_excel_stay_as_they_are_shown(tmp_path):
    plant(tmp_path, FOUR)
    workbook(tmp_path, [["id", "label"], [1, 0], [2, 0], [3, 1], [4, 1]])
    assert summary(read(tmp_path)) == "0 2, 1 2"
