"""model.onnx answers within 1e-6 of the predictions, and with the same classes, whatever the threads.

On other processors it does as well: tests/test_processors.py runs the export there, which compares the two.
"""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from darkroom.core.exactmath import softmax
from darkroom.export.graph import join, parse, write
from darkroom.metrics.scores import most_probable
from darkroom.model import backbones, builders, classifier, exact_body, tensors, weights
from darkroom.model.network import Body
from darkroom.model.runner import OnnxBody
from darkroom.model.session import open_session
from tests.model.samples import digit_images, photo_images

NEAR = 1e-6
MNIST = Path(__file__).resolve().parents[2] / "weights/small_cnn-mnist.safetensors"


def small_cnn() -> tuple[Body, np.ndarray, np.ndarray]:
    body = Body(builders.build("small_cnn", 28, seed=0), [0.3] * 3, [0.3] * 3).eval()
    tensors.fill(body.net, tensors.load(MNIST))
    return body, *digit_images(160)


def random_weights(backbone: str, size: int) -> tuple[Body, np.ndarray, np.ndarray]:
    network = builders.build(backbone, size, seed=0)
    return Body(network, backbones.IMAGENET_MEAN, backbones.IMAGENET_STD).eval(), *photo_images(24, size)


def hymenoptera(backbone: str, shared: Path) -> tuple[Body, np.ndarray, np.ndarray]:
    from PIL import Image, ImageOps

    paths = sorted((shared / "data/hymenoptera").rglob("*.jpg"))[::12]
    images = [np.asarray(ImageOps.fit(Image.open(path).convert("RGB"), (224, 224))) for path in paths]
    labels = np.unique([path.parent.name for path in paths], return_inverse=True)[1]
    made = weights.resolve(backbone, str(shared / f"weights/{backbone}.pth"), 224, 0, [], [])
    return made.body.eval(), np.stack(images), labels


def trained(features: np.ndarray, labels: np.ndarray, hidden: int) -> dict[str, np.ndarray]:
    """Return a head of as many classes as there are labels, fitted to them, or with a random layer of `hidden` before
    it."""
    values: dict[str, np.ndarray] = {}
    if hidden:
        values = classifier.initial(classifier.Head("mlp", hidden, 0.0), features.shape[1], len(np.unique(labels)), 0)
        features = np.maximum(features @ values["0.weight"].T, 0)
    mean, spread = features.mean(0), features.std()
    fitted = LogisticRegression(C=100, max_iter=300).fit((features - mean) / spread, labels)
    weight = fitted.coef_ / spread
    bias = fitted.intercept_ - weight @ mean
    if len(weight) == 1:
        weight, bias = np.concatenate([-weight, weight]), np.concatenate([-bias, bias])
    layer = 1 if hidden else 0
    return values | {f"{layer}.weight": weight.astype(np.float32), f"{layer}.bias": bias.astype(np.float32)}


def embedded(body: Body, images: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Return the exact body as ONNX, and the features (n, d) of the images."""
    made = exact_body.exact_body(body, images[: len(images) // 2]).model.SerializeToString()
    return made, OnnxBody(made, 2).features(images)


def export(
    body: bytes, features: np.ndarray, labels: np.ndarray, hidden: int, temperature: float, folder: Path
) -> np.ndarray:
    """Write model.onnx and return what is predicted of the images: (n, K)."""
    head = trained(features, labels, hidden)
    predicted = softmax(classifier.logits(features, head), temperature)
    assert predicted.max() > 0.9
    write(join(parse(body, "body"), head, temperature), folder / "model.onnx")
    return predicted


def check(body: Body, images: np.ndarray, labels: np.ndarray, folder: Path) -> None:
    """Compare the two for either kind of head, with one to three threads."""
    made = embedded(body, images)
    for hidden, temperature in ((0, 0.7371), (12, 1.3)):
        predicted = export(*made, labels, hidden, temperature, folder)
        for threads in (1, 2, 3):
            session = open_session(folder / "model.onnx", threads)
            assert_same(predicted, session.run(["probabilities"], {"images": images})[0])


def assert_same(predicted: np.ndarray, exported: np.ndarray) -> None:
    np.testing.assert_allclose(exported, predicted, rtol=0, atol=NEAR)
    np.testing.assert_array_equal(most_probable(exported), most_probable(predicted))


def test_the_default_s_answers(tmp_path):
    check(*small_cnn(), tmp_path)


@pytest.mark.parametrize(("backbone", "size"), [("resnet18", 64), ("mobilenet_v3_small", 64), ("lenet", 28)])
def test_answers_of_other_networks(backbone, size, tmp_path):
    check(*random_weights(backbone, size), tmp_path)


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "squeezenet1_1"])
def test_answers_to_photos(backbone, shared, tmp_path):
    check(*hymenoptera(backbone, shared), tmp_path)


def test_two_classes_that_float32_cannot_tell_apart_are_the_first_of_them_in_both():
    logits = np.array([[0.1, np.nextafter(np.float32(0.1), 1)]], np.float32)
    predicted = softmax(logits, 1.0)
    assert predicted[0, 1] > predicted[0, 0]
    assert_same(predicted, predicted.astype(np.float32))
