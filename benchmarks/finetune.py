"""Fine-tuning speed: against the same network on one resident batch, and against a tutorial's float32 loop.

    python -m benchmarks.finetune [--backbone resnet18 …] [--images FOLDER] [--batch-size 16] [--rounds 5]

They take turns, so that whatever else the machine does falls on all of them; medians over the rounds are compared. On a
GPU a resident batch is also run with whatever kernels are fastest, which give other bits each time.
"""

import argparse
import dataclasses
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from darkroom.core import runtime
from darkroom.core.params import load
from darkroom.images.augment import STRENGTHS
from darkroom.images.batches import Table
from darkroom.images.decode import decode
from darkroom.images.framing import Framing
from darkroom.images.shard_writer import write_shards
from darkroom.images.shards import Shards
from darkroom.model import builders, classifier, freezing
from darkroom.model.network import Body, Network
from darkroom.training import torch_optimizers, torch_training
from darkroom.training.data import ImageInputs
from darkroom.training.fit import Fit
from darkroom.training.recipe import Recipe
from darkroom.training.step import Phase

SIZE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RECIPE = dataclasses.replace(
    load(Recipe, Path(__file__).parents[1] / "params.yaml"),  # the project's values of all other params
    seed=0, train_seed=None, min_steps=0, recipe="custom",
    freeze="none", head="linear", hidden=1, dropout=0.0, epochs=1000, batch_size=16, optimizer="sgd", lr=0.001,
    momentum=0.9, weight_decay=1e-4, l1=0.0, schedule="constant", warmup_epochs=0.0, grad_clip=0.0, label_smoothing=0.0,
    mixup=0.0, cutmix=0.0, ema=0.0, balance="none", patience=0, monitor="val_loss", augment="standard", thaw_epoch=0,
    thaw_lr_factor=1.0, batch_norm="batch", lr_decay=1.0, precision="auto", compile="never",
)  # fmt: skip

PIPELINE, RESIDENT, TUTORIAL = "pipeline", "one resident batch", "tutorial in float32"
ANY_KERNELS = "one resident batch, any kernels"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backbone", nargs="+", default=["resnet18"], metavar="NAME")
    parser.add_argument("--images", type=Path, default=Path("../shared/data/dogs-vs-cats"))
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8, help="steps of each in a round")
    parser.add_argument("--no-tutorial", action="store_true", help="leave out the tutorial's loop")
    asked = parser.parse_args()
    paths = sorted(path for path in asked.images.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not paths:
        raise SystemExit(f"finetune: --images {asked.images} holds no .jpg, .jpeg or .png; name a folder of photos")
    # A small folder comes round again: each photo is a row of its own then.
    paths = list(itertools.islice(itertools.cycle(paths), asked.steps * asked.batch_size))
    recipe = dataclasses.replace(RECIPE, batch_size=asked.batch_size)
    environment = runtime.from_environment()
    device = runtime.torch_device(environment)
    dtype = torch_training.choose_dtype("auto", device)
    with tempfile.TemporaryDirectory() as folder:
        table = photos(Path(folder) / "train", paths)
        for backbone in asked.backbone:
            turns = {
                PIPELINE: pipeline(table, backbone, recipe, device, dtype),
                RESIDENT: resident(backbone, recipe, device, dtype, asked.steps),
            }
            if device.type == "cuda":
                turns[ANY_KERNELS] = any_kernels(resident(backbone, recipe, device, dtype, asked.steps))
            if not asked.no_tutorial:
                turns[TUTORIAL] = tutorial(paths, backbone, recipe, device, environment.workers)
            seconds = take_turns(turns, asked.rounds)
            kind = str(dtype).removeprefix("torch.")
            print(f"{backbone}, {kind}, batches of {asked.batch_size}, {len(paths)} photos of {SIZE} px a turn")
            for name, took in seconds.items():
                ratio = "" if name == PIPELINE else f"; pipeline / this: {_ratio(seconds, name):.3f}"
                speed = len(paths) / statistics.median(took)
                print(f"  {name}: {speed:.1f} images a second{ratio}", flush=True)


def take_turns(turns: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds that each took in each of the rounds, after one that warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for turn in range(rounds + 1):
        for name, run in turns.items():
            started = time.monotonic()
            run()
            if turn:
                seconds[name].append(time.monotonic() - started)
    return seconds


def _ratio(seconds: dict[str, list[float]], other: str) -> float:
    """Return the median over the rounds of how many times as fast the pipeline was as `other`."""
    return statistics.median(b / a for a, b in zip(seconds[PIPELINE], seconds[other], strict=True))


def network(backbone: str, device: torch.device) -> Network:
    """Body and head for two classes, weights of the seed, channels last."""
    net = builders.build(backbone, SIZE, seed=0)
    features = builders.features_of(net, SIZE)
    linear = classifier.Head("linear", 1, 0.0)
    head = classifier.build(linear, classifier.initial(linear, features, 2, seed=0))
    built = Network(Body(net, MEAN, STD), head, freezing.NOTHING)
    return built.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def photos(folder: Path, paths: list[Path]) -> Table:
    """Return the photos as preprocess writes them, in shards of two classes."""
    framing = Framing(size=SIZE, resize="crop", short_side=256)
    decoded: dict[Path, np.ndarray] = {}
    with write_shards(folder, "images", ["a", "b"]) as writer:
        for index, path in enumerate(paths):
            if path not in decoded:
                decoded[path] = decode(path.read_bytes(), framing)
            writer.add(decoded[path], index % 2, f"{index:064x}")
        writer.close()
    return Table([Shards(folder)])


def pipeline(
    table: Table, backbone: str, recipe: Recipe, device: torch.device, dtype: torch.dtype
) -> Callable[[], object]:
    """Return an epoch of the training loop: shards read from files, augmented, all else as in stages/train.py."""
    nothing = Table(table.parts, [np.empty(0, np.int64)])
    model = network(backbone, device)
    groups = [*freezing.groups(model.body.net), list(model.head.parameters())]
    train = ImageInputs(table, device, 0, STRENGTHS[recipe.augment], True)
    val = ImageInputs(nothing, device, 0, None, True)
    fit = Fit([Phase(model, groups, train, val, 0, recipe.epochs, recipe.lr, dtype)], recipe, device)
    fit.begin(0)
    epochs = iter(range(recipe.epochs))
    return lambda: fit.train_epoch(next(epochs), 0, [0.0, 0, 0])


def resident(
    backbone: str, recipe: Recipe, device: torch.device, dtype: torch.dtype, count: int
) -> Callable[[], object]:
    """Return the same network, dtype and batch size on one random batch that is there already: no reading, no
    augmentation."""
    model = network(backbone, device).train()
    optimizer = torch_optimizers.build(
        "sgd", torch_optimizers.parameter_groups([list(model.parameters())], 1.0), 0.001, 1e-4, 0.9
    )
    images = torch.rand(recipe.batch_size, 3, SIZE, SIZE, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 2, (recipe.batch_size,), device=device)

    def run() -> None:
        for _ in range(count):
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                logits = model(images)
            nn.functional.cross_entropy(logits.float(), labels).backward()
            torch_optimizers.step(optimizer)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return run


def any_kernels(run: Callable[[], object]) -> Callable[[], object]:
    """`run` with the kernels that cuDNN finds fastest, whether or not they add up in the same order each time."""

    def freely() -> None:
        mode = torch.get_deterministic_debug_mode()
        torch.set_deterministic_debug_mode("default")
        torch.backends.cudnn.benchmark = True
        try:
            run()
        finally:
            torch.backends.cudnn.benchmark = False
            torch.set_deterministic_debug_mode(mode)

    return freely


def tutorial(
    paths: list[Path], backbone: str, recipe: Recipe, device: torch.device, workers: int
) -> Callable[[], object]:
    """Return an epoch as tutorials write it: a DataLoader over files, torchvision's transforms, float32, a plain
    optimizer."""
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import models, transforms

    transform = transforms.Compose(
        [transforms.RandomResizedCrop(SIZE), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
         transforms.Normalize(MEAN, STD)]
    )  # fmt: skip

    class Photos(Dataset):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return transform(Image.open(paths[index]).convert("RGB")), index % 2

    model = models.get_model(backbone, weights=None, num_classes=2).to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9, weight_decay=1e-4)
    loader = DataLoader(Photos(), batch_size=recipe.batch_size, shuffle=True, num_workers=workers)

    def run() -> float:
        total = 0.0
        for images, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total

    return run


if __name__ == "__main__":
    main()
