"""The export stage on a small real pipeline's files: a convolution of fixed weights, digits, a linear head."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits, load_sample_image
from sklearn.linear_model import LogisticRegression

from darkroom.app import Predictor
from darkroom.core import files, runtime
from darkroom.core.errors import DarkroomError
from darkroom.export import answers, quantize
from darkroom.export.graph import add_similarity, join, read, write
from darkroom.images.shard_writer import write_shards
from darkroom.images.shards import Shards, open_split
from darkroom.metrics import abstention
from darkroom.metrics.abstention import Answered, Limits, Wanted
from darkroom.model import classifier, novelty, tensors
from darkroom.model.runner import ONNX
from darkroom.model.session import open_session
from darkroom.reporting import card
from stages import export as stage
from tests.export import small

SIZE = 16
CLASSES = [str(digit) for digit in range(10)]
ARGUMENTS = (
    "models/classifier", "models/body", "data/shards", "data/features", "metrics/test.json",
    "models/export", "metrics/export.json",
)  # fmt: skip
SPLITS = ("train", "val", "test")
CARD = {"name": "digits", "homepage": "https://example.org", "licence": "CC BY 4.0", "citation": "Alpaydin 1998"}


def pictures() -> tuple[np.ndarray, np.ndarray]:
    digits = load_digits()
    grey = np.repeat(np.repeat(digits.images * 15.9, 2, axis=1), 2, axis=2).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=3)[:600], digits.target[:600]


def features_of(body: Path, images: np.ndarray) -> np.ndarray:
    return open_session(body, 1).run(["features"], {"images": images})[0]


def make_run(root: Path, maps: bool = True) -> Path:
    """What the stages before export leave in a project's folder."""
    (root / "models/body").mkdir(parents=True)
    body = root / "models/body/body.onnx"
    write(small.body(SIZE, maps=maps), body)
    images, labels = pictures()
    facts = {"image_size": SIZE, "framing": {"size": SIZE, "resize": "stretch", "short_side": SIZE}, "card": CARD}
    cut = {"train": slice(0, 300), "val": slice(300, 400), "test": slice(400, 600)}
    for split, rows in cut.items():
        with write_shards(root / "data/shards" / split, "images", CLASSES) as shards:
            for place in range(*rows.indices(600)):
                shards.add(images[place], int(labels[place]), f"{place:064x}")
            shards.close(**facts)
        with write_shards(root / "data/features" / split, "features", CLASSES) as shards:
            for place, row in zip(range(*rows.indices(600)), features_of(body, images[rows]), strict=True):
                shards.add(row[None], int(labels[place]), f"{place:064x}")
            shards.close(engine=ONNX)
    fitted = LogisticRegression(max_iter=2000).fit(features_of(body, images[:300]), labels[:300])
    head = {"0.weight": fitted.coef_.astype(np.float32), "0.bias": fitted.intercept_.astype(np.float32)}
    model = {
        "backbone": "small", "classes": CLASSES, "frozen": True, "freeze": "backbone", "features": 8,
        "image_size": SIZE, "framing": facts["framing"], "mean": [0.0] * 3, "std": [1.0] * 3, "temperature": 1.25,
        "head": {"kind": "linear", "hidden": 0, "dropout": 0.0}, "weights": "none", "params": {"lr": 0.01},
        "parameters": {"total": 306, "trainable": 90, "frozen": 216},
    }  # fmt: skip
    classifier.save(root / "models/classifier", model, head, {"weight": np.zeros((8, 3, 3, 3), np.float32)})
    scores: dict[str, Any] = {"n": 200, "accuracy": 0.9, "accuracy_low": 0.85, "accuracy_high": 0.93, "ece": 0.02}
    scores["per_class"] = {
        "0": {"support": 20, "precision": 1.0, "recall": 0.9, "recall_low": 0.7, "recall_high": 0.97}
    }
    files.write_json(root / "metrics/test.json", scores)
    files.write_text(root / "params.yaml", "quantize: none\n")
    return root


def run(root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(root)
    return stage.main(*map(Path, ARGUMENTS))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("made") / "run")


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def test_a_frozen_run_is_exported_whole_and_says_what_the_trained_one_says(root, monkeypatch):
    closing = run(root, monkeypatch)
    assert "agrees on 200 test images" in closing
    out = root / "models/export"
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md", "config.json", "labels.txt", "model.onnx", "model.safetensors", "predict.py",
    ]  # fmt: skip
    images, _ = pictures()
    session = open_session(out / "model.onnx", 1)
    answers = session.run(["probabilities"], {"images": images[400:]})[0]
    saved = classifier.SavedClassifier.load(root / "models/classifier")
    expected = saved.probabilities(features_of(root / "models/body/body.onnx", images[400:]))
    np.testing.assert_allclose(answers, expected, atol=1e-5)
    assert session.run(["probabilities"], {"images": images[:1]})[0].shape == (1, 10)
    assert (out / "labels.txt").read_text().split() == CLASSES
    config = files.read_json(out / "config.json")
    assert config["digests"]["model.onnx"] == files.sha256(out / "model.onnx")
    assert config["version"] == config["digests"]["model.onnx"][:12]
    assert config["explain"] == "cam"
    whole = tensors.load(out / "model.safetensors")
    assert sorted(whole) == ["body.weight", "head.0.bias", "head.0.weight"]
    report = files.read_json(root / "metrics/export.json")
    assert report["agreement"]["n"] == 200
    assert report["agreement"]["other_class"] == 0
    assert report["agreement"]["max_difference"] <= 1e-5
    assert report["size_bytes"] == (out / "model.onnx").stat().st_size


def test_the_bytes_are_the_same_in_any_folder(tmp_path, monkeypatch):
    made = []
    for name in ("one", "another/place"):
        root = make_run(tmp_path / name)
        run(root, monkeypatch)
        made.append({p.relative_to(root): p.read_bytes() for p in (root / "models/export").iterdir()})
        made[-1][Path("report")] = (root / "metrics/export.json").read_bytes()
    assert made[0] == made[1]
    for path, data in made[0].items():
        assert str(tmp_path).encode() not in data, path


def test_a_model_that_answers_otherwise_is_not_exported(root, monkeypatch):
    wrong = small.body(SIZE, seed=5)
    (root / "models/body/body.onnx").unlink()
    write(wrong, root / "models/body/body.onnx")
    with pytest.raises(DarkroomError, match=r"disagrees with the trained one on the test set: .* another class"):
        run(root, monkeypatch)
    assert not (root / "models/export").exists()
    assert not (root / "metrics/export.json").exists()


@pytest.mark.parametrize("wrong", ["graph", "file"])
def test_of_a_frozen_body_the_head_is_checked_on_all_features_and_the_file_on_pictures(root, monkeypatch, wrong):
    """Either of the two alone finds a temperature that is not the classifier's."""
    monkeypatch.chdir(root)
    saved, test = classifier.SavedClassifier.load(Path("models/classifier")), Shards(Path("data/shards/test"))
    good, bad = (join(read(Path("models/body/body.onnx")), saved.head, t) for t in (saved.temperature, 3.0))
    write(bad if wrong == "file" else good, Path("model.onnx"))
    arguments = (Path("model.onnx"), saved, test, Shards(Path("data/features/test")), runtime.from_environment())
    with pytest.raises(DarkroomError, match="disagrees with the trained one on the test set"):
        answers.check(bad if wrong == "graph" else good, *arguments)
    write(good, Path("model.onnx"))
    assert answers.check(good, *arguments).n == len(test) > answers.WHOLE


def test_features_of_another_engine_are_compared_picture_by_picture(root, monkeypatch):
    """One picture on which a GPU's features and the body's graph part is found, wherever it is in the test set."""
    monkeypatch.chdir(root)
    saved, test = classifier.SavedClassifier.load(Path("models/classifier")), Shards(Path("data/shards/test"))
    write(join(read(Path("models/body/body.onnx")), saved.head, saved.temperature), Path("model.onnx"))
    rows = [row[0].copy() for batch, _ in Shards(Path("data/features/test")).batches(64) for row in batch]
    rows[3] = rows[3][::-1]  # not among those that go through the whole model
    found = {}
    for engine in (ONNX, "cuda"):
        shutil.rmtree("data/features/test")
        with write_shards(Path("data/features/test"), "features", CLASSES) as shards:
            for place, row in enumerate(rows):
                shards.add(row[None], int(test.labels[place]), f"{place + 400:064x}")
            shards.close(engine=engine)
        arguments = (read(Path("model.onnx")), Path("model.onnx"), saved, test, Shards(Path("data/features/test")))
        try:
            found[engine] = answers.check(*arguments, runtime.from_environment()).n
        except DarkroomError as error:
            found[engine] = str(error)
    assert found[ONNX] == len(test)
    assert f"most for {403:064x}" in str(found["cuda"])


def test_a_model_that_was_there_before_survives_a_failed_export(root, monkeypatch):
    run(root, monkeypatch)
    before = (root / "models/export/model.onnx").read_bytes()
    (root / "models/body/body.onnx").unlink()
    write(small.body(SIZE, seed=5), root / "models/body/body.onnx")
    with pytest.raises(DarkroomError, match="nothing was written"):
        run(root, monkeypatch)
    assert (root / "models/export/model.onnx").read_bytes() == before


def test_a_fine_tuned_network_is_exported_and_compared_with_torch(root, monkeypatch):
    from darkroom.model import builders, classifier
    from darkroom.model.network import Body, Network, pixels

    folder = root / "models/classifier"
    body = Body(builders.build("small_cnn", SIZE, seed=3), [0.2] * 3, [0.3] * 3)
    features = builders.features_of(body.net, SIZE)
    linear = classifier.Head("linear", 1, 0.0)
    head = classifier.initial(linear, features, len(CLASSES), seed=4)
    facts = files.read_json(folder / "model.json") | {
        "backbone": "small_cnn", "frozen": False, "freeze": "none", "features": features, "mean": [0.2] * 3,
        "std": [0.3] * 3, "head": {"kind": "linear", "hidden": 1, "dropout": 0.0},
    }  # fmt: skip
    classifier.save(folder, facts, head, body.arrays())
    (root / "models/body/body.onnx").unlink()
    run(root, monkeypatch)
    images, _ = pictures()
    answers = open_session(root / "models/export/model.onnx", 1).run(["probabilities"], {"images": images[400:]})[0]
    logits = Network(body, classifier.build(linear, head), "none").eval()(pixels(images[400:])).detach().numpy()
    np.testing.assert_allclose(answers, classifier.softmax(logits, 1.25), atol=1e-4)


def test_a_body_without_a_map_is_explained_by_occlusion(tmp_path, monkeypatch):
    root = make_run(tmp_path / "run", maps=False)
    run(root, monkeypatch)
    assert files.read_json(root / "models/export/config.json")["explain"] == "occlusion"


def test_asking_for_int8_records_the_decision_and_the_figures_behind_it(root, monkeypatch):
    files.write_text(root / "params.yaml", "quantize: int8\n")
    run(root, monkeypatch)
    decided = files.read_json(root / "metrics/export.json")["quantize"]
    assert decided["asked"] == "int8"
    assert isinstance(decided["kept"], bool)
    assert "int8 is" in decided["reason"]
    assert set(decided["figures"]["latency_ms"]["int8"]) == {"1", "32"}
    assert decided["figures"]["peak_memory_mb"]["float32"] > 0
    nodes = onnx.load(root / "models/export/model.onnx").graph.node
    assert any(node.op_type == "DequantizeLinear" for node in nodes) == decided["kept"]


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
    assert "Fewer than 30 test pictures, so little is known of: 0." in card
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


def as_a_process(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    here = str(Path(__file__).resolve().parents[2])
    environment = {"PYTHONPATH": here, "PATH": os.environ["PATH"]}
    return subprocess.run([sys.executable, *command], cwd=root, capture_output=True, text=True, env=environment)


def test_a_frozen_export_needs_no_torch(root):
    code = (
        "import sys; from pathlib import Path; from stages import export; export.main(*map(Path, sys.argv[1:])); "
        "print([name for name in ('torch', 'sklearn', 'pandas', 'matplotlib') if name in sys.modules])"
    )
    done = as_a_process(root, "-c", code, *ARGUMENTS)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_the_closing_line_and_run_json_tell_what_it_cost(root):
    done = as_a_process(root, "-m", "stages.export", *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("export: one ONNX file (")
    noted = json.loads((root / "metrics/run.json").read_text())["stages"]["export"]
    assert set(noted["latency_ms"]) == {"1", "32"}
    assert noted["model_peak_memory_mb"] > 0


def test_the_cost_is_measured_once_for_all_heads_on_a_body(root):
    """Another head: the figure of before. Another body: a new one."""

    def noted(**changes: float) -> dict:
        saved = classifier.SavedClassifier.load(root / "models/classifier")
        head = {name: value * changes.get("head", 1.0) for name, value in saved.head.items()}
        classifier.save(root / "models/classifier", saved.facts, head, {"weight": np.zeros((8, 3, 3, 3), np.float32)})
        done = as_a_process(root, "-m", "stages.export", *ARGUMENTS)
        assert done.returncode == 0, done.stderr
        return json.loads((root / "metrics/run.json").read_text())["stages"]["export"]

    first = noted()
    again = noted(head=1.5)
    assert {name: again[name] for name in ("latency_ms", "model_peak_memory_mb", "cost_of")} == {
        name: first[name] for name in ("latency_ms", "model_peak_memory_mb", "cost_of")
    }
    record = json.loads((root / "metrics/run.json").read_text())
    record["stages"]["export"] |= {"latency_ms": {"1": -1.0, "32": -1.0}}
    files.write_json(root / "metrics/run.json", record)
    assert noted(head=1.2)["latency_ms"] == {"1": -1.0, "32": -1.0}
    body = onnx.load(root / "models/body/body.onnx")
    body.graph.name = "another"
    (root / "models/body/body.onnx").unlink()
    write(body, root / "models/body/body.onnx")
    after = noted()
    assert after["cost_of"] != first["cost_of"]
    assert after["latency_ms"]["1"] > 0
