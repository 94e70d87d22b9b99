"""Archives and shards in place of folders: zips of zips, one a class, WebDataset's tars, Parquet with pictures."""

import io
import json
import tarfile
import zipfile
from collections import Counter

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from darkroom.core.errors import SourceError
from darkroom.core.runtime import from_environment
from darkroom.images.decode import decode
from darkroom.images.framing import Framing
from darkroom.sources.labels import LayoutOptions
from darkroom.sources.open import open_source
from darkroom.sources.trees import Locations
from tests.images.pictures import encoded
from tests.sources.archives import parquet, picture, zipped
from tests.stages.pipeline import run_all


def tarred(files, mode="w"):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return data.getvalue()


def opened(source, raw, **options):
    """Return the source as fetch opens it; each picture is read as later stages read it, with its level: {location:
    level}."""
    raw.mkdir(exist_ok=True)
    found = open_source(source, raw, LayoutOptions(**options), from_environment())
    later = Locations(source, raw, None)  # in another process, without what was opened
    levels = {location: int(decode(extent.read(), Framing(8, "stretch", 8)).mean().round())
              for location, extent in later.extents([sample.location for sample in found.samples])}  # fmt: skip
    assert levels.keys() == {sample.location for sample in found.samples}
    return found, levels


def classes(found):
    return dict(Counter(sample.label for sample in found.samples))


CATS = {f"{n}.jpg": picture(10 + n) for n in range(3)}
DOGS = {f"{n}.jpg": picture(100 + n) for n in range(3)}


@pytest.mark.parametrize("suffix", [".zip", ".ZIP", ".tar", ".tar.gz"])
def test_one_archive_a_class(tmp_path, suffix):
    folder = tmp_path / "set"
    folder.mkdir()
    for name, files in (("cat", CATS), ("dog", DOGS)):
        data = zipped(files) if suffix.lower() == ".zip" else tarred(files, "w:gz" if suffix == ".tar.gz" else "w")
        (folder / (name + suffix)).write_bytes(data)
    found, levels = opened(folder, tmp_path / "raw")
    assert classes(found) == {"cat": 3, "dog": 3}
    assert levels[f"dog{suffix}::2.jpg"] == 102
    assert f"2 files are read like folders of their names: cat{suffix}, dog{suffix}" in found.notes


def test_an_empty_archive_of_a_class_is_said(tmp_path):
    (tmp_path / "set").mkdir()
    for name, files in (("cat", CATS), ("dog", DOGS), ("bird", {})):
        (tmp_path / "set" / f"{name}.zip").write_bytes(zipped(files))
    assert "1 folders are empty: bird" in opened(tmp_path / "set", tmp_path / "raw")[0].notes


@pytest.mark.parametrize(("name", "advice"), [
    ("photos.rar", "unpack it"), ("train.tar.zst", "unpack it"), ("breast.npz", "write its images into folders"),
    ("data-00000-of-00001.arrow", "write it as Parquet, with `to_parquet`"), ("labels.xls", "save it as .xlsx or .csv"),
])  # fmt: skip
def test_files_that_are_not_read_say_what_to_do(tmp_path, name, advice):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(SourceError, match=rf"holds no images; it holds 1 files .* {name} is not read: {advice}."):
        opened(tmp_path, tmp_path / "raw")


def test_a_table_of_pixels_is_no_table_of_images(tmp_path):
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n0,70 80 90,Training\n")
    with pytest.raises(SourceError, match=r"holds no images: fer2013.csv stands alone; .*pixels in cells are not read"):
        opened(tmp_path / "fer2013.csv", tmp_path / "raw")


def test_archives_of_splits_beside_a_table(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/train.zip").write_bytes(zipped({f"train/{name}": data for name, data in CATS.items()}))
    (tmp_path / "set/test.zip").write_bytes(zipped({f"test/{n + 7}.jpg": picture(1) for n in range(3)}))
    (tmp_path / "set/labels.csv").write_text("id,label\n0,a\n1,b\n2,a\n")
    found, levels = opened(tmp_path / "set", tmp_path / "raw")
    assert classes(found) == {"a": 2, "b": 1}
    assert levels == {f"train.zip::train/{n}.jpg": 10 + n for n in range(3)}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("outer", [".zip", ".tar", ".tar.gz"])
def test_archives_in_an_archive(tmp_path, method, outer):
    train = {
        f"train/{label}.{n}.jpg": picture(level + n) for label, level in (("cat", 10), ("dog", 100)) for n in range(4)
    }
    files = {"train.zip": zipped(train, method), "test1.zip": zipped({f"test1/{n}.jpg": picture(1) for n in range(4)}),
             "sampleSubmission.csv": b"id,label\n1,0\n"}  # fmt: skip
    source = tmp_path / f"dogs{outer}"
    source.write_bytes(
        zipped(files, method) if outer == ".zip" else tarred(files, "w:gz" if outer == ".tar.gz" else "w")
    )
    found, levels = opened(source, tmp_path / "raw")
    assert (found.layout, classes(found)) == ("names", {"cat": 4, "dog": 4})
    assert levels["raw:train.zip::train/dog.3.jpg"] == 103
    assert f"2 archives in dogs{outer} are unpacked into data/raw: test1.zip, train.zip" in found.notes


def test_archives_in_an_archive_become_shards(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inner = {f"{name}.zip": zipped({f"{n}.jpg": encoded(place + n) for n in range(8)})
             for name, place in (("china", 0), ("flower", 18))}  # fmt: skip
    (tmp_path / "set.zip").write_bytes(zipped(inner))
    assert run_all("set.zip").endswith("images of 32 px (0 set aside)")


def test_archives_three_deep_are_named(tmp_path):
    inner = zipped({"b.zip": zipped({"cat/1.jpg": picture(1)})})
    (tmp_path / "x.zip").write_bytes(zipped({"a.zip": inner}))
    with pytest.raises(SourceError, match=r"holds archives and no images: a/b.zip; unpack them"):
        opened(tmp_path / "x.zip", tmp_path / "raw")


def test_a_damaged_archive_in_an_archive_is_named(tmp_path):
    whole = zipped({"cat/1.jpg": picture(1)})
    (tmp_path / "x.zip").write_bytes(zipped({"a.zip": whole[:-30]}))
    with pytest.raises(SourceError, match=r"a.zip is not a whole zip archive"):
        opened(tmp_path / "x.zip", tmp_path / "raw")


def test_a_users_file_with_colons_is_no_member(tmp_path):
    for name in ("cat/a.zip::1.jpg", "dog/2.jpg"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(picture(5))
    assert opened(tmp_path / "set", tmp_path / "raw")[1] == {"cat/a.zip::1.jpg": 5, "dog/2.jpg": 5}


def shard(start, label, extension, write):
    """Return the members of a WebDataset shard: pictures, and what `write(label)` says beside each."""
    members = {}
    for number in range(start, start + 4):
        members[f"{number:06}.jpg"] = picture(number)
        members[f"{number:06}.{extension}"] = write(label(number)).encode()
    return members


@pytest.mark.parametrize(("extension", "write"), [
    ("cls", str), ("cls", "{}\n".format), ("json", lambda label: json.dumps({"label": label, "width": 8})),
    ("json", lambda label: json.dumps({"class": label, "caption": "x"})),
    ("json", lambda label: json.dumps({"meta": {"label": label}})), ("txt", str), ("label.cls", str),
], ids=["cls", "cls with a line end", "json", "json with class", "json in json", "txt", "two dots"])  # fmt: skip
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_webdataset_shards(tmp_path, extension, write, mode):
    (tmp_path / "set").mkdir()
    suffix = ".tar" if mode == "w" else ".tar.gz"
    for split, start in (("train-000000", 0), ("train-000001", 4), ("val-000000", 8)):
        members = shard(start, lambda number: number % 2, extension, write)
        (tmp_path / "set" / (split + suffix)).write_bytes(tarred(members, mode))
    found, levels = opened(tmp_path / "set", tmp_path / "raw")
    assert classes(found) == {"0": 6, "1": 6}
    assert Counter(sample.split for sample in found.samples) == {"train": 8, "val": 4}
    assert levels[f"train-000001{suffix}::000006.jpg"] == 6


def test_numbered_shards_without_labels_are_no_classes(tmp_path):
    (tmp_path / "set").mkdir()
    for number in range(2):
        members = shard(4 * number, str, "txt", "a photo of the number {}".format)
        (tmp_path / "set" / f"{number:05}.tar").write_bytes(tarred(members))
    with pytest.raises(SourceError, match="its archives are called like numbered parts of one set"):
        opened(tmp_path / "set", tmp_path / "raw")
    found, _ = opened(tmp_path / "set", tmp_path / "raw", class_level=1)
    assert classes(found) == {"00000": 4, "00001": 4}


def test_one_webdataset_tar(tmp_path):
    (tmp_path / "set.tar").write_bytes(tarred(shard(0, lambda number: "ab"[number % 2], "cls", str)))
    found, levels = opened(tmp_path / "set.tar", tmp_path / "raw")
    assert (classes(found), levels["set.tar::000003.jpg"]) == ({"a": 2, "b": 2}, 3)


def test_webdataset_with_unknown_keys_names_them(tmp_path):
    members = shard(0, lambda number: number % 2, "json", lambda label: json.dumps({"sorte": label}))
    (tmp_path / "set.tar").write_bytes(tarred(members))
    with pytest.raises(SourceError, match=r"\*.json has the columns sorte, path; name the right ones in params.yaml"):
        opened(tmp_path / "set.tar", tmp_path / "raw")
    found, _ = opened(tmp_path / "set.tar", tmp_path / "raw", label_column="sorte")
    assert classes(found) == {"0": 2, "1": 2}


def test_small_files_beside_images_in_a_folder(tmp_path):
    for name, data in shard(
        0, lambda number: "ab"[number % 2], "json", lambda label: json.dumps({"label": label})
    ).items():
        (tmp_path / name).write_bytes(data)
    assert classes(opened(tmp_path, tmp_path / "raw")[0]) == {"a": 2, "b": 2}


@pytest.mark.parametrize("layout", ["data/{split}-{n:05}-of-00002.parquet", "default/{split}/{n:04}.parquet"])
def test_parquet_shards_with_bytes_and_class_names(tmp_path, layout):
    for number, (split, shards) in enumerate({"train": 2, "test": 1}.items()):
        for n in range(shards):
            path = tmp_path / "set" / layout.format(split=split, n=n)
            parquet(path, [0, 1, 1], 50 * number + 10 * n, ["cat", "dog"])
    (tmp_path / "set/README.md").write_text("a card")
    found, levels = opened(tmp_path / "set", tmp_path / "raw")
    assert classes(found) == {"cat": 3, "dog": 6}
    assert Counter(sample.split for sample in found.samples) == {"train": 6, "test": 3}
    assert levels[layout.format(split="train", n=1) + "::00000002.png"] == 12


@pytest.mark.parametrize(("labels", "names", "expected"), [
    (["cat", "dog", "dog"], None, {"cat": 1, "dog": 2}), ([0, 1, 1], None, {"0": 1, "1": 2}),
    ([0, 1, -1], ["cat", "dog"], {"cat": 1, "dog": 1}), ([0, 1, None], ["cat", "dog"], {"cat": 1, "dog": 1}),
])  # fmt: skip
@pytest.mark.parametrize("plain", [False, True])
def test_one_parquet_file_as_the_source(tmp_path, labels, names, expected, plain):
    parquet(tmp_path / "train.parquet", labels, names=names, column="img" if plain else "image", plain=plain)
    found, levels = opened(tmp_path / "train.parquet", tmp_path / "raw")
    assert classes(found) == expected
    assert levels["train.parquet::00000001.png"] == 1


def test_parquet_with_an_unknown_label_column_names_the_columns(tmp_path):
    table = pa.table({"image": pa.array([picture(n) for n in range(3)], pa.binary()), "fine": [0, 1, 1]})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(SourceError, match=r"labels.jsonl has the columns fine, file_name; name the right ones"):
        opened(tmp_path / "x.parquet", tmp_path / "raw")
    assert classes(opened(tmp_path / "x.parquet", tmp_path / "raw", label_column="fine")[0]) == {"0": 1, "1": 2}


def test_a_parquet_table_of_paths_is_a_table(tmp_path):
    for n in range(4):
        (tmp_path / f"{n}.jpg").write_bytes(picture(n))
    pq.write_table(pa.table({"path": [f"{n}.jpg" for n in range(4)], "label": list("aabb")}), tmp_path / "t.parquet")
    for source in (tmp_path, tmp_path / "t.parquet"):
        assert classes(opened(source, tmp_path / "raw")[0]) == {"a": 2, "b": 2}


def test_a_parquet_file_cut_short_is_named(tmp_path):
    parquet(tmp_path / "x.parquet", [0, 1, 1])
    (tmp_path / "x.parquet").write_bytes((tmp_path / "x.parquet").read_bytes()[:-20])
    with pytest.raises(SourceError, match=r"x.parquet is not a whole Parquet file \(.*\); download or write it again"):
        opened(tmp_path / "x.parquet", tmp_path / "raw")


def test_a_zip_of_parquet_shards(tmp_path):
    for n in range(2):
        parquet(tmp_path / f"train-{n}.parquet", ["a", "b", "b"], 10 * n)
    files = {f"set/train-{n}.parquet": (tmp_path / f"train-{n}.parquet").read_bytes() for n in range(2)}
    (tmp_path / "x.zip").write_bytes(zipped(files))
    found, levels = opened(tmp_path / "x.zip", tmp_path / "raw")
    assert (classes(found), levels["raw:set/train-1.parquet::00000002.png"]) == ({"a": 2, "b": 4}, 12)
