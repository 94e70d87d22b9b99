"""The page in a real Chromium, against a real service, with real uploads."""

import re

import pytest

from tests.browser import DESK, PHONE, faults, needs_chromium
from tests.export import small
from tests.serve.conftest import CLASSES, serve

pytestmark = needs_chromium


def test_chosen_pictures_get_bars_and_a_map_and_a_broken_one_its_reason(open_page, photos):
    page = open_page()
    page.get_by_text("small, 3 classes, version").wait_for()
    page.set_input_files("#files", [photos / "china.jpg", photos / "flower.jpg", photos / "cut.jpg"])
    article = page.locator("article", has_text="china.jpg")
    article.get_by_text("Where it looked for").wait_for()
    assert article.locator(".bars").first.locator("li").count() == len(CLASSES)
    assert article.locator(".map img").evaluate("image => image.naturalWidth") == 448
    shares = [float(text.strip("<>\N{NO-BREAK SPACE}%")) for text in article.locator(".share").all_inner_texts()]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=0.3)
    broken = page.locator("article", has_text="cut.jpg")
    broken.get_by_text("Truncated.").wait_for()
    assert not broken.get_by_role("button", name="Try again").is_visible()


def test_a_class_named_like_markup_is_shown_as_text(open_page, photos):
    page = open_page()
    page.set_input_files("#files", photos / "china.jpg")
    page.get_by_role("button", name="<b>other</b>").wait_for()


def test_a_click_on_a_class_shows_where_it_looks_for_it(open_page, photos):
    page = open_page()
    page.set_input_files("#files", photos / "china.jpg")
    article = page.locator("article")
    for name in ("flower", "china"):
        article.get_by_role("button", name=name, exact=True).click()
        article.get_by_text(f"Where it looked for {name}").wait_for()
        assert article.get_by_role("button", name=name, exact=True).get_attribute("aria-pressed") == "true"
        assert article.locator(".map img").get_attribute("alt") == f"The picture; what is bright counted for {name}"


def test_an_error_that_comes_late_does_not_replace_the_answer_to_a_newer_question(open_page, photos):
    page = open_page()
    held = []
    page.route(re.compile(r"explain\?class=flower"), lambda route: held.append(route))
    page.set_input_files("#files", photos / "china.jpg")
    article = page.locator("article")
    article.get_by_role("button", name="flower", exact=True).click()
    page.wait_for_timeout(200)
    article.get_by_role("button", name="china", exact=True).click()
    article.get_by_text("Where it looked for china").wait_for()
    (late,) = held
    with page.expect_response(re.compile(r"explain\?class=flower")):
        late.fulfill(status=422, json={"error": "too late"})
    page.wait_for_timeout(200)
    assert article.locator("figcaption").last.inner_text() == "Where it looked for china"


def test_pictures_can_be_dropped_and_pasted(open_page, photos):
    page = open_page()
    page.get_by_text("version").wait_for()
    file = "const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0)); "
    file += "const moved = new DataTransfer(); moved.items.add(new File([bytes], name, {type: 'image/png'})); "
    import base64

    data = base64.b64encode((photos / "more/china.png").read_bytes()).decode()
    drop = "document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: moved, bubbles: true}))"
    paste = "document.body.dispatchEvent(new ClipboardEvent('paste', {clipboardData: moved, bubbles: true}))"
    for name, event in (("dropped.png", drop), ("pasted.png", paste)):
        page.evaluate("([data, name]) => {" + file + event + "}", [data, name])
        page.locator("article", has_text=name).get_by_text("Where it looked for").wait_for()


def test_it_works_by_keyboard_alone(open_page, photos):
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the answers"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator("#card[open]").wait_for()
    page.evaluate("document.querySelector('a[href=\"#card\"]').focus()")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "files"
    # What opens the system's dialog is a trusted click on the input. The dialog itself is left out: Chromium is told to
    # hand it to a test only after the test has asked for it, and on a busy machine the key can win that race.
    page.locator("#files").evaluate(
        "input => input.addEventListener('click', event => {"
        " event.preventDefault(); document.body.dataset.asked = event.isTrusted; })"
    )
    page.keyboard.press("Space")
    page.locator("body[data-asked=true]").wait_for()
    page.set_input_files("#files", photos / "flower.jpg")
    page.get_by_text("Where it looked for").wait_for()
    names = []
    for _ in range(3 + len(CLASSES)):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.textContent"))
    assert set(CLASSES) <= set(names)


def test_a_screen_reader_is_told_the_answer_and_every_control_has_a_name(open_page, photos):
    page = open_page()
    page.set_input_files("#files", photos / "flower.jpg")
    page.get_by_text("Where it looked for").wait_for()
    assert page.get_by_role("status").inner_text().startswith("flower.jpg: ")
    assert page.get_by_role("status").bounding_box()["height"] <= 1  # heard, but not written beside the answer
    assert page.locator("article .state").inner_text() in CLASSES
    assert page.locator("html").get_attribute("lang") == "en"
    for control in page.locator("button:visible, input:visible, summary:visible").all():
        name = control.evaluate("e => e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent")
        assert name.strip()
    for image in page.locator("img:visible").all():
        assert image.get_attribute("alt") is not None
    assert [heading.inner_text() for heading in page.get_by_role("heading", level=1).all()] == ["Darkroom"]


def test_a_phone_shows_it_without_scrolling_sideways_and_its_camera_can_be_used(open_page, photos):
    page = open_page(viewport={"width": 360, "height": 700}, is_mobile=True, has_touch=True)
    page.set_input_files("#camera", photos / "china.jpg")
    page.get_by_text("Where it looked for").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator("#camera").get_attribute("capture") == "environment"
    box = page.get_by_text("Choose pictures").bounding_box()
    assert box["height"] >= 44


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_at_desk_and_phone_width(open_page, photos, scheme):
    for window in (DESK, PHONE):
        page = open_page(color_scheme=scheme, viewport=window)
        page.set_input_files("#files", [photos / "flower.jpg", photos / "cut.jpg"])
        page.locator("article").get_by_text("Truncated.").wait_for()
        page.get_by_text("Where it looked for").wait_for()
        page.get_by_text("About this model").click()
        assert faults(page) == []


def test_a_hundred_classes_show_five_and_the_rest_on_demand(open_page, photos, tmp_path):
    model = small.export(tmp_path / "model", [f"class {number}" for number in range(100)])
    with serve(model, tmp_path / "log") as running:
        page = open_page(running)
        page.set_input_files("#files", photos / "china.jpg")
        more = page.get_by_text("The other 95 classes")
        more.wait_for()
        assert page.locator(".bars li:visible").count() == 5
        more.click()
        assert page.locator(".bars li:visible").count() == 100


def test_a_server_that_has_gone_is_named_and_the_picture_can_be_sent_again(open_page, exported, photos, tmp_path):
    with serve(exported, tmp_path / "log") as running:
        page = open_page(running)
        page.get_by_text("version").wait_for()
    page.set_input_files("#files", photos / "china.jpg")
    page.locator("article").get_by_text("The server does not answer. Is it still running?").wait_for()
    with serve(exported, tmp_path / "log2", "--port", str(running.port)):
        page.get_by_role("button", name="Try again").click()
        page.get_by_text("Where it looked for").wait_for()


def test_a_key_is_asked_for_and_used(open_page, exported, photos, tmp_path):
    (tmp_path / "keys").write_text("0123456789abcdef0123\n")
    with serve(exported, tmp_path / "log", "--api-key-file", str(tmp_path / "keys")) as running:
        page = open_page(running)
        page.get_by_label("This server asks for an API key").fill("0123456789abcdef0123")
        page.get_by_role("button", name="Use it").click()
        page.get_by_text("small, 3 classes").wait_for()
        page.set_input_files("#files", photos / "china.jpg")
        page.get_by_text("Where it looked for").wait_for()


def test_the_models_card_is_shown_as_tables_and_text(open_page, photos, tmp_path):
    model = small.export(tmp_path / "model", ["a", "b"])
    card = "---\nlicense: other\n---\n# Name <i>\n\nSome `code`.\n\n| a | b |\n| --- | --- |\n| 1 | x\\|y |\n\n"
    card += "- one\n- two\n"
    (model / "README.md").write_text(card)
    with serve(model, tmp_path / "log") as running:
        page = open_page(running)
        page.get_by_text("About this model").click()
        page.get_by_role("heading", name="Name <i>").wait_for()
        assert page.locator("#text td").all_inner_texts() == ["1", "x|y"]
        assert page.locator("#text li").all_inner_texts() == ["one", "two"]
        assert page.get_by_role("region", name="Name <i>: table 1").get_attribute("tabindex") == "0"  # to be scrolled
        assert "license" not in page.locator("#text").inner_text()


def test_the_interface_is_described_on_a_page_of_our_own(open_page):
    page = open_page(path="/docs")
    page.get_by_role("heading", name="POST /predict").wait_for()
    page.get_by_role("heading", name="GET /metrics").wait_for()
    assert "curl -F file=@photo.jpg" in page.locator("pre").first.inner_text()
