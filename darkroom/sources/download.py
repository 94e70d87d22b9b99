"""Download files: resume and retry interrupted downloads, verify them, and write them atomically.

A file is downloaded into a `.part`, with its validators (ETag, Last-Modified) in a file beside it. The next attempt, or
the next run, requests only the rest, and gets it only if the file is still the same (Range with If-Range, RFC 9110).
"""

import hashlib
import http.client
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkroom.core import files
from darkroom.core.errors import SourceError
from darkroom.core.progress import progress_bytes, say
from darkroom.core.text import quoted
from darkroom.images.formats import describe_file

CHUNK = 1 << 20
ATTEMPTS = 5  # in a row without progress
FIRST_WAIT, MAX_WAIT = 1.0, 60.0  # seconds, doubled from attempt to attempt
TIMEOUT = 30.0  # seconds
_OUT_OF_REACH: set[str] = set()  # hosts to which no attempt connected: from then on this process tries them once
RETRIED_STATUS = (408, 425, 429, 500, 502, 503, 504)
USER_AGENT = "darkroom (https://dvc.org pipeline)"


@dataclass(frozen=True)
class Remote:
    """A file at one or several addresses, whose `digest` by `algorithm` (sha256 or md5), in hex, is known.

    `digest` may be only the beginning, as in the names of published weights; `says` is the source of the digest.
    """

    name: str
    urls: tuple[str, ...]
    algorithm: str
    digest: str
    says: str = "the card"


class _Again(Exception):
    """This attempt failed, but another may succeed. `wait`: the seconds that the server asks for."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class _NoConnection(_Again):
    """The host was not reached."""


class _Never(Exception):
    """This address will not give the file."""


def obtain(remote: Remote, downloads: Path | None, cache: Path, first_wait: float = FIRST_WAIT) -> Path:
    """Return a verified copy of `remote`: the one in `downloads`, or one downloaded into `cache`.

    Raises SourceError when the copy in `downloads` has another digest, or no address gives the file.
    """
    if downloads is not None and (downloads / remote.name).is_file():
        path = downloads / remote.name
        wrong = _wrong(path, remote)
        if wrong:
            raise SourceError(f"{path}: {wrong}; delete it and download it again, or unset DARKROOM_DOWNLOADS")
        return path
    path = cache / remote.name
    if path.is_file() and not _wrong(path, remote):
        return path
    cache.mkdir(parents=True, exist_ok=True)
    failures = []
    for url in remote.urls:
        try:
            _download(url, remote, path, first_wait)
            return path
        except _Never as error:
            failures.append(f"{url}: {error}")
            say(f"note: {failures[-1]}")
    raise SourceError(f"cannot get {remote.name}: {'; '.join(failures)}. Download it in another way, and set "
                      "DARKROOM_DOWNLOADS to the folder that it lies in")  # fmt: skip


def obtain_all(remotes: Sequence[Remote], downloads: Path | None, cache: Path) -> dict[str, Path]:
    """Return a verified copy of each of `remotes`, by name; those in `downloads` are verified before any download."""
    here = [remote for remote in remotes if downloads is not None and (downloads / remote.name).is_file()]
    absent = [remote for remote in remotes if remote not in here]
    return {remote.name: obtain(remote, downloads, cache) for remote in (*here, *absent)}


def put_in(path: Path, folder: Path, cache: Path) -> Path:
    """Put the file `path` into `folder`, as a hard link from `cache` where possible; return its path there."""
    target = folder / path.name
    if cache in path.parents:
        with suppress(OSError):
            target.hardlink_to(path)
            return target
    with files.atomic(target) as temporary:
        shutil.copyfile(path, temporary)
    return target


def _download(url: str, remote: Remote, path: Path, first_wait: float) -> None:
    """Download `url` to `path`, once more from the start where a resumed download has the wrong digest."""
    name = f"{hashlib.sha256(url.encode()).hexdigest()[:8]}-{remote.name}"
    part, validators = path.with_name(f"{name}.part"), path.with_name(f"{name}.part.json")
    again = False
    while True:
        pieces = _fetch(url, part, validators, remote.name, first_wait)
        wrong = _wrong(part, remote)
        validators.unlink(missing_ok=True)
        if not wrong:
            part.replace(path)
            return
        part.unlink()
        if again or not pieces:
            raise _Never(wrong)
        again = True


def _fetch(url: str, part: Path, validators: Path, name: str, first_wait: float) -> bool:
    """Call the transfer of the URL's scheme until it succeeds, with growing pauses after attempts without progress.

    Return whether the last attempt resumed an earlier one. Raises _Never.
    """
    scheme, host = urllib.parse.urlsplit(url)[:2]
    if scheme not in TRANSFERS:
        raise _Never(f"the scheme {quoted(scheme)} is unknown; use http, https, file or s3")
    failed, wait = 0, first_wait
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            TRANSFERS[scheme](url, part, validators, name)
            _OUT_OF_REACH.discard(host)
            return before > 0
        except _Again as error:
            gained = part.exists() and part.stat().st_size > before
            failed, wait = (1, first_wait) if gained else (failed + 1, wait * 2)
            unreached = isinstance(error, _NoConnection)
            if failed >= ATTEMPTS or (unreached and host in _OUT_OF_REACH):
                _OUT_OF_REACH.update({host} if unreached else ())
                raise _Never(f"{error} ({f'{failed} attempts' if failed > 1 else 'tried once'})") from error
            pause = min(max(wait, error.wait), MAX_WAIT)
            say(f"{name}: {error}; again in {pause:.0f} s")
            time.sleep(pause)


def _http(url: str, part: Path, validators: Path, name: str) -> None:
    have = part.stat().st_size if part.exists() else 0
    known = files.read_json(validators) if have and validators.exists() else {}
    headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
    validator = known.get("etag") or known.get("last_modified")
    if have and validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    try:
        response = urllib.request.urlopen(urllib.request.Request(_quoted(url), headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and have:  # there is no rest: the digest shows whether the part is whole
                return
            if error.code in RETRIED_STATUS:
                raise _Again(f"the server answers {error.code}", _seconds(error.headers.get("Retry-After"))) from error
            if 300 <= error.code < 400 and "not allowed" in str(error.reason):  # as urllib rejects file: and others
                raise _Never("the server redirects to an address that is neither http nor https") from error
            if 300 <= error.code < 400:
                raise _Never("the server redirects in a circle") from error
            raise _Never(f"the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _NoConnection(f"no connection ({_cause(error)})") from error
    with response:
        resumed = response.status == 206 and _starts_at(response.headers.get("Content-Range")) == have
        if response.status == 206 and not resumed:
            part.unlink(missing_ok=True)
            raise _Again("the server sent another part than requested")
        etag = response.headers.get("ETag") or ""
        strong = "" if etag.startswith("W/") else etag  # a weak one does not promise equal bytes
        files.write_json(validators, {"etag": strong, "last_modified": response.headers.get("Last-Modified")})
        length = response.headers.get("Content-Length")
        start = have if resumed else 0
        total = start + int(length) if length and length.isdigit() else None
        _write(_chunks(response.read), part, name, start, total)


def _quoted(url: str) -> str:
    """Return the address in ASCII; what is quoted already stays as it is."""
    parts = urllib.parse.urlsplit(url)
    path, query = (urllib.parse.quote(text, safe="!$%&'()*+,/:;=?@[]~") for text in (parts.path, parts.query))
    return parts._replace(path=path, query=query).geturl()


def _file(url: str, part: Path, validators: Path, name: str) -> None:  # noqa: ARG001
    path = Path(urllib.request.url2pathname(url.removeprefix("file:").removeprefix("//")))
    if not path.is_file():
        raise _Never(f"there is no file {path}")
    with path.open("rb") as file:
        _write(_chunks(file.read), part, name, 0, path.stat().st_size)


def _s3(url: str, part: Path, validators: Path, name: str) -> None:
    try:
        import boto3  # type: ignore[import-untyped]
        import botocore  # type: ignore[import-untyped]
        import botocore.exceptions  # type: ignore[import-untyped]
    except ImportError as error:
        raise _Never("s3: addresses need the extra `s3`; run `.venv/bin/pip install 'dvc-s3'`") from error
    bucket, key = urllib.parse.urlsplit(url).netloc, urllib.parse.urlsplit(url).path.lstrip("/")
    have = part.stat().st_size if part.exists() else 0
    etag = files.read_json(validators).get("etag") if have and validators.exists() else None
    rest = {"Range": f"bytes={have}-", "IfMatch": etag} if etag else {}
    session = boto3.session.Session()
    anonymous = session.get_credentials() is None
    config = botocore.config.Config(signature_version=botocore.UNSIGNED) if anonymous else None
    try:
        answer = session.client("s3", config=config).get_object(Bucket=bucket, Key=key, **rest)
        files.write_json(validators, {"etag": answer["ETag"]})
        start = have if rest else 0
        with closing(answer["Body"]) as body:
            _write(_chunks(body.read), part, name, start, start + answer["ContentLength"])
    except botocore.exceptions.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code"))
        if rest and code in ("InvalidRange", "416"):  # there is no rest
            return
        if code in ("PreconditionFailed", "412"):
            part.unlink(missing_ok=True)
            raise _Again("the object has changed") from error
        if code in ("SlowDown", "InternalError", "ServiceUnavailable", "500", "503"):
            raise _Again(f"the server answers {code}") from error
        raise _Never(f"the server answers {code}: {error.response.get('Error', {}).get('Message')}") from error
    except botocore.exceptions.BotoCoreError as error:
        raise _Again(f"no connection ({error})") from error


TRANSFERS: dict[str, Callable[[str, Path, Path, str], None]] = {"http": _http, "https": _http, "file": _file, "s3": _s3}


def _chunks(read: Callable[[int], bytes]) -> Iterator[bytes]:
    while True:
        try:
            chunk = read(CHUNK)
        except http.client.IncompleteRead as error:
            yield error.partial
            return
        except Exception as error:
            if isinstance(error, OSError | http.client.HTTPException) or type(error).__module__.startswith("urllib3"):
                raise _Again(f"the connection broke ({_cause(error)})") from error
            raise
        if not chunk:
            return
        yield chunk


def _write(chunks: Iterator[bytes], part: Path, name: str, start: int, total: int | None) -> None:
    """Write chunks to `part` from byte `start` on. Raises _Again unless the file then has `total` bytes."""
    with part.open("r+b" if start else "wb") as file:
        file.seek(start)
        file.truncate()
        for chunk in progress_bytes(chunks, name, start, total):
            file.write(chunk)
        size = file.tell()
    if total is not None and size < total:
        raise _Again(f"the connection broke after {size:,} of {total:,} bytes")


def _wrong(path: Path, remote: Remote) -> str:
    """Return the reason why a file is not `remote`, "" when its digest is right."""
    with path.open("rb") as file:
        got = hashlib.file_digest(file, lambda: hashlib.new(remote.algorithm, usedforsecurity=False)).hexdigest()
    if got.startswith(remote.digest.lower()):
        return ""
    known = describe_file(path)
    reason = f"{remote.algorithm} is {got}, {remote.says} says {remote.digest}"
    return f"{reason}; the file is {known}" if known else reason


def _starts_at(content_range: str | None) -> int:
    """Return the first byte of `bytes 100-199/200`, -1 for any other header."""
    first = (content_range or "").removeprefix("bytes ").partition("-")[0]
    return int(first) if first.isdigit() else -1


def _seconds(retry_after: str | None) -> float:
    return float(retry_after) if retry_after and retry_after.isdigit() else 0.0


def _cause(error: Any) -> str:
    reason = getattr(error, "reason", None) or error
    return " ".join(str(reason).split()) or type(error).__name__
