"""Open the folder of an exported model, once every file has the digest in config.json."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.images.framing import RESIZES, WEIGHTS_RESIZES, Framing
from darkroom.metrics.abstention import Limits
from darkroom.model.session import open_session

if TYPE_CHECKING:
    import onnxruntime

DESCRIBED = ("model.onnx", "model.safetensors", "labels.txt")  # files whose sha256 config.json must hold
FORMAT = 2  # of config.json; format 1 has no key `format`, no `limits` and no output `similarity`
SHOWN = 100  # characters of a value in a message


@dataclass(frozen=True)
class Exported:
    """An exported model, checked: `config` is config.json unchanged, `version` identifies the model's bytes."""

    folder: Path
    config: dict[str, Any]
    session: "onnxruntime.InferenceSession"

    @property
    def classes(self) -> list[str]:
        """Return the classes, in the order of the probabilities."""
        return self.config["classes"]

    @property
    def framing(self) -> Framing:
        """Return how a picture becomes the model's input."""
        return Framing(**self.config["framing"])

    @property
    def version(self) -> str:
        """Return the first characters of the digest of model.onnx."""
        return self.config["version"]

    @property
    def limits(self) -> Limits:
        """Return the confidence and similarity below which an answer is doubted, and the thresholds of sets."""
        return Limits.of(self.config["limits"]) if "limits" in self.config else Limits()

    @property
    def outputs(self) -> list[str]:
        """Return the names of the model's outputs."""
        return [output.name for output in self.session.get_outputs()]


def open_exported(folder: Path, threads: int, spin: bool) -> Exported:
    """Check the files of `folder` and load the model; `threads` and `spin` are those of `open_session`.

    Raises DarkroomError when a file is missing, differs from its digest in config.json, or does not fit the others.
    """
    config = _read_config(folder)
    model = _checked_files(folder, config)
    # What was digested is what is loaded: the file is read once.
    exported = Exported(folder, config, open_session(model, threads, spin))
    _check_fit(exported)
    return exported


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = files.read_json(path)
    except FileNotFoundError as error:
        raise DarkroomError(
            f"{folder} holds no exported model (config.json is missing); run `dvc repro`, or name another with --model"
        ) from error
    except NotADirectoryError as error:
        raise DarkroomError(f"{folder} is a file; name the folder of the exported model: {folder.parent}") from error
    except OSError as error:
        raise DarkroomError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DarkroomError(f"{path} is damaged: {str(error)[:SHOWN]}; run `dvc repro -f export`") from error
    wrong = _what_is_wrong(config)
    if wrong:
        raise _unfit(folder, f"config.json {wrong}")
    return config


def _what_is_wrong(config: Any) -> str:
    if not isinstance(config, dict):
        return "is not a JSON object"
    for name, kind in (("backbone", str), ("classes", list), ("digests", dict), ("framing", dict), ("version", str)):
        if not isinstance(config.get(name), kind):
            return f"says {name}: {_shown(config.get(name))}, expected a {kind.__name__}"
    classes, framing, digests = config["classes"], config["framing"], config["digests"]
    if not classes or not all(isinstance(label, str) for label in classes) or len({*classes}) < len(classes):
        return "names no classes, one of them twice, or some that are not text"
    try:
        Framing(**framing).check()
    except (TypeError, ValueError):
        return (f"says framing: {_shown(framing)}, expected size, short_side and resize "
                f"({', '.join((*RESIZES, *WEIGHTS_RESIZES))}), and at most interpolation and fill")  # fmt: skip
    for name, digest in digests.items():
        if not re.fullmatch(r"\w[\w.-]{0,99}", name) or not isinstance(digest, str):
            return f"says digests: {_shown({name: digest})}, expected a file of this folder and its sha256"
    if type(config.get("format", 1)) is not int or not 1 <= config.get("format", 1) <= FORMAT:
        return f"says format: {_shown(config['format'])}, and this Darkroom reads up to {FORMAT}; update it"
    if config.get("format") == FORMAT and "limits" not in config:
        return f"has no limits, which format {FORMAT} has"
    if "limits" in config and not _are_limits(config["limits"], len(classes)):
        return f"says limits: {_shown(config['limits'])}, expected level, sets, confidence and similarity"
    missing = [name for name in DESCRIBED if name not in digests]
    if missing:
        return f"has no digest of {missing[0]}"
    version = config["version"]
    right = len(version) >= 6 and digests["model.onnx"].startswith(version)
    return "" if right else f"says version: {_shown(version)}, expected how the digest of model.onnx begins"


def _are_limits(value: Any, classes: int) -> bool:
    """Return whether `value` is what Limits.of reads."""
    try:
        limits = Limits.of(value)
    except (KeyError, OverflowError, TypeError, ValueError):
        return False
    numbers: list[Any] = [each for each in (limits.confidence, limits.similarity, limits.level) if each is not None]
    for thresholds in limits.sets.values():
        if isinstance(thresholds, list) and len(thresholds) != classes:
            return False
        numbers += thresholds if isinstance(thresholds, list) else [thresholds]
    right = all(type(number) in (int, float) and -2 <= number <= 2 for number in numbers)  # not NaN
    right = right and all(0 < level < 1 for level in limits.sets)
    return right and (limits.level is None or limits.level in limits.sets)


def _checked_files(folder: Path, config: dict[str, Any]) -> bytes:
    """Return the bytes of model.onnx, once every file named in `digests` is there and has its digest."""
    model = b""
    for name, expected in config["digests"].items():
        try:
            files.check_regular(folder / name)
            if name == "model.onnx":
                model = (folder / name).read_bytes()
                digest = hashlib.sha256(model).hexdigest()
            else:
                digest = files.sha256(folder / name)
        except OSError as error:
            raise _unfit(folder, f"{name} cannot be read: {error.strerror}") from error
        if digest != expected:
            raise _unfit(folder, f"the sha256 of {name} is {digest}, and config.json says {expected[:SHOWN]}")
    labels = (folder / "labels.txt").read_bytes().decode("utf-8", "replace")
    if labels != "".join(f"{label}\n" for label in config["classes"]):
        raise _unfit(folder, "the classes in config.json are not those of labels.txt, or in another order")
    return model


def _check_fit(exported: Exported) -> None:
    """Raise DarkroomError unless the model has the input and outputs of config.json."""
    session = exported.session
    found = {node.name: node.shape for node in (*session.get_inputs(), *session.get_outputs())}
    size, classes = exported.framing.size, exported.classes
    expected: dict[str, list[str | int]] = {"images": ["n", size, size, 3], "probabilities": ["n", len(classes)]}
    if exported.limits.similarity is not None:
        expected["similarity"] = ["n"]
    for name, shape in expected.items():
        sides = found.get(name)
        # A side without a number may have any length.
        if sides is None or len(sides) != len(shape) or any(
            isinstance(side, int) and side != number for side, number in zip(sides[1:], shape[1:], strict=True)
        ):  # fmt: skip
            what = f"has {name} of shape {_shown(sides)}" if sides else f"has no {name}"
            raise _unfit(exported.folder, f"model.onnx {what}, and config.json says {_shown(shape)}")
    about = session.get_modelmeta().custom_metadata_map
    for name in ("classes", "framing"):  # absent from a model that another program made
        if name in about and about[name] != json.dumps(exported.config[name], sort_keys=True, ensure_ascii=False):
            raise _unfit(exported.folder, f"model.onnx says {name}: {about[name][:SHOWN]}, and config.json another one")


def _shown(value: Any) -> str:
    return json.dumps(value)[:SHOWN]


def _unfit(folder: Path, reason: str) -> DarkroomError:
    return DarkroomError(f"{folder}: {reason}; run `dvc repro -f export`, or name another folder with --model")
