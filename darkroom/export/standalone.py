"""Classify pictures with this folder's model, without Darkroom: python predict.py PICTURE …

Needs numpy, onnxruntime, pillow and simplejpeg. Pictures of 8 bits a channel without transparency are decoded
as those that the model was measured on; others need `darkroom predict`. The model's metadata hold classes and framing,
and config.json the limits by which a picture is called unknown or an answer uncertain.
"""

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import simplejpeg
from PIL import Image, ImageCms, ImageOps

FOLDER = Path(__file__).parent


def scaled(width: int, height: int, framing: dict[str, Any]) -> tuple[int, int]:
    """Return the (width, height) of the whole picture at the scale of the model's input."""
    size, side, resize = framing["size"], framing["short_side"], framing["resize"]
    if resize in ("stretch", "squash"):
        return (size, size) if resize == "stretch" else (side, side)
    if resize == "crop":  # the shorter side becomes `short_side`
        return side * width // min(width, height), side * height // min(width, height)
    longer = size if resize == "pad" else side
    return max(round(longer * width / max(width, height)), 1), max(round(longer * height / max(width, height)), 1)


def opened(data: bytes, framing: dict[str, Any]) -> Image.Image:
    """Return the picture, RGB, not yet turned upright; a JPEG at the smallest scale with twice the pixels needed.

    Its `info` holds the width and height of the `whole` picture, and the `scale` at which it was decoded.
    """
    image = Image.open(io.BytesIO(data))
    scale = 1.0
    if image.format == "JPEG" and image.mode in ("RGB", "L"):
        across, down = (2 * side for side in scaled(*image.size, framing))
        pixels = Image.fromarray(simplejpeg.decode_jpeg(data, "RGB", min_height=down, min_width=across))
        eighths = [n for n in range(8, 0, -1) if pixels.size == tuple(-(-side * n // 8) for side in image.size)]
        scale = eighths[0] / 8 if eighths else 1.0  # the sides of `pixels` were rounded up
    else:
        pixels = image.convert("RGB")
    pixels.info = {"icc_profile": image.info.get("icc_profile"), "orientation": image.getexif().get(0x0112, 1)}
    pixels.info |= {"whole": image.size, "scale": scale}
    return pixels


def pixels_of(data: bytes, framing: dict[str, Any]) -> np.ndarray:
    """Return the bytes of a picture's file as the model's input: (1, size, size, 3) uint8, RGB."""
    image = opened(data, framing)
    (width, height), scale, orientation = (image.info[name] for name in ("whole", "scale", "orientation"))
    starts, ends, kept = [], [], []
    # Where margins differ by a pixel, they are those of the upright picture.
    for side, final, mirrored in zip(
        (width, height),
        scaled(width, height, framing),
        (orientation in (2, 3, 7, 8), orientation in (3, 4, 6, 7)),
        strict=True,
    ):
        kept.append(min(framing["size"], final))
        margin = final - kept[-1]
        start = margin - round(margin / 2) if mirrored else round(margin / 2)
        factor = side * scale / final
        starts.append(start * factor)
        ends.append(min((start + kept[-1]) * factor, side * scale))
    method = Image.Resampling[framing.get("interpolation", "bilinear").upper()]
    found = image.resize((kept[0], kept[1]), method, box=(*starts, *ends), reducing_gap=3.0)
    found = in_srgb(found, image.info["icc_profile"])
    found.getexif()[0x0112] = orientation
    found = ImageOps.exif_transpose(found)
    square = Image.new("RGB", (framing["size"], framing["size"]), tuple(framing.get("fill", (0, 0, 0))))
    square.paste(found, ((framing["size"] - found.width) // 2, (framing["size"] - found.height) // 2))
    return np.asarray(square)[None]


def in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return RGB pixels in sRGB, which an embedded colour profile describes; without one, `image` itself."""
    if not profile:
        return image
    found = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if found.profile.xcolor_space != "RGB ":
        return image
    return ImageCms.profileToProfile(image, found, ImageCms.createProfile("sRGB"), outputMode="RGB") or image


def doubt(probabilities: np.ndarray, similarity: float | None, limits: dict[str, Any]) -> str:
    """Return "unknown: " or "uncertain: " for an answer (K,) that should be doubted, else ""."""
    if limits.get("similarity") is not None and not (similarity is not None and similarity >= limits["similarity"]):
        return "unknown: "
    below = limits.get("confidence") is not None and not probabilities.max() >= limits["confidence"]
    return "uncertain: " if below else ""


def main(names: list[str]) -> int:
    """Print the most probable classes of each picture, and whether to doubt them; return the exit status.

    1: a picture could not be read; 3: all could, and some are unknown or uncertain; as of `darkroom predict`.
    """
    config = FOLDER / "config.json"
    limits = json.loads(config.read_text(encoding="utf-8")).get("limits", {}) if config.exists() else {}
    session = onnxruntime.InferenceSession(FOLDER / "model.onnx", providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    classes, framing = json.loads(about["classes"]), json.loads(about["framing"])
    outputs = [output.name for output in session.get_outputs() if output.name in ("probabilities", "similarity")]
    unread = doubted = False
    for name in names:
        try:
            images = pixels_of(Path(name).read_bytes(), framing)
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            print(f"{name}: cannot be read as a picture: {error}", file=sys.stderr)
            unread = True
            continue
        answer = dict(zip(outputs, session.run(outputs, {"images": images}), strict=True))
        probabilities, similarity = answer["probabilities"][0], answer.get("similarity")
        best = np.argsort(-probabilities, kind="stable")[:5]
        doubts = doubt(probabilities, None if similarity is None else float(similarity[0]), limits)
        doubted = doubted or bool(doubts)
        print(f"{name}: {doubts}" + ", ".join(f"{classes[index]} {probabilities[index]:.6f}" for index in best))
    return 1 if unread else 3 if doubted else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
