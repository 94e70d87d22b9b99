"""What a GPU alone can show. The other tests compute on it too where there is one, since DARKROOM_DEVICE is `auto`."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional

from darkroom.core import files, runtime
from darkroom.images import augment
from darkroom.images.batches import Table, order, steps
from darkroom.images.shard_writer import write_shards
from darkroom.images.shards import Shards
from darkroom.model import backbones, builders, embedding, exact_body, tensors
from darkroom.model.network import Body, pixels
from darkroom.model.runner import ExactTorchBody, OnnxBody
from darkroom.training.data import ImageInputs
from darkroom.training.fit import Fit
from darkroom.training.recipe import Recipe
from darkroom.training.step import Phase
from tests.model.families import FAMILIES
from tests.model.samples import network, photo_images
from tests.training.small import RECIPE, write_data

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
CPU = torch.device("cpu")
STRONG = augment.STRENGTHS["strong"]
COPIES = embedding.Copies(2, "strong", True, 0)


@pytest.fixture(scope="module")
def gpu():
    return runtime.torch_device(dataclasses.replace(runtime.from_environment(), device="cuda"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_data(folder, train=1024, val=300, test=10)
    return Table([Shards(folder / "data/shards/train")]), Table([Shards(folder / "data/shards/val")])


def learnt(backbone: str, size: int, dtype: torch.dtype, device: torch.device) -> dict[str, torch.Tensor]:
    """Return the weights and statistics after three steps on 24 photos."""
    images, labels = photo_images(24, size)
    module = network(backbone, size).to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3, momentum=0.9)
    for step in range(3):
        torch.cuda.manual_seed(step)
        inputs = pixels(images, device).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
            logits = module(inputs)
        functional.cross_entropy(logits.float(), torch.from_numpy(labels).to(device)).backward()
        optimizer.step()
        optimizer.zero_grad()
    return module.state_dict()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("backbone", FAMILIES)
def test_every_family_learns_the_same_bits_twice(backbone, dtype, gpu):
    if backbone.startswith("timm/"):
        pytest.importorskip("timm", reason="needs the extra `timm`")
    size, _ = FAMILIES[backbone]
    first, second = (learnt(backbone, size, dtype, gpu) for _ in range(2))
    other = [name for name, value in first.items() if not torch.equal(value, second[name])]
    assert not other


def test_batches_made_ready_on_a_stream_of_their_own_are_those_of_a_cpu(gpu, data):
    train, _ = data
    parts = steps(order(len(train), 0, 0), 96)
    ahead, plain = (ImageInputs(train, device, 0, STRONG, True).training(parts, 1) for device in (gpu, CPU))
    for (images, labels), (expected, names) in zip(ahead, plain, strict=True):
        torch.cuda._sleep(20_000_000)  # the network is busy: the next batch is made meanwhile
        assert images.device.type == "cuda"
        assert torch.equal(labels.cpu(), names)
        torch.testing.assert_close(images.cpu(), expected, rtol=0, atol=1e-3)


def test_evaluation_s_batches_hold_the_pixels_in_order(gpu, data):
    _, val = data
    rows = np.arange(len(val))
    images = torch.cat([part.cpu() for part in ImageInputs(val, gpu, 0, None, False).evaluation(64, rows)])
    torch.testing.assert_close(images, pixels(val.rows(rows)), rtol=0, atol=1e-6)


def fit(gpu, data, **changes) -> Fit:
    """Return a network on 16 px digits whose memory is that of its activations: no layer can make do with less."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), nn.BatchNorm2d(64), *(nn.SiLU() for _ in range(24)),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    ).to(gpu)  # fmt: skip
    settings: dict[str, Any] = RECIPE | {"epochs": 2, "lr": 0.001} | changes
    recipe = Recipe(**settings)
    train, val = (ImageInputs(table, gpu, 0, None, False) for table in data)
    return Fit([Phase(module, [list(module.parameters())], train, val, 0, recipe.epochs, recipe.lr)], recipe, gpu)


@contextmanager
def less_memory(gpu, share: float, run: Callable[[], object]) -> Iterator[None]:
    """In the block this process has but `share` of the GPU's memory that `run` takes."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(gpu)
    run()
    few = share * torch.cuda.max_memory_allocated(gpu)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(few / torch.cuda.get_device_properties(gpu).total_memory)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_when_the_gpu_s_memory_runs_out_training_goes_on_in_parts(gpu, data, capsys):
    whole = fit(gpu, data, batch_size=512).run()
    with less_memory(gpu, 0.75, lambda: fit(gpu, data, batch_size=512, epochs=1).run()):
        parts = fit(gpu, data, batch_size=512).run()
    assert parts.micro.size in (64, 128, 256)
    assert "out of memory; continues with micro-batches of" in capsys.readouterr().err
    assert parts.history[-1]["val_loss"] == pytest.approx(whole.history[-1]["val_loss"], rel=0.1)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Return a folder with shards of 300 photos and models/body, and the body on a CPU."""
    folder = tmp_path_factory.mktemp("photos")
    images, labels = photo_images(300, 64)
    with write_shards(folder / "train", "images", ["a", "b"], shard_bytes=1_000_000) as writer:
        for place, (image, label) in enumerate(zip(images, labels, strict=True)):
            writer.add(image, int(label), f"{place:064x}")
        writer.close(flips=True)
    body = Body(builders.build("resnet18", 64, seed=0), backbones.IMAGENET_MEAN, backbones.IMAGENET_STD).eval()
    facts = {"backbone": "resnet18", "image_size": 64, "mean": backbones.IMAGENET_MEAN, "std": backbones.IMAGENET_STD}
    files.write_json(folder / "body/body.json", facts)
    tensors.save(folder / "body/body.safetensors", body.arrays())
    return folder, body


def embed(folder) -> np.ndarray:
    """Return the features of all images and of two copies of each, as the stage has them computed."""
    environment = dataclasses.replace(runtime.from_environment(), device="cuda")
    shards = Shards(folder / "train")
    return np.concatenate(list(embedding.embedded(shards, folder / "body", COPIES, environment)))


def test_features_from_a_gpu_are_those_of_a_cpu_in_order(gpu, photos, monkeypatch):
    folder, body = photos
    monkeypatch.setattr(embedding, "GPU_PIXELS", 70 * 64 * 64)  # five batches
    shards = Shards(folder / "train")
    places = np.arange(len(shards))
    images = shards.rows(places)
    shown = [images, *(augment.augmented(images, draws) for draws in COPIES.draws(places))]
    with torch.no_grad():
        expected = np.stack([body(pixels(each)).numpy() for each in shown], axis=1)
    near = 5e-3 * np.abs(expected).max()  # where a grey value is rounded the other way
    np.testing.assert_allclose(embed(folder), expected, rtol=0, atol=near)
    assert np.array_equal(embed(folder), embed(folder))


@pytest.mark.parametrize("backbone", ["small_cnn", "mobilenet_v2", "resnet18", "efficientnet_b0", "densenet121"])
def test_exact_features_from_a_gpu_have_the_bits_of_a_cpu(backbone, gpu, tmp_path):
    size, _ = FAMILIES[backbone]
    images, _ = photo_images(24, size)
    body = Body(builders.build(backbone, size, seed=0), backbones.IMAGENET_MEAN, backbones.IMAGENET_STD).eval()
    onnx.save(exact_body.exact_body(body, images[:8]).model, tmp_path / "body.onnx")
    features, _ = ExactTorchBody(tmp_path / "body.onnx", gpu).features_and_maps(images)
    assert np.array_equal(features, OnnxBody(tmp_path / "body.onnx", threads=1).features(images))


def test_embedding_goes_on_in_parts_when_the_gpu_s_memory_runs_out(gpu, photos, capsys):
    folder, _ = photos
    whole = embed(folder)
    with less_memory(gpu, 0.7, lambda: embed(folder)):
        parts = embed(folder)
    assert "embed: out of memory; continues with" in capsys.readouterr().err
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-3 * np.abs(whole).max())


def test_what_a_stage_ran_on_is_noted(gpu):
    torch.ones(1, device=gpu)
    assert torch.cuda.get_device_name() in runtime.gpu()["gpu"]
