from darkroom.app.predictor import Predictor as Predictor
