"""How soon `darkroom drift` sees a change, and how often it sees one that is not there.

    python -m benchmarks.drift RUN[:OTHER]…

The validation and test images of a run are mixed. A random part, as large as its validation set, is what is known; the
stream is drawn with replacement from the others, as the exported model answers them, and tested after every 25 photos.
What changes, from the first photo on: the light (pixels times 0.6), the shares of the classes (a random half of the
photos is replaced by photos of the first class), or a new class: 3 of 10 photos are those of the run OTHER or, without
it, have their quadrants swapped, which no training image is like.
"""

import sys
from pathlib import Path

import numpy as np

from darkroom.images.shards import open_split
from darkroom.reporting.drift import findings
from darkroom.serve.predictor import Predictor
from darkroom.serve.watch import VALUES, Watch, bins, measure

STREAMS, PHOTOS, EVERY = 60, 1000, 25
CHANGED = 10  # streams of each change
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]  # answers (n,), which are unknown (n,), bins (n, V)


def counted(model: Predictor, images: np.ndarray) -> Rows:
    """Return what a watch counts of pictures (n, S, S, 3)."""
    parts = [images[start : start + 64] for start in range(0, len(images), 64)]
    answers = [(part, model.answers(part)) for part in parts]
    rows = [np.stack([bins(value) for value in measure(*each).values()], axis=1) for each in answers]
    found = [answer for _, some in answers for answer in some]
    labels, unknown = [int(each.probabilities.argmax()) for each in found], [each.unknown for each in found]
    return np.array(labels), np.array(unknown), np.concatenate(rows)


def swapped(images: np.ndarray) -> np.ndarray:
    """Return pictures with their upper left quadrant at the lower right, and so on."""
    side = images.shape[1] // 2
    return np.roll(images, (side, side), axis=(1, 2))


def first_alarm(watch: Watch, known, rows: Rows, chosen: np.ndarray) -> int:
    """Return the number of photos until the first alarm in a stream; 0 for none."""
    for so_far, at in enumerate(chosen.tolist(), start=1):
        watch.count(int(rows[0][at]), bool(rows[1][at]), rows[2][at].tolist())
        if so_far % EVERY == 0 and findings(watch, *known)[0].alarm:
            return so_far
    return 0


def main() -> None:
    """Print a line for each run and change: the alarms, and the photos until the first one."""
    for argument in sys.argv[1:]:
        name, _, stranger = argument.partition(":")
        run = Path(name)
        model = Predictor(run / "models/export")
        val, test = open_split(run / "data/shards", "val"), open_split(run / "data/shards", "test")
        if len(test) < 0.9 * len(val):  # a stream from few photos shows the same ones again, as no real one does
            print(f"{run.name}: {len(test)} test images are too few beside {len(val)} validation images")
            continue
        # Of val and test together one random part, as large as val, is what is known: a split may differ from another.
        images = np.concatenate([part.rows(np.arange(len(part))) for part in (val, test)])
        kept = np.concatenate([val.labels, test.labels])
        plain, random = counted(model, images), np.random.default_rng(0)
        strange = swapped(images)
        if stranger:
            strangers = open_split(Path(stranger) / "data/shards", "train")
            strange = strangers.rows(np.arange(len(images)) % len(strangers))
        other = {"light": counted(model, (images * 0.6).astype(np.uint8)), "new class": counted(model, strange)}
        for change in ("none", "light", "shares", "new class"):
            found = []
            for _ in range(STREAMS if change == "none" else CHANGED):
                order = random.permutation(len(images))
                mine, rest = order[: len(val)], order[len(val) :]
                known = plain[0][mine], plain[1][mine], dict(zip(VALUES, plain[2][mine].T, strict=True))
                chosen = random.choice(rest, PHOTOS)
                rows = plain
                if change == "light":
                    rows = other["light"]
                elif change == "shares":
                    chosen = np.where(random.random(PHOTOS) < 0.5, random.choice(rest[kept[rest] == 0], PHOTOS), chosen)
                elif change == "new class":
                    new = random.random(PHOTOS) < 0.3
                    labels, unknown, binned = zip(plain, other[change], strict=True)
                    rows = np.concatenate(labels), np.concatenate(unknown), np.concatenate(binned)
                    chosen = np.where(new, chosen + len(images), chosen)
                found.append(first_alarm(Watch(model.version, model.classes), known, rows, chosen))
            seen = sorted(count for count in found if count)
            when = f"after {np.median(seen):.0f} photos, {seen[-1]} at most" if seen else ""
            print(f"{run.name}, {len(val)} known, {change}: {len(seen)} of {len(found)} alarm {when}", flush=True)


if __name__ == "__main__":
    main()
