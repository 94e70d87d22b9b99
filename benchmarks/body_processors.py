"""Which outputs have the same bits on other processors: this machine's, emulated ones, and switched-off instructions.

`python -m benchmarks.body_processors [NAME …]` prints a table of outputs by processor: `same` where the sha256 is that
of this machine with one thread, its first digits where it is not. An emulated processor needs Debian's `qemu-user`; its
column is left out, with a word, where there is none. One takes about five minutes.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
NO_AVX = "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR X86_V3 X86_V4"
PLAIN = {"ATEN_CPU_CAPABILITY": "default", "NPY_DISABLE_CPU_FEATURES": NO_AVX, "OPENBLAS_CORETYPE": "Prescott"}
# Each by name: what comes before `python`, the environment, and the number of threads.
PROCESSORS: dict[str, tuple[list[str], dict[str, str], int]] = {
    "here": ([], {}, 1),
    "3 threads": ([], {}, 3),
    "AVX2 kernels": ([], {"ATEN_CPU_CAPABILITY": "avx2", "OPENBLAS_CORETYPE": "Haswell"}, 1),
    "plain kernels": ([], PLAIN, 1),
    "Haswell (AVX2)": (["qemu-x86_64", "-cpu", "Haswell"], {}, 1),
    "Nehalem (SSE4)": (["qemu-x86_64", "-cpu", "Nehalem"], {}, 1),
}


def main(names: list[str]) -> None:
    """Print the table, a column as soon as it is known."""
    columns: dict[str, dict[str, str]] = {}
    for name in names:
        before, environment, threads = PROCESSORS[name]
        if before and not shutil.which(before[0]):
            print(f"{name}: left out, there is no {before[0]}; install Debian's qemu-user", file=sys.stderr)
            continue
        # Warnings are off: numpy names the instructions that an emulated processor lacks.
        command = [*before, sys.executable, "-W", "ignore", "-m", "benchmarks.body_processors", "--probe", str(threads)]
        done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True)
        if done.returncode:
            print(f"{name}: failed: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
            continue
        columns[name] = json.loads(done.stdout.splitlines()[-1])
        print(f"{name}: done", file=sys.stderr)
    first = next(iter(columns.values()))
    print("| output | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for output, digest in first.items():
        cells = ["same" if column[output] == digest else column[output][:8] for column in columns.values()]
        print(f"| {output} | " + " | ".join(cells) + " |")


def probe(threads: int) -> dict[str, str]:
    """The sha256 of each output, computed here and now."""
    import torch
    from sklearn.datasets import load_digits

    from darkroom.images.augment import STRENGTHS, apply, as_bytes, augmented, draw
    from darkroom.model import backbones, builders, exact_body, onnx_export, tensors
    from darkroom.model.exact_torch import ExactModule
    from darkroom.model.network import Body
    from darkroom.model.runner import OnnxBody

    torch.set_num_threads(threads)
    digits = np.repeat(np.kron(load_digits().images[:80] * 15.9, np.ones((4, 4))).astype(np.uint8)[..., None], 3, 3)
    digits = np.ascontiguousarray(digits[:, 2:30, 2:30])
    copies, rows = digits[64:], np.arange(16)
    found = {}
    for strength in ("light", "strong"):
        draws = draw(STRENGTHS[strength], True, rows, 0, 1)  # type: ignore[arg-type]
        found[f"augmented copies, {strength}"] = augmented(copies, draws)
        plain = torch.from_numpy(copies).permute(0, 3, 1, 2).contiguous().float() / 255
        found[f"augmented copies, {strength}, fused (fine-tuning)"] = as_bytes(apply(plain, draws)).numpy()
    body = Body(builders.build("small_cnn", 28, seed=0), [0.13] * 3, [0.3] * 3).eval()
    tensors.fill(body.net, tensors.load(ROOT / "weights/small_cnn-mnist.safetensors"))
    mobile = Body(_seeded("mobilenet_v2", 64), backbones.IMAGENET_MEAN, backbones.IMAGENET_STD).eval()
    photos = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), np.uint8)
    for name, network, images, size in (("small_cnn", body, digits, 28), ("mobilenet_v2", mobile, photos, 64)):
        made = exact_body.exact_body(network, images[:64]).model
        written = made.SerializeToString(deterministic=True)
        found[f"{name}: body.onnx, exact"] = np.frombuffer(written, np.uint8)
        found[f"{name}: exact features, onnxruntime"] = OnnxBody(written, threads).features(images[-16:])
        found[f"{name}: exact features, torch"] = ExactModule(made)(torch.from_numpy(images[-16:]))[0].numpy()
        floats = onnx_export.export(network, size)
        found[f"{name}: float32 features, onnxruntime"] = OnnxBody(floats, threads).features(images[-16:])
    return {name: hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest() for name, value in found.items()}


def _seeded(backbone: str, size: int) -> Any:
    """A network whose weights come from numpy's uniforms: torch's normal numbers differ between processors."""
    import torch

    from darkroom.model import builders

    network = builders.build(backbone, size, seed=0)
    random = np.random.default_rng(0)
    for name, value in network.state_dict().items():
        if value.dim() > 1:
            spread = (6 / value[0].numel()) ** 0.5
            drawn = random.uniform(-spread, spread, tuple(value.shape))
        else:
            drawn = random.uniform(0.5, 1.5, tuple(value.shape)) if "weight" in name or "var" in name else np.zeros(1)
        if value.is_floating_point():
            value.copy_(torch.from_numpy(np.asarray(drawn, np.float32)).expand_as(value))
    return network


if __name__ == "__main__":
    if sys.argv[1:2] == ["--probe"]:
        print(json.dumps(probe(int(sys.argv[2]))))
    else:
        main(sys.argv[1:] or list(PROCESSORS))
