"""Where and how fast is read from the environment, and told apart from what is computed."""

import subprocess
import sys
from importlib import metadata

import pytest
import torch

from darkroom.core import runtime
from darkroom.core.errors import DarkroomError
from darkroom.training.step import seed_dropout


def test_defaults_use_the_cores_there_are(monkeypatch):
    for name in ("DEVICE", "THREADS", "WORKERS", "CHECKPOINTS", "DOWNLOADS", "TENSORBOARD"):
        monkeypatch.delenv(f"DARKROOM_{name}", raising=False)
    found = runtime.from_environment()
    assert found.device == "auto"
    assert found.threads == found.workers >= 1
    assert found.downloads is None


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5"])
def test_a_count_that_is_none_is_refused_by_name(monkeypatch, value):
    monkeypatch.setenv("DARKROOM_WORKERS", value)
    with pytest.raises(DarkroomError, match=f"DARKROOM_WORKERS={value} in the environment: expected a whole number"):
        runtime.from_environment()


def test_a_device_that_is_not_there_says_so(monkeypatch):
    monkeypatch.setenv("DARKROOM_DEVICE", "cuda:7")
    with pytest.raises(DarkroomError, match=r"DARKROOM_DEVICE=cuda:7 cannot be used: .*; unset it, or use cpu"):
        runtime.torch_device(runtime.from_environment())


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_a_gpu_without_a_number_is_the_current_one(monkeypatch, name):
    """torch's own check of what it is given comes before the driver, for which a stand-in is enough."""
    monkeypatch.setenv("DARKROOM_DEVICE", name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", lambda *_shape, **_options: None)
    assert runtime.torch_device(runtime.from_environment()) == torch.device("cuda")


def test_a_record_with_the_marks_of_a_merge_is_begun_anew(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runtime.RUN_RECORD.parent.mkdir()
    runtime.RUN_RECORD.write_text('<<<<<<< HEAD\n{"stages": {}}\n=======\n')
    assert runtime.recorded("train") == {}
    runtime.record("train", 0.0, runtime.from_environment(), {"epochs": 3})
    assert runtime.recorded("train")["epochs"] == 3


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_a_chosen_gpu_is_the_one_whose_random_numbers_are_seeded(monkeypatch):
    monkeypatch.setenv("DARKROOM_DEVICE", "cuda:1")
    device = runtime.torch_device(runtime.from_environment())
    draws = [(seed_dropout(device, 7), torch.rand(9, device=device).tolist())[1] for _ in range(2)]
    assert draws[0] == draws[1]


def test_torch_gets_the_threads_and_must_be_deterministic(monkeypatch):
    monkeypatch.setenv("DARKROOM_DEVICE", "cpu")
    monkeypatch.setenv("DARKROOM_THREADS", "1")
    before = torch.get_num_threads()
    try:
        assert runtime.torch_device(runtime.from_environment()) == torch.device("cpu")
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(False)


def test_a_set_of_many_shards_may_keep_them_all_open():
    code = (
        "import resource; from pathlib import Path; from darkroom.core import runtime;"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]; resource.setrlimit(resource.RLIMIT_NOFILE, (32, hard));"
        "runtime.open_files(); files = [open('/dev/null') for _ in range(100)]"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_the_versions_are_those_that_importlib_reads():
    assert runtime.versions() == {name: metadata.version(name) for name in runtime.PACKAGES}
