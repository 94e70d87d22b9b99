"""The page in a real Chromium, against a real `darkroom review`, on real digits."""

import re
import time

import numpy as np
import pytest

from darkroom.core import files
from darkroom.review.evidence import KEPT, gather
from darkroom.review.samples import Samples
from tests.review.run import decisions, reviewing


def tile(page, location: str):
    """The tile of an image."""
    return page.locator(f'.tile[aria-label^="{location},"]')


def tile_names(page) -> list[str]:
    """The locations of all pictures shown, as their tiles say."""
    labels = page.locator(".tile").evaluate_all("tiles => tiles.map((tile) => tile.getAttribute('aria-label'))")
    return [label.partition(",")[0] for label in labels]


def in_hand(page) -> str:
    """The location of the picture in hand, as the inspector shows it."""
    return page.locator("#location").inner_text().rpartition(" (")[0]


def wait_for_errors(page) -> None:
    """Wait until the model has been asked and the first list is there."""
    page.locator(".tile").first.wait_for(timeout=180000)
    page.locator("#answers .bar").first.wait_for()


def wait_until_saved(page, count: int) -> None:
    """Wait until the page says so many decisions are in the file."""
    page.locator("#summary", has_text=re.compile(rf"\b{count} decisions? in")).wait_for()


def correct_by_keyboard(page, truth: dict[str, str], most: int) -> tuple[int, int]:
    """Go through the first list with the keys alone, as who knows the true labels; return pictures shown and keys.

    An image that is not among `truth` is kept.
    """
    left, shown, keys = dict(truth), 0, 0
    while shown < most and left:
        here = in_hand(page)
        wanted = left.pop(here, None)
        page.locator("#answers .bar").first.wait_for()
        names = page.locator("#answers button > span:not(.share)").all_inner_texts()
        if wanted is None:
            keys += press(page, "k")
        elif wanted in names[:9]:
            keys += press(page, str(names.index(wanted) + 1))
        else:
            keys += press(page, "r", *wanted, "Enter")
        shown += 1
        if shown < most and left and not another_comes(page, here):
            break
    return shown, keys


def another_comes(page, here: str) -> bool:
    """Wait for another picture in hand than `here`; False when the list is at its end."""
    for _ in range(1000):
        if page.locator("#nothing").is_visible():
            return False
        if in_hand(page) != here:
            return True
        page.wait_for_timeout(20)
    raise AssertionError(f"{here} stays in hand")


def press(page, *keys: str) -> int:
    """Press keys one after the other; return how many."""
    for key in keys:
        page.keyboard.press(key)
    return len(keys)


def test_the_answers_come_first_and_are_kept_until_what_they_are_computed_from_changes(run):
    samples, done = Samples(run), []
    answers, whole = gather(samples, done.append)
    assert (len(answers.features), len(whole.features)) == (0, samples.pictured)
    assert done[-2:] == ["asking the model: 5 of 5 parts are done", "looking for images that are alike"]
    done.clear()
    (again,) = gather(samples, done.append)
    assert done == []
    for name in ("probabilities", "features", "unlikeness"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
    kept = (run / KEPT).read_bytes()
    (run / KEPT).write_bytes(kept[: len(kept) // 2])  # the disk was full, or somebody else writes it
    assert len(list(gather(samples))) == 2
    assert (run / KEPT).read_bytes() == kept
    index = samples.shards[0].index
    changed = {samples.all[0].id: next(name for name in index["classes"] if name != samples.all[0].label)}
    files.write_json(run / "data/labels/train.json", {"classes": index["classes"], "changes": changed})
    assert len(list(gather(samples))) == 2  # a label that the run has learnt since asks the model again


def test_planted_errors_are_found_first_and_corrected_by_keyboard(review, digits, open_page):
    planted = digits[1]
    page = open_page(review.url)
    wait_for_errors(page)
    started = time.monotonic()
    shown, keys = correct_by_keyboard(page, planted, most=60)  # 15 % of 400
    minutes = (time.monotonic() - started) / 60
    wait_until_saved(page, shown)
    made = decisions(review.folder)
    right = [name for name, label in planted.items() if made.get(name) == ("relabel", label)]
    assert len(right) >= 0.8 * len(planted)
    assert not [name for name, (decision, _) in made.items() if decision != "keep" and name not in planted]
    assert keys <= 2 * shown
    print(f"{len(right)} of {len(planted)} in the first {shown} pictures, {keys} keys, {shown / minutes:.0f} a minute")


def test_every_decision_by_its_key_and_by_its_button(review, open_page):
    page = open_page(review.url)
    wait_for_errors(page)
    chosen = []
    for key in ("k", "e", "u"):
        chosen.append(in_hand(page))
        press(page, key)
        page.wait_for_timeout(50)
    for name in ("Keep", "Exclude", "Not sure"):
        chosen.append(in_hand(page))
        page.locator(".actions").get_by_role("button", name=name).click()
        page.wait_for_timeout(50)
    wait_until_saved(page, 6)
    made = decisions(review.folder)
    assert [made[name][0] for name in chosen] == ["keep", "exclude", "unsure"] * 2


def test_what_is_typed_finds_a_class_or_makes_a_new_one(review, open_page):
    page = open_page(review.url)
    wait_for_errors(page)
    first = in_hand(page)
    other = "7" if not first.startswith("7/") else "3"
    press(page, "r", other, "Enter")
    page.wait_for_timeout(100)
    second = in_hand(page)
    press(page, "r")
    page.keyboard.type("smudge of ink")
    page.get_by_role("option", name="New class “smudge of ink”").wait_for()
    press(page, "Enter")
    wait_until_saved(page, 2)
    third = in_hand(page)
    press(page, "r")
    page.keyboard.type("SMUDGE OF INK")  # a class that differs in case alone is not made
    assert page.locator("#matches li").all_inner_texts() == ["smudge of ink"]
    press(page, "Escape", "k")
    wait_until_saved(page, 3)
    assert decisions(review.folder) == {
        first: ("relabel", other), second: ("relabel", "smudge of ink"), third: ("keep", "")
    }  # fmt: skip


def test_several_at_once_and_undo(review, open_page):
    page = open_page(review.url)
    wait_for_errors(page)
    press(page, "Space", "Shift+ArrowRight", "Shift+ArrowRight")
    assert page.locator('.tile[aria-selected="true"]').count() == 3
    press(page, "e")
    wait_until_saved(page, 3)
    assert {decision for decision, _ in decisions(review.folder).values()} == {"exclude"}
    press(page, "u")
    wait_until_saved(page, 4)
    press(page, "z")
    wait_until_saved(page, 3)
    press(page, "z")
    wait_until_saved(page, 0)
    assert decisions(review.folder) == {}
    assert page.locator(".mark", has_text="excluded").count() == 0


def test_undo_brings_back_the_decision_before(review, open_page):
    page = open_page(review.url)
    wait_for_errors(page)
    here = in_hand(page)
    press(page, "e")
    wait_until_saved(page, 1)
    press(page, "ArrowLeft", "u")
    wait_until_saved(page, 1)
    page.locator("#queues").get_by_text("Not sure").wait_for()
    page.wait_for_timeout(300)
    assert decisions(review.folder)[here] == ("unsure", "")
    press(page, "z")
    tile(page, here).get_by_text("excluded", exact=True).wait_for()
    assert decisions(review.folder)[here] == ("exclude", "")
    press(page, "w")
    wait_until_saved(page, 0)


def test_what_was_decided_before_the_page_was_opened_is_undone_in_its_list(review, open_page):
    page = open_page(review.url)
    wait_for_errors(page)
    here = in_hand(page)
    press(page, "e")
    wait_until_saved(page, 1)
    press(page, "ArrowLeft", "k")
    tile(page, here).get_by_text("kept", exact=True).wait_for()
    page = open_page(review.url, "#decided/0")
    tile(page, here).get_by_text("kept", exact=True).wait_for()
    press(page, "z")
    tile(page, here).get_by_text("excluded", exact=True).wait_for()
    assert decisions(review.folder) == {here: ("exclude", "")}
    press(page, "z")
    wait_until_saved(page, 0)
    press(page, "z")
    page.get_by_text("There is nothing to undo.").wait_for()
    assert decisions(review.folder) == {}


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


def test_two_pages_lose_no_row_and_see_each_other(review, open_page):
    with reviewing(review.folder) as other:
        pages = [open_page(review.url), open_page(other.url)]
        for page in pages:
            wait_for_errors(page)
        here = in_hand(pages[0])
        press(pages[0], "e")
        press(pages[1], "ArrowRight", "ArrowRight", *["k"] * 3)
        for page in pages:
            wait_until_saved(page, 4)
        tile(pages[1], here).get_by_text("excluded", exact=True).wait_for()
    assert len(decisions(review.folder)) == 4


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


def test_a_mistake_made_by_hand_meanwhile_is_named_and_nothing_is_lost(review, open_page):
    page = open_page(review.url)
    wait_for_errors(page)
    press(page, "e")
    wait_until_saved(page, 1)
    path = review.folder / "corrections.csv"
    right = path.read_text()
    path.write_text(right + "abc,,exclude,1,,me,now,\n")
    page.get_by_text("corrections.csv, line 3, column sha256: 'abc', expected 64 hexadecimal digits").wait_for()
    press(page, "k")
    page.get_by_text("Not saved.").wait_for()
    assert path.read_text() == right + "abc,,exclude,1,,me,now,\n"
    path.write_text(right)
    press(page, "k")
    wait_until_saved(page, 2)


def test_a_killed_server_loses_nothing_that_was_saved_and_the_page_says_so(run, open_page):
    with reviewing(run) as review:
        page = open_page(review.url)
        wait_for_errors(page)
        press(page, "e")
        wait_until_saved(page, 1)
        review.stop(9)
        press(page, "k")
        page.get_by_text("The review does not answer.").wait_for()
        assert page.locator(".tile.keep").count() == 0
    assert len(decisions(run)) == 1
    with reviewing(run) as review:
        page = open_page(review.url)
        wait_until_saved(page, 1)
        press(page, "z")  # what a person did before is not in the page, but in the file
        page.get_by_text("is in Decided, the newest first: there Z undoes it").wait_for()
        page.locator("#queues").get_by_role("button", name="Decided").click()
        page.locator(".tile.exclude").wait_for()
        press(page, "w")
        wait_until_saved(page, 0)
        assert "corrections.csv has 0 decisions: 0 relabelled, 0 excluded, 0 kept, 0 not sure" in review.stop()


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


def test_a_class_is_renamed_joined_with_another_and_both_are_undone(review, open_page):
    threes = {f"3/{path.name}" for path in (review.folder / "pictures/3").iterdir()}
    page = open_page(review.url, "#class:3/0")
    page.locator("#rename").wait_for()
    press(page, "m")
    page.keyboard.type("three")
    press(page, "Enter")
    page.get_by_text(f"3 is three now: {len(threes)} pictures. Z undoes.").wait_for()
    page.locator("#title", has_text="three").wait_for()
    page.locator("#range", has_text=f"of {len(threes)}").wait_for()
    assert decisions(review.folder) == dict.fromkeys(threes, ("relabel", "three"))
    page.locator("#rename").click()
    page.keyboard.type("thr")
    assert page.locator("#matches [aria-selected=true]").inner_text() == "New class “thr”"
    page.locator("#new-label").fill("5")
    page.get_by_text("Join with 5").wait_for()
    press(page, "Enter")
    page.locator("#title", has_text=re.compile("^5$")).wait_for()
    assert decisions(review.folder) == dict.fromkeys(threes, ("relabel", "5"))
    press(page, "z")
    page.get_by_text(f"Undone: {len(threes)} decisions.").wait_for()
    assert decisions(review.folder) == dict.fromkeys(threes, ("relabel", "three"))
    press(page, "z")
    wait_until_saved(page, 0)


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


def test_corrections_have_all_their_columns(review, open_page):
    page = open_page(review.url)
    wait_for_errors(page)
    here = in_hand(page)
    press(page, "n")
    page.keyboard.type('cut, "by hand"')
    press(page, "Enter", "e")
    wait_until_saved(page, 1)
    (row,) = files.read_csv(review.folder / "corrections.csv")
    (indexed,) = [row for row in files.read_csv(review.folder / "data/index.csv") if row["location"] == here]
    assert (row["sha256"], row["id"]) == (indexed["sha256"], indexed["id"])
    assert (row["decision"], row["was"], row["becomes"]) == ("exclude", here.partition("/")[0], "")
    assert (row["by"], row["note"]) == ("review: errors", 'cut, "by hand"')
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["when"])


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
