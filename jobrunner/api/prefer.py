"""The headers by which a client says how it wishes to be served: ``Prefer`` (RFC 7240) and ``Idempotency-Key``."""

from __future__ import annotations

import re
from typing import NamedTuple

from starlette.requests import Request

from jobrunner.api.schemas import WAIT_MOST, WaitQuery
from jobrunner.errors import InvalidInput, Problem

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_PIECE = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')  # between two commas that stand in no quotes
_PREFERENCE = re.compile(rf"\s*({_NAME})\s*(?:=\s*({_NAME}|{_QUOTED})\s*)?(?:;|$)")
_SECONDS = re.compile(r"[0-9]{1,9}")
_STRING = r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"'  # of RFC 8941
_KEY = re.compile(rf"{_STRING}|[\x21\x23-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


class Wait(NamedTuple):
    """For how many seconds an answer may wait, and whether the client preferred that: then an open task is 202."""

    seconds: float = 0.0
    preferred: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """What says that the preference was heard."""
        return {"Preference-Applied": f"wait={self.seconds:.0f}"} if self.preferred else {}


def wait(request: Request, query: WaitQuery | None = None) -> Wait:
    """The wait that a request asks for: by ``?wait=``, else by ``Prefer: wait=``, of which at most 30 are granted."""
    if query is not None and "wait" in query.model_fields_set:
        return Wait(query.wait)
    given = request.headers.getlist("prefer")
    told = preferences(",".join(given)).get("wait", "") if given else ""
    return Wait(min(float(told), WAIT_MOST), preferred=True) if _SECONDS.fullmatch(told) else Wait()


def preferences(header: str) -> dict[str, str]:
    """The preferences of a ``Prefer`` header, by name in lower case; "" where one has no value.

    Of one that is given twice the first counts; what is ill-formed is none, since whoever cannot be understood is
    served as if it had not asked.
    """
    found: dict[str, str] = {}
    for piece in _PIECE.findall(header):
        match = _PREFERENCE.match(piece)
        if match:
            found.setdefault(match[1].lower(), _unquoted(match[2] or ""))
    return found


def idempotency_key(request: Request, task_id: str | None) -> str | None:
    """The task_id that a request means, told by ``Idempotency-Key``, by its body, or alike by both.

    The key may stand in quotes, as the draft of the IETF has it. Raises InvalidInput.
    """
    given = request.headers.getlist("idempotency-key")
    if not given:
        return task_id
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        raise _refused("must be one key of printable ASCII")
    key = _unquoted(given[0])
    if task_id not in (None, key):
        raise _refused("is another than the body's task_id: give one of them, or the same")
    return key


def no_idempotency_key(request: Request) -> None:
    """Raise InvalidInput where a request for many tasks brings one: ignored, it would promise what it does not hold."""
    if "idempotency-key" in request.headers:
        raise _refused("is for one task: give each task of a batch a task_id of its own")


def _refused(detail: str) -> InvalidInput:
    return InvalidInput("the request is refused", [Problem("Idempotency-Key", detail)])


def _unquoted(word: str) -> str:
    return re.sub(r"\\(.)", r"\1", word[1:-1]) if len(word) > 1 and word[0] == word[-1] == '"' else word
