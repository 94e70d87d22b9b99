"""From original files to the same answers: what preprocess made of them, and what predict and serve make of them."""

import json
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from darkroom.app import Predictor
from darkroom.core import files
from darkroom.images.shards import Shards
from darkroom.serve import predict
from tests.export import small
from tests.serve.conftest import serve
from tests.stages import pipeline


def write_photos(folder: Path) -> None:
    """Two classes of 12 photos: several sizes and formats, some that EXIF turns."""
    generator = np.random.default_rng(0)
    for name, pixels in zip(("china", "flower"), load_sample_images().images, strict=True):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            left, top = (int(generator.integers(0, 200)) for _ in range(2))
            width, height = (int(generator.integers(60, 220)) for _ in range(2))
            image = Image.fromarray(pixels[top : top + height, left : left + width])
            exif = Image.Exif()
            exif[0x0112] = 1 + number % 8
            kind = ("jpg", "png", "webp")[number % 3]
            image.save(folder / name / f"{number}.{kind}", exif=exif)


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_predict_and_serve_answer_as_the_model_does_on_the_shards(resize, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_photos(Path("pictures"))
    pipeline.run_all(resize=resize, image_size=32)
    test = Shards(Path("data/shards/test"))
    model = small.export(tmp_path / "export", test.classes, size=32)
    config = files.read_json(model / "config.json") | {"framing": test.index["framing"]}
    files.write_json(model / "config.json", config)
    expected = Predictor(model, threads=1).predict(test.rows(np.arange(len(test))))
    places = {row["id"]: row["location"] for row in pipeline.index()}
    originals = [f"pictures/{places[name]}" for name in test.ids()]

    capsys.readouterr()
    assert predict.main([*originals, "--model", str(model), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["file"] for row in rows] == originals
    got = [[{one["class"]: one["probability"] for one in row["top"]}[name] for name in test.classes] for row in rows]
    np.testing.assert_allclose(got, expected, atol=1e-3)

    with serve(model, tmp_path / "log") as running:
        parts = [("file", (name, Path(name).read_bytes())) for name in originals]
        answers = httpx.post(f"{running.url}/predict", files=parts, timeout=20).json()["predictions"]
    for answer, wanted in zip(answers, expected, strict=True):
        assert answer["class"] == test.classes[wanted.argmax()]
        assert answer["probability"] == pytest.approx(wanted.max(), abs=1e-3)
