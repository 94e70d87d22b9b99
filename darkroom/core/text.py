"""Show text from outside safely: on one line, without markup of its own, short but distinct."""

import html
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence

MARKUP = re.compile(r"[\\&<>`*_\[\]~#|$]|(?<=\bwww)\.|:(?=//)")  # also what begins a link by itself
# At the end of a cell even an escaped backslash would escape the | behind it.
ENTITIES = {"\\": "&#92;", "&": "&amp;", "<": "&lt;", ">": "&gt;"}
# Control characters, those that change the direction of a line, and halves of a character that UTF-8 cannot write.
UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
JOINERS = "\u200c\u200d"  # of emoji and of scripts whose letters join: part of the name


def escape(text: str, medium: str) -> str:
    """Return `text` as `medium` (markdown, terminal or html) shows it unchanged, on one line.

    Line ends are blanks in Markdown and HTML; every other control character, and in a terminal a line end too, is
    written out as \\n, \\x1b or \\u202e, so that a name can neither forge a line nor move the cursor.
    """
    return MEDIA[medium](text)


def one_line(text: str) -> str:
    """Return `text` with blanks for line ends and other control characters written out."""
    return _visible(" ".join(text.splitlines()))


def _visible(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in UNSEEN and char not in JOINERS else char
        for char in text
    )


def _markdown(text: str) -> str:
    text = MARKUP.sub(lambda sign: ENTITIES.get(sign[0], f"\\{sign[0]}"), one_line(text))
    return text.replace("@", "@\u200b")  # nobody is to be notified because a file is called so


MEDIA: dict[str, Callable[[str], str]] = {
    "terminal": _visible,
    "markdown": _markdown,
    "html": lambda text: html.escape(one_line(text)),
}


def shortened(names: Sequence[str], most: int) -> list[str]:
    """Return each name on one line in at most `most` characters; different names stay different.

    The middle of a long name is left out; where names would become the same, what they share; then they are numbered.
    """
    lines = [one_line(name) for name in names]
    short = [_middle(line, most) for line in lines]
    for group in _equal(lines, short):
        head = _shared([lines[i] for i in group])
        tail = _shared([lines[i][head:][::-1] for i in group])
        for i in group:
            end = len(lines[i]) - tail
            start = max(0, min(head, end - most + 2))
            short[i] = _middle(f"{'…' if start else ''}{lines[i][start:end]}{'…' if tail else ''}", most)
    for group in _equal(lines, short):
        for number, i in enumerate(group, 1):
            short[i] = f"{_middle(lines[i], most - len(f' #{number}'))} #{number}"
    return short


def _middle(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}…{text[-(most - most // 2 - 1) :]}" if most > 2 else text[:most]


def _equal(lines: Sequence[str], short: Sequence[str]) -> list[list[int]]:
    """Return the indices of different lines whose short forms are the same, group by group."""
    groups = defaultdict(list)
    for i, text in enumerate(short):
        groups[text].append(i)
    return [group for group in groups.values() if len({lines[i] for i in group}) > 1]


def _shared(lines: Sequence[str]) -> int:
    """Return how many characters all lines begin with alike."""
    return next((i for i, chars in enumerate(zip(*lines, strict=False)) if len(set(chars)) > 1), min(map(len, lines)))
