"""Copy folders of object stores (`s3://`, `gs://`, `hf://datasets/…`) with fsspec.

Files that are here already are not copied again, so an interrupted copy continues where it stopped.
"""

import hashlib
import re
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from darkroom.core import files
from darkroom.core.errors import SourceError
from darkroom.core.progress import progress, say
from darkroom.core.text import quoted
from darkroom.sources.archives import is_junk
from darkroom.sources.trees import STORES

VERSIONS = ("ETag", "etag", "sha256", "blob_id", "md5Hash", "generation", "updated", "LastModified", "mtime", "created")
AT_ONCE, ATTEMPTS, FIRST_WAIT = 8, 4, 1.0
MANIFEST = ".copied.json"


def copied(address: str, cache: Path) -> Path:
    """Return a folder below `cache` with the files at `address`; only new and changed ones are copied.

    Raises SourceError with the address and the reason.
    """
    scheme = address.partition(":")[0]
    try:
        store, root, found = _listed(address)
    except ImportError as error:
        package = STORES[scheme]
        raise SourceError(f"{address}: {scheme}: addresses need the package {package}; run `.venv/bin/pip install "
                          f"{package}`") from error  # fmt: skip
    except Exception as error:  # each store's library raises exceptions of its own
        raise SourceError(
            f"cannot list {address} ({_reason(error)}); check the address and your credentials"
        ) from error
    if not found:
        raise SourceError(f"{address} holds no file; check the address")
    name = re.sub(r"[^\w.-]", "_", root.rstrip("/").rpartition("/")[2]) or scheme
    folder = cache / f"{name}-{hashlib.sha256(address.encode()).hexdigest()[:8]}"
    manifest = folder / MANIFEST
    known = files.read_json(manifest) if manifest.exists() else {}
    versions = {relative: _version(facts) for relative, (_, facts) in found.items()}
    wanted = [name for name in found if known.get(name) != versions[name] or not (folder / name).is_file()]
    for stale in [path for path in folder.rglob("*") if path.is_file() and str(path.relative_to(folder)) not in found]:
        stale.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    fetched: dict[str, list[Any]] = {name: known[name] for name in found if name not in wanted}
    copy = partial(_copy, store, folder)
    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            sizes = pool.map(lambda name: copy(name, *found[name]), wanted)
            for relative, _ in zip(wanted, progress(sizes, "copying", total=len(wanted)), strict=True):
                fetched[relative] = versions[relative]
    except Exception as error:
        raise SourceError(f"cannot copy {address} ({_reason(error)}); what is here stays: run it again") from error
    finally:
        files.write_json(manifest, fetched)
    say(f"{address}: {len(wanted):,} of {len(found):,} files copied")
    return folder


def _listed(address: str) -> tuple[Any, str, dict[str, tuple[str, Mapping[str, Any]]]]:
    """Return the store, the folder's path in it, and (path, facts) of each file by its name below the folder."""
    import fsspec  # type: ignore[import-untyped]

    store, root = fsspec.core.url_to_fs(address, **_options(address))
    entries = store.find(root, detail=True)
    found = {}
    for path, facts in sorted(entries.items()):
        relative = path.removeprefix(root).strip("/") or path.rpartition("/")[2]
        parts = relative.split("/")
        if ".." in parts or "\\" in relative or "\0" in relative:
            raise SourceError(f"the name {quoted(relative)} points outside the folder")
        if not any(map(is_junk, parts)) and facts.get("type") != "directory" and not path.endswith("/"):
            found[relative] = (path, facts)
    return store, root, found


def _options(address: str) -> dict[str, Any]:
    """Return fsspec's options: a bucket is read anonymously where there are no credentials."""
    if not address.startswith("s3:"):
        return {}
    import botocore.session  # type: ignore[import-untyped]

    return {"anon": botocore.session.get_session().get_credentials() is None}


def _version(facts: Mapping[str, Any]) -> list[Any]:
    return [facts.get("size"), next((str(facts[key]) for key in VERSIONS if facts.get(key)), "")]


def _copy(store: Any, folder: Path, name: str, path: str, facts: Mapping[str, Any]) -> int:
    """Copy one file, with retries after growing pauses; return its size. Raises what the store raises."""
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with files.atomic(target) as temporary:
                store.get_file(path, str(temporary))
                size = temporary.stat().st_size
                if facts.get("size") not in (None, size):
                    raise OSError(f"{name}: {size:,} of {facts['size']:,} bytes came")
            return size
        except FileNotFoundError:
            raise
        except Exception:
            if attempt == ATTEMPTS:
                raise
            time.sleep(FIRST_WAIT * 2 ** (attempt - 1))
    raise AssertionError


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
