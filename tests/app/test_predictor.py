import subprocess
import sys
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from darkroom.app import Predictor
from darkroom.data.decode import decode
from darkroom.errors import BadImage, DarkroomError
from tests.app.conftest import CLASSES, ROOT


@pytest.fixture(scope="module")
def predictor(exported: Path) -> Predictor:
    return Predictor(exported, threads=1)


def test_a_path_bytes_a_pillow_image_and_an_array_get_the_same_answer(predictor, photos):
    path = photos / "more/flower.png"
    with Image.open(path) as opened:
        image = opened.copy()
    answers = [predictor(item) for item in (path, str(path), path.read_bytes(), image, np.asarray(image))]
    for answer in answers:
        np.testing.assert_array_equal(answer.probabilities, answers[0].probabilities)
    assert answers[0].label in CLASSES
    assert answers[0].probability == pytest.approx(float(answers[0].probabilities.max()))
    assert answers[0].probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_top_is_sorted_and_names_every_class_once(predictor, photos):
    top = predictor(photos / "china.jpg").top(10)
    assert sorted(label for label, _ in top) == sorted(CLASSES)
    assert [p for _, p in top] == sorted((p for _, p in top), reverse=True)


def test_streaming_answers_as_one_at_a_time_in_order_with_bad_files_in_their_place(predictor, photos):
    good = [photos / "china.jpg", photos / "more/flower.webp", photos / "flower.jpg"]
    names = [good[0], photos / "cut.jpg", good[1], photos / "absent.jpg", photos / "notes.txt", good[2]] * 4
    answers = list(predictor.stream(names, Path.read_bytes, batch=5))
    assert [name for name, _ in answers] == names
    for name, answer in answers:
        if name in good:
            np.testing.assert_allclose(answer.probabilities, predictor(name).probabilities, atol=1e-6)
        else:
            assert isinstance(answer, BadImage)
    reasons = {name.name: str(answer) for name, answer in answers if isinstance(answer, BadImage)}
    assert reasons["absent.jpg"] == "No such file or directory"
    assert reasons["cut.jpg"] == "truncated"


def test_streaming_reads_only_a_few_batches_ahead(predictor, photos):
    read = []
    data = (photos / "china.jpg").read_bytes()
    stream = predictor.stream(count(), lambda item: read.append(item) or data, batch=4)
    list(islice(stream, 6))
    stream.close()
    assert len(read) <= 6 + 3 * 4


def test_heavy_libraries_stay_out(exported, photos):
    code = (
        "import sys; from darkroom.app import Predictor; Predictor(sys.argv[1])(sys.argv[2]); "
        "print([name for name in ('torch', 'sklearn', 'scipy', 'pandas', 'matplotlib', 'onnx') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(exported), str(photos / "china.jpg")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_decoder_is_the_pipelines_own(predictor, photos):
    data = (photos / "china.jpg").read_bytes()
    np.testing.assert_array_equal(predictor.pixels(data), decode(data, predictor.framing))


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(DarkroomError, match=r"holds no exported model \(config.json is missing\)"):
        Predictor(tmp_path)


def test_a_damaged_model_is_named(exported, tmp_path):
    (tmp_path / "config.json").write_bytes((exported / "config.json").read_bytes())
    (tmp_path / "model.onnx").write_bytes((exported / "model.onnx").read_bytes()[:500])
    with pytest.raises(DarkroomError, match=r"model.onnx cannot be loaded: .*run `dvc repro -f export`"):
        Predictor(tmp_path)
