"""`darkroom drift`: quiet without a change, however often it is asked, and clear about what changed."""

import json
import re

import numpy as np
import pytest

from darkroom.core.errors import DarkroomError
from darkroom.images.shard_writer import write_shards
from darkroom.metrics import drift as tests_of
from darkroom.reporting import drift
from darkroom.serve.predictor import Predictor
from darkroom.serve.watch import VALUES, Watch, WatchFile, bins
from tests.export import small

CLASSES = ["ant", "bee", "wasp"]
SHARES = np.array([0.5, 0.3, 0.2])
STRANGE = 0.05  # share of pictures that are unlike the training images


def values(random: np.random.Generator, count: int, **moved: float) -> dict[str, np.ndarray]:
    """Values of so many pictures, in bins; those named are moved."""
    return {name: bins(np.clip(random.beta(6, 4, count) + moved.get(name, 0), 0, 1)) for name in VALUES}


def reference(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Answers to so many validation images, which of them are unknown, and their values."""
    return random.choice(len(CLASSES), count, p=SHARES), random.random(count) < STRANGE, values(random, count)


def stream(
    watch: Watch, random: np.random.Generator, count: int, shares=SHARES, strange=(STRANGE,) * 3, **moved: float
) -> None:
    """Count so many pictures more; `strange`: of each class, the share that is unlike the training images."""
    labels, found = random.choice(len(CLASSES), count, p=shares), values(random, count, **moved)
    for number, label in enumerate(labels.tolist()):
        watch.count(label, random.random() < strange[label], [int(found[name][number]) for name in VALUES])


def first_alarm(watch: Watch, known, random: np.random.Generator, most: int, **change) -> tuple[int, str]:
    """After how many further pictures, asked every 25, it alarms, and the clearest finding; (0, "") for never."""
    for so_far in range(25, most + 1, 25):
        stream(watch, random, 25, **change)
        best = drift.findings(watch, *known)[0]
        if best.alarm:
            return so_far, drift.in_words(best)
    return 0, ""


def test_without_a_change_at_most_one_stream_in_twenty_alarms_however_often_it_is_asked():
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(40):
        watch = Watch("a model", CLASSES)
        alarms += first_alarm(watch, reference(random, 100), random, most=800)[0] > 0
    assert alarms <= 2


@pytest.mark.parametrize("quiet", [0, 1500])
@pytest.mark.parametrize(
    ("change", "most", "said"),
    [
        ({"brightness": -0.25}, 150, "brightness below 0.* darker photos than before: label dark ones"),
        ({"shares": np.array([0.1, 0.2, 0.7])}, 150, "are answered (wasp|ant), .*% of the validation images"),
        (
            {"strange": (0.05, 0.6, 0.05)},
            150,
            "answered bee though unlike the training images, .*: look for a new class",
        ),
        ({"similarity": -0.35}, 150, "unlike the training images: look for a new class among them"),
    ],
)
def test_a_change_is_found_within_150_photos_also_after_a_long_time_without_one(quiet, change, most, said):
    random = np.random.default_rng(1)
    known, watch = reference(random, 300), Watch("a model", CLASSES)
    stream(watch, random, quiet)
    assert not drift.findings(watch, *known)[0].alarm
    found, words = first_alarm(watch, known, random, most, **change)
    assert 0 < found <= most
    assert re.search(said, words), words


def test_an_e_value_is_one_on_average_and_a_share_inside_the_interval_gives_no_evidence():
    total = sum(
        np.exp(tests_of.log_e_value(hits, 12, 0.3, 0.3)) * count * 0.3**hits * 0.7 ** (12 - hits)
        for hits, count in enumerate([1, 12, 66, 220, 495, 792, 924, 792, 495, 220, 66, 12, 1])
    )
    assert total == pytest.approx(1)
    assert tests_of.log_e_value(30, 100, 0.2, 0.4) < 0
    assert tests_of.log_e_value(90, 100, 0.2, 0.4) > 40
    assert tests_of.log_e_value(0, 0, 0.0, 0.0) == pytest.approx(0)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Yield an exported model, 60 validation images, and the watch of a service that has answered these."""
    monkeypatch.chdir(tmp_path)
    small.export(tmp_path / "models/export", CLASSES, size=16)
    pixels = np.random.default_rng(0).integers(90, 200, (60, 16, 16, 3)).astype(np.uint8)
    with write_shards(tmp_path / "data/shards/val", "images", CLASSES) as writer:
        for number, row in enumerate(pixels):
            writer.add(row, number % 3, f"{number:064x}")
        writer.close(image_size=16)
    model = Predictor("models/export")
    file = WatchFile(tmp_path / "watch.json", model.version, model.classes)
    yield model, file, pixels
    file.close()


def test_the_command_says_what_changed_writes_gauges_and_exits_with_three(project, tmp_path, capsys):
    model, file, pixels = project
    file.watch.record(pixels, model.answers(pixels))
    file.save()
    assert drift.main(["watch.json"]) == 0
    assert "no change (a false alarm in at most 5% of all streams, however often you ask)" in capsys.readouterr().out
    for _ in range(4):
        file.watch.record(pixels // 4, model.answers(pixels // 4))
    file.save()
    assert drift.main(["watch.json", "--prometheus", "drift.prom"]) == 3
    said = capsys.readouterr().out
    assert said.startswith("300 photos answered, ")
    assert "darker photos than before: label dark ones, or correct the light" in said
    gauges = (tmp_path / "drift.prom").read_text()
    assert "darkroom_drift_alarm 1.0" in gauges
    assert 'darkroom_drift_excess{kind="value",side="below",what="brightness"}' in gauges
    assert drift.main(["watch.json", "--json"]) == 3
    facts = json.loads(capsys.readouterr().out)
    assert (facts["images"], facts["validation"], facts["alarm"]) == (300, 60, True)


def test_what_cannot_be_compared_is_one_line(project, tmp_path):
    with pytest.raises(DarkroomError, match=r"none\.json does not exist; `darkroom serve --watch none.json` writes it"):
        drift.main(["none.json"])
    small.export(tmp_path / "other", ["x", "y"], size=16)
    with pytest.raises(DarkroomError, match=r"counts answers of the model .*; name the model that answers"):
        drift.main(["watch.json", "--model", "other"])
