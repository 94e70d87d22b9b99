"""A race of small bodies on digits, and its rules on answers made for the purpose."""

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
from darkroom.search.entrants import Entrant, Entry, RaceFile, licence, read_race
from darkroom.search.standings import Standing, advised, against, figure, in_words, largest_class, lost, table
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


def standing(name: str, right: list[int], rate: float, n: int = 200, losses: float = 0.1) -> Standing:
    """Return a body that answers `right` of `n` images, those with these numbers."""
    mask = np.zeros(n, bool)
    mask[right] = True
    ids = [f"{number:03d}" for number in range(n)]
    return Standing(name, ids, mask, np.full(n, losses), 100.0, rate, 9.0, 1_000_000, "MIT")


BEST = standing("best", [*range(190)], 10)
LEVEL = standing("level", [*range(187)], 40)
WORSE = standing("worse", [*range(150)], 90)
WORST = standing("worst", [*range(120)], 99)


def test_the_advice_is_the_fastest_of_those_at_most_half_a_point_behind_the_best():
    close = standing("close", [*range(189)], 30)
    assert advised([WORSE, close, BEST, WORST]) == (BEST, close)
    assert advised([WORSE, LEVEL, BEST, close]) == (BEST, close)  # level, for the noise of 200 images, yet 1.5 points
    assert advised([WORSE, BEST]) == (BEST, BEST)
    assert advised([standing("a", [*range(190)], 5, losses=0.2), BEST])[0] is BEST  # the log loss between equals


def test_always_answering_the_largest_class_is_beaten_or_not():
    labels = {name: "a" if number < 190 else "b" for number, name in enumerate(BEST.ids)}
    assert largest_class(BEST, labels) == ("a", 0.95)
    assert largest_class(standing("all", [*range(200)], 10), labels) is None


def test_a_round_loses_those_in_the_lower_half_that_are_worse_beyond_noise():
    assert lost([BEST, LEVEL, WORSE, WORST]) == [WORSE, WORST]
    assert lost([BEST, WORSE, WORST]) == [WORST]  # the upper half goes on in any case
    assert lost([BEST, LEVEL]) == []


def test_bodies_are_compared_on_the_images_that_both_answered():
    few = Standing("few", BEST.ids[150:], BEST.right[150:].copy(), np.full(50, 0.1), 1.0, 1.0, 1.0, 1, "MIT")
    few.right[:3] = False
    pair = against(BEST, [few])[0]
    assert pair.difference == pytest.approx(-3 / 50)
    assert pair.low < pair.difference < pair.high
    assert not pair.worse


def test_the_table_says_how_sure_each_figure_is_and_the_figure_shows_every_body():
    frame = table([LEVEL, BEST], [WORST])
    assert list(frame["verdict"]) == ["best", "level", "worse, out"]
    text = in_words(frame)
    assert "95.0 (90.9 to 97.4)" in text
    assert "-1.5 (-3.4 to +0.4)" in text
    assert max(map(len, text.splitlines())) <= 80
    assert len(figure(frame).axes[0].texts) == 3
    assert "Holm" not in text


def test_the_labels_of_the_figure_are_the_heights_they_stand_at():
    axes = figure(table([standing(str(n), [*range(195 - 2 * n)], 9 + n) for n in range(12)], [])).axes[0]
    ticks = axes.yaxis.get_majorticklocs()  # steps of 2.5 %
    read = [float(axes.yaxis.get_major_formatter()(tick).rstrip("%")) for tick in ticks]
    assert read == pytest.approx(100 * ticks)


def test_the_table_explains_an_interval_without_zero_beside_the_verdict_level():
    alone, among = ([BEST, *(standing(str(n), [*range(184)], n) for n in range(count))] for count in (1, 4))
    assert list(table(alone, [])["verdict"]) == ["best", "worse"]
    assert list(table(among, [])["verdict"]) == ["best", *["level"] * 4]
    assert in_words(table(among, [])).endswith("(Holm), an interval for its own alone")


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
    assert [each.name for each in begun.out] == ["simple_cnn (none)", "lenet (none)"]
    assert len(begun.out[0].ids) < 200 < len(begun.out[1].ids) < 300  # a quarter of all, and a half
    test = {row["id"] for row in files.read_csv(project / "data/split.csv") if row["split"] == "test"}
    assert all(test.isdisjoint(each.ids) for each in [*standings, *begun.out])
    assert not (folder / "pictures").exists()
    bodies = [files.read_json(path)["arithmetic"] for path in folder.rglob("body.json")]
    assert {body["kind"] for body in bodies} == {"exact"}  # as `arithmetic: auto` is in the pipeline
    assert race.conclude(begun, standings, test=False) == 0
    said = capsys.readouterr()
    assert "lenet (none) is out after" in said.err
    assert "advised: small_cnn (small_cnn-mnist.safetensors)" in said.out
    assert f"dvc exp run -S backbone=small_cnn -S weights={WEIGHTS} -S freeze=backbone" in said.out
    assert (folder / "race.png").stat().st_size > 5000
    # Again: features that are there are not computed again, and the answers are the same.
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("shard-*.safetensors")}
    again = race.Race(project, file, folder, runtime.from_environment()).run()
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("shard-*.safetensors")} == before
    assert all((one.losses == two.losses).all() for one, two in zip(standings, again, strict=True))


def test_a_race_of_one_is_no_race_and_who_is_left_out_is_reported(project, capsys):
    file = RaceFile(backbones=[Entry(backbone="resnet18", weights="absent.pth")])
    with pytest.raises(DarkroomError, match=r"a race needs two bodies, \d can run here"):
        race.Race(project, file, project, runtime.from_environment())
    assert "race: resnet18 (absent.pth) is left out: weights: absent.pth does not exist" in capsys.readouterr().err


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


def test_a_name_that_no_backbone_has_is_left_out_with_the_nearest_one(project, capsys):
    names = [Entry(backbone=name, weights="none") for name in ("resnet81", "lenet", "simple_cnn")]
    begun = race.Race(project, RaceFile(backbones=names), project, runtime.from_environment())
    assert "race: resnet81 (none) is left out: backbone is 'resnet81', expected" in (said := capsys.readouterr().err)
    assert "did you mean `resnet18`?" in said
    assert {entrant.entry.backbone for entrant in begun.entrants} == {"lenet", "simple_cnn"}


def test_the_body_of_the_params_enters_once_by_whatever_path_the_file_names_it(project):
    (project / "weights").symlink_to(WEIGHTS.parent)
    names = [Entry(backbone="lenet", weights="none"), Entry(backbone="small_cnn", weights=f"./weights/{WEIGHTS.name}")]
    begun = race.Race(project, RaceFile(backbones=names), project, runtime.from_environment())
    assert [entrant.entry for entrant in begun.entrants] == names


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


def test_classes_of_two_images_cannot_be_raced_on(project):
    begun = few_digits(project, {"0": 2, "1": 2, "2": 2})
    with pytest.raises(DarkroomError, match="no class of the 3 images has two in different folds"):
        begun.run()


def test_a_race_that_was_stopped_says_how_to_go_on(project, monkeypatch, capsys):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(race, "require_split", lambda _: None)  # DVC has no part in this
    monkeypatch.setattr(race.Race, "run", stop)
    (project / "bodies.yaml").write_text(BODIES)
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
        race.Race(project, RaceFile(backbones=[swag]), project, runtime.from_environment())
    assert "left out: its licence is CC-BY-NC-4.0; list it under `accept_licences`" in capsys.readouterr().err


def test_the_head_of_a_race_is_the_linear_one_of_params_yaml():
    recipe, params = race.head_recipe(ROOT), load(Recipe, ROOT / "params.yaml")
    assert (recipe.lr, recipe.epochs, recipe.seed) == (params.lr, params.epochs, params.seed)
    assert recipe.only_head
    assert recipe.head == "linear"
