"""Pictures with the answer written on them, for `darkroom predict --save-pictures`."""

import io
from pathlib import Path, PurePath

from PIL import Image, ImageDraw, ImageFont

from darkroom import files
from darkroom.app.predictor import Prediction
from darkroom.data.decode import Framing, decode

SIDE = 1024  # the longer side at most
LEAST = 224  # the shorter side at least: the words must fit


class Pictures:
    """Writes into `folder`, one JPEG a picture, named after its file; two files of one name get two pictures."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._taken: set[str] = set()

    def save(self, name: str, data: bytes, answer: Prediction) -> Path:
        """Draw `answer` under the picture in `data`, which has been classified and so can be decoded."""
        target = self.folder / self._name(name)
        file = io.BytesIO()
        draw(open_upright(data), f"{answer.label}  {100 * answer.probability:.1f} %").save(file, "JPEG", quality=90)
        files.write_bytes(target, file.getvalue())
        return target

    def _name(self, name: str) -> str:
        stem = PurePath(name).stem if name != "-" else "stdin"
        taken, number = stem, 1
        while taken.lower() in self._taken:
            number += 1
            taken = f"{stem}-{number}"
        self._taken.add(taken.lower())
        return f"{taken}.jpg"


def open_upright(data: bytes) -> Image.Image:
    """RGB, upright, at most SIDE on its longer side and, enlarged in blocks, at least LEAST on its shorter one.

    Decoded as the model's input is, so that whatever could be classified can be drawn.
    """
    with Image.open(io.BytesIO(data)) as opened:  # reads the header alone
        width, height = opened.size
        try:
            turned = opened.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        except Exception:
            turned = False  # a broken block of metadata, which the decoder ignores too
    width, height = (height, width) if turned else (width, height)
    side = min(SIDE, max(width, height))
    square = Image.fromarray(decode(data, Framing(side, "pad", side)))
    scale = side / max(width, height)
    kept = max(round(width * scale), 1), max(round(height * scale), 1)
    left, top = (side - kept[0]) // 2, (side - kept[1]) // 2
    image = square.crop((left, top, left + kept[0], top + kept[1]))
    blocks = min(-(-LEAST // min(kept)), SIDE // max(kept))
    return image.resize((kept[0] * blocks, kept[1] * blocks), Image.Resampling.NEAREST) if blocks > 1 else image


def draw(image: Image.Image, text: str) -> Image.Image:
    """`image` with `text` in a bar under it: what is in the picture stays visible."""
    size = max(14, min(image.width // 14, 40))
    font = ImageFont.load_default(size)
    while font.getlength(text) > image.width - size and size > 10:
        size -= 1
        font = ImageFont.load_default(size)
    out = Image.new("RGB", (image.width, image.height + size * 2), (24, 24, 27))
    out.paste(image)
    ImageDraw.Draw(out).text((size // 2, image.height + size), text, (255, 255, 255), font, anchor="lm")
    return out
