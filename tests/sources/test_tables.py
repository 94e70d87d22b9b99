"""Tables as spreadsheets and tools write them: each is read into the same columns and rows, always as text."""

import io
import json
import zipfile

import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from darkroom.core.errors import SourceError
from darkroom.core.text import without_controls
from darkroom.sources import frames
from darkroom.sources.encodings import printable
from darkroom.sources.frames import read_frame
from darkroom.sources.labels import LayoutOptions
from darkroom.sources.layouts import read_layout
from darkroom.sources.trees import open_tree

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
    "a comment with a comma": b"# exported 2024-01-01, by tool\n" + PLAIN.encode(),
    "a quoted header with commas": b'path;"label"\n' + PLAIN.replace(",", ";").split("\n", 1)[1].encode(),
    "utf-16 without a mark": PLAIN.encode("utf-16-le"),
    "pipes": PLAIN.replace(",", "|").encode(),
    "a separator at each line's end": PLAIN.replace("\n", ",\n").replace("label,", "label").encode(),
    "empty cells before the header": b",,\n" + PLAIN.encode(),
    "spaces after commas": PLAIN.replace(",", ", ").encode(),
    "spaces before quotes": b'"path", "label"\n"a.jpg", "007"\n"b.jpg", "nan"\n',
    "blank line between rows": PLAIN.replace("\nb", "\n\nb").encode(),
}


@pytest.mark.parametrize("data", TABLES.values(), ids=TABLES.keys())
def test_a_table_is_read_as_it_was_meant(data: bytes) -> None:
    frame, notes = read_frame("labels.csv", data)
    assert (frame.to_dict("records"), notes) == (ROWS, [])


def test_a_header_that_begins_with_a_hash_is_not_a_comment() -> None:
    assert list(read_frame("t.csv", b"#id,label\n1,cat\n")[0].columns) == ["#id", "label"]


def test_excel_json_lines_and_parquet_give_the_same_text(tmp_path) -> None:
    pd.DataFrame(ROWS).to_excel(tmp_path / "t.xlsx", index=False)
    pd.DataFrame(ROWS).to_parquet(tmp_path / "t.parquet")
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n\n" for row in ROWS))
    for name in ("t.xlsx", "t.parquet", "t.jsonl"):
        assert read_frame(name, (tmp_path / name).read_bytes())[0].to_dict("records") == ROWS


def test_numbers_in_json_lines_and_parquet_stay_as_they_are_written(tmp_path) -> None:
    frame, _ = read_frame("t.jsonl", b'{"file_name": "1.jpg", "label": 1e5}\n{"file_name": "2.jpg", "label": null}\n')
    assert frame["label"].tolist() == ["1e5", ""]


FOUR = "1.jpg 2.jpg 3.jpg 4.jpg"


def found(root, table, text, images=FOUR, **options):
    """Return the labels of empty images by a table, as "file label [split]" lines, and the notes."""
    for name in images.split():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    tables = {table: text} if isinstance(table, str) else dict(zip(table, text, strict=True))
    for name, content in tables.items():
        (root / name).write_text(content)
    read = read_layout(open_tree(root), LayoutOptions(**options))
    return [f"{s.location} {s.label} {s.split}".strip() for s in read.samples], read.notes


CATS = ["1.jpg cat", "2.jpg cat", "3.jpg dog", "4.jpg dog"]
HEADED = "path,label\n1.jpg,cat\n2.jpg,cat\n3.jpg,dog\n4.jpg,dog\n"
SITUATIONS = {
    "no header": (HEADED.split("\n", 1)[1], FOUR, "has no header"),
    "one-hot": ("image,cat,dog\n1,1,0\n2,1.0,0.0\n3,0,1\n4,0,1\n", FOUR, "columns of zeros and ones"),
    "one-hot as true and false": ("image,cat,dog\n1,True,False\n2,TRUE,FALSE\n3,false,true\n4,False,True\n",
                                  FOUR, "columns of zeros and ones"),
    "other case": (HEADED.upper().replace("CAT", "cat").replace("DOG", "dog"), FOUR,
                   "differ in upper and lower case"),
    "addresses": (HEADED.replace("1.jpg", "gs://bucket/set/1.jpg").replace("2.jpg", "file:///home/me/2.jpg"),
                  FOUR, ""),
    "windows": (HEADED.replace("3.jpg", "C:\\\\photos\\\\3.jpg"), FOUR, ""),
    "an index column": (",image,label\n0,1,cat\n1,2,cat\n2,3,dog\n3,4,dog\n", FOUR, ""),
    "two columns of labels": ("id,label,breed\n1,cat,x\n2,cat,y\n3,dog,z\n4,dog,w\n", FOUR,
                              "label is read as the label, and not breed"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "images", "note"), SITUATIONS.values(), ids=SITUATIONS.keys())
def test_situations(tmp_path, text, images, note) -> None:
    samples, notes = found(tmp_path, "labels.csv", text, images)
    assert samples == CATS
    assert any(note in line for line in notes) if note else notes == []


def test_lost_zeros_count_where_all_rows_fit(tmp_path) -> None:
    samples, notes = found(tmp_path, "t.csv", "id,label\n7,cat\n10,dog\n", "0007.jpg 0010.jpg")
    assert samples == ["0007.jpg cat", "0010.jpg dog"]
    assert "lack leading zeros" in notes[0]
    with pytest.raises(SourceError, match="finds no labelled image"):
        found(tmp_path, "t.csv", "id,label\n7,cat\n11,dog\n", layout="csv", images="")


def test_a_flag_is_an_official_split(tmp_path) -> None:
    text = "name,label,is_valid\n1.jpg,cat,True\n2.jpg,cat,False\n3.jpg,dog,False\n4.jpg,dog,True\n"
    samples, notes = found(tmp_path, "t.csv", text)
    assert samples == ["1.jpg cat val", "2.jpg cat train", "3.jpg dog train", "4.jpg dog val"]
    assert notes == ["t.csv: is_valid is read as an official split"]
    assert found(tmp_path, "t.csv", text, split_column="")[0] == CATS


def test_train_and_val_tables_are_two_parts_and_a_sample_submission_is_neither(tmp_path) -> None:
    parts = ["path,label\n1.jpg,cat\n3.jpg,dog\n", "path,label\n2.jpg,cat\n4.jpg,dog\n", "id,label\n1,cat\n"]
    samples, notes = found(tmp_path, ["train.csv", "val.csv", "sample_submission.csv"], parts)
    assert samples == ["1.jpg cat train", "2.jpg cat val", "3.jpg dog train", "4.jpg dog val"]
    assert notes == ["not read for labels: sample_submission.csv"]


def test_an_unknown_column_lists_table_columns_rows_and_params(tmp_path) -> None:
    text = "id_code,diagnosis\n1,0\n2,1\n3,0\n4,1\n"
    wanted = (r"train.csv has the columns id_code, diagnosis; name the right ones in params.yaml: "
              r"path_column \(now auto\), label_column \(now auto\); first rows: 1, 0; 2, 1; 3, 0")  # fmt: skip
    for layout in ("auto", "csv"):
        with pytest.raises(SourceError, match=wanted):
            found(tmp_path, "train.csv", text, layout=layout)
    assert found(tmp_path, "train.csv", text, path_column="id_code", label_column="diagnosis")[0][0] == "1.jpg 0"


def test_cells_with_several_labels_are_reported(tmp_path) -> None:
    for text in ("image,label\n1,cat\n2,cat|dog\n3,dog\n4,dog\n", "image,label\n1,cat\n2,cat dog\n3,dog\n4,dog\n"):
        assert "1 labels look like several in one cell" in found(tmp_path, "t.csv", text)[1][0]
    assert found(tmp_path, "t.csv", "image,label\n1,polar bear\n2,cat\n3,dog\n4,dog\n")[1] == []


def test_words_in_a_column_called_labels_are_several_labels_unless_most_labels_have_words(tmp_path) -> None:
    assert "1 labels look like" in found(tmp_path, "t.csv", "image,labels\n1,scab rust\n2,cat\n3,dog\n4,dog\n")[1][0]
    assert found(tmp_path, "t.csv", "image,labels\n1,barn owl\n2,barn owl\n3,house finch\n4,osprey\n")[1] == []


def test_a_cell_too_many_is_not_cut_off(tmp_path) -> None:
    with pytest.raises(SourceError, match="row 3 has more cells than the header's 2, such as 'small'; put cells"):
        found(tmp_path, "t.csv", "path,label\n1.jpg,cat\n2.jpg,cat, small\n3.jpg,dog\n", layout="csv")


def test_group_by_is_a_regular_expression_on_the_paths_of_a_table(tmp_path) -> None:
    for name in ("p1_1.jpg", "p1_2.jpg", "p2_1.jpg"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "t.csv").write_text("path,label\np1_1.jpg,a\np1_2.jpg,b\np2_1.jpg,a\n")
    read = read_layout(open_tree(tmp_path), LayoutOptions(group_by=r"(p\d)_"))
    assert [sample.group for sample in read.samples] == ["p1", "p1", "p2"]


def test_backslashes_in_a_zip_are_folders_and_an_archive_may_be_in_upper_case(tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "X.ZIP", "w") as archive:
        for name in ("cat\\1.jpg", "dog\\2.jpg"):
            archive.writestr(name.replace("\\", "-"), b"")
            archive.infolist()[-1].filename = name
    assert open_tree(tmp_path / "X.ZIP").files == ["cat/1.jpg", "dog/2.jpg"]


@pytest.mark.parametrize(("system", "files"), [(0, ["a/1.jpg", "b/2.jpg"]), (3, ["a/1.jpg", "b\\2.jpg"])])
def test_backslashes_beside_slashes_are_folders_in_zips_of_windows(tmp_path, system, files) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("a/1.jpg", "b\\2.jpg"):
            info = zipfile.ZipInfo(name)
            info.create_system = system
            archive.writestr(info, b"")
    assert open_tree(tmp_path / "x.zip").files == files


def test_archives_in_a_folder_are_named(tmp_path) -> None:
    for name in ("cat.zip", "dog.zip"):
        zipfile.ZipFile(tmp_path / name, "w").close()
    with pytest.raises(SourceError, match=r"holds archives and no images: cat.zip, dog.zip; unpack them"):
        read_layout(open_tree(tmp_path), LayoutOptions())


def test_line_ends_and_controls_in_labels_become_spaces_and_are_said(tmp_path) -> None:
    samples, notes = found(tmp_path, "t.csv", 'path,label\n1.jpg,"new\nline"\n2.jpg,\x1b[31mred\n3.jpg,b\n4.jpg,b\n')
    assert samples[:2] == ["1.jpg new line", "2.jpg [31mred"]
    assert "2 labels have line ends or control characters" in notes[0]
    assert [without_controls(label) for label in ("a\u2028b", "x\u202ey", "👩‍🚀", "\n")] == ["a b", "x y", "👩‍🚀", ""]
    assert printable("a\nb\x1b") == "a\\nb\\x1b"


def test_metadata_in_each_split_folder_is_one_table_in_parts(tmp_path) -> None:
    rows = "file_name,label\n1.jpg,cat\n2.jpg,dog\n"
    images = "train/1.jpg train/2.jpg test/1.jpg test/2.jpg"
    samples, notes = found(tmp_path, ["train/metadata.csv", "test/metadata.csv"], [rows, rows], images)
    assert samples == ["test/1.jpg cat test", "test/2.jpg dog test", "train/1.jpg cat train", "train/2.jpg dog train"]
    assert notes == []


def test_a_file_in_two_parts_is_reported(tmp_path) -> None:
    parts = ["id,label\n1,a\n2,b\n3,a\n", "id,label\n1,a\n4,b\n"]
    assert found(tmp_path, ["train.csv", "val.csv"], parts)[1] == [
        "1 rows name a file again in another split, and the first counts: 1"
    ]


def test_a_table_that_contradicts_class_folders_says_so(tmp_path) -> None:
    images = "a/1.jpg a/2.jpg b/3.jpg b/4.jpg"
    _, notes = found(tmp_path, "t.csv", "filename,class\n1.jpg,x\n2.jpg,y\n3.jpg,x\n4.jpg,y\n", images)
    assert notes[0].startswith(
        "the labels of the table are taken, which divide the class folders otherwise: a/1.jpg is x"
    )
    assert found(tmp_path, "t.csv", "filename,class\n1.jpg,a\n2.jpg,a\n3.jpg,b\n4.jpg,b\n", images)[1] == []


@pytest.mark.parametrize("first", ["1,1", "0,0"])
def test_columns_of_zeros_and_ones_with_two_ones_or_none_in_a_row_are_no_labels(tmp_path, first) -> None:
    with pytest.raises(SourceError, match="has the columns image, a, b; name the right ones"):
        found(tmp_path, "t.csv", f"image,a,b\n1,{first}\n2,1,0\n3,0,1\n4,0,1\n", layout="csv")


def test_a_row_of_more_cells_than_any_table_has_is_rejected_at_once():
    text = ",".join("abcde" for _ in range(20_001))
    with pytest.raises(SourceError, match=r"^t.csv: a row has 20,001 cells, and at most 20,000 are read; write pixels"):
        read_frame("t.csv", text.encode())


@pytest.mark.parametrize("change", ["cell", "merge"])
def test_a_sheet_that_reaches_to_the_last_cell_is_rejected_before_its_cells_are_made(change):
    import openpyxl  # type: ignore[import-untyped]

    book, file = openpyxl.Workbook(), io.BytesIO()
    book.active.append(["id", "label"])
    book.active.append(["1.jpg", "cat"])
    if change == "cell":
        book.active["XFD1048576"] = "x"
    book.save(file)
    if change == "merge":
        whole, file = zipfile.ZipFile(file), io.BytesIO()
        with zipfile.ZipFile(file, "w") as packed:
            for name in whole.namelist():
                cells = b'</sheetData><mergeCells count="1"><mergeCell ref="A1:XFD1048576"/></mergeCells>'
                packed.writestr(name, whole.read(name).replace(b"</sheetData>", cells))
    with pytest.raises(
        SourceError, match=r"^t.xlsx: sheet.* reaches over 17,179,869,184 cells, and at most 20,000,000"
    ):
        read_frame("t.xlsx", file.getvalue())


def test_a_workbook_that_unpacks_to_gigabytes_is_rejected_before_it_is_unpacked(monkeypatch):
    file = io.BytesIO()
    pd.DataFrame(ROWS).to_excel(file, index=False)
    monkeypatch.setattr(frames, "MAX_BYTES", 1000)
    with pytest.raises(SourceError, match=r"^t.xlsx unpacks to [\d,]+ bytes, and at most 1,000 are read; divide it$"):
        read_frame("t.xlsx", file.getvalue())


def test_a_parquet_of_few_bytes_that_unpacks_to_gigabytes_is_rejected_on_the_way(monkeypatch):
    file = io.BytesIO()
    pd.DataFrame({"path": ["x" * 1000] * 20_000, "label": "a"}).to_parquet(file)
    assert len(file.getvalue()) < 10_000
    monkeypatch.setattr(frames, "MAX_BYTES", 10_000_000)
    with pytest.raises(SourceError, match=r"^t.parquet unpacks to more than 10,000,000 bytes; divide it$"):
        read_frame("t.parquet", file.getvalue())


def test_a_parquet_without_rows_keeps_its_columns():
    file = io.BytesIO()
    pd.DataFrame({"path": [], "label": []}).to_parquet(file)
    assert list(read_frame("t.parquet", file.getvalue())[0].columns) == ["path", "label"]


def test_a_parquet_of_the_hub_gives_its_class_numbers_their_names():
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}, "file_name": {"dtype": "string"}}
    table = pa.table({"file_name": ["1.jpg", "2.jpg", "3.jpg"], "label": [0, 1, -1]})
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}),
                   file := io.BytesIO())  # fmt: skip
    assert read_frame("t.parquet", file.getvalue())[0]["label"].tolist() == ["cat", "dog", ""]


def test_a_name_of_thousands_of_digits_has_no_file(tmp_path):
    (tmp_path / "0001.jpg").write_bytes(b"x")
    (tmp_path / "t.csv").write_text(f"id,label\n1,a\n{'9' * 5000},b\n")
    with pytest.raises(SourceError, match=r"9{90}.{,200}$"):
        read_layout(open_tree(tmp_path), LayoutOptions(layout="csv"))
