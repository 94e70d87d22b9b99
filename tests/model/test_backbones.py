"""The static table is torchvision's own, and every name in it can be built."""

import pytest
import torch
from torchvision import models

from darkroom.core.errors import WeightsError
from darkroom.model import backbones, builders
from tests.model.samples import empty_backbone


def test_the_table_equals_torchvision():
    expected = {}
    for name in models.list_models(module=models):
        entries = list(models.get_model_weights(name))
        entries = sorted((entry for entry in entries if entry.name != "IMAGENET1K_FEATURES"),
                         key=lambda entry: entry is not type(entry).DEFAULT)  # fmt: skip
        expected[name] = [
            (entry.name, entry.url, entry.transforms().crop_size[0], entry.transforms().resize_size[0],
             tuple(entry.transforms().mean), tuple(entry.transforms().std), entry.transforms().interpolation.value)
            for entry in entries
        ]  # fmt: skip
    table = {
        name: [(entry.name, entry.url, input.size, input.short_side, input.mean, input.std, input.interpolation)
               for entry in row.published for input in [entry.preprocessing]]
        for name, row in backbones.BACKBONES.items()
        if row.library == "torchvision"
    }  # fmt: skip
    assert table == expected


@pytest.mark.parametrize("backbone", backbones.BACKBONES)
def test_every_backbone_can_be_built_and_gives_one_row_of_features(backbone):
    size = backbones.preprocessing(backbone, "none").size
    network = empty_backbone(backbone, size)
    with torch.device("meta"):
        assert builders.features_of(network, size) > 16


def test_from_scratch_the_size_is_the_usual_one_and_the_statistics_are_those_of_the_data():
    assert backbones.preprocessing("inception_v3", "none") == backbones.Preprocessing(299, 342, None, None)
    assert backbones.preprocessing("small_cnn", "none") == backbones.Preprocessing(28, 28, None, None)


def test_the_preprocessing_is_that_of_the_weights():
    assert backbones.preprocessing("resnet50", "imagenet").short_side == 232
    assert backbones.preprocessing("resnet50", "IMAGENET1K_V1").short_side == 256
    assert backbones.preprocessing("efficientnet_v2_l", "imagenet").mean == (0.5, 0.5, 0.5)
    assert backbones.preprocessing("timm/resnet18", "none").size == 224


def test_a_misspelt_name_of_weights_is_answered_with_the_right_ones():
    with pytest.raises(WeightsError, match=r"IMAGENET1K_V2, IMAGENET1K_V1, or an existing file; did you mean"):
        backbones.preprocessing("resnet50", "IMAGENET_V1")
    with pytest.raises(WeightsError, match="did you mean `imagenet`"):
        backbones.preprocessing("resnet50", "imagnet")


def test_weights_that_nobody_published_are_refused():
    with pytest.raises(WeightsError, match="nobody published ImageNet weights of lenet"):
        backbones.published("lenet", "imagenet")


def test_a_file_that_is_absent_is_named():
    with pytest.raises(WeightsError, match=r"weights: nowhere/x\.pth does not exist"):
        backbones.preprocessing("resnet18", "nowhere/x.pth")
