"""PyTorch Lightning: a LightningModule as in its transfer-learning guide, trained by its Trainer."""

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.peers import torchvision as reference
from benchmarks.peers.contract import SIZE, Asked, Clock, Outcome, fast_bfloat16, main, torchvision_model


class Classifier(lightning.LightningModule):
    """The guide's split into a feature extractor, in eval mode and without gradients when frozen, and a head."""

    def __init__(self, asked: Asked) -> None:
        super().__init__()
        model = torchvision_model(asked)
        self.extractor, self.head, self.asked = model.features, model.classifier, asked

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 3, 224, 224) to logits (n, classes)."""
        images = images.contiguous(memory_format=torch.channels_last)
        if self.asked.frozen:
            self.extractor.eval()
            with torch.no_grad():
                features = self.extractor(images)
        else:
            features = self.extractor(images)
        return self.head(features.mean((2, 3)))

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Return the loss of a batch."""
        del batch_idx
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def test_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        """Count what is right."""
        del batch_idx
        right = (self(batch[0]).argmax(1) == batch[1]).float().mean()
        self.log("accuracy", right, on_epoch=True, batch_size=len(batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW on what learns."""
        learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return torch.optim.AdamW(learning, lr=self.asked.lr)


def loader(asked: Asked, split: str) -> DataLoader:
    """Return the tensor transforms of torchvision's recipe, in lasting workers: what its speed guide asks for."""
    return reference.loader(asked, split)


def run(asked: Asked, clock: Clock) -> Outcome:
    """Train, then answer the test images."""
    lightning.seed_everything(asked.seed)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=asked.epochs,
        precision="bf16-mixed" if fast_bfloat16() else "32-true",
        # No files, bars or summaries: none is asked for here, and each takes time.
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = Classifier(asked).to(memory_format=torch.channels_last)
    with clock("train"):
        trainer.fit(model, loader(asked, "train"))
    with clock("evaluate"):
        (scores,) = trainer.test(model, loader(asked, "test"), verbose=False)
    if asked.export:
        with clock("export"):
            model.to_onnx("model.onnx", torch.zeros(1, 3, SIZE, SIZE), dynamo=False)
    return Outcome(scores["accuracy"], "bf16-mixed, channels_last, no_grad body, AdamW, no logger or checkpoints")


if __name__ == "__main__":
    main(run, ("lightning", "torch"))
