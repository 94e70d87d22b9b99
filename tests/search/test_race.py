"""A race of small bodies on digits."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file
from sklearn.datasets import load_digits

from darkroom.core import files, runtime
from darkroom.core.errors import DarkroomError
from darkroom.core.params import load
from darkroom.search import race
from darkroom.search.entrants import Entrant, Entry, RaceFile, entering, licence, read_race
from darkroom.search.standings import lost
from darkroom.training.recipe import Recipe
from tests.conftest import ROOT
from tests.stages.pipeline import run_fetch, run_split

WEIGHTS = ROOT / "weights/small_cnn-mnist.safetensors"
BODIES = f"""
backbones:
  - {{backbone: lenet, weights: none}}
  - {{backbone: simple_cnn, weights: none}}
  - {{backbone: small_cnn, weights: {WEIGHTS}}}
"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    """600 digits as pictures, indexed and split, with the project's params."""
    folder = tmp_path_factory.mktemp("digits")
    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images[:600], digits.target, strict=False)):
        path = folder / f"pictures/{label}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15.9).astype(np.uint8)).resize((28, 28)).save(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        prepare(folder)
    return folder


@pytest.fixture
def project(digits, tmp_path, monkeypatch) -> Path:
    """Return a copy of them, in which the test runs."""
    folder = Path(shutil.copytree(digits, tmp_path / "project"))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DARKROOM_DEVICE", "cpu")
    return folder


def prepare(folder: Path) -> None:
    """Index and split the pictures in `folder`, and write the project's params."""
    (folder / "params.schema.json").unlink(missing_ok=True)
    run_fetch()
    run_split()
    for name in ("corrections.csv", "params.schema.json"):
        shutil.copy(ROOT / name, folder)
    text = (ROOT / "params.yaml").read_text()
    for key, value in {"source": "pictures", "image_size": 28, "min_steps": 100}.items():
        text = re.sub(rf"^{key}: *\S+", f"{key}: {value}", text, flags=re.MULTILINE)
    (folder / "params.yaml").write_text(text)


def test_a_race_drops_the_losers_early_advises_and_never_sees_the_test_set(project, capsys):
    path = project / "bodies.yaml"
    path.write_text(BODIES)
    file = read_race(path, gpu=False)
    folder = project / ".darkroom/races/bodies"
    folder.mkdir(parents=True)
    begun = race.Race(project, file, folder, runtime.from_environment())
    standings = begun.run()
    out = [loser for rivals in begun.earlier for loser in lost(rivals)]
    assert [each.name for each in out] == ["simple_cnn (none)", "lenet (none)"]
    assert len(out[0].ids) < 200 < len(out[1].ids) < 300  # a quarter of all, and a half
    test = {row["id"] for row in files.read_csv(project / "data/split.csv") if row["split"] == "test"}
    assert all(test.isdisjoint(each.ids) for each in [*standings, *out])
    assert not (folder / "pictures").exists()
    bodies = [files.read_json(path)["arithmetic"] for path in folder.rglob("body.json")]
    assert {body["kind"] for body in bodies} == {"exact"}  # as `arithmetic: auto` is in the pipeline
    assert race.conclude(begun, standings, test=False) == 0
    said = capsys.readouterr()
    assert "lenet (none) is out after" in said.err
    assert "advised: small_cnn (small_cnn-mnist.safetensors), the best; none within half a point of it is" in said.out
    assert f"dvc exp run -S backbone=small_cnn -S weights={WEIGHTS} -S freeze=backbone" in said.out
    assert (folder / "race.png").stat().st_size > 5000
    # Again: features and heads that are there are not computed again, and the answers are the same.
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*-*.safetensors")}
    assert sum(path.name.startswith("answers") for path in before) == 3 + 2  # the last round has one body, the winner
    again = race.Race(project, file, folder, runtime.from_environment()).run()
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*-*.safetensors")} == before
    assert all((one.losses == two.losses).all() for one, two in zip(standings, again, strict=True))


def test_a_race_of_one_is_no_race_and_who_is_left_out_is_reported(project, capsys):
    file = RaceFile(backbones=[Entry(backbone="resnet18", weights="absent.pth")])
    with pytest.raises(DarkroomError, match=r"a race needs two bodies, \d can run here"):
        entering(file, project)
    assert "race: resnet18 (absent.pth) is left out: weights: absent.pth does not exist" in capsys.readouterr().err


def test_weights_of_another_body_are_found_before_a_picture_is_decoded(project, capsys):
    (project / "text.pth").write_text("no weights")
    names = [Entry(backbone="lenet", weights=str(WEIGHTS)), Entry(backbone="resnet18", weights="text.pth"),
             Entry(backbone="lenet", weights="none")]  # fmt: skip
    (project / "weights").symlink_to(WEIGHTS.parent)
    assert len(entering(RaceFile(backbones=names), project).backbones) == 2
    said = capsys.readouterr().err
    assert f"race: lenet ({WEIGHTS.name}) is left out: weights: {WEIGHTS} holds a small_cnn, backbone is lenet" in said
    assert "race: resnet18 (text.pth) is left out: weights: text.pth holds more than tensors" in said
    assert not (project / ".darkroom").exists()


def test_a_body_that_memory_is_too_small_for_is_left_out(project, monkeypatch, capsys):
    def full(entrant, *_):
        raise RuntimeError(f"DefaultCPUAllocator: can't allocate memory for {entrant.entry.name}")

    monkeypatch.setattr(Entrant, "embed", full)
    names = [Entry(backbone=name, weights="none") for name in ("lenet", "simple_cnn")]
    begun = race.Race(project, RaceFile(backbones=names), project, runtime.from_environment())
    with pytest.raises(DarkroomError, match="a race needs two bodies, 0 can run here"):
        begun.embed(0, 0.05)
    assert "lenet (none) is left out: too little memory here" in capsys.readouterr().err


@pytest.mark.parametrize("damaged", ["shard-*", "index.json", "body.onnx", "body.json", "body.sha256.json"])
def test_files_of_an_earlier_race_that_are_damaged_are_made_again(project, damaged):
    names = [Entry(backbone=name, weights="none") for name in ("lenet", "simple_cnn")]
    rows = []
    for _ in range(2):
        begun = race.Race(project, RaceFile(backbones=names), project / "race", runtime.from_environment())
        begun.embed(0, 0.05)
        rows.append(begun.entrants[0].parts[0].rows(np.arange(5)))
        for path in (project / "race/features").rglob(damaged):
            path.write_bytes(path.read_bytes()[:-50])
    assert (rows[0] == rows[1]).all()


def test_heads_that_an_earlier_race_has_trained_are_taken_unless_damaged_or_of_other_labels(project):
    def answers(begun: race.Race) -> dict[Path, int]:
        begun.run()
        return {path: path.stat().st_mtime_ns for path in (project / "race").rglob("answers-*")}

    first = answers(few_digits(project, {"0": 30, "1": 30}))
    assert len(first) == 2
    damaged, whole = sorted(first)
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-50])
    again = few_digits(project, {"0": 30, "1": 30})
    assert answers(again)[whole] == first[whole]
    assert damaged.read_bytes() == content
    changed = few_digits(project, {"0": 30, "1": 30})
    name = next(name for name, label in changed.labels.items() if label == "0" and name not in changed.val)
    changed.labels[name] = "1"
    assert len(answers(changed)) == 4


def test_a_name_that_no_backbone_has_is_left_out_with_the_nearest_one(project, capsys):
    names = [Entry(backbone=name, weights="none") for name in ("resnet81", "lenet", "simple_cnn")]
    found = entering(RaceFile(backbones=names), project)
    assert "race: resnet81 (none) is left out: backbone is 'resnet81', expected" in (said := capsys.readouterr().err)
    assert "did you mean `resnet18`?" in said
    assert [each.backbone for each in found.backbones][:2] == ["lenet", "simple_cnn"]


def test_the_body_of_the_params_enters_once_by_whatever_path_the_file_names_it(project):
    (project / "weights").symlink_to(WEIGHTS.parent)
    names = [Entry(backbone="lenet", weights="none"), Entry(backbone="small_cnn", weights=f"./weights/{WEIGHTS.name}")]
    assert entering(RaceFile(backbones=names), project).backbones == names


def few_digits(project: Path, counts: dict[str, int]) -> race.Race:
    """Return a race on so many pictures of each class."""
    for folder in (project / "pictures").iterdir():
        for path in sorted(folder.iterdir())[counts.get(folder.name, 0) :]:
            path.unlink()
        if folder.name not in counts:
            folder.rmdir()
    prepare(project)
    names = [Entry(backbone="lenet", weights="none"), Entry(backbone="small_cnn", weights=str(WEIGHTS))]
    return race.Race(project, RaceFile(backbones=names), project / "race", runtime.from_environment())


def test_where_one_class_dominates_the_best_is_advised_and_not_a_fast_one_that_knows_nothing(project, capsys):
    begun = few_digits(project, {"0": 60, "1": 4})
    standings = begun.run()
    assert race.conclude(begun, standings, test=False) == 0
    said = capsys.readouterr().out
    assert "no body is better beyond noise than always answering 0, right for 9" in said
    assert "advised: small_cnn (small_cnn-mnist.safetensors), the best:" in said


def test_an_image_whose_class_no_other_fold_has_is_left_out_and_reported(project, capsys):
    begun = few_digits(project, {"0": 30, "1": 30, "2": 2})  # of two images, one is for test
    standings = begun.run()
    classes = {begun.labels[name] for standing in standings for name in standing.ids}
    assert classes == {"0", "1"}
    assert "race: 1 image is left out: no other fold has one of the same class to learn from" in capsys.readouterr().err


def test_a_round_has_four_images_a_class_at_least_unless_it_is_the_last():
    assert race.rounds_of(1000, 2) == [0.25, 0.5, 1.0]
    assert race.rounds_of(400, 2) == [1.0]
    assert race.rounds_of(850, 100) == [0.5, 1.0]
    assert race.rounds_of(476, 120) == [1.0]  # a quarter had one image a class, which no head can be judged by


def test_classes_of_two_images_cannot_be_raced_on(project):
    begun = few_digits(project, {"0": 2, "1": 2, "2": 2})
    with pytest.raises(DarkroomError, match="no class of the 3 images has two in different folds"):
        begun.run()


def test_a_race_that_was_stopped_says_how_to_go_on(project, monkeypatch, capsys):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    (project / "bodies.yaml").write_text(BODIES)
    monkeypatch.setattr(race, "prepare", lambda _: None)  # neither Git nor DVC has a part in this
    for phase in ("require_split", "conclude"):  # the first, and the last, with its look at the test set
        with monkeypatch.context() as patch:
            patch.setattr(race, "require_split", lambda _: None)
            patch.setattr(race.Race, "run", lambda _: [])
            patch.setattr(race, phase, stop)
            assert race.main(["bodies.yaml"]) == 130
        assert "race: stopped; the same command goes on from here" in capsys.readouterr().err


def test_weights_that_were_replaced_under_their_name_are_embedded_anew(project):
    weights = Path(shutil.copy(WEIGHTS, project / "my.safetensors"))
    names = [Entry(backbone="lenet", weights="none"), Entry(backbone="small_cnn", weights=str(weights))]
    rows = []
    for _ in range(2):
        begun = race.Race(project, RaceFile(backbones=names), project / "race", runtime.from_environment())
        begun.embed(0, 0.05)
        rows.append(begun.entrants[1].parts[0].rows(np.arange(5)))
        save_file({name: np.asarray(value * 1.5) for name, value in load_file(weights).items()}, weights)
    assert (rows[0] != rows[1]).any()


def test_features_of_other_code_are_not_taken(project):
    names = [Entry(backbone=name, weights="none") for name in ("lenet", "simple_cnn")]

    def folders() -> set[Path]:
        begun = race.Race(project, RaceFile(backbones=names), project / "race", runtime.from_environment())
        return {entrant.folder for entrant in begun.entrants}

    module = project / "stages/code/embed/darkroom.model.embedding"
    module.parent.mkdir(parents=True)
    module.write_text("a = 1\n")
    before = folders()
    assert folders() == before
    module.write_text("a = 2\n")
    assert not folders() & before


def test_licences_are_known_and_only_permissive_ones_enter_by_default(project, capsys):
    assert licence(Entry(backbone="resnet18", weights="imagenet")) == "BSD-3-Clause"
    assert licence(Entry(backbone="timm/tf_efficientnet_lite0", weights="package")) == "Apache-2.0"
    swag = Entry(backbone="vit_b_16", weights="IMAGENET1K_SWAG_E2E_V1")
    assert licence(swag) == "CC-BY-NC-4.0"
    with pytest.raises(DarkroomError, match="a race needs two bodies"):
        entering(RaceFile(backbones=[swag]), project)
    assert "left out: its licence is CC-BY-NC-4.0; list it under `accept_licences`" in capsys.readouterr().err


def test_the_head_of_a_race_is_the_linear_one_of_params_yaml():
    recipe, params = race.head_recipe(ROOT), load(Recipe, ROOT / "params.yaml")
    assert (recipe.lr, recipe.epochs, recipe.seed) == (params.lr, params.epochs, params.seed)
    assert recipe.only_head
    assert recipe.head == "linear"
