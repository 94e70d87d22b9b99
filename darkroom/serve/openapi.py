"""Describe in OpenAPI what FastAPI cannot derive from the endpoints, which take the request unparsed."""

from typing import Any

from darkroom.serve.uploads import FIELD

LISTED = 1000  # classes up to which the document lists them
STATUSES = {
    400: "The form cannot be read",
    401: "The API key is missing or unknown",
    408: "The body did not arrive in time",
    413: "The body is larger than allowed",
    415: "The body, or the only file, is not a picture of a known format",
    422: "No picture was sent, it is damaged, or it has too many pixels",
    503: "Too busy; try again after the seconds that Retry-After says",
}

SCHEMA = {
    "type": "object",
    "required": ["error", "request_id"],
    "properties": {"error": {"type": "string"}, "request_id": {"type": "string"}},
}


def class_parameter(classes: list[str]) -> dict[str, Any]:
    """Return the query parameter `class` of /explain."""
    text = "Where it looks for this class, instead of the most probable one"
    return {"name": "class", "in": "query", "required": False, "description": text, "schema": _class_schema(classes)}


def _class_schema(classes: list[str]) -> dict[str, Any]:
    return {"type": "string"} | ({"enum": classes} if len(classes) <= LISTED else {})


def upload_body(several: bool) -> dict[str, Any]:
    """Return a request body: a form with one or several files, or the raw bytes of one."""
    binary = {"type": "string", "format": "binary"}
    files: dict[str, Any] = {"type": "array", "items": binary, "minItems": 1} if several else binary
    form = {"type": "object", "required": [FIELD], "properties": {FIELD: files}}
    kinds = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")
    content: dict[str, Any] = {kind: {"schema": binary} for kind in kinds}
    content["multipart/form-data"] = {"schema": form, "encoding": {FIELD: {"contentType": ", ".join(kinds)}}}
    return {"requestBody": {"required": True, "content": content}}


def content(description: str, media: str) -> dict[int | str, dict[str, Any]]:
    """Return a 200 with a body of one media type."""
    return {200: {"description": description, "content": {media: {}}}}


def predictions_schema(classes: list[str]) -> dict[int | str, dict[str, Any]]:
    """Return the 200 of /predict."""
    text, probability = {"type": "string"}, {"type": "number", "minimum": 0, "maximum": 1}
    label = _class_schema(classes)
    best = {"class": label, "probability": probability}
    one = {
        "file": {"type": ["string", "null"], "description": "The name that the form gave the file"},
        **best,
        "top": {"type": "array", "items": {"type": "object", "required": list(best), "properties": best}},
        "unknown": {
            "type": "boolean",
            "description": "Unlike the training images: the answer may mean nothing",
        },
        "similarity": {"type": ["number", "null"], "description": "To the most similar training images, -1 to 1"},
        "uncertain": {"type": "boolean", "description": "Less sure than answer_share or answer_accuracy asks for"},
        "set": {
            "type": "object",
            "description": "The classes of which one is right with a probability of `level`",
            "required": ["level", "classes"],
            "properties": {"level": probability, "classes": {"type": "array", "items": label, "minItems": 1}},
        },
        "error": {"type": "string", "description": "Instead of an answer: why this file has none"},
    }
    schema = {
        "type": "object",
        "required": ["predictions", "model_version", "request_id"],
        "properties": {
            "predictions": {"type": "array", "items": {"type": "object", "required": ["file"], "properties": one}},
            "model_version": text,
            "request_id": text,
        },
    }
    return {200: {"description": "An answer for every file", "content": {"application/json": {"schema": schema}}}}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the entries of an OpenAPI document for these statuses."""
    made: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        made[status] = {"description": STATUSES[status], "content": {"application/json": {"schema": SCHEMA}}}
        if status == 503:
            made[status]["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds"}}
    return made
