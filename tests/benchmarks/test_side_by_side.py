"""Side by side: photos, kept measurements, tables and figures."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.side_by_side import __main__ as bench
from benchmarks.side_by_side import experiments, report
from benchmarks.side_by_side.parts import PARTS
from benchmarks.side_by_side.photos import divided, drawn, prepare, repeated
from benchmarks.side_by_side.processes import Failed, timed
from benchmarks.side_by_side.rivals import PEERS
from benchmarks.side_by_side.settings import Settings
from benchmarks.side_by_side.store import Store
from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.sources.cards import load_card

ROWS = [
    {"name": "Darkroom: all", "ours": True, "wall": 2.0, "accuracy": 0.95, "setup": "DVC"},
    {"name": "Darkroom: to accuracy", "ours": True, "wall": 1.5, "accuracy": 0.95, "setup": "DVC"},
    {"name": "Darkroom: train", "ours": True, "wall": 0.5, "accuracy": 0.95, "setup": "alone"},
    {"name": "quick", "wall": 20.0, "accuracy": 0.96, "setup": "bfloat16", "images_per_second": 120.0},
    {"name": "slow", "wall": 60.0, "accuracy": 0.94, "setup": "float32", "images_per_second": 40.0},
    {"name": "absent", "failed": "no wheel"},
]
FOUND = {
    "rows": ROWS,
    "settings": {"photos": "bees", "train": 244, "test": 153, "epochs": 10, "batch_size": 32},
    "versions": {"torch": "2.14.1"},
    "machine": "2 cores",
    "command": "make bench ONLY=second",
    "date": "2026-01-01",
}


def test_an_official_split_is_kept_and_what_cannot_be_decoded_left_out(shared, tmp_path):
    source = tmp_path / "photos"
    for split in ("train", "val"):
        for label in ("ants", "bees"):
            (source / split / label).mkdir(parents=True)
            for path in sorted((shared / "data/hymenoptera" / split / label).glob("*.jpg"))[:2]:
                shutil.copy(path, source / split / label)
    (source / "train/ants/broken.jpg").write_bytes(b"\xff\xd8 no picture")
    found = prepare(source, tmp_path / "made")
    assert sorted(path.name for path in found.iterdir()) == ["test", "train"]
    assert len(list(found.rglob("*.jpg"))) == 8
    assert not (found / "train/ants/broken.jpg").exists()
    (found / "train/ants/mark").touch()
    assert (prepare(source, found) / "train/ants/mark").exists(), "what is there is used"
    (found / "train/ants/mark").unlink()
    (tmp_path / "other").mkdir()
    with pytest.raises(DarkroomError, match=r"was made of .*photos; give the folder another name, or FRESH=1"):
        prepare(tmp_path / "other", found)
    assert len(list(repeated(found, tmp_path / "many", 11).rglob("*.jpg"))) == 12


def test_photos_without_a_split_are_divided_the_same_way_every_time(tmp_path):
    for number in range(20):
        for label in ("cat", "dog"):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{label}.{number}.jpg")
    found = divided(tmp_path)
    assert {key: len(paths) for key, paths in found.items()} == {
        ("test", "cat"): 3, ("train", "cat"): 17, ("test", "dog"): 3, ("train", "dog"): 17,
    }  # fmt: skip
    assert found == divided(tmp_path)


def test_two_photos_of_one_name_are_refused_and_never_written_to(tmp_path):
    """A hard link that is written through would change the photo itself."""
    for colour, name in enumerate(("a/x/1.png", "b/x/1.png", "c/x/1.png", "a/y/2.png")):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (colour, 0, 0)).save(tmp_path / "photos" / name)
    before = {path: path.read_bytes() for path in (tmp_path / "photos").rglob("*.png")}
    with pytest.raises(DarkroomError, match=r"another photo of its class are both called 1\.png; rename one"):
        prepare(tmp_path / "photos", tmp_path / "made")
    assert {path: path.read_bytes() for path in before} == before


def test_a_run_of_loaders_that_was_killed_is_begun_again(tmp_path):
    (tmp_path / "photos/train/a").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "photos/train/a/1.png")
    left = tmp_path / "many.tmp/a"
    left.mkdir(parents=True)
    (left / "0-1.png").hardlink_to(tmp_path / "photos/train/a/1.png")
    assert len(list(repeated(tmp_path / "photos", tmp_path / "many", 3).rglob("*.png"))) == 3


def test_a_folder_without_classes_is_refused(tmp_path):
    with pytest.raises(DarkroomError, match="fewer than two classes of photos; expected"):
        divided(tmp_path)
    with pytest.raises(DarkroomError, match="no folder of photos; name one: make bench PHOTOS=folder"):
        prepare(tmp_path / "nothing", tmp_path / "made")


def test_a_command_that_fails_tells_its_last_line(tmp_path):
    with pytest.raises(Failed, match=r"^a reason$"):
        timed([sys.executable, "-c", "print('first'); raise SystemExit('a reason')"], tmp_path, tmp_path / "log")
    with pytest.raises(Failed, match="not done after 0 s"):
        timed([sys.executable, "-c", "import time; time.sleep(9)"], tmp_path, tmp_path / "log", limit=0.1)
    with pytest.raises(Failed, match="run `make bench-setup`"):
        timed(["/no/such/program"], tmp_path, tmp_path / "log")


def test_a_finished_measurement_is_not_made_again_and_a_failed_one_is(tmp_path):
    store, calls = Store(tmp_path, {"epochs": 1}), []

    def measure():
        calls.append(1)
        if len(calls) == 1:
            raise Failed("no wheel")
        return {"wall": 1.0}

    assert store.measured("first", "peer", measure) == {"failed": "no wheel"}
    assert store.measured("first", "peer", measure) == {"wall": 1.0}
    assert store.measured("first", "peer", measure) == {"wall": 1.0}
    assert len(calls) == 2
    Store(tmp_path, {"epochs": 2}).measured("first", "peer", measure)
    assert len(calls) == 3, "other settings, another measurement"


def test_a_table_has_ratios_the_best_first_and_failures_last():
    lines = report.table(PARTS["second"], ROWS)
    assert lines[0] == "|  | seconds | × `dvc exp run` | × to accuracy | × train stage | accuracy | set up as |"
    assert lines[2] == "| **Darkroom: train** | 0.50 | 0.2 | 0.3 | 1.0 | 0.950 | alone |"
    assert lines[5] == "| quick | 20.0 | 10.0 | 13.3 | 40.0 | 0.960 | bfloat16 |"
    assert lines[-1].startswith("| absent | not measured: no wheel |")


def test_processor_seconds_are_counted_and_shown_where_they_were(tmp_path):
    took = timed([sys.executable, "-c", "sum(range(3_000_000))"], tmp_path, tmp_path / "log")
    assert took.processor > 0
    lines = report.table(PARTS["second"], [ROWS[0] | {"processor": 3.21}, *ROWS[1:]])
    assert lines[0].startswith("|  | seconds | of processors | ×")
    assert any("| 3.2 |" in line for line in lines)


def test_what_was_not_reached_is_said():
    said = PARTS["second"].aim(ROWS, 100)
    assert "Darkroom: all is 10.0 times as fast as the fastest peer (quick); 20 was" in said
    assert "**lower than** the best peer's (quick: 0.960): 95 right against 96 of 100 images, no difference" in said
    assert "behind" in said
    assert "Darkroom: train is 40.0 times as fast" in said
    assert "at least 20: met" in said
    slower = [{"name": "Darkroom", "ours": True, "images_per_second": 30.0, "accuracy": 0.9}, *ROWS[3:]]
    said = PARTS["finetune"].aim(slower, 1000)
    assert "0.25 times as fast as the fastest peer (quick)" in said
    assert "**behind**" in said
    assert "(quick: 0.960): 900 right against 960 of 1000 images, a real difference (p = 1" in said
    failed = [{"name": "Darkroom: all", "ours": True, "failed": "x"}, *ROWS[3:]]
    assert PARTS["second"].aim(failed, 100) == "", "nothing to compare, and no crash"
    even = [ROWS[0] | {"accuracy": 0.96}, *ROWS[1:]]
    assert "0.960, is no lower than the best peer's (quick: 0.960)." in PARTS["second"].aim(even, 100)
    even = [ROWS[0] | {"accuracy": round(147 / 153, 6)}, *[row | {"accuracy": 147 / 153} for row in ROWS[1:]]]
    assert "0.961, is no lower than the best peer's (quick: 0.961)." in PARTS["second"].aim(even, 153)


def test_several_seeds_give_medians_of_the_time_and_means_of_the_accuracy(tmp_path, monkeypatch):
    seen = []

    def run(part, rival, settings):
        seen.append((rival.module, settings.seed))
        if (rival.module, settings.seed) == ("timm", 1):
            raise Failed("killed")
        number = len(seen)
        return {"wall": float(number), "images_per_second": 10.0 * number, "accuracy": 0.9 + settings.seed / 100}

    def ours(settings, turn):
        return {"wall": 1.0 + settings.seed, "accuracy": 0.95 + settings.seed / 100}

    monkeypatch.setattr(experiments, "peer", run)
    monkeypatch.setitem(experiments.OURS, "first", ours)
    peers = tuple(rival for rival in PEERS if rival.module in ("timm", "keras"))
    settings = Settings(tmp_path, tmp_path, seeds=3)
    rows = experiments.measure("first", settings, Store(tmp_path, settings.facts()), peers)
    assert seen == [(module, seed) for seed in range(3) for module in ("timm", "keras")]
    keys = ("name", "wall", "images_per_second", "accuracy")
    assert [[row.get(key) for key in keys] for row in rows] == [
        ["Darkroom: `dvc repro`", 2.0, None, pytest.approx(0.96)],
        ["timm", 3.0, 30.0, pytest.approx(0.91)],  # of the two seeds that did not fail
        ["Keras 3 on torch", 4.0, 40.0, pytest.approx(0.91)],
    ]
    found = FOUND | {"settings": FOUND["settings"] | {"seeds": 3}}
    assert "3 runs of each, one a seed: medians of the time" in report.section(PARTS["second"], found, "figure.png")
    assert "mean" not in report.section(PARTS["second"], FOUND, "figure.png")
    close = [row | {"accuracy": value} for row, value in zip(rows, (0.9586, 0.9608, 0.9), strict=True)]
    assert "146.7 right against 147 of 153 images, no difference" in PARTS["first"].aim(close, 153)


def test_peers_that_are_measured_later_are_put_among_those_that_are_kept():
    ours = [{"name": "Darkroom: all", "ours": True, "wall": 4.0, "accuracy": 0.95, "setup": "DVC"}]
    settings = FOUND["settings"] | {"size": 224, "seeds": 1}
    rows = [*ours, {"name": "late", "wall": 60.0, "accuracy": 0.97, "setup": "float32"},
            {"name": "quick", "failed": "killed"}, {"name": "absent", "failed": "no wheel yet"}]  # fmt: skip
    later = FOUND | {"rows": rows, "settings": settings, "versions": {"late": "1"}, "date": "2026-02-02"}
    found = bench.merged(FOUND, later)
    assert [row["name"] for row in found["rows"]] == [*(row["name"] for row in ROWS), "late"]
    assert found["rows"][3] == ROWS[3], "a peer that fails now keeps what it had"
    assert found["rows"][0] == ROWS[0]
    assert found["versions"] == {"torch": "2.14.1", "late": "1"}
    line = next(line for line in report.table(PARTS["second"], found["rows"]) if line.startswith("| late"))
    assert line == ("| late | 60.0 | 15.0 |  |  | 0.970 | float32; measured on 2026-02-02 with 1 seed |"), (
        "ratios are of Darkroom's seconds in the same run"
    )
    assert bench.merged(found, later) == found
    assert bench.merged(FOUND, later | {"settings": settings | {"train": 10}})["rows"] == rows, "other photos"
    every = FOUND | {"date": "2026-02-02"}
    assert bench.merged(FOUND, every) == every, "nothing would be lost"


def test_small_pictures_are_learnt_from_as_they_are_by_all(tmp_path, monkeypatch):
    monkeypatch.setenv("DARKROOM_DOWNLOADS", "")  # put back afterwards
    folder = drawn("digits", tmp_path / "digits", tmp_path)
    assert len(list(folder.glob("*/*.png"))) == 1797
    settings = Settings(folder, tmp_path / "weights.pth", size=32)
    found = experiments.params(settings)
    assert found["image_size"] == 32
    assert load_card(Path(found["source"])).flips is False
    assert experiments.params(Settings(folder, tmp_path))["source"] == str(folder)


def test_the_report_replaces_its_own_part_of_the_readme_alone(tmp_path):
    readme, results = tmp_path / "README.md", tmp_path / "results"
    results.mkdir()
    readme.write_text("# Benchmarks\n\nBy hand.\n")
    files.write_json(results / "second-bees.json", FOUND)
    report.write(results, readme)
    once = readme.read_text()
    assert once.startswith("# Benchmarks\n\nBy hand.\n")
    assert "### Time to the second experiment: bees" in once
    assert "244 photos to learn from, 153 to test" in once
    assert "(results/second-bees.png)" in once
    with Image.open(results / "second-bees.png") as figure:
        assert figure.size[0] > 500
    readme.write_text(once + "\nBy hand, below.\n")
    report.write(results, readme)
    assert readme.read_text() == once + "\nBy hand, below.\n"


@pytest.mark.parametrize("part", PARTS)
def test_every_part_has_a_table_when_nobody_could_take_part(part):
    rows = [{"name": "Darkroom", "ours": True, "failed": "x"}, {"name": "peer", "failed": "y", "kind": "help"}]
    assert len(report.table(PARTS[part], rows)) == 4
    assert PARTS[part].aim(rows, 100) == ""


def test_parts_and_peers_that_do_not_exist_are_refused(capsys):
    with pytest.raises(SystemExit):
        bench.parse(["--only", "second,third"])
    assert "third: choose among second, first" in capsys.readouterr().err
    assert bench.parse(["--only", "loading", "--peers", "timm,keras"]).peers == ["timm", "keras"]


def test_absent_photos_or_weights_are_one_line(tmp_path, capsys):
    assert bench.main(["--photos", str(tmp_path), "--weights", str(tmp_path / "none.pth")]) == 1
    assert capsys.readouterr().err == f"bench: {tmp_path / 'none.pth'} is absent; run `make bench WEIGHTS=file`\n"


def test_results_that_are_committed_have_the_shape_that_the_report_reads():
    for path in sorted(bench.RESULTS.glob("*.json")):
        found = json.loads(path.read_text())
        assert set(FOUND) <= set(found), path.name
        assert report.section(PARTS[path.stem.partition("-")[0]], found, "figure.png")
