"""What Darkroom is measured against: one entry a peer, in the order of its turn; and which could not take part."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rival:
    """A module of benchmarks/peers (or loaders) by its name, and what it is called in the tables.

    `tuning_lr`: the learning rate for fine-tuning where an optimizer wants another than AdamW does.
    """

    module: str
    label: str
    variant: str = ""
    tuning_lr: float | None = None


SGD_LR = 1e-3  # the tutorial's own; AdamW's 1e-4 is so little for SGD that two epochs change nothing
PEERS = (
    Rival("torchvision", "torchvision's recipe", tuning_lr=SGD_LR),
    Rival("timm", "timm"),
    Rival("lightning", "PyTorch Lightning"),
    Rival("huggingface", "Hugging Face Trainer"),
    Rival("keras", "Keras 3 on torch"),
    Rival("ultralytics", "Ultralytics"),
    Rival("lightlytrain", "LightlyTrain"),
    Rival("fastai", "fastai", tuning_lr=2e-3),  # the default of its fine_tune
    Rival("tutorial", "PyTorch's tutorial loop", tuning_lr=SGD_LR),
)

# `arrays`: uint8 pixels of the final size, decoded when the data set is written, as Darkroom's shards hold them.
LOADERS = (
    Rival("imagefolder", "torchvision ImageFolder + DataLoader"),
    Rival("webdataset", "WebDataset, JPEG", "jpeg"),
    Rival("webdataset", "WebDataset, arrays", "arrays"),
    Rival("streaming", "MosaicML Streaming, JPEG", "jpeg"),
    Rival("streaming", "MosaicML Streaming, arrays", "arrays"),
    Rival("litdata", "LitData, JPEG", "jpeg"),
    Rival("litdata", "LitData, arrays", "arrays"),
)

ABSENT = {
    "FFCV": "has no wheel; its build stops without the system's OpenCV, which pip cannot install "
    "(`Could not find required package: opencv`)",
}
