"""What exact features cost and change: speed in turns with the float32 body, accuracy and log loss over five splits.

`python -m benchmarks.exact speed [BACKBONE …]`, `… stage [BACKBONE …]` and `… quality [SET …]`, where a set is digits,
hymenoptera or dogs-vs-cats; the photos and weights are read from ../shared, or the folder that DARKROOM_SHARED names.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from darkroom.core import runtime
from darkroom.images.shard_writer import write_shards
from darkroom.model import backbones, builders, exact_body, onnx_export, tensors, weights
from darkroom.model.network import Body
from darkroom.model.runner import OnnxBody

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("DARKROOM_SHARED", ROOT.parent / "shared"))
SPEED = ("mobilenet_v2", "resnet18", "squeezenet1_1", "efficientnet_b0", "mobilenet_v3_small", "densenet121")
TURNS, STAGE_TURNS, SPLITS, CALIBRATION = 8, 2, 5, 32
STUDENT = 2.776  # of Student's distribution with 4 degrees of freedom, 95 %


def main(arguments: list[str]) -> None:
    """Run what the first argument names."""
    kinds: dict[str, Callable[[list[str]], None]] = {"speed": speed, "stage": stage, "quality": quality}
    if not arguments or arguments[0] not in kinds:
        sys.exit(f"usage: python -m benchmarks.exact {'|'.join(kinds)} [NAME …]")
    kinds[arguments[0]](arguments[1:])


def speed(names: list[str]) -> None:
    """Images a second of processor time by the float32 and the exact body, in turns; the best turn of each counts.

    Processor time, since the clock of a machine that does other work too says little; with two threads it holds what
    they cost each other.
    """
    print(f"{runtime.machine()['cpu']}; images a second of processor time, best of {TURNS} turns")
    print("| backbone | px | float32 | exact | times, 1 thread | times, 2 threads | writing the body |")
    print("|---|---|---|---|---|---|---|")
    for name in names or SPEED:
        size = backbones.preprocessing(name, "none").size
        body = Body(builders.build(name, size, seed=0), backbones.IMAGENET_MEAN, backbones.IMAGENET_STD).eval()
        images = np.random.default_rng(0).integers(0, 256, (16, size, size, 3), np.uint8)
        started = time.process_time()
        made = exact_body.exact_body(body, images).model.SerializeToString()
        writing = time.process_time() - started
        graphs = onnx_export.export(body, size), made
        rivals = {(kind, threads): OnnxBody(graphs[kind], threads) for kind in (0, 1) for threads in (1, 2)}
        seconds = dict.fromkeys(rivals, float("inf"))
        for _ in range(TURNS):
            for key, rival in rivals.items():
                started = time.process_time()
                rival.features(images)
                seconds[key] = min(seconds[key], time.process_time() - started)
        rates = [len(images) / seconds[kind, 1] for kind in (0, 1)]
        times = [seconds[1, threads] / seconds[0, threads] for threads in (1, 2)]
        cells = [
            name,
            str(size),
            *(f"{rate:.0f}" for rate in rates),
            *(f"{each:.2f}" for each in times),
            f"{writing:.1f} s",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


def stage(names: list[str]) -> None:
    """Processor seconds of the whole embed stage, exact and in float32, in turns, on a third of hymenoptera."""
    print("| backbone, 132 photos of 224 px | threads | float32, s | exact, s | times |")
    print("|---|---|---|---|---|")
    images, labels = (each[::3] for each in _hymenoptera()[:2])
    with tempfile.TemporaryDirectory() as scratch:
        _write_splits(Path(scratch), images, labels)
        for name in names or SPEED[:1]:
            for threads in ("1", "2"):
                seconds = [float("inf"), float("inf")]
                for turn in range(2 * STAGE_TURNS):
                    kind = ("float32", "exact")[turn % 2]
                    seconds[turn % 2] = min(seconds[turn % 2], _embed(Path(scratch), name, kind, threads))
                times = seconds[1] / seconds[0]
                print(f"| {name} | {threads} | {seconds[0]:.1f} | {seconds[1]:.1f} | {times:.2f} |", flush=True)


def _embed(folder: Path, backbone: str, arithmetic: str, threads: str) -> float:
    """Processor seconds of one run of the stage as DVC starts it."""
    params = {"seed": 0, "backbone": backbone, "weights": "none", "freeze": "backbone", "arithmetic": arithmetic,
              "augment": "none", "views": 0}  # fmt: skip
    (folder / "params.yaml").write_text("".join(f"{key}: {value}\n" for key, value in params.items()))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "stages.embed", "shards", "features", "body", "samples.png"], cwd=folder, check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "DARKROOM_THREADS": threads}, capture_output=True,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _write_splits(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    facts = {"image_size": 224, "framing": {"size": 224, "resize": "crop", "short_side": 224}, "flips": True,
             "mean": [0.5] * 3, "std": [0.2] * 3}  # fmt: skip
    order = np.random.default_rng(0).permutation(len(images))
    for split, part in zip(
        ("train", "val", "test"), np.split(order, [len(order) // 2, len(order) * 3 // 4]), strict=True
    ):
        with write_shards(folder / "shards" / split, "images", [str(each) for each in np.unique(labels)]) as writer:
            for index in part:
                writer.add(images[index], int(labels[index]), f"{index:064x}")
            writer.close(**facts)


def quality(names: list[str]) -> None:
    """Accuracy and log loss of a logistic head on either body's features, and the difference with a 95 % interval."""
    print("| set | body | accuracy, float32 | exact | difference | log loss, float32 | exact | difference |")
    print("|---|---|---|---|---|---|---|---|")
    for name in names or SETS:
        images, labels, body = SETS[name]()
        floats = OnnxBody(onnx_export.export(body.eval(), images.shape[1]), 2).features(images)
        rows = np.array([_split(images, labels, body, floats, split) for split in range(SPLITS)])
        cells = []
        for column in (0, 1):
            plain, exact = rows[:, 0, column], rows[:, 1, column]
            apart = exact - plain
            spread = STUDENT * apart.std(ddof=1) / SPLITS**0.5
            cells += [f"{plain.mean():.4f}", f"{exact.mean():.4f}", f"{apart.mean():+.4f} ± {spread:.4f}"]
        print(f"| {name}, {len(images):,} | {type(body.net).__name__} | {' | '.join(cells)} |", flush=True)


def _split(images: np.ndarray, labels: np.ndarray, body: Body, floats: np.ndarray, split: int) -> list[list[float]]:
    """[[accuracy, log loss] of float32, of exact] with 60 % to learn from, which also calibrate the exact body."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    order = np.random.default_rng(split).permutation(len(images))
    learnt, judged = order[: len(order) * 6 // 10], order[len(order) * 6 // 10 :]
    pictures = images[np.sort(learnt)[np.arange(CALIBRATION) * len(learnt) // CALIBRATION]]
    exact = OnnxBody(exact_body.exact_body(body, pictures).model.SerializeToString(), 2).features(images)
    found = []
    for features in (floats, exact):
        head = LogisticRegression(C=0.1, max_iter=3000).fit(features[learnt], labels[learnt])
        answers = head.predict_proba(features[judged])
        found.append([float((answers.argmax(1) == labels[judged]).mean()), float(log_loss(labels[judged], answers))])
    return found


def _photos(paths: list[Path], classes: list[str]) -> tuple[np.ndarray, np.ndarray, Body]:
    from PIL import Image, ImageOps

    pictures = [ImageOps.fit(Image.open(path).convert("RGB"), (256, 256)).crop((16, 16, 240, 240)) for path in paths]
    made = weights.resolve("mobilenet_v2", str(SHARED / "weights/mobilenet_v2.pth"), 224, 0, [], [])
    return np.stack([np.asarray(each) for each in pictures]), np.unique(classes, return_inverse=True)[1], made.body


def _hymenoptera() -> tuple[np.ndarray, np.ndarray, Body]:
    paths = sorted((SHARED / "data/hymenoptera").rglob("*.jpg"))
    return _photos(paths, [path.parent.name for path in paths])


def _dogs_and_cats() -> tuple[np.ndarray, np.ndarray, Body]:
    paths = sorted((SHARED / "data/dogs-vs-cats").glob("*.jpg"))
    return _photos(paths, [path.name.split(".")[0] for path in paths])


def _digits() -> tuple[np.ndarray, np.ndarray, Body]:
    from PIL import Image
    from sklearn.datasets import load_digits

    scans = load_digits()
    images = [
        np.asarray(Image.fromarray((scan * 255 / 16).astype(np.uint8)).resize((28, 28), Image.Resampling.BICUBIC))
        for scan in scans.images
    ]
    pixels = np.stack(images) / 255
    body = Body(builders.build("small_cnn", 28, seed=0), [float(pixels.mean())] * 3, [float(pixels.std())] * 3)
    tensors.fill(body.net, tensors.load(ROOT / "weights/small_cnn-mnist.safetensors"))
    return np.repeat(np.stack(images)[..., None], 3, axis=3), scans.target, body


SETS = {"digits": _digits, "hymenoptera": _hymenoptera, "dogs-vs-cats": _dogs_and_cats}

if __name__ == "__main__":
    main(sys.argv[1:])
