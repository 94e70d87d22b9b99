"""The report and DVC's page of plots in a real Chromium: readable, whole, and without asking anything of a network."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darkroom.core.params import read_yaml
from darkroom.reporting import report
from stages import evaluate
from tests.browser import DESK, PHONE, faults, needs_chromium
from tests.project import ROOT
from tests.reporting.run import make_run

pytestmark = needs_chromium
MANY = [f"american_staffordshire_terrier_number_{number}" for number in range(120)]


@pytest.fixture(scope="module", params=["2 classes", "10 classes", "120 classes", "20 images"])
def report_file(request, tmp_path_factory):
    """Return a report of a run of digits, with classes and images of such a number."""
    names, counts = {
        "2 classes": (["dandelion", "sunflower"], (200, 60, 80)),
        "10 classes": (None, (400, 120, 300)),
        "120 classes": (MANY, (700, 240, 360)),
        "20 images": (["ants", "bees"], (12, 4, 4)),
    }[request.param]
    run = make_run(tmp_path_factory.mktemp("report"), names, counts)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(run.root)
        evaluate.main(*run.arguments)
        assert report.main(["--robustness"]) == 0
    return run.root / "report.html"


@pytest.mark.parametrize("window", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_has_no_violation_and_fits_its_window(browser, report_file, window, scheme):
    page = browser.new_page(viewport=window, color_scheme=scheme)
    asked, failed = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.goto(report_file.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    empty = "[...document.querySelectorAll('img[src]')].filter(image => !image.complete || !image.naturalWidth).length"
    assert page.evaluate(empty) == 0, "prints empty frames"
    assert faults(page) == []
    assert [address for address in asked if not address.startswith(("data:", "file:"))] == failed == []
    page.close()


@pytest.mark.parametrize("window", [DESK, PHONE], ids=["desk", "phone"])
def test_no_table_of_the_report_is_cut(browser, report_file, window):
    page = browser.new_page(viewport=window)
    page.goto(report_file.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    cut = page.evaluate(
        "[...document.querySelectorAll('.scroll:not(.matrix-and-pairs .scroll)')]"
        ".filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.ariaLabel)"
    )
    assert cut == []
    lines = "const text = document.createRange(); text.selectNodeContents(one); return text.getClientRects().length"
    short = "[...document.querySelectorAll('.sortable tbody th')].filter(one => one.textContent.length < 10)"
    if window == DESK:  # `dandel` stood above `ion`
        assert set(page.evaluate(f"{short}.map(one => {{ {lines} }})")) <= {0, 1}
    page.close()


def test_a_printed_report_opens_what_is_closed_and_closes_it_again(browser, report_file):
    page = browser.new_page(viewport=DESK)
    page.goto(report_file.as_uri())
    closed = page.locator("details:not([open])")
    before = closed.count()
    assert before > 1
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert closed.count() == 0
    page.emulate_media(media="print")
    tops = page.evaluate("[...document.querySelectorAll('.finding')].map(one => one.getBoundingClientRect().top)")
    assert len(set(tops)) == 1, "the three answers stand side by side"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert closed.count() == before
    page.close()


def test_every_colour_of_the_map_is_named_and_seen_on_dark_paper(browser, report_file):
    page = browser.new_page(viewport=PHONE, color_scheme="dark")
    page.goto(report_file.as_uri())
    names = page.locator("#map .key .dot").all_text_contents()
    assert len(names) in (0, 2, 10)  # too few images, or more classes than colours
    assert "#0072b2" not in report_file.read_text(encoding="utf-8").split("</style>")[1], "a colour for white paper"
    page.close()


def test_a_click_on_a_picture_shows_it_large_with_its_probabilities(browser, report_file):
    page = browser.new_page(viewport=DESK)
    page.goto(report_file.as_uri())
    page.locator("#grid button").first.click()
    assert page.locator("dialog[open] .shares > div").count() >= 2
    page.evaluate("chosen[0].f = 'evil\\u202egnp.jpg', open(0)")
    assert "evil\\u202egnp.jpg" in page.locator("dialog[open] dl").inner_text()
    assert faults(page) == []
    page.close()


def plots_page(folder: Path, classes: int = 3) -> Path:
    """DVC's page of the plots of dvc.yaml, filled by DVC's own renderer, with two revisions."""
    from dvc_render.html import render_html  # type: ignore[import-untyped]
    from dvc_render.vega import VegaRenderer  # type: ignore[import-untyped]

    rng = np.random.default_rng(0)
    drawn = []
    plots = [next(iter(plot.items())) for plot in read_yaml(ROOT / "dvc.yaml")["plots"] if isinstance(plot, dict)]
    for title, plot in plots:
        columns = next(iter(plot["y"].values()))
        for y in columns[:1] if isinstance(columns, list) else [columns]:
            names = plot["template"].startswith("confusion")
            pairs = [{axis: str(rng.integers(classes)) for axis in (plot["x"], y)} for _ in range(30 * classes)]
            curve = [{plot["x"]: f"{number / 9:.3f}", y: f"{rng.random():.3f}"} for number in range(10)]
            values = pairs if names else curve
            rows = [row | {"rev": revision} for revision in ("main", "workspace") for row in values]
            facts = {"x": plot["x"], "y": y, "title": title, "template": plot["template"],
                     "revs_with_datapoints": ["main", "workspace"]}  # fmt: skip
            drawn.append(VegaRenderer(json.loads(json.dumps(rows)), title, **facts))
    render_html(drawn, folder / "index.html", ROOT / ".dvc/plots.html")
    return folder / "index.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_of_dvcs_plots_is_drawn_without_a_network(browser, tmp_path, scheme):
    page: Any = browser.new_page(viewport=PHONE, color_scheme=scheme)
    asked, failed = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.goto(plots_page(tmp_path).as_uri())
    assert page.locator("main svg path").count() == 2 * 6  # two revisions of six curves
    assert page.locator("main table").count() == 2 * 2 + 1  # two matrices a revision, and the bars
    assert page.locator("main tr").filter(has_text="actual").count() == 4
    for axis in ("false positive rate", "recall", "confidence"):  # from 0 to 1 on both, whatever the values are
        labels = page.locator("main svg").filter(has_text=axis).first.locator("text").all_text_contents()
        assert labels[:6] == labels[6:12] == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
    assert [address for address in asked if not address.startswith("file:")] == failed == []
    assert faults(page) == []
    page.close()


def test_dvcs_page_shows_the_25_of_many_classes_with_most_wrong_answers(browser, tmp_path):
    page = browser.new_page(viewport=PHONE)
    page.goto(plots_page(tmp_path, 40).as_uri())
    table = page.locator("main table").filter(has_text="actual").first
    assert table.locator("tr").count() == 1 + 25
    assert page.get_by_text("the 25 of 40 classes with most wrong answers").count() == 4
    page.close()
