"""`darkroom next FOLDER`: which of these unlabelled photos to label first."""

import argparse
from pathlib import Path

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.core.params import read_yaml
from darkroom.core.progress import say
from darkroom.core.runtime import from_environment
from darkroom.review.unlabelled import Cache, Proposal, keep_proposed, propose
from darkroom.splits.corrections import read_corrections

SHOWN = 10


def main(arguments: list[str]) -> int:
    """Return 0: done."""
    parser = argparse.ArgumentParser(
        prog="darkroom next",
        description="Choose which of these unlabelled photos to label next: those that the model is unsure about, "
        "and unlike each other. `darkroom review` shows them.",
    )
    parser.add_argument("source", type=Path, metavar="FOLDER", help="a folder, zip or tar of photos without labels")
    parser.add_argument("--count", type=int, default=50, help="how many (default: %(default)s)")
    asked = parser.parse_args(arguments)
    if asked.count < 1:
        raise DarkroomError(f"--count {asked.count}: expected at least one photo")
    root = Path.cwd()
    cache = Cache(root, asked.source)
    cache.update(from_environment())
    proposals, classes = propose(cache, known_photos(root), asked.count, int(read_yaml(root / "params.yaml")["seed"]))
    keep_proposed(cache, proposals)
    say(in_words(proposals, classes, len(cache)))
    return 0


def known_photos(root: Path) -> set[str]:
    """Return the sha256 of all images of the run, and of all photos that somebody has decided about."""
    table = root / read_yaml(root / "params.yaml")["added"]
    decided = {row.sha256 for row in read_corrections(table)} if table.exists() else set()
    return decided | {row["sha256"] for row in files.read_csv(root / "data/index.csv")}


def in_words(proposals: list[Proposal], classes: list[str], total: int) -> str:
    """Return the first proposals as a table, and what to do with them."""
    lines = [f"{len(proposals):,} of {total:,} photos to label next, the most useful first:"]
    for proposal in proposals[:SHOWN]:
        best = int(proposal.probabilities.argmax())
        lines.append(f"  {proposal.photo.location}: {classes[best]}? ({proposal.probabilities[best]:.0%})")
    if len(proposals) > SHOWN:
        lines.append(f"  … and {len(proposals) - SHOWN:,} more")
    return "\n".join([*lines, "`darkroom review` shows them under Label next"])
