"""What a request can be refused for: a status, a reason a person can act on, and headers that go with it."""

from typing import Any

from darkroom.core.errors import DarkroomError


class Problem(DarkroomError):
    """Ends a request with `status` and a JSON body {"error": reason, "request_id": …}."""

    def __init__(self, status: int, reason: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, headers or {}


STATUSES = {
    400: "The form cannot be read",
    401: "The API key is missing or unknown",
    408: "The body did not arrive in time",
    413: "The body is larger than allowed",
    415: "The body, or the only file, is no picture of a known format",
    422: "No picture was sent, it is damaged, or it has too many pixels",
    503: "Too busy; try again after the seconds that Retry-After says",
}

SCHEMA = {
    "type": "object",
    "required": ["error", "request_id"],
    "properties": {"error": {"type": "string"}, "request_id": {"type": "string"}},
}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The entries of an OpenAPI document for these statuses."""
    made: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        made[status] = {"description": STATUSES[status], "content": {"application/json": {"schema": SCHEMA}}}
        if status == 503:
            made[status]["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds"}}
    return made
