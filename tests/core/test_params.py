"""Params are read strictly: each mistake is one line that names the key, the value and what is allowed."""

import json
import shutil
from dataclasses import dataclass

import pytest

from darkroom.core.errors import ParamsError
from darkroom.core.params import check, load, param, read_yaml, schema
from darkroom.training.recipe import Recipe
from tests.project import ROOT


@dataclass(frozen=True)
class Params:
    lr: float = param("learning rate", above=0)
    epochs: int = param("passes over the training set", at_least=1)
    backbone: str = param("the network", choices=["resnet18", "resnet50", "vgg16"])
    image_size: int | str = param("pixels a side", at_least=8, also=["auto"])
    ema: float | None = param("decay of the averaged weights", above=0, below=1)
    nesterov: bool = param("look ahead")
    exclude: list[str] = param("locations to leave out")


GOOD = {"lr": "1e-05", "epochs": "3", "backbone": "resnet18", "image_size": "auto", "ema": "null", "nesterov": "false",
        "exclude": "[a.jpg]"}  # fmt: skip


def write(tmp_path, **changes):
    lines = [f"{key}: {value}  # why" for key, value in (GOOD | changes).items() if value is not None]
    path = tmp_path / "params.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_good_params_come_with_their_types(tmp_path):
    params = load(Params, write(tmp_path))
    assert params == Params(1e-5, 3, "resnet18", "auto", None, False, ["a.jpg"])
    assert isinstance(params.lr, float)


@pytest.mark.parametrize("text", ["1e-5", "1e-05", "0.00001", "1.0e-5", "1E-5"])
def test_a_number_is_a_number_however_it_is_written(tmp_path, text):
    assert load(Params, write(tmp_path, lr=text)).lr == 1e-5


def test_a_whole_number_does_for_a_float(tmp_path):
    lr = load(Params, write(tmp_path, lr="1")).lr
    assert lr == 1.0
    assert isinstance(lr, float)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": "fast"}, r"lr is 'fast', expected a number above 0$"),
        ({"lr": "0"}, r"lr is 0, expected a number above 0$"),
        ({"lr": ".nan"}, r"lr is nan, expected a number above 0$"),
        ({"lr": ".inf"}, r"lr is inf, expected a number above 0$"),
        ({"epochs": "0"}, r"epochs is 0, expected a whole number at least 1$"),
        ({"epochs": "9" * 30}, r"epochs is 9{30}, expected a whole number at least 1$"),
        ({"epochs": "2.5"}, r"epochs is 2.5, expected a whole number at least 1$"),
        ({"epochs": "true"}, r"epochs is True, expected a whole number at least 1$"),
        ({"backbone": "resnet19"}, r"expected one of resnet18, resnet50, vgg16; did you mean `resnet18`\?$"),
        ({"image_size": "atuo"}, r"expected a whole number at least 8 or `auto`; did you mean `auto`\?$"),
        ({"image_size": "4"}, r"image_size is 4, expected a whole number at least 8 or `auto`$"),
        ({"ema": "1.0"}, r"ema is 1.0, expected a number above 0 and below 1 or null$"),
        ({"nesterov": "maybe"}, r"nesterov is 'maybe', expected true or false$"),
        ({"exclude": "[1]"}, r"exclude is \[1\], expected a list, each item a text$"),
        ({"lr": "1" + "0" * 400}, r"lr is 10{99}…, expected a number above 0$"),
        ({"epochs": None, "epoch": "3"}, r"there is no key `epoch`; did you mean `epochs`\?$"),
        ({"5": "3"}, r"there is no key `5`; the keys are "),
        ({"epochs": None}, r"the key `epochs` is missing \(passes over the training set\); add `epochs: …`$"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_is_allowed(tmp_path, changes, message):
    with pytest.raises(ParamsError, match=message) as caught:
        load(Params, write(tmp_path, **changes))
    assert "\n" not in str(caught.value)


def test_a_mistake_in_another_stages_key_stops_this_stage_too(tmp_path):
    @dataclass(frozen=True)
    class First:
        epochs: int = param("passes", at_least=1)

    (tmp_path / "params.schema.json").write_text(json.dumps({"properties": schema(Params)}))
    with pytest.raises(ParamsError, match="lr is 'fast'"):
        load(First, write(tmp_path, lr="fast"))
    assert load(First, write(tmp_path)) == First(3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "expected `key: value` lines, found list"),
        ("a: [1\n", "is not valid YAML"),
        ("", "is empty; expected `key: value` lines"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text, message):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError, match=message):
        load(Params, path)


def test_an_unknown_key_cannot_write_lines_or_move_the_cursor(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text('"\\e[31mx\\nforged: line": 1\n"' + "k" * 900 + '": 1\n')
    with pytest.raises(ParamsError, match=r"there is no key `\\x1b\[31mx forged: line`") as caught:
        load(Params, path)
    assert str(caught.value).isprintable()


BOMB = "[&a0 [x, x], " + ", ".join(f"&a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)) + "]"


@pytest.mark.parametrize(
    ("lr", "message"),
    [
        (BOMB, "aliases repeat more than 1,000,000 characters"),
        ("[&long " + "x" * 400_000 + ", *long, *long, *long]", "aliases repeat more than 1,000,000 characters"),
        ("&a [*a]", r"`\*a` names nothing that ends before it"),
        ("[" * 20_000, "collections are nested more than 50 deep"),
        ("9" * 10_000, "line 1: a whole number of more than 1000 digits"),
        ("0x" + "f" * 10_000, "line 1: a whole number of more than 1000 digits"),
        ("x" * 1_000_000, "lr is 'xxx"),
        ("[" + "1, " * 100_000 + "1]", r"lr is \[1, 1"),
    ],
    ids=[
        "aliases of aliases",
        "aliases of a long text",
        "an alias in itself",
        "nesting",
        "digits",
        "hex",
        "text",
        "list",
    ],
)
def test_a_value_made_to_fill_the_memory_is_one_short_line(tmp_path, lr, message):
    path = tmp_path / "params.yaml"
    path.write_text(f"lr: {lr}\n" + "".join(f"{key}: {value}\n" for key, value in GOOD.items() if key != "lr"))
    with pytest.raises(ParamsError, match=message) as caught:
        load(Params, path)
    assert len(str(caught.value)) < 400 + len(str(path))


def test_aliases_of_honest_size_are_read(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("a: &a [1, {b: 2}]\nc: [*a, *a]\n")
    assert read_yaml(path) == {"a": [1, {"b": 2}], "c": [[1, {"b": 2}]] * 2}


def test_an_absent_file_says_where_to_run(tmp_path):
    with pytest.raises(ParamsError, match="does not exist; run from the project's root"):
        load(Params, tmp_path / "params.yaml")


def test_a_prefix_opens_a_list_of_choices():
    @dataclass(frozen=True)
    class Open:
        backbone: str = param("the network", choices=["resnet18"], prefix="timm/")

    spec = schema(Open)["backbone"]
    check("backbone", "timm/resnet18", spec)
    for wrong in ("timm/", "my/timm/x", "resnet19"):
        with pytest.raises(ParamsError, match=r"expected `resnet18` or `timm/…`"):
            check("backbone", wrong, spec)


@pytest.mark.parametrize("path", ["params.yaml", "weights/small_cnn-mnist.params.yaml"])
def test_the_params_that_come_with_the_project_are_those_of_today(path, tmp_path):
    shutil.copy(ROOT / "params.schema.json", tmp_path)
    shutil.copy(ROOT / path, tmp_path / "params.yaml")
    load(Recipe, tmp_path / "params.yaml")  # every key of the schema is looked at
