"""LightlyTrain: train_image_classification on folders of classes, with timm's mobilenetv2_100 as its body."""

import math
import os
import re

os.environ["LIGHTLY_TRAIN_EVENTS_DISABLED"] = "1"  # it would report each run to its makers

from pathlib import Path
from typing import Any, NoReturn

import lightly_train
import timm
import torch
from timm.models import register_model
from timm.models.efficientnet import EfficientNet

from benchmarks.peers.contract import (
    LEAST_AREA,
    MIRRORED,
    RESIZE,
    SIZE,
    WORKERS,
    Asked,
    Clock,
    Outcome,
    export_onnx,
    fast_bfloat16,
    load_in_order,
    main,
)

OWN_BATCH = 16  # for which it takes `lr` as it is; it multiplies it with the root of the batch's share of this


class WholeBody(EfficientNet):
    """The body up to its 1,280 features. By `forward_intermediates` LightlyTrain takes the 320 before the last layer
    for them and stops, since the shapes differ: without it, it calls `forward_features`."""

    @property
    def forward_intermediates(self) -> NoReturn:
        """Be absent."""
        raise AttributeError


@register_model
def mobilenet_v2_whole(pretrained: bool = False, **options: Any) -> Any:
    """Build timm's mobilenetv2_100; torchvision's own mobilenet_v2 is not among the models that LightlyTrain takes."""
    model = timm.create_model("mobilenetv2_100", pretrained=pretrained, **options)
    model.__class__ = WholeBody
    return model


class Logits(torch.nn.Module):
    """The model as the other peers export it: its own export answers with labels, and needs three packages more."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 3, 224, 224) to logits (n, classes)."""
        return self.model.forward_backend(images)


def weights(asked: Asked) -> Path:
    """Write the weights of the file under timm's names."""
    body = mobilenet_v2_whole()
    load_in_order(body, asked.weights)
    path = Path("weights.pt").resolve()
    torch.save({name: value for name, value in body.state_dict().items() if not name.startswith("classifier")}, path)
    return path


def run(asked: Asked, clock: Clock) -> Outcome:
    """Train, then answer the test images."""
    batches = asked.count("train") // asked.batch_size  # its loader leaves out what fills no batch
    steps = asked.epochs * batches
    with clock("train"):
        lightly_train.train_image_classification(
            out="out", overwrite=True, model="timm/mobilenet_v2_whole", accelerator="cpu", seed=asked.seed,
            data={
                "train": str(asked.photos / "train"), "val": str(asked.photos / "test"),
                "classes": dict(enumerate(asked.classes())),
            },
            steps=steps, batch_size=asked.batch_size, num_workers=WORKERS,
            precision="bf16-mixed" if fast_bfloat16() else "32-true",
            model_args={
                "backbone_weights": str(weights(asked)), "backbone_freeze": asked.frozen,
                "lr": asked.lr / math.sqrt(asked.batch_size / OWN_BATCH),
            },
            transform_args={
                "image_size": (SIZE, SIZE), "color_jitter": None, "random_flip": {"horizontal_prob": MIRRORED},
                "random_crop": {"min_scale": LEAST_AREA or 0.2}, "val": {"resize_scale": RESIZE / SIZE},
            },
            # No logger, no validation before the end of the run, no best checkpoint: each takes time.
            logger_args={"tensorboard": None, "val_every_num_steps": steps}, save_checkpoint_args={"save_best": False},
        )  # fmt: skip
    with clock("evaluate"):  # its training ends with that, and has taken the time
        found = re.findall(r"val_metric/top1_acc_micro +[|] +([0-9.]+)", Path("out/train.log").read_text())
    if asked.export:
        with clock("export"):
            model = lightly_train.load_model("out/exported_models/exported_last.pt", device="cpu")
            export_onnx(Logits(model))
    setup = "timm's body, bf16-mixed, AdamW, cosine, its own transforms, no logger"
    return Outcome(float(found[-1]), setup, steps * asked.batch_size)


if __name__ == "__main__":
    main(run, ("lightly-train", "timm", "torch"))
