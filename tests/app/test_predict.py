import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from darkroom.app import predict
from tests.app.conftest import CLASSES, ROOT


def run(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "darkroom.cli", "predict", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_a_picture_gets_a_line_with_its_best_classes(exported, photos, capsys):
    assert predict.main([str(photos / "china.jpg"), "--model", str(exported), "--top", "2"]) == 0
    (line,) = lines(capsys)
    assert line.startswith(f"{photos / 'china.jpg'}: ")
    assert line.count("%") == 2


def test_a_folder_is_read_to_its_depth_and_bad_files_do_not_stop_it(exported, photos, capsys):
    assert predict.main([str(photos), "--model", str(exported), "--json"]) == 1
    answers = {Path(row["file"]).relative_to(photos).as_posix(): row for row in map(json.loads, lines(capsys))}
    assert list(answers) == [
        "china.jpg", "cut.jpg", "flower.jpg", "more/china.png", "more/china.webp", "more/flower.png",
        "more/flower.webp", "notes.txt",
    ]  # fmt: skip
    assert answers["cut.jpg"]["error"] == "truncated"
    assert answers["notes.txt"]["error"] == "not an image of a known format"
    good = answers["flower.jpg"]
    assert good["class"] == good["top"][0]["class"]
    assert good["probability"] == good["top"][0]["probability"]
    assert {entry["class"] for entry in good["top"]} == set(CLASSES)


def test_a_pattern_is_expanded_and_one_that_matches_nothing_is_a_bad_file(exported, photos, capsys):
    pattern, nothing = str(photos / "**/*.png"), str(photos / "*.tiff")
    assert predict.main([pattern, nothing, "--model", str(exported), "--json"]) == 1
    rows = list(map(json.loads, lines(capsys)))
    assert [Path(row["file"]).name for row in rows] == ["china.png", "flower.png", "*.tiff"]
    assert rows[2]["error"] == "No such file or directory"


def test_the_table_holds_every_class_and_the_reason_of_a_bad_file(exported, photos, capsys):
    assert predict.main([str(photos / "china.jpg"), str(photos / "cut.jpg"), "--model", str(exported), "--csv"]) == 1
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == ["file", "predicted", *CLASSES, "error"]
    assert sum(float(rows[0][name]) for name in CLASSES) == pytest.approx(1, abs=1e-4)
    assert (rows[1]["predicted"], rows[1]["error"]) == ("", "truncated")


def test_standard_input_is_a_picture(exported, photos):
    done = run("-", "--model", exported, stdin=(photos / "china.jpg").read_bytes())
    assert done.returncode == 0
    assert done.stdout.startswith(b"-: ")


def test_pictures_are_saved_with_the_answer_written_under_them(exported, photos, tmp_path, capsys):
    names = [photos / "china.jpg", photos / "more/china.png", photos / "more/flower.webp"]
    assert predict.main([*map(str, names), "--model", str(exported), "--save-pictures", str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["china-2.jpg", "china.jpg", "flower.jpg"]
    with Image.open(tmp_path / "out/china.jpg") as drawn, Image.open(photos / "china.jpg") as original:
        assert drawn.width == original.width
        assert drawn.height > original.height
        bar = drawn.crop((0, original.height + 2, drawn.width, drawn.height)).convert("L")
    assert bar.getextrema()[0] < 60
    assert bar.getextrema()[1] > 200


def test_pictures_are_drawn_upright(exported, shared, tmp_path, capsys):
    files = sorted((shared / "data/exif-orientation").rglob("*.jpg"))
    names = [str(path) for path in files if path.stem.startswith("Landscape")]
    assert names
    assert predict.main([*names, "--model", str(exported), "--save-pictures", str(tmp_path)]) == 0
    for path in tmp_path.iterdir():
        with Image.open(path) as drawn:
            assert drawn.width > drawn.height * 0.9, path


def test_odd_images_get_a_line_each_and_nothing_else(exported, shared):
    folder = shared / "data/odd-images"
    done = run(folder, "--model", exported, "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == sum(path.is_file() for path in folder.rglob("*"))
    assert done.returncode == 1
    (last,) = done.stderr.decode().splitlines()
    assert last.startswith("darkroom predict: ")


def test_the_first_answer_waits_for_no_library_that_it_does_not_need(exported, photos):
    # What makes a cold start take a quarter of a second; benchmarks/predicting.py measures it.
    heavy = {"torch", "torchvision", "sklearn", "scipy", "pandas", "matplotlib", "onnx", "dvc", "fastapi"}
    code = (
        "import sys; from darkroom.cli import main; status = main(sys.argv[1:]);"
        f"print(status, *sorted({heavy} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "predict", photos / "china.jpg", "--model", exported], capture_output=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True,
    )  # fmt: skip
    assert done.stderr == b"0\n"


def test_a_reader_that_has_seen_enough_is_no_error(exported, photos):
    command = f"{sys.executable} -m darkroom.cli predict {photos / 'china.jpg'} {photos / 'flower.jpg'} "
    command += f"--model {exported} | head -c 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_missing_model_is_one_line(photos, tmp_path):
    done = run(photos / "china.jpg", "--model", tmp_path)
    assert done.returncode == 1
    assert done.stderr.decode().startswith(f"darkroom predict: {tmp_path} holds no exported model")
    assert b"Traceback" not in done.stderr
