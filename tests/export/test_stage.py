"""The export stage on a small real run: the same answers, the same bytes, and what stops it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from darkroom.core import files, runtime
from darkroom.core.errors import DarkroomError
from darkroom.export import answers
from darkroom.export.graph import join, read, write
from darkroom.images.shard_writer import write_shards
from darkroom.images.shards import Shards
from darkroom.model import classifier, tensors
from darkroom.model.runner import ONNX
from darkroom.model.session import open_session
from tests.export import small
from tests.export.run import ARGUMENTS, CLASSES, SIZE, features_of, make_run, pictures, run


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
