"""Decisions on the page, by keys and buttons: each is saved, seen by others, and can be undone."""

import re
import time

from darkroom.core import files
from tests.review.pages import (
    correct_by_keyboard,
    in_hand,
    press,
    tile,
    wait_for_errors,
    wait_until_saved,
)
from tests.review.run import decisions, reviewing


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
