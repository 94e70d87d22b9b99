"""Text and names of files in other encodings than UTF-8: guessed, and said."""

import struct
import zipfile
import zlib

import pytest

from darkroom.core.errors import SourceError
from darkroom.sources.encodings import guess
from darkroom.sources.frames import read_frame
from darkroom.sources.trees import open_tree


def test_an_encoding_that_is_guessed_is_said(tmp_path) -> None:
    frame, notes = read_frame("t.csv", "path,label\n1.jpg,猫\n2.jpg,狗\n".encode("gbk"))
    assert (frame["label"].tolist(), notes[0][:40]) == (["猫", "狗"], "t.csv is not UTF-8 and is read as gbk; s")


@pytest.mark.parametrize(("text", "encoding"), [
    ("猫/花", "gbk"), ("正常/肺炎", "gbk"), ("図書/ねこ", "cp932"), ("café Müller", "cp1252"), ("кошка/пёс", "cp1251"),
    ("고양이/강아지", "cp949"), ("정상/불량", "cp949"), ("貓咪/小狗", "big5"), ("向日葵/玫瑰", "big5"),
    ("猫㐀", "gb18030"), ("cão,limão,maçã", "cp1252"), ("été", "cp1252"),
])  # fmt: skip
def test_encodings(text, encoding) -> None:
    assert guess(text.encode(encoding)) == encoding


@pytest.mark.parametrize(("text", "encoding"), [
    ("кошка/собака", "cp866"), ("кошка/собака", "cp1251"), ("café/Käfer", "cp850"), ("고양이/개", "cp949"),
    ("cão/avião", "cp850"), ("Bär/Löwe/Käse", "cp850"), ("功能/許可", "big5"), ("表面/ソフト", "cp932"),
])  # fmt: skip
def test_encodings_of_names_in_zips(text, encoding) -> None:
    assert guess(text.encode(encoding), dos=True) == encoding


@pytest.mark.parametrize("encoding", ["gbk", "cp932"])
def test_names_in_a_zip_without_the_mark_for_utf_8_are_readable_and_said(tmp_path, encoding) -> None:
    names = {"gbk": ["猫/1.jpg", "狗/2.jpg"], "cp932": ["ねこ/1.jpg", "表/2.jpg"]}[encoding]
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for number in range(2):
            archive.writestr(f"{'X' * len(names[number].encode(encoding))}{number}", b"picture")
    data = (tmp_path / "x.zip").read_bytes()
    for number, name in enumerate(names):
        raw = name.encode(encoding)
        data = data.replace(b"X" * len(raw) + str(number).encode(), raw[:-4] + b"-" + raw[-4:])
    (tmp_path / "x.zip").write_bytes(data)
    tree = open_tree(tmp_path / "x.zip")
    assert sorted(tree.files) == sorted(name.replace(".jpg", "-.jpg") for name in names)
    assert f"they are read as {encoding}" in tree.notes[0]
    assert "if they look wrong, unpack it by `unzip -O ENCODING` and give the folder" in tree.notes[0]
    assert [extent.read() for _, extent in tree.extents(tree.files)] == [b"picture"] * 2


@pytest.mark.parametrize("name", ["γάτα/1.jpg", "../γάτα.jpg"])
def test_a_name_of_unknown_encoding_gives_way_to_the_one_in_utf_8_beside_it(tmp_path, name) -> None:
    info, raw, new = zipfile.ZipInfo("X" * 10), b"\x9a" * 10, name.encode()
    info.extra = struct.pack("<HHBL", 0x7075, 5 + len(new), 1, zlib.crc32(raw)) + new
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, b"picture")
    (tmp_path / "x.zip").write_bytes((tmp_path / "x.zip").read_bytes().replace(b"X" * 10, raw))
    if name.startswith(".."):
        with pytest.raises(SourceError, match="points outside the archive"):
            open_tree(tmp_path / "x.zip")
        return
    tree = open_tree(tmp_path / "x.zip")
    assert (tree.files, tree.notes) == ([name], [])
