"""Write the model card, README.md, in Hugging Face's format: a YAML head for machines, then text for people.

https://huggingface.co/docs/hub/model-cards. It is written from files of the run alone, so that its bytes are the same
in every clone: instead of a date or a commit it quotes the digest by which `dvc.lock` names the classifier, from which
Git finds the commit. Its text is the template card.md.j2.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemBytecodeCache, FileSystemLoader, StrictUndefined

from darkroom.core.text import decimal, escape, one_line, percent
from darkroom.metrics import registry

FEW = 30  # test pictures of a class below which its scores say little
TEMPLATES = Path(__file__).with_name("templates")
FIRST = ("backbone", "weights", "freeze", "head", "features", "parameters", "image_size", "temperature")
ELSEWHERE = {"classes", "params", "framing", "mean", "std"}  # facts of model.json that another section holds


def model_card(
    facts: Mapping[str, Any],
    config: Mapping[str, Any],
    data: Mapping[str, Any],
    scores: Mapping[str, Any],
    export: Mapping[str, Any],
    made_from: Mapping[str, str],
) -> str:
    """Return the card's text.

    `facts`: model.json; `config`: config.json; `data`: the data set's own card and counts; `scores`: metrics/test.json;
    `export`: metrics/export.json; `made_from`: the md5 by which dvc.lock names each input.
    """
    # The output is Markdown, not HTML: the filters escape names of classes and data sets.
    environment = templates(autoescape=False, keep_trailing_newline=True)
    environment.filters |= {"number": decimal, "listed": _listed, "cell": _cell, "value": _value, "json": _json,
                            "safe_text": _safe, "one_line": one_line}  # fmt: skip
    name = data.get("name") or "own pictures"
    text = environment.get_template("card.md.j2").render(
        name=name,
        index=_index(config["backbone"], name, scores),
        facts=_facts(facts),
        config=config,
        data=data,
        scores=scores,
        export=export,
        made_from=made_from,
        metrics=registry.on_card(),
        limits=limits(config["classes"], config["image_size"], scores, bool(config.get("quantized"))),
    )
    return text.lstrip()


def templates(**options: Any) -> Environment:
    """Return the environment of reporting/templates, in which a missing name is an error."""
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=_compiled(TEMPLATES / "__pycache__"),
        **options,
    )


def _compiled(folder: Path) -> FileSystemBytecodeCache | None:
    """Return the cache of compiled templates, beside them like that of Python; None where nothing can be written.

    Compiling the card's template takes a sixth of export's processor time. A changed template is compiled again.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError:
        return None
    return FileSystemBytecodeCache(str(folder)) if os.access(folder, os.W_OK) else None


def limits(classes: Sequence[str], image_size: int | None, test: Mapping[str, Any], quantized: bool) -> list[str]:
    """Return what the classifier cannot do, a sentence each, for the model card and the report."""
    found = [
        *_unseen(len(classes), test.get("unknown", {})),
        "The metrics hold for pictures like those of the data set; on others, measure again.",
    ]
    if image_size:
        found.append(f"It sees {image_size} × {image_size} pixels: finer detail is lost.")
    rare = [name for name, row in test.get("per_class", {}).items() if row.get("support", 0) < FEW]
    if rare:
        which = "any class" if len(rare) == len(classes) > 2 else _listed(rare)
        found.append(f"Fewer than {FEW} test pictures, so little is known of {which}.")
    if quantized:
        found.append("Weights and activations have 8 bits; the metrics above are measured with them.")
    return found


def _unseen(classes: int, unknown: Mapping[str, Any]) -> list[str]:
    """Return what it does with pictures of other things; `unknown` is that block of metrics/test.json."""
    if unknown.get("threshold") is None or unknown.get("flagged") is None:
        return [f"It answers with one of its {classes} classes, whatever the picture shows."]
    return [
        f"It answers with one of its {classes} classes. Pictures unlike the training images are marked as unknown, and "
        f"so are {percent(unknown['flagged'])} of the test pictures, falsely.",
        "What it cannot see: a new class that looks like a known one, a known thing among others, a picture made to "
        "mislead it; and whether a wrong answer to a familiar picture is wrong.",
    ]


def _index(backbone: str, name: str, scores: Mapping[str, Any]) -> str:
    """Return the card's model-index as JSON, which is YAML and quotes whatever a data set's name holds."""
    values = [
        {"type": key, "value": scores[key], "name": label}
        for key, label in registry.on_card().items()
        if scores.get(key) is not None
    ]
    data = {"type": "image-folder", "name": name, "split": "test"}
    results = [{"task": {"type": "image-classification"}, "dataset": data, "metrics": values}]
    return json.dumps([{"name": backbone, "results": results}], ensure_ascii=False)


def _facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of the training, those that matter most first."""
    facts = {**facts, **facts.get("params", {})}
    other = sorted(key for key in facts if key not in FIRST and key not in ELSEWHERE)
    return {key: facts[key] for key in (*FIRST, *other) if key in facts}


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:20])
    return f"{shown}, … ({len(names)} in all)" if len(names) > 20 else shown


def _cell(text: str) -> str:
    """Return text for a code span in a table, in which nothing is markup but a backtick and a |."""
    return one_line(text).replace("`", "'").replace("|", "\\|")


def _safe(text: str) -> str:
    return escape(text, "markdown")


def _value(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
