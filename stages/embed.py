"""Build the backbone and, when it is frozen, run it once over every image: shards -> features, models/body, samples."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core.errors import DarkroomError
from darkroom.core.params import load, param
from darkroom.core.progress import progress, say
from darkroom.core.runtime import from_environment
from darkroom.core.stage import note, run
from darkroom.images.augment import STRENGTHS
from darkroom.images.shard_writer import write_shards
from darkroom.images.shards import SPLITS, Shards
from darkroom.model import freezing, weights
from darkroom.model.backbones import BACKBONES, TIMM
from darkroom.model.embedding import Copies, batch_size, embedded, engine_name
from darkroom.model.exact_body import ARITHMETIC, calibration_pictures, frozen_graph, write_body
from darkroom.model.runner import EXACT
from darkroom.reporting.contact_sheet import draw_samples


@dataclass(frozen=True)
class EmbedParams:
    """The params of embed."""

    seed: int = param("Seed of every random choice", at_least=0, at_most=2**63 - 1)
    backbone: str = param("The network that turns a picture into features", choices=BACKBONES, prefix=TIMM)
    weights: str = param("none, imagenet, package, a name of torchvision's, a file, or another run's models/classifier")
    freeze: str = param("backbone: only the head learns; none: everything; or a block's name: all up to it is frozen")
    arithmetic: str = param(
        "What a frozen backbone computes in. exact: the same bits on every processor; auto: exact where it can be",
        choices=ARITHMETIC,
    )
    augment: str = param("How far training images are changed", choices=STRENGTHS)
    views: int = param("Augmented copies of each training image that are embedded when `augment` is on",
                       at_least=0, at_most=1000)  # fmt: skip


def main(shards: Path, features: Path, body: Path, samples: Path) -> str:
    """Write BODY, the features of SHARDS/{train,val,test} (empty tables unless freeze is backbone), and SAMPLES."""
    params = load(EmbedParams)
    splits = {split: Shards(shards / split) for split in SPLITS}
    frozen = params.freeze == freezing.EVERYTHING
    resolved = resolve(params, splits["train"])
    if frozen and params.weights == "none":
        say(
            "note: a frozen backbone with random weights (weights: none) knows nothing; set `weights` or `freeze: none`"
        )
    draw_samples(shards / "train", samples)
    graph = frozen_graph(params.arithmetic, resolved, calibration_pictures(splits["train"])) if frozen else None
    facts = write_body(body, resolved, graph)
    name = f"{params.backbone} with {resolved.facts['parameters']:,} parameters"
    if not frozen:
        for split in SPLITS:
            write_features(features / split, splits[split], [])
        return f"{name}, to be trained with the head: no features"
    runtime, arithmetic = from_environment(), facts["arithmetic"]
    made_by: dict[str, Any] = {"engine": engine_name(runtime)}
    if arithmetic["kind"] == "exact":
        made_by = {"engine": EXACT, "unit": arithmetic["unit"], "largest": arithmetic["largest"]}
    started, done = time.monotonic(), 0
    for split in SPLITS:
        count = params.views if split == "train" and params.augment != "none" else 0
        copies = Copies(count, params.augment, bool(splits[split].index["flips"]), params.seed)
        rows = embedded(splits[split], body, copies, runtime)
        batches = -(-len(splits[split]) // batch_size(splits[split], runtime))
        shown = progress(rows, f"embed {split}", batches, "batch")
        write_features(features / split, splits[split], shown, made_by)
        done += len(splits[split]) * (1 + count)
    seconds = time.monotonic() - started
    reason = {"not_exact_because": arithmetic["why"]} if "why" in arithmetic else {}
    note(arithmetic=arithmetic["kind"], **reason)
    note(engine=engine_name(runtime), images_per_second=round(done / seconds, 1))
    why = f" ({arithmetic['why']})" if reason else ""
    images = sum(len(splits[split]) for split in SPLITS)
    of = f"{images:,} images" + (f" and {done - images:,} augmented copies" if done > images else "")
    return f"{name}: {resolved.facts['features']:,} {arithmetic['kind']} features{why} of each of {of}"


def resolve(params: EmbedParams, train: Shards) -> weights.Resolved:
    """Return the body and its facts, for the size, mean and std of the training images. Raises DarkroomError."""
    if not len(train):
        raise DarkroomError(f"{train.folder} holds no images; see data/rejects.csv, and `source` in params.yaml")
    facts = train.index
    resolved = weights.resolve(
        params.backbone, params.weights, facts["image_size"], params.seed, facts["mean"], facts["std"]
    )
    freezing.check(resolved.body.net, params.freeze)
    return resolved


def write_features(
    folder: Path, shards: Shards, batches: Iterable[np.ndarray], made_by: dict[str, Any] | None = None
) -> None:
    """Write `batches` (b, views, D) of features with the labels and ids of `shards`, in order; none: an empty table.

    `made_by` goes into index.json: the `engine`, which export compares with the one that will serve the model; for
    exact features, which are multiples of a power of two, also that `unit` and their `largest` possible magnitude.
    Raises DarkroomError for features that are not finite.
    """
    samples = zip(shards.labels.tolist(), shards.ids(), strict=True)
    with write_shards(folder, "features", shards.classes) as writer:
        for batch in batches:
            if not np.isfinite(batch).all():
                reason = "the backbone's features are not finite numbers"
                raise DarkroomError(f"{reason}; choose other weights, or weights: none")
            for row, (label, sample_id) in zip(batch, islice(samples, len(batch)), strict=True):
                writer.add(row, label, sample_id)
        writer.close(**(made_by or {}))


if __name__ == "__main__":
    run(main)
