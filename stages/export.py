"""Export the classifier: models/classifier, test shards -> models/export, metrics/export.json; or fail."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from darkroom.core import files, runtime
from darkroom.core.params import load, param
from darkroom.core.stage import note, run
from darkroom.export import answers, cost, quantize, standalone
from darkroom.export.graph import add_similarity, describe, join, parse, read, write
from darkroom.images.shards import SPLITS, Shards, open_split
from darkroom.metrics import abstention
from darkroom.metrics.abstention import Limits
from darkroom.metrics.predictions import Predictions, group_codes
from darkroom.metrics.summary import summarise
from darkroom.model import novelty, tensors
from darkroom.model.classifier import SavedClassifier
from darkroom.reporting.card import model_card
from darkroom.serve.exported import FORMAT


@dataclass(frozen=True)
class ExportParams:
    """The params of this stage."""

    quantize: str = param(
        "int8: try 8-bit weights and activations, kept only when smaller, faster here and surely not a point worse",
        choices=("none", "int8"),
    )


def main(classifier: Path, body: Path, shards: Path, features: Path, scores: Path, out: Path, report: Path) -> str:
    """Write the exported model's folder `out` and `report`, unless it disagrees with the trained one on the test set.

    The model card quotes `scores` (metrics/test.json).
    """
    params, machine = load(ExportParams), runtime.from_environment()
    saved, test = SavedClassifier.load(classifier), open_split(shards, "test")
    cached = open_split(features, "test", shards)
    with files.fresh_folder(out) as folder:
        known = novelty.load(saved.folder)
        model = _joined(_body_graph(saved, body), saved, known)
        write(_described(model, saved), folder / "model.onnx")
        found = answers.check(model, folder / "model.onnx", saved, test, cached, machine)
        facts: dict[str, Any] = {"agreement": _rounded(found), "quantize": {"asked": params.quantize, "kept": False}}
        if params.quantize == "int8":
            whole = _float_model(model, saved, body, known)
            facts["quantize"] |= _try_int8(whole, saved, folder, open_split(shards, "val"), machine)
        about = (test.index.get("card") or {}) | {"counts": {split: len(open_split(shards, split)) for split in SPLITS}}
        measured = files.read_json(scores)
        if facts["quantize"]["kept"]:
            measured |= _measured_again(folder / "model.onnx", open_split(shards, "val"), test, measured, machine)
            facts["quantize"]["test"] = {name: measured[name] for name in ("accuracy", "accuracy_low", "accuracy_high")}
        limits = abstention.read(measured)[1] if "sets" in measured else Limits()
        _describe(folder, saved, body, test, about, measured, facts, limits)
        facts["size_bytes"] = (folder / "model.onnx").stat().st_size
        cost, cost_of = _cost(folder / "model.onnx", saved, body, facts["quantize"]["kept"], test, machine)
    note(latency_ms=cost.latency_ms, model_peak_memory_mb=cost.peak_memory_mb, cost_of=cost_of)
    files.write_json(report, facts)
    kept = "int8, " if facts["quantize"]["kept"] else ""
    classes = f"{len(saved.classes):,} {'class' if len(saved.classes) == 1 else 'classes'}"
    print(
        f"export: {out} now holds {saved.facts['backbone']} with {classes}; "
        "look at it with `make report`, try it with `make serve` or `darkroom predict PHOTO`"
    )
    return f"one ONNX file ({kept}{facts['size_bytes'] / 1e6:,.1f} MB) that agrees on {found.n:,} test images"


def _body_graph(saved: SavedClassifier, body: Path) -> onnx.ModelProto:
    """Return the body as ONNX: embed's own file when it is frozen, otherwise exported from the trained network."""
    if saved.frozen:
        return read(body / "body.onnx")
    from darkroom.model.network import load_network
    from darkroom.model.onnx_export import export

    return parse(export(load_network(saved.folder).body, saved.facts["image_size"]), saved.folder.as_posix())


def _joined(body: onnx.ModelProto, saved: SavedClassifier, known: novelty.References | None) -> onnx.ModelProto:
    """Return body and head as one graph, which also tells similarity where there are references to compare with."""
    model = join(body, saved.head, saved.temperature)
    return add_similarity(model, known) if known else model


def _float_model(
    model: onnx.ModelProto, saved: SavedClassifier, body: Path, references: novelty.References | None
) -> onnx.ModelProto:
    """Return the model to quantise: `model`, but with a float body for an exact one, whose clips and roundings would
    stay between the 8-bit layers."""
    described = body / "body.json"
    known = files.read_json(described) if described.exists() else {}
    if not saved.frozen or known.get("arithmetic", {}).get("kind") != "exact":
        return model
    from darkroom.model.network import load_body
    from darkroom.model.onnx_export import export

    graph = parse(export(load_body(body)[0].eval(), saved.facts["image_size"]), body.as_posix())
    return _joined(graph, saved, references)


def _described(model: onnx.ModelProto, saved: SavedClassifier) -> onnx.ModelProto:
    """Put into the model's metadata what a program without config.json must know."""
    return describe(model, {name: saved.facts[name] for name in ("classes", "framing")})


def _cost(
    path: Path, saved: SavedClassifier, body: Path, quantized: bool, test: Shards, machine: runtime.Runtime
) -> tuple[cost.Cost, str]:
    """Return what the model costs on this machine, and what that is a figure of: it is measured once for all heads on a
    frozen body, whose values change nothing of it."""
    cost_of = ""
    if saved.frozen and not quantized:
        head = {name: value.shape for name, value in saved.head.items()}
        versions = runtime.versions()
        cost_of = files.digest([files.sha256(body / "body.onnx"), head, runtime.machine(), machine.threads, versions])
    known = runtime.recorded("export")
    if cost_of and known.get("cost_of") == cost_of:
        return cost.Cost(known["latency_ms"], known["model_peak_memory_mb"]), cost_of
    return cost.measure(path, test.index["image_size"], machine.threads), cost_of


def _try_int8(
    model: onnx.ModelProto, saved: SavedClassifier, folder: Path, val: Shards, machine: runtime.Runtime
) -> dict[str, Any]:
    """Put the 8-bit model instead of the full one if the validation pictures allow it; return the decision and
    what it rests on."""
    chosen = np.sort(np.random.default_rng(0).permutation(len(val))[: quantize.CALIBRATION_IMAGES])
    batches = (
        val.rows(part)
        for part in np.split(chosen, range(quantize.CALIBRATION_BATCH, len(chosen), quantize.CALIBRATION_BATCH))
    )
    path, whole = folder / "int8.onnx", folder / "model.onnx"
    write(_described(quantize.quantize(model, batches), saved), path)
    full, small = (answers.exported_answers(each, val, machine) for each in (whole, path))
    costs = [cost.measure(each, val.index["image_size"], machine.threads) for each in (whole, path)]
    sizes = whole.stat().st_size, path.stat().st_size
    decision = quantize.decide(val.labels, full, small, sizes, (costs[0], costs[1]), group_codes(val.groups()))
    path.replace(whole) if decision.kept else path.unlink()
    return {"kept": decision.kept, "reason": decision.reason, "figures": decision.figures}


def _measured_again(
    model: Path, val: Shards, test: Shards, scores: dict[str, Any], machine: runtime.Runtime
) -> dict[str, Any]:
    """Return the scores of the file that ships, where it is not the model that evaluate measured in `scores`.

    Its limits come from its own answers to the validation images.
    """
    own = answers.answered(model, test, machine)
    found = summarise(Predictions.of(test.ids(), test.classes, test.labels, own.probabilities, test.groups()), seed=0)
    if "sets" not in scores:
        return found
    wanted, _ = abstention.read(scores)
    limits = abstention.calibrate(answers.answered(model, val, machine), wanted)
    return found | abstention.measure(own, limits, wanted)


def _describe(
    folder: Path,
    saved: SavedClassifier,
    body: Path,
    test: Shards,
    about: dict[str, Any],
    scores: dict[str, Any],
    facts: dict[str, Any],
    limits: Limits,
) -> None:
    """Write all but the graph: weights, labels, predict.py, config.json, and the model card."""
    values = {f"head.{name}": value for name, value in saved.head.items()}
    values |= {f"body.{name}": value for name, value in tensors.load(saved.folder / "body.safetensors").items()}
    tensors.save(folder / "model.safetensors", values)
    files.write_text(folder / "labels.txt", "".join(f"{name}\n" for name in saved.classes))
    files.write_bytes(folder / "predict.py", Path(standalone.__file__).read_bytes())
    described = ("model.onnx", "model.safetensors", "labels.txt", "predict.py")
    digests = {name: files.sha256(folder / name) for name in described}
    outputs = [output.name for output in read(folder / "model.onnx").graph.output]
    config = {
        name: saved.facts[name] for name in ("backbone", "classes", "image_size", "framing", "mean", "std", "head")
    }
    config |= {
        "digests": digests,
        "explain": "cam" if "maps" in outputs else "occlusion",
        "format": FORMAT,
        "input": {"name": "images", "dtype": "uint8", "shape": ["n", *test.row_shape]},
        "limits": limits.facts(),
        "outputs": outputs,
        "quantized": facts["quantize"]["kept"],
        "temperature": saved.temperature,
        "version": digests["model.onnx"][:12],
        "versions": runtime.versions(),
    }
    files.write_json(folder / "config.json", config)
    made_from = {path.as_posix(): files.dvc_md5(path) for path in (saved.folder, body)}
    files.write_text(folder / "README.md", model_card(saved.facts, config, about, scores, facts, made_from))


def _rounded(found: answers.Agreement) -> dict[str, Any]:
    # To six digits: beyond them the processor decides.
    return asdict(found) | {"max_difference": round(found.max_difference, 6)}


if __name__ == "__main__":
    run(main)
