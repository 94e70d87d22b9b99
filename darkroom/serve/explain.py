"""Where an exported model looks: a heat map of one picture for one class. Needs no torch."""

import numpy as np

from darkroom.model.heatmaps import GRID, class_activation, occlusion, picture
from darkroom.serve.predictor import Predictor

__all__ = ["class_activation", "cost", "heat", "occlusion", "picture"]


def heat(predictor: Predictor, image: np.ndarray, label: int | None = None) -> np.ndarray:
    """Heat (h, w) float32, 0..1, of a framed picture (S, S, 3) for a class, by default the most probable one.

    In closed form where the model hands out the map that its features are the mean of, by occlusion elsewhere.
    """
    probabilities, maps = predictor.predict_with_maps(image[None])
    label = int(probabilities[0].argmax()) if label is None else label
    if maps is not None:
        return class_activation(maps[0], predictor.head, label)
    return occlusion(image, label, predictor.predict)


def cost(predictor: Predictor) -> int:
    """How many pictures a heat map costs the model, in batches' worth of time."""
    return 1 if predictor.has_maps else 1 + GRID * GRID
