import csv
import io
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from darkroom.serve import predict
from darkroom.serve.pictures import drawable, open_upright
from tests.export import small
from tests.project import obey_permissions
from tests.serve.conftest import CLASSES, ROOT


def run(
    *arguments: str | Path, stdin: bytes = b"", encoding: str = "", preexec_fn: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "darkroom.cli", "predict", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding}
    return subprocess.run(
        command, input=stdin, capture_output=True, env=environment, preexec_fn=preexec_fn, timeout=120
    )


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


@pytest.mark.skipif(sys.platform != "linux", reason="drops capabilities, which Linux has")
def test_folders_that_may_not_be_read_or_entered_get_lines_and_the_others_are_answered(exported, photos, tmp_path):
    for name in ("closed", "listed"):
        (tmp_path / name).mkdir()
        shutil.copy(photos / "china.jpg", tmp_path / name / "b.jpg")
    shutil.copy(photos / "china.jpg", tmp_path / "a.jpg")
    hidden = tmp_path / "closed" / "b.jpg"
    (tmp_path / "link.jpg").symlink_to(hidden)
    (tmp_path / "closed").chmod(0)
    (tmp_path / "listed").chmod(0o444)
    try:
        done = run(tmp_path, hidden, "--model", exported, "--json", preexec_fn=obey_permissions)
    finally:
        for name in ("closed", "listed"):
            (tmp_path / name).chmod(0o755)
    rows = {os.path.relpath(row["file"], tmp_path): row for row in map(json.loads, done.stdout.splitlines())}
    assert "class" in rows.pop("a.jpg")
    assert {name: row["error"] for name, row in rows.items()} == dict.fromkeys(
        ["closed", "closed/b.jpg", "link.jpg", "listed/b.jpg"], "Permission denied"
    )
    assert done.returncode == 1
    assert done.stderr == b"darkroom predict: 4 of 5 could not be read\n"


def test_a_name_that_no_file_can_have_is_a_bad_file(exported, photos, capsys):
    assert predict.main(["a" * 300, "b" * 300 + "*", str(photos / "china.jpg"), "--model", str(exported)]) == 1
    first, second, third = lines(capsys)
    assert first == f"{'a' * 300}: not classified: File name too long"
    assert second == f"{'b' * 300}*: not classified: File name too long"
    assert "%" in third


@pytest.mark.parametrize(
    ("begins", "reason"),
    [
        (b"", "only zero bytes"),
        (b"\0\0\0 ftypisom", "a video, MP4 or the like"),
        ("china.jpg", "too large: 900,000,000,000 bytes"),
    ],
    ids=["zeros", "film", "picture"],
)
def test_a_huge_file_among_the_photos_is_refused_before_it_is_read(exported, photos, tmp_path, capsys, begins, reason):
    huge = tmp_path / "huge.jpg"
    huge.write_bytes(begins if isinstance(begins, bytes) else (photos / begins).read_bytes())
    os.truncate(huge, 900_000_000_000)
    assert predict.main([str(huge), str(photos / "china.jpg"), "--model", str(exported)]) == 1
    first, second = lines(capsys)
    assert first == f"{huge}: not classified: {reason}"
    assert "%" in second


def test_what_has_no_end_is_read_no_further_than_a_picture_may_be_large(exported, photos, capsys, monkeypatch):
    monkeypatch.setattr(predict, "MOST", 1_000_000)
    assert predict.main(["/dev/zero", str(photos / "china.jpg"), "--model", str(exported)]) == 1
    first, second = lines(capsys)
    assert first == "/dev/zero: not classified: too large: more than 1,000,000 bytes"
    assert "%" in second


@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]], ids=["text", "json", "csv"])
@pytest.mark.parametrize("encoding", ["utf-8:strict", "utf-8:surrogateescape", "ascii"])
def test_a_name_that_is_no_text_is_shown_by_its_bytes(exported, photos, tmp_path, form, encoding):
    name = tmp_path / os.fsdecode(b"caf\xe9.jpg")
    shutil.copy(photos / "china.jpg", name)
    done = run(name, "--model", exported, *form, encoding=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode()
    shown = json.loads(text)["file"] if form == ["--json"] else text
    assert r"caf\xe9.jpg" in shown


def test_json_is_json_also_where_the_terminal_knows_no_unicode(photos, tmp_path):
    model = small.export(tmp_path / "export", ["cão", "猫", "🐟"])
    done = run(photos / "china.jpg", "--model", model, "--json", encoding="latin-1")
    assert {one["class"] for one in json.loads(done.stdout.decode())["top"]} == {"cão", "猫", "🐟"}


def test_an_empty_folder_is_named(exported, tmp_path):
    done = run(tmp_path, "--model", exported)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == f"darkroom predict: no files in {tmp_path}\n"


def test_a_picture_that_comes_through_a_pipe_is_drawn_too(exported, photos, tmp_path):
    pipe, data = tmp_path / "pipe.jpg", (photos / "china.jpg").read_bytes()
    os.mkfifo(pipe)
    sender = threading.Thread(target=pipe.write_bytes, args=(data,), daemon=True)
    sender.start()
    out = tmp_path / "out"
    done = run(pipe, "/dev/stdin", "--model", exported, "--save-pictures", out, stdin=data)
    assert (done.returncode, done.stderr) == (0, b"")
    assert sorted(path.name for path in out.iterdir()) == ["pipe.jpg", "stdin.jpg"]
    with Image.open(out / "pipe.jpg") as drawn, Image.open(photos / "china.jpg") as original:
        assert drawn.width == original.width


def test_a_class_that_the_font_cannot_write_has_its_number_in_the_picture():
    assert [drawable(name, 7) for name in ("cat", "é ü кот", "猫", "dog 犬")] == ["cat", "é ü кот", "#7", "#7 dog"]


def test_a_picture_larger_than_pillow_opens_is_drawn(exported, tmp_path, capsys):
    Image.new("L", (10_000, 9_000), 90).save(tmp_path / "large.jpg")
    assert predict.main([str(tmp_path / "large.jpg"), "--model", str(exported), "--save-pictures", str(tmp_path)]) == 0
    with Image.open(tmp_path / "large.jpg") as drawn:
        assert drawn.size == (1024, 922 + 80)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["tiff", "png", "jpeg"])
def test_a_picture_is_drawn_whole_whatever_its_orientation(kind, orientation):
    """Red at the left and blue at the right, or one above the other: both ends must be there."""
    image = Image.new("RGB", (400, 240), (0, 255, 0))
    image.paste((255, 0, 0), (0, 0, 40, 240))
    image.paste((0, 0, 255), (360, 0, 400, 240))
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    image.save(file, kind, exif=exif)
    drawn = open_upright(file.getvalue())
    assert drawn.size == ((400, 240) if orientation < 5 else (240, 400))
    ends = [drawn.getpixel((4, 4)), drawn.getpixel((drawn.width - 5, drawn.height - 5))]
    assert sorted(int(np.argmax(end)) for end in ends) == [0, 2]


def test_files_of_this_folder_are_named_without_it(tmp_path, monkeypatch):
    (tmp_path / "more").mkdir()
    for name in ("1.jpg", "more/2.jpg"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert list(predict.names(["."])) == ["1.jpg", "more/2.jpg"]


def test_long_and_odd_names_make_names_that_a_file_can_have(exported, photos, tmp_path, capsys):
    names = ["é" * 120 + "1.jpg", "é" * 120 + "2.jpg", os.fsdecode(b"\xff" * 240 + b".jpg")]
    for name in names:
        shutil.copy(photos / "china.jpg", tmp_path / name)
    arguments = [*(str(tmp_path / name) for name in names), "--model", str(exported)]
    assert predict.main([*arguments, "--save-pictures", str(tmp_path / "out")]) == 0
    expected = ["é" * 90 + ".jpg", "é" * 90 + "-2.jpg", "\ufffd" * 60 + ".jpg"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(expected)


def test_a_folder_that_cannot_be_written_to_is_named(exported, photos, tmp_path):
    (tmp_path / "out").write_text("a file")
    done = run(photos / "china.jpg", "--model", exported, "--save-pictures", tmp_path / "out")
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"darkroom predict: --save-pictures {tmp_path / 'out'}: cannot write china.jpg: ")
    assert line.endswith("; name another folder")
