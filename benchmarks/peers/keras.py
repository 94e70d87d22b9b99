"""Keras 3 on torch: compile and fit on torch's DataLoader, the body a TorchModuleWrapper."""

import os

os.environ["KERAS_BACKEND"] = "torch"  # read when keras is imported

from contextlib import nullcontext

import keras
import torch
from torch import nn

from benchmarks.peers import torchvision as reference
from benchmarks.peers.contract import SIZE, Asked, Clock, Outcome, export_onnx, fast_bfloat16, main, torchvision_model


class Body(nn.Module):
    """torchvision's body. Keras has weights of its own mobilenet_v2 on the net only, with other padding and epsilon."""

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features.to(memory_format=torch.channels_last)
        # The mixed_bfloat16 policy would cast the images and not the module's weights: torch's own autocast does both.
        self.amp = torch.autocast("cpu", torch.bfloat16) if fast_bfloat16() else nullcontext()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 3, 224, 224) to features (n, 1280)."""
        with self.amp:
            return self.features(images.contiguous(memory_format=torch.channels_last)).float().mean((2, 3))


def run(asked: Asked, clock: Clock) -> Outcome:
    """Train, then answer the test images."""
    keras.utils.set_random_seed(asked.seed)
    keras.config.set_image_data_format("channels_first")  # as the torch module wants it
    network = torchvision_model(asked)
    body = keras.layers.TorchModuleWrapper(Body(network.features), output_shape=(None, network.last_channel))
    body.trainable = not asked.frozen
    images = keras.Input((3, SIZE, SIZE))
    # training=False: the transfer-learning guide's way to keep a frozen body's BatchNorm as it is.
    features = body(images, training=False) if asked.frozen else body(images)
    head = keras.layers.Dense(len(asked.classes()))
    model = keras.Model(images, head(keras.layers.Dropout(0.2)(features)))
    model.compile(
        optimizer=keras.optimizers.AdamW(asked.lr, weight_decay=0.01),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,  # torch.compile takes longer than these runs
    )
    with clock("train"):
        model.fit(reference.loader(asked, "train"), epochs=asked.epochs, verbose=0)
    with clock("evaluate"):
        scores = model.evaluate(reference.loader(asked, "test"), verbose=0, return_dict=True)
    if asked.export:
        with clock("export"):
            body.module.amp = nullcontext()
            export_onnx(model)
    return Outcome(scores["accuracy"], "torchvision body, bfloat16, channels_last, AdamW, torch DataLoader")


if __name__ == "__main__":
    main(run, ("keras", "torch"))
