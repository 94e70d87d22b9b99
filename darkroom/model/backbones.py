"""The table of backbones: one row has a network's builder, input size and published weights. Imports no torch.

`preprocessing` answers what `image_size: auto` means and which mean and std belong to the weights. The rows of
torchvision are checked against torchvision itself by a test. darkroom/model/builders.py builds what a row names.
"""

import difflib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from darkroom.core import files
from darkroom.core.errors import WeightsError
from darkroom.core.text import quoted
from darkroom.model import tensors, timm_models

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)
PUBLISHED_AT = "https://download.pytorch.org/models/"
TIMM = "timm/"
NAMED = ("none", "imagenet", "package")
FACTS = ("backbone", "image_size", "short_side", "mean", "std")  # what a run's own file of weights says of itself


@dataclass(frozen=True)
class Preprocessing:
    """What a backbone's input is: `size` px, cut out of the centre of a picture that is resized to `short_side`.

    `mean` and `std` (3 floats for channels in 0..1) belong to the weights; None: from the training split.
    `interpolation` and `resize` are those of darkroom/images/framing.py.
    """

    size: int
    short_side: int
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    interpolation: str = "bilinear"
    resize: str = "crop"


@dataclass(frozen=True)
class Published:
    """One set of ImageNet weights: its name, its file at PUBLISHED_AT (the hash is in the name), its preprocessing."""

    name: str
    file: str
    preprocessing: Preprocessing

    @property
    def url(self) -> str:
        """Where the file is published."""
        return PUBLISHED_AT + self.file


@dataclass(frozen=True)
class Backbone:
    """One row of the table.

    `builder`: a class in darkroom/model/builders.py, or a function of `library` (torchvision). `usual`: the input
    from scratch. `minimum`: the smallest side in pixels that it takes, 1 where the network itself reports it.
    `published`: its ImageNet weights, the best ones first.
    """

    builder: str
    library: str
    usual: Preprocessing
    minimum: int = 1
    published: tuple[Published, ...] = ()


def _small(builder: str, size: int, minimum: int) -> Backbone:
    # Photos keep a margin around the crop, as ImageNet's 256 for 224; scans of 28 px are taken whole.
    return Backbone(builder, "darkroom", Preprocessing(size, size * 8 // 7 if size > 32 else size), minimum)


def _torchvision() -> dict[str, Backbone]:
    published: dict[str, list[Published]] = {}
    for line in TORCHVISION.strip().splitlines():
        name, weights, size, short_side, interpolation, file = line.split()
        # The one model that was trained with a mean and std of its own.
        mean, std = (HALF, HALF) if name == "efficientnet_v2_l" else (IMAGENET_MEAN, IMAGENET_STD)
        entry = Published(weights, file, Preprocessing(int(size), int(short_side), mean, std, interpolation))
        published.setdefault(name, []).append(entry)
    return {
        name: Backbone(name, "torchvision", entries[0].preprocessing, published=tuple(entries))
        for name, entries in published.items()
    }


# backbone, weights (the best ones first), size, short side before the crop, interpolation, file. VGG-16's
# IMAGENET1K_FEATURES is left out: its file has no numbers for the layers after the convolutions.
TORCHVISION = """
alexnet IMAGENET1K_V1 224 256 bilinear alexnet-owt-7be5be79.pth
convnext_base IMAGENET1K_V1 224 232 bilinear convnext_base-6075fbad.pth
convnext_large IMAGENET1K_V1 224 232 bilinear convnext_large-ea097f82.pth
convnext_small IMAGENET1K_V1 224 230 bilinear convnext_small-0c510722.pth
convnext_tiny IMAGENET1K_V1 224 236 bilinear convnext_tiny-983f1562.pth
densenet121 IMAGENET1K_V1 224 256 bilinear densenet121-a639ec97.pth
densenet161 IMAGENET1K_V1 224 256 bilinear densenet161-8d451a50.pth
densenet169 IMAGENET1K_V1 224 256 bilinear densenet169-b2777c0a.pth
densenet201 IMAGENET1K_V1 224 256 bilinear densenet201-c1103571.pth
efficientnet_b0 IMAGENET1K_V1 224 256 bicubic efficientnet_b0_rwightman-7f5810bc.pth
efficientnet_b1 IMAGENET1K_V2 240 255 bilinear efficientnet_b1-c27df63c.pth
efficientnet_b1 IMAGENET1K_V1 240 256 bicubic efficientnet_b1_rwightman-bac287d4.pth
efficientnet_b2 IMAGENET1K_V1 288 288 bicubic efficientnet_b2_rwightman-c35c1473.pth
efficientnet_b3 IMAGENET1K_V1 300 320 bicubic efficientnet_b3_rwightman-b3899882.pth
efficientnet_b4 IMAGENET1K_V1 380 384 bicubic efficientnet_b4_rwightman-23ab8bcd.pth
efficientnet_b5 IMAGENET1K_V1 456 456 bicubic efficientnet_b5_lukemelas-1a07897c.pth
efficientnet_b6 IMAGENET1K_V1 528 528 bicubic efficientnet_b6_lukemelas-24a108a5.pth
efficientnet_b7 IMAGENET1K_V1 600 600 bicubic efficientnet_b7_lukemelas-c5b4e57e.pth
efficientnet_v2_l IMAGENET1K_V1 480 480 bicubic efficientnet_v2_l-59c71312.pth
efficientnet_v2_m IMAGENET1K_V1 480 480 bilinear efficientnet_v2_m-dc08266a.pth
efficientnet_v2_s IMAGENET1K_V1 384 384 bilinear efficientnet_v2_s-dd5fe13b.pth
googlenet IMAGENET1K_V1 224 256 bilinear googlenet-1378be20.pth
inception_v3 IMAGENET1K_V1 299 342 bilinear inception_v3_google-0cc3c7bd.pth
maxvit_t IMAGENET1K_V1 224 224 bicubic maxvit_t-bc5ab103.pth
mnasnet0_5 IMAGENET1K_V1 224 256 bilinear mnasnet0.5_top1_67.823-3ffadce67e.pth
mnasnet0_75 IMAGENET1K_V1 224 232 bilinear mnasnet0_75-7090bc5f.pth
mnasnet1_0 IMAGENET1K_V1 224 256 bilinear mnasnet1.0_top1_73.512-f206786ef8.pth
mnasnet1_3 IMAGENET1K_V1 224 232 bilinear mnasnet1_3-a4c69d6f.pth
mobilenet_v2 IMAGENET1K_V2 224 232 bilinear mobilenet_v2-7ebf99e0.pth
mobilenet_v2 IMAGENET1K_V1 224 256 bilinear mobilenet_v2-b0353104.pth
mobilenet_v3_large IMAGENET1K_V2 224 232 bilinear mobilenet_v3_large-5c1a4163.pth
mobilenet_v3_large IMAGENET1K_V1 224 256 bilinear mobilenet_v3_large-8738ca79.pth
mobilenet_v3_small IMAGENET1K_V1 224 256 bilinear mobilenet_v3_small-047dcff4.pth
regnet_x_16gf IMAGENET1K_V2 224 232 bilinear regnet_x_16gf-ba3796d7.pth
regnet_x_16gf IMAGENET1K_V1 224 256 bilinear regnet_x_16gf-2007eb11.pth
regnet_x_1_6gf IMAGENET1K_V2 224 232 bilinear regnet_x_1_6gf-a12f2b72.pth
regnet_x_1_6gf IMAGENET1K_V1 224 256 bilinear regnet_x_1_6gf-e3633e7f.pth
regnet_x_32gf IMAGENET1K_V2 224 232 bilinear regnet_x_32gf-6eb8fdc6.pth
regnet_x_32gf IMAGENET1K_V1 224 256 bilinear regnet_x_32gf-9d47f8d0.pth
regnet_x_3_2gf IMAGENET1K_V2 224 232 bilinear regnet_x_3_2gf-7071aa85.pth
regnet_x_3_2gf IMAGENET1K_V1 224 256 bilinear regnet_x_3_2gf-f342aeae.pth
regnet_x_400mf IMAGENET1K_V2 224 232 bilinear regnet_x_400mf-62229a5f.pth
regnet_x_400mf IMAGENET1K_V1 224 256 bilinear regnet_x_400mf-adf1edd5.pth
regnet_x_800mf IMAGENET1K_V2 224 232 bilinear regnet_x_800mf-94a99ebd.pth
regnet_x_800mf IMAGENET1K_V1 224 256 bilinear regnet_x_800mf-ad17e45c.pth
regnet_x_8gf IMAGENET1K_V2 224 232 bilinear regnet_x_8gf-2b70d774.pth
regnet_x_8gf IMAGENET1K_V1 224 256 bilinear regnet_x_8gf-03ceed89.pth
regnet_y_128gf IMAGENET1K_SWAG_E2E_V1 384 384 bicubic regnet_y_128gf_swag-c8ce3e52.pth
regnet_y_128gf IMAGENET1K_SWAG_LINEAR_V1 224 224 bicubic regnet_y_128gf_lc_swag-cbe8ce12.pth
regnet_y_16gf IMAGENET1K_V2 224 232 bilinear regnet_y_16gf-3e4a00f9.pth
regnet_y_16gf IMAGENET1K_V1 224 256 bilinear regnet_y_16gf-9e6ed7dd.pth
regnet_y_16gf IMAGENET1K_SWAG_E2E_V1 384 384 bicubic regnet_y_16gf_swag-43afe44d.pth
regnet_y_16gf IMAGENET1K_SWAG_LINEAR_V1 224 224 bicubic regnet_y_16gf_lc_swag-f3ec0043.pth
regnet_y_1_6gf IMAGENET1K_V2 224 232 bilinear regnet_y_1_6gf-0d7bc02a.pth
regnet_y_1_6gf IMAGENET1K_V1 224 256 bilinear regnet_y_1_6gf-b11a554e.pth
regnet_y_32gf IMAGENET1K_V2 224 232 bilinear regnet_y_32gf-8db6d4b5.pth
regnet_y_32gf IMAGENET1K_V1 224 256 bilinear regnet_y_32gf-4dee3f7a.pth
regnet_y_32gf IMAGENET1K_SWAG_E2E_V1 384 384 bicubic regnet_y_32gf_swag-04fdfa75.pth
regnet_y_32gf IMAGENET1K_SWAG_LINEAR_V1 224 224 bicubic regnet_y_32gf_lc_swag-e1583746.pth
regnet_y_3_2gf IMAGENET1K_V2 224 232 bilinear regnet_y_3_2gf-9180c971.pth
regnet_y_3_2gf IMAGENET1K_V1 224 256 bilinear regnet_y_3_2gf-b5a9779c.pth
regnet_y_400mf IMAGENET1K_V2 224 232 bilinear regnet_y_400mf-e6988f5f.pth
regnet_y_400mf IMAGENET1K_V1 224 256 bilinear regnet_y_400mf-c65dace8.pth
regnet_y_800mf IMAGENET1K_V2 224 232 bilinear regnet_y_800mf-58fc7688.pth
regnet_y_800mf IMAGENET1K_V1 224 256 bilinear regnet_y_800mf-1b27b58c.pth
regnet_y_8gf IMAGENET1K_V2 224 232 bilinear regnet_y_8gf-dc2b1b54.pth
regnet_y_8gf IMAGENET1K_V1 224 256 bilinear regnet_y_8gf-d0d0e4a8.pth
resnet101 IMAGENET1K_V2 224 232 bilinear resnet101-cd907fc2.pth
resnet101 IMAGENET1K_V1 224 256 bilinear resnet101-63fe2227.pth
resnet152 IMAGENET1K_V2 224 232 bilinear resnet152-f82ba261.pth
resnet152 IMAGENET1K_V1 224 256 bilinear resnet152-394f9c45.pth
resnet18 IMAGENET1K_V1 224 256 bilinear resnet18-f37072fd.pth
resnet34 IMAGENET1K_V1 224 256 bilinear resnet34-b627a593.pth
resnet50 IMAGENET1K_V2 224 232 bilinear resnet50-11ad3fa6.pth
resnet50 IMAGENET1K_V1 224 256 bilinear resnet50-0676ba61.pth
resnext101_32x8d IMAGENET1K_V2 224 232 bilinear resnext101_32x8d-110c445d.pth
resnext101_32x8d IMAGENET1K_V1 224 256 bilinear resnext101_32x8d-8ba56ff5.pth
resnext101_64x4d IMAGENET1K_V1 224 232 bilinear resnext101_64x4d-173b62eb.pth
resnext50_32x4d IMAGENET1K_V2 224 232 bilinear resnext50_32x4d-1a0047aa.pth
resnext50_32x4d IMAGENET1K_V1 224 256 bilinear resnext50_32x4d-7cdf4587.pth
shufflenet_v2_x0_5 IMAGENET1K_V1 224 256 bilinear shufflenetv2_x0.5-f707e7126e.pth
shufflenet_v2_x1_0 IMAGENET1K_V1 224 256 bilinear shufflenetv2_x1-5666bf0f80.pth
shufflenet_v2_x1_5 IMAGENET1K_V1 224 232 bilinear shufflenetv2_x1_5-3c479a10.pth
shufflenet_v2_x2_0 IMAGENET1K_V1 224 232 bilinear shufflenetv2_x2_0-8be3c8ee.pth
squeezenet1_0 IMAGENET1K_V1 224 256 bilinear squeezenet1_0-b66bff10.pth
squeezenet1_1 IMAGENET1K_V1 224 256 bilinear squeezenet1_1-b8a52dc0.pth
swin_b IMAGENET1K_V1 224 238 bicubic swin_b-68c6b09e.pth
swin_s IMAGENET1K_V1 224 246 bicubic swin_s-5e29d889.pth
swin_t IMAGENET1K_V1 224 232 bicubic swin_t-704ceda3.pth
swin_v2_b IMAGENET1K_V1 256 272 bicubic swin_v2_b-781e5279.pth
swin_v2_s IMAGENET1K_V1 256 260 bicubic swin_v2_s-637d8ceb.pth
swin_v2_t IMAGENET1K_V1 256 260 bicubic swin_v2_t-b137f0e2.pth
vgg11 IMAGENET1K_V1 224 256 bilinear vgg11-8a719046.pth
vgg11_bn IMAGENET1K_V1 224 256 bilinear vgg11_bn-6002323d.pth
vgg13 IMAGENET1K_V1 224 256 bilinear vgg13-19584684.pth
vgg13_bn IMAGENET1K_V1 224 256 bilinear vgg13_bn-abd245e5.pth
vgg16 IMAGENET1K_V1 224 256 bilinear vgg16-397923af.pth
vgg16_bn IMAGENET1K_V1 224 256 bilinear vgg16_bn-6c64b313.pth
vgg19 IMAGENET1K_V1 224 256 bilinear vgg19-dcbb9e9d.pth
vgg19_bn IMAGENET1K_V1 224 256 bilinear vgg19_bn-c79401a0.pth
vit_b_16 IMAGENET1K_V1 224 256 bilinear vit_b_16-c867db91.pth
vit_b_16 IMAGENET1K_SWAG_E2E_V1 384 384 bicubic vit_b_16_swag-9ac1b537.pth
vit_b_16 IMAGENET1K_SWAG_LINEAR_V1 224 224 bicubic vit_b_16_lc_swag-4e70ced5.pth
vit_b_32 IMAGENET1K_V1 224 256 bilinear vit_b_32-d86f8d99.pth
vit_h_14 IMAGENET1K_SWAG_E2E_V1 518 518 bicubic vit_h_14_swag-80465313.pth
vit_h_14 IMAGENET1K_SWAG_LINEAR_V1 224 224 bicubic vit_h_14_lc_swag-c1eb923e.pth
vit_l_16 IMAGENET1K_V1 224 242 bilinear vit_l_16-852ce7e3.pth
vit_l_16 IMAGENET1K_SWAG_E2E_V1 512 512 bicubic vit_l_16_swag-4f3808c9.pth
vit_l_16 IMAGENET1K_SWAG_LINEAR_V1 224 224 bicubic vit_l_16_lc_swag-4d563306.pth
vit_l_32 IMAGENET1K_V1 224 256 bilinear vit_l_32-c7638314.pth
wide_resnet101_2 IMAGENET1K_V2 224 232 bilinear wide_resnet101_2-d733dc28.pth
wide_resnet101_2 IMAGENET1K_V1 224 256 bilinear wide_resnet101_2-32ee1156.pth
wide_resnet50_2 IMAGENET1K_V2 224 232 bilinear wide_resnet50_2-9ba9bcbe.pth
wide_resnet50_2 IMAGENET1K_V1 224 256 bilinear wide_resnet50_2-95faca4d.pth
"""
BACKBONES: dict[str, Backbone] = {
    "lenet": _small("LeNet", size=28, minimum=12),
    "simple_cnn": _small("SimpleCNN", size=224, minimum=8),
    "small_cnn": _small("SmallCNN", size=28, minimum=4),
    **_torchvision(),
}


def published(backbone: str, weights: str) -> Published:
    """Return the entry of `weights` (`imagenet`: the best ones) for a torchvision `backbone`. Raises WeightsError."""
    entries = BACKBONES[backbone].published
    if not entries:
        raise WeightsError(f"weights: {weights}: nobody published ImageNet weights of {backbone}; use none or a file")
    if weights == "imagenet":
        return entries[0]
    names = [entry.name for entry in entries]
    if weights not in names:
        near = difflib.get_close_matches(weights, [*NAMED, *names], n=1, cutoff=0.5)
        hint = f"; did you mean `{near[0]}`?" if near else ""
        raise WeightsError(
            f"weights is {quoted(weights)}, expected none, imagenet, {', '.join(names)}, or an existing file{hint}"
        )
    return entries[names.index(weights)]


def is_file(weights: str) -> bool:
    """Return whether `weights` means a file or a folder rather than a published name."""
    return weights not in NAMED and ("/" in weights or "." in weights or Path(weights).exists())


def preprocessing(backbone: str, weights: str) -> Preprocessing:
    """Return the input that belongs to `weights` of `backbone`.

    A run's own weights carry their preprocessing; any other file is taken to want what the published weights of the
    backbone want. From scratch the size is the usual one, and mean and std are None. Raises WeightsError for a file
    that does not say, and for a backbone that is not known.
    """
    _require_known(backbone)
    if is_file(weights):
        own = facts_of(Path(weights))
        if own is not None:
            return Preprocessing(own["image_size"], own["short_side"], tuple(own["mean"]), tuple(own["std"]),
                                 own.get("interpolation", "bilinear"), own.get("resize", "crop"))  # fmt: skip
    elif weights not in NAMED and not backbone.startswith(TIMM):
        return published(backbone, weights).preprocessing
    usual = _usual(backbone)
    return replace(usual, mean=None, std=None) if weights == "none" else usual


def _require_known(backbone: str) -> None:
    if backbone.startswith(TIMM) or backbone in BACKBONES:
        return
    near = difflib.get_close_matches(backbone, BACKBONES, n=1, cutoff=0.5)
    hint = f"; did you mean `{near[0]}`?" if near else ""
    names = ", ".join(list(BACKBONES)[:4])
    raise WeightsError(f"backbone is {quoted(backbone)}, expected {names}, … or timm/NAME{hint}")


def facts_of(path: Path) -> dict[str, Any] | None:
    """Return what a run wrote beside its weights: backbone, image_size, short_side, mean, std, …

    None for a foreign file. `path` is a run's models/classifier or a .safetensors made from it. Raises WeightsError
    when there is nothing.
    """
    if path.is_dir():
        if not (path / "model.json").exists():
            raise WeightsError(f"weights: {path} holds no model.json; expected a file or a run's models/classifier")
        model = files.read_json(path / "model.json")
        return model | {name: value for name, value in model["framing"].items() if name != "size"}
    if not path.exists():
        raise WeightsError(f"weights: {path} does not exist; expected none, imagenet, a published name, or a file")
    if path.suffix != ".safetensors":
        return None
    facts = tensors.facts(path)
    return facts if facts is not None and set(FACTS) <= set(facts) else None


def _usual(backbone: str) -> Preprocessing:
    if backbone.startswith(TIMM):
        return Preprocessing(**timm_models.preprocessing(backbone.removeprefix(TIMM)))
    return BACKBONES[backbone].usual
