"""Ultralytics: its classification trainer on a TorchVision backbone, as its model files configure one."""

import os
import shutil
import time
from pathlib import Path

from benchmarks.peers.contract import LEAST_AREA, MIRRORED, SIZE, WORKERS, Asked, Clock, Outcome, main

PUBLISHED = "mobilenet_v2-7ebf99e0.pth"  # the name under which torch looks for the published weights in its cache
MODEL = """
nc: {classes}
backbone:
  - [-1, 1, TorchVision, [1280, mobilenet_v2, DEFAULT, True, 1]]
head:
  - [-1, 1, Classify, [nc]]
"""


def prepare(asked: Asked) -> tuple[Path, Path]:
    """Return the model file, and photos of its own: it keeps its list of checked images beside them for the next
    run."""
    cache = Path("torch/hub/checkpoints")
    cache.mkdir(parents=True, exist_ok=True)
    os.environ |= {"TORCH_HOME": str(Path("torch").absolute()), "YOLO_CONFIG_DIR": str(Path.cwd())}
    os.environ |= {"YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true"}
    shutil.copyfile(asked.weights, cache / PUBLISHED)
    photos = Path("photos").absolute()
    for split, name in (("train", "train"), ("test", "val")):
        shutil.copytree(asked.photos / split, photos / name, dirs_exist_ok=True, copy_function=link)
    model = Path("mobilenet_v2-cls.yaml")
    model.write_text(MODEL.format(classes=len(asked.classes())))
    return model, photos


def link(source: str, target: str) -> None:
    """Give the same file a second name."""
    if not Path(target).exists():
        os.link(source, target)


def run(asked: Asked, clock: Clock) -> Outcome:
    """Train, then answer the test images."""
    model, photos = prepare(asked)
    from ultralytics import YOLO

    classifier = YOLO(str(model), task="classify")
    # Its epochs by themselves: train() also looks through the photos, and validates the last epoch and the saved model.
    begun: list[float] = []
    classifier.add_callback("on_train_epoch_start", lambda _: begun.append(time.perf_counter()))
    classifier.add_callback("on_train_epoch_end", lambda _: clock.add("train", time.perf_counter() - begun[-1]))
    with clock("around training"):
        classifier.train(
            data=str(photos), epochs=asked.epochs, batch=asked.batch_size, imgsz=SIZE, seed=asked.seed, device="cpu",
            optimizer="AdamW", lr0=asked.lr, weight_decay=0.01, workers=WORKERS, project=str(Path.cwd()), name="run",
            exist_ok=True, pretrained=True,
            freeze=1 if asked.frozen else None,  # the TorchVision backbone is its layer 0
            # Biases learn at up to 0.1 for a hundred steps or more: good for a head, not for two epochs of all.
            warmup_epochs=3.0 if asked.frozen else 0.0,
            nbs=asked.batch_size,  # no gradients gathered over two batches, which it does for 64 at a time
            cache="ram",  # decoded once a run
            val=False, plots=False, verbose=False, deterministic=False,
            fliplr=MIRRORED, scale=1 - (LEAST_AREA or 0.5),
            auto_augment=None, erasing=0.0, hsv_h=0.0, hsv_s=0.0, hsv_v=0.0,  # crop and mirror, like the others
        )  # fmt: skip
    with clock("evaluate"):
        accuracy = classifier.val(data=str(photos), batch=asked.batch_size, workers=WORKERS, plots=False).top1
    if asked.export:
        with clock("export"):
            Path(classifier.export(format="onnx", simplify=False, dynamic=True)).replace("model.onnx")
    return Outcome(float(accuracy), "TorchVision backbone, cache=ram, AdamW, no plots")


if __name__ == "__main__":
    main(run, ("ultralytics", "torch"))
