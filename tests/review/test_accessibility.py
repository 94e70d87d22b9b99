"""What a person with a screen reader, a keyboard or weak eyes needs of the page."""

import pytest

from tests.review.pages import press, wait_for_errors

# The least contrast (WCAG 2, 1.4.3) of text with its background, and the names of controls without a text.
FAULTS = """() => {
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = numbers(getComputedStyle(one).backgroundColor);
      if (color.length < 4 || color[3] === 1) return color.slice(0, 3);
    }
    return numbers(getComputedStyle(document.documentElement).colorScheme.includes("dark") ? "0 0 0" : "255 255 255");
  };
  const faults = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!element.checkVisibility() || element.closest(":disabled")) continue;
    if (own) {
      const [a, b] = [light(numbers(getComputedStyle(element).color).slice(0, 3)), light(ground(element))];
      const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (contrast < 4.5) faults.push(`${element.tagName}.${element.className}: contrast ${contrast.toFixed(1)}`);
    }
    if (element.matches("button, input, [role=option], a")) {
      const label = element.labels?.[0]?.textContent || element.getAttribute("aria-label") || element.textContent
        || element.title;
      if (!label?.trim()) faults.push(`${element.outerHTML.slice(0, 80)}: no name`);
    }
    if (element.tagName === "IMG" && !element.hasAttribute("alt")) faults.push("img without alt");
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  return [...new Set(faults), ...ids.filter((id, place) => ids.indexOf(id) !== place)];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_control_has_a_name_and_every_text_its_contrast(review, open_page, scheme):
    page = open_page(review.url, color_scheme=scheme)
    wait_for_errors(page)
    for keys in (["e"], ["u"], ["k"], ["1"], ["Space"], ["r"]):
        press(page, *keys)
        assert page.evaluate(FAULTS) == []
    press(page, "Escape", "?")
    assert page.evaluate(FAULTS) == []


def test_tab_reaches_every_part_and_the_focus_is_seen(review, open_page):
    page = open_page(review.url)
    wait_for_errors(page)
    reached = set()
    for _ in range(60):
        press(page, "Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.closest('[id]')?.id || ''"))
    assert {"undo", "help", "queues", "classes", "open", "smaller", "keep", "exclude", "zoom"} - reached == {"undo"}
