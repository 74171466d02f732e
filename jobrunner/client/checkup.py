"""What ``jobrunner doctor`` finds: each thing that was looked at, how it is, and what mends it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from jobrunner.client.desk import Desk
from jobrunner.errors import JobrunnerError

OVERDUE = timedelta(minutes=1)  # with which any process that fires schedules is done, whatever its clock says


class Level(StrEnum):
    """How a thing is."""

    OK = "ok"
    WARN = "warn"  # it works, and somebody should look
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``fix`` is what to do, empty where all is well."""

    check: str
    level: Level
    detail: str
    fix: str = ""


def ok(check: str, detail: str) -> Finding:
    """All is well with it."""
    return Finding(check, Level.OK, detail)


def warn(check: str, detail: str, fix: str) -> Finding:
    """It works as it is."""
    return Finding(check, Level.WARN, detail, fix)


def fail(check: str, detail: str, fix: str) -> Finding:
    """It does not work."""
    return Finding(check, Level.FAIL, detail, fix)


def fleet(desk: Desk) -> Iterator[Finding]:
    """Nodes, types and queues, as anybody can ask for them."""
    nodes = _list(desk.nodes(), "nodes")
    alive = [node for node in nodes if node["alive"]]
    waiting = Counter(_waiting_types(desk))
    yield from _nodes(nodes, alive)
    yield from _types(_list(desk.types(), "types"), alive, waiting)
    yield from _queues(_list(desk.queues(), "queues"))
    yield from _schedules(_list(desk.schedules(), "schedules"))


def _list(told: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = told.get(name)
    if not isinstance(found, list):
        raise JobrunnerError(f"what answers there is no jobrunner: its answer has no {name}")
    return found


def _nodes(nodes: list[dict[str, Any]], alive: list[dict[str, Any]]) -> Iterator[Finding]:
    workers = "start one with: jobrunner up (or: jobrunner worker)"
    if not alive:
        yield fail("nodes", "no worker is alive, so nothing runs", workers)
    elif all(node["state"] == "draining" for node in alive):
        yield fail("nodes", f"all {len(alive)} are draining, so nothing new begins", "jobrunner nodes resume ID")
    else:
        yield ok("nodes", f"{len(alive)} alive, {sum(node['slots'] for node in alive)} slots")
    gone = [node for node in nodes if not node["alive"] and node["stopped_at"] is None]
    if gone:
        names = ", ".join(sorted({f"{node['name']} (last heard of {node['heartbeat_at']})" for node in gone})[:5])
        yield warn(
            "dead nodes",
            f"{len(gone)} ended without a word: {names}",
            "look at their logs and at the machine; their tasks were given to others",
        )
    for node in alive:
        if node["stuck"]:
            yield warn(
                "stuck slots",
                f"{node['name']} has {node['stuck']} of {node['slots']} taken by functions that ignore their time-out",
                f"jobrunner nodes drain {node['id']}, then start it again",
            )


def _types(types: list[dict[str, Any]], alive: list[dict[str, Any]], waiting: Counter[str]) -> Iterator[Finding]:
    run = {name for node in alive for name in node["types"] or []}
    known = {one["name"] for one in types}
    idle = sorted((known | set(waiting)) - run)
    late = [name for name in idle if waiting[name]]
    start = "start a worker with the module that has it: jobrunner worker --handlers PKG.MODULE"
    if late:
        told = ", ".join(f"{name} ({waiting[name]} waiting)" for name in late[:5])
        yield fail("task types", f"tasks wait for types that no node runs: {told}", start)
    elif idle:
        yield warn("task types", f"no node runs {', '.join(idle[:5])}", start)
    else:
        yield ok("task types", f"{len(known)} known, and each has a node that runs it")


def _queues(queues: list[dict[str, Any]]) -> Iterator[Finding]:
    held = [queue for queue in queues if queue["paused"] and queue["pending"]]
    for queue in held:
        why = f", {queue['pause_reason']!r}" if queue["pause_reason"] else ""
        yield warn(
            "queues",
            f"{queue['name']} is paused by {queue['paused_by']}{why}, and {queue['pending']} tasks wait in it",
            f"jobrunner queues resume {queue['name']}",
        )
    for queue in queues:
        if queue["max_pending"] is not None and queue["pending"] >= queue["max_pending"]:
            held.append(queue)
            yield warn(
                "queues",
                f"{queue['name']} is full: {queue['pending']} of {queue['max_pending']} wait, more are refused",
                f"start more workers, or: jobrunner queues limit {queue['name']} --max-pending N",
            )
    if not held:
        yield ok("queues", f"{len(queues)}, none held up")


def _schedules(schedules: list[dict[str, Any]]) -> Iterator[Finding]:
    now = datetime.now(UTC)
    for one in schedules:
        if one["error"]:
            yield warn("schedules", f"{one['name']}: {one['error']}", f"jobrunner schedules edit {one['name']} ...")
    due = [one for one in schedules if one["next_at"] and not one["paused"]]
    late = sorted(one["name"] for one in due if now - datetime.fromisoformat(one["next_at"]) > OVERDUE)
    if late:
        told = f"{', '.join(late[:5])} should have fired more than a minute ago"
        yield fail("schedules", told, "start a process that fires them: jobrunner worker, api or up without --no-cron")
    elif schedules:
        yield ok("schedules", f"{len(schedules)}, none overdue")


def _waiting_types(desk: Desk) -> list[str]:
    """The types of some tasks that wait: a page of them, which tells what there is, not how much."""
    return [task["task_type"] for task in desk.tasks(statuses=["pending"], limit=200)["tasks"]]
