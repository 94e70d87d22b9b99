"""What an export says of itself: the model card, the limits of what it knows, and the figures in 8 bits."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_sample_image

from darkroom.app import Predictor
from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.export import quantize
from darkroom.export.graph import add_similarity, read
from darkroom.images.shards import open_split
from darkroom.metrics import abstention
from darkroom.metrics.abstention import Answered, Limits, Wanted
from darkroom.model import classifier, novelty
from darkroom.model.session import open_session
from darkroom.reporting import card
from stages import export as stage
from tests.export.run import CLASSES, SPLITS, run


def test_the_card_of_a_model_kept_in_8_bits_has_the_figures_of_the_file_that_ships(root, monkeypatch):
    files.write_text(root / "params.yaml", "quantize: int8\n")
    decision = quantize.Decision(True, "kept", {"images": 0, "largest_loss": 0, "same_class": 0, "max_difference": 0,
                                                "accuracy": {"float32": 0, "int8": 0}})  # fmt: skip
    monkeypatch.setattr(quantize, "decide", lambda *_: decision)
    run(root, monkeypatch)
    test = open_split(root / "data/shards", "test")
    session = open_session(root / "models/export/model.onnx", 1)
    answers = session.run(["probabilities"], {"images": test.rows(np.arange(len(test)))})[0].argmax(1)
    right = float((answers == test.labels).mean())
    index = yaml.safe_load((root / "models/export/README.md").read_text().split("---")[1])["model-index"]
    figures = {row["type"]: row["value"] for row in index[0]["results"][0]["metrics"]}
    assert figures["accuracy"] == pytest.approx(right, abs=1e-6)
    assert files.read_json(root / "metrics/export.json")["quantize"]["test"]["accuracy"] == figures["accuracy"]


def doubting(root: Path) -> Limits:
    """Give a run references, and metrics/test.json limits; returns these."""
    train, val, test = (open_split(root / "data/features", split, root / "data/shards") for split in SPLITS)
    known = novelty.references(train.rows(np.arange(0, 300, 3))[:, 0], len(CLASSES))
    assert known is not None
    novelty.save(root / "models/classifier", known)
    saved = classifier.SavedClassifier.load(root / "models/classifier")
    found = []
    for part in (val, test):
        features = part.rows(np.arange(len(part)))[:, 0]
        found.append(Answered(part.labels, saved.probabilities(features), novelty.similarity(features, known)))
    wanted = Wanted(0.97, 0.05, 0.9)
    limits = abstention.calibrate(found[0], wanted)
    scores = files.read_json(root / "metrics/test.json") | abstention.measure(found[1], limits, wanted)
    files.write_json(root / "metrics/test.json", scores)
    return limits


def test_the_export_carries_the_limits_and_tells_similarity(root, monkeypatch):
    limits = doubting(root)
    run(root, monkeypatch)
    predictor = Predictor(root / "models/export", threads=1)
    assert predictor.limits == limits
    assert predictor.config["outputs"] == ["probabilities", "maps", "similarity"]
    test = open_split(root / "data/shards", "test")
    answers = predictor.answers(test.rows(np.arange(len(test))))
    scores = files.read_json(root / "metrics/test.json")
    assert np.mean([answer.unknown for answer in answers]) == scores["unknown"]["flagged"]
    given = [not answer.uncertain for answer in answers]
    assert np.mean(given) == pytest.approx(scores["answering"]["answered"], abs=1e-6)
    held = [CLASSES[label] in answer.classes_at(0.97) for answer, label in zip(answers, test.labels, strict=True)]
    row = next(row for row in scores["sets"]["levels"] if row["level"] == 0.97)
    assert np.mean(held) == pytest.approx(row["coverage"], abs=1e-6)
    card = (root / "models/export/README.md").read_text()
    assert "## When to doubt it" in card
    assert "What it cannot see: a new class that looks like a known one" in card


def test_a_model_kept_in_8_bits_has_limits_of_its_own(root, monkeypatch):
    limits = doubting(root)
    files.write_text(root / "params.yaml", "quantize: int8\n")
    decision = quantize.Decision(True, "kept", {"images": 0, "largest_loss": 0, "same_class": 0, "max_difference": 0,
                                                "accuracy": {"float32": 0, "int8": 0}})  # fmt: skip
    monkeypatch.setattr(quantize, "decide", lambda *_: decision)
    run(root, monkeypatch)
    predictor = Predictor(root / "models/export", threads=1)
    assert predictor.limits.similarity != limits.similarity
    val = open_split(root / "data/shards", "val")
    unknown = np.mean([answer.unknown for answer in predictor.answers(val.rows(np.arange(len(val))))])
    assert 0 < unknown <= 0.05
    nodes = {node.name: node.op_type for node in read(root / "models/export/model.onnx").graph.node}
    assert "MatMul" in nodes.values()  # the comparison with the references is left in float32


def test_a_graph_that_tells_another_similarity_is_not_exported(root, monkeypatch):
    doubting(root)

    def other(model: onnx.ModelProto, known: novelty.References) -> onnx.ModelProto:
        return add_similarity(model, novelty.References(known.whole[::-1] // 2, known.neighbours))

    monkeypatch.setattr(stage, "add_similarity", other)
    with pytest.raises(DarkroomError, match="similarity to the training images differs by up to"):
        run(root, monkeypatch)
    assert not (root / "models/export").exists()


def test_the_card_of_a_quantised_model_says_which_model_the_figures_are_of():
    config = {
        "backbone": "small",
        "classes": ["a|b", "c"],
        "image_size": 8,
        "framing": {"size": 8},
        "versions": {"numpy": "2"},
    }
    agreement = {"n": 200, "max_difference": 1e-6, "other_class": 0}
    figures = {"images": 900, "largest_loss": 0.0093, "same_class": 0.995, "max_difference": 0.08,
               "accuracy": {"float32": 0.97, "int8": 0.965}}  # fmt: skip
    scores = {"per_class": {"a|b": {"support": 2, "recall_low": None}}}

    def text(**quantize: Any) -> str:
        return " ".join(
            card.model_card({}, config, {}, scores, {"agreement": agreement, "quantize": quantize}, {"x": "1"}).split()
        )

    assert "The exported model was compared" in text(kept=False)
    said = text(kept=True, figures=figures)
    assert "The float32 model that it was quantised from was compared" in said
    assert "chosen on 900 validation pictures: 99.50% of them get the same class as before" in said
    assert "accuracy is 0.9650 instead of 0.9700 (a loss of 0.93 points at most, with 95 % confidence)" in said
    assert "The metrics above are those of the 8-bit model." in said
    assert "| a\\|b | 2 |" in said


def test_the_card_tells_data_scores_limits_and_where_it_came_from(root, monkeypatch):
    run(root, monkeypatch)
    card = (root / "models/export/README.md").read_text()
    assert card.startswith("---\npipeline_tag: image-classification")
    assert "CC BY 4.0" in card
    assert "train 300, val 100, test 200" in card
    assert "| accuracy | 0.9000 | 0.8500 – 0.9300 |" in card
    assert "Fewer than 30 test pictures, so little is known of 0." in card
    assert "all 200 test pictures" in card
    assert "| `lr` | `0.01` |" in card
    assert f"md5 `{files.dvc_md5(root / 'models/classifier')}`" in card
    from ruamel.yaml import YAML

    head = YAML(typ="safe", pure=True).load(card.split("---")[1])
    assert head["model-index"][0]["results"][0]["metrics"][0] == {"type": "accuracy", "value": 0.9, "name": "accuracy"}


def test_the_cards_snippet_gives_the_answers_of_predict(root, monkeypatch):
    run(root, monkeypatch)
    folder = root / "models/export"
    Image.fromarray(load_sample_image("china.jpg")).save(folder / "photo.jpg", quality=90)
    card = (folder / "README.md").read_text()
    snippets = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    (snippet,) = [code for code in snippets if "from predict import" in code]
    expected = Predictor(folder, threads=1)(folder / "photo.jpg")
    done = subprocess.run([sys.executable, "-c", snippet], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers = ast.literal_eval(done.stdout)
    assert list(answers) == CLASSES
    np.testing.assert_allclose(list(answers.values()), expected.probabilities, atol=1e-3)
    done = subprocess.run([sys.executable, "predict.py", "photo.jpg"], cwd=folder, capture_output=True, text=True)
    assert done.stdout.startswith(f"photo.jpg: {expected.label} "), done.stderr


@pytest.mark.parametrize(("names", "limits", "status"), [
    (["photo.jpg"], {}, 0),
    (["photo.jpg"], {"confidence": 1.1}, 3),
    (["photo.jpg", "notes.txt", "none.jpg", "photo.jpg"], {"confidence": 1.1}, 1),
])  # fmt: skip
def test_the_exit_status_without_darkroom_is_that_of_predict(root, monkeypatch, names, limits, status):
    run(root, monkeypatch)
    folder = root / "models/export"
    Image.fromarray(load_sample_image("china.jpg")).save(folder / "photo.jpg")
    (folder / "notes.txt").write_text("no picture")
    files.write_json(folder / "config.json", files.read_json(folder / "config.json") | {"limits": limits})
    done = subprocess.run([sys.executable, "predict.py", *names], cwd=folder, capture_output=True, text=True)
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == [n for n in names if n != "photo.jpg"]
    assert done.stdout.count("photo.jpg: uncertain: ") == (names.count("photo.jpg") if limits else 0)


def test_the_compiled_template_is_kept_where_a_file_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    assert card._compiled(tmp_path / "file" / "cache") is None
    assert card._compiled(tmp_path / "cache") is not None
    assert (tmp_path / "cache").is_dir()
