"""Find, verify and index the labelled images that `source` names -> data/raw, data/index.csv."""

from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path

from darkroom.core import files
from darkroom.core.errors import SourceError
from darkroom.core.git import git_output
from darkroom.core.params import load, param
from darkroom.core.progress import say
from darkroom.core.runtime import from_environment
from darkroom.core.stage import run
from darkroom.images.levels import common_levels
from darkroom.sources.index import read_added, write_index
from darkroom.sources.labels import LayoutOptions
from darkroom.sources.layouts import LAYOUTS
from darkroom.sources.open import Opened, open_source, write_facts
from darkroom.sources.trees import address_of

SHOWN = 12
SPLIT_ORDER = ("train", "val", "test")


@dataclass(frozen=True)
class FetchParams:
    """The params of fetch."""

    source: str = param("A card, a folder of class folders, a .csv, a .zip or a .tar of any of these")
    added: str = param("A table of photos that were labelled later, used for training only; in Git")
    layout: str = param("Where the labels are; auto: detected", choices=LAYOUTS)
    label_pattern: str = param(
        "Regular expression whose group is the label in a file's name; empty: up to the separator"
    )
    path_column: str = param("The table's column of paths or ids; auto knows the usual names")
    label_column: str = param("The table's column of labels; auto knows the usual names")
    split_column: str = param("The table's column with an official split; auto knows the usual names")
    group_by: str = param("A column, or a regular expression on the path; images of one value stay in one split")
    class_level: int | str = param(
        "Level of the class folders below the source, 1 directly in it; auto compares the branches",
        at_least=1, also=("auto",),
    )  # fmt: skip
    missing_classes: str = param("Classes without a single image: stop, or drop these classes",
                                 choices=("stop", "drop"))  # fmt: skip

    def options(self) -> LayoutOptions:
        """Return the params that define how labels are read."""
        return LayoutOptions(**{field.name: getattr(self, field.name) for field in fields(LayoutOptions)})


def main(raw: Path, index: Path) -> str:
    """Write a row of INDEX for every labelled image of the source; files of a card are put into RAW."""
    params, runtime = load(FetchParams), from_environment()
    source = Path(params.source)
    with files.fresh_folder(raw) as folder:
        try:
            opened = open_source(source, folder, params.options(), runtime)
            _report(source, opened)
            _note_experiments_in_copies(source)
            added = read_added(Path(params.added), folder)
            if added:
                say(f"{params.added}: {len(added):,} photos that were labelled later; they are used for training only")
            opened.samples += added
            count, ranges, origins = write_index(
                opened.samples, opened.locations, index, runtime, missing=opened.missing_classes
            )
            opened.levels, notes = common_levels(ranges)
            notes += origins
            _say_notes(notes)
            opened.notes += notes
            write_facts(opened, folder)
        except SourceError as error:  # name the final folder, not the temporary one
            raise SourceError(str(error).replace(str(folder), str(raw))) from error
    return f"{count:,} images of {len({sample.label for sample in opened.samples})} classes"


def _report(source: Path, opened: Opened) -> None:
    """Print the layout and the classes, and the classes and an example of each official split."""
    counts = Counter((sample.split, sample.label) for sample in opened.samples)
    examples = {sample.split: sample for sample in reversed(opened.samples)}
    whole = Counter(sample.label for sample in opened.samples)
    say(f"{address_of(source) or source}: layout {opened.layout}, {len(whole)} classes: {_shown(whole)}")
    for split in sorted(examples, key=[*SPLIT_ORDER, ""].index):
        classes = Counter({label: count for (its, label), count in counts.items() if its == split})
        example = f"{examples[split].location} is {examples[split].label}"
        say(f"  {split or 'no official split'}: {classes.total():,} images of {len(classes)} classes"
            + (f" ({_shown(classes)})" if len(examples) > 1 else "") + f"; {example}")  # fmt: skip
    _say_notes(opened.notes)


def _note_experiments_in_copies(source: Path) -> None:
    """Print how experiments in a copy of the project find a source that is not in Git, and keep it out of Git."""
    if source.is_absolute() or not source.exists() or Path(f"{str(source).rstrip('/')}.dvc").exists():
        return
    outside = ".." in source.parts
    if outside or git_output(Path(), "ls-files", "--", str(source)) == b"":
        copied = "" if outside else f"`-C {source}` or "
        say(
            f"note: Git does not know {source}, and `dvc exp run --queue` and `--temp` run in a copy of what it knows: "
            f"add `--allow-missing` to train otherwise, {copied}`-S source={source.resolve()}` to change the data, too"
        )
        if not outside and not git_output(Path(), "check-ignore", "--", str(source)):
            say(f"note: Git does not ignore {source}, and `dvc exp run` commits it to Git with each experiment: add "
                f"the line `/{source}` to .gitignore, or run `dvc add {source}`")  # fmt: skip


def _shown(counts: Counter[str]) -> str:
    shown = ", ".join(f"{label} {counts[label]:,}" for label in sorted(counts)[:SHOWN])
    return shown + (", …" if len(counts) > SHOWN else "")


def _say_notes(notes: list[str]) -> None:
    for note in notes:
        say(f"note: {note}")


if __name__ == "__main__":
    run(main)
