"""Guess the encoding of a text that does not declare one: tables from spreadsheets, and names in archives."""

import codecs
import re
from collections import Counter

from darkroom.core.text import escape

MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
# Lead bytes of two-byte characters that Shift-JIS uses most and GBK uses for rare characters only.
SHIFT_JIS_LEADS = frozenset(range(0x81, 0xA0))
COMMON_KOREAN = frozenset(
    "이다는을의에가고하지한사기리어나서자도로인대시아그정수은일라부여해보스구장주과상만제전음오모물무소안연성동신원진마산"
    "강개고양토끼말새곰꽃나비용유비치호랑두미차경조방생화바포집불선우영운계반식품공세르트크드드레타파카프테코키피"
)
CP866, CP1251 = range(0x80, 0xB0), (*range(0xC0, 0xE0), *range(0xF0, 0x100))  # letters in one of the two only
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
    """Return the likely encoding of bytes that are not UTF-8: cp932, cp949, gbk, big5, cp1251 or cp1252.

    With `dos`, for names in zips, it is cp866 for cp1251, and cp437 for cp1252, as Windows writes them.

    Chinese, Japanese and Korean characters are pairs that begin with a byte above 127. In cp1252, an accented letter is
    a single such byte between ASCII letters; in Cyrillic, such bytes follow each other.
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
    """Count the first bytes of what may be two-byte characters, and the high bytes that are in none."""
    leads, alone, index = Counter[int](), 0, 0
    while index < len(data):
        second = data[index + 1] if index + 1 < len(data) else 0
        if data[index] < 0x80:
            index += 1
        elif second >= 0x80 or (data[index] in SHIFT_JIS_LEADS and second >= 0x40):  # in Shift-JIS also ASCII letters
            leads[data[index]] += 1
            index += 2
        else:
            alone += 1
            index += 1
    return leads, alone


def _is_korean(data: bytes) -> bool:
    """Return whether half of the different characters are common in Korean; of Chinese read as Korean 5 % are."""
    found = {char for char in data.decode("cp949") if char > "\x7f"} if _decodes(data, "cp949") else set()
    return bool(found) and len(found & COMMON_KOREAN) * 2 >= len(found)


def _is_halfwidth(data: bytes) -> bool:
    """Return whether bytes read as Shift-JIS are mostly halfwidth katakana and private characters.

    Such texts are very rare: the bytes are of another encoding.
    """
    chars = [char for char in data.decode("cp932", errors="ignore") if char > "\x7f"]
    return sum("\uff61" <= char <= "\uff9f" or "\ue000" <= char <= "\uf8ff" for char in chars) * 2 > len(chars)


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def is_text(name: str) -> bool:
    """Return whether a file's name is UTF-8, as an index requires."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def few_of(names: list[str], shown: int = 5) -> str:
    """Return the first of `names`, for a message."""
    return ", ".join(map(printable, names[:shown])) + (", …" if len(names) > shown else "")


def printable(name: str) -> str:
    """Return `name` for a message: control characters, and bytes that are not text, escaped; at most 100 characters."""
    shown = escape(name, "terminal")
    return shown if len(shown) <= 100 else shown[:99] + "…"
