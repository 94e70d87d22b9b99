"""Tables as spreadsheets and tools write them: each is read into the same columns and rows, always as text."""

import pytest

from darkroom.sources.tables import _reader

ROWS = [{"path": "a.jpg", "label": "007"}, {"path": "b.jpg", "label": "nan"}]
PLAIN = "path,label\na.jpg,007\nb.jpg,nan\n"
TABLES = {
    "plain": PLAIN.encode(),
    "utf-8 with a mark": PLAIN.encode("utf-8-sig"),
    "utf-16 little endian": b"\xff\xfe" + PLAIN.encode("utf-16-le"),
    "utf-16 big endian": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    "utf-16 with tabs": PLAIN.replace(",", "\t").encode("utf-16"),
    "sep= line": b"sep=;\r\n" + PLAIN.replace(",", ";").replace("\n", "\r\n").encode(),
    "blank lines first": b"\n\r\n" + PLAIN.encode(),
    "comment first": b"# exported by a tool\n" + PLAIN.encode(),
    "spaces after commas": PLAIN.replace(",", ", ").encode(),
    "spaces before quotes": b'"path", "label"\n"a.jpg", "007"\n"b.jpg", "nan"\n',
    "blank line between rows": PLAIN.replace("\nb", "\n\nb").encode(),
}


@pytest.mark.parametrize("data", TABLES.values(), ids=TABLES.keys())
def test_a_table_is_read_as_it_was_meant(data: bytes) -> None:
    assert list(_reader(data)) == ROWS


def test_a_header_that_begins_with_a_hash_is_not_a_comment() -> None:
    assert _reader(b"#id,label\n1,cat\n").fieldnames == ["#id", "label"]
