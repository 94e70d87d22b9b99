"""Text whose encoding nobody wrote down: tables from spreadsheets, and names in archives."""

import codecs

MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
# Lead bytes of two-byte characters that Shift-JIS uses most and GBK uses for rare characters only.
SHIFT_JIS_LEADS = range(0x81, 0xA0)


def decode(data: bytes) -> tuple[str, str]:
    """Return the text in `data`, and the encoding where it had to be guessed ("" where it was certain)."""
    for mark, encoding in MARKS.items():
        if data.startswith(mark):
            return data.decode(encoding, errors="replace"), ""
    if len(data) > 3 and data[1] == data[3] == 0:
        return data.decode("utf-16-le", errors="replace"), ""
    if len(data) > 3 and data[0] == data[2] == 0:
        return data.decode("utf-16-be", errors="replace"), ""
    try:
        return data.decode("utf-8"), ""
    except UnicodeDecodeError:
        encoding = guess(data)
        return data.decode(encoding, errors="replace"), encoding


def guess(data: bytes) -> str:
    """Return the likely encoding of bytes that are not UTF-8: cp932 (Shift-JIS), gbk, big5, cp1251 or cp1252.

    Chinese and Japanese characters are pairs that begin with a byte above 127; a letter with an accent in cp1252 is one
    such byte between ASCII letters. Where most such bytes stand alone the text is taken for cp1252.
    """
    leads, alone, index = [], 0, 0
    while index < len(data):
        if data[index] < 0x80:
            index += 1
        elif index + 1 < len(data) and data[index + 1] >= 0x80:
            leads.append(data[index])
            index += 2
        elif data[index] in SHIFT_JIS_LEADS and index + 1 < len(data) and data[index + 1] >= 0x40:
            leads.append(data[index])  # the second byte of Shift-JIS may be an ASCII letter
            index += 2
        else:
            alone += 1
            index += 1
    if alone > len(leads):
        return "cp1252"
    order = ("cp932", "gbk") if any(lead in SHIFT_JIS_LEADS for lead in leads) else ("gbk", "big5", "cp932")
    # Letters with accents seldom stand side by side; those of Cyrillic always do.
    return next((encoding for encoding in order if _decodes(data, encoding)), "cp1251")


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def few_of(names: list[str], shown: int = 5) -> str:
    """Return the first of `names`, for a message."""
    return ", ".join(map(printable, names[:shown])) + (", …" if len(names) > shown else "")


def printable(name: str) -> str:
    """Return `name` as it can stand in a line of a message: bytes that are not text, line ends and control characters
    as escapes, 100 characters at most."""
    text = name.encode("utf-8", "backslashreplace").decode()
    shown = (
        text
        if text.isprintable()
        else "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
    )
    return shown if len(shown) <= 100 else shown[:99] + "…"
