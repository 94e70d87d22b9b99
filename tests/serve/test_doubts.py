"""Answers to be doubted: unknown pictures, uncertain answers and sets of classes, by predict and the service."""

import asyncio
import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.export import standalone
from darkroom.images.decode import decode
from darkroom.images.framing import Framing
from darkroom.metrics.abstention import Limits
from darkroom.metrics.conformal import in_words
from darkroom.serve import predict
from darkroom.serve.application import create_app
from darkroom.serve.predictor import Prediction, Predictor, answer_facts
from tests.browser import needs_chromium
from tests.export import small
from tests.serve.conftest import CLASSES, serve

SIZE = 32
LIMITS = Limits(0.95, {0.9: 0.3, 0.95: [0.2, 0.001, 0.001]}, None, 0.9995)


@pytest.fixture(scope="module")
def doubting(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an exported model that has seen china.jpg and nothing like flower.jpg."""
    seen = decode((photos / "china.jpg").read_bytes(), Framing(SIZE, "crop", SIZE))[None]
    folder = tmp_path_factory.mktemp("model") / "export"
    return small.export(folder, CLASSES, SIZE, limits=LIMITS, seen=seen)


def changed(folder: Path, copy: Path, **facts: Any) -> Path:
    """Return a copy of an exported model with other facts in its config.json."""
    shutil.copytree(folder, copy)
    files.write_json(copy / "config.json", files.read_json(copy / "config.json") | facts)
    return copy


def test_a_picture_unlike_the_training_images_is_unknown_and_the_exit_status_says_so(doubting, photos, capsys):
    names = [str(photos / "china.jpg"), str(photos / "flower.jpg")]
    assert predict.main([*names, "--model", str(doubting)]) == predict.DOUBTED == 3
    out, err = capsys.readouterr()
    known, unknown = out.splitlines()
    assert not known.startswith(f"{names[0]}: unknown")
    assert unknown.startswith(f"{names[1]}: unknown: ")
    assert "darkroom predict: 1 of 2 unknown: unlike the training images" in err
    assert predict.main([names[0], "--model", str(doubting)]) == 0


def test_a_bad_file_counts_more_than_a_doubt(doubting, photos, capsys):
    assert predict.main([str(photos / "flower.jpg"), str(photos / "cut.jpg"), "--model", str(doubting)]) == 1


def test_json_and_table_say_what_is_unknown(doubting, photos, capsys):
    names = [str(photos / "china.jpg"), str(photos / "flower.jpg")]
    predict.main([*names, "--model", str(doubting), "--json", "--sets"])
    known, unknown = map(json.loads, capsys.readouterr().out.splitlines())
    assert (known["unknown"], unknown["unknown"]) == (False, True)
    assert known["similarity"] > 0.9995 > unknown["similarity"]
    assert "uncertain" not in known
    assert known["set"]["level"] == 0.95
    assert known["class"] in known["set"]["classes"]
    predict.main([*names, "--model", str(doubting), "--csv", "--sets", "--level", "0.9"])
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["unknown"] for row in rows] == ["false", "true"]
    assert rows[0]["set"].split(" | ")[0] == rows[0]["predicted"]


def test_sets_name_the_classes_and_the_level(doubting, photos, capsys):
    predictor = Predictor(doubting, spin=False)
    answer = predictor(photos / "china.jpg")
    expected = [name for name, share in answer.top(3) if share >= LIMITS.sets[0.95][CLASSES.index(name)]]
    predict.main([str(photos / "china.jpg"), "--model", str(doubting), "--sets"])
    (line,) = capsys.readouterr().out.splitlines()
    assert answer.classes_at(0.95) == expected
    assert line == f"{photos / 'china.jpg'}: {in_words(expected)} (95 %)"


def test_a_class_called_as_a_column_of_the_table_has_one_of_its_own(photos, tmp_path, capsys):
    seen = decode((photos / "china.jpg").read_bytes(), Framing(SIZE, "crop", SIZE))[None]
    classes = ["class unknown", "error", "unknown"]
    folder = small.export(tmp_path / "export", classes, SIZE, limits=LIMITS, seen=seen)
    predict.main([str(photos / "china.jpg"), "--model", str(folder), "--csv"])
    (row,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert [*row][2:] == ["class unknown", "class error", "class class unknown", "error", "unknown"]
    assert (row["error"], row["unknown"]) == ("", "false")
    shares = [float(row[name]) for name in [*row][2:5]]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert row["predicted"] == classes[int(np.argmax(shares))]


def test_a_level_alone_asks_for_sets(doubting, photos, capsys):
    predict.main([str(photos / "china.jpg"), "--model", str(doubting), "--level", "0.9"])
    assert capsys.readouterr().out.endswith(" (90 %)\n")


def test_levels_that_the_model_does_not_have_are_one_line(doubting, exported, photos):
    with pytest.raises(DarkroomError, match=r"--sets: this model has no sets of level 0.5; it has 0.9, 0.95"):
        predict.main([str(photos / "china.jpg"), "--model", str(doubting), "--sets", "--level", "0.5"])
    with pytest.raises(DarkroomError, match="this model has no sets of classes; `dvc repro export` makes them, from 9"):
        predict.main([str(photos / "china.jpg"), "--model", str(exported), "--sets"])


def test_an_export_of_the_format_before_answers_as_it_did(exported, photos, capsys):
    assert "format" not in files.read_json(exported / "config.json")
    assert predict.main([str(photos / "flower.jpg"), "--model", str(exported), "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"file", "class", "probability", "top"}


def test_the_export_doubts_the_same_answers_without_darkroom(doubting, photos, tmp_path):
    folder, names = tmp_path / "export", [str(photos / "china.jpg"), str(photos / "flower.jpg")]
    shutil.copytree(doubting, folder)
    shutil.copy(Path(standalone.__file__), folder / "predict.py")
    model, framing = onnx.load(folder / "model.onnx"), Framing(SIZE, "crop", SIZE)
    facts = {"classes": CLASSES, "framing": framing.facts() | {"short_side": framing.short_side}}
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in facts.items()})
    onnx.save(model, folder / "model.onnx")

    def printed(status: int = predict.DOUBTED) -> list[str]:
        done = subprocess.run([sys.executable, "predict.py", *names], cwd=folder, capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        return [line.removeprefix(f"{name}: ") for name, line in zip(names, done.stdout.splitlines(), strict=True)]

    files.write_json(folder / "config.json", {"limits": LIMITS.facts() | {"similarity": 0.995}})  # pixels differ by one
    known, unknown = printed()
    assert (known.startswith("unknown: "), unknown.startswith("unknown: ")) == (False, True)
    files.write_json(folder / "config.json", {"limits": LIMITS.facts() | {"similarity": 0.1, "confidence": 2.0}})
    assert all(line.startswith("uncertain: ") for line in printed())
    (folder / "config.json").unlink()
    assert not any(": " in line for line in printed(0))


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"format": 3}, "says format: 3, and this Darkroom reads up to 2; update it"),
        ({"format": "2"}, 'says format: "2", and this Darkroom reads up to 2'),
        ({"limits": {"level": 0.9}}, "expected level, sets, confidence and similarity"),
        ({"limits": LIMITS.facts() | {"sets": [{"level": 0.95, "thresholds": [0.1]}]}}, "expected level, sets"),
        ({"limits": LIMITS.facts() | {"similarity": "high"}}, "expected level, sets"),
        ({"limits": LIMITS.facts() | {"sets": [{"level": 10**400, "threshold": 0.1}]}}, "expected level, sets"),
        ({"limits": LIMITS.facts() | {"level": 0.5}}, "expected level, sets"),
        ({"limits": LIMITS.facts() | {"sets": [{"level": 0.95, "thresholds": None}]}}, "expected level, sets"),
        (
            {"limits": LIMITS.facts() | {"sets": [{"level": 1.5, "thresholds": 0.1}], "level": 1.5}},
            "expected level, sets",
        ),
        ({"limits": LIMITS.facts() | {"confidence": 1e308}}, "expected level, sets"),
    ],
)
def test_a_config_that_is_newer_or_damaged_is_one_line(doubting, tmp_path, facts, reason):
    with pytest.raises(DarkroomError, match=reason.replace("(", r"\(")):
        Predictor(changed(doubting, tmp_path / "export", **facts))


def test_a_limit_of_similarity_without_the_output_is_one_line(exported, tmp_path):
    with pytest.raises(DarkroomError, match=r"model\.onnx has no similarity"):
        Predictor(changed(exported, tmp_path / "export", format=2, limits=LIMITS.facts()))


def test_an_answer_that_is_not_a_number_is_unknown_and_uncertain():
    limits = Limits(0.9, {0.9: 0.5}, 0.8, 0.5)
    answer = Prediction(["a", "b"], np.array([0.6, 0.4], np.float32), float("nan"), limits)
    assert answer.unknown
    facts = answer_facts(answer, 2, 0.9)
    assert (facts["unknown"], facts["similarity"], facts["uncertain"]) == (True, None, True)
    json.dumps(facts, allow_nan=False)
    assert Prediction(["a", "b"], np.array([np.nan, np.nan], np.float32), 0.9, limits).uncertain


def test_uncertain_answers_are_marked_and_counted(doubting, photos, tmp_path, capsys):
    model = changed(doubting, tmp_path / "export", limits=LIMITS.facts() | {"confidence": 2.0, "similarity": 0.1})
    assert predict.main([str(photos / "china.jpg"), "--model", str(model)]) == predict.DOUBTED
    out, err = capsys.readouterr()
    assert ": uncertain: " in out
    assert "1 of 1 uncertain: less sure than params.yaml asks for" in err


def test_the_service_says_and_counts_what_is_unknown(doubting, photos):
    app = create_app(Predictor(doubting, threads=1))

    async def ask() -> tuple[dict[str, Any], str, dict[str, Any]]:
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as client
        ):  # fmt: skip
            sent = [("file", (photos / name).read_bytes()) for name in ("china.jpg", "flower.jpg")]
            answer = await client.post("/predict", files=sent)
            return answer.json(), (await client.get("/metrics")).text, (await client.get("/model")).json()

    answer, metrics, model = asyncio.run(ask())
    known, unknown = answer["predictions"]
    assert (known["unknown"], unknown["unknown"]) == (False, True)
    assert known["set"]["level"] == 0.95
    assert known["class"] in known["set"]["classes"]
    assert 'darkroom_images_total{outcome="unknown"} 1.0' in metrics
    assert model["limits"]["similarity"] == LIMITS.similarity


@needs_chromium
def test_the_page_says_what_is_unknown_and_which_classes_come_into_question(
    open_page,
    doubting,
    photos,
    tmp_path,
):
    with serve(doubting, tmp_path / "log") as running:
        page = open_page(running)
        page.set_input_files("#files", [photos / "china.jpg", photos / "flower.jpg"])
        unknown = page.locator("article", has_text="flower.jpg")
        unknown.get_by_text("Unknown: unlike the training pictures. This answer may mean nothing.").wait_for()
        known = page.locator("article", has_text="china.jpg")
        known.get_by_text("(95 %).").wait_for()
        assert not known.get_by_text("Unknown").is_visible()
        assert not unknown.get_by_text("(95 %)").is_visible()
