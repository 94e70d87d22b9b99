"""Hugging Face Transformers: MobileNetV2ForImageClassification and Trainer, as in its image-classification guide."""

from typing import Any

import numpy as np
import torch
from torch import nn
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from transformers import MobileNetV2Config, MobileNetV2ForImageClassification, Trainer, TrainingArguments

from benchmarks.peers.contract import (
    WORKERS,
    Asked,
    Clock,
    Outcome,
    export_onnx,
    fast_bfloat16,
    load_in_order,
    main,
)
from benchmarks.peers.torchvision import END, TEST, TRAIN


class BodyAsFrozenForImageClassification(MobileNetV2ForImageClassification):
    """The Trainer puts a model into train mode; a body that is frozen keeps its BatchNorm too.

    The end of its name tells transformers which loss is meant.
    """

    def train(self, mode: bool = True) -> "BodyAsFrozenForImageClassification":
        """As usual, but for a frozen body."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.mobilenet_v2.parameters()):
            self.mobilenet_v2.eval()
        return self


class Logits(nn.Module):
    """The model as ONNX wants it: a tensor in, a tensor out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 3, 224, 224) to logits (n, classes)."""
        return self.model(pixel_values=images).logits


def build(asked: Asked) -> BodyAsFrozenForImageClassification:
    """Its own mobilenet_v2, set up as torchvision's is (padding, epsilon, dropout), with the weights of the file."""
    config = MobileNetV2Config(
        num_labels=len(asked.classes()), tf_padding=False, layer_norm_eps=1e-5, classifier_dropout_prob=0.2,
        finegrained_output=True,
    )  # fmt: skip
    model = BodyAsFrozenForImageClassification(config)
    load_in_order(model, asked.weights)
    if asked.frozen:
        model.mobilenet_v2.requires_grad_(False)
    return model.to(memory_format=torch.channels_last)


def collate(samples: list[tuple[torch.Tensor, int]]) -> dict[str, torch.Tensor]:
    """Return the guide's collate function; channels last, as the model is."""
    images = torch.stack([image for image, _ in samples]).contiguous(memory_format=torch.channels_last)
    return {"pixel_values": images, "labels": torch.tensor([label for _, label in samples])}


def data(asked: Asked, split: str) -> ImageFolder:
    """Return the guide's torchvision transforms."""
    return ImageFolder(str(asked.photos / split), v2.Compose([*(TRAIN if split == "train" else TEST), *END]))


def scores(prediction: Any) -> dict[str, float]:
    """Return the guide's compute_metrics."""
    return {"accuracy": float((np.argmax(prediction.predictions, 1) == prediction.label_ids).mean())}


def run(asked: Asked, clock: Clock) -> Outcome:
    """Train, then answer the test images."""
    arguments = TrainingArguments(
        output_dir="out", num_train_epochs=asked.epochs, learning_rate=asked.lr, weight_decay=0.01, seed=asked.seed,
        per_device_train_batch_size=asked.batch_size, per_device_eval_batch_size=asked.batch_size,
        # Workers that last, bfloat16 where the processor has it; no files, bars or reports: each takes time.
        dataloader_num_workers=WORKERS, dataloader_persistent_workers=True, dataloader_pin_memory=False,
        use_cpu=True, bf16=fast_bfloat16(), remove_unused_columns=False, save_strategy="no", eval_strategy="no",
        logging_strategy="no", report_to="none", disable_tqdm=True,
    )  # fmt: skip
    torch.manual_seed(asked.seed)
    model = build(asked)
    trainer = Trainer(
        model=model, args=arguments, data_collator=collate, train_dataset=data(asked, "train"),
        eval_dataset=data(asked, "test"), compute_metrics=scores,
    )  # fmt: skip
    with clock("train"):
        trainer.train()
    with clock("evaluate"):
        found = trainer.evaluate()
    if asked.export:
        with clock("export"):
            export_onnx(Logits(model))
    return Outcome(found["eval_accuracy"], "bf16, channels_last, lasting workers, AdamW, no logging or saving")


if __name__ == "__main__":
    main(run, ("transformers", "accelerate", "torch"))
