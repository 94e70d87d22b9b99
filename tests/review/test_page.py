"""The page in a real Chromium, against a real `darkroom review`, on real digits."""

import re

import pytest

from tests.review.pages import another_comes, in_hand, press, tile_names, wait_for_errors, wait_until_saved
from tests.review.run import decisions, reviewing


def test_the_picture_in_hand_shows_why_and_the_original(review, open_page):
    page = open_page(review.url)
    wait_for_errors(page)
    assert re.search(r"Labelled \d \(.*\); the model says \d", page.locator("#why").inner_text())
    page.locator("#nearest figure").first.wait_for()
    assert page.locator("#nearest figure").count() == 8
    press(page, "o")
    original = page.locator("#original-picture")
    page.get_by_text("a click shows every pixel").wait_for()
    width = original.evaluate("image => image.decode().then(() => image.naturalWidth)")
    assert width == 8  # not the 32 of the shards
    press(page, "Escape")
    assert not page.locator("#original").is_visible()


def test_a_file_that_vanished_or_changed_under_the_page_is_told_in_one_line(run, open_page):
    with reviewing(run) as review:
        page = open_page(review.url)
        wait_for_errors(page)
        path = run / "pictures" / in_hand(page)
        kept = path.read_bytes()
        path.unlink()
        press(page, "o")
        page.get_by_text("cannot be read: No such file or directory; put it back, or run `dvc repro`").wait_for()
        press(page, "Escape")
        path.write_bytes(kept + b" ")
        press(page, "o")
        page.get_by_text("has changed since it was indexed; run `dvc repro`").wait_for()
        press(page, "Escape", "k")  # the decision is about what was indexed
        wait_until_saved(page, 1)


def test_a_late_answer_about_the_screenful_before_changes_no_tile(review, open_page):
    with reviewing(review.folder) as other:
        page, colleague = open_page(review.url), open_page(other.url)
        wait_for_errors(page)
        wait_for_errors(colleague)
        held = []
        page.route("**/items?*", lambda route: held.append(route))  # unanswered until it is let go
        press(colleague, "e")
        for _ in range(500):
            if held:
                break
            page.wait_for_timeout(20)
        before = in_hand(page)
        press(page, "PageDown")
        assert another_comes(page, before)
        shown = tile_names(page)
        for route in held:
            route.continue_()
        page.wait_for_timeout(500)
        assert tile_names(page) == shown
        assert len(set(shown)) == len(shown)


def test_a_class_shows_all_its_images_and_a_reload_comes_back_to_the_place(review, open_page):
    page = open_page(review.url)
    wait_for_errors(page)
    page.locator("#classes").get_by_role("button", name=re.compile("^3 ")).click()
    page.locator("#title", has_text="3").wait_for()
    count = len(list((review.folder / "pictures/3").iterdir()))
    page.locator("#range", has_text=f"of {count}").wait_for()
    press(page, "PageDown")
    page.locator("#range", has_text=re.compile(r"^(?!1–)")).wait_for()
    where = page.locator("#range").inner_text()
    page.reload()
    page.locator(".tile").first.wait_for()
    assert page.locator("#range").inner_text() == where


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>", "a\u202eb", "=cmd", "quote\"'"])
def test_a_class_named_like_markup_is_shown_as_text(review, open_page, name):
    page = open_page(review.url)
    wait_for_errors(page)
    here = in_hand(page)
    press(page, "r")
    page.keyboard.insert_text(name)
    press(page, "Enter")
    if name.isprintable():
        page.locator("#classes").get_by_text(name, exact=True).wait_for()
        assert decisions(review.folder)[here] == ("relabel", name)
    else:
        page.get_by_text("no control characters").wait_for()


@pytest.mark.parametrize("width", [390, 1280])
def test_a_label_without_a_number_and_the_words_below_a_picture_have_room(review, open_page, width):
    page = open_page(review.url, viewport={"width": width, "height": 600})
    wait_for_errors(page)
    page.locator("#answers .bar").first.wait_for()
    names = page.locator("#answers button > span:not(.share)")
    assert names.count() == 10
    widths = [names.nth(place).bounding_box()["width"] for place in range(10)]
    assert min(widths) == pytest.approx(max(widths), abs=1)
    page.evaluate("for (let n = 0; n < 3; n++) grid.append(...[...grid.children].map((box) => box.cloneNode(true)))")
    cut = "[...grid.children].filter((box) => box.scrollHeight > box.clientHeight + 1).length"
    assert page.evaluate(cut) == 0


def test_on_a_phone_every_decision_is_in_reach_and_nothing_is_wider_than_the_screen(review, open_page):
    page = open_page(review.url, viewport={"width": 390, "height": 844}, has_touch=True)
    wait_for_errors(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for name in ("Keep", "Relabel", "Exclude", "Not sure"):
        box = page.locator(".actions").get_by_role("button", name=name).bounding_box()
        assert box["height"] >= 44
        assert box["x"] + box["width"] <= 390
    page.locator(".actions").get_by_role("button", name="Exclude").tap()
    wait_until_saved(page, 1)
    page.locator("#lists summary").tap()
    page.locator("#classes").get_by_role("button", name=re.compile("^3 ")).tap()
    page.locator("#title", has_text="3").wait_for()
    page.locator("#rename").tap()
    page.locator("#matches li").nth(3).wait_for()
    option, actions = (page.locator(one).bounding_box() for one in ("#match-3", ".actions"))
    assert 0 < option["y"] < option["y"] + option["height"] <= actions["y"]  # neither above the screen nor covered


def test_a_lists_number_is_how_many_pictures_it_shows(review, open_page):
    page = open_page(review.url)
    wait_for_errors(page)
    for entry in page.locator("#queues button").all():
        number = entry.locator(".count").inner_text()
        entry.click()
        page.locator("#title", has_text=entry.locator("span").first.inner_text()).wait_for()
        page.wait_for_timeout(300)
        shown = page.locator("#range").inner_text().rpartition(" of ")[2] or "0"
        assert shown == number
