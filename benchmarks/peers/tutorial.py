"""The loop of PyTorch's tutorial "Transfer Learning for Computer Vision": ImageFolder, DataLoader, float32, SGD."""

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

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
    main,
    torchvision_model,
)

# As the tutorial has them.
TRAIN = [transforms.RandomResizedCrop(SIZE, (LEAST_AREA or 0.08, 1.0)), transforms.RandomHorizontalFlip(MIRRORED)]
TEST = [transforms.Resize(RESIZE), transforms.CenterCrop(SIZE)]


def loader(asked: Asked, split: str) -> DataLoader:
    """Return the tutorial's loader; its 4 workers would be twice the cores, its 4 images a batch the slowest choice."""
    steps = TRAIN if split == "train" else TEST
    transform = transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    data = ImageFolder(str(asked.photos / split), transform)
    return DataLoader(data, asked.batch_size, shuffle=split == "train", num_workers=WORKERS)


def run(asked: Asked, clock: Clock) -> Outcome:
    """Train, then answer the test images."""
    torch.manual_seed(asked.seed)
    model = torchvision_model(asked)
    criterion = nn.CrossEntropyLoss()
    learning = model.classifier.parameters() if asked.frozen else model.parameters()
    optimizer = torch.optim.SGD(learning, lr=asked.lr, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
    with clock("train"):
        for _ in range(asked.epochs):
            model.train()
            for images, labels in loader(asked, "train"):
                optimizer.zero_grad()
                loss = criterion(model(images), labels)
                loss.backward()
                optimizer.step()
            scheduler.step()
    with clock("evaluate"), torch.no_grad():
        model.eval()
        right = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in loader(asked, "test"))
    if asked.export:
        with clock("export"):
            export_onnx(model)
    return Outcome(right / asked.count("test"), "as published: float32, SGD; 2 workers, batches of 32")


if __name__ == "__main__":
    main(run, ("torch", "torchvision"))
