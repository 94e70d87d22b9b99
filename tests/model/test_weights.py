"""Weights come from many places; what is damaged, of another model or of another kind is one clear error."""

import contextlib
import dataclasses
import shutil
import warnings
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from torchvision import models

from darkroom.core import files
from darkroom.core.errors import DarkroomError, WeightsError
from darkroom.model import backbones, builders, classifier, tensors, weights
from darkroom.model.network import Body, load_network

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.2, 0.3]


def resolve(backbone, source, size=64):
    return weights.resolve(backbone, str(source), size, seed=0, train_mean=MEAN, train_std=STD)


def save_run(folder: Path, backbone="small_cnn", size=28, classes=("ant", "bee")) -> Path:
    net = builders.build(backbone, size, seed=5)
    head = classifier.Head("linear", 1, 0.0)
    facts = {"backbone": backbone, "image_size": size, "mean": MEAN, "std": STD, "classes": list(classes),
             "framing": {"size": size, "resize": "crop", "short_side": 32}, "head": head.facts(), "frozen": True,
             "features": builders.features_of(net, size), "temperature": 1.5}  # fmt: skip
    classifier.save(
        folder, facts, classifier.initial(head, facts["features"], len(classes), seed=5), Body(net, MEAN, STD).arrays()
    )
    return folder


def test_real_weights_give_torchvision_s_own_features(shared):
    resolved = resolve("mobilenet_v2", shared / "weights/mobilenet_v2.pth", 224)
    whole = models.mobilenet_v2()
    whole.load_state_dict(torch.load(shared / "weights/mobilenet_v2.pth", weights_only=True))
    whole.classifier = torch.nn.Identity()
    image = torch.rand(1, 3, 224, 224)
    mean, std = torch.tensor(backbones.IMAGENET_MEAN), torch.tensor(backbones.IMAGENET_STD)
    expected = whole.eval()((image - mean[:, None, None]) / std[:, None, None])
    torch.testing.assert_close(resolved.body(image), expected, rtol=1e-4, atol=1e-5)
    assert resolved.facts["mean"] == list(backbones.IMAGENET_MEAN)
    assert resolved.facts["weights"] == "mobilenet_v2.pth"


def test_squeezenet_s_classifier_is_a_convolution_and_its_weights_fit_all_the_same(shared):
    assert resolve("squeezenet1_1", shared / "weights/squeezenet1_1.pth").facts["features"] == 512


def test_a_truncated_download_does_not_match_its_name(shared):
    with pytest.raises(WeightsError, match=r"its sha256 begins with \w{8}, its name says f37072fd; .* fetch it again"):
        resolve("resnet18", shared / "weights/broken/resnet18-f37072fd.pth")


def test_a_date_in_a_name_is_no_digest(tmp_path):
    from darkroom.model import builders, tensors

    net = builders.build("lenet", 28, seed=1)
    path = tmp_path / "lenet-20240131.safetensors"
    tensors.save(path, {name: value.numpy() for name, value in net.state_dict().items()})
    assert weights.resolve("lenet", str(path), 28, 0, [0.5] * 3, [0.2] * 3).facts["weights"] == path.name


@pytest.mark.parametrize("seed", range(40))
def test_a_file_with_wrong_bytes_in_it_is_one_line(tmp_path, seed):
    random = np.random.default_rng(seed)
    torch.save({"a.weight": torch.arange(12.0).reshape(3, 4), "b": torch.ones(3)}, tmp_path / "mine.pth",
               _use_new_zipfile_serialization=bool(seed % 2))  # fmt: skip
    data = bytearray((tmp_path / "mine.pth").read_bytes())
    for place in random.integers(0, len(data), 1 + seed // 4):
        data[place] = random.integers(0, 256)
    (tmp_path / "mine.pth").write_bytes(data)
    with contextlib.suppress(WeightsError):  # or a number was hit, which cannot be told
        assert weights.read(tmp_path / "mine.pth")


def test_a_truncated_file_of_any_name_is_damaged(shared, tmp_path):
    shutil.copyfile(shared / "weights/broken/resnet18-f37072fd.pth", tmp_path / "mine.pth")
    with pytest.raises(WeightsError, match=r"mine\.pth is damaged or cut short"):
        resolve("resnet18", tmp_path / "mine.pth")


def test_a_torchscript_archive_is_refused(shared):
    with pytest.raises(WeightsError, match="is a TorchScript archive"):
        resolve("mobilenet_v2", shared / "weights/broken/torchscript-archive.pt")


def test_weights_of_another_backbone_are_refused(shared):
    with pytest.raises(WeightsError, match=r"does not fit resnet18: it lacks .* and has the surplus"):
        resolve("resnet18", shared / "weights/squeezenet1_1.pth")


def test_weights_of_another_shape_are_refused(shared):
    with pytest.raises(
        WeightsError, match=r"features\.0\.weight has shape \(64, 3, 3, 3\), squeezenet1_0 .* \(96, 3, 7"
    ):
        resolve("squeezenet1_0", shared / "weights/squeezenet1_1.pth")


def test_missing_and_surplus_names_are_told(tmp_path):
    state = models.resnet18().state_dict()
    state.pop("layer1.0.conv1.weight")
    state["mine"] = torch.zeros(1)
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"it lacks layer1\.0\.conv1\.weight and has the surplus mine"):
        resolve("resnet18", tmp_path / "a.pth")


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    state = models.squeezenet1_1().state_dict()
    state["features.0.weight"][0] = torch.nan
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"features\.0\.weight holds numbers that are not finite"):
        resolve("squeezenet1_1", tmp_path / "a.pth")


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("was-run"),))


def test_code_in_a_pickle_is_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Evil()}, "evil.pth")
    with pytest.raises(WeightsError, match="such a file can run code"):
        resolve("resnet18", "./evil.pth")
    assert not Path("was-run").exists()


@pytest.mark.parametrize("name", ["a.txt", "a.pth", "a.safetensors"])
def test_a_file_of_something_else_is_refused(tmp_path, name):
    (tmp_path / name).write_text("<html>not found</html>")
    with pytest.raises(WeightsError, match=r"is not a file of weights|holds more than tensors|damaged|not a whole"):
        resolve("resnet18", tmp_path / name)


def test_the_wrappings_of_training_scripts_are_taken_off(tmp_path):
    state = models.squeezenet1_1().state_dict()
    wrapped = {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}
    torch.save(wrapped, tmp_path / "a.pth")
    net = resolve("squeezenet1_1", tmp_path / "a.pth").body.net
    assert torch.equal(net.state_dict()["features.0.weight"], state["features.0.weight"])


@pytest.mark.parametrize("backbone", ["googlenet", "mnasnet0_5", "densenet121", "swin_t", "inception_v3"])
def test_whole_files_of_families_with_odd_names_fit(tmp_path, backbone):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        state = models.get_model_builder(backbone)(weights=None).state_dict()
    if backbone == "densenet121":  # as the published file has it
        state = {name.replace("norm1", "norm.1").replace("conv2", "conv.2"): value for name, value in state.items()}
    torch.save(state, tmp_path / "a.pth")
    made = resolve(backbone, tmp_path / "a.pth", 96).body.net.state_dict()
    fitting = [name for name in made if name in state]
    assert len(fitting) > (0.5 if backbone == "densenet121" else 0.95) * len(made)
    assert all(torch.equal(made[name], state[name]) for name in fitting)


def test_a_whole_file_of_timm_fits(tmp_path):
    timm = pytest.importorskip("timm", reason="needs the extra `timm`")
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "a.pth")
    assert resolve("timm/resnet10t", tmp_path / "a.pth").facts["features"] == 512


def test_a_misspelt_name_of_timm_is_answered_with_the_nearest():
    pytest.importorskip("timm", reason="needs the extra `timm`")
    with pytest.raises(DarkroomError, match=r"timm has no model 'resnot10'; did you mean `timm/res"):
        resolve("timm/resnot10", "none")


def test_a_size_that_a_backbone_cannot_take_is_told():
    with pytest.raises(DarkroomError, match="image_size: this backbone cannot take 32 px"):
        resolve("inception_v3", "none", 32)


def test_a_vit_s_positions_are_fitted_to_another_size(tmp_path):
    torch.save(models.vit_b_32().state_dict(), tmp_path / "a.pth")
    net = resolve("vit_b_32", tmp_path / "a.pth", 96).body.net
    assert net.encoder.pos_embedding.shape == (1, 10, 768)
    with pytest.raises(DarkroomError, match="image_size: vit_b_32 cannot take 100 px"):
        resolve("vit_b_32", "none", 100)


def test_another_run_s_classifier_brings_its_preprocessing_its_head_and_its_classes(tmp_path):
    folder = save_run(tmp_path / "classifier")
    resolved = resolve("small_cnn", folder, 28)
    assert resolved.facts["mean"] == MEAN
    assert resolved.earlier is not None
    assert resolved.earlier.classes == ["ant", "bee"]
    kept = load_network(folder).body.net.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in resolved.body.net.state_dict().items())
    assert backbones.preprocessing("small_cnn", str(folder)) == backbones.Preprocessing(28, 32, tuple(MEAN), tuple(STD))


def test_its_body_alone_is_a_file_of_weights_that_says_what_it_is(tmp_path):
    file = save_run(tmp_path / "classifier") / "body.safetensors"
    assert backbones.preprocessing("small_cnn", str(file)).short_side == 32
    resolved = resolve("small_cnn", file, 28)
    assert resolved.earlier is None
    assert resolved.facts["weights_sha256"] == files.sha256(file)
    with pytest.raises(WeightsError, match=r"holds a small_cnn, backbone is lenet; make the two agree"):
        resolve("lenet", file, 28)


def test_a_network_of_one_size_cannot_take_weights_of_another(tmp_path):
    file = save_run(tmp_path / "classifier", "lenet", 28) / "body.safetensors"
    with pytest.raises(WeightsError, match=r"has shape \(120, 400\), lenet at 32 px wants"):
        resolve("lenet", file, 32)


@pytest.fixture
def publisher(tmp_path, monkeypatch):
    """Yield a web server that publishes weights of squeezenet1_1, and the file it gives."""
    folder = tmp_path / "published"
    folder.mkdir()
    torch.save(models.squeezenet1_1().state_dict(), folder / "new.pth")
    file = folder / f"squeezenet-{files.sha256(folder / 'new.pth')[:8]}.pth"
    (folder / "new.pth").rename(file)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(backbones, "PUBLISHED_AT", f"http://127.0.0.1:{server.server_port}/")
    row = backbones.BACKBONES["squeezenet1_1"]
    entry = backbones.Published("IMAGENET1K_V1", file.name, row.usual)
    monkeypatch.setitem(backbones.BACKBONES, "squeezenet1_1", dataclasses.replace(row, published=(entry,)))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("DARKROOM_DOWNLOADS", raising=False)
    yield file
    server.shutdown()
    server.server_close()


def test_published_weights_are_downloaded_once(publisher):
    first = resolve("squeezenet1_1", "imagenet")
    assert first.facts["weights"] == "imagenet"
    assert first.facts["weights_sha256"] == files.sha256(publisher)
    publisher.unlink()
    assert resolve("squeezenet1_1", "IMAGENET1K_V1").facts["weights_sha256"] == first.facts["weights_sha256"]


def test_published_weights_that_are_not_what_their_name_says_are_refused(publisher):
    publisher.write_bytes(publisher.read_bytes()[:-1])
    with pytest.raises(WeightsError, match=r"weights: imagenet: cannot get squeezenet-.*sha256 is .* its name says"):
        resolve("squeezenet1_1", "imagenet")


def test_without_a_network_it_says_how_to_get_the_weights(publisher):
    publisher.unlink()
    with pytest.raises(WeightsError, match=r"cannot get .*: http.*DARKROOM_DOWNLOADS.*; or set weights to the file"):
        resolve("squeezenet1_1", "imagenet")


def test_published_weights_may_lie_in_the_folder_of_downloads(publisher, tmp_path, monkeypatch):
    monkeypatch.setenv("DARKROOM_DOWNLOADS", str(tmp_path / "mine"))
    (tmp_path / "mine").mkdir()
    publisher.rename(tmp_path / "mine" / publisher.name)
    assert resolve("squeezenet1_1", "imagenet").facts["features"] == 512
    (tmp_path / "mine" / publisher.name).write_bytes(b"not the published bytes")
    with pytest.raises(WeightsError, match="its name says"):
        resolve("squeezenet1_1", "imagenet")


def test_a_saved_classifier_answers_without_torch_as_its_network_does(tmp_path):
    saved = classifier.SavedClassifier.load(save_run(tmp_path / "classifier"))
    features = np.random.default_rng(0).normal(size=(4, 128)).astype(np.float32)
    with torch.no_grad():
        logits = load_network(tmp_path / "classifier").head(torch.from_numpy(features))
    expected = torch.softmax(logits.double() / 1.5, 1).numpy()
    np.testing.assert_allclose(saved.probabilities(features), expected, rtol=1e-5)
    assert tensors.facts(tmp_path / "classifier/body.safetensors") is not None


def test_no_classifier_is_said_plainly(tmp_path):
    with pytest.raises(DarkroomError, match=r"holds no classifier \(model\.json is missing\)"):
        classifier.SavedClassifier.load(tmp_path)
