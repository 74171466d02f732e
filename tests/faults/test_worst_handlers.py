"""Handlers that die, hang, hoard, fork, flood and return what nobody can store, among good ones on one real worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import func, select

from jobrunner.db.tables import task_logs, tasks
from jobrunner.execution.quota import CHARACTERS, LINE_BYTES, LINES
from jobrunner.queue import store
from jobrunner.queue.request import new_task
from tests.faults.fleet import Fleet

DEATHS = {"segfault": (11, None), "null": (11, None), "abort": (6, None), "exit 0": (None, 0), "exit 3": (None, 3)}
RAISED = ("exit", "interrupt", "generator", "mute", "leaving", "group", "base", "memory", "stop iteration", "cancelled")
RETURNED = ("object", "nan", "nul", "surrogate", "loop", "deep", "large", "bytes", "big", "key")
ENDLESS = ("hold_the_gil", "spin", "ignore_term", "swallow")
FAMILIES = ("sleep", "die", "spin")
FLOODS: dict[str, dict[str, Any]] = {
    "flood": {"lines": 50_000},
    "flood_bytes": {"count": 30 * 2**20},
    "flood_log": {"lines": 20_000},
}
LIMIT = 0.5  # seconds that what never ends is given
ONCE: dict[str, Any] = {"max_attempts": 1}
GOOD = 100

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]


@pytest.fixture
def worst(fleet: Fleet) -> Iterator[Fleet]:
    """A worker that knows the worst handlers beside the good ones; it is alive at the end, and ends when asked."""
    handlers = "tests.faults.tasks,tests.execution.worst_tasks,tests.execution.sample_tasks"
    worker = fleet.ready(max_workers="4", handlers=handlers)
    yield fleet
    assert worker.stop() == 0


def test_whatever_handlers_do_each_end_is_called_by_its_name(worst: Fleet) -> None:
    deaths = {how: _ask(worst, "die", {"how": how}) for how in DEATHS}
    raised = [_ask(worst, "raise", {"what": what}, **ONCE) for what in RAISED]
    returned = [_ask(worst, "return", {"what": what}, **ONCE) for what in RETURNED]
    endless = [_ask(worst, name, timeout=LIMIT, **ONCE) for name in ENDLESS]
    hungry = _ask(worst, "eat", {"mb": 400})
    good = worst.submit("fault.work", GOOD, seconds=0.01)
    worst.wait_until_ended(90)

    for how, task_id in deaths.items():
        ends = [(one.outcome, one.exit_signal, one.exit_code) for one in worst.left(task_id)]
        assert ends == [("crashed", *DEATHS[how])] * 3, how
    assert [_outcomes(worst, one) for one in (*raised, *returned)] == [["error"]] * (len(raised) + len(returned))
    assert [_outcomes(worst, one) for one in endless] == [["timeout"]] * len(endless)
    assert _outcomes(worst, hungry) == ["out_of_memory"] * 3
    ended_badly = (*deaths.values(), *raised, *returned, *endless, hungry)
    assert {worst.row(one).status for one in ended_badly} == {"failed"}
    assert {worst.row(one).status for one in good} == {"completed"}
    [*runs] = [run for one in endless for run in worst.left(one)]
    worst.prove(
        "handlers that die, raise, return what cannot be stored, never end, eat all memory, among 100 good ones",
        ended_badly=len(ended_badly),
        called_wrongly=0,
        seconds_over_a_limit=max((run.ended_at - run.started_at).total_seconds() for run in runs) - LIMIT,
    )


def test_nothing_that_handlers_started_outlives_them(worst: Fleet, tmp_path: Path) -> None:
    files = {then: tmp_path / then for then in FAMILIES}
    told: dict[str, dict[str, Any]] = {"spin": {"timeout": 3.0}, "sleep": {"timeout": 3.0}}
    for then, path in files.items():
        _ask(worst, "family", {"path": str(path), "then": then}, **told.get(then, {}), **ONCE)
    left = _ask(worst, "leave_process", **ONCE)
    closing = [_ask(worst, name, **ONCE) for name in ("close_everything", "fork_and_return", "leave_thread")]
    good = worst.submit("fault.work", GOOD, seconds=0.01)
    worst.wait_until_ended(90)
    assert {worst.row(one).status for one in (left, *closing, *good)} == {"completed"}
    started = [int(pid) for path in files.values() for pid in path.read_text().split()]
    started.append(int(worst.row(left).result))
    assert len(started) > 15
    alive = [pid for pid in started if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]
    assert alive == []
    worst.prove(
        "handlers that fork, daemonize, leave processes and threads, close their files, among 100 good ones",
        processes_started=len(started),
        orphans=len(alive),
    )


def test_floods_are_kept_up_to_the_cap(worst: Fleet) -> None:
    floods = [_ask(worst, name, payload, **ONCE) for name, payload in FLOODS.items()]
    good = worst.submit("fault.work", GOOD, seconds=0.01)
    worst.wait_until_ended(60)
    assert {worst.row(one).status for one in (*floods, *good)} == {"completed"}
    lines, stored = func.count(), func.sum(func.length(task_logs.c.message))
    with worst.database.read() as conn:
        kept = conn.execute(
            select(tasks.c.task_id, lines.label("lines"), stored.label("stored"))
            .join(tasks, tasks.c.id == task_logs.c.task)
            .where(tasks.c.task_id.in_(floods))
            .group_by(tasks.c.task_id)
        ).all()
    assert len(kept) == len(floods), "each leaves something"
    assert max(row.lines for row in kept) <= LINES + 1
    assert max(row.stored for row in kept) <= CHARACTERS + LINE_BYTES
    worst.prove(
        "floods of lines, of raw bytes and of log calls, among 100 good ones",
        most_lines_kept=max(row.lines for row in kept),
        most_characters_kept=max(row.stored for row in kept),
    )


def _ask(fleet: Fleet, task_type: str, payload: dict[str, Any] | None = None, **options: Any) -> str:
    """Past :meth:`Fleet.submit`: these handlers have no ledger."""
    with fleet.database.begin() as conn:
        [made] = store.enqueue_many(conn, [new_task(task_type, payload or {}, **options)])
    fleet.accepted.append(made.task_id)
    return str(made.task_id)


def _outcomes(fleet: Fleet, task_id: str) -> list[str]:
    return [one.outcome for one in fleet.left(task_id)]
