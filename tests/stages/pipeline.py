"""The three data stages, run in the current folder as dvc.yaml runs them."""

import json
from pathlib import Path

from darkroom.core import files
from stages import fetch, framing, preprocess, split

DEFAULTS = {
    "source": "pictures", "layout": "auto", "label_pattern": '""', "path_column": "auto", "label_column": "auto",
    "split_column": "auto", "group_by": '""', "class_level": "auto", "added": "added.csv", "missing_classes": "stop",
    "seed": 0, "val_fraction": 0.2, "test_fraction": 0.2, "folds": 5,
    "limit": "null", "exclude": "[]", "duplicates": "group", "image_size": 32, "resize": "crop",
    "backbone": "small_cnn", "weights": "none", "accept_license": '""',
    "max_rejects": 0.05,
}  # fmt: skip
STAGES = {
    fetch: {
        "source",
        "layout",
        "label_pattern",
        "path_column",
        "label_column",
        "split_column",
        "group_by",
        "class_level",
        "added",
        "missing_classes",
    },
    split: {"seed", "val_fraction", "test_fraction", "folds", "limit", "exclude", "duplicates"},
    framing: {"source", "image_size", "resize", "backbone", "weights", "accept_license"},
    preprocess: {"source", "max_rejects"},
}


def write_params(stage, **changes) -> None:
    """params.yaml with the keys of one stage."""
    values = {key: value for key, value in (DEFAULTS | changes).items() if key in STAGES[stage]}
    values["source"] = json.dumps(str(values["source"])) if "source" in values else ""
    Path("params.yaml").write_text("".join(f"{key}: {value}\n" for key, value in values.items() if value != ""))


def run_fetch(source: str | Path = "pictures", **changes) -> str:
    """`source` -> data/raw, data/index.csv."""
    write_params(fetch, source=source, **changes)
    return fetch.main(Path("data/raw"), Path("data/index.csv"))


def run_split(**changes) -> str:
    """data/index.csv -> data/split.csv."""
    write_params(split, **changes)
    return split.main(Path("data/index.csv"), Path("data/split.csv"))


def run_framing(**changes) -> str:
    """params -> data/framing.json."""
    write_params(framing, **changes)
    return framing.main(Path("data/framing.json"))


def run_preprocess(source: str | Path = "pictures", framed: bool = False, **changes) -> str:
    """All other outputs of the data stages; `framed`: data/framing.json is there."""
    if not framed:
        run_framing(source=source, **changes)
    write_params(preprocess, source=source, **changes)
    return preprocess.main(
        Path("data/raw"), Path("data/index.csv"), Path("data/split.csv"), Path("data/framing.json"),
        Path("data/shards"), Path("data/rejects.csv"), Path("plots/duplicates.png"),
    )  # fmt: skip


def run_all(source: str | Path = "pictures", **changes) -> str:
    """All three, one after the other."""
    run_fetch(source, **changes)
    run_split(**changes)
    return run_preprocess(source, **changes)


def index() -> list[dict[str, str]]:
    """Return the rows of data/index.csv."""
    return list(files.read_csv(Path("data/index.csv")))


def splits() -> dict[str, str]:
    """Return the split of each id."""
    return {row["id"]: row["split"] for row in files.read_csv(Path("data/split.csv"))}


def outputs() -> dict[str, str]:
    """Return the digest of every file that the stages wrote."""
    roots = ("data", "metrics", "plots")
    paths = sorted(path for root in roots for path in Path(root).rglob("*") if path.is_file())
    return {str(path): files.sha256(path) for path in paths if path.name != "run.json"}
