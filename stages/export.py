"""Export the classifier as ONNX and check its answers: models/classifier, test shards -> models/export, a report."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from darkroom.core import files
from darkroom.core.params import load, param
from darkroom.core.runtime import Runtime, from_environment, machine, recorded, versions
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
    """The params of export."""

    quantize: str = param(
        "int8: try 8-bit weights and activations, kept only when smaller, faster here and surely not a point worse",
        choices=("none", "int8"),
    )


def main(classifier: Path, body: Path, shards: Path, features: Path, scores: Path, out: Path, report: Path) -> str:
    """Write the exported model's folder `out` and `report`, unless it disagrees with the trained one on the test set.

    The model card quotes `scores` (metrics/test.json).
    """
    params, runtime = load(ExportParams), from_environment()
    saved, test = SavedClassifier.load(classifier), open_split(shards, "test")
    cached = open_split(features, "test", shards)
    with files.fresh_folder(out) as folder:
        known = novelty.load(saved.folder)
        model = _joined(_body_graph(saved, body), saved, known)
        write(_described(model, saved), folder / "model.onnx")
        found = answers.check(model, folder / "model.onnx", saved, test, cached, runtime)
        facts: dict[str, Any] = {"agreement": _rounded(found), "quantize": {"asked": params.quantize, "kept": False}}
        if params.quantize == "int8":
            whole = _float_model(model, saved, body, known)
            facts["quantize"] |= _try_int8(whole, saved, folder, open_split(shards, "val"), runtime)
            print(f"export: {facts['quantize']['reason']}")
        about = (test.index.get("card") or {}) | {"counts": {split: len(open_split(shards, split)) for split in SPLITS}}
        measured = files.read_json(scores)
        if facts["quantize"]["kept"]:
            measured |= _measured_again(folder / "model.onnx", open_split(shards, "val"), test, measured, runtime)
            facts["quantize"]["test"] = {name: measured[name] for name in ("accuracy", "accuracy_low", "accuracy_high")}
        _describe(folder, saved, body, test, about, measured, facts)
        facts["size_bytes"] = (folder / "model.onnx").stat().st_size
        cost, cost_of = _cost(folder / "model.onnx", saved, body, facts["quantize"]["kept"], test, runtime)
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
    """Return body and head as one graph, which also computes similarity where there are references to compare with."""
    model = join(body, saved.head, saved.temperature)
    return add_similarity(model, known) if known else model


def _float_model(
    model: onnx.ModelProto, saved: SavedClassifier, body: Path, references: novelty.References | None
) -> onnx.ModelProto:
    """Return the model to quantize: `model`, or one with a float body in place of an exact one.

    The clips and roundings of an exact body would remain between the 8-bit layers.
    """
    described = body / "body.json"
    known = files.read_json(described) if described.exists() else {}
    if not saved.frozen or known.get("arithmetic", {}).get("kind") != "exact":
        return model
    from darkroom.model.network import load_body
    from darkroom.model.onnx_export import export

    graph = parse(export(load_body(body)[0].eval(), saved.facts["image_size"]), body.as_posix())
    return _joined(graph, saved, references)


def _described(model: onnx.ModelProto, saved: SavedClassifier) -> onnx.ModelProto:
    """Add the metadata that a program without config.json needs: classes and framing."""
    return describe(model, {name: saved.facts[name] for name in ("classes", "framing")})


def _cost(
    path: Path, saved: SavedClassifier, body: Path, quantized: bool, test: Shards, runtime: Runtime
) -> tuple[cost.Cost, str]:
    """Return the cost of the model on this machine, and a digest of what the cost depends on, or "".

    The cost of a head on a frozen body does not depend on its values, so it is measured once for all of them.
    """
    cost_of = ""
    if saved.frozen and not quantized:
        head = {name: value.shape for name, value in saved.head.items()}
        cost_of = files.digest([files.sha256(body / "body.onnx"), head, machine(), runtime.threads, versions()])
    known = recorded("export")
    if cost_of and known.get("cost_of") == cost_of:
        return cost.Cost(known["latency_ms"], known["model_peak_memory_mb"]), cost_of
    return cost.measure(path, test.index["image_size"], runtime.threads), cost_of


def _try_int8(
    model: onnx.ModelProto, saved: SavedClassifier, folder: Path, val: Shards, runtime: Runtime
) -> dict[str, Any]:
    """Replace the model by its 8-bit form if the validation images allow it; return the decision and its figures."""
    chosen = np.sort(np.random.default_rng(0).permutation(len(val))[: quantize.CALIBRATION_IMAGES])
    batches = (
        val.rows(part)
        for part in np.split(chosen, range(quantize.CALIBRATION_BATCH, len(chosen), quantize.CALIBRATION_BATCH))
    )
    path, whole = folder / "int8.onnx", folder / "model.onnx"
    write(_described(quantize.quantize(model, batches), saved), path)
    full, small = (answers.exported_answers(each, val, runtime) for each in (whole, path))
    costs = [cost.measure(each, val.index["image_size"], runtime.threads) for each in (whole, path)]
    sizes = whole.stat().st_size, path.stat().st_size
    decision = quantize.decide(val.labels, full, small, sizes, (costs[0], costs[1]), group_codes(val.groups()))
    path.replace(whole) if decision.kept else path.unlink()
    return {"kept": decision.kept, "reason": decision.reason, "figures": decision.figures}


def _measured_again(model: Path, val: Shards, test: Shards, scores: dict[str, Any], runtime: Runtime) -> dict[str, Any]:
    """Return the scores of the exported file where it is not the model whose `scores` evaluate has written.

    Its limits come from its own answers to the validation images.
    """
    own = answers.answered(model, test, runtime)
    found = summarise(Predictions.of(test.ids(), test.classes, test.labels, own.probabilities, test.groups()), seed=0)
    if "sets" not in scores:
        return found
    wanted, _ = abstention.read(scores)
    limits = abstention.calibrate(answers.answered(model, val, runtime), wanted)
    return found | abstention.measure(own, limits, wanted)


def _describe(
    folder: Path, saved: SavedClassifier, body: Path, test: Shards, about: dict[str, Any], scores: dict[str, Any],
    facts: dict[str, Any],
) -> None:  # fmt: skip
    """Write all files but the graph: weights, labels, predict.py, config.json, and the model card."""
    values = {f"head.{name}": value for name, value in saved.head.items()}
    values |= {f"body.{name}": value for name, value in tensors.load(saved.folder / "body.safetensors").items()}
    tensors.save(folder / "model.safetensors", values)
    files.write_text(folder / "labels.txt", "".join(f"{name}\n" for name in saved.classes))
    files.write_bytes(folder / "predict.py", Path(standalone.__file__).read_bytes())
    described = ("model.onnx", "model.safetensors", "labels.txt", "predict.py")
    digests = {name: files.sha256(folder / name) for name in described}
    outputs = [output.name for output in read(folder / "model.onnx").graph.output]
    limits = abstention.read(scores)[1] if "sets" in scores else Limits()
    known = ("backbone", "classes", "image_size", "framing", "mean", "std", "head")
    config = {name: saved.facts[name] for name in known} | {
        "digests": digests,
        "explain": "cam" if "maps" in outputs else "occlusion",
        "format": FORMAT,
        "input": {"name": "images", "dtype": "uint8", "shape": ["n", *test.row_shape]},
        "limits": limits.facts(),
        "outputs": outputs,
        "quantized": facts["quantize"]["kept"],
        "temperature": saved.temperature,
        "version": digests["model.onnx"][:12],
        "versions": versions(),
    }
    files.write_json(folder / "config.json", config)
    made_from = {path.as_posix(): files.dvc_md5(path) for path in (saved.folder, body)}
    files.write_text(folder / "README.md", model_card(saved.facts, config, about, scores, facts, made_from))


def _rounded(found: answers.Agreement) -> dict[str, Any]:
    # Beyond six digits the difference depends on the processor.
    return asdict(found) | {"max_difference": round(found.max_difference, 6)}


if __name__ == "__main__":
    run(main)
