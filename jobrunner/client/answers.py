"""Reading what a server answered: objects, and refusals as the exceptions that they are at the database. Pure."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from jobrunner.client import errors
from jobrunner.client.desk import Answer
from jobrunner.client.errors import Refused, Unreachable
from jobrunner.client.unsent import NEVER_SENT

_BY_CODE: dict[str, type[Refused]] = {
    "task_not_found": errors.NoSuchTask,
    "invalid_input": errors.BadInput,
    "unknown_task_type": errors.NoSuchType,
    "task_exists": errors.TakenId,
    "state_conflict": errors.WrongState,
}


OF_SETTINGS = "set its key as JOBRUNNER_API_KEY or as api_key in the config file"
OF_ARGUMENTS = "give its key as api_key beside its url (JOBRUNNER_API_KEY is for the server of JOBRUNNER_URL)"

ACCEPTED = ("task_id", "status")
TASK = (*ACCEPTED, "task_type", "queue", "priority", "max_attempts")  # what every server tells of one
ATTEMPTS = ("attempts",)
LOGS = ("logs", "next_after")


def object_of(response: httpx2.Response, needed: Collection[str] = ()) -> Answer:
    """The JSON object of an answer.

    Raises Unreachable where it is none, or lacks what is ``needed``: something else than jobrunner answers there, or in
    its place. Nobody knows then what became of a change.
    """
    told = _told(response)
    if told is None or not told.keys() >= set(needed):
        changes = response.request.method != "GET"
        raise Unreachable(str(response.request.url), "its answer is not jobrunner's", arrived=changes)
    return told


def nothing_of(response: httpx2.Response) -> Answer:
    """An empty object for an answer without content. Raises Unreachable for any other, as :func:`object_of` does."""
    return {} if response.status_code == 204 else object_of(response, ("no content",))


def submitted(response: httpx2.Response) -> Answer:
    """What a submission came to: ``task_id``, ``status`` and ``created``."""
    told = object_of(response, ACCEPTED)
    return {"task_id": told["task_id"], "status": told["status"], "created": response.status_code == 202}


def results_of(response: httpx2.Response, count: int) -> list[Answer]:
    """The results of so many tasks of a batch."""
    results = object_of(response, ("results",))["results"]
    if not isinstance(results, list) or len(results) != count or not all(map(_is_result, results)):
        raise Unreachable(str(response.request.url), "its answer is not jobrunner's", arrived=True)
    return results


def refusal(response: httpx2.Response, task_id: str = "", advice: str = OF_SETTINGS) -> Refused:
    """What an error answer says, in one line: an RFC 9457 problem, or at least the status.

    ``advice`` is what to do where a key is missing or not taken.
    """
    problem = _told(response) or {}
    told = problem.get("detail") or problem.get("title") or f"{response.status_code} {response.reason_phrase}"
    if response.status_code == 401:
        known = "this key" if "X-API-Key" in response.request.headers else "a call without a key"
        told = f"the server does not take {known}: {advice}"
    return refused(response.status_code, str(told), problem, task_id, _seconds(response.headers.get("Retry-After")))


def refused(
    status: int, told: str, problem: Mapping[str, Any], task_id: str = "", retry_after: float | None = None
) -> Refused:
    """A problem as the exception that its code stands for, with every place that it points at in the sentence."""
    errors = problem.get("errors")
    wrong = [each for each in errors if isinstance(each, dict)] if isinstance(errors, list) else []
    where = "; ".join(f"{each.get('pointer') or '/'}: {each.get('detail')}" for each in wrong)
    if where and where not in told:
        told = f"{told}: {where}"
    kind = _BY_CODE.get(str(problem.get("code")), Refused)
    return kind(status, told, problem, task_id=task_id, retry_after=retry_after)


def unreachable(url: str, error: Exception) -> Unreachable:
    """What a broken call comes to; ``arrived`` unless it certainly never left."""
    return Unreachable(url, str(error) or type(error).__name__, arrived=not isinstance(error, NEVER_SENT))


def _told(response: httpx2.Response) -> Answer | None:
    try:
        told = response.json()
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def _is_result(one: Any) -> bool:
    """Whether it tells a status, and where that is no refusal, the task."""
    if not isinstance(one, dict) or not isinstance(one.get("status"), int):
        return False
    return one["status"] >= 400 or one.keys() >= {"task_id", "task_status"}


def _seconds(told: str | None) -> float | None:
    """A Retry-After, which is in seconds or a date."""
    if not told:
        return None
    if told.isascii() and told.isdigit():
        return float(told)
    try:
        return max(0.0, parsedate_to_datetime(told).timestamp() - time.time())
    except ValueError:
        return None
