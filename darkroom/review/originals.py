"""Find the original files of samples in the source, and turn any picture into what a browser can show.

What a browser decodes itself it gets as it is. Anything else is decoded by a process of its own, `python -m
darkroom.review.originals SIDE`, which reads a file on standard input and writes a PNG: a file that makes a decoder hang
or crash costs that process alone.
"""

import hashlib
import io
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
from PIL import Image

from darkroom.core.errors import BadImage, DarkroomError
from darkroom.core.runtime import from_environment
from darkroom.images.decode import decode_whole
from darkroom.review.samples import Sample
from darkroom.sources.trees import Locations

RAW = Path("data/raw")
SHOWN_BY_BROWSERS = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png", b"GIF8": "image/gif"}
SIDE = 4096  # pixels of the longer side, of what is decoded here
SECONDS = 20  # for that
THUMBNAIL = 256


class Originals:
    """Read the original files of samples that the index lists."""

    def __init__(self, root: Path, source: str) -> None:
        self._places = Locations(root / source, root / RAW, from_environment().downloads)
        self._lock = threading.Lock()  # an archive is opened once

    def read(self, sample: Sample) -> bytes:
        """Return the bytes of the file that was indexed. Raises DarkroomError when it is gone or another one now."""
        try:
            with self._lock:
                ((_, extent),) = self._places.extents([sample.location])
            data = extent.read()
        except (OSError, BadImage) as error:
            reason = str(getattr(error, "strerror", None) or error)
            raise DarkroomError(
                f"{sample.location} cannot be read: {reason}; put it back, or run `dvc repro`"
            ) from error
        if sample.sha256 and hashlib.sha256(data).hexdigest() != sample.sha256:
            raise DarkroomError(f"{sample.location} has changed since it was indexed; run `dvc repro`")
        return data

    def shown(self, sample: Sample) -> tuple[bytes, str]:
        """Return a file that browsers show, and its media type. Raises DarkroomError."""
        data = self.read(sample)
        for start, media in SHOWN_BY_BROWSERS.items():
            if data.startswith(start) and sample.width:
                return data, media
        return self._decoded(sample, data, SIDE), "image/png"

    def thumbnail(self, sample: Sample) -> bytes:
        """Return a small PNG of a sample that has no pixels in the shards. Raises DarkroomError."""
        return self._decoded(sample, self.read(sample), THUMBNAIL)

    def _decoded(self, sample: Sample, data: bytes, side: int) -> bytes:
        command = [sys.executable, "-m", "darkroom.review.originals", str(side)]
        try:
            done = subprocess.run(command, input=data, capture_output=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise DarkroomError(f"{sample.location}: takes longer than {SECONDS} s to decode") from error
        if done.returncode:
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            raise DarkroomError(f"{sample.location}: {lines[-1] if lines else 'its decoder died'}")
        return done.stdout


def encode(pixels: np.ndarray) -> tuple[bytes, str]:
    """Return pixels (h, w, 3) uint8 as a file for the browser, and its media type: small ones lose nothing."""
    import simplejpeg

    if max(pixels.shape[:2]) > 96:
        return simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=88), "image/jpeg"
    return png(pixels), "image/png"


def png(pixels: np.ndarray) -> bytes:
    """Return pixels (h, w, 3) uint8 as a PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


if __name__ == "__main__":
    try:
        sys.stdout.buffer.write(png(decode_whole(sys.stdin.buffer.read(), int(sys.argv[1]))))
    except BadImage as reason:
        sys.exit(str(reason))
