"""torchvision's reference recipe for classification, with what PyTorch's tuning guide adds on a CPU."""

from contextlib import nullcontext

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.models import MobileNetV2
from torchvision.transforms import v2

from benchmarks.peers.contract import (
    LEAST_AREA,
    MEAN,
    MIRRORED,
    RESIZE,
    SIZE,
    STD,
    WORKERS,
    Asked,
    Clock,
    Outcome,
    export_onnx,
    fast_bfloat16,
    main,
    torchvision_model,
)

# The presets of the recipe: v2 transforms on uint8 tensors, antialiased, float only at the end.
CROP = v2.RandomResizedCrop(SIZE, scale=(LEAST_AREA or 0.08, 1.0), antialias=True)
TRAIN = [v2.PILToTensor(), CROP, v2.RandomHorizontalFlip(MIRRORED)]
TEST = [v2.PILToTensor(), v2.Resize(RESIZE, antialias=True), v2.CenterCrop(SIZE)]
END = [v2.ToDtype(torch.float, scale=True), v2.Normalize(MEAN, STD), v2.ToPureTensor()]


def loader(asked: Asked, split: str) -> DataLoader:
    """Workers live as long as the run, so that they import torch once and not in every epoch."""
    transform = v2.Compose([*(TRAIN if split == "train" else TEST), *END])
    data = ImageFolder(str(asked.photos / split), transform)
    training = split == "train"
    return DataLoader(data, asked.batch_size, shuffle=training, num_workers=WORKERS, persistent_workers=training)


def autocast() -> torch.autocast | nullcontext:
    """Return the recipe's --amp, which on a CPU is bfloat16; it pays where the processor has it in hardware."""
    return torch.autocast("cpu", torch.bfloat16) if fast_bfloat16() else nullcontext()


def train_mode(model: MobileNetV2, frozen: bool) -> None:
    """Train, but what is frozen keeps its BatchNorm too: better answers, and on a CPU up to eight times the speed."""
    model.train()
    if frozen:
        model.features.eval()


def run(asked: Asked, clock: Clock) -> Outcome:
    """Train, then answer the test images."""
    torch.manual_seed(asked.seed)
    # channels_last: the convolutions' own layout on a CPU, about twice as fast.
    model = torchvision_model(asked).to(memory_format=torch.channels_last)
    criterion = nn.CrossEntropyLoss()
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # The recipe's SGD, momentum and weight decay; its StepLR would first step after 30 epochs.
    optimizer = torch.optim.SGD(learning, lr=asked.lr, momentum=0.9, weight_decay=1e-4)
    batches = loader(asked, "train")
    with clock("train"):
        for _ in range(asked.epochs):
            train_mode(model, asked.frozen)
            for images, labels in batches:
                with autocast():
                    logits = model(images.contiguous(memory_format=torch.channels_last))
                loss = criterion(logits.float(), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    with clock("evaluate"), torch.inference_mode(), autocast():
        model.eval()
        right = 0
        for images, labels in loader(asked, "test"):
            logits = model(images.contiguous(memory_format=torch.channels_last))
            right += int((logits.argmax(1) == labels).sum())
    if asked.export:
        with clock("export"):
            export_onnx(model)
    return Outcome(
        right / asked.count("test"), "v2 transforms on tensors, channels_last, bfloat16, SGD, lasting workers"
    )


if __name__ == "__main__":
    main(run, ("torch", "torchvision"))
