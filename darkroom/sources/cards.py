"""Load cards: YAML files in `sources/` that name a known data set, its licence, and where its files come from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from darkroom.core.errors import SourceError
from darkroom.core.params import read_yaml
from darkroom.core.text import quoted
from darkroom.sources.download import Remote
from darkroom.sources.labels import LayoutOptions
from darkroom.sources.layouts import LAYOUTS
from darkroom.sources.trees import STORES, address_of

TEXTS = ("name", "homepage", "licence", "citation")
KINDS = ("bundled", "torchvision", "archive", "folder", "remote")


@dataclass(frozen=True)
class Card:
    """One card. `origin` is the value of the key `kind`, one of KINDS: where the files come from.

    `flips`: whether mirror images may be used for training; `read`: layout options; `class_names`: names by folder.
    """

    name: str
    homepage: str
    licence: str
    citation: str
    kind: str
    origin: Any
    flips: bool = True
    read: Mapping[str, Any] = field(default_factory=dict)
    class_names: Mapping[str, str] = field(default_factory=dict)

    def facts(self) -> dict[str, str]:
        """Return the facts for the shards and the model card."""
        return {key: getattr(self, key) for key in TEXTS}

    def options(self, params: LayoutOptions) -> LayoutOptions:
        """Return the layout options of params.yaml, replaced by those of the card where it has any."""
        return replace(params, **self.read)


def load_card(path: Path) -> Card:
    """Return the card at `path`. Raises SourceError that names the wrong key."""
    values = read_yaml(path)
    kinds = [kind for kind in KINDS if kind in values]
    if len(kinds) != 1:
        raise SourceError(f"{path}: a card has one of {', '.join(KINDS)}, this one has {', '.join(kinds) or 'none'}")
    known = {*TEXTS, "flips", "read", "class_names", kinds[0]}
    for key in values:
        if key not in known:
            raise SourceError(f"{path}: there is no card key {quoted(key)}; the keys are {', '.join(sorted(known))}")
    for key in TEXTS:
        if not isinstance(values.get(key), str) or not values[key].strip():
            raise SourceError(f"{path}: the key `{key}` is missing or not a text; add `{key}: …`")
    if not isinstance(values.get("flips", True), bool):
        raise SourceError(f"{path}: flips is {quoted(values['flips'])}, expected true or false")
    return Card(
        **{key: values[key].strip() for key in TEXTS},
        kind=kinds[0],
        origin=_origin(path, kinds[0], values[kinds[0]]),
        flips=values.get("flips", True),
        read=_read(path, values.get("read", {})),
        class_names=_class_names(path, values.get("class_names") or {}),
    )


def _origin(path: Path, kind: str, value: Any) -> Any:
    expected, what = (Mapping, "`{url: …, sha256: …}`") if kind == "archive" else (str, "a name")
    if not isinstance(value, expected) or not value:
        raise SourceError(f"{path}: {kind} is {quoted(value)}, expected {what}")
    text = str(value)
    if kind == "remote" and not address_of(text):
        raise SourceError(f"{path}: remote is {quoted(text)}, expected an address that begins with "
                          f"{', '.join(f'{scheme}://' for scheme in STORES)}")  # fmt: skip
    if kind == "folder" and (text.startswith(("/", "\\")) or ".." in text.replace("\\", "/").split("/")):
        raise SourceError(f"{path}: folder is {quoted(text)}, expected a folder below DARKROOM_DOWNLOADS")
    return value


def _read(path: Path, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise SourceError(f"{path}: read is {quoted(value)}, expected keys such as `layout: folders` below it")
    options = {field.name for field in fields(LayoutOptions)}
    for key, setting in value.items():
        if key not in options:
            keys = ", ".join(sorted(options))
            raise SourceError(f"{path}: there is no key {quoted(key)} below read; the keys are {keys}")
        if key == "class_level":
            if setting != "auto" and (type(setting) is not int or setting < 1):
                raise SourceError(f"{path}: read: class_level is {quoted(setting)}, expected auto or a number from 1")
        elif not isinstance(setting, str):
            raise SourceError(f"{path}: read: {key} is {quoted(setting)}, expected a text; put it in quotes")
        if key == "missing_classes" and setting not in ("stop", "drop"):
            raise SourceError(f"{path}: read: missing_classes is {quoted(setting)}, expected stop or drop")
        if key == "layout" and setting not in LAYOUTS:
            raise SourceError(f"{path}: read: layout is {quoted(setting)}, expected one of {', '.join(LAYOUTS)}")
    return dict(value)


def _class_names(path: Path, value: Any) -> dict[str, str]:
    """Return the mapping with texts as keys, as folders' names are: in `0: zero` YAML reads a number."""
    if not isinstance(value, Mapping):
        raise SourceError(f"{path}: class_names is {quoted(value)}, expected lines such as `folder: word` below it")
    for item in (part for pair in value.items() for part in pair):
        if isinstance(item, bool) or not isinstance(item, str | int | float):
            raise SourceError(f"{path}: class_names: {quoted(item)} is not a text; put it in quotes")
    return {str(key): str(name) for key, name in value.items()}


def archive_remote(card: Card) -> Remote:
    """Return the file that an `archive:` card names. Raises SourceError that names the wrong key."""
    origin = card.origin if isinstance(card.origin, Mapping) else {}
    unknown = sorted(str(key) for key in set(origin) - {"url", "sha256", "mirror", "file"})
    if unknown or "url" not in origin:
        raise SourceError(f"{card.name}: archive has the keys url, sha256, and if need be mirror and file, "
                          f"not {', '.join(unknown) or 'nothing'}")  # fmt: skip
    sha256 = str(origin.get("sha256", ""))
    if not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise SourceError(
            f"{card.name}: archive: sha256 is {quoted(sha256)}, expected 64 hex digits (`sha256sum FILE`)"
        )
    mirrors = origin.get("mirror", [])
    mirrors = [mirrors] if isinstance(mirrors, str) else mirrors
    for key, urls in (("url", [origin["url"]]), ("mirror", mirrors)):
        if not isinstance(urls, list) or not all(map(_is_address, urls)):
            wrong = quoted(origin[key])
            raise SourceError(f"{card.name}: archive: {key} is {wrong}, expected an address such as https://…")
    name = origin.get("file") or urlsplit(origin["url"]).path.rsplit("/", 1)[-1]
    if not isinstance(name, str) or not name or "/" in name or name in (".", ".."):
        raise SourceError(f"{card.name}: archive: file is {quoted(name)}, expected the name that the file is to have")
    return Remote(name, (origin["url"], *mirrors), "sha256", sha256)


def _is_address(url: Any) -> bool:
    try:
        return isinstance(url, str) and bool(urlsplit(url).scheme)
    except ValueError:  # a bracket that does not belong to an IPv6 address
        return False
