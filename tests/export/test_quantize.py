import numpy as np
import onnx
import pytest

from darkroom.export.cost import Cost
from darkroom.export.graph import join, write
from darkroom.export.quantize import decide, quantize
from darkroom.metrics.significance import largest_loss
from darkroom.model.session import open_session
from tests.export import small

FAST, SLOW = Cost({"1": 1.0, "32": 10.0}, 50), Cost({"1": 2.0, "32": 20.0}, 100)
LABELS = np.zeros(1000, int)
RIGHT = np.tile([0.9, 0.1], (1000, 1))


def with_wrong(count: int) -> np.ndarray:
    answers = RIGHT.copy()
    answers[:count] = [0.1, 0.9]
    return answers


def test_it_is_kept_when_smaller_faster_and_surely_not_a_point_worse():
    decision = decide(LABELS, with_wrong(100), with_wrong(102), (400, 100), (SLOW, FAST))
    assert decision.kept
    assert decision.figures["speedup_batch_32"] == 2.0
    assert decision.figures["accuracy"] == {"float32": 0.9, "int8": 0.898}
    assert 0.002 < decision.figures["largest_loss"] < 0.01


@pytest.mark.parametrize(
    ("small_answers", "sizes", "costs", "reason"),
    [
        (RIGHT, (100, 100), (SLOW, FAST), "not smaller"),
        (RIGHT, (400, 100), (FAST, FAST), "not faster here"),
        (with_wrong(20), (400, 100), (SLOW, FAST), "may lose 3.1 points on validation, 1 point is allowed"),
        (with_wrong(6), (400, 100), (SLOW, FAST), "not surely as good"),  # which chance explains, and a loss as well
    ],
)
def test_it_is_not_kept_otherwise_and_the_reason_is_given(small_answers, sizes, costs, reason):
    decision = decide(LABELS, RIGHT, small_answers, sizes, costs)
    assert not decision.kept
    assert reason in decision.reason


@pytest.mark.parametrize("n", [0, 1, 150, 380])
def test_few_validation_pictures_speak_against_it_even_where_no_answer_changes(n):
    decision = decide(LABELS[:n], RIGHT[:n], RIGHT[:n], (400, 100), (SLOW, FAST))
    assert not decision.kept
    assert f"{n} validation pictures cannot show a loss of less than 1 point, 381 might" in decision.reason
    assert decide(LABELS[:381], RIGHT[:381], RIGHT[:381], (400, 100), (SLOW, FAST)).kept


@pytest.mark.parametrize("images", [150, 500, 2000])
@pytest.mark.parametrize("won", [0.0, 0.02])
def test_a_model_that_loses_a_point_is_hardly_ever_kept(images, won):
    """At p >= 0.05 of McNemar's test on the test set, such a one was kept in most cases: benchmarks/quantized.py."""
    flips = np.random.default_rng(0).multinomial(images, [won + 0.01, won, 0.99 - 2 * won], 500)[:, :2]
    kept = [largest_loss(int(lost), int(gained), images) < 0.01 for lost, gained in flips]
    assert np.mean(kept) <= 0.05


def test_a_model_that_loses_nothing_is_kept_where_there_are_images_enough():
    flips = np.random.default_rng(0).multinomial(2000, [0.005, 0.005, 0.99], 200)[:, :2]
    assert np.mean([largest_loss(int(lost), int(gained), 2000) < 0.01 for lost, gained in flips]) > 0.9


def test_an_8_bit_graph_answers_nearly_the_same_and_has_the_same_bytes_every_time(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3), np.uint8)
    model = join(small.body(), small.head(3), 1.0)
    made = [quantize(model, iter([images[:32], images[32:]])) for _ in range(2)]
    assert made[0].SerializeToString(deterministic=True) == made[1].SerializeToString(deterministic=True)
    assert any(node.op_type == "QuantizeLinear" for node in made[0].graph.node)
    heads = [node for node in made[0].graph.node if node.name == "head.0"]
    assert [list(node.input) for node in heads] == [["features.double", "head.0.weight.double", "head.0.bias.double"]]
    write(model, tmp_path / "full.onnx")
    write(made[0], tmp_path / "int8.onnx")
    answers = [
        open_session(tmp_path / name, 1).run(["probabilities"], {"images": images})[0]
        for name in ("full.onnx", "int8.onnx")
    ]
    assert np.abs(answers[0] - answers[1]).max() < 0.05
    assert [output.name for output in onnx.load(tmp_path / "int8.onnx").graph.output] == ["probabilities", "maps"]
