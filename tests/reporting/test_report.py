import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.reporting import pictures, report
from stages import evaluate
from tests.reporting.run import make_run

VOID = {"meta", "img", "link", "br", "input", "path", "use", "rect"}


class Page(HTMLParser):
    """Collects addresses, pictures, headings, ids and the script's data, and checks that every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.pictures: list[str] = []
        self.headings: list[str] = []
        self.ids: list[str] = []
        self.data = ""
        self.open: list[str] = []
        self.feed(text)
        self.shown = json.loads(self.data)

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href", "action", "srcset"):
                (self.pictures if tag == "img" else self.addresses).append(value)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)
        if self.open and self.open[-1] == "script" and data.startswith("{"):
            self.data += data


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("report"), ["<cat> & co", "dog"], (200, 60, 80))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(run.root)
        evaluate.main(*run.arguments)
    files.write_json(run.root / "metrics/train.json", {"best_epoch": 2})
    data = {
        "images": 340,
        "per_class": {"dog": {"train": 100, "val": 30}},
        "notes": ["a <b>; `label_pattern` joins them"],
    }
    files.write_json(run.root / "metrics/data.json", data)
    rows = [(1, 0.9, 1.0, 0.6, 0.5), (2, 0.5, "", 0.8, "")]
    columns = ("epoch", "train_loss", "val_loss", "train_accuracy", "val_accuracy")
    files.write_csv(run.root / "plots/history.csv", columns, rows)
    return run.root


@pytest.fixture(scope="module")
def page(run_folder):
    return Page(report.page(run_folder))


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (None, "The weights of epoch 2 were kept."),
        (0.0, "The weights of epoch 2 were kept, the head alone."),
        (0.75, "The weights 75.0 % of the way from the head alone to those of epoch 2 were kept."),
        (1.0, "The weights of epoch 2 were kept."),
    ],
)
def test_the_report_says_which_weights_were_kept(run_folder, share, said):
    path = run_folder / "metrics/train.json"
    before = files.read_json(path)
    files.write_json(path, before | ({} if share is None else {"tuned_share": share}))
    written = report.page(run_folder)
    files.write_json(path, before)
    assert said in written.replace("\N{NO-BREAK SPACE}", " ")


def test_the_report_is_one_file_without_an_address_outside(run_folder, monkeypatch):
    monkeypatch.chdir(run_folder)
    assert report.main([]) == 0
    text = (run_folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert all(address.startswith("#") for address in page.addresses)
    sources = [*page.pictures, *(shot["src"] for shot in page.shown["shots"])]
    assert len(sources) >= 80
    assert all(re.match(r"data:image/(png|webp);base64,", picture) for picture in sources)
    assert not re.search(r"https?://(?!www\.w3\.org/)|url\((?!#)|@import", text)
    assert "default-src 'none'" in text  # the browser holds the page to it


def test_links_lead_to_what_is_there(page):
    assert len(set(page.ids)) == len(page.ids)
    assert {address.split("?")[0] for address in page.addresses} <= {f"#{key}" for key in page.ids}


def test_the_report_shows_every_part_that_was_made(page):
    assert page.headings == [
        "Summary", "Pictures", "Confusion", "Classes", "Calibration and ranking", "When to doubt an answer",
        "Training", "Map", "Data", "Weak spots", "Limits", "All numbers",
    ]  # fmt: skip


def test_every_wrong_picture_stands_in_it_once(page, run_folder):
    answers = list(files.read_csv(run_folder / "plots/predictions.csv"))
    wrong = sum(row["label"] != row["predicted"] for row in answers)
    shown = [shot for shot in page.shown["shots"] if "v" not in shot]
    assert sum(shot["l"] != shot["a"] for shot in shown) == wrong == page.shown["wrong"]
    assert len({shot["f"] for shot in shown}) == len(shown) == 80
    assert all(shot["l"] != shot["a"] for shot in shown[:wrong])


def test_a_wrong_picture_brings_its_probabilities_its_neighbours_and_where_the_model_looked(page):
    shot = page.shown["shots"][0]
    assert shot["p"][0][0] == shot["a"] != shot["l"]
    assert sum(share for _, share in shot["p"]) == pytest.approx(1, abs=1e-3)
    assert len(shot["n"]) == pictures.NEIGHBOURS
    assert shot["h"].startswith("data:image/png")


def test_names_of_classes_are_text_and_never_markup(run_folder):
    text = report.page(run_folder)
    assert "&lt;cat&gt; &amp; co" in text
    assert "<li>a &lt;b&gt;; <code>label_pattern</code> joins them</li>" in text
    assert "<cat>" not in text
    assert Page(text).shown["classes"][0] == "<cat> & co"


def test_no_mapping_is_shown_as_python_writes_it(run_folder):
    text = report.page(run_folder)
    assert not re.search(r"\{(&#39;|&#34;)|: (None|True|False)\b", text)


def test_pictures_stay_within_their_bytes_and_the_wrong_ones_come_first(run_folder, monkeypatch):
    monkeypatch.setattr(pictures, "BYTES", 6000)
    shown = Page(report.page(run_folder)).shown
    sources = [picture[key] for picture in (*shown["shots"], *shown["near"]) for key in ("src", "h") if key in picture]
    assert sum(len(base64.b64decode(source.partition(",")[2])) for source in sources) < 6500
    assert 0 < len(shown["shots"]) < 80
    assert shown["shots"][0]["l"] != shown["shots"][0]["a"]


def test_large_pictures_are_scaled_and_small_ones_are_kept_to_the_pixel():
    rng = np.random.default_rng(0)
    for size, shown in ((28, 28), (64, 64), (96, 80), (300, 80)):
        image = rng.integers(0, 256, (size, size, 3), np.uint8)
        with Image.open(io.BytesIO(pictures.encoded(image, 80))) as picture:
            assert picture.size == (shown, shown)
            if size == shown:
                assert (np.asarray(picture.convert("RGB")) == image).all()


def test_without_metrics_it_says_what_to_run(tmp_path):
    with pytest.raises(DarkroomError, match=r"metrics/test\.json does not exist; run `dvc repro`"):
        report.page(tmp_path)


def test_without_the_images_it_says_how_to_get_them(run_folder, tmp_path):
    for name in ("metrics/test.json", "plots/predictions.csv", "params.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((run_folder / name).read_bytes())
    text = report.page(tmp_path)
    assert "The test images and the classifier are not in this folder" in text
    assert Page(text).shown["shots"] == []


def test_a_run_without_a_test_image_is_reported(tmp_path, monkeypatch):
    run = make_run(tmp_path, ["cat", "dog"], (100, 40, 0))
    monkeypatch.chdir(tmp_path)
    evaluate.main(*run.arguments)
    assert report.main([]) == 0
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "All numbers" in page.headings
    assert "Training" not in page.headings


@pytest.mark.parametrize(
    ("text", "message"),
    [("<<<<<<< HEAD\n{}\n", r"metrics/test\.json is not valid JSON"), ("[1]", "expected a mapping, found \\[1\\]")],
)
def test_metrics_that_cannot_be_read_are_said(tmp_path, text, message):
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/test.json").write_text(text)
    with pytest.raises(DarkroomError, match=message):
        report.page(tmp_path)


def test_a_folder_is_no_file_to_write_to(run_folder, monkeypatch, tmp_path):
    monkeypatch.chdir(run_folder)
    with pytest.raises(DarkroomError, match=r"is a folder; name a file, such as .*report\.html"):
        report.main(["--out", str(tmp_path)])


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "none"), ("", "none"), (True, "yes"), (False, "no"), (1234567, "1,234,567"), (0.123456789, "0.123457"),
     ([1, 2], "1, 2"), ({"asked_for": "none", "kept": False}, "asked for: none, kept: no"), ({}, "none")],
)  # fmt: skip
def test_values_are_shown_as_people_write_them(value, text):
    assert report.plain(value) == text


def test_weak_spots_are_parts_of_the_test_set_and_pictures_that_show_nothing(tmp_path, monkeypatch):
    run = make_run(tmp_path, counts=(300, 60, 120))
    monkeypatch.chdir(tmp_path)
    evaluate.main(*run.arguments)
    page = report.page(tmp_path)
    assert '<section id="weak-spots"' in page
    assert re.search(r"brightness: [\d.]+ to [\d.]+</th>", page)
    assert "parts of at least 10 images" in page
    assert "file type: .png" not in page  # all of them have it


def test_wrong_labels_of_all_splits_are_shown(tmp_path, monkeypatch):
    wrong = [20, 120, 220, 320, 400]  # three of train, one of val, one of test
    run = make_run(tmp_path, counts=(300, 60, 120), wrong=wrong)
    monkeypatch.chdir(tmp_path)
    evaluate.main(*run.arguments)
    page = report.page(tmp_path)
    shown = re.findall(r"<figcaption>\d, or \d\? \d/(\d+)\.png \((\w+)\)</figcaption>", page)
    assert len({number for number, _ in shown} & {str(row) for row in wrong}) >= 4  # the body is one of random filters
    assert ("320", "val") in shown
    assert re.search(r"<p>\d+ of train, \d+ of val, \d+ of test, by classifiers", page)
    assert "Parts of training pictures" not in page  # of 24 px: nobody cuts these


def test_labels_are_not_checked_by_classifiers_that_answer_by_chance(tmp_path, monkeypatch):
    run = make_run(tmp_path, counts=(14, 3, 3))  # two of each digit
    monkeypatch.chdir(tmp_path)
    evaluate.main(*run.arguments)
    page = report.page(tmp_path)
    assert "Labels were not checked: with so few pictures" in page
    assert "Labels that look wrong" not in page
