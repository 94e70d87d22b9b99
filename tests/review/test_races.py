"""Keys that are faster than the server: a decision is always about the picture that the person has seen."""

import re
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from darkroom.core import files
from darkroom.review.decisions import DecisionLog
from darkroom.splits.corrections import Correction
from tests.review.pages import another_comes, in_hand, press, tile, tile_names, wait_for_errors, wait_until_saved
from tests.review.run import decisions, reviewing


@pytest.fixture
def review(run):
    """Yield a review with a server of its own: a request that a test leaves on its way must not reach the next test."""
    with reviewing(run) as running:
        yield running


@pytest.fixture
def page(review, open_page):
    """Return the page of the review, with its first list.

    The browser hands requests over from here on: one that is sent just after it begins to do so may still escape.
    """
    page = open_page(review.url)
    page.route("**/no such address", lambda route: route.continue_())
    wait_for_errors(page)
    return page


class Held:
    """Requests of a page that wait until they are let go."""

    def __init__(self, page, pattern: str) -> None:
        self.page, self.pattern, self.free = page, pattern, False
        self.routes: list[Any] = []
        page.route(pattern, self.answer)

    def answer(self, route) -> None:
        """Let a request through, or hold it."""
        if self.free:
            route.continue_()
        else:
            self.routes.append(route)

    def wait(self, count: int = 1) -> None:
        """Wait until so many have been sent."""
        for _ in range(500):
            if len(self.routes) >= count:
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(f"{self.pattern}: {len(self.routes)} requests, expected {count}")

    def let_go(self) -> None:
        """Let those that wait reach the server, the last one first; later ones do not wait."""
        self.free = True
        while self.routes:
            self.routes.pop().continue_()


@contextmanager
def held(page, pattern: str):
    """Hold back what the page asks of these addresses; at the end all are let go."""
    waiting = Held(page, pattern)
    yield waiting
    waiting.let_go()


def test_a_list_that_is_opened_while_a_class_is_renamed_stays_open(review, page):
    page.locator("#classes").get_by_role("button", name=re.compile("^0 ")).click()
    page.locator("#title", has_text=re.compile("^0$")).wait_for()
    page.locator("#rename").click()
    page.locator("#new-label").fill("renamed")
    with held(page, "**/rename") as sent:
        press(page, "Enter")
        sent.wait()
        other = page.locator("#classes button").nth(1)
        name = other.locator("span").first.inner_text()
        other.click()
        page.wait_for_timeout(50)
    page.get_by_text("is renamed now").wait_for()
    page.locator("#title", has_text=name).wait_for()
    page.wait_for_timeout(500)
    assert page.locator("#title").inner_text() == name


def test_a_number_is_no_label_before_the_labels_of_the_picture_are_there(review, page):
    with held(page, "**/sample?*"):
        press(page, "ArrowRight")
        here = in_hand(page)
        press(page, "1")
        page.get_by_text("The labels of this picture are just coming").wait_for()
    page.locator("#answers .bar").first.wait_for()
    assert decisions(review.folder) == {}
    wanted = page.locator("#answers button > span:not(.share)").first.inner_text()
    press(page, "1")
    wait_until_saved(page, 1)
    assert set(decisions(review.folder)) == {here}
    assert decisions(review.folder)[here] in {("relabel", wanted), ("keep", "")}


def test_what_is_pressed_while_other_pictures_come_decides_about_none(review, page):
    before = in_hand(page)
    with held(page, "**/queue?*"):
        press(page, "PageDown", "e", "1")
        page.get_by_text("Other pictures are coming").wait_for()
    assert another_comes(page, before)
    assert decisions(review.folder) == {}
    here = in_hand(page)
    press(page, "e")
    wait_until_saved(page, 1)
    assert set(decisions(review.folder)) == {here}


def test_after_the_last_picture_of_a_screenful_a_key_waits_for_the_next_one(review, page):
    first = tile_names(page)
    with held(page, "**/queue?*") as waiting:
        press(page, "a", "k")
        waiting.wait()
        press(page, "e", "u")
    wait_until_saved(page, len(first))
    assert another_comes(page, first[-1])
    assert {decision for decision, _ in decisions(review.folder).values()} == {"keep"}


def test_of_two_lists_the_one_asked_for_last_is_shown_whichever_comes_first(page):
    with held(page, "**/queue?*") as waiting:
        for name in ("3", "5"):
            page.locator("#classes").get_by_role("button", name=name, exact=False).nth(0).click()
        waiting.wait(2)
    page.locator("#title", has_text="5").wait_for()
    page.wait_for_timeout(300)
    assert page.locator("#title").inner_text() == "5"
    assert page.locator('#classes button[aria-current="true"]').inner_text().startswith("5")


def test_undo_withdraws_the_last_decision_even_while_it_is_being_saved(review, page):
    first = in_hand(page)
    press(page, "e")
    wait_until_saved(page, 1)
    with held(page, "**/decide") as waiting:
        press(page, "u")
        waiting.wait()
        press(page, "z")
    page.get_by_text("Undone: 1 decision.").wait_for()
    wait_until_saved(page, 1)
    assert decisions(review.folder) == {first: ("exclude", "")}


def test_an_undo_that_is_not_saved_can_be_made_again(review, page):
    press(page, "e")
    wait_until_saved(page, 1)
    page.route("**/undo", lambda route: route.abort())
    press(page, "z")
    page.locator("#alert:not(:empty)").wait_for()
    page.unroute("**/undo")
    press(page, "z")
    page.get_by_text("Undone: 1 decision.").wait_for()
    assert decisions(review.folder) == {}


def test_undo_leaves_what_a_colleague_has_decided_since(review, page):
    first, colleague = (
        in_hand(page),
        DecisionLog(review.folder / "corrections.csv", review.folder / ".darkroom/corrections.lock"),
    )
    press(page, "Space", "Shift+ArrowRight", "e")
    wait_until_saved(page, 2)
    colleague.refresh()
    (mine,) = [row for row in colleague.decided().values() if row.id == id_of(review.folder, first)]
    theirs = replace(mine, decision="keep", by="a colleague", note="it is one")
    colleague.record({mine.key: theirs})
    press(page, "z")
    page.get_by_text("Undone: 1 decision. About 1 picture somebody has decided since, and that stays.").wait_for()
    replaced, row = files.read_csv(review.folder / "corrections.csv")
    assert replaced["decision"] == "replaced exclude"
    assert (row["id"], row["decision"], row["by"], row["note"]) == (mine.id, "keep", "a colleague", "it is one")
    press(page, "z")
    page.get_by_text("There is nothing to undo.").wait_for()


def test_undo_brings_back_a_colleagues_row_as_it_was(review, page):
    here = in_hand(page)
    colleague = DecisionLog(review.folder / "corrections.csv", review.folder / ".darkroom/corrections.lock")
    (sample,) = [row for row in files.read_csv(review.folder / "data/index.csv") if row["location"] == here]
    theirs = Correction(sample["sha256"], sample["id"], "unsure", sample["label"], "", "a colleague", "2026-11-01", "?")
    colleague.record({theirs.key: theirs})
    page.locator("#summary", has_text="1 decision in").wait_for()
    press(page, "e")
    page.locator("#summary", has_text="1 excluded").wait_for()
    press(page, "z")
    page.get_by_text("Undone: 1 decision.").wait_for()
    (row,) = files.read_csv(review.folder / "corrections.csv")
    assert list(row.values()) == theirs.row()


def id_of(run, location: str) -> str:
    """Return the id of the image at a location."""
    return next(row["id"] for row in files.read_csv(run / "data/index.csv") if row["location"] == location)


def test_a_label_that_is_being_typed_goes_to_the_picture_it_was_begun_for(review, page):
    here = in_hand(page)
    press(page, "r")
    page.keyboard.type("smudge")
    page.evaluate("load('class:3', 0)")  # as a list that changes under the page does
    page.locator("#title", has_text="3").wait_for()
    press(page, "Enter")
    wait_until_saved(page, 1)
    assert decisions(review.folder) == {here: ("relabel", "smudge")}


def test_a_key_that_is_held_decides_once(review, page):
    here = in_hand(page)
    for _ in range(6):
        page.keyboard.down("e")  # from the second on as the keyboard repeats it
    page.keyboard.up("e")
    wait_until_saved(page, 1)
    page.wait_for_timeout(300)
    assert decisions(review.folder) == {here: ("exclude", "")}


def test_a_note_stays_with_the_picture_that_it_was_written_for(review, page):
    press(page, "n")
    page.keyboard.type("cut off")
    press(page, "Enter", "ArrowRight", "e")
    wait_until_saved(page, 1)
    assert [row["note"] for row in files.read_csv(review.folder / "corrections.csv")] == [""]


def test_a_decision_that_was_saved_though_its_answer_was_lost_is_shown(review, page):
    here = in_hand(page)

    def lose(route) -> None:
        route.fetch()
        route.abort()

    page.route("**/decide", lose)
    press(page, "e")
    page.locator("#alert:not(:empty)").wait_for()
    page.unroute("**/decide")
    wait_until_saved(page, 1)
    assert here not in tile_names(page) or tile(page, here).get_by_text("excluded", exact=True).is_visible()
    assert decisions(review.folder) == {here: ("exclude", "")}


def test_news_of_others_does_not_take_back_a_decision_that_is_on_its_way(review, page, open_page):
    with reviewing(review.folder) as other:
        colleague = open_page(other.url)
        wait_for_errors(colleague)
        here = in_hand(page)
        with held(page, "**/state?*") as news, held(page, "**/decide") as decision:
            press(colleague, "ArrowRight", "ArrowRight", "e")
            news.wait()
            press(page, "k")
            decision.wait()
            news.let_go()
            page.wait_for_timeout(500)
            assert "kept" in tile(page, here).inner_text()
        wait_until_saved(page, 2)


@pytest.mark.parametrize("address", ["#%E0%A4%A/x", "#class:no such class/-4", "#errors/1e9", "#/"])
def test_an_address_that_names_nothing_opens_the_page_all_the_same(review, open_page, address):
    page = open_page(review.url, address)
    page.locator("#queues").get_by_text("Doubtful labels").wait_for(timeout=180_000)
    page.locator("#queues").get_by_text("Doubtful labels").click()
    page.locator(".tile").first.wait_for()
