"""Copies: found when resized, re-encoded or brighter; others are left alone, also where all pictures are alike."""

import io
import itertools
from functools import partial

import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy.fft import dctn

from darkroom.images.hashes import (
    COUNT,
    FREQUENCIES,
    GRID,
    ORDER,
    WINDOWS,
    as_text,
    crop_pairs,
    from_text,
    hash_of,
    turned,
    window_hashes,
)
from darkroom.sources.arrays import digits, png
from darkroom.sources.index import fingerprints
from darkroom.splits.duplicates import MOST, as_bits, clusters, near_pairs, near_threshold, turned_pairs
from tests.images.pictures import ALTERED, encoded, photos, saved


def perceptual_hash(data: bytes) -> str:
    return fingerprints(data)[0]


def distance(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


@pytest.mark.parametrize("change", ALTERED.values(), ids=ALTERED.keys())
def test_an_altered_copy_is_near_and_others_are_far(change):
    hashes = [perceptual_hash(encoded(number)) for number in range(36)]
    copies = [perceptual_hash(change(photo)) for photo in photos()]
    near = [distance(one, other) for one, other in zip(hashes, copies, strict=True)]
    assert np.mean(np.array(near) <= MOST) > 0.85
    others = [distance(hashes[i], copies[j]) for i in range(36) for j in range(36) if i != j]
    assert min(others) > MOST


def test_the_orientation_flag_makes_no_difference():
    turned = Image.Exif()
    turned[0x0112] = 3
    out = io.BytesIO()
    photos()[20].rotate(180).save(out, "JPEG", quality=95, exif=turned)
    assert distance(perceptual_hash(out.getvalue()), perceptual_hash(encoded(20))) < 40


def test_flat_and_broken_pictures_have_no_hash():
    assert perceptual_hash(saved(Image.new("RGB", (50, 50), "white"))) == ""
    assert perceptual_hash(b"no picture") == ""


def planted(copies_of: int, flips: int, among: int, seed: int = 0) -> tuple[np.ndarray, set[tuple[int, int]]]:
    """`among` random hashes of which some have a copy that differs in `flips` bits; and the pairs."""
    random = np.random.default_rng(seed)
    bits = random.integers(0, 2, (among, 256), dtype=np.uint8)
    half = among // 2
    for place in range(copies_of):
        bits[half + place] = bits[place]
        bits[half + place, random.permutation(256)[:flips]] ^= 1
    return np.packbits(bits, axis=1), {(place, half + place) for place in range(copies_of)}


@pytest.mark.parametrize(("flips", "recall"), [(0, 1.0), (16, 1.0), (32, 1.0), (48, 0.95)])
def test_planted_copies_are_found_among_twenty_thousand(flips, recall):
    hashes, pairs = planted(200, flips, 20_000)
    found = set(map(tuple, near_pairs(hashes, 64).tolist()))
    assert len(found & pairs) >= recall * len(pairs)
    assert not found - pairs


def test_the_threshold_is_wide_for_photos_and_narrow_where_all_are_alike():
    photo_bits = as_bits([perceptual_hash(encoded(number)) for number in range(36)])
    assert near_threshold(photo_bits) > 40
    digit_bits = as_bits([perceptual_hash(png(pixels)) for _, pixels in digits()])
    assert near_threshold(digit_bits) < 16


def clustered(digests: list[str], hashes: list[str], windows: tuple[str, ...] = ()) -> list[int]:
    """Return the clusters of digests and hexadecimal hashes, "" where there is none."""
    bits = as_bits([text or "0" * 64 for text in hashes])
    hashed = np.array([text != "" for text in hashes], bool)
    return clusters(np.array(digests, np.bytes_), bits, hashed, from_text(windows)).tolist()


def test_digits_are_not_chained_together():
    """A fixed threshold for photos would put most of the 1,797 digits into a few clusters."""
    hashes = [perceptual_hash(png(pixels)) for _, pixels in digits()]
    sizes = np.bincount(clustered([""] * len(hashes), hashes))
    assert sizes.max() <= 3
    assert (sizes > 1).sum() < 10


def flipped(bits: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    changed = bits.copy()
    changed[rng.permutation(256)[:count]] ^= True
    return changed


def test_pictures_that_many_others_resemble_are_joined_only_when_nearer_than_those():
    """Motorbikes on a plain ground are 56 bits apart by chance; photos only where one is cut a little."""
    rng = np.random.default_rng(0)
    photos_bits, product = rng.random((1200, 256)) < 0.5, rng.random(256) < 0.5
    alike = np.stack([flipped(product, 52, rng) for _ in range(40)])  # about 83 bits from each other
    pairs = [flipped(photos_bits[0], 56, rng), flipped(alike[0], 56, rng), flipped(alike[1], 30, rng)]
    bits = np.packbits(np.concatenate([photos_bits, alike, pairs]), axis=1)
    assert near_threshold(bits) == MOST
    found = clusters(np.array(range(len(bits)), "S"), bits, np.ones(len(bits), bool), np.empty((0, 13, 16)))
    assert found[-3:].tolist() == [0, 1241, 1201]
    assert len(np.unique(found)) == len(bits) - 2


def test_turned_copies_of_pictures_that_many_resemble_are_joined_only_when_nearer_than_those():
    rng = np.random.default_rng(1)
    photos_bits, symbol = rng.random((1200, 256)) < 0.5, rng.random(256) < 0.5
    alike = np.stack([flipped(symbol, 52, rng) for _ in range(40)])
    pairs = [flipped(~photos_bits[0], 56, rng), flipped(~alike[0], 56, rng), flipped(~alike[1], 30, rng)]
    bits = np.packbits(np.concatenate([photos_bits, alike, pairs]), axis=1)
    assert turned_pairs(bits, MOST).tolist() == [[0, 1240], [1201, 1242]]


def test_a_collection_full_of_copies_keeps_its_threshold():
    photo_bits = [perceptual_hash(encoded(number)) for number in range(36)]
    copies = [perceptual_hash(saved(photo, 60)) for photo in photos()]
    assert near_threshold(as_bits(photo_bits + copies)) > 40


def test_clusters_join_exact_and_near_copies():
    data = [encoded(2), encoded(2), saved(photos()[2], 40), encoded(20), b"broken", b"broken", b"other"]
    hashes = [perceptual_hash(one) for one in data]
    digests = [str(hash(one)) for one in data]
    assert clustered(digests, hashes) == [0, 0, 0, 3, 4, 4, 6]


def test_nothing_has_no_copies():
    assert clustered([], []) == []
    assert clustered(["a"], [""]) == [0]
    assert clustered(["a"], ["0" * 64]) == [0]


def test_a_picture_whose_hash_is_zero_is_no_copy_of_one_without_a_hash():
    assert clustered(["a", "b", "c", "d"], ["0" * 64, "", "0" * 64, ""]) == [0, 1, 0, 3]


CUTS = {
    "2 % off": (0.01, 0.01, 0.99, 0.99), "10 % off": (0.05, 0.05, 0.95, 0.95), "20 % off": (0.1, 0.1, 0.9, 0.9),
    "left edge": (0.1, 0, 1, 1), "right edge": (0, 0, 0.9, 1), "top edge": (0, 0.1, 1, 1), "caption": (0, 0, 1, 0.9),
    "corner": (0.1, 0, 1, 0.9), "side": (0.05, 0.1, 0.95, 1),
}  # fmt: skip


TURNS = tuple(Image.Transpose)
TURNED = {turn.name: partial(Image.Image.transpose, method=turn) for turn in TURNS} | {"negative": ImageOps.invert}


def hashes_of(images: list[Image.Image]) -> np.ndarray:
    return as_bits([perceptual_hash(saved(image)) for image in images])


@pytest.mark.parametrize("turn", TURNED.values(), ids=TURNED)
def test_a_copy_that_is_mirrored_or_turned_or_a_negative_is_joined_to_its_picture_and_to_no_other(turn):
    originals = list(photos()[:12])
    copies = [turn(image).resize((150, 110)) for image in originals]
    every = hashes_of([*originals, *copies])
    assert turned_pairs(every, MOST).tolist() == [[row, 12 + row] for row in range(12)]
    joined = clusters(np.array([str(row) for row in range(24)], "S"), every, np.ones(24, bool), np.empty((0, 11, 16)))
    assert joined.tolist() == [*range(12)] * 2


def test_the_hash_of_each_turned_picture_is_known_without_decoding_it():
    image = photos()[0]
    known = {bytes(found[0]) for found in turned(hashes_of([image]))}
    decoded = hashes_of([image.transpose(turn) for turn in TURNS])
    near = [
        min(int(np.bitwise_count(np.frombuffer(one, np.uint8) ^ other).sum()) for one in known) for other in decoded
    ]
    assert max(near) <= 32  # a stranger is 128 away, and a copy up to 64
    assert len(known) == 8  # and of the negative


def test_a_symmetric_picture_and_turned_digits_have_no_copy():
    square = np.zeros((64, 64, 3), np.uint8)
    square[16:48, 16:48] = 255
    assert turned_pairs(hashes_of([Image.fromarray(square), photos()[0]]), MOST).tolist() == []
    scans = np.unique(as_bits([perceptual_hash(png(image)) for _, image in itertools.islice(digits(), 600)]), axis=0)
    assert turned_pairs(scans, near_threshold(scans)).tolist() == []


def test_among_a_thousand_strange_photos_no_turned_copy_is_found(shared):
    files = sorted((shared / "data/dogs-vs-cats").glob("*.jpg"))
    hashes = np.unique(as_bits([perceptual_hash(path.read_bytes()) for path in files]), axis=0)
    assert len(hashes) >= 900
    assert turned_pairs(hashes, near_threshold(hashes)).tolist() == []


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())
def test_a_crop_is_joined_to_its_picture_and_to_no_other(cut):
    pictures = [photo.resize((192, 192), Image.Resampling.BICUBIC) for photo in photos()]
    prints = [fingerprints(saved(picture), 192) for picture in pictures]
    cut_from = list(range(0, 36, 5))
    for number in cut_from:
        picture = pictures[number].crop(tuple(round(192 * edge) for edge in cut))
        prints.append((perceptual_hash(saved(picture, 80)), ""))
    hashes, windows = zip(*prints, strict=True)
    found = clustered([str(number) for number in range(len(prints))], hashes, windows)
    assert found[:36] == list(range(36))
    joined = [place == number for place, number in zip(found[36:], cut_from, strict=True)]
    assert sum(joined) >= 6
    assert [place for place, yes in zip(found[36:], joined, strict=True) if not yes and place < 36] == []


def test_crops_are_found_among_twenty_thousand_in_either_order():
    random = np.random.default_rng(0)
    hashes = random.integers(0, 256, (20_000, 32), np.uint8)
    windows = random.integers(0, 256, (20_000, len(WINDOWS), 16), np.uint8)
    windows[5:8] = 0  # flat, or too small a picture
    for picture, crop, number in ((3, 19_999, 0), (19_000, 11, 13)):
        bits = np.unpackbits(windows[picture, number])
        bits[random.permutation(128)[:12]] ^= 1
        hashes[crop, :16] = np.packbits(bits)
    hashes[40, :16] = windows[40, 2]  # resembles a window of its own
    hashes[50] = 0
    assert crop_pairs(hashes, windows, 22).tolist() == [[3, 19_999], [19_000, 11]]


def test_windows_are_told_as_they_are():
    grey = np.random.default_rng(0).integers(0, 256, (GRID, GRID), dtype=np.uint8)
    grey[:, 36:] = 128
    hashes = window_hashes(grey)
    assert hashes.shape == (COUNT, 16)
    assert (from_text([as_text(hashes), ""]) == np.stack([hashes, np.zeros_like(hashes)])).all()
    for (down, across), found in zip(WINDOWS, hashes, strict=False):
        spectrum = dctn(grey[slice(*down), slice(*across)].astype(float))[:FREQUENCIES, :FREQUENCIES].ravel()
        differ = (spectrum[ORDER[:128]] > 0) != np.unpackbits(found)
        assert differ.sum() <= 1  # where a frequency is nearly zero, and cosines of 17 bits say otherwise
    flat = np.full((GRID, GRID), 7, np.uint8)
    flat[:, 38:] = 200
    assert [hashes.any() for hashes in window_hashes(flat)[:-1]] == [across[1] > 38 for _, across in WINDOWS]


def test_the_hash_is_exact_so_that_every_processor_and_blas_agree():
    left = np.random.default_rng(0).integers(0, 256, (32, 16), dtype=np.uint8)
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(hash_of(np.hstack([left, left[:, ::-1]]))), np.uint8))
    odd = ORDER % FREQUENCIES % 2 == 1  # frequencies that a mirrored picture does not have: sums that are exactly zero
    assert not bits[odd].any()
    assert 0.3 < bits[~odd].mean() < 0.7
