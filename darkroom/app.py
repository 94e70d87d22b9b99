"""The name under which docs/serving.md has published `Predictor` since 0.1.0; the class lives in `darkroom.serve`."""

from darkroom.serve.predictor import Predictor as Predictor
