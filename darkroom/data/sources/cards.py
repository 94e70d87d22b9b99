"""Cards: a known data set in one YAML file of `sources/`: what it is, whose it is, and where its files come from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from darkroom.data.sources.download import Remote
from darkroom.data.sources.layouts import LayoutOptions
from darkroom.errors import SourceError
from darkroom.params import read_yaml

KINDS = ("bundled", "torchvision", "archive", "folder")


@dataclass(frozen=True)
class Card:
    """One card. Exactly one of KINDS says where the files come from; `read` sets layout options."""

    name: str
    homepage: str
    licence: str
    citation: str
    kind: str
    origin: Any
    flips: bool = True
    read: Mapping[str, str] = field(default_factory=dict)
    class_names: Mapping[str, str] = field(default_factory=dict)

    def facts(self) -> dict[str, str]:
        """What travels with the shards and into the model card."""
        return {"name": self.name, "homepage": self.homepage, "licence": self.licence, "citation": self.citation}

    def options(self, params: LayoutOptions) -> LayoutOptions:
        """The layout options of params.yaml, overruled by what the card knows."""
        return LayoutOptions(
            **({field.name: getattr(params, field.name) for field in fields(params)} | dict(self.read))
        )


def load_card(path: Path) -> Card:
    """The card at `path`. Raises SourceError that names the wrong key."""
    values = read_yaml(path)
    kinds = [kind for kind in KINDS if kind in values]
    if len(kinds) != 1:
        raise SourceError(f"{path}: a card has one of {', '.join(KINDS)}, this one has {', '.join(kinds) or 'none'}")
    known = {"name", "homepage", "licence", "citation", "flips", "read", "class_names", kinds[0]}
    for key in values:
        if key not in known:
            raise SourceError(f"{path}: there is no card key `{key}`; the keys are {', '.join(sorted(known))}")
    for key in ("name", "homepage", "licence", "citation"):
        if not isinstance(values.get(key), str) or not values[key].strip():
            raise SourceError(f"{path}: the key `{key}` is missing or no text; a card names its licence and its source")
    if not isinstance(values.get("flips", True), bool):
        raise SourceError(f"{path}: flips is {values['flips']!r}, expected true or false")
    options = {field.name for field in fields(LayoutOptions)}
    for key in values.get("read", {}):
        if key not in options:
            raise SourceError(f"{path}: there is no `read: {key}`; the keys are {', '.join(sorted(options))}")
    texts = {key: values[key].strip() for key in ("name", "homepage", "licence", "citation")}
    rest = {key: values[key] for key in ("flips", "read", "class_names") if key in values}
    return Card(**texts, kind=kinds[0], origin=values[kinds[0]], **rest)


def archive_remote(card: Card) -> Remote:
    """The file that an `archive:` card names. Raises SourceError when a key is missing or no digest."""
    origin = card.origin if isinstance(card.origin, Mapping) else {}
    unknown = sorted(set(origin) - {"url", "sha256", "mirror", "file"})
    if unknown or "url" not in origin:
        raise SourceError(f"{card.name}: archive has the keys url, sha256, and if need be mirror and file, "
                          f"not {', '.join(unknown) or 'nothing'}")  # fmt: skip
    sha256 = str(origin.get("sha256", ""))
    if not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise SourceError(f"{card.name}: archive: sha256 is {sha256!r}, expected 64 hex digits (`sha256sum FILE`)")
    mirrors = origin.get("mirror", [])
    urls = (str(origin["url"]), *([mirrors] if isinstance(mirrors, str) else mirrors))
    name = str(origin.get("file") or urlsplit(urls[0]).path.rsplit("/", 1)[-1])
    return Remote(name, urls, "sha256", sha256)
