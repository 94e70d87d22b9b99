"""Read the pictures in a request: a form with one or several files, or the raw bytes of one."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from darkroom.core.errors import BadImage
from darkroom.serve.middleware import Problem
from darkroom.serve.settings import Settings

FIELD = "file"
UNKNOWN = "not an image of a known format"


@dataclass(frozen=True)
class Upload:
    """A file of a request: the name that its sender gave it, if any, and its bytes."""

    name: str | None
    data: bytes


class _Parser(MultiPartParser):
    # Bodies are bounded already: they need no temporary files, and pictures stay off the disk.
    spool_max_size = 1 << 40

    def on_headers_finished(self) -> None:
        """Treat a part named `file` as a file, also when its sender gave it no name (`curl -F 'file=<photo.jpg'`)."""
        _, options = parse_options_header(self._current_part.content_disposition)
        if options.get(b"name") == FIELD.encode() and b"filename" not in options:
            self._current_part.content_disposition = (self._current_part.content_disposition or b"") + b'; filename=""'
        super().on_headers_finished()

    def close_files(self) -> None:
        """Close all files, also one whose end is missing in the form, which Starlette would leave open."""
        for file in self._files_to_close_on_error:
            file.close()


async def read_uploads(request: Request, settings: Settings) -> list[Upload]:
    """Return the files of a request, at least one. Raises Problem (400, 408, 413, 415, 422, 503)."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        async with asyncio.timeout(settings.timeout):
            if kind == "multipart/form-data":
                return await _form(request, settings)
            if kind.startswith("image/") or kind in ("", "application/octet-stream"):
                return [_some(Upload(None, await request.body()))]
    except TimeoutError:
        reason = f"the body did not arrive within {settings.timeout:g} s"
        raise Problem(408, reason, {"connection": "close"}) from None
    except ClientDisconnect:
        raise Problem(400, "the body was cut off") from None
    expected = f"send image/… or multipart/form-data, field `{FIELD}`"
    raise Problem(415, f"Content-Type {kind[:100]!r} is not a picture; {expected}")


async def _form(request: Request, settings: Settings) -> list[Upload]:
    stream: AsyncGenerator[bytes, None] = request.stream()
    # The parser cleans up after itself when it is closed, also half-way.
    parser = _Parser(request.headers, stream, max_files=settings.max_files, max_fields=16)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise Problem(413, f"more than {settings.max_files} files in one request") from error
        raise Problem(400, f"the form cannot be read: {error.message}") from error
    except (KeyError, ValueError, AssertionError) as error:
        raise Problem(400, "the form cannot be read") from error
    finally:
        await stream.aclose()
    try:
        files = [value for name, value in form.multi_items() if name == FIELD and isinstance(value, UploadFile)]
        if not files:
            raise Problem(422, f"the form holds no file in the field `{FIELD}`")
        return [Upload(_readable(file.filename), await file.read()) for file in files]
    finally:
        parser.close_files()


def _readable(name: str | None) -> str | None:
    # A form may choose a charset that makes half characters, which no JSON can hold.
    return name.encode("utf-8", "replace").decode() if name else None


def _some(upload: Upload) -> Upload:
    if not upload.data:
        raise Problem(422, "the body is empty; send a picture")
    return upload


def problem_of(error: BadImage) -> Problem:
    """Return 415 for what is not a picture at all, 422 for one that is damaged or too large."""
    return Problem(415 if str(error) == UNKNOWN else 422, str(error))
