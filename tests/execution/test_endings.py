"""Every way in which a handler in a child process can end, and what is told about it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from jobrunner.execution.children import ChildPool
from jobrunner.handlers import get
from jobrunner.queue import codec
from jobrunner.queue.task import Ending, Outcome
from tests.execution.harness import QUICK, Told, go, in_child, make_task, opened


def _several(*calls: tuple[str, dict[str, Any]]) -> list[Outcome]:
    """The outcomes of calls in one and the same child."""

    async def run() -> list[Outcome]:
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            return [await pool.run(make_task(name, payload), get(name), Told()) for name, payload in calls]

    found: list[Outcome] = go(run())
    return found


def test_a_result_comes_back_as_json_text() -> None:
    assert in_child("add", {"a": 2, "b": 3}) == Outcome(Ending.COMPLETED, result="5")


def test_a_handler_knows_which_attempt_it_is() -> None:
    outcome = in_child("facts", task_id="t/1", generation=3, tags='["a"]', traceparent="00-x", row=9)
    assert json.loads(outcome.result or "") == {
        "task_id": "t/1",
        "task_type": "facts",
        "attempt": 1,
        "token": "token-9",
        "generation": 3,
        "tags": ["a"],
        "traceparent": "00-x",
    }


@pytest.mark.parametrize("payload", [{"a": "x"}, {}, {"a": 1, "c": 2}, "no json", '{"a": [[}', "[1]"])
def test_bad_arguments_are_refused_and_never_tried_again(payload: Any) -> None:
    outcome = in_child("add", payload)
    assert outcome.ending is Ending.REFUSED
    assert outcome.delay == 0
    assert outcome.error


def test_an_error_is_told_with_class_text_and_traceback_fit_to_be_stored() -> None:
    outcome = in_child("fail", failures=2)
    assert outcome.ending is Ending.ERROR
    assert outcome.error_class == "ValueError"
    assert outcome.error == r"wrong \x00 bytes \ud800 and \x1b[31mcolour"
    assert outcome.traceback is not None
    assert "sample_tasks.py" in outcome.traceback
    assert "jobrunner/execution" not in outcome.traceback
    assert "\0" not in outcome.traceback
    assert 0 < outcome.delay <= 8.0
    assert outcome.peak_rss is not None
    assert outcome.peak_rss > 10 * 2**20


def test_exceptions_of_any_class_end_the_attempt_and_never_the_child() -> None:
    wanted = {
        "exit": ("SystemExit", "SystemExit: 0"),
        "interrupt": ("KeyboardInterrupt", "KeyboardInterrupt"),
        "generator": ("GeneratorExit", "GeneratorExit: g"),
        "mute": ("tests.execution.worst_tasks.Mute", "<Mute whose text cannot be read>"),
        "leaving": ("tests.execution.worst_tasks.Leaving", "<Leaving whose text cannot be read>"),
        "group": ("ExceptionGroup", "several (2 sub-exceptions)"),
        "base": ("BaseException", "BaseException: base"),
        "memory": ("MemoryError", "none left"),
        "stop iteration": ("StopIteration", "StopIteration: 1"),
        "cancelled": ("asyncio.exceptions.CancelledError", "asyncio.exceptions.CancelledError"),
    }
    calls = [("raise", {"what": what}) for what in wanted]
    *outcomes, recursion, first, second = _several(*calls, ("recurse", {}), ("pid", {}), ("pid", {}))
    assert [outcome.ending for outcome in (*outcomes, recursion)] == [Ending.ERROR] * (len(wanted) + 1)
    assert {what: (o.error_class, o.error) for what, o in zip(wanted, outcomes, strict=True)} == wanted
    assert all(outcome.traceback for outcome in outcomes)
    assert recursion.error_class == "RecursionError"
    assert first.result == second.result


def test_verdicts_are_endings_of_their_own() -> None:
    names = ("later", "grouped later", "cancel", "refuse", "lost")
    later, grouped, cancel, refuse, lost = _several(*(("raise", {"what": name}) for name in names))
    assert (later.ending, later.delay, later.error) == (Ending.RETRY_LATER, 7.5, "not yet")
    assert (grouped.ending, grouped.delay) == (Ending.RETRY_LATER, 3.0)
    assert (cancel.ending, cancel.error) == (Ending.CANCELLED, "no use")
    assert (refuse.ending, refuse.error) == (Ending.REFUSED, "no such symbol")
    assert lost.ending is Ending.LOST


def test_what_cannot_be_stored_is_an_error_that_says_so() -> None:
    names = ("object", "nan", "nul", "surrogate", "loop", "deep", "large", "bytes", "big", "key")
    for name, outcome in zip(names, _several(*(("return", {"what": name}) for name in names)), strict=True):
        assert outcome.ending is Ending.ERROR, name
        assert outcome.error_class == "InvalidResult", name
        assert outcome.error is not None, name
        assert outcome.error.startswith("the handler's result cannot be stored"), name
        assert len(outcome.error) <= codec.ERROR_MAX_BYTES


@pytest.mark.parametrize(
    ("how", "signal", "code"),
    [
        ("segfault", 11, None),
        ("null", 11, None),
        ("abort", 6, None),
        ("kill", 9, None),
        ("exit 0", None, 0),
        ("exit 3", None, 3),
    ],
)
def test_a_child_that_dies_is_a_crash_and_never_a_success(how: str, signal: int | None, code: int | None) -> None:
    told = Told()
    outcome = in_child("die", {"how": how}, told=told, crashes=1)
    assert outcome.ending is Ending.CRASHED
    assert (outcome.exit_signal, outcome.exit_code) == (signal, code)
    assert outcome.error is not None
    assert (f"signal {signal}" if signal else f"exit code {code}") in outcome.error
    assert outcome.result is None
    assert 0 <= outcome.delay <= 4.0
    assert outcome.peak_rss is not None
    assert outcome.peak_rss > 10 * 2**20
    assert told.said("stdout") == ["last words"]
    if how in ("segfault", "null", "abort"):
        assert "worst_tasks.py" in (outcome.traceback or "")


def test_the_next_task_runs_in_a_new_child() -> None:
    before, crash, after = _several(("pid", {}), ("die", {"how": "kill"}), ("pid", {}))
    assert crash.ending is Ending.CRASHED
    assert before.result != after.result


def test_a_child_that_dies_while_idle_is_replaced() -> None:
    async def run() -> list[Outcome]:
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            first = await pool.run(make_task("die_later"), get("die_later"), Told())
            await asyncio.sleep(0.5)
            return [first, await pool.run(make_task("add", {"a": 1}), get("add"), Told())]

    assert [outcome.ending for outcome in go(run())] == [Ending.COMPLETED, Ending.COMPLETED]


def test_a_handler_that_closes_every_file_cannot_be_heard_and_counts_as_dead() -> None:
    low, returning, staying, after = _several(
        ("close_everything", {}), ("close_the_line", {}), ("close_the_line", {"seconds": 60}), ("add", {"a": 1})
    )
    assert low.ending is Ending.COMPLETED  # the line has a high number
    assert (returning.ending, returning.exit_code) == (Ending.CRASHED, 70)
    assert (staying.ending, staying.error) == (Ending.CRASHED, "it closed its line to the worker")
    assert after.ending is Ending.COMPLETED


def test_a_handler_that_writes_into_the_line_counts_as_dead() -> None:
    nonsense, after = _several(("write_nonsense", {}), ("add", {"a": 1}))
    assert nonsense.ending is Ending.CRASHED
    assert "no message" in (nonsense.error or "")
    assert after.ending is Ending.COMPLETED


def test_what_a_handler_took_from_the_process_is_not_missed_by_the_next() -> None:
    outcomes = _several(
        ("close_stdout", {}), ("print", {"text": "1"}), ("replace_stdout", {}), ("print", {"text": "2"})
    )
    assert [outcome.ending for outcome in outcomes] == [Ending.COMPLETED] * 4
    assert [outcome.result for outcome in outcomes[1::2]] == ["true", "true"]


def test_secrets_in_errors_are_masked() -> None:
    outcome = in_child("fail_with_secret")
    assert "canary" not in f"{outcome.error}{outcome.traceback}"
    assert "postgresql://user:***@host/db" in (outcome.error or "")


def test_a_fork_that_returns_says_nothing() -> None:
    forked, after = _several(("fork_and_return", {}), ("add", {"a": 1}))
    assert forked.result == '"from the parent"'
    assert after.result == "2"
