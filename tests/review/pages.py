"""What tests do on the page: find a tile, press keys, wait for what is shown."""

import re


def tile(page, location: str):
    """Return the tile of an image."""
    return page.locator(f'.tile[aria-label^="{location},"]')


def tile_names(page) -> list[str]:
    """Return the locations of all pictures shown, as their tiles say."""
    labels = page.locator(".tile").evaluate_all("tiles => tiles.map((tile) => tile.getAttribute('aria-label'))")
    return [label.partition(",")[0] for label in labels]


def in_hand(page) -> str:
    """Return the location of the picture in hand, as the inspector shows it."""
    return page.locator("#location").inner_text().rpartition(" (")[0]


def wait_for_errors(page) -> None:
    """Wait until the model has been asked and the first list is there."""
    page.locator(".tile").first.wait_for(timeout=180000)
    page.locator("#answers .bar").first.wait_for()


def wait_until_saved(page, count: int) -> None:
    """Wait until the page says so many decisions are in the file."""
    page.locator("#summary", has_text=re.compile(rf"\b{count} decisions? in")).wait_for()


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
