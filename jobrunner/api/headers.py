"""The headers that calls read and answer with, as the OpenAPI document tells them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobrunner.text import NAME_MAX

_PLAIN, _INSIDE = r"[\x21\x23-\x2e\x30-\x7e]", r"[\x20-\x2e\x30-\x7e]"  # the "/" has no place in a task_id
_KEY = rf"^(?!\.{{1,2}}$)({_PLAIN}|{_PLAIN}{_INSIDE}*[\x21-\x2e\x30-\x7e])$"


@dataclass(frozen=True)
class Header:
    """One header; ``schema`` is the JSON Schema of its text."""

    name: str
    description: str
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"})

    def asked(self) -> dict[str, Any]:
        """As a parameter of a call."""
        return {"name": self.name, "in": "header", "required": False, **self.told()}

    def told(self) -> dict[str, Any]:
        """As a header of an answer."""
        return {"description": self.description, "schema": self.schema}


PREFER = Header(
    "Prefer",
    "`wait=30`: the answer waits for the task's end, 30 seconds at most, and is 202 where that was not enough (RFC "
    "7240). Other preferences are ignored.",
)
IDEMPOTENCY_KEY = Header(
    "Idempotency-Key",
    "The task_id of a body that has none. The same request with the same key makes no second task.",
    {"type": "string", "minLength": 1, "maxLength": NAME_MAX, "pattern": _KEY},
)
TRACEPARENT = Header("traceparent", "The trace that the task belongs to (W3C Trace Context), for its handler.")
IF_NONE_MATCH = Header("If-None-Match", "The `ETag` that is known: 304 where nothing changed since.")
LAST_EVENT_ID = Header("Last-Event-ID", "The id of the last event that arrived: the stream goes on behind it.")

LOCATION = Header("Location", "Where what was made can be asked for.", {"type": "string", "format": "uri-reference"})
ETAG = Header("ETag", "What `If-None-Match` names, to be told only of what changed.")
RETRY_AFTER = Header("Retry-After", "After how many seconds to ask again.", {"type": "integer", "minimum": 0})
PREFERENCE_APPLIED = Header("Preference-Applied", "`wait=` with the seconds that were granted, where it was asked for.")
IDEMPOTENT_REPLAYED = Header("Idempotent-Replayed", "`true` where the request only met the task that it made before.")
LINK = Header("Link", 'The next page, as `rel="next"`, where there is one.')
AUTHENTICATE = Header("WWW-Authenticate", "How a key is given.")
