"""A desk over REST: a running jobrunner, here or elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx2

from jobrunner.client.desk import Answer
from jobrunner.client.errors import Refused, Unreachable
from jobrunner.queue.task import ENDED

_OVERVIEW = ("verdict", "nodes_alive", "waiting_seconds", "counts")  # the rest of it have calls of their own
WAIT_MOST = 10.0  # seconds for one wait: well inside the time-out
TIMEOUT = 15.0  # seconds for one call; the server's own deadline at the database is shorter


class Remote:
    """Asks the server at ``url`` (``http://127.0.0.1:8900``), with ``api_key`` where it wants one."""

    exclusive = False

    def __init__(self, url: str, api_key: str | None = None) -> None:
        self.url = url.rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            self.url = f"http://{self.url}"
        headers = {"X-API-Key": api_key} if api_key else {}
        tls = self.url.startswith("https://")  # else no certificates are read, which took 25 ms of each command
        try:
            self._http = httpx2.Client(base_url=self.url, headers=headers, timeout=TIMEOUT, verify=tls)
        except httpx2.InvalidURL as error:
            raise Unreachable(self.url, str(error)) from None

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def submit(self, task_type: str, task_data: Mapping[str, Any], options: Mapping[str, Any]) -> Answer:
        given = {name: _json(value) for name, value in options.items() if value is not None}
        response = self._send(
            "POST", "/api/v1/task/execute", json={"task_type": task_type, "task_data": dict(task_data), **given}
        )
        told = _object(response)
        return {"task_id": told["task_id"], "status": told["status"], "created": response.status_code == 202}

    def task(self, task_id: str) -> Answer:
        return self._get(f"/api/v1/tasks/{_part(task_id)}")

    def wait(self, task_ids: Sequence[str], seconds: float) -> list[Answer]:
        # One after the other: all of them have ended once each has, in whatever order.
        seconds = min(seconds, WAIT_MOST)
        told = self._get(f"/api/v1/tasks/{_part(task_ids[0])}", wait=round(seconds, 3))
        return [told] if told["status"] in ENDED else []

    def tasks(
        self,
        *,
        statuses: Sequence[str] = (),
        task_type: str | None = None,
        queue: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Answer:
        wanted = {"status": ",".join(statuses), "type": task_type, "queue": queue, "limit": limit, "cursor": cursor}
        return self._get("/api/v1/tasks", **{name: value for name, value in wanted.items() if value})

    def attempts(self, task_id: str) -> Answer:
        return self._get(f"/api/v1/tasks/{_part(task_id)}/attempts")

    def logs(self, task_id: str, *, after: int = 0) -> Answer:
        return self._get(f"/api/v1/tasks/{_part(task_id)}/logs", after=after)

    def cancel(self, task_id: str, reason: str = "") -> Answer:
        self._send("POST", f"/api/v1/tasks/{_part(task_id)}/cancel", json={"reason": reason})
        return self.task(task_id)

    def retry(self, task_id: str) -> Answer:
        self._send("POST", f"/api/v1/tasks/{_part(task_id)}/retry", json={})
        return self.task(task_id)

    def nodes(self) -> Answer:
        return self._get("/api/v1/nodes")

    def overview(self) -> Answer:
        told = self._get("/api/v1/overview")
        return {name: told[name] for name in _OVERVIEW}

    def schedules(self) -> Answer:
        return self._get("/api/v1/schedules")

    def save_schedule(self, name: str, entry: Mapping[str, Any]) -> Answer:
        given = {key: value for key, value in entry.items() if value is not None}
        return _object(self._send("POST", "/api/v1/schedules", json={"name": name, **given}))

    def pause_schedule(self, name: str) -> Answer:
        return _object(self._send("POST", f"/api/v1/schedules/{_part(name)}/pause", json={}))

    def resume_schedule(self, name: str) -> Answer:
        return _object(self._send("POST", f"/api/v1/schedules/{_part(name)}/resume", json={}))

    def run_schedule(self, name: str) -> Answer:
        return _object(self._send("POST", f"/api/v1/schedules/{_part(name)}/run", json={}))

    def remove_schedule(self, name: str) -> None:
        self._send("DELETE", f"/api/v1/schedules/{_part(name)}")

    def _get(self, path: str, **query: Any) -> Answer:
        return _object(self._send("GET", path, params=query))

    def _send(self, method: str, path: str, **given: Any) -> httpx2.Response:
        try:
            response = self._http.request(method, path, **given)
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            raise Unreachable(self.url, str(error) or type(error).__name__) from error
        if response.is_error:
            raise _refusal(response)
        return response


def _part(name: str) -> str:
    return quote(name, safe="")


def _json(value: Any) -> Any:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value


def _object(response: httpx2.Response) -> Answer:
    try:
        told = response.json()
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise Unreachable(str(response.request.url), "its answer is not jobrunner's")
    return told


def _refusal(response: httpx2.Response) -> Refused:
    """What an error answer says, in one line: an RFC 9457 problem, or at least the status."""
    try:
        found = response.json()
    except ValueError:
        found = None
    problem = found if isinstance(found, dict) else {}
    told = str(problem.get("detail") or problem.get("title") or f"{response.status_code} {response.reason_phrase}")
    errors = problem.get("errors")
    wrong = [each for each in errors if isinstance(each, dict)] if isinstance(errors, list) else []
    where = "; ".join(f"{each.get('pointer') or '/'}: {each.get('detail')}" for each in wrong)
    if where and where not in told:
        told = f"{told}: {where}"
    if response.status_code == 401:
        known = "this key" if "X-API-Key" in response.request.headers else "a call without a key"
        told = f"the server does not take {known}: set its key as JOBRUNNER_API_KEY or as api_key in the config file"
    return Refused(response.status_code, told, problem)
