import numpy as np
import onnx
import pytest
from scipy.stats import binomtest

from darkroom.export.cost import Cost
from darkroom.export.graph import join, write
from darkroom.export.quantize import at_least, decide, quantize
from darkroom.model.session import open_session
from tests.export import small

FAST, SLOW = Cost({"1": 1.0, "32": 10.0}, 50), Cost({"1": 2.0, "32": 20.0}, 100)
LABELS = np.zeros(100, int)
RIGHT = np.tile([0.9, 0.1], (100, 1))


def with_wrong(count: int) -> np.ndarray:
    answers = RIGHT.copy()
    answers[:count] = [0.1, 0.9]
    return answers


def test_it_is_kept_when_smaller_faster_and_not_worse():
    decision = decide(LABELS, with_wrong(10), with_wrong(10), (400, 100), (SLOW, FAST))
    assert decision.kept
    assert decision.figures["speedup_batch_32"] == 2.0
    assert decision.figures["accuracy"] == {"float32": 0.9, "int8": 0.9}


@pytest.mark.parametrize(
    ("small_answers", "sizes", "costs", "reason"),
    [
        (RIGHT, (100, 100), (SLOW, FAST), "not smaller"),
        (RIGHT, (400, 100), (FAST, FAST), "not faster here"),
        (with_wrong(20), (400, 100), (SLOW, FAST), "significantly worse"),
    ],
)
def test_it_is_not_kept_otherwise_and_the_reason_is_given(small_answers, sizes, costs, reason):
    decision = decide(LABELS, RIGHT, small_answers, sizes, costs)
    assert not decision.kept
    assert reason in decision.reason


def test_a_difference_that_chance_explains_is_no_reason():
    assert decide(LABELS, with_wrong(3), with_wrong(6), (400, 100), (SLOW, FAST)).kept


@pytest.mark.parametrize(("lost", "trials"), [(0, 0), (0, 5), (5, 5), (12, 16), (60, 100)])
def test_the_tail_of_the_coin_is_scipys(lost, trials):
    expected = binomtest(lost, trials, alternative="greater").pvalue if trials else 1.0
    assert at_least(lost, trials) == pytest.approx(expected)


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
