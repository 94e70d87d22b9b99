import hashlib

import numpy as np
import onnx
import pytest

from darkroom.core.errors import DarkroomError
from darkroom.core.exactmath import softmax
from darkroom.export.graph import after_body, join, parse, read, write
from darkroom.model import classifier
from darkroom.model.session import open_session, probabilities
from tests.export import small


def images(count: int, size: int = 16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


@pytest.mark.parametrize("hidden", [0, 5])
def test_a_joined_graph_computes_body_head_temperature_and_softmax(hidden, tmp_path):
    head = small.head(4, hidden=hidden)
    write(small.body(), tmp_path / "body.onnx")
    write(join(small.body(), head, 0.7), tmp_path / "model.onnx")
    features = open_session(tmp_path / "body.onnx", 1).run(["features"], {"images": images(5)})[0]
    session = open_session(tmp_path / "model.onnx", 1)
    for batch in (1, 5):
        answers = session.run(["probabilities"], {"images": images(5)[:batch]})[0]
        np.testing.assert_allclose(answers, softmax(classifier.logits(features[:batch], head), 0.7), rtol=0, atol=1e-6)
    parts = probabilities(session, iter([images(5)[:2], images(5)[2:]]), 4)
    assert parts.shape == (5, 4)
    assert probabilities(session, iter([]), 4).shape == (0, 4)


@pytest.mark.parametrize("hidden", [0, 5])
def test_the_part_after_the_body_answers_from_features_and_holds_nothing_else(hidden):
    head = small.head(4, hidden=hidden)
    part = after_body(join(small.body(), head, 0.7))
    features = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    answers = open_session(part.SerializeToString(), 1).run(["probabilities"], {"features": features})[0]
    np.testing.assert_allclose(answers, softmax(classifier.logits(features, head), 0.7), rtol=0, atol=1e-6)
    assert {tensor.name for tensor in part.graph.initializer} == {*(f"head.{name}" for name in head), "temperature"}


def test_where_and_how_it_was_made_leaves_no_trace_in_the_bytes(tmp_path):
    digests = set()
    for place in ("one", "two"):
        body = small.body()
        body.producer_name, body.doc_string = place, f"/home/{place}"
        body.graph.node[0].doc_string = f"File {place}.py, line 3"
        body.metadata_props.add(key="path", value=f"/home/{place}")
        body.graph.node[0].metadata_props.add(key="stack", value=f"/home/{place}")
        write(join(body, small.head(3), 1.0), tmp_path / f"{place}.onnx")
        digests.add(hashlib.sha256((tmp_path / f"{place}.onnx").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_a_head_of_another_width_is_refused():
    with pytest.raises(DarkroomError, match="the head reads 9 features, the body gives 8"):
        join(small.body(), small.head(3, features=9), 1.0)


def test_a_body_without_features_is_refused():
    body = small.body()
    body.graph.output[0].name = "pool"
    with pytest.raises(DarkroomError, match="has the outputs pool, maps; expected `features`"):
        join(body, small.head(3), 1.0)


def test_weights_in_another_file_are_refused(tmp_path):
    onnx.save(small.body(), tmp_path / "body.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    with pytest.raises(DarkroomError, match=r"keeps the weights .* in another file"):
        read(tmp_path / "body.onnx")


def test_files_that_are_no_graph_are_named(tmp_path):
    with pytest.raises(DarkroomError, match=r"absent.onnx does not exist; run `dvc repro`"):
        read(tmp_path / "absent.onnx")
    with pytest.raises(DarkroomError, match="thing is not an ONNX file"):
        parse(b"\xff\xff\xff", "thing")


@pytest.mark.parametrize("hidden", [0, 64])
def test_the_head_of_a_wide_body_answers_as_precisely(hidden):
    random = np.random.default_rng(0)
    features = random.uniform(0, 4, (64, 1280)).astype(np.float32)
    values = classifier.initial(classifier.Head("mlp" if hidden else "linear", hidden, 0.0), 1280, 50, 0)
    head = {name: value * 8 if name.endswith("weight") else value for name, value in values.items()}
    wide = join(small.body(channels=1280), head, 1.7)
    answers = open_session(after_body(wide).SerializeToString(), 2).run(["probabilities"], {"features": features})[0]
    expected = softmax(classifier.logits(features, head), 1.7)
    assert expected.max() > 0.5
    np.testing.assert_allclose(answers, expected, rtol=0, atol=1e-7)
