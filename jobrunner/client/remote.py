"""A desk over REST: a running jobrunner, here or elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx2

from jobrunner.client import answers, calls
from jobrunner.client.blocking import run
from jobrunner.client.calls import Ask, part
from jobrunner.client.desk import Answer
from jobrunner.client.figures import RemoteFigures
from jobrunner.client.fleet import RemoteFleet
from jobrunner.client.halves import Halves
from jobrunner.client.http import PlainHttp
from jobrunner.client.keys import RemoteKeys
from jobrunner.client.operations import RemoteOperations
from jobrunner.queue.task import ENDED

_OVERVIEW = ("verdict", "nodes_alive", "waiting_seconds", "counts")  # the rest of it have calls of their own
_SCHEDULE = ("name", "cron", "every")
WAIT_MOST = 10.0  # seconds for one wait: well inside the time-out
TIMEOUT = 15.0  # seconds for one call; the server's own deadline at the database is shorter


class Remote(RemoteFigures, RemoteFleet, RemoteKeys, RemoteOperations, Halves):
    """Asks the server at ``url`` (``http://127.0.0.1:8900``), with ``api_key`` where it wants one."""

    exclusive = False

    def __init__(self, url: str, api_key: str | None = None) -> None:
        self._http = PlainHttp(url, api_key, True)
        self.url = self._http.url

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        run(self._http.close())

    def submit(self, task_type: str, task_data: Mapping[str, Any], options: Mapping[str, Any]) -> Answer:
        return answers.submitted(self._ask(calls.execute(task_type, task_data, options)))

    def task(self, task_id: str) -> Answer:
        return answers.object_of(self._ask(calls.task(task_id)), answers.ACCEPTED)

    def wait(self, task_ids: Sequence[str], seconds: float) -> list[Answer]:
        # One after the other: all of them have ended once each has, in whatever order.
        told = answers.object_of(self._ask(calls.task(task_ids[0], min(seconds, WAIT_MOST))), answers.ACCEPTED)
        return [told] if told["status"] in ENDED else []

    def tasks(
        self,
        *,
        statuses: Sequence[str] = (),
        task_type: str | None = None,
        queue: str | None = None,
        tag: str | None = None,
        node: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        prefix: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Answer:
        wanted: dict[str, Any] = {"status": ",".join(statuses) or None, "type": task_type, "queue": queue, "tag": tag}
        wanted |= {"node": node, "created_after": _moment(created_after), "created_before": _moment(created_before)}
        wanted |= {"q": prefix, "limit": limit, "cursor": cursor}
        asked = calls.get("/api/v1/tasks", **{name: value for name, value in wanted.items() if value is not None})
        return answers.object_of(self._ask(asked), ("tasks",))

    def attempts(self, task_id: str) -> Answer:
        return answers.object_of(self._ask(calls.attempts(task_id)), answers.ATTEMPTS)

    def logs(self, task_id: str, *, after: int = 0) -> Answer:
        return answers.object_of(self._ask(calls.logs(task_id, after)), answers.LOGS)

    def only_cancel(self, task_id: str, reason: str = "") -> None:
        answers.object_of(self._ask(calls.cancel(task_id, reason)), answers.ACCEPTED)

    def only_retry(self, task_id: str) -> None:
        answers.object_of(self._ask(calls.retry(task_id)), answers.ACCEPTED)

    def why(self, task_id: str) -> Answer:
        return self.call("GET", f"/api/v1/tasks/{part(task_id)}/why", needed=("task_id", "reasons"))

    def rerun(self, task_id: str, changes: Mapping[str, Any]) -> Answer:
        given = {name: value for name, value in changes.items() if value is not None}
        return answers.submitted(self._ask(calls.post(f"/api/v1/tasks/{part(task_id)}/rerun", given, task_id=task_id)))

    def nodes(self) -> Answer:
        return answers.object_of(self._ask(calls.get("/api/v1/nodes")), ("nodes",))

    def overview(self) -> Answer:
        told = answers.object_of(self._ask(calls.get("/api/v1/overview")), _OVERVIEW)
        return {name: told[name] for name in _OVERVIEW}

    def schedules(self) -> Answer:
        return answers.object_of(self._ask(calls.get("/api/v1/schedules")), ("schedules",))

    def schedule(self, name: str) -> Answer:
        return self.call("GET", f"/api/v1/schedules/{part(name)}", needed=_SCHEDULE)

    def save_schedule(self, name: str, entry: Mapping[str, Any]) -> Answer:
        given = {key: value for key, value in entry.items() if value is not None}
        return self._post("/api/v1/schedules", {"name": name, **given}, needed=_SCHEDULE)

    def edit_schedule(self, name: str, changes: Mapping[str, Any]) -> Answer:
        return self.call("PATCH", f"/api/v1/schedules/{part(name)}", body=changes, needed=_SCHEDULE)

    def pause_schedule(self, name: str) -> Answer:
        return self._post(f"/api/v1/schedules/{part(name)}/pause", needed=_SCHEDULE)

    def resume_schedule(self, name: str) -> Answer:
        return self._post(f"/api/v1/schedules/{part(name)}/resume", needed=_SCHEDULE)

    def run_schedule(self, name: str) -> Answer:
        return self._post(f"/api/v1/schedules/{part(name)}/run", needed=answers.ACCEPTED)

    def remove_schedule(self, name: str) -> None:
        self.call("DELETE", f"/api/v1/schedules/{part(name)}", needed=None)

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        *,
        needed: Collection[str] | None,
    ) -> Answer:
        """One call, whose answer has at least what is ``needed``; None where it has no content, which is told as {}.

        What is None in ``query`` is not sent.
        """
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        sent = None if body is None else calls.dump(dict(body))
        changes = method != "GET"
        headers = {} if sent is None else {"Content-Type": "application/json"}
        told = self._ask(Ask(method, path, asked, sent, headers, again=not changes, changes=changes))
        return answers.nothing_of(told) if needed is None else answers.object_of(told, needed)

    def _post(self, path: str, told: Mapping[str, Any] | None = None, *, needed: Collection[str]) -> Answer:
        return answers.object_of(self._ask(calls.post(path, told or {})), needed)

    def _ask(self, ask: Ask) -> httpx2.Response:
        return run(self._http.send(ask, TIMEOUT))


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat()
