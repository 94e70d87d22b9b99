"""embed resolves the body once; frozen, it runs it once and what it writes is what the handed-over model computes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from darkroom.core import files, stage
from darkroom.core.errors import DarkroomError
from darkroom.images.shards import Shards
from darkroom.model import builders, classifier, tensors
from darkroom.model.network import Body, load_body, pixels
from darkroom.model.runner import OnnxBody
from stages import embed
from tests.model.samples import digit_images, write_splits

PARAMS = {
    "seed": 0,
    "backbone": "small_cnn",
    "weights": "none",
    "freeze": "backbone",
    "arithmetic": "auto",
    "augment": "none",
    "views": 0,
}
CLASSES = [str(digit) for digit in range(10)]


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKROOM_THREADS", "1")
    write_splits(Path("shards"), *digit_images(80), CLASSES)
    return tmp_path


def run(**changes) -> str:
    Path("params.yaml").write_text("".join(f"{key}: {value}\n" for key, value in (PARAMS | changes).items()))
    return embed.main(Path("shards"), Path("features"), Path("body"), Path("samples.png"))


def digests(folder: Path) -> dict[str, str]:
    return {path.name: files.sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def test_features_are_those_of_the_network_with_the_labels_and_ids_of_the_images(project):
    run()
    body, facts = load_body(Path("body"))
    assert facts["frozen"]
    assert facts["features"] == 128
    for split, count in (("train", 40), ("val", 20), ("test", 20)):
        images, features = Shards(Path("shards") / split), Shards(Path("features") / split)
        rows = features.rows(np.arange(count))
        with torch.no_grad():
            expected = body.eval()(pixels(images.rows(np.arange(count))))
        assert rows.shape == (count, 1, 128)
        off = rows[:, 0] - expected.numpy()
        assert np.linalg.norm(off) < 0.02 * np.linalg.norm(expected)
        assert features.ids() == images.ids()
        assert np.array_equal(features.labels, images.labels)


def test_cached_features_are_bit_for_bit_what_the_body_s_onnx_file_answers(project):
    run()
    images = Shards(Path("shards/test")).rows(np.arange(20))
    engine = OnnxBody(Path("body/body.onnx"), threads=embed.from_environment().threads)
    features, maps = engine.features_and_maps(images)
    assert np.array_equal(features, Shards(Path("features/test")).rows(np.arange(20))[:, 0])
    assert maps is not None
    np.testing.assert_allclose(maps.mean((2, 3)), features, rtol=1e-4, atol=1e-6)


def test_exact_features_say_their_unit_and_largest_magnitude_and_float32_ones_their_engine(project):
    said = run()
    index = Shards(Path("features/train")).index
    rows = Shards(Path("features/train")).rows(np.arange(40)).astype(np.float64)
    assert "128 exact features" in said
    assert index["engine"] == "exact"
    assert np.array_equal(np.rint(rows / index["unit"]) * index["unit"], rows)
    assert np.abs(rows).max() <= index["largest"]
    arithmetic = files.read_json(Path("body/body.json"))["arithmetic"]
    assert (arithmetic["kind"], arithmetic["unit"]) == ("exact", index["unit"])
    assert len(arithmetic["sums"]) == 6  # a convolution each
    assert "128 float32 features" in run(arithmetic="float32")
    assert Shards(Path("features/train")).index["engine"] == "onnxruntime"
    assert files.read_json(Path("body/body.json"))["arithmetic"] == {"kind": "float32"}


def test_the_number_of_threads_changes_no_bit_of_exact_features(project, monkeypatch):
    run(augment="light", views=1)
    one = digests(Path("features")) | digests(Path("body"))
    monkeypatch.setenv("DARKROOM_THREADS", "3")
    run(augment="light", views=1)
    assert digests(Path("features")) | digests(Path("body")) == one


def test_a_body_without_an_exact_form_is_computed_in_float32_and_says_why(project, monkeypatch):
    monkeypatch.setattr(stage, "_noted", {})
    pytest.importorskip("timm", reason="needs the extra `timm`")
    vit = {"backbone": "timm/vit_tiny_patch16_224"}
    assert "float32 features (Erf, LayerNormalization and Softmax have no exact form) of each of 80 images" in run(
        **vit
    )
    assert stage._noted["not_exact_because"] == "Erf, LayerNormalization and Softmax have no exact form"  # run.json
    found = files.read_json(Path("body/body.json"))["arithmetic"]
    assert found == {"kind": "float32", "why": "Erf, LayerNormalization and Softmax have no exact form"}
    with pytest.raises(DarkroomError, match=r"arithmetic is exact, but timm/\S* has no exact form: Erf, .* float32"):
        run(**vit, arithmetic="exact")


def test_a_frozen_backbone_with_random_weights_is_pointed_out(project, capsys):
    run()
    assert "a frozen backbone with random weights (weights: none) knows nothing" in capsys.readouterr().err
    run(freeze="none")
    assert "random weights" not in capsys.readouterr().err


def test_a_body_that_is_to_be_trained_leaves_an_empty_table_and_no_onnx_file(project):
    said = run(freeze="none")
    assert "no features" in said
    for split in ("train", "val", "test"):
        assert len(Shards(Path("features") / split)) == 0
    assert not Path("body/body.onnx").exists()
    assert load_body(Path("body"))[1]["frozen"] is False


def test_the_same_bytes_come_out_in_any_folder(project, tmp_path_factory, monkeypatch):
    run()
    here = digests(Path("body")) | digests(Path("features"))
    elsewhere = tmp_path_factory.mktemp("a-much-longer-name-of-a-folder")
    monkeypatch.chdir(elsewhere)
    write_splits(Path("shards"), *digit_images(80), CLASSES)
    run()
    assert digests(Path("body")) | digests(Path("features")) == here


def test_nothing_in_the_onnx_file_says_where_it_was_made(project):
    run()
    data = Path("body/body.onnx").read_bytes()
    assert str(project).encode() not in data
    assert str(Path(embed.__file__).parents[1]).encode() not in data


def test_from_scratch_mean_and_std_are_those_of_the_training_split(project):
    run()
    index = Shards(Path("shards/train")).index
    facts = files.read_json(Path("body/body.json"))
    assert facts["mean"] == pytest.approx(index["mean"])
    assert facts["weights_sha256"] is None


def test_the_seed_draws_the_weights(project):
    run()
    first = digests(Path("body"))["body.safetensors"]
    run(seed=1)
    assert digests(Path("body"))["body.safetensors"] != first


def test_views_are_augmented_copies_of_the_training_images_alone(project):
    run(augment="light", views=2)
    train, val = Shards(Path("features/train")), Shards(Path("features/val"))
    assert train.row_shape == (3, 128)
    assert val.row_shape == (1, 128)
    rows = train.rows(np.arange(40))
    assert not np.allclose(rows[:, 0], rows[:, 1], rtol=1e-3)
    assert not np.allclose(rows[:, 1], rows[:, 2], rtol=1e-3)
    run()
    np.testing.assert_array_equal(Shards(Path("features/train")).rows(np.arange(40))[:, 0], rows[:, 0])


def test_views_need_augment(project):
    run(views=2)
    assert Shards(Path("features/train")).row_shape == (1, 128)


def test_a_split_without_images_gives_an_empty_table(project):
    index = json.loads(Path("shards/val/index.json").read_text())
    Path("shards/val/index.json").write_text(json.dumps(index | {"count": 0, "shards": []}))
    run()
    assert len(Shards(Path("features/val"))) == 0
    assert len(Shards(Path("features/test"))) == 20


def test_a_run_s_classifier_as_weights_leaves_its_head_and_classes_beside_the_body(project):
    facts = {"classes": ["0", "1", "2"], "image_size": 28, "mean": [0.1] * 3, "std": [0.3] * 3, "backbone": "small_cnn",
             "framing": {"short_side": 28}, "head": {"kind": "linear", "hidden": 1, "dropout": 0.0}}  # fmt: skip
    head = {"0.weight": np.ones((3, 128), np.float32), "0.bias": np.zeros(3, np.float32)}
    body = Body(builders.build("small_cnn", 28, seed=3), [0.1] * 3, [0.3] * 3).arrays()
    classifier.save(Path("earlier/classifier"), facts, head, body)
    run(weights="earlier/classifier")
    assert files.read_json(Path("body/body.json"))["mean"] == [0.1] * 3
    assert (tensors.facts(Path("body/head.safetensors")) or {})["classes"] == ["0", "1", "2"]
    assert np.array_equal(tensors.load(Path("body/body.safetensors"))["block1.0.weight"], body["block1.0.weight"])


def test_a_wrong_block_stops_before_anything_is_written(project):
    with pytest.raises(DarkroomError, match=r"freeze is 'block9', expected backbone, none, or a block: block1"):
        run(freeze="block9")
    assert not Path("body").exists()


def test_no_training_images_is_said_plainly(project):
    index = json.loads(Path("shards/train/index.json").read_text())
    Path("shards/train/index.json").write_text(json.dumps(index | {"count": 0, "shards": []}))
    with pytest.raises(DarkroomError, match="holds no images"):
        run()
