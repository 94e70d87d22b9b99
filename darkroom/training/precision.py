"""Which number format and compiler suit the hardware: asked of it, and the same answer on every run."""

from typing import TYPE_CHECKING, Any

from darkroom.core.errors import ParamsError

if TYPE_CHECKING:
    import torch

COMPILE_REPAYS = 20_000  # steps: what saves 3 ms in each has repaid a minute of compiling; not measured on a GPU


def fast_bfloat16(device: "torch.device") -> bool:
    """Whether the hardware multiplies bfloat16 faster than float32.

    CPUs do with AMX or AVX512-BF16 (measured: resnet18 learns 2.1 times as fast with the latter), and are several times
    slower without, where it is emulated.
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        asks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        return any(getattr(torch.cpu, ask, lambda: False)() for ask in asks)
    return False


def choose(precision: str, device: "torch.device") -> "torch.dtype":
    """The dtype of the network's arithmetic. Weights and the head's loss stay float32 either way."""
    import torch

    if precision == "auto":
        return torch.bfloat16 if fast_bfloat16(device) else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def compiles(setting: str, device: "torch.device", steps: int) -> bool:
    """Whether to compile a network for `steps` more steps. Raises ParamsError where it must be and cannot.

    On CPUs compiling cost 35 to 135 s and did not pay back. A rule by counts alone: a measured time would give other
    bits on another run.
    """
    if setting == "auto":
        return device.type == "cuda" and steps >= COMPILE_REPAYS and _has_compiler()
    if setting == "always" and not _has_compiler():
        raise ParamsError("params.yaml: compile: always needs a C++ compiler, and none is installed; set compile: auto")
    return setting == "always"


def compiled(module: "torch.nn.Module") -> Any:
    """`module`, compiled when first called; what the compiler cannot do runs as it is, and torch says so."""
    import torch
    import torch._dynamo

    torch._dynamo.config.suppress_errors = True
    return torch.compile(module)


def _has_compiler() -> bool:
    import shutil

    return any(shutil.which(name) for name in ("g++", "clang++", "cl"))
