"""Guess the encoding of a text that does not declare one: tables from spreadsheets, and names in archives."""

import codecs
import re

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
PAIR = re.compile(rb"[\x81-\xfe][\x40-\xfe]")  # what may be a character of two bytes
WORD = re.compile(rb"[A-Za-z]*[\x80-\xff][A-Za-z\x40\x5b-\x60\x7b-\xff]*")


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
    """Return the likely encoding of bytes that are not UTF-8: cp932, cp949, gbk, gb18030, big5, cp1251 or cp1252.

    With `dos`, for names in zips, it is cp866 for cp1251, and cp850 for cp1252, as Windows writes them.

    Chinese, Japanese and Korean characters are pairs that begin with a byte above 127; the second may be an ASCII
    letter. In cp1252, an accented letter is such a byte in a word of ASCII letters; Cyrillic words have none of these.
    """
    western = "cp850" if dos else "cp1252"
    words = WORD.findall(data)
    if sum(map(_is_western, words)) * 2 >= len(words):
        return western
    if _is_korean(data):
        return "cp949"
    pairs = PAIR.findall(data)
    chinese = sorted(("gbk", "big5", "gb18030"), key=lambda encoding: -_count_common(pairs, encoding))
    japanese = SHIFT_JIS_LEADS.intersection(pair[0] for pair in pairs)
    for encoding in ("cp932", *chinese) if japanese else (*chinese, "cp932"):
        usual = not _is_halfwidth(data) if encoding == "cp932" else _count_common(pairs, encoding) * 4 >= len(pairs)
        if usual and _decodes(data, encoding):
            return encoding
    runs = [len(run) for run in HIGH.findall(data)]
    if runs.count(1) * 2 > len(runs):
        return western
    in_866, in_1251 = (sum(byte in letters for byte in data) for letters in (CP866, CP1251))
    return "cp866" if dos and in_866 > in_1251 else "cp1251"


def _is_western(word: bytes) -> bool:
    """Return whether a word, such as `B\xe4r`, has ASCII letters outside of pairs, more than pairs of high bytes."""
    pairs = [pair for pair in PAIR.findall(word) if pair[1] >= 0x80]
    letters = sum(byte < 0x80 for byte in PAIR.sub(b"", word))
    return letters > len(pairs)


def _count_common(pairs: list[bytes], encoding: str) -> int:
    """Count the pairs that are common characters of simplified (GB 2312) or of traditional Chinese (Big5)."""
    if encoding == "big5":
        return sum(0xA4 <= lead <= 0xC6 for lead, _ in pairs)
    return sum(0xB0 <= lead <= 0xD7 and second >= 0xA1 for lead, second in pairs)


def _is_korean(data: bytes) -> bool:
    """Return whether all characters are Korean, and two in five of the different ones common; of Chinese 5 % are."""
    found = {char for char in data.decode("cp949") if char > "\x7f"} if _decodes(data, "cp949") else set()
    return all("가" <= char <= "힣" for char in found) and len(found & COMMON_KOREAN) * 5 >= 2 * len(found) > 0


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


def few_of(names: list[str]) -> str:
    """Return the first five of `names`, for a message."""
    return ", ".join(map(printable, names[:5])) + (", …" if len(names) > 5 else "")


def printable(name: str) -> str:
    """Return `name` for a message: control characters, and bytes that are not text, escaped; at most 100 characters."""
    shown = escape(name, "terminal")
    return shown if len(shown) <= 100 else shown[:99] + "…"
