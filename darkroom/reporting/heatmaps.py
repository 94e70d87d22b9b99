"""Where the model looks: the image with what speaks for its answer lit up, by Grad-CAM or by hiding patches."""

from collections.abc import Callable

import numpy as np

from darkroom.model.classifier import SavedClassifier
from darkroom.model.heatmaps import class_activation, lit, occlusion
from darkroom.model.runner import BodyRunner
from darkroom.reporting.gallery import Photos


def heat_drawer(photos: Photos, saved: SavedClassifier, body: BodyRunner) -> tuple[Callable[[int], np.ndarray], str]:
    """A function from an image's place to its picture with heat, (side, side, 3) uint8; and the method's name.

    Grad-CAM where the features are the average of a map, as in most CNNs; otherwise occlusion, which needs answers
    only.
    """

    answers = photos.predictions.predicted

    def by_map(place: int) -> np.ndarray:
        image = photos.read(np.array([place]))
        maps = body.features_and_maps(image)[1]
        assert maps is not None
        return lit(image[0], class_activation(maps[0], saved.head, int(answers[place])))

    def by_hiding(place: int) -> np.ndarray:
        image = photos.read(np.array([place]))[0]
        heat = occlusion(image, int(answers[place]), lambda hidden: saved.probabilities(body.features(hidden)))
        return lit(image, heat)

    has_maps = len(answers) > 0 and body.features_and_maps(photos.read(np.array([0])))[1] is not None
    return (by_map, "Grad-CAM") if has_maps else (by_hiding, "occlusion")
