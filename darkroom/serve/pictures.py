"""Pictures with the answer written on them, for `darkroom predict --save-pictures`."""

import io
import os
from pathlib import Path, PurePath

from PIL import Image, ImageDraw, ImageFont

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.images.decode import decode_whole
from darkroom.serve.predictor import Prediction

SIDE = 1024  # the longer side at most
LEAST = 224  # the shorter side at least: the words must fit
LONGEST = 180  # bytes of a name: file systems take 255, and its temporary file's is longer


class Pictures:
    """Writes into `folder`, one JPEG a picture, named after its file; two files of one name get two pictures."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._taken: set[str] = set()

    def save(self, name: str, data: bytes, answer: Prediction) -> Path:
        """Draw `answer` under the picture in `data`. Raises BadImage where it cannot be decoded once more (there may be
        less memory now), and DarkroomError where the folder cannot be written to."""
        target = self.folder / self._name(name)
        file = io.BytesIO()
        draw(open_upright(data), f"{answer.label}  {100 * answer.probability:.1f} %").save(file, "JPEG", quality=90)
        try:
            files.write_bytes(target, file.getvalue())
        except OSError as error:
            reason = f"--save-pictures {self.folder}: cannot write {target.name}: {error.strerror}; name another folder"
            raise DarkroomError(reason) from error
        return target

    def _name(self, name: str) -> str:
        stem = os.fsencode(PurePath(name).stem if name != "-" else "stdin").decode(errors="replace")
        stem = stem.encode()[:LONGEST].decode(errors="ignore")
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
    image = Image.fromarray(decode_whole(data, SIDE))
    blocks = min(-(-LEAST // min(image.size)), SIDE // max(image.size))
    if blocks > 1:
        image = image.resize((image.width * blocks, image.height * blocks), Image.Resampling.NEAREST)
    return image


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
