"""An index of made-up images with all that dividing them has to cope with; numpy alone."""

import hashlib

import numpy as np


def index(count: int = 3000) -> list[tuple[str, ...]]:
    """Rows with copies, exact and near, groups, official splits, damaged files and pictures without a hash."""
    random = np.random.default_rng(0)
    hashes = random.integers(0, 256, (count, 32), np.uint8)
    hashes[: count // 20] = hashes[-(count // 20) :]
    hashes[: count // 20, 7] ^= 5
    rows: list[tuple[str, ...]] = []
    seen: dict[str, int] = {}
    for number, of in enumerate(random.integers(0, count, count).tolist()):
        digest = hashlib.sha256(str(of if number % 9 == 0 else number).encode()).hexdigest()
        seen[digest] = seen.get(digest, 0) + 1
        name = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
        damaged, flat = number % 97 == 0, number % 31 == 0
        rows.append((
            name,
            f"klasse {number % 7}" if number % 5 else "ä,ö",
            ("", "train", "val", "test")[number % 4] if number % 3 else "",
            f"patient {number % 800}" if number % 2 else "",
            f"{number % 7}/{number}.jpg",
            "" if damaged else digest,
            "" if damaged or flat else bytes(hashes[number]).hex(),
            "",
            str(64 + number % 3),
            "64",
        ))  # fmt: skip
    return rows
