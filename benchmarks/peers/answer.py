"""One photo answered by a script that a user would write with torchvision: weights, preset, one forward pass."""

import sys

import torch
from PIL import Image
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2


def main(weights: str, photo: str) -> None:
    """Print the most probable of ImageNet's classes."""
    published = MobileNet_V2_Weights.IMAGENET1K_V1
    model = mobilenet_v2()
    model.load_state_dict(torch.load(weights, weights_only=True))
    model.eval()
    with torch.inference_mode():
        probabilities = model(published.transforms()(Image.open(photo).convert("RGB"))[None]).softmax(1)[0]
    best = int(probabilities.argmax())
    print(published.meta["categories"][best], float(probabilities[best]))


if __name__ == "__main__":
    main(*sys.argv[1:])
