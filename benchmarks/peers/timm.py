"""timm: the loop of its train script, with its model, loader, optimizer and schedule."""

from contextlib import nullcontext
from typing import Any

import timm
import torch
from timm.data import create_dataset, create_loader
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import AverageMeter, accuracy, freeze, random_seed

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
    load_in_order,
    main,
)

CPU = torch.device("cpu")


def loader(asked: Asked, split: str) -> torch.utils.data.DataLoader:
    """timm's own: workers hand over uint8, and its prefetcher normalises whole batches."""
    training = split == "train"
    data = create_dataset("", root=str(asked.photos / split), split=split)
    return create_loader(
        data, (3, SIZE, SIZE), asked.batch_size, is_training=training, use_prefetcher=True, device=CPU,
        num_workers=WORKERS, persistent_workers=True, mean=MEAN, std=STD, crop_pct=SIZE / RESIZE,
        interpolation="bilinear", color_jitter=0.0, pin_memory=False, hflip=MIRRORED, scale=(LEAST_AREA or 0.08, 1.0),
    )  # fmt: skip


def body_names(model: torch.nn.Module) -> list[str]:
    """All parts but the head."""
    return [name for name, _ in model.named_children() if name != "classifier"]


def run(asked: Asked, clock: Clock) -> Outcome:
    """Train, then answer the test images."""
    random_seed(asked.seed)
    # Its mobilenetv2_100 is torchvision's mobilenet_v2 under other names: the same weights, the same answers.
    model: Any = timm.create_model("mobilenetv2_100", pretrained=False)
    load_in_order(model, asked.weights)
    model.reset_classifier(len(asked.classes()))
    if asked.frozen:
        # Without FrozenBatchNorm, which it would put in: that works in float32 and is four times slower than eval mode.
        freeze(model, body_names(model), include_bn_running_stats=False)
    model = model.to(memory_format=torch.channels_last)  # its --channels-last
    optimizer = create_optimizer_v2(
        [parameter for parameter in model.parameters() if parameter.requires_grad], "adamw", asked.lr, 0.01
    )
    scheduler, epochs = create_scheduler_v2(optimizer, "cosine", asked.epochs)
    criterion = LabelSmoothingCrossEntropy(0.1)  # its --smoothing
    amp = torch.autocast("cpu", torch.bfloat16) if fast_bfloat16() else nullcontext()  # its --amp --amp-dtype bfloat16
    batches = loader(asked, "train")
    with clock("train"):
        for epoch in range(epochs):
            model.train()
            if asked.frozen:
                for name in body_names(model):
                    model.get_submodule(name).eval()
            for images, labels in batches:
                with amp:
                    loss = criterion(model(images.contiguous(memory_format=torch.channels_last)), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            scheduler.step(epoch + 1)
    top1 = AverageMeter()
    with clock("evaluate"), torch.inference_mode(), amp:
        model.eval()
        for images, labels in loader(asked, "test"):
            logits = model(images.contiguous(memory_format=torch.channels_last))
            top1.update(float(accuracy(logits.float(), labels)[0]), len(labels))
    if asked.export:
        with clock("export"):
            export_onnx(model)
    seen = len(batches) * asked.batch_size * epochs  # its loader leaves out what fills no batch
    return Outcome(top1.avg / 100, "its loader with prefetcher, channels_last, bfloat16, AdamW, cosine", seen)


if __name__ == "__main__":
    main(run, ("timm", "torch"))
