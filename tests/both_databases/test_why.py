"""Why a task does not run, held against the claim itself: in random states, a node takes it just where nothing is told
that keeps it.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import Connection, insert

from jobrunner.db.engine import Database
from jobrunner.db.tables import nodes, queues, tasks
from jobrunner.db.types import db_now
from jobrunner.node.heartbeat import Heartbeat
from jobrunner.node.held import Held
from jobrunner.node.host import Host
from jobrunner.node.state import Identity, PoolFacts, State
from jobrunner.queue import store, views
from jobrunner.queue.reasons import Code
from jobrunner.queue.store import Room
from tests.both_databases.moves import LEASE, add, change, take

TYPES, QUEUES = ("a", "b", "c"), ("q", "r", "s")
STATES = (*["active"] * 8, "stuck", "overloaded", "draining", "stopped")
PLENTY = 1_000


def _world(seed: int) -> dict[str, Any]:
    """Tasks, queues and nodes in any state, of which a good part could be claimed."""
    chance = random.Random(seed)
    pick = chance.choice

    def task() -> dict[str, Any]:
        return {
            "task_type": pick((*TYPES * 3, "nobody's")),
            "queue": pick(QUEUES),
            "priority": chance.randint(1, 10),
            "due_in": pick((-60.0, -3.0, -2.0, -1.0, 60.0)),
            "expires_in": pick((*[None] * 6, -30.0, 60.0)),
            "status": pick((*["pending"] * 7, "running", "running", "completed", "cancelled")),
            "holder": chance.randrange(3),
        }

    def node() -> dict[str, Any]:
        return {
            "split": chance.randint(0, 3),  # so many types are run by the first pool, the others by the second
            "types": pick((*[TYPES] * 4, ("b", "a"), ())),
            "queues": pick((*[None] * 3, ("q", "r"), ("s",))),
            "slots": (chance.randint(0, 3), chance.randint(0, 3)),
            "stuck": (pick((0, 0, 1, 2)), pick((0, 0, 1))),
            "state": pick(STATES),
            "drains": chance.random() < 0.15,
            "silent": chance.random() < 0.1,
        }

    return {
        "tasks": [task() for _ in range(chance.randint(4, 8))],
        "queues": {
            name: {"paused": chance.random() < 0.15, "max_running": pick((None, 1, 2, 3))} for name in QUEUES[1:]
        },
        "nodes": [node() for _ in range(chance.randint(1, 3))],
    }


def _make(conn: Connection, world: dict[str, Any]) -> None:
    for name, queue in world["queues"].items():
        at = db_now() if queue["paused"] else None
        conn.execute(insert(queues).values(name=name, paused_at=at, max_running=queue["max_running"]))
    for number, node in enumerate(world["nodes"]):
        conn.execute(
            insert(nodes).values(
                id=f"n{number}",
                **dict.fromkeys(("name", "host", "version"), "x"),
                pid=1,
                state=node["state"],
                reason="out of memory: all used" if node["state"] == "overloaded" else None,
                queues=None if node["queues"] is None else json.dumps(node["queues"]),
                types=json.dumps(node["types"]),
                pools=json.dumps(
                    [{"slots": slots, "stuck": stuck, "types": types} for slots, stuck, types in _pools(node)]
                ),
                slots=sum(node["slots"]),
                started_at=db_now(-100),
                heartbeat_at=db_now(-100 if node["silent"] else 0),
                stopped_at=db_now() if node["state"] == "stopped" else None,
                drain_requested_at=db_now() if node["drains"] else None,
            )
        )
    for number, task in enumerate(world["tasks"]):
        runs, ended = task["status"] == "running", task["status"] in ("completed", "failed", "cancelled")
        expires = None if task["expires_in"] is None else db_now(task["expires_in"])
        conn.execute(
            insert(tasks).values(
                task_id=f"t{number}",
                **{name: task[name] for name in ("task_type", "queue", "priority", "status")},
                payload="{}",
                request_hash="",
                run_at=db_now(task["due_in"]),
                expires_at=expires,
                created_at=db_now(-100),
                token="x" if runs else None,
                lease_until=db_now(LEASE) if runs else None,
                node_id=f"n{task['holder']}" if runs else None,
                finished_at=db_now() if ended else None,
            )
        )


def _pools(node: dict[str, Any]) -> list[tuple[int, int, list[str]]]:
    split = node["split"]
    return list(zip(node["slots"], node["stuck"], (node["types"][:split], node["types"][split:]), strict=True))


def _rooms(world: dict[str, Any], number: int) -> list[Room]:
    """What a worker like this asks for: nothing while it may not, else whatever runs in pools with a free slot."""
    node = world["nodes"][number]
    if node["state"] in ("overloaded", "draining", "stopped") or node["drains"] or node["silent"]:
        return []
    holds = [one for one in world["tasks"] if one["status"] == "running" and one["holder"] == number]
    return [
        Room(str(place), tuple(types), PLENTY)
        for place, (slots, stuck, types) in enumerate(_pools(node))
        if slots - stuck > sum(one["task_type"] in types for one in holds)
    ]


def _claimed(conn: Connection, world: dict[str, Any], number: int) -> tuple[set[str], set[str]]:
    """What this node takes, and the queues of it that then run as much as they may; undone again."""
    with conn.begin_nested() as undone:
        found = store.claim_within(
            conn,
            f"n{number}",
            _rooms(world, number),
            queues=world["nodes"][number]["queues"],
            lease_seconds=LEASE,
        ).tasks
        undone.rollback()
    runs = Counter(task["queue"] for task in world["tasks"] if task["status"] == "running")
    runs.update(task.queue for task in found)
    most = {name: queue["max_running"] for name, queue in world["queues"].items()}
    return {task.task_id for task in found}, {task.queue for task in found if runs[task.queue] == most.get(task.queue)}


def _codes(conn: Connection, task_id: str, node_id: str | None = None) -> list[Code]:
    told = [reason.code for reason in views.why(conn, task_id, node_id=node_id).reasons]
    assert told, "there is always a reason"
    return told


def _hold_against_the_claim(database: Database, world: dict[str, Any], seen: Counter[bool]) -> None:
    with database.begin() as conn:
        _make(conn, world)
        free: dict[str, list[bool]] = {f"t{number}": [] for number in range(len(world["tasks"]))}
        for number in range(len(world["nodes"])):
            taken, full = _claimed(conn, world, number)
            for place, task in enumerate(world["tasks"]):
                task_id = f"t{place}"
                codes = _codes(conn, task_id, f"n{number}")
                nothing_keeps_it = codes == [Code.BEING_CLAIMED]
                free[task_id].append(nothing_keeps_it)
                seen[task_id in taken] += 1
                if task_id in taken:
                    assert nothing_keeps_it, f"n{number} takes {task_id}, which is told to wait: {codes}"
                elif nothing_keeps_it:
                    assert task["queue"] in full, f"nothing is told to keep {task_id}, and n{number} does not take it"
        for task_id, those in free.items():
            assert (_codes(conn, task_id) == [Code.BEING_CLAIMED]) == any(those)
        conn.rollback()


def _try(database: Database, worlds: int) -> None:
    seen: Counter[bool] = Counter()
    for seed in range(worlds):
        print("world", seed)
        _hold_against_the_claim(database, _world(seed), seen)
    assert min(seen[True], seen[False]) > worlds / 2, "the test means nothing unless both occur"


def test_a_node_takes_a_task_just_where_nothing_is_told_that_keeps_it(database: Database) -> None:
    _try(database, 60)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_same_in_many_more_states(database: Database) -> None:
    _try(database, 500)


def _node_row(database: Database, name: str, state: str = "active", **told: Any) -> str:
    types = told.pop("types", ("work",))
    facts = {"slots": 1, "types": types, "queues": None, "address": None, "heartbeat_interval": 10.0, **told}
    identity = Identity(name, pools=(PoolFacts(1, types),), **facts)
    with database.begin() as conn:
        store.register(conn, {**identity.columns(), **State(state, "out of memory: 9 of 9 MiB").columns()})
    return identity.id


def _why(database: Database, task_id: str = "t") -> views.WhyView:
    with database.read() as conn:
        return views.why(conn, task_id)


def test_each_reason_in_its_turn(database: Database) -> None:
    def codes() -> list[str]:
        return [str(reason.code) for reason in _why(database).reasons]

    add(database, task_id="t", queue="q")
    assert codes() == ["unknown_type"]
    with database.begin() as conn:
        store.publish(conn, [{"name": "work", "schema": "{}"}])
    assert codes() == ["no_node_for_type"]
    _node_row(database, "other", types=("sum",))
    assert codes() == ["no_node_for_type"]
    _node_row(database, "deaf", queues=("r",))
    assert codes() == ["no_node_for_queue"]
    full = _node_row(database, "full", "overloaded")
    (reason,) = _why(database).reasons
    assert (reason.code, reason.nodes) == ("node_out_of_memory", (full,))
    assert reason.detail == "claims nothing until it has memory: full (out of memory: 9 of 9 MiB)"
    node = _node_row(database, "one")
    assert codes() == ["being_claimed"]
    with database.begin() as conn:
        store.drain_node(conn, node)
    assert codes() == ["node_out_of_memory", "node_draining"]
    with database.begin() as conn:
        store.resume_node(conn, node)
        store.pause_queue(conn, "q", by="me", reason="no disk")
    assert [one.detail for one in _why(database).reasons] == ["its queue 'q' is paused: no disk"]
    with database.begin() as conn:
        store.resume_queue(conn, "q")
        change(conn, "t", run_at=db_now(100))
    (reason,) = _why(database).reasons
    assert (reason.code, reason.until is not None) == ("not_due", True)
    with database.begin() as conn:
        change(conn, "t", run_at=db_now(-1), expires_at=db_now(-1))
    assert codes() == ["expired"]


def test_a_slot_that_becomes_stuck_is_told_with_the_next_beat(database: Database) -> None:
    node = Identity("one", 3, ("work",), None, None, 10.0, pools=(PoolFacts(2, ("other",)), PoolFacts(1, ("work",))))
    state = State()
    told: dict[str, Any] = {"lease_seconds": LEASE, "types": [], "renewed": lambda _renewal: None}
    beating = Heartbeat(database, node, state, Held(), Host(tempfile.gettempdir()), **told)
    beating._register()
    add(database, task_id="t")
    for stuck, code in (((0, 0), Code.BEING_CLAIMED), ((1, 0), Code.BEING_CLAIMED), ((1, 1), Code.SLOTS_BUSY)):
        state.stuck_in = stuck
        beating._beat()
        assert [reason.code for reason in _why(database).reasons] == [code]
        with database.begin() as conn:
            assert [view.stuck for view in views.all_nodes(conn)] == [sum(stuck)]
            conn.execute(nodes.delete())
        beating._beat()  # it has to register again
        assert [reason.code for reason in _why(database).reasons] == [code]
    state.stuck_in = (0, 0)
    beating._beat()
    assert [reason.code for reason in _why(database).reasons] == [Code.BEING_CLAIMED]


def test_slots_and_limits_that_others_fill_are_told_at_once(database: Database) -> None:
    node = _node_row(database, "one")
    add(database, task_id="first", queue="q", priority=1)
    add(database, task_id="t", queue="q")
    assert len(take(database, 1, node=node)) == 1
    (reason,) = _why(database).reasons
    assert (reason.code, reason.nodes) == ("slots_busy", (node,))
    _node_row(database, "two")
    assert [reason.code for reason in _why(database).reasons] == ["being_claimed"]
    with database.begin() as conn:
        store.limit_queue(conn, "q", max_running=1)
    assert [reason.code for reason in _why(database).reasons] == ["over_limit"]
    assert [reason.code for reason in _why(database, "first").reasons] == ["running"]
