"""Parts of the test set by the columns of the source table."""

import re
import shutil
from pathlib import Path

import fsspec  # type: ignore[import-untyped]
import pytest
from PIL import Image

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.core.runtime import from_environment
from darkroom.reporting import report, weak_spots
from darkroom.sources.labels import LayoutOptions
from darkroom.sources.open import open_source
from stages import evaluate
from tests.reporting.run import make_run


def run_of_a_table(root):
    """Make a run whose labels came from a table with a site (the labels of the south are wrong), a weight, an id and an
    operator; return the table's path."""
    wrong = range(362, 480, 4)  # of test's 120
    run = make_run(root, counts=(300, 60, 120), wrong=list(wrong))
    rows = []
    for split in ("train", "val", "test"):
        for row in files.read_csv(root / "data/shards" / split / "samples.csv"):
            number = int(Path(row["location"]).stem)
            site = "south" if number in wrong else "north"
            operator = "" if number % 9 else "me"
            rows.append((row["location"], row["label"], site, f"{number % 50}.5", f"tag{number}", operator))
            path = root / "photos" / row["location"]
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (2, 2)).save(path)
    table = root / "photos/labels.csv"
    files.write_csv(table, ("path", "label", "site", "weight", "tag", "operator"), rows)
    files.write_csv(root / "data/index.csv", ("id", "location"), [(f"{n:064x}", row[0]) for n, row in enumerate(rows)])
    files.write_json(root / "data/raw/source.json", {"layout": "csv"})
    return run, table


def test_parts_are_also_those_of_the_columns_of_the_source_table(tmp_path, monkeypatch):
    run, table = run_of_a_table(tmp_path)
    monkeypatch.chdir(tmp_path)
    evaluate.main(*run.arguments)
    files.write_text(tmp_path / "params.yaml", "source: photos\n")
    shown = report.page(tmp_path)
    table_of_parts = shown[shown.index('<section id="weak-spots"') :]
    first = re.search(r'<th scope="row">(column [^<]*)</th><td class="n">(\d+)</td>', table_of_parts)
    assert first is not None
    assert first.groups() == ("column site: south", "30")  # the surest to be worse is first
    quarters = re.findall(r"column weight: ([\d.]+) to [\d.]+</th>", shown)
    assert len(quarters) == 4
    assert "column operator: me" in shown
    assert "left out: tag (120 different values)." in shown
    assert not re.search("column (label|path)", shown)

    table.write_text("path,label,site\nnothing.png,1,south\nno.png,2,north\n", encoding="utf-8")
    assert "does not name any test image now." in report.page(tmp_path)

    (tmp_path / "photos").rename(tmp_path / "moved")
    moved = report.page(tmp_path)
    assert "columns of the source&#39;s table are not among them: photos does not exist any more." in moved.replace(
        f"{tmp_path}/", ""
    )
    assert "column site" not in moved
    assert "brightness: " in moved


def source_of(kind, root):
    """Make of the folder `photos` in `root` a source of this kind; return what params.yaml calls it."""
    if kind == "table":
        return "photos/labels.csv"
    if kind == "object store":
        fsspec.filesystem("memory").put(str(root / "photos"), "/tables/photos", recursive=True)
        return "memory://tables/photos"
    archive = Path(shutil.make_archive(str(root / "photos"), "zip", root / "photos"))
    if kind == "archive":
        return archive.name
    origin = "folder: photos" if kind == "card of a folder" else (
        f"archive: {{url: 'https://a.org/photos.zip', sha256: {files.sha256(archive)}}}")  # fmt: skip
    card = f"name: a\nhomepage: a\nlicence: a\ncitation: a\n{origin}\nread: {{layout: csv}}\n"
    files.write_text(root / "card.yaml", card)
    return "card.yaml"


@pytest.mark.parametrize("kind", ["table", "archive", "card of an archive", "card of a folder", "object store"])
def test_the_columns_of_a_table_are_read_again_wherever_it_lies(tmp_path, monkeypatch, kind):
    run, _ = run_of_a_table(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKROOM_DOWNLOADS", str(tmp_path))
    source = source_of(kind, tmp_path)
    opened = open_source(Path(source), Path("data/raw"), LayoutOptions(), from_environment())
    index = [(f"{n:064x}", sample.location) for n, sample in enumerate(opened.samples)]
    files.write_csv(Path("data/index.csv"), ("id", "location"), index)
    files.write_text(Path("params.yaml"), f"source: {source}\n")
    numbers = {int(row["location"].split("/")[-1].split(".")[0]) for row in
               files.read_csv(run.root / "data/shards/test/samples.csv")}  # fmt: skip
    tested = [location for _, location in index if int(Path(location).stem) in numbers]
    columns = weak_spots.source_columns(tmp_path, tested)
    assert sorted(columns) == ["operator", "site", "tag", "weight"]
    assert columns["tag"] == [f"tag{Path(name).stem}" for name in tested]
    if kind == "card of a folder":
        monkeypatch.delenv("DARKROOM_DOWNLOADS")
        with pytest.raises(DarkroomError, match="where DARKROOM_DOWNLOADS does not lead"):
            weak_spots.source_columns(tmp_path, tested)
