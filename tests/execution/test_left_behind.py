"""What a task leaves in its process: the next one finds it as it was, or it is told who left what."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from jobrunner.execution import children
from jobrunner.execution.children import ChildPool
from jobrunner.handlers import get
from jobrunner.queue.task import Ending, Outcome
from tests.execution import leaving_tasks  # noqa: F401  registers the handlers
from tests.execution.harness import QUICK, Told, go, make_task, opened


def _in_one_child(*wanted: tuple[str, dict[str, Any]]) -> list[Outcome]:
    """These tasks, one after the other in one slot."""

    async def run() -> list[Outcome]:
        found = []
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            for row, (name, payload) in enumerate(wanted, 1):
                found.append(await pool.run(make_task(name, payload, row=row), get(name), Told()))
        return found

    outcomes: list[Outcome] = go(run())
    return outcomes


def _result(outcome: Outcome) -> Any:
    assert outcome.ending is Ending.COMPLETED, outcome
    return json.loads(outcome.result or "null")


def test_a_timer_does_not_ring_in_the_next_task() -> None:
    outcomes = _in_one_child(
        ("pid", {}), ("leave timers", {"seconds": 0.2}), ("be busy", {"seconds": 0.5}), ("pid", {})
    )
    before, *_, after = map(_result, outcomes)
    assert before == after


def test_the_next_task_stands_where_all_stand(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        first, _, last = map(
            _result, _in_one_child(("where", {}), ("leave elsewhere", {"folder": str(tmp_path)}), ("where", {}))
        )
    finally:
        os.umask(mask)
    assert first == last
    assert (last["folder"], last["umask"]) == (str(Path.cwd()), 0o027)


def test_who_closes_the_low_files_does_not_reach_what_a_child_comes_back_by(tmp_path: Path) -> None:
    low = {"folder": str(tmp_path), "close": True}
    lost, found = map(_result, _in_one_child(("leave elsewhere", low), ("where", {})))
    assert found["folder"] == str(Path.cwd())
    assert lost["pid"] == found["pid"]


def test_a_death_names_the_threads_that_earlier_tasks_left() -> None:
    left, died = _in_one_child(("leave threads", {"seconds": 0.4, "exits": True}), ("sleep", {"seconds": 5.0}))
    assert _result(left)
    assert (died.ending, died.exit_code) == (Ending.CRASHED, 0)
    assert (died.error or "").endswith(
        "it held 1 thread that earlier tasks left running, which may have ended it: "
        "left-0 of task 'task-1' (leave threads)"
    )


def test_many_threads_of_several_tasks_are_counted_and_the_first_named() -> None:
    *_, died = _in_one_child(("leave threads", {"count": 12}), ("noop", {}), ("leave threads", {}), ("exit", {}))
    told = (died.error or "").partition("; it held ")[2]
    assert told.startswith("13 threads that earlier tasks left running")
    assert "left-9, 2 more of task 'task-1' (leave threads); left-0 of task 'task-3' (leave threads)" in told


@pytest.mark.parametrize(
    "former", [("leave threads", {"seconds": 0.0}), ("make our threads", {})], ids=["ended meanwhile", "ours"]
)
def test_threads_that_ended_and_our_own_are_nobodys(former: tuple[str, dict[str, Any]]) -> None:
    *_, died = _in_one_child(former, ("sleep", {"seconds": 0.1}), ("exit", {}))
    assert died.error == "its process died: exit code 3 before its handler had come to an end"


def test_a_child_keeps_a_few_threads_and_is_replaced_for_a_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "LEFT_THREADS", 3)
    crowd = [("leave threads", {"count": 2})] * 4
    first, second, third, fourth = map(_result, _in_one_child(*crowd))
    assert first == second == third, "a crowd is seen at the beginning of the next task, which it still runs"
    assert third != fourth
