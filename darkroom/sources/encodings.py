"""Guess the encoding of a text that does not declare one: tables from spreadsheets, and names in archives."""

import codecs
import re
from collections import Counter

MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
# Lead bytes of two-byte characters that Shift-JIS uses most and GBK uses for rare characters only.
SHIFT_JIS_LEADS = frozenset(range(0x81, 0xA0))
COMMON_KOREAN = frozenset(
    "이다는을의에가고하지한사기리어나서자도로인대시아그정수은일라부여해보스구장주과상만제전음오모물무소안연성동신원진마산"
    "강개고양토끼말새곰꽃나비용유비치호랑두미차경조방생화바포집불선우영운계반식품공세르트크드드레타파카프테코키피"
)
CP866, CP1251 = range(0x80, 0xB0), (*range(0xC0, 0xE0), *range(0xF0, 0x100))  # letters of the one alone
HIGH = re.compile(rb"[\x80-\xff]+")


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


def guess(data: bytes, dos: bool = False) -> str:
    """Return the likely encoding of bytes that are not UTF-8: cp932 (Shift-JIS), euc-kr, gbk, big5, cp1251 or cp1252.

    `dos` is for names in zips, which Windows writes in cp866 for cp1251, and in cp437 for cp1252.

    Chinese, Japanese and Korean characters are pairs that begin with a byte above 127; a letter with an accent in
    cp1252 is one such byte between ASCII letters, those of Cyrillic stand side by side.
    """
    runs = [len(run) for run in HIGH.findall(data)]
    if runs.count(1) > len(runs) / 2 and not _decodes(data, "cp932"):
        return "cp437" if dos else "cp1252"
    leads, alone = _pairs(data)
    if alone > leads.total():
        return "cp437" if dos else "cp1252"
    if _is_korean(data):
        return "cp949"
    order = ("cp932", "gbk") if SHIFT_JIS_LEADS & leads.keys() else ("gbk", "big5", "cp932")
    for encoding in order:
        if _decodes(data, encoding) and not (encoding == "cp932" and _is_halfwidth(data)):
            return encoding
    in_866, in_1251 = (sum(byte in letters for byte in data) for letters in (CP866, CP1251))
    return "cp866" if dos and in_866 > in_1251 else "cp1251"


def _pairs(data: bytes) -> tuple[Counter[int], int]:
    """Return the first bytes of what may be characters of two bytes, and how many high bytes stand alone."""
    leads, alone, index = Counter[int](), 0, 0
    while index < len(data):
        second = data[index + 1] if index + 1 < len(data) else 0
        if data[index] < 0x80:
            index += 1
        elif second >= 0x80 or (data[index] in SHIFT_JIS_LEADS and second >= 0x40):  # may be an ASCII letter
            leads[data[index]] += 1
            index += 2
        else:
            alone += 1
            index += 1
    return leads, alone


def _is_korean(data: bytes) -> bool:
    """Tell whether half of the different signs are among the commonest of Korean: of Chinese that is read as Korean it
    is one in twenty."""
    found = {sign for sign in data.decode("cp949") if sign > "\x7f"} if _decodes(data, "cp949") else set()
    return bool(found) and len(found & COMMON_KOREAN) * 2 >= len(found)


def _is_halfwidth(data: bytes) -> bool:
    """Tell whether bytes read as Shift-JIS are mostly halfwidth katakana and what stands for no sign, which hardly
    anybody writes: they are of another alphabet."""
    signs = [sign for sign in data.decode("cp932", errors="ignore") if sign > "\x7f"]
    return sum("\uff61" <= sign <= "\uff9f" or "\ue000" <= sign <= "\uf8ff" for sign in signs) * 2 > len(signs)


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def is_text(name: str) -> bool:
    """Tell whether a file's name is UTF-8, and can stand in an index."""
    try:
        name.encode()
    except UnicodeEncodeError:
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
