"""Why a task is not running: the reasons, from what the database tells of it and of the nodes. Pure.

What keeps a claim from taking it is asked there in the claim's own words (:mod:`jobrunner.db.due`); here it is only
sorted. ``tests/both_databases/test_why.py`` holds both against each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from jobrunner.queue.task import ENDED, Status

OUT_OF_MEMORY = "out of memory"  # what a node's reason begins with while memory keeps it from claiming


class Code(StrEnum):
    """The reasons, as programs tell them apart."""

    RUNNING = "running"
    ENDED = "ended"
    BEING_CLAIMED = "being_claimed"
    PAUSED_QUEUE = "paused_queue"
    NOT_DUE = "not_due"
    EXPIRED = "expired"
    OVER_LIMIT = "over_limit"
    UNKNOWN_TYPE = "unknown_type"
    NO_NODE_FOR_TYPE = "no_node_for_type"
    NO_NODE_FOR_QUEUE = "no_node_for_queue"
    NODE_DRAINING = "node_draining"
    NODE_OUT_OF_MEMORY = "node_out_of_memory"
    NODE_OVER_CPU_LIMIT = "node_over_cpu_limit"
    SLOTS_BUSY = "slots_busy"


NOT_BLOCKING = frozenset({Code.RUNNING, Code.ENDED, Code.BEING_CLAIMED})


@dataclass(frozen=True)
class Reason:
    """One reason. ``until`` is when it passes by itself, ``nodes`` the ids of those that it concerns."""

    code: Code
    detail: str
    until: datetime | None = None
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Standing:
    """How a task stands, and its queue. ``due``, ``in_time``, ``paused`` and ``full`` are what a claim would find."""

    status: Status
    task_type: str
    queue: str
    run_at: datetime
    attempt: int
    node_id: str | None
    cancel_requested: bool
    published: bool
    due: bool
    in_time: bool
    paused: bool
    pause_reason: str | None
    full: bool
    max_running: int | None
    left: bool = False  # it runs, and its node ended or fell silent
    lease_until: datetime | None = None


@dataclass(frozen=True)
class Able:
    """One living node: what it may claim, and what keeps it from claiming. ``queues`` None means every queue.

    ``pools`` holds the slots of each pool, without those that are stuck, with the types that it runs; ``running`` how
    many of each type it has now.
    """

    id: str
    name: str
    state: str
    reason: str | None
    drains: bool
    types: frozenset[str]
    queues: frozenset[str] | None
    pools: tuple[tuple[int, frozenset[str]], ...]
    running: Mapping[str, int]

    def free(self, task_type: str) -> int:
        """How many more tasks of this type it could begin."""
        return sum(
            max(0, slots - sum(self.running.get(name, 0) for name in types))
            for slots, types in self.pools
            if task_type in types
        )


def reasons(task: Standing, nodes: Sequence[Able]) -> list[Reason]:
    """All reasons, what concerns the task first; ``nodes`` are the living ones. Never empty."""
    if task.status is Status.RUNNING:
        asked = ", and was asked to end" if task.cancel_requested else ""
        where = () if task.node_id is None else (task.node_id,)
        then = "cancelled" if task.cancel_requested else "taken back"
        left = f"; its node is gone, and it is {then} when its lease has ended" if task.left else ""
        until = task.lease_until if task.left else None
        return [Reason(Code.RUNNING, f"it runs, in attempt {task.attempt}{asked}{left}", until, where)]
    if task.status in ENDED:
        return [Reason(Code.ENDED, f"it has ended: {task.status}")]
    found = [*_of_task(task), *_of_nodes(task, nodes)]
    return found or [Reason(Code.BEING_CLAIMED, "nothing keeps it: a node takes it when more urgent ones are taken")]


def _of_task(task: Standing) -> Iterator[Reason]:
    if task.paused:
        why = f": {task.pause_reason}" if task.pause_reason else ""
        yield Reason(Code.PAUSED_QUEUE, f"its queue {task.queue!r} is paused{why}")
    if not task.in_time:
        yield Reason(Code.EXPIRED, "its expires_at has passed: it is about to be cancelled")
    if not task.due:
        what = f"after attempt {task.attempt} it waits for its next try" if task.attempt else "its run_at has not come"
        yield Reason(Code.NOT_DUE, what, until=task.run_at)
    if task.full:
        yield Reason(Code.OVER_LIMIT, f"its queue {task.queue!r} lets {task.max_running} run at a time, and they do")


def _of_nodes(task: Standing, nodes: Sequence[Able]) -> Iterator[Reason]:
    able = [node for node in nodes if task.task_type in node.types]
    if not able and not task.published:
        yield Reason(Code.UNKNOWN_TYPE, f"no worker ever published the type {task.task_type!r}")
        return
    if not able:
        told = f"no living node knows the type {task.task_type!r}" if nodes else "no node lives"
        yield Reason(Code.NO_NODE_FOR_TYPE, told)
        return
    able = [node for node in able if node.queues is None or task.queue in node.queues]
    if not able:
        told = f"no living node that knows its type takes from the queue {task.queue!r}"
        yield Reason(Code.NO_NODE_FOR_QUEUE, told)
        return
    kept: dict[Code, list[Able]] = {}
    for node in able:
        code = _keeps(node, task.task_type)
        if code is None:
            return
        kept.setdefault(code, []).append(node)
    for code, those in kept.items():
        told = ", ".join(f"{node.name} ({node.reason})" if node.reason else node.name for node in those)
        yield Reason(code, f"{_WORDS[code]}: {told}", nodes=tuple(node.id for node in those))


_WORDS = {
    Code.NODE_DRAINING: "claims nothing while it drains",
    Code.NODE_OUT_OF_MEMORY: "claims nothing until it has memory",
    Code.NODE_OVER_CPU_LIMIT: "claims nothing while it is over its CPU limit",
    Code.SLOTS_BUSY: "has no free slot for its type",
}


def _keeps(node: Able, task_type: str) -> Code | None:
    """What keeps this node from claiming a task of this type."""
    if node.drains or node.state == "draining":
        return Code.NODE_DRAINING
    if node.state == "overloaded":
        memory = (node.reason or "").startswith(OUT_OF_MEMORY)
        return Code.NODE_OUT_OF_MEMORY if memory else Code.NODE_OVER_CPU_LIMIT
    return None if node.free(task_type) > 0 else Code.SLOTS_BUSY
