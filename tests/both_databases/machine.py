"""Moves of the store in any order, by several nodes, with crashes and commits nobody heard of, beside the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import delete, insert, select, update

from jobrunner.db.engine import Database
from jobrunner.db.tables import attempts, queues, tasks
from jobrunner.db.types import db_now
from jobrunner.errors import StateConflict, TaskExists
from jobrunner.queue import store
from jobrunner.queue.request import new_task
from jobrunner.queue.store import Submitted
from jobrunner.queue.task import Ending, Outcome, Status, Task
from tests.both_databases.model import Modelled

LEASE = 3600.0  # seconds: nothing goes stale but what a rule lets go stale
QUEUES = ("a", "b")
NODES = ("a", "b", "c")
# Of 600 claims in 40 sequences 32 found anything, and nothing was ever renewed, where all was as likely as not: a
# heartbeat that tells of no cancel lived. So most of what is submitted is due, and is claimed by who hears of it.
OFTEN = st.sampled_from([True, True, True, True, False])
SELDOM = st.sampled_from([False, False, False, False, True])
COUNTERS = ("failures", "crashes", "losses", "releases", "snoozes")
COMPARED = ("task_id", "status", "generation", "attempt", *COUNTERS, "token", "cancel_requested_at")
LEASES = select(tasks.c.task_id, tasks.c.lease_until)
ROWS = select(*(tasks.c[name] for name in COMPARED))
LEFT = (
    select(tasks.c.task_id, attempts.c.attempt, attempts.c.outcome)
    .join(tasks, tasks.c.id == attempts.c.task)
    .order_by(attempts.c.attempt)
)


class _Unheard(Exception):
    """Raised inside a transaction, so that it is rolled back: a commit that did not come about."""


class Queue(RuleBasedStateMachine):
    """One queue, three nodes, and the model beside them."""

    database: Database  # of the test that runs it

    def __init__(self) -> None:
        super().__init__()
        self.tasks: dict[str, Modelled] = {}
        self.held: dict[str, list[Task]] = {node: [] for node in NODES}  # what each node believes that it holds
        self.tokens: set[str] = set()
        self.moment = 0
        self.delayed: set[str] = set()
        self.paused: set[str] = set()

    @initialize(count=st.integers(1, 6))
    def _begin(self, count: int) -> None:
        with self.database.begin() as conn:
            conn.execute(delete(tasks))
            conn.execute(delete(queues))
        for _ in range(count):
            self.submit("a", 2, 2, None, False, True, False)

    # -- who submits ----------------------------------------------------------------------------------------------

    @rule(
        queue=st.sampled_from(QUEUES),
        priority=st.integers(1, 3),
        max_attempts=st.integers(1, 3),
        key=st.sampled_from([None, None, "k"]),
        later=SELDOM,
        heard=OFTEN,
        lossy=SELDOM,
    )
    def submit(
        self, queue: str, priority: int, max_attempts: int, key: str | None, later: bool, heard: bool, lossy: bool
    ) -> None:
        task_id = f"t{len(self.tasks)}"
        options: dict[str, Any] = {"priority": priority, "max_attempts": max_attempts, "unique_key": key}
        options["queue"] = queue
        options |= {"task_id": task_id} | ({"delay": 3600.0} if later else {})
        if not heard:  # the reply to COMMIT was lost, and nothing was committed
            with pytest.raises(_Unheard), self.database.begin() as conn:
                self._enqueue(conn, options)
                raise _Unheard
        with self.database.begin() as conn:
            told = self._enqueue(conn, options)
        standing = next((one for one in self.tasks.values() if key and one.open and one.unique_key == key), None)
        if standing is not None:
            assert (told.task_id, told.status, told.created) == (standing.task_id, standing.status, False)
            return
        assert told == Submitted(task_id, Status.PENDING, True)
        self.moment += 1
        due = None if later else self.moment
        self.delayed |= {task_id} if later else set()
        made = self.tasks[task_id] = Modelled(task_id, len(self.tasks), queue, priority, max_attempts, key, due)
        if lossy:  # it has been through a lot
            made.counters["losses"] = 9
            self._change(task_id, losses=9)
        if not heard:  # the reply was lost, and all was committed: asked again under its id, it is the same
            with self.database.begin() as conn:
                again = self._enqueue(conn, options)
            assert again == Submitted(task_id, Status.PENDING, False)

    @precondition(lambda self: self.tasks)
    @rule(data=st.data(), equal=st.booleans())
    def submit_again(self, data: st.DataObject, equal: bool) -> None:
        one = self._some_task(data)
        payload = {} if equal else {"other": 1}
        options: dict[str, Any] = {"task_id": one.task_id, "queue": one.queue}
        if not equal:
            with pytest.raises(TaskExists), self.database.begin() as conn:
                store.enqueue(conn, new_task("work", payload, **options))
            return
        with self.database.begin() as conn:
            if one.task_id in self.delayed:
                options["delay"] = 3600.0
            told = store.enqueue(conn, new_task("work", payload, **options))
        assert told == Submitted(one.task_id, one.status, False)

    @precondition(lambda self: any(one.status is Status.RUNNING for one in self.tasks.values()) or len(self.tasks) > 6)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        one = self._some_task(data, Status.RUNNING)
        if one.status in (Status.COMPLETED, Status.FAILED):
            with pytest.raises(StateConflict), self.database.begin() as conn:
                store.cancel(conn, one.task_id)
            return
        with self.database.begin() as conn:
            told = store.cancel(conn, one.task_id)
        if one.status is Status.PENDING:
            one.move("cancel", Status.CANCELLED)
        elif one.status is Status.RUNNING:
            one.cancel_asked = True
        assert told is one.status
        self._heartbeats_may_follow(data)

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        one = self._some_task(data, Status.FAILED, Status.CANCELLED)
        taken = one.unique_key and any(
            other.open and other.unique_key == one.unique_key for other in self.tasks.values()
        )
        if one.status not in (Status.FAILED, Status.CANCELLED) or taken:
            with pytest.raises(StateConflict), self.database.begin() as conn:
                store.retry(conn, one.task_id)
            return
        with self.database.begin() as conn:
            store.retry(conn, one.task_id)
        self.moment += 1
        one.retry(now=self.moment)

    # -- time -----------------------------------------------------------------------------------------------------

    @precondition(lambda self: any(one.status is Status.PENDING and not one.due_since for one in self.tasks.values()))
    @rule(data=st.data())
    def come_due(self, data: st.DataObject) -> None:
        waiting = [one for one in self.tasks.values() if one.status is Status.PENDING and not one.due_since]
        one = data.draw(st.sampled_from(waiting), label="task")
        self._change(one.task_id, run_at=db_now())
        self.moment += 1
        one.due_since = self.moment

    @precondition(lambda self: sum(one.status is Status.PENDING for one in self.tasks.values()) > 3)
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from([o for o in self.tasks.values() if o.status is Status.PENDING]), label="task")
        self._change(one.task_id, expires_at=db_now(-1.0))
        with self.database.begin() as conn:
            assert store.expire(conn) == 1
        one.move("expire", Status.CANCELLED)

    @precondition(lambda self: any(one.status is Status.RUNNING for one in self.tasks.values()))
    @rule(data=st.data())
    def go_stale(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from([o for o in self.tasks.values() if o.status is Status.RUNNING]), label="task")
        self._change(one.task_id, lease_until=db_now(-1.0))
        one.stale = True

    @precondition(lambda self: any(one.status is Status.RUNNING for one in self.tasks.values()))
    @rule(data=st.data())
    def reclaim(self, data: st.DataObject) -> None:
        with self.database.begin() as conn:
            told = {(one.task_id, one.status) for one in store.reclaim(conn)}
        self.moment += 1
        lost = [one for one in self.tasks.values() if one.status is Status.RUNNING and one.stale]
        for one in lost:
            one.lose(now=self.moment)
        assert told == {(one.task_id, one.status) for one in lost}
        self._heartbeats_may_follow(data)

    @rule(queue=st.sampled_from(QUEUES), pause=SELDOM)
    def pause(self, queue: str, pause: bool) -> None:
        with self.database.begin() as conn:
            conn.execute(delete(queues).where(queues.c.name == queue))
            if pause:
                conn.execute(insert(queues).values(name=queue, paused_at=db_now()))
        (self.paused.add if pause else self.paused.discard)(queue)

    # -- the nodes ------------------------------------------------------------------------------------------------

    @precondition(lambda self: any(one.status is Status.PENDING for one in self.tasks.values()))
    @rule(
        node=st.sampled_from(NODES),
        listens=st.sampled_from([None, None, ["a"], ["b", "a"]]),
        limit=st.integers(1, 4),
        heard=OFTEN,
    )
    def claim(self, node: str, listens: Sequence[str] | None, limit: int, heard: bool) -> None:
        with self.database.begin() as conn:
            found = store.claim(conn, node, types=["work"], queues=listens, limit=limit, lease_seconds=LEASE)
        due = [one for one in self.tasks.values() if one.status is Status.PENDING and one.due_since]
        due = [one for one in due if one.queue in (listens or QUEUES) and one.queue not in self.paused]
        due.sort(key=lambda one: (one.priority, one.due_since, one.order))
        assert [task.task_id for task in found] == [one.task_id for one in due[:limit]]
        tokens = {task.lease.token for task in found}
        assert not tokens & self.tokens
        self.tokens |= tokens
        for task, one in zip(found, due, strict=False):
            one.claim(task.lease.token)
            assert (task.lease.attempt, task.generation) == (one.attempt, one.generation)
        if heard:  # else the node died before it knew, or the reply was lost: the lease has to run out
            self.held[node] += found

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        self._renew(self._busy_node(data))

    def _renew(self, node: str) -> None:
        leases = [task.lease for task in self.held[node]]
        with self.database.begin() as conn:
            before = dict(conn.execute(LEASES).all())
            told = store.renew(conn, leases, LEASE)
            after = dict(conn.execute(LEASES).all())
        mine = [task for task in self.held[node] if self._owns(task)]
        for task in mine:
            self.tasks[task.task_id].stale = False  # a late renewal with the current token succeeds
        prolonged = {task_id for task_id, until in after.items() if until != before[task_id]}
        assert prolonged == {task.task_id for task in mine}, "a stranger's lease was prolonged"
        assert told.renewed == {task.lease for task in mine}
        assert told.cancelled == {task.lease for task in mine if self.tasks[task.task_id].cancel_asked}
        assert told.lost == set(leases) - told.renewed
        self.held[node] = mine

    @precondition(lambda self: any(self.held.values()))
    @rule(
        data=st.data(),
        endings=st.lists(st.sampled_from([e for e in Ending if e is not Ending.LOST]), min_size=4, max_size=4),
        later=SELDOM,
        heard=st.sampled_from(["heard", "heard", "not committed", "reply lost"]),
    )
    def settle(self, data: st.DataObject, endings: Sequence[Ending], later: bool, heard: str) -> None:
        node = self._busy_node(data)
        count = data.draw(st.integers(1, 4), label="how many")
        batch, self.held[node] = self.held[node][:count], self.held[node][count:]
        asked = [
            (task, Outcome(ending, result='{"ok": 1}', error="told", delay=3600.0 if later else 0.0))
            for task, ending in zip(batch, endings, strict=False)
        ]
        if heard == "not committed":
            with pytest.raises(_Unheard), self.database.begin() as conn:
                store.settle(conn, asked)
                raise _Unheard
        with self.database.begin() as conn:
            told = [one.status for one in store.settle(conn, asked)]
        self.moment += 1
        for (task, outcome), status in zip(asked, told, strict=True):
            one = self.tasks[task.task_id]
            if not self._owns(task):
                assert status is None, "a late writer was let in"
                continue
            one.end(outcome.ending, now=self.moment, later=later)
            # The verdict of a running task that was asked to end is the database's, whatever its node believes.
            assert status is one.status
        if heard == "reply lost":
            with self.database.begin() as conn:
                assert [one.status for one in store.settle(conn, asked)] == [None] * len(asked)

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), later=SELDOM)
    def release(self, data: st.DataObject, later: bool) -> None:
        node = self._busy_node(data)
        batch, self.held[node] = self.held[node], []
        with self.database.begin() as conn:
            told = store.release(conn, batch, "drain", 3600.0 if later else 0.0)
        mine = [task for task in batch if self._owns(task)]
        assert sorted(told) == sorted(task.lease.id for task in mine)
        self.moment += 1
        for task in mine:
            self.tasks[task.task_id].release(now=self.moment, later=later)

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data())
    def report(self, data: st.DataObject) -> None:
        node = self._busy_node(data)
        self.moment += 1
        with self.database.begin() as conn:
            store.progress(conn, {task.lease: (0.5, f"step {self.moment}") for task in self.held[node]})
            found = dict(conn.execute(select(tasks.c.task_id, tasks.c.message)).all())
        reached = {task_id for task_id, message in found.items() if message == f"step {self.moment}"}
        assert reached == {task.task_id for task in self.held[node] if self._owns(task)}

    @precondition(lambda self: sum(map(len, self.held.values())) > 2)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        self.held[self._busy_node(data)] = []

    # -- the comparison -------------------------------------------------------------------------------------------

    @invariant()
    def rows_are_as_the_model_says(self) -> None:
        with self.database.read() as conn:
            rows = {row.task_id: row for row in conn.execute(ROWS)}
            left = conn.execute(LEFT).all()
        assert rows.keys() == self.tasks.keys()
        for task_id, one in self.tasks.items():
            row = rows[task_id]
            assert (row.status, row.generation, row.attempt) == (one.status, one.generation, one.attempt), task_id
            assert {name: getattr(row, name) for name in COUNTERS} == one.counters, task_id
            assert row.token == one.token, task_id
            assert (row.cancel_requested_at is not None) == one.cancel_asked or not one.open, task_id
            kept = [(each.attempt, Ending(each.outcome)) for each in left if each.task_id == task_id]
            assert kept == one.left, task_id

    def _heartbeats_may_follow(self, data: st.DataObject) -> None:
        if data.draw(st.booleans(), label="heartbeats follow"):
            for node in NODES:
                self._renew(node)

    def _owns(self, task: Task) -> bool:
        one = self.tasks[task.task_id]
        return one.status is Status.RUNNING and one.token == task.lease.token

    def _busy_node(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from([node for node in NODES if self.held[node]]), label="node")

    def _some_task(self, data: st.DataObject, *mostly: Status) -> Modelled:
        likely = sorted(task_id for task_id, one in self.tasks.items() if one.status in mostly)
        one_of_these: bool = data.draw(OFTEN, label="a likely one")
        some = likely if likely and one_of_these else sorted(self.tasks)
        return self.tasks[data.draw(st.sampled_from(some), label="task")]

    def _enqueue(self, conn: Any, options: dict[str, Any]) -> Submitted:
        return store.enqueue(conn, new_task("work", {}, **options))

    def _change(self, task_id: str, **values: Any) -> None:
        with self.database.begin() as conn:
            conn.execute(update(tasks).where(tasks.c.task_id == task_id).values(**values))
