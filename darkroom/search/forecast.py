"""Forecast accuracy with more images: a power law through a learning curve, with its uncertainty.

The error of a classifier trained on m images is modelled as c + a·m^(-b), b in 0.05..2, a and c not negative (C.
Cortes et al., NIPS 6, 1993; J. Hestness et al., arXiv 1712.00409, 2017). Many curves are drawn: images are resampled,
each size gets the noise that other images of that size would bring, and half of the curves have no floor (c = 0), since
few sizes cannot show whether there is one.
"""

from dataclasses import dataclass

import numpy as np

from darkroom.metrics.intervals import resamples

EXPONENTS = np.linspace(0.05, 2.0, 40)
DRAWS = 600
LEAST = 1e-4  # variance of an error, at least: a size without an error must not fix the curve alone


@dataclass(frozen=True)
class Curve:
    """A learning curve: accuracy by the number of training images, `sizes` (S,).

    `right` (S, n): how often each of n images is answered rightly, 0..1; `noise` (S,): the standard deviation of the
    accuracy over training sets of that size; `labels` int64 (n,).
    """

    sizes: np.ndarray
    right: np.ndarray
    noise: np.ndarray
    labels: np.ndarray

    @property
    def accuracy(self) -> np.ndarray:
        """The accuracy at each size: (S,)."""
        return self.right.mean(axis=1)

    def of_class(self, label: int) -> "Curve":
        """Return the curve of one class's images: its recall. Fewer images make its noise larger."""
        mine = self.labels == label
        return Curve(self.sizes, self.right[:, mine], self.noise * (len(mine) / mine.sum()) ** 0.5, self.labels[mine])

    def draws(self, seed: int, count: int = DRAWS) -> np.ndarray:
        """Return drawn curves of the error: (count, S), 0..1."""
        weights = np.concatenate(list(resamples(self.labels, count, seed)))
        errors = 1 - weights @ self.right.T / len(self.labels)
        noise = np.random.default_rng([seed, 0xC0]).normal(0, 1, errors.shape) * self.noise
        return np.clip(errors + noise, 0.0, 1.0)

    @property
    def doubling_noise(self) -> float:
        """The standard deviation of the measured gain from half of the images to all of them.

        It has the noise of both training sets, and that of the images whose answers change, each a coin.
        """
        half = int(np.argmin(np.abs(self.sizes - self.sizes[-1] / 2)))
        changed = np.abs(self.right[-1] - self.right[half]).mean() / self.right.shape[1]
        return float(np.sqrt(changed + self.noise[-1] ** 2 + self.noise[half] ** 2))


@dataclass(frozen=True)
class Forecast:
    """Fitted curves, (count,) each: error(m) = floor + scale·m^(-exponent).

    `noise`: the standard deviation of a measured gain around them where the images are doubled.
    """

    floor: np.ndarray
    scale: np.ndarray
    exponent: np.ndarray
    noise: float

    def error(self, size: float) -> np.ndarray:
        """Return the error of each curve at `size` images: (count,), 0..1."""
        return np.clip(self.floor + self.scale * size**-self.exponent, 0.0, 1.0)

    def gain(self, size: float, more: float) -> tuple[float, float, float]:
        """Return the gain in accuracy of `more` images beside `size` as it would be measured: (median, low, high).

        The 95 % interval holds the noise of measuring it, which is less for few images: most answers stay the same.
        """
        gains = self.error(size) - self.error(size + more)
        noise = np.random.default_rng(0xA1).normal(0, self.noise * min(1.0, more / size) ** 0.5, len(gains))
        low, high = np.quantile(gains + noise, [0.025, 0.975])
        return float(np.median(gains)), float(low), float(high)

    def accuracy(self, size: float) -> tuple[float, float, float]:
        """Return the accuracy at `size` images and its 95 % interval: (median, low, high)."""
        middle, low, high = np.quantile(1 - self.error(size), [0.5, 0.025, 0.975])
        return float(middle), float(low), float(high)


def fit(curve: Curve, seed: int) -> Forecast:
    """Return the power laws through drawn curves of `curve`; every other one has no floor."""
    drawn = curve.draws(seed)
    floored, plain = fit_errors(curve.sizes, drawn[::2], floor=True), fit_errors(curve.sizes, drawn[1::2], floor=False)
    floors, scales, exponents = (np.concatenate(pair) for pair in zip(floored, plain, strict=True))
    return Forecast(floors, scales, exponents, curve.doubling_noise)


def fit_errors(sizes: np.ndarray, errors: np.ndarray, floor: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return floor, scale and exponent, (B,) each, of the power laws nearest to `errors` (B, S) at `sizes` (S,).

    Weighted least squares in c and a for each exponent of a grid; weights are those of a binomial error.
    """
    weights = 1 / np.maximum(errors * (1 - errors), LEAST)  # (B, S)
    best = np.full(len(errors), np.inf)
    found = np.zeros((3, len(errors)))
    for exponent in EXPONENTS:
        x = (sizes / sizes[-1]) ** -exponent
        sw, sx, sy = weights.sum(1), weights @ x, (weights * errors).sum(1)
        sxx, sxy = weights @ (x * x), (weights * errors) @ x
        scale = np.maximum((sw * sxy - sx * sy) / np.maximum(sw * sxx - sx * sx, 1e-12), 0.0) if floor else sxy / sxx
        base = (sy - scale * sx) / sw if floor else np.zeros(len(errors))
        scale, base = np.where(base < 0, sxy / sxx, scale), np.maximum(base, 0.0)
        loss = (weights * (errors - base[:, None] - scale[:, None] * x) ** 2).sum(1)
        better = loss < best
        best = np.where(better, loss, best)
        found[:, better] = np.array([base, scale * sizes[-1] ** exponent, np.full(len(base), exponent)])[:, better]
    return found[0], found[1], found[2]
