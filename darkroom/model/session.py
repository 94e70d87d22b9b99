"""Open ONNX Runtime sessions as the project uses them: on the CPU."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from darkroom.core.errors import DarkroomError

if TYPE_CHECKING:
    import onnxruntime


def open_session(path: Path | bytes, threads: int = 0, spin: bool = True) -> "onnxruntime.InferenceSession":
    """Open a session of the model file at `path`, or of its bytes. Raises DarkroomError where it is missing or damaged.

    A model whose weights are in another file counts as damaged: it could read any file of this machine.
    `threads`: 0 is one a core. `spin`: whether idle threads wait busily, which is faster for one caller and starves the
    other work of the process (decoding, answering requests).
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or cores()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull + "/none")
    if isinstance(path, Path) and not path.exists():
        raise DarkroomError(f"{path} does not exist; run `dvc repro`, or name the exported model's folder")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own classes, which share no public base
        name = path.as_posix() if isinstance(path, Path) else "the exported graph"
        reason = str(error).splitlines()[0][:200]
        raise DarkroomError(f"{name} cannot be loaded: {reason}; run `dvc repro -f export`") from error


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def probabilities(session: "onnxruntime.InferenceSession", batches: Iterable[np.ndarray], classes: int) -> np.ndarray:
    """Return the probabilities of uint8 pictures (b, S, S, 3), batch after batch: (n, classes) float32."""
    parts = [session.run(["probabilities"], {"images": images})[0] for images in batches]
    return np.concatenate(parts) if parts else np.empty((0, classes), np.float32)
