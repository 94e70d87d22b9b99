"""The model card, README.md, in Hugging Face's format: a YAML head for machines, then text for people.

https://huggingface.co/docs/hub/model-cards. Everything in it follows from the files that made the model, so that its
bytes are the same in every clone: instead of a date or a commit it quotes the digest by which `dvc.lock` names the
classifier, from which Git finds the commit.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FEW = 30  # test pictures of a class below which its row says little
SCORES = {
    "accuracy": "accuracy",
    "top5_accuracy": "top-5 accuracy",
    "macro_f1": "macro F1",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "log_loss": "log loss",
    "ece": "expected calibration error",
}
SETTINGS = ("backbone", "weights", "freeze", "head", "features", "parameters", "image_size", "temperature")
ELSEWHERE = {"classes", "params", "framing", "mean", "std"}  # facts of model.json that another section tells


def model_card(
    facts: Mapping[str, Any],
    config: Mapping[str, Any],
    data: Mapping[str, Any],
    scores: Mapping[str, Any],
    export: Mapping[str, Any],
    made_from: Mapping[str, str],
) -> str:
    """The card's text: facts of model.json, config.json, the data set's own card and counts, metrics/test.json,
    metrics/export.json, and the md5 by which dvc.lock names each input."""
    name = data.get("name") or "own pictures"
    parts = [
        _head(config["backbone"], name, scores),
        f"# {config['backbone']} for {name}",
        f"An image classifier of {len(config['classes'])} classes: {_listed(config['classes'])}.",
        _data(data, name),
        _scores(scores),
        _per_class(scores.get("per_class", {})),
        _use(config),
        _limits(config, scores),
        _made(facts, export, made_from, config),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(backbone: str, name: str, scores: Mapping[str, Any]) -> str:
    values = [
        {"type": score, "value": scores[score], "name": SCORES[score]}
        for score in SCORES
        if scores.get(score) is not None
    ]
    data = {"type": "image-folder", "name": name, "split": "test"}
    task = {"type": "image-classification"}
    results = [{"task": task, "dataset": data, "metrics": values}]
    lines = [
        "---",
        "pipeline_tag: image-classification",
        "library_name: onnx",
        "license: other",
        "tags: [image-classification, onnx, darkroom]",
        # JSON is YAML, and quotes whatever a data set's name may hold.
        f"model-index: {json.dumps([{'name': backbone, 'results': results}], ensure_ascii=False)}",
        "---",
    ]
    return "\n".join(lines)


def _data(data: Mapping[str, Any], name: str) -> str:
    lines = ["## Data", "", f"Trained and measured on {name}."]
    for key, label in (("homepage", "Homepage"), ("licence", "Licence"), ("citation", "Citation")):
        if data.get(key):
            lines.append(f"- {label}: {data[key]}")
    if data.get("counts"):
        counted = ", ".join(f"{split} {count:,}" for split, count in data["counts"].items())
        lines.append(f"- Pictures: {counted}; no duplicate stands in two of them")
    if not data.get("licence"):
        lines.append("- Licence: not stated by the source; ask its owner before you pass the model on")
    return "\n".join(lines)


def _scores(scores: Mapping[str, Any]) -> str:
    rows = []
    for key, label in SCORES.items():
        if scores.get(key) is not None:
            low, high = scores.get(f"{key}_low"), scores.get(f"{key}_high")
            rows.append((label, _number(scores[key]), f"{_number(low)} – {_number(high)}" if low is not None else "–"))
    title = f"## Metrics\n\nOn {scores.get('n', 0):,} test pictures that training never saw; intervals of 95 %."
    note = (
        "The expected calibration error tells how far confidence and accuracy lie apart: of the answers given with "
        "90 %, about nine in ten should be right. The temperature that calibrates is inside the model."
    )
    return f"{title}\n\n{_table(('metric', 'value', 'interval'), rows)}\n\n{note}"


def _per_class(table: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (
            name,
            row.get("support"),
            *(_number(row.get(key)) for key in ("precision", "recall", "f1")),
            _span(row, "recall"),
        )
        for name, row in table.items()
    ]
    header = ("class", "test pictures", "precision", "recall", "F1", "recall, 95 %")
    return f"## Every class\n\n{_table(header, rows)}" if rows else ""


def _use(config: Mapping[str, Any]) -> str:
    size = config["image_size"]
    return f"""## Use

One file, `model.onnx`, with preprocessing after the resize, calibration and softmax inside: `images` uint8 RGB
(n, {size}, {size}, 3) in, `probabilities` float32 (n, {len(config["classes"])}) out, in the order of `labels.txt`.
A picture is turned upright and resized by `{json.dumps(config["framing"], sort_keys=True)}`
(crop: shorter side to `short_side`, then the middle; pad: longer side to `size`; stretch: both sides).

```python
from darkroom.app import Predictor          # the pipeline's own decoder: the answers of the evaluation
predictor = Predictor("models/export")
print(predictor("photo.jpg").top(5))
```

```python
import numpy as np, onnxruntime             # without Darkroom
session = onnxruntime.InferenceSession("model.onnx")
images = np.zeros((1, {size}, {size}, 3), np.uint8)
print(session.run(["probabilities"], {{"images": images}})[0])
```"""


def _limits(config: Mapping[str, Any], scores: Mapping[str, Any]) -> str:
    lines = [
        "## Limits",
        "",
        f"- It answers with one of its {len(config['classes'])} classes, whatever the picture shows.",
        "- The metrics hold for pictures like those of the data set; on others, measure again.",
        f"- It sees {config['image_size']} × {config['image_size']} pixels: finer detail is lost.",
    ]
    few = [name for name, row in scores.get("per_class", {}).items() if row.get("support", 0) < FEW]
    if few:
        lines.append(f"- Fewer than {FEW} test pictures, so little is known of: {_listed(few)}.")
    if config.get("quantized"):
        lines.append("- Weights and activations have 8 bits; the metrics above are those of the float32 model.")
    return "\n".join(lines)


def _made(
    facts: Mapping[str, Any], export: Mapping[str, Any], made_from: Mapping[str, str], config: Mapping[str, Any]
) -> str:
    facts = {**facts, **facts.get("params", {})}
    other = sorted(key for key in facts if key not in SETTINGS and key not in ELSEWHERE)
    rows = [(f"`{key}`", f"`{_value(facts[key])}`") for key in (*SETTINGS, *other) if key in facts]
    inputs = "\n".join(f"- `{path}`: md5 `{digest}`" for path, digest in made_from.items())
    first = next(iter(made_from.values()))
    versions = ", ".join(f"{name} {version}" for name, version in config["versions"].items())
    return f"""## How it was made

{_table(("fact", "value"), rows)}

{_compared(export)}

Its inputs, by the digests in `dvc.lock`; `git log -S {first} -- dvc.lock` names the commit that made it:

{inputs}

Versions: {versions}."""


def _compared(export: Mapping[str, Any]) -> str:
    agreement, quantize = export["agreement"], export.get("quantize", {})
    exported = "The float32 model that it was quantised from" if quantize.get("kept") else "The exported model"
    said = (
        f"{exported} was compared with the trained one on all {agreement['n']:,} test pictures: probabilities differ "
        f"by at\nmost {agreement['max_difference']:g}, and {agreement['other_class']} got another class."
    )
    if quantize.get("kept"):
        found = quantize["figures"]
        accuracy = found["accuracy"]
        said += (
            f" With 8-bit weights and activations {found['same_class']:.2%} of them\nget the same class as before, "
            f"probabilities differ by up to {found['max_difference']:g}, and the accuracy is {accuracy['int8']:.4f} "
            f"instead of\n{accuracy['float32']:.4f}: the metrics above are those of the float32 model."
        )
    return said


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:20])
    return f"{shown}, … ({len(names)} in all)" if len(names) > 20 else shown


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _span(row: Mapping[str, Any], key: str) -> str:
    low, high = row.get(f"{key}_low"), row.get(f"{key}_high")
    return "–" if low is None else f"{_number(low)} – {_number(high)}"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
