"""Show names and values from files safely: on one line, with markup escaped, shortened without becoming equal."""

import html
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence

MARKUP = re.compile(r"[\\&<>`*_\[\]~#|$]|(?<=\bwww)\.|:(?=//)")  # `www.` and `://` would become links
# At the end of a table's cell even an escaped backslash would escape the | behind it.
ENTITIES = {"\\": "&#92;", "&": "&amp;", "<": "&lt;", ">": "&gt;"}
# Unicode's categories of control characters, marks of direction, surrogates that UTF-8 cannot write, and line ends.
INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")
JOINERS = "\u200c\u200d"  # part of emoji and of scripts whose letters join
CONTROLS = ("Cc", "Zl", "Zp")  # Unicode's categories of control characters and line ends
SHOWN = 100  # characters of a value in a message
BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # they reorder what follows them


def escape(text: str, medium: str) -> str:
    """Return `text` escaped for `medium` (markdown, terminal or html), so that it is shown as it is, on one line.

    Line ends become spaces in Markdown and HTML. Every other control character, in a terminal also a line end, is
    written out as \\n, \\x1b or \\u202e, so that a name can neither forge a line nor move the cursor.
    """
    return MEDIA[medium](text)


def one_line(text: str) -> str:
    """Return `text` with spaces for line ends, and other control characters written out."""
    return _visible(" ".join(text.splitlines()))


def counted(count: int, what: str) -> str:
    """Return "1 image" or "1,200 images"."""
    return f"{count:,} {what if count == 1 else 'classes' if what == 'class' else what + 's'}"


def quoted(value: object) -> str:
    """Return a value from a file as Python writes it, in at most SHOWN characters, for a message."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def json_line(value: object) -> str:
    """Return `value` as JSON on one line in which a terminal finds no control character or mark of direction."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(json.dumps(char)[1:-1] if _is_hidden(char) else char for char in text)


def without_controls(text: str) -> str:
    """Return `text` with each run of control characters, line ends and marks of direction as one space.

    Joiners stay: emoji and some scripts are written with them.
    """
    spaced = "".join(" " if unicodedata.category(char) in CONTROLS or char in BIDI else char for char in text)
    return text if spaced == text else " ".join(spaced.split())


def _visible(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char.encode("unicode_escape").decode() if _is_hidden(char) else char for char in text)


def _is_hidden(char: str) -> bool:
    return unicodedata.category(char) in INVISIBLE and char not in JOINERS


def _markdown(text: str) -> str:
    text = MARKUP.sub(lambda sign: ENTITIES.get(sign[0], f"\\{sign[0]}"), one_line(text))
    return text.replace("@", "@\u200b")  # a file's name must not notify a person on GitHub


MEDIA: dict[str, Callable[[str], str]] = {
    "terminal": _visible,
    "markdown": _markdown,
    "html": lambda text: html.escape(one_line(text)),
}


def decimal(value: float | None) -> str:
    """Return a number with four digits after the point; a dash for None. A share just below 1 is not rounded up."""
    return "–" if value is None else f"{0.9999 if 0.9999 < value < 1 else value:.4f}"


def percent(share: float) -> str:
    """Return 0.987 as "98.7 %". Only what is exactly 1 or 0 is "100 %" or "0 %": rounding makes nothing certain."""
    if share in (0, 1):
        return f"{share:.0%}".replace("%", " %")
    return "<0.1 %" if 0 < share < 0.0005 else ">99.9 %" if 0.9995 <= share < 1 else f"{100 * share:.1f} %"


def shortened(names: Sequence[str], most: int) -> list[str]:
    """Return each name on one line in at most `most` characters; different names stay different.

    A long name loses its middle. Names that would become equal lose what they share instead, and are numbered where
    that is not enough.
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
    """Return groups of indices: different lines whose short forms are equal."""
    groups = defaultdict(list)
    for i, text in enumerate(short):
        groups[text].append(i)
    return [group for group in groups.values() if len({lines[i] for i in group}) > 1]


def _shared(lines: Sequence[str]) -> int:
    """Return the length of the beginning that all lines share."""
    return next((i for i, chars in enumerate(zip(*lines, strict=False)) if len(set(chars)) > 1), min(map(len, lines)))
