import io
import subprocess
import sys
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from darkroom.app import Predictor
from darkroom.core.errors import BadImage, DarkroomError
from darkroom.images.decode import decode
from tests.serve.conftest import CLASSES, ROOT


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


def photo(side: int = 96) -> Image.Image:
    return Image.fromarray(load_sample_image("flower.jpg")).resize((side * 3 // 2, side))


def opened_and_read(predictor: Predictor, data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return what the model sees of a file, and of the Pillow image that it opens as."""
    return predictor.pixels(Image.open(io.BytesIO(data))).astype(int), predictor.pixels(data).astype(int)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_pillow_image_is_turned_upright_as_its_file_is(predictor, kind, orientation):
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    photo().save(file, kind, exif=exif)
    opened, read = opened_and_read(predictor, file.getvalue())
    assert np.abs(opened - read).mean() < (2 if kind == "JPEG" else 0.01)  # a JPEG file is scaled while it is read


def test_a_broken_exif_block_of_a_pillow_image_does_not_lose_it(predictor):
    file = io.BytesIO()
    photo().save(file, "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    opened, read = opened_and_read(predictor, file.getvalue())
    np.testing.assert_array_equal(opened, read)


GREY = np.asarray(photo().convert("L"))
CLEAR = photo().convert("RGBA")
CLEAR.putalpha(Image.fromarray(GREY))


@pytest.mark.parametrize(
    ("kind", "image"),
    [
        ("JPEG", photo().convert("CMYK")),
        ("TIFF", photo().convert("CMYK")),
        ("TIFF", photo().convert("YCbCr")),
        ("TIFF", Image.new("LAB", (60, 50), (128, 20, 40))),
        ("PNG", Image.fromarray(GREY.astype(np.uint16) * 257)),
        ("PPM", Image.fromarray(GREY.astype(np.int32) * 257)),
        ("TIFF", Image.fromarray(GREY.astype(np.int32) * 100_000)),
        ("TIFF", Image.fromarray(GREY.astype(np.float32) / 255)),
        ("PNG", photo().convert("P", palette=Image.Palette.ADAPTIVE)),
        ("PNG", photo().convert("1")),
        ("GIF", photo()),
        ("PNG", CLEAR),
        ("PNG", CLEAR.convert("LA")),
        ("WEBP", CLEAR),
    ],
    ids=lambda value: value if isinstance(value, str) else value.mode,
)
def test_a_pillow_image_of_any_mode_gets_its_files_answer(predictor, kind, image):
    file = io.BytesIO()
    image.save(file, kind)
    opened, read = opened_and_read(predictor, file.getvalue())
    np.testing.assert_array_equal(opened, read)
    assert len(np.unique(read)) > 1 or image.mode == "LAB"


@pytest.mark.parametrize("mode", ["HSV", "YCbCr", "CMYK", "RGBX", "RGBa", "PA", "F", "I", "La"])
def test_a_pillow_image_made_in_memory_is_seen_as_it_looks(predictor, mode):
    by_way_of = {"RGBa": "RGBA", "PA": "P", "La": "LA"}
    image = photo().convert(by_way_of.get(mode, "RGB")).convert(mode)
    looks = photo().convert("L") if mode in ("F", "I", "La") else photo()
    seen, expected = predictor.pixels(image).astype(int), predictor.pixels(looks).astype(int)
    assert np.abs(seen - expected).mean() < 12  # a palette of 256 colours


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (
            np.zeros((4, 4, 3)),
            r"an array of float64 and shape \(4, 4, 3\) is not a picture; expected uint8 \(h, w, 3\)",
        ),
        (np.zeros((4, 4, 3), np.float32), "an array of float32"),
        (np.zeros((4, 4), np.int64), "an array of int64"),
        (np.zeros((0, 4, 3), np.uint8), "with at least one pixel"),
        (np.zeros((), np.uint8), r"an array of uint8 and shape \(\)"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"shape \(2, 4, 4, 3\)"),
        (Image.new("RGB", (0, 5)), "a Pillow image of 0 x 5 pixels is not a picture"),
        (np.full((4, 4), np.nan, np.float32), "holds values that are not numbers"),
        (7, "int is not a picture; expected a path"),
    ],
)
def test_what_is_no_picture_is_a_bad_image_with_the_reason(predictor, made, reason):
    with pytest.raises(BadImage, match=reason):
        predictor(made)


def test_a_pillow_image_whose_file_is_cut_or_closed_is_a_bad_image(predictor, photos):
    with Image.open(photos / "cut.jpg") as cut, pytest.raises(BadImage, match=r"^truncated$"):
        predictor(cut)
    with Image.open(photos / "more/china.png") as closed:
        pass
    with pytest.raises(BadImage, match="damaged or closed"):
        predictor(closed)


def test_a_file_in_the_place_of_the_folder_is_named(exported):
    with pytest.raises(DarkroomError, match=rf"model.onnx is a file; name the .* exported model: {exported}$"):
        Predictor(exported / "model.onnx")
