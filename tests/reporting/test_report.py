import re
from html.parser import HTMLParser

import pytest

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.reporting import report
from darkroom.reporting.charts import Interval, Line, interval_chart, line_chart
from darkroom.reporting.report_material import Material
from stages import evaluate
from tests.reporting.run import make_run


class Page(HTMLParser):
    """Collects addresses, pictures and headings, and checks that every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.pictures: list[str] = []
        self.headings: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "path", "circle", "link", "br"):
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "action", "srcset"):
                (self.pictures if tag == "img" else self.addresses).append(value)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("report"), ["<cat> & co", "dog"], (200, 60, 80))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(run.root)
        evaluate.main(*run.arguments)
    files.write_json(run.root / "metrics/train.json", {"best_epoch": 2})
    files.write_json(run.root / "metrics/data.json", {"images": 340, "per_class": {"dog": {"train": 100, "val": 30}}})
    rows = [(1, 0.9, 1.0, 0.6, 0.5), (2, 0.5, "", 0.8, "")]
    columns = ("epoch", "train_loss", "val_loss", "train_accuracy", "val_accuracy")
    files.write_csv(run.root / "plots/history.csv", columns, rows)
    return run.root


def test_the_report_is_one_file_without_an_address_outside(run_folder, monkeypatch):
    monkeypatch.chdir(run_folder)
    assert report.main([]) == 0
    text = (run_folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert all(address.startswith("#") for address in page.addresses)
    assert all(re.match(r"data:image/(png|jpeg);base64,", picture) for picture in page.pictures)
    assert not re.search(r"https?://|url\(|@import|<script", text)
    assert len(page.pictures) >= 6


def test_links_to_sections_say_where_they_lead(run_folder, monkeypatch):
    monkeypatch.chdir(run_folder)
    report.main([])
    text = (run_folder / "report.html").read_text(encoding="utf-8")
    keys = re.findall(r'<section id="([^"]*)"><h2>([^<]+)<', text)
    assert len({key for key, _ in keys}) == len(keys) > 5
    assert all(key == "-".join(re.findall("[a-z0-9]+", name.lower())) for key, name in keys)
    assert set(Page(text).addresses) <= {"#" + key for key, _ in keys}


def test_the_report_shows_every_part_that_was_made(run_folder, monkeypatch):
    monkeypatch.chdir(run_folder)
    page = Page(report.page(Material(run_folder)))
    assert set(page.headings) >= {
        "Result", "What training bought", "All metrics", "Learning curves", "Confusion matrix", "Each class",
        "ROC and precision-recall", "Calibration", "Worst errors", "Confused pairs", "Least certain",
        "Likely label errors", "Map of the features", "Data", "Params",
    }  # fmt: skip


def test_names_of_classes_are_text_and_never_markup(run_folder):
    text = report.page(Material(run_folder))
    assert "&lt;cat&gt; &amp; co" in text
    assert "<cat>" not in text


def test_without_metrics_it_says_what_to_run(tmp_path):
    with pytest.raises(DarkroomError, match=r"metrics/test\.json does not exist; run `dvc repro`"):
        Material(tmp_path)


def test_charts_of_nothing_are_nothing():
    assert line_chart([], "x", "y") == ""
    assert line_chart([Line("a", [])], "x", "y") == ""
    assert interval_chart([Interval("a", None, None, None)], "x") == ""


@pytest.mark.parametrize("points", [[(1.0, 0.5)], [(1.0, 0.0), (2.0, 0.0)], [(0.0, -1e-9), (1e6, 3e8)]])
def test_charts_of_any_range_have_a_few_round_ticks(points):
    svg = line_chart([Line("a", points, dots=True)], "epoch", "loss")
    labels = re.findall(r'fill="#71717a">([^<]+)<', svg)
    assert 4 <= len(labels) <= 14
    assert "nan" not in svg


def test_a_run_without_a_test_image_is_reported(tmp_path, monkeypatch):
    run = make_run(tmp_path, ["cat", "dog"], (100, 40, 0))
    monkeypatch.chdir(tmp_path)
    evaluate.main(*run.arguments)
    assert report.main([]) == 0
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "Params" in page.headings
    assert "What training bought" not in page.headings


@pytest.mark.parametrize(
    ("text", "message"),
    [("<<<<<<< HEAD\n{}\n", r"metrics/test\.json is not valid JSON"), ("[1]", "expected a mapping, found \\[1\\]")],
)
def test_metrics_that_cannot_be_read_are_said(tmp_path, text, message):
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/test.json").write_text(text)
    with pytest.raises(DarkroomError, match=message):
        Material(tmp_path)


def test_a_folder_is_no_file_to_write_to(run_folder, monkeypatch, tmp_path):
    monkeypatch.chdir(run_folder)
    with pytest.raises(DarkroomError, match=r"is a folder; name a file, such as .*report\.html"):
        report.main(["--out", str(tmp_path)])


def test_wide_characters_take_two_columns_of_a_chart():
    rows = [Interval(name, 0.5, 0.4, 0.6) for name in ("猫猫猫猫猫", "abcdefghij")]
    wide, narrow = (interval_chart([row], "x") for row in rows)
    assert wide.replace("猫猫猫猫猫", "abcdefghij") == narrow
    cut = interval_chart([Interval("犬" * 40, 0.5, 0.4, 0.6)], "x")
    assert re.findall("犬+…?", cut) == ["犬" * 10 + "…"]
