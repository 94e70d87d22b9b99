"""What every peer shares: its command line, its clock and its result file. Imports nothing of Darkroom's.

A peer is a module with a `run(asked, clock) -> Outcome`, started as a process of its own in a folder of its own:

    python -m benchmarks.peers.NAME --task frozen --photos FOLDER --weights FILE --result FILE [--export]

`FOLDER` holds train/CLASS/*.jpg and test/CLASS/*.jpg. `--task frozen` trains the head of a frozen mobilenet_v2, `--task
finetune` all of it. Every peer evaluates once, on all of test, when it has trained: validating after each epoch, which
some do by default, would only slow them down.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

# Small pictures: a smaller square, whole, and no mirror images, where the set says so.
SIZE = int(os.environ.get("BENCH_SIZE", "224"))
SMALL = SIZE < 224
RESIZE = SIZE if SMALL else 256
MIRRORED = 0.0 if SMALL else 0.5  # the share of the images that are learnt from
LEAST_AREA = 0.6 if SMALL else None  # of a random crop; None: as the peer has it
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SUFFIXES = (".jpg", ".jpeg", ".png")
# Two cores decode and compute. Two workers keep the next batches coming while torch computes; more of them would only
# take turns with it.
WORKERS = 2


@dataclass(frozen=True)
class Asked:
    """What a peer is to do: `task` is frozen or finetune, `photos` holds train/ and test/."""

    task: str
    photos: Path
    weights: Path
    epochs: int
    lr: float
    batch_size: int
    seed: int
    export: bool

    @property
    def frozen(self) -> bool:
        """Whether only the head learns."""
        return self.task == "frozen"

    def classes(self) -> list[str]:
        """Return the names of the classes, in order."""
        return sorted(path.name for path in (self.photos / "train").iterdir() if path.is_dir())

    def count(self, split: str) -> int:
        """Return the number of images of a split."""
        return sum(path.suffix.lower() in SUFFIXES for path in (self.photos / split).rglob("*"))


@dataclass
class Clock:
    """Seconds of the phases of a run: `with clock("train"): ...`."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.add(phase, time.perf_counter() - started)

    def add(self, phase: str, seconds: float) -> None:
        """Count seconds that were measured elsewhere."""
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds


@dataclass(frozen=True)
class Outcome:
    """The share of the test images that were answered right, and how the peer was set up, in a few words.

    `seen`: images that it trained on, all epochs together, where that is not every image in each.
    """

    accuracy: float
    setup: str
    seen: int | None = None


Peer = Callable[[Asked, Clock], Outcome]


def main(run: Peer, packages: tuple[str, ...]) -> None:
    """Run a peer as the command line asks and write its result; `packages` are those whose versions matter."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--task", choices=("frozen", "finetune"), required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--export", action="store_true", help="write model.onnx as well")
    options = vars(parser.parse_args())
    result = options.pop("result")
    asked, clock = Asked(**options), Clock()
    outcome = run(asked, clock)
    if asked.export and not Path("model.onnx").exists():
        raise SystemExit("no model.onnx was written")
    seen = asked.count("train") * asked.epochs if outcome.seen is None else outcome.seen
    facts = asdict(outcome) | {
        "images_per_second": seen / clock.seconds["train"],
        "seen": seen,
        "seconds": clock.seconds,
        "n": asked.count("test"),
        "versions": {name: metadata.version(name) for name in packages},
    }
    result.write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n")


def torchvision_model(asked: Asked) -> Any:
    """torchvision's mobilenet_v2 with the weights of the file and a new last layer, its body frozen if so asked."""
    import torch
    from torchvision.models import mobilenet_v2

    model = mobilenet_v2()
    model.load_state_dict(torch.load(asked.weights, weights_only=True))
    model.classifier[1] = torch.nn.Linear(model.last_channel, len(asked.classes()))
    if asked.frozen:
        model.features.requires_grad_(False)
    return model


def load_in_order(model: Any, weights: Path) -> None:
    """Load torchvision's mobilenet_v2 into another implementation of the same network, whose names differ.

    Both list the same tensors in the same order; a shape that differs is refused. The last layer is left as it is.
    """
    import torch

    given = list(torch.load(weights, weights_only=True).items())[:-2]
    own = list(model.state_dict().items())[:-2]
    if [tuple(value.shape) for _, value in own] != [tuple(value.shape) for _, value in given]:
        raise SystemExit("this mobilenet_v2 is built otherwise than torchvision's; its weights do not fit")
    renamed = {name: value for (name, _), (_, value) in zip(own, given, strict=True)}
    model.load_state_dict(renamed, strict=False)


def export_onnx(model: Any) -> None:
    """Write model.onnx by torch's TorchScript exporter: deprecated, but done in 0.3 s where the new one takes 7 s."""
    import torch

    torch.onnx.export(
        model.eval().float(), (torch.zeros(1, 3, SIZE, SIZE),), "model.onnx", dynamo=False,
        input_names=["images"], output_names=["logits"], dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}},
    )  # fmt: skip


def fast_bfloat16() -> bool:
    """Whether the processor computes bfloat16 in hardware: elsewhere autocast would slow a peer down."""
    import torch

    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
