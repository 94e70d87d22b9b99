"""Make random generators whose numbers depend on their purpose alone: not on workers, order, or resuming a run."""

import hashlib

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def number(*path: int | str) -> int:
    """Return the 63-bit seed of `path`, such as (seed, "dropout", epoch, step)."""
    text = "/".join(str(part) for part in path)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(*path: int | str) -> np.random.Generator:
    """Return a numpy generator seeded by `path`."""
    return np.random.default_rng(number(*path))


def uniforms(samples: np.ndarray, count: int, *path: int | str) -> np.ndarray:
    """Return `count` uniform numbers in [0, 1) for each of `samples` int64 (b,): float64 (b, count).

    A sample gets the same numbers in any batch: splitmix64 (Steele, Lea and Flood, 2014) of a counter.
    """
    counter = samples.astype(np.uint64)[:, None] * np.uint64(count) + np.arange(count, dtype=np.uint64)
    key = np.full(1, number(*path), np.uint64)
    return (_mixed(_mixed(key) + counter * GOLDEN) >> np.uint64(11)) * 2.0**-53


def _mixed(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
