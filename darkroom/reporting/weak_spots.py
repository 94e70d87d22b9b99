"""Find weak spots of a classifier and its data: slices of the test set, doubtful labels, leaks and poor pictures."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.core.params import read_yaml
from darkroom.core.runtime import from_environment
from darkroom.images.batches import balanced_rows
from darkroom.images.formats import SUFFIXES
from darkroom.images.quality import KINDS, Quality, doubtful, quality
from darkroom.images.shards import SPLITS, Shards, open_split
from darkroom.metrics.label_errors import agree_enough, out_of_fold
from darkroom.metrics.slices import FEWEST, Slice, divisible, slices
from darkroom.metrics.summary import Spread
from darkroom.reporting.evaluation import Material
from darkroom.reporting.leaks import Part, leaks
from darkroom.reporting.pictures import data_uri, encoded
from darkroom.reporting.runs import INDEX, PARAMS, groups
from darkroom.sources.cards import load_card
from darkroom.sources.labels import LayoutOptions
from darkroom.sources.matching import FileFinder
from darkroom.sources.open import is_table
from darkroom.sources.tables import find_tables
from darkroom.sources.trees import ADDED, DOWNLOADS, FACTS, MEMBER, RAW, address_of, is_card, open_tree

LOOKED_AT = 5000  # pictures of a split, at most, evenly of each class
SHOWN, LABELS_SHOWN, SIDE = 8, 24, 96  # pictures of a kind, those whose label looks wrong, and the side of each
AT_ONCE = 256


def slices_of_test(material: Material, root: Path) -> tuple[list[Slice], list[str]]:
    """Return the slices of the test set, the surest to be worse first, and notes about columns that are left out.

    Slices are by group, file type, size, shape, brightness, and the columns of the source's table.
    """
    own, samples = material.test.predictions, material.test.shards.samples()
    sides = _sides(samples)
    texts: dict[str, Sequence[str]] = {
        "group": own.groups or [""] * len(own),
        "file type": [Path(row["location"]).suffix.lower() for row in samples],
    }
    numbers = {"shorter side": _known(sides.min(axis=1)), "long over short side": _shape(sides)}
    if len(own) <= LOOKED_AT:
        numbers["brightness"] = measured(material.test.shards, np.arange(len(own))).brightness
    notes = []
    try:
        columns = source_columns(root, [row["location"] for row in samples])
    except (DarkroomError, OSError) as error:
        columns = {}
        notes.append(f"The columns of the source's table are not among them: {error}.")
    measures, words, left_out = divisible(columns)
    texts |= {f"column {name}": cells for name, cells in words.items()}
    numbers |= {f"column {name}": values for name, values in measures.items()}
    spread = Spread(own, 0, 0)
    found = slices(own.scorer.correct, texts, numbers, spread.effect, spread.z)
    looked_at = {part.column for part in found}
    left_out |= {
        name: f"no part of {FEWEST} images beside others"
        for name in (*measures, *words) if f"column {name}" not in looked_at
    }  # fmt: skip
    if left_out:
        named = ", ".join(f"{name} ({why})" for name, why in left_out.items())
        notes.append(f"Columns of the source's table that were left out: {named}.")
    return found, notes


def source_columns(root: Path, locations: Sequence[str]) -> dict[str, list[str]]:
    """Return the columns of the source's table but those of paths, labels and groups.

    A column has a cell for each of `locations`, "" for none. Reads the source again, or what fetch made of a card or an
    object store; {} where the labels did not come from a table. Raises DarkroomError where a table cannot be read
    again, or does not name any of `locations`.
    """
    facts, params = root / "data/raw" / FACTS, read_yaml(root / PARAMS)
    if not facts.exists() or files.read_json(facts).get("layout") != "csv":
        return {}
    options = LayoutOptions(**{item.name: params[item.name] for item in fields(LayoutOptions) if item.name in params})
    indexed = [row["location"] for row in files.read_csv(root / INDEX)]
    indexed = [name for name in indexed if not name.startswith(ADDED)]
    text = str(params.get("source", ""))
    source, prefix, alone = root / text, "", False
    if is_card(source) or address_of(text):
        options = load_card(source).options(options) if is_card(source) else options
        source, prefix = _where_the_files_lie(root, indexed)
    elif source.is_file():
        alone = is_table(source)
        prefix = "" if alone else source.name + MEMBER
    if not source.exists():
        raise DarkroomError(f"{source} does not exist any more")
    tree = open_tree(source.parent if alone else source)
    images = [name.removeprefix(prefix) for name in indexed]
    tree.files[:] = [name for name in tree.files if not name.lower().endswith(SUFFIXES)
                     and (name == source.name or not alone)]  # fmt: skip
    found: dict[str, dict[str, str]] = {}
    for table in find_tables(tree, images, options, must=True).tables:
        named = FileFinder(images, table.folder).find_all(table.frame[table.path].tolist())[0]
        for column in table.columns:
            if column not in (table.path, table.label, options.group_by, *table.one_hot):
                cells = zip(named, table.frame[column].tolist(), strict=True)
                found.setdefault(column, {}).update({prefix + name: cell for name, cell in cells if name})
    if found and not any(location in cells for cells in found.values() for location in locations):
        raise DarkroomError(f"{source} does not name any test image now")
    return {column: [cells.get(location, "") for location in locations] for column, cells in found.items()}


def _where_the_files_lie(root: Path, indexed: Sequence[str]) -> tuple[Path, str]:
    """Return the folder or archive that the files at `indexed` came from, and what all of these begin with.

    They are a card's or an object store's. Raises DarkroomError where they came from several.
    """
    name, member, _ = indexed[0].partition(MEMBER)
    prefix = name + member if member else name[: name.find("/") + 1]
    base = from_environment().downloads if prefix.startswith(DOWNLOADS) else root / "data/raw"
    if base is None or not prefix.startswith((RAW, DOWNLOADS)) or not all(one.startswith(prefix) for one in indexed):
        raise DarkroomError("its files lie in several archives, or where DARKROOM_DOWNLOADS does not lead any more")
    return base / prefix.removeprefix(RAW).removeprefix(DOWNLOADS).removesuffix(MEMBER), prefix


def doubtful_pictures(shards: Path) -> dict[str, Any]:
    """Return, of each kind that occurs, how many pictures there are of it and the worst with where they lie.

    `looked_at` and `of`: pictures that were measured, and that there are.
    """
    rows: list[tuple[Shards, int]] = []
    samples: list[dict[str, str]] = []
    parts: list[Quality] = []
    count = 0
    for split in SPLITS:
        images = open_split(shards, split)
        count += len(images)
        if not len(images):
            continue
        chosen = balanced_rows(images.labels, len(images.classes), LOOKED_AT)
        listed = images.samples()
        rows += [(images, int(at)) for at in chosen]
        samples += [listed[at] for at in chosen]
        parts.append(measured(images, chosen))
    if not rows:
        return {"looked_at": 0, "of": 0, "kinds": []}
    found = Quality(*(np.concatenate([getattr(part, name) for part in parts])
                      for name in ("brightness", "contrast", "sharpness")))  # fmt: skip
    kinds = doubtful(found, _sides(samples), int(rows[0][0].row_shape[0]))
    shown = []
    for kind in KINDS:
        worst = kinds[kind][:SHOWN]
        pictures = [(_picture(*rows[at]), samples[at]["location"]) for at in worst]
        if pictures:
            shown.append({"kind": kind, "count": len(kinds[kind]), "pictures": pictures})
    return {"looked_at": len(rows), "of": count, "kinds": shown}


def doubtful_labels(material: Material, root: Path) -> dict[str, Any]:
    """Return the pictures of all splits whose label looks wrong to classifiers that have not learnt from them.

    `count` of `looked_at`, in words by `split`, and the likeliest as (picture, file, split, label, answer). Nothing to
    look at without cached features, of a network that learns as a whole; none is shown where the classifiers are
    `weak`: they err on most pictures, or answer hardly better than by chance.
    """
    if not material.answerer.saved.frozen:
        return {"looked_at": 0, "count": 0, "split": "", "pictures": []}
    shards = material.answerer.shards
    found = out_of_fold(shards, material.answerer.cached, groups(root))
    if not agree_enough(found.labels, found.probabilities):
        return {"looked_at": len(found.ids), "count": 0, "split": "", "pictures": [], "weak": True}
    parts = {split: open_split(shards, split) for split in SPLITS}
    samples = {split: images.samples() for split, images in parts.items()}
    first = {split: found.split.index(split) for split in parts if split in found.split}
    shown = []
    for at in found.suspects[:LABELS_SHOWN].tolist():
        split = found.split[at]
        row = at - first[split]
        names = found.classes[found.labels[at]], found.classes[found.proposed[at]]
        shown.append((_picture(parts[split], row), samples[split][row]["location"], split, *names))
    counts = Counter(found.split[at] for at in found.suspects.tolist())
    return {
        "looked_at": len(found.ids), "count": len(found.suspects), "pictures": shown,
        "split": ", ".join(f"{counts[split]:,} of {split}" for split in SPLITS if counts[split]),
    }  # fmt: skip


def leaking_pictures(material: Material) -> list[tuple[str, str, str, str, str]]:
    """Return the pairs of darkroom.reporting.leaks: two pictures with their files, and the split of the second one."""
    if not material.answerer.saved.frozen:
        return []
    train = open_split(material.answerer.shards, "train")
    cached = open_split(material.answerer.cached, "train", material.answerer.shards)
    features = cached.rows(np.arange(len(cached)))[:, 0] if len(cached) else np.empty((0, 1), np.float32)
    others = {"test": material.test, "val": material.val}
    found = leaks(
        Part(train, features),
        {split: Part(answers.shards, answers.features) for split, answers in others.items()},
    )
    files = train.samples()
    return [
        (
            _picture(train, leak.train), files[leak.train]["location"],
            _picture(others[leak.split].shards, leak.row), others[leak.split].locations[leak.row], leak.split,
        )
        for leak in found
    ]  # fmt: skip


def _picture(images: Shards, row: int) -> str:
    return data_uri(encoded(images.rows(np.array([row]))[0], SIDE, 50))


def measured(images: Shards, rows: np.ndarray) -> Quality:
    """Return the quality of the pictures at `rows` int64 (n,), read a few at a time."""
    parts = [quality(images.rows(rows[at : at + AT_ONCE])) for at in range(0, len(rows), AT_ONCE)]
    empty = np.empty(0)
    return Quality(*(np.concatenate([getattr(part, name) for part in parts] or [empty])
                     for name in ("brightness", "contrast", "sharpness")))  # fmt: skip


def _sides(samples: Sequence[dict[str, str]]) -> np.ndarray:
    """Return width and height of each sample's file, int64 (n, 2), 0 where they are unknown."""
    values = [(int(row.get("width") or 0), int(row.get("height") or 0)) for row in samples]
    return np.array(values, np.int64).reshape(-1, 2)


def _known(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, values, np.nan)


def _shape(sides: np.ndarray) -> np.ndarray:
    return np.where(sides.min(axis=1) > 0, sides.max(axis=1) / np.maximum(sides.min(axis=1), 1), np.nan)
