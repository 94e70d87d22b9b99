"""Read YAML with PyYAML's C parser and the scalars of YAML 1.2: `1e-05`, which DVC writes, is a string in YAML 1.1."""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, ClassVar

import yaml

from darkroom.core.files import check_regular

MAX_DEPTH = 50  # the composer recurses once a level
MAX_REPEATED = 1_000_000  # characters that aliases stand for: nine lines of nine aliases can stand for gigabytes
MAX_DIGITS = 1000  # of a whole number
INTEGER = r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"
FLOAT = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"

Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YAMLError(Exception):
    """The text is not YAML, or too deep or repetitive to be read; str(error) is the reason, in one line."""


class Loader(Base):
    """PyYAML's safe loader with the core schema of YAML 1.2 (section 10.3.2); a repeated key is an error."""

    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        """Return the mapping of `node`. Raises YAMLError for a key that is repeated or not hashable."""
        mapping: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, Hashable):
                raise YAMLError(f"line {line}: a key is a {type(key).__name__}, expected a text or a number")
            if key in mapping:
                raise YAMLError(f"line {line}: the key `{str(key)[:100]}` comes twice")
            mapping[key] = self.construct_object(value_node, deep=deep)
        return mapping


def _integer(loader: Any, node: Any) -> int:
    if len(node.value) > MAX_DIGITS:  # Python reads hexadecimal ones of any length, and cannot write them
        raise YAMLError(f"line {node.start_mark.line + 1}: a whole number of more than {MAX_DIGITS} digits")
    return int(loader.construct_scalar(node), 0 if re.match("0[ox]", node.value) else 10)


def _mapping(loader: Any, node: Any) -> Any:
    yield (mapping := {})
    mapping.update(loader.construct_mapping(node))


RESOLVERS = (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", INTEGER, "-+0123456789"),
    ("float", FLOAT, "-+.0123456789"),
)
for kind, pattern, first_characters in RESOLVERS:
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(f"(?:{pattern})$"), list(first_characters))
Loader.add_constructor("tag:yaml.org,2002:int", _integer)
Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def parse(text: str) -> Any:
    """Return the value of one YAML document. Raises YAMLError with the reason and the line."""
    try:
        _check_size(text)
        return yaml.load(text, Loader)  # noqa: S506 - Loader is a SafeLoader
    except yaml.YAMLError as error:
        raise YAMLError(" ".join(str(error).split())[:300]) from error
    except (ValueError, OverflowError, RecursionError) as error:
        raise YAMLError(f"a value cannot be read: {str(error)[:100]}") from error


def read(path: Path) -> Any:
    """Return the value in a YAML file. Raises YAMLError, and OSError where the file cannot be read."""
    check_regular(path)
    try:
        return parse(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise YAMLError(f"not UTF-8 at byte {error.start}") from error


def _check_size(text: str) -> None:
    """Raise YAMLError where aliases expand beyond MAX_REPEATED characters, or nesting exceeds MAX_DEPTH."""
    sizes: dict[str, int] = {}  # of each anchor's content, in characters and collections
    begun: list[tuple[str | None, int]] = []  # the anchors of open collections, and `size` where each began
    size = repeated = 0
    for event in yaml.parse(text, Loader):
        if isinstance(event, yaml.AliasEvent):
            alias = event.anchor or ""
            if alias not in sizes:
                raise YAMLError(f"`*{alias[:100]}` names nothing that ends before it")
            size += sizes[alias]
            repeated += sizes[alias]
            if repeated > MAX_REPEATED:
                raise YAMLError(f"aliases repeat more than {MAX_REPEATED:,} characters")
        elif isinstance(event, yaml.ScalarEvent):
            size += len(event.value) + 1
            if event.anchor:
                sizes[event.anchor] = len(event.value) + 1
        elif isinstance(event, yaml.CollectionStartEvent):
            begun.append((event.anchor, size))
            size += 1
            if len(begun) > MAX_DEPTH:
                raise YAMLError(f"collections are nested more than {MAX_DEPTH} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = begun.pop()
            if anchor:
                sizes[anchor] = size - before
