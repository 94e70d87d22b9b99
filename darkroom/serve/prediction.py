"""What the model says of one picture: the classes with their probabilities, and whether it should be believed."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from darkroom.core.errors import BadImage, DarkroomError
from darkroom.metrics import conformal
from darkroom.metrics.abstention import Limits


@dataclass(frozen=True)
class Prediction:
    """Hold the answer to one picture: `probabilities` (K,) float32, calibrated, in the order of `classes`.

    `similarity`: the mean cosine of its features to those of the most similar training images, -1..1; None where the
    model does not tell. `limits`: below which similarity it is unknown, and below which confidence unsure.
    """

    classes: list[str]
    probabilities: np.ndarray
    similarity: float | None = None
    limits: Limits = Limits()

    @property
    def label(self) -> str:
        """Return the most probable class."""
        return self.classes[int(self.probabilities.argmax())]

    @property
    def probability(self) -> float:
        """Return the probability of that class, 0..1."""
        return float(self.probabilities.max())

    def top(self, count: int) -> list[tuple[str, float]]:
        """Return the `count` most probable classes with their probabilities, best first."""
        best = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.classes[index], float(self.probabilities[index])) for index in best]

    @property
    def unknown(self) -> bool:
        """Return whether the picture is unlike the training images; False where the model cannot tell."""
        return self.limits.similarity is not None and not (
            self.similarity is not None and self.similarity >= self.limits.similarity
        )

    @property
    def uncertain(self) -> bool:
        """Return whether the answer is less sure than `answer_share` or `answer_accuracy` asks for; else False."""
        return self.limits.confidence is not None and not self.probability >= self.limits.confidence

    @property
    def doubt(self) -> str:
        """Return "unknown", "uncertain" or "": the word that stands before the answer."""
        return "unknown" if self.unknown else "uncertain" if self.uncertain else ""

    def classes_at(self, level: float) -> list[str]:
        """Return the set of classes that holds the right one with a probability of `level`, best first.

        Raises DarkroomError where the model has no sets of this level.
        """
        if level not in self.limits.sets:
            raise DarkroomError(no_sets(self.limits, level))
        chosen = conformal.sets(self.probabilities[None], self.limits.sets[level])[0]
        return [self.classes[index] for index in np.argsort(-self.probabilities, kind="stable") if chosen[index]]


def no_sets(limits: Limits, level: float | None) -> str:
    """Return why there are no sets of a level, and what to do."""
    if not limits.sets:
        return "this model has no sets of classes; `dvc repro export` makes them, from 9 validation images on"
    return f"this model has no sets of level {level:g}; it has {', '.join(f'{each:g}' for each in limits.sets)}"


def answer_facts(answer: Prediction | BadImage, top: int, level: float | None = None) -> dict[str, Any]:
    """Return an answer as JSON: class, probability, the `top` classes, and doubts; or the error.

    `unknown` with `similarity`, and `uncertain`, where the model has these limits; `set` with a `level`.
    """
    if isinstance(answer, BadImage):
        return {"error": str(answer)}
    best = [{"class": label, "probability": round(probability, 6)} for label, probability in answer.top(top)]
    facts: dict[str, Any] = best[0] | {"top": best}
    if answer.limits.similarity is not None:
        similarity = answer.similarity
        shown = None if similarity is None or not np.isfinite(similarity) else round(similarity, 6)
        facts |= {"unknown": answer.unknown, "similarity": shown}
    if answer.limits.confidence is not None:
        facts["uncertain"] = answer.uncertain
    if level is not None:
        facts["set"] = {"level": level, "classes": answer.classes_at(level)}
    return facts
