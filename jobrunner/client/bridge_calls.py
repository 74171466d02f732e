"""One HTTP call to a node, and what its failure proves: that nothing was accepted, or nothing at all."""

from __future__ import annotations

import ssl
from typing import Any

import httpx2

from jobrunner.client.errors import Refused
from jobrunner.client.tries import SURELY_NOT
from jobrunner.client.unsent import NEVER_SENT

CONNECT_WITHIN = 3.0  # seconds
ANSWER_WITHIN = 10.0  # seconds, as old clients have it
LATER = (429, 503)  # another time it may be taken
LOCKED = (401, 403, 421)  # a wrong key, a wrong address, a wrong name


class NotAccepted(Exception):
    """It was certainly not accepted. ``status`` is HTTP's, None where nothing was sent; ``after`` seconds to wait."""

    def __init__(self, told: str, status: int | None = None, after: float = 1.0) -> None:
        self.status = status
        self.after = after
        super().__init__(told)

    @property
    def locked(self) -> bool:
        """Whether somebody is there who does not let us in, or whom we do not trust: no case of "no node"."""
        error: BaseException | None = self
        while error is not None and not isinstance(error, ssl.SSLError):
            error = error.__cause__ or error.__context__
        return self.status in LOCKED or error is not None


class Unsure(Exception):
    """It may have been accepted, or not: the answer was lost, or says neither."""


def open_client(verify: Any) -> httpx2.AsyncClient:
    """A client for one errand.

    A connection serves one call: one that is kept may die between two, and then nobody knows whether the second was
    read.
    """
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
    # Without the environment's proxies: one that answers for a node knows not what the node has accepted.
    return httpx2.AsyncClient(verify=verify, limits=limits, headers={"Accept": "application/json"}, trust_env=False)


async def call(
    http: httpx2.AsyncClient, method: str, url: str, *, key: str | None, within: float = ANSWER_WITHIN, **given: Any
) -> httpx2.Response:
    """The answer, whatever its status. Raises NotAccepted where the request was not sent, else Unsure."""
    timeout = httpx2.Timeout(max(0.05, within), connect=max(0.05, min(CONNECT_WITHIN, within)))
    try:
        headers = {"X-API-Key": key} if key else {}
        return await http.request(method, url, headers=headers, timeout=timeout, **given)
    except NEVER_SENT as error:
        raise NotAccepted(f"cannot be reached ({said(error)})") from error
    except (httpx2.RequestError, httpx2.StreamError) as error:
        raise Unsure(f"its answer was lost ({said(error)})") from error


def accepted(answer: httpx2.Response, *, by_jobrunner: bool | None = None) -> Any:
    """The JSON of an answer to a submission. Raises NotAccepted, Unsure, or Refused on a conflict.

    ``by_jobrunner`` says what the node is known to be: jobrunner, the old system, or neither.
    """
    told = json_of(answer)
    if answer.is_success:
        if isinstance(told, dict):
            return told
        raise Unsure("its answer is no JSON object")
    sentence = _sentence(answer, told)
    if answer.status_code == 409:
        raise Refused(409, sentence, told if isinstance(told, dict) else {})
    if answer.status_code == 503 and _proves_refusal(told, by_jobrunner):
        raise NotAccepted(sentence, 503, _after(answer))
    if answer.is_server_error:
        raise Unsure(sentence)
    raise NotAccepted(sentence, answer.status_code, _after(answer))


def _proves_refusal(told: Any, by_jobrunner: bool | None) -> bool:
    """Whether a 503 says that nothing was done.

    Whatever stands before a node answers 503 as well, in any shape, once the node was too slow for it: only what the
    node itself is known to say proves something. The old system, when it is full, says a ``detail`` and no more.
    """
    if not isinstance(told, dict):
        return False
    return told.get("code") in SURELY_NOT or (not by_jobrunner and told.keys() == {"detail"})


def read(answer: httpx2.Response) -> Any:
    """The JSON of an answer to a question. Raises NotAccepted for 4xx and the like, Unsure where to ask again."""
    told = json_of(answer)
    if answer.is_success and told is not None:
        return told
    if answer.is_success or answer.is_server_error or answer.status_code == 429:
        raise Unsure(_sentence(answer, told))
    raise NotAccepted(_sentence(answer, told), answer.status_code)


def said(error: BaseException) -> str:
    """The text of an error of the network, or its class where it has none."""
    return str(error) or type(error).__name__


def json_of(answer: httpx2.Response) -> Any:
    """What an answer holds; None where it is no JSON."""
    try:
        return answer.json()
    except ValueError:
        return None


def _sentence(answer: httpx2.Response, told: Any) -> str:
    detail = told.get("detail") if isinstance(told, dict) else None
    errors = told.get("errors") if isinstance(told, dict) else None
    wrong = [one for one in errors if isinstance(one, dict)] if isinstance(errors, list) else []
    where = "".join(f"; {one.get('pointer') or '/'}: {one.get('detail')}" for one in wrong[:3])
    return f"answers {answer.status_code} ({detail or answer.reason_phrase}{where})"


def _after(answer: httpx2.Response) -> float:
    told = answer.headers.get("retry-after", "")
    return min(60.0, max(0.1, float(told))) if told.isascii() and told.isdigit() else 1.0
