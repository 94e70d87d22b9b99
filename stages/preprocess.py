"""Decode every image once: source, index, split, framing -> data/shards, data/rejects.csv, plots/duplicates.png."""

from dataclasses import dataclass
from pathlib import Path

from darkroom.core import files
from darkroom.core.params import load, param
from darkroom.core.progress import say
from darkroom.core.runtime import from_environment
from darkroom.core.stage import run
from darkroom.images.assemble import write_splits
from darkroom.images.framing import Framing
from darkroom.images.preprocess import check_rejects, decoded, rows_of_splits
from darkroom.images.shards import DATA
from darkroom.reporting.overview import blurred, draw_duplicates, summary
from darkroom.sources.lost_classes import report_lost
from darkroom.sources.trees import FACTS, Locations
from darkroom.splits.groups import groups_of


@dataclass(frozen=True)
class PreprocessParams:
    """The params of preprocess."""

    source: str = param("A card, a folder of class folders, a .csv, a .zip or a .tar of any of these")
    max_rejects: float = param("Share of the files that may be undecodable before the run stops", at_least=0, at_most=1)


def main(raw: Path, index: Path, split: Path, framing: Path, shards: Path, rejects: Path, duplicates: Path) -> str:
    """Decode the images in INDEX, from the source or RAW, into SHARDS/train, /val and /test with FRAMING."""
    params, runtime = load(PreprocessParams), from_environment()
    facts, indexed, divided = files.read_json(raw / FACTS), list(files.read_csv(index)), list(files.read_csv(split))
    shape = Framing(**files.read_json(framing), **facts.get("levels", {}))
    locations = Locations(Path(params.source), raw, runtime.downloads)
    rows = rows_of_splits(indexed, {row["id"]: row["split"] for row in divided})
    with decoded(rows, locations, shape, runtime, shards) as (prepared, scratch):
        check_rejects(prepared, params.max_rejects, rejects)
        if lost := prepared.lost_classes():
            report_lost(lost, facts.get("missing_classes", "stop"))
        more = {"flips": facts["flips"], "card": facts["card"]}
        write_splits(prepared, scratch, shape, shards, more, runtime.workers, groups_of(indexed, divided))
    described = summary(indexed, divided, prepared, facts)
    for note in blurred(described["sizes"], shape.size):
        say(f"preprocess: {note}")
        described["notes"].append(note)
    files.write_json(shards / DATA, described)
    draw_duplicates(indexed, divided, prepared, locations, duplicates)
    counts = {name: len(prepared.kept(name)) for name in prepared.rows}
    parts = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    return f"{parts} images of {shape.size} px ({len(prepared.rejects):,} set aside)"


if __name__ == "__main__":
    run(main)
