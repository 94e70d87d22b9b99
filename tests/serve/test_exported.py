"""What must be true of an exported model's folder before it is used."""

import json
import os
import shutil

import onnx
import pytest

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.export.graph import join, write
from darkroom.serve.exported import open_exported
from tests.export import small

FRAMING = {"size": 32, "resize": "crop", "short_side": 32}
NEXT_STEP = "; run `dvc repro -f export`, or name another folder with --model"


@pytest.fixture
def folder(exported, tmp_path):
    """Return a copy of the exported model, to be changed."""
    return shutil.copytree(exported, tmp_path / "export")


def rejection(folder) -> str:
    """Return the one line that says why the folder is not used."""
    with pytest.raises(DarkroomError) as rejected:
        open_exported(folder, 1, spin=False)
    assert "\n" not in str(rejected.value)
    return str(rejected.value)


def change_config(folder, **values) -> None:
    files.write_json(folder / "config.json", files.read_json(folder / "config.json") | values)


def sign(folder) -> None:
    """Write the digests of the files as they are now."""
    digests = {name: files.sha256(folder / name) for name in files.read_json(folder / "config.json")["digests"]}
    change_config(folder, digests=digests, version=digests["model.onnx"][:12])


def test_a_whole_folder_opens(folder):
    model = open_exported(folder, 1, spin=False)
    assert (model.classes, model.framing.size) == (["china", "flower", "<b>other</b>"], 32)
    assert model.version == files.sha256(folder / "model.onnx")[:12]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"backbone": None}, "config.json says backbone: null, expected a str"),
        ({"classes": None}, "config.json says classes: null, expected a list"),
        ({"classes": []}, "config.json names no classes, one of them twice, or some that are not text"),
        ({"classes": [1, 2, 3]}, "config.json names no classes, one of them twice, or some that are not text"),
        ({"classes": ["a", "b", "a"]}, "config.json names no classes, one of them twice, or some that are not text"),
        ({"version": "deadbeef0000"}, 'config.json says version: "deadbeef0000", expected how the digest of'),
        ({"format": 2}, "config.json has no limits, which format 2 has"),
        ({"format": -1}, "config.json says format: -1, and this Darkroom reads up to 2"),
        ({"digests": {"a\0b": "0"}}, 'config.json says digests: {"a\\u0000b": "0"}, expected a file of'),
        ({"digests": {"a" * 5000: "0"}}, 'config.json says digests: {"aaaa'),
        ({"version": 7}, "config.json says version: 7, expected a str"),
        ({"framing": {"size": 32, "resize": "crop"}}, "config.json says framing: {"),
        ({"framing": FRAMING | {"resize": "zoom"}}, "config.json says framing: {"),
        ({"framing": FRAMING | {"size": "32"}}, "config.json says framing: {"),
        ({"framing": FRAMING | {"size": 48}}, 'model.onnx has images of shape ["n", 32, 32, 3], and'),
        ({"classes": ["flower", "china", "<b>other</b>"]}, "the classes in config.json are not those of labels.txt"),
        ({"digests": None}, "config.json says digests: null, expected a dict"),
        ({"digests": {}}, "config.json has no digest of model.onnx"),
        ({"digests": {"../secret": "0"}}, 'config.json says digests: {"../secret": "0"}, expected a file of'),
        ({"digests": {"model.onnx": 5}}, 'config.json says digests: {"model.onnx": 5}, expected a file of'),
    ],
)  # fmt: skip
def test_a_config_that_does_not_fit_is_rejected_with_the_next_step(folder, change, reason):
    change_config(folder, **change)
    assert rejection(folder).startswith(f"{folder}: {reason}")
    assert rejection(folder).endswith(NEXT_STEP)


@pytest.mark.parametrize("name", ["model.onnx", "model.safetensors", "labels.txt"])
def test_a_file_that_is_missing_stops_the_start(folder, name):
    (folder / name).unlink()
    assert rejection(folder) == f"{folder}: {name} cannot be read: No such file or directory{NEXT_STEP}"


@pytest.mark.parametrize("name", ["model.onnx", "model.safetensors", "labels.txt", "config.json"])
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
def test_a_file_without_an_end_is_rejected(folder, name, make):
    (folder / name).unlink()
    make(folder / name)
    assert rejection(folder).startswith(f"{folder / name} is a pipe, socket or device, expected a file")


@pytest.mark.parametrize("name", ["model.onnx", "model.safetensors", "labels.txt"])
def test_a_file_that_was_changed_is_rejected(folder, name):
    with (folder / name).open("ab") as file:
        file.write(b"\n")
    assert rejection(folder).startswith(f"{folder}: the sha256 of {name} is ")


def test_another_model_of_the_same_shape_is_rejected(folder):
    write(join(small.body(32, seed=5), small.head(3), 1.5), folder / "model.onnx")
    assert rejection(folder).startswith(f"{folder}: the sha256 of model.onnx is ")


def test_other_numbers_of_classes_are_rejected(folder):
    files.write_text(folder / "labels.txt", "a\nb\n")
    change_config(folder, classes=["a", "b"])
    sign(folder)
    reason = 'model.onnx has probabilities of shape ["n", 3], and config.json says ["n", 2]'
    assert rejection(folder) == f"{folder}: {reason}{NEXT_STEP}"


def test_classes_that_are_reversed_everywhere_but_in_the_model_are_rejected(folder):
    model = onnx.load(folder / "model.onnx")
    entry = model.metadata_props.add()
    entry.key, entry.value = "classes", json.dumps(["china", "flower", "<b>other</b>"])
    write(model, folder / "model.onnx")
    sign(folder)
    open_exported(folder, 1, spin=False)
    files.write_text(folder / "labels.txt", "<b>other</b>\nflower\nchina\n")
    change_config(folder, classes=["<b>other</b>", "flower", "china"])
    sign(folder)
    assert rejection(folder).startswith(f'{folder}: model.onnx says classes: ["china", "flower", "<b>other</b>"], and ')


def test_weights_in_another_file_are_rejected(folder):
    model = onnx.load(folder / "model.onnx")
    onnx.save_model(model, folder / "model.onnx", save_as_external_data=True, location="labels.bin", size_threshold=0)
    sign(folder)
    assert "cannot be loaded: " in rejection(folder)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 20_000 + "]" * 20_000, "is damaged: "),
        ("[]", "config.json is not a JSON object"),
        ('"' + "x" * 1_000_000, "is damaged: "),
        (json.dumps({"backbone": ["x" * 1_000_000]}), 'config.json says backbone: ["xxx'),
        (json.dumps({"backbone": {"x": "y" * 1_000_000}}), 'config.json says backbone: {"x": "yyy'),
    ],
    ids=["nesting", "list", "cut", "long list", "long object"],
)
def test_hostile_json_is_one_short_line(folder, text, reason):
    (folder / "config.json").write_text(text)
    assert reason in rejection(folder)
    assert len(rejection(folder)) < 500
