"""Report the classes of which no file is a picture: fetch finds them by headers, preprocess by decoding."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from darkroom.core.errors import SourceError
from darkroom.core.progress import say
from darkroom.sources.encodings import printable

SHOWN = 5  # classes in a message


def report_lost(lost: Mapping[str, Iterable[tuple[str, str]]], missing: str) -> None:
    """Report the classes in `lost`, (location, reason) of their files by label.

    Raises SourceError unless `missing` is drop.
    """
    shown = []
    for label, found in sorted(lost.items())[:SHOWN]:
        kinds = Counter((Path(location).suffix.lower() or "no suffix", reason) for location, reason in found)
        shown.append(
            f"{printable(label)}: " + ", ".join(f"{n} {suffix} ({reason})" for (suffix, reason), n in kinds.items())
        )
    what = f"no file of {len(lost)} classes is a picture that can be read: {'; '.join(shown)}"
    if missing != "drop":
        raise SourceError(f"{what}; mend them, or leave these classes out by `missing_classes: drop` in params.yaml")
    say(f"note: {what}; they are left out")
