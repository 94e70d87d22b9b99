import sys
from pathlib import Path

import pytest

from darkroom.core.errors import ParamsError
from darkroom.core.files import read_json
from darkroom.core.params import read_yaml
from darkroom.search.journal import COMPLETE, PRUNED, Trial
from darkroom.search.project import DECIDING, late_params, stage_params
from darkroom.search.sampler import choose, count, hopeless
from darkroom.search.space import Range, Space, SweepError, read_space

ROOT = Path(__file__).resolve().parents[2]
KNOWN = {"lr": 0.01, "epochs": 10, "head": "linear", "hidden": 64, "seed": 0, "train_seed": None}
TEXT = """
method: {method}
trials: 12
metric: val.loss
pruning: median
fixed: {{epochs: 3}}
params:
  lr: {{low: 1e-4, high: 1e-1, log: true}}
  hidden: {{low: 8, high: 64, integer: true, points: 3}}
  head: [linear, mlp]
"""


def space(tmp_path, method: str = "random") -> Space:
    path = tmp_path / "lr.yaml"
    path.write_text(TEXT.format(method=method))
    return read_space(path, KNOWN)


def test_a_grid_holds_every_combination_once(tmp_path):
    grid = space(tmp_path, "grid")
    points = grid.grid()
    assert count(grid) == len(points) == 5 * 3 * 2
    assert len({str(point) for point in points}) == 30
    assert [point["lr"] for point in points[::6]] == [0.0001, 0.0005623, 0.003162, 0.01778, 0.1]
    assert {point["hidden"] for point in points} == {8, 36, 64}


def test_random_trials_are_a_function_of_the_seed_and_their_number(tmp_path):
    drawn = space(tmp_path)
    first = [choose(drawn, number, [], {}) for number in range(50)]
    assert first == [choose(drawn, number, [], {}) for number in range(50)]
    assert len({params["lr"] for params in first}) == 50
    assert all(1e-4 <= params["lr"] <= 0.1 and 8 <= params["hidden"] <= 64 for params in first)
    assert {params["head"] for params in first} == {"linear", "mlp"}
    assert sum(params["lr"] < 0.00316 for params in first) in range(15, 36)  # half of them, on a logarithmic scale


def test_random_trials_of_choices_alone_never_come_twice(tmp_path):
    path = tmp_path / "bodies.yaml"
    path.write_text("trials: 20\nparams: {head: [linear, mlp], lr: [0.1, 0.2, 0.3]}\n")
    drawn = read_space(path, KNOWN)
    assert count(drawn) == 6
    assert len({str(choose(drawn, number, [], {})) for number in range(6)}) == 6
    assert count(drawn.model_copy(update={"trials": 4})) == 4


def finished(drawn: Space, count: int) -> list[Trial]:
    trials: list[Trial] = []
    for number in range(count):
        params = choose(drawn, number, trials, {})
        value = abs(params["lr"] - 0.02) + (params["head"] == "linear")
        state = PRUNED if number == 7 else COMPLETE
        trials.append(Trial(number, params, state, None if number == 7 else value, [1.0, value]))
    return trials


def test_tpe_learns_from_what_is_done_and_goes_on_the_same_after_a_stop(tmp_path):
    drawn = space(tmp_path, "tpe")
    trials = finished(drawn, 25)
    assert choose(drawn, 25, trials, {}) == choose(drawn, 25, trials, {})
    assert choose(drawn, 25, trials, {24: trials[-1].params}) is not None
    late = trials[15:]
    assert sum(trial.params["head"] == "mlp" for trial in late) > len(late) / 2


def test_tpe_takes_every_seed_that_a_sweep_may_have(tmp_path):
    drawn = space(tmp_path, "tpe").model_copy(update={"seed": 2**40})
    assert choose(drawn, 9, finished(space(tmp_path), 9), {})["head"] in ("linear", "mlp")


def test_a_trial_behind_the_median_of_the_others_is_hopeless(tmp_path):
    drawn = space(tmp_path)
    others = [Trial(n, {}, COMPLETE, 0.5, [1.0, 0.8, 0.6, 0.5]) for n in range(5)]
    assert hopeless(drawn, [1.1, 1.0, 0.9], others)
    assert not hopeless(drawn, [1.1, 1.0, 0.55], others)
    assert not hopeless(drawn, [1.1, 1.0], others)  # too early
    assert not hopeless(drawn, [1.1, 1.0, 0.9], others[:4])  # too few to tell
    assert not hopeless(drawn.model_copy(update={"pruning": "none"}), [9.0] * 4, others)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("params: {lr: [1]}\ntrails: 3", "there is no key `trails`; the keys are fixed, goal"),
        ("params: {lr: [1]}\n3: 4", "there is no key `3`; the keys are fixed, goal"),
        ("params: {lr: [1]}\nname: a", "there is no key `name`; a sweep has the name of its file"),
        ("params: {1: [1]}", "params.1 is 1, expected the name of a param"),
        ("params: {lr: [1]}\ntrials: 10001", "trials is 10001, expected less than or equal to 10000"),
        ("method: grid", "the key `params` is missing; expected a list of choices"),
        ("params: {}", "params is {}, expected a list of choices"),
        ("params: {learning_rate: [1]}", "a key of params.yaml is 'learning_rate', expected one of epochs, head"),
        ("params: {lr: [1]}\nfixed: {lr: 2}", "lr is fixed and searched at once"),
        ("params: {lr: [1]}\nmethod: bayes", "method is 'bayes', expected 'grid', 'random' or 'tpe'"),
        ("params: {lr: [1]}\ntrials: many", "trials is 'many', expected a valid integer"),
        ("params: {lr: [1]}\ntrials: 0", "trials is 0, expected greater than or equal to 1"),
        ("params: {lr: []}", r"params.lr is \[\], expected a list of choices"),
        ("params: {lr: 3}", "params.lr is 3, expected a list of choices"),
        ("params: {lr: {low: 1}}", "the key `params.lr.high` is missing; expected a list of choices"),
        ("params: {lr: {low: 1, high: 3, step: 2}}", "there is no key `params.lr.step`; the keys are low, high, log"),
        ("params: {lr: {low: 1, high: big}}", "params.lr.high is 'big', expected a finite number"),
        ("params: {lr: {low: 1, high: .inf}}", "params.lr.high is inf, expected a finite number"),
        ("params: {lr: {low: 1, high: 2, points: 2.5}}", "points is 2.5, expected a valid integer"),
        ("params: {lr: {low: 1, high: 2, points: 0}}", "points is 0, expected greater than or equal to 1"),
        ("params: {lr: {low: 1, high: 2, log: maybe}}", "params.lr.log is 'maybe', expected a valid boolean"),
        ("params: {lr: [.nan, 0.1]}", "params.lr.0 is nan, expected a text, a finite number"),
        ("params: {lr: [[1], [2]]}", r"params.lr.0 is \[1\], expected a text, a finite number"),
        ("params: {lr: [1]}\nfixed: [epochs]", r"fixed is \['epochs'\], expected `key: value` lines below it"),
        ("params: {lr: [1]}\nfixed: {head: {a: 1}}", r"fixed.head is {'a': 1}, expected a text"),
        ("params: {lr: {low: 2, high: 1}}", "low is 2 and high 1, expected low below high"),
        ("params: {lr: {low: 0, high: 1, log: true}}", "expected above 0 with log"),
        ("params: {hidden: {low: 0.5, high: 3, integer: true}}", "expected whole numbers with integer"),
        ("params: {seed: [1, 2, 3]}", "seed decides which images validate: .*; move it to `fixed`"),
        ("params: {lr: [0.01, 0.1, 1e-2]}", "lr lists 0.01 twice; remove one of them"),
        ("params: {train_seed: [0, 1]}", "the best of several seeds is chosen by chance; .*`darkroom repeats`"),
        ("method: grid\nparams: {lr: {low: 1, high: 2, points: 1000000000}}", "a grid of 1,000,000,000 combinations"),
        ("params: {lr: [1]}\nmetric: test.accuracy", "a search that sees the test set spoils it"),
        ("params: {lr: [1]}\nmetric: val.los", "metric is 'val.los', expected one of val.loss, val.accuracy, "),
        ("params: {lr: [1]}\nmetric: val.accuracy", "goal is minimize, .* the worst val.accuracy; set goal: maximize"),
    ],
)
def test_a_space_that_cannot_be_searched_is_rejected(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises((SweepError, ParamsError), match=message):
        read_space(path, KNOWN, {"seed"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("params: {epochs: [ten, 3]}", "wrong.yaml: epochs is 'ten', expected a whole number at least 1"),
        ("params: {epochs: [3, 2.5]}", "epochs is 2.5, expected a whole number"),
        ("params: {epochs: {low: 1, high: 9}}", "epochs takes whole numbers; add integer: true to its range$"),
        ("params: {head: {low: 1, high: 9}}", "head is 1.0, expected one of linear, mlp"),
        ("params: {lr: {low: -1, high: 9}}", "lr is -1.0, expected a number above 0"),
        ("params: {lr: [0.1, true]}", "lr is True, expected a number"),
        ("params: {backbone: [small_cnn, resnet19]}", "backbone is 'resnet19', .*; did you mean `resnet18`"),
        ("params: {lr: [1]}\nfixed: {head: linaer}", "head is 'linaer', expected one of linear, mlp; did you mean"),
        ("params: {lrr: [1]}", "a key of params.yaml is 'lrr', .*; did you mean `lr`"),
    ],
)
def test_a_value_that_no_trial_could_run_with_is_rejected_before_the_first(tmp_path, text, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    specs = read_json(ROOT / "params.schema.json")["properties"]
    with pytest.raises((SweepError, ParamsError), match=message):
        read_space(path, read_yaml(ROOT / "params.yaml"), specs=specs)
    path.write_text(
        "fixed: {exclude: [a/*]}\nparams: {epochs: {low: 1, high: 9, integer: true}, lr: [1], limit: [null, 9]}"
    )
    assert read_space(path, read_yaml(ROOT / "params.yaml"), specs=specs).params["lr"] == [1]


def test_every_param_that_moves_the_validation_set_can_only_be_fixed(tmp_path):
    deciding = stage_params(ROOT, *DECIDING)
    assert {"seed", "val_fraction", "duplicates", "limit", "exclude", "source", "group_by"} <= deciding
    assert not {"lr", "backbone", "weights", "augment", "resize"} & deciding
    path = tmp_path / "fixed.yaml"
    path.write_text("fixed: {seed: 3}\nparams: {lr: [1]}")
    assert read_space(path, KNOWN, deciding).fixed == {"seed": 3}


def test_a_param_that_acts_after_the_training_is_no_search(tmp_path):
    late = late_params(ROOT)
    assert {"tta", "set_level", "answer_share", "quantize"} <= late
    assert not {"seed", "lr", "augment", "backbone", "source"} & late
    path = tmp_path / "tta.yaml"
    path.write_text("params: {tta: [none, flip]}")
    with pytest.raises(SweepError, match=r"tta acts after the training, so that val.loss is the same .* to `fixed`"):
        read_space(path, {"tta": "none"}, late=late)
    path.write_text("fixed: {tta: flip}\nparams: {lr: [1]}")
    assert read_space(path, KNOWN | {"tta": "none"}, late=late).fixed == {"tta": "flip"}


def test_a_missing_file_names_those_that_are_there(tmp_path):
    (tmp_path / "head.yaml").write_text("")
    with pytest.raises(SweepError, match=r"lr.yaml does not exist; the sweeps here are .*head.yaml"):
        read_space(tmp_path / "lr.yaml", KNOWN)
    (tmp_path / "sweeps").mkdir()
    for name in ("dvc.yaml", "params.yaml", ".pre-commit-config.yaml", "sweeps/rate.yaml"):  # as in a project
        (tmp_path / name).write_text("")
    with pytest.raises(SweepError) as caught:
        read_space(tmp_path / "lr.yaml", KNOWN)
    assert str(caught.value).endswith(f"here are {tmp_path / 'head.yaml'}, {tmp_path / 'sweeps/rate.yaml'}")


def test_numbers_are_kept_short_and_inside_the_range():
    assert Range(low=1e-4, high=1e-1, log=True).at(1 / 3) == 0.001
    assert Range(low=0.12345678, high=1.0).tidy(0.0) == 0.12345678
    assert Range(low=1, high=9, integer=True).at(0.5) == 5
    assert Range(low=3, high=4, points=1).grid() == [3]


@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_projects_own_sweeps_can_be_searched(path):
    found = read_space(path, read_yaml(ROOT / "params.yaml"))
    assert count(found) >= 5
    assert choose(found, 0, [], {}).keys() == found.params.keys()


def test_a_folder_is_no_sweep_and_its_sweeps_are_named(tmp_path):
    (tmp_path / "head.yaml").write_text("")
    with pytest.raises(SweepError, match=r"is a folder; the sweeps in it are .*head\.yaml"):
        read_space(tmp_path, KNOWN)


def test_without_optuna_the_way_to_install_it_is_this_projects_own(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    drawn = space(tmp_path, "tpe")
    with pytest.raises(SweepError, match=r"run `\.venv/bin/pip install -e '\.\[search\]'`, or use method: random"):
        choose(drawn, 9, finished(space(tmp_path), 9), {})
