"""`darkroom drift FILE`: test whether a service's pictures differ from the validation images; advise what to label."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.core.text import escape, percent
from darkroom.images.shards import Shards, open_split
from darkroom.metrics import drift
from darkroom.metrics.drift import UNKNOWN, Finding, Test
from darkroom.serve.predictor import Predictor
from darkroom.serve.watch import BINS, UNIT, VALUES, Watch, bins, measure, read_watch

ALARMED = 3  # the exit status on an alarm
FEWEST = 20  # validation images
AT_ONCE = 64
CACHE = Path(".darkroom/drift")
ADVICE = {
    ("brightness", "below"): "darker photos than before: label dark ones, or correct the light",
    ("brightness", "above"): "brighter photos than before: label bright ones, or correct the light",
    ("contrast", "below"): "flatter photos than before: label hazy or evenly lit ones",
    ("contrast", "above"): "harder light than before: label photos of strong contrast",
    ("warmth", "below"): "bluer photos than before: label photos in this light, or set the white balance",
    ("warmth", "above"): "redder photos than before: label photos in this light, or set the white balance",
    ("sharpness", "below"): "less sharp photos than before: clean the lens, or label blurred ones",
    ("sharpness", "above"): "finer detail than before: label photos of this camera or scale",
    ("confidence", "below"): "more answers in doubt: label what the model is least sure of (`darkroom next`)",
    ("confidence", "above"): "surer answers than on validation images: fewer kinds of photos than before",
    ("similarity", "below"): "photos unlike the training images: look for a new class among them (`darkroom next`)",
    ("similarity", "above"): "photos more like the training images than others are: fewer kinds, or copies of them",
}


def reference(model: Predictor, val: Shards, cache: Path) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return labels, unknown and bins of the validation images, as `drift.tests` takes them.

    `labels`: the model's answers, int64 (m,); `unknown`: which images it calls unknown, bool (m,); the bin of each
    value of VALUES, int64 (m,). They are cached in a file of `cache` for each model and list of images.
    """
    path = cache / f"{files.digest([model.version, val.ids(), UNIT, UNKNOWN])[:16]}.json"
    if not path.exists():
        found: dict[str, list[Any]] = {name: [] for name in ("labels", UNKNOWN, *VALUES)}
        for images, _ in val.batches(AT_ONCE):
            answers = model.answers(images)
            found["labels"] += [int(answer.probabilities.argmax()) for answer in answers]
            found[UNKNOWN] += [answer.unknown for answer in answers]
            for name, values in measure(images, answers).items():
                found[name] += bins(values).tolist()
        cache.mkdir(parents=True, exist_ok=True)
        files.write_json(path, found)
    kept = files.read_json(path)
    values_of = {name: np.array(kept[name], np.int64) for name in VALUES}
    return np.array(kept["labels"], np.int64), np.array(kept[UNKNOWN], bool), values_of


def findings(watch: Watch, labels: np.ndarray, unknown: np.ndarray, values: dict[str, np.ndarray]) -> list[Finding]:
    """Return the finding of each test on the watched pictures, the clearest first; arguments as in `drift.tests`."""
    tests = drift.tests(watch.classes, labels, unknown, values)
    images = [block.images for block in watch.blocks]
    starts = [start // UNIT for start in watch.starts()]
    found = [drift.judge(test, _hits(watch, test), images, starts) for test in tests]
    return sorted(found, key=lambda finding: -finding.excess)


def in_words(finding: Finding) -> str:
    """Return one finding as a sentence, with what to do about it."""
    test, since = finding.test, f"of the last {finding.images:,} photos"
    name = escape(test.what, "terminal")
    if test.side == UNKNOWN:
        return (f"{percent(finding.share)} {since} are answered {name} though unlike the training images, "
                f"{percent(test.expected)} of the validation images: look for a new class among them")  # fmt: skip
    if not test.side:
        what = (
            f"{percent(finding.share)} {since} are answered {name}, {percent(test.expected)} of the validation images"
        )
        if finding.share > test.expected:
            return f"{what}; label photos that are answered {name}, right or wrong"
        return f"{what}; look for photos of {name}: are they gone, or answered otherwise?"
    edge = (test.bin + (test.side == "above")) / BINS
    what = (
        f"{percent(finding.share)} {since} have a {test.what} {test.side} {edge:.2f}, {percent(test.expected)} of the "
    )
    what += "validation images"
    return f"{what}: {ADVICE[test.what, test.side]}"


def main(arguments: list[str]) -> int:
    """Return 0 where nothing has changed, ALARMED where something has."""
    parser = argparse.ArgumentParser(
        prog="darkroom drift",
        description="Say whether the photos that `darkroom serve --watch FILE` has answered come from where the "
        "validation images came from. It may be asked as often as you like: without a change it alarms in at most "
        f"{drift.ALARM:.0%} of all streams, ever. The exit status is {ALARMED} on an alarm.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="what `darkroom serve --watch FILE` writes")
    parser.add_argument(
        "--model", type=Path, default=Path("models/export"), metavar="DIR", help="the model that answers"
    )
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object")
    parser.add_argument("--prometheus", type=Path, metavar="OUT", help="also write gauges, for a textfile collector")
    asked = parser.parse_args(arguments)
    watch, model = read_watch(asked.file), Predictor(asked.model)
    if (watch.version, watch.classes) != (model.version, model.classes):
        raise DarkroomError(
            f"{asked.file} counts answers of the model {watch.version}, and {asked.model} is {model.version}; name the "
            "model that answers with --model"
        )
    val = open_split(Path("data/shards"), "val")
    if len(val) < FEWEST:
        raise DarkroomError(
            f"{len(val):,} validation images say too little of what comes in; expected {FEWEST} or more"
        )
    found = findings(watch, *reference(model, val, CACHE))
    facts = _facts(watch, found, len(val))
    if asked.prometheus:
        write_gauges(asked.prometheus, facts)
    print(json.dumps(facts, indent=2, ensure_ascii=False) if asked.json else _report(watch, found, len(val)))
    return ALARMED if facts["alarm"] else 0


def write_gauges(path: Path, facts: dict[str, Any]) -> None:
    """Write the findings in Prometheus's text format. Raises DarkroomError."""
    try:
        from prometheus_client import CollectorRegistry, Gauge, write_to_textfile
    except ModuleNotFoundError as error:
        raise DarkroomError(f"{error.name} is not installed; run `make setup-serve` in the project's folder") from error
    registry = CollectorRegistry()
    alarm = Gauge("darkroom_drift_alarm", "1: what comes in has changed", registry=registry)
    alarm.set(facts["alarm"])
    excess = Gauge("darkroom_drift_excess", "Evidence of a change (natural log), an alarm from 0 on",
                   ["kind", "what", "side"], registry=registry)  # fmt: skip
    for row in reversed(facts["tests"]):  # of several quantiles of a value, the clearest one
        excess.labels("value" if row["side"] in ("below", "above") else "class", row["what"], row["side"]).set(
            row["excess"]
        )
    try:
        write_to_textfile(str(path), registry)
    except OSError as error:
        raise DarkroomError(f"--prometheus {path} cannot be written: {error.strerror}") from error


def _hits(watch: Watch, test: Test) -> list[int]:
    """Return how many pictures of each block are in the share of `test`."""
    if test.side in ("", UNKNOWN):
        label = watch.classes.index(test.what)
        return [int((block.unknown if test.side else block.classes)[label]) for block in watch.blocks]
    row = VALUES.index(test.what)
    part = slice(None, test.bin) if test.side == "below" else slice(test.bin + 1, None)
    return [int(block.values[row, part].sum()) for block in watch.blocks]


def _facts(watch: Watch, found: list[Finding], validation: int) -> dict[str, Any]:
    total = watch.total()
    rows = [
        {"what": each.test.what, "side": each.test.side, "validation": round(each.test.expected, 6),
         "share": round(each.share, 6), "images": each.images, "excess": round(each.excess, 4), "alarm": each.alarm}
        for each in found
    ]  # fmt: skip
    return {
        "model": watch.version, "images": total.images, "unknown": int(total.unknown.sum()), "validation": validation,
        "false_alarms": drift.ALARM, "alarm": any(each.alarm for each in found), "tests": rows,
    }  # fmt: skip


def _report(watch: Watch, found: list[Finding], validation: int) -> str:
    total = watch.total()
    unknown = int(total.unknown.sum())
    lines = [f"{total.images:,} photos answered, {unknown:,} of them unknown; {validation:,} validation images"]
    if unknown:
        most = int(total.unknown.argmax())
        name = escape(watch.classes[most], "terminal")
        lines.append(f"most of the unknown ones were answered {name}: {int(total.unknown[most]):,}")
    seen, alarms = set[tuple[str, str]](), [each for each in found if each.alarm]
    for each in alarms:
        if (each.test.what, each.test.side) not in seen:  # of several quantiles the clearest one
            lines.append(f"changed: {in_words(each)}")
        seen.add((each.test.what, each.test.side))
    if not alarms:
        lines.append(f"no change (a false alarm in at most {drift.ALARM:.0%} of all streams, however often you ask)")
    return "\n".join(lines)
