"""`serve --watch FILE`: counts and sketches that survive a restart, stay small, and hold no picture."""

import json
import signal

import httpx
import numpy as np
import pytest

from darkroom.core.errors import DarkroomError
from darkroom.serve.predictor import Prediction
from darkroom.serve.watch import BINS, BLOCKS, UNIT, VALUES, Watch, WatchFile, measure, read_watch
from tests.cluster.two_nodes import until
from tests.serve.conftest import CLASSES, serve


def counted(path) -> int:
    return read_watch(path).total().images


def test_a_service_counts_what_it_answers_and_goes_on_after_a_restart(exported, photos, tmp_path):
    path, data = tmp_path / "watch.json", (photos / "china.jpg").read_bytes()
    watching = ("--watch", str(path))
    with (
        serve(exported, tmp_path / "log", *watching) as running,
        httpx.Client(base_url=running.url) as client,
    ):
        for _ in range(3):
            answer = client.post("/predict", files={"file": data}).json()["predictions"][0]
        client.post("/predict", files={"file": b"no picture"})
        shown = client.get("/metrics").text
        assert f'darkroom_watched_answers{{class="{answer["class"]}"}} 3.0' in shown
        assert 'darkroom_watched_mean{value="brightness"} 0.' in shown
        assert running.stop() == 0
    assert counted(path) == 3
    with serve(exported, tmp_path / "log", *watching) as running:
        httpx.post(f"{running.url}/predict", files={"file": data})
        until(lambda: counted(path) == 4, 20)  # written every few seconds
        running.stop(signal.SIGKILL)
    assert counted(path) == 4
    text = path.read_text()
    assert len(text) < 20_000
    assert set(json.loads(text)) == {"format", "model", "classes", "size", "blocks"}


def test_without_the_option_nothing_is_kept(exported, photos, tmp_path):
    with serve(exported, tmp_path / "log") as running:
        httpx.post(f"{running.url}/predict", files={"file": (photos / "china.jpg").read_bytes()})
        assert "darkroom_watched" not in httpx.get(f"{running.url}/metrics").text
    assert {path.name for path in tmp_path.iterdir()} == {"log"}


def test_memory_is_bounded_and_no_picture_is_lost_when_blocks_are_joined():
    watch = Watch("a model", CLASSES)
    for number in range(20_000):
        watch.count(number % 3, unknown=number % 2 == 0, at=[number % BINS] * (len(VALUES) - 1) + [-1])
    assert len(watch.blocks) <= BLOCKS
    assert {block.images for block in watch.blocks[:-1]} == {watch.size}
    assert watch.size % UNIT == 0
    total = watch.total()
    assert (total.images, total.classes.sum(), total.unknown.sum()) == (20_000, 20_000, 10_000)
    assert total.values.sum(axis=1).tolist() == [20_000] * (len(VALUES) - 1) + [0]
    again = Watch.of(json.loads(json.dumps(watch.facts())))
    assert again.facts() == watch.facts()


def test_the_numbers_of_a_picture_are_what_they_say():
    answers = [Prediction(CLASSES, np.array([0.7, 0.2, 0.1]), similarity) for similarity in (None, 0.5)]
    dark, red = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)
    red[..., 0], red[:, ::2, 1] = 255, 255
    found = {name: value.tolist() for name, value in measure(np.stack([dark, red]), answers).items()}
    assert found["brightness"] == pytest.approx([0, 0.5])
    assert found["warmth"] == pytest.approx([0.5, 1])
    assert found["contrast"][0] == 0 < found["contrast"][1]
    assert found["sharpness"] == pytest.approx([0, 1])
    assert found["confidence"] == pytest.approx([0.7, 0.7])
    assert np.isnan(found["similarity"][0])
    assert found["similarity"][1] == 0.5


def test_the_counts_of_another_model_are_put_aside_and_one_service_at_a_time_writes(tmp_path):
    path = tmp_path / "watch.json"
    first = WatchFile(path, "1" * 12, CLASSES)
    first.watch.count(0, unknown=False, at=[0] * len(VALUES))
    with pytest.raises(DarkroomError, match="another service writes it; name a file of its own"):
        WatchFile(path, "1" * 12, CLASSES)
    first.close()
    second = WatchFile(path, "2" * 12, CLASSES)
    second.close()
    assert counted(path) == 0
    assert counted(tmp_path / "watch-111111111111.json") == 1


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 9}', "a picture"])
def test_a_file_that_is_no_watch_is_named_and_left_as_it_is(tmp_path, text):
    path = tmp_path / "watch.json"
    path.write_text(text)
    with pytest.raises(DarkroomError, match=r"is not what `darkroom serve --watch` writes: .*; move it away"):
        WatchFile(path, "1" * 12, CLASSES)
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "it has format 2, expected 1; another version wrote it"),
        ({"size": 10**30}, "not of equally many pictures"),
        ({"size": float("inf")}, "cannot convert float infinity"),
        ({"images": 10**25}, "do not fit its classes"),
        ({"images": 3}, "do not fit its classes"),
        ({"classes": [2**64, 0, 0]}, "too large"),
        ({"classes": [-1, 3, 0]}, "do not fit its classes"),
        ({"unknown": [2, 9, 0]}, "do not fit its classes"),
        ({"values": dict.fromkeys(VALUES, [2] * BINS)}, "do not fit its classes"),
    ],
)
def test_counts_that_no_service_can_have_made_are_rejected(tmp_path, change, message):
    watch = Watch("a model", CLASSES)
    for _ in range(2):
        watch.count(0, unknown=False, at=[0] * len(VALUES))
    facts = watch.facts()
    for part in (facts, facts["blocks"][0]):
        part.update({key: value for key, value in change.items() if key in part})
    path = tmp_path / "watch.json"
    path.write_text(json.dumps(facts))
    with pytest.raises(DarkroomError, match=message):
        read_watch(path)
