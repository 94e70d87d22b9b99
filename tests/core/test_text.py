"""Names that anyone may choose: one line in every medium, without markup of their own; short and still distinct."""

import json
import re

import pytest

from darkroom.core.text import decimal, escape, json_line, one_line, percent, shortened

HOSTILE = [
    "<img src=x onerror=alert(1)>", "cat\n\n## Metrics\n\n| a | b |", "\x1b[2K\rphoto.jpg: cat 100.0 %", "a|b`c`*d*",
    "\u202egpj.exe", "[link](http://x)", "www.x.org @team", "a\x00b\x7f\x9b", "$x^2$", "tab\there", "\ud83d",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("medium", ["markdown", "terminal", "html"])
def test_a_name_is_one_line_without_control_characters(name, medium):
    text = escape(name, medium)
    assert len(text.splitlines()) == 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e]", text)
    text.encode()


@pytest.mark.parametrize("name", HOSTILE)
def test_no_markup_of_a_name_is_left(name):
    assert not re.search(r"<|(?<!\\)[*`|\[\]]", escape(name, "markdown"))
    assert not re.search(r"[<>\"]", escape(name, "html"))


def test_json_shows_no_mark_of_direction_and_means_the_same():
    record = {"file": "a\u202eb\x9b\U000e0041\udcff", "class": "日本 👩‍🚀 é"}
    line = json_line(record)
    assert json.loads(line) == record
    assert line == r'{"file": "a\u202eb\u009b\udb40\udc41\udcff", "class": "日本 👩‍🚀 é"}'


def test_a_terminal_shows_what_a_line_end_would_hide():
    assert escape("a\nb", "terminal") == r"a\nb"
    assert escape("\x1b[31mred", "terminal") == r"\x1b[31mred"
    assert one_line("a\nb\r\nc") == "a b c"


@pytest.mark.parametrize("name", ["cat", "日本", "émile", "👩‍👧", "Ñandú 3.5 %", "می‌خواهم"])
def test_ordinary_names_stay_as_they_are_in_a_terminal(name):
    assert escape(name, "terminal") == name


@pytest.mark.parametrize(
    "names",
    [
        [f"class number {i} of a very long species" for i in range(25)],
        [f"a very long name that ends in {i}" for i in range(25)],
        [f"{i} begins a very long name of a species" for i in range(25)],
        ["Canis lupus familiaris, white, small, young", "Canis lupus familiaris, black, small, young"],
        ["x" * 100 + c + "y" * 100 + d + "z" * 100 for c in "ab" for d in "ab"],
        ["a" * 40, "a" * 41, "a" * 42],
    ],
)
@pytest.mark.parametrize("most", [12, 18, 26])
def test_long_names_stay_distinct(names, most):
    short = shortened(names, most)
    assert len(set(short)) == len(names)
    assert max(map(len, short)) <= most


def test_short_names_are_not_cut():
    assert shortened(["cat", "dog", "cat"], 12) == ["cat", "dog", "cat"]
    names = ["class number 7 of a very long species", "class number 8 of a very long species"]
    assert shortened(names, 16) == ["class number 7…", "class number 8…"]
    assert shortened(names, 10) == ["…number 7…", "…number 8…"]


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100 %"), (0.99984, ">99.9 %"), (0.9994, "99.9 %"), (0.5, "50.0 %"), (0.0001, "<0.1 %"), (0, "0 %")],
)
def test_nearly_certain_is_not_called_certain(share, text):
    assert percent(share) == text


def test_a_figure_is_not_rounded_up_to_one():
    assert [decimal(value) for value in (0.99997, 1.0, 1.00004, None)] == ["0.9999", "1.0000", "1.0000", "–"]
