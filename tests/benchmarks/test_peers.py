"""Peers on a few real photos: those whose packages are here."""

import json

import pytest

from benchmarks.side_by_side.rivals import PEERS


@pytest.mark.parametrize("module", [rival.module for rival in PEERS])
def test_a_peer_keeps_the_contract(module, photos, shared, tmp_path, run):
    run(
        f"benchmarks.peers.{module}", "--task", "frozen", "--photos", photos, "--result", "result.json",
        "--weights", shared / "weights/mobilenet_v2.pth", "--epochs", 1, "--batch-size", 4, "--export",
    )  # fmt: skip
    found = json.loads((tmp_path / "result.json").read_text())
    assert set(found) == {"accuracy", "images_per_second", "n", "seconds", "seen", "setup", "versions"}
    assert found["n"] == 4
    assert found["seen"] == 8
    assert found["accuracy"] in (0.0, 0.25, 0.5, 0.75, 1.0)
    assert {"train", "evaluate", "export"} <= set(found["seconds"])
    assert (tmp_path / "model.onnx").stat().st_size > 1e6
