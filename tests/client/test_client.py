"""The plain client at a real server, on both databases: what it submits, waits for, follows and raises."""

from __future__ import annotations

import time

import pytest

from jobrunner.client import Client, Handle, Refused, Request, TaskCancelled, TaskFailed, WaitTimeout
from jobrunner.errors import InvalidInput, StateConflict, TaskExists, TaskNotFound, UnknownTaskType
from tests.client.conftest import Start
from tests.processes import Process, free_port


def test_results_and_bad_ends(client: Client) -> None:
    assert client.submit("nap", {"seconds": 0.1}, task_id="first").result(20) == {"slept": 0.1}
    assert client.handle("first").status().execution_time >= 0.1
    assert client.submit("total", {"numbers": [1, 2]}).result(20) == {"value": 3}
    with pytest.raises(TaskFailed, match="fell") as failed:
        client.submit("fall", task_id="falls").result(20)
    assert failed.value.error_class == "ValueError"
    assert "chores.py" in str(failed.value.traceback)
    assert "raise ValueError" in str(failed.value.traceback)
    assert failed.value.__notes__[0].endswith(str(failed.value.traceback).rstrip())
    assert [(one["attempt"], one["outcome"]) for one in failed.value.attempts] == [(1, "error")]
    with pytest.raises(TaskCancelled, match="not today"):
        client.submit("decline").result(20)
    client.retry("falls")
    assert client.handle("falls").wait(20).attempt == 2


def test_a_wait_that_is_over_leaves_the_task_going(client: Client) -> None:
    handle = client.submit("nap", {"seconds": 1.5})
    began = time.monotonic()
    with pytest.raises(WaitTimeout, match="goes on") as over:
        handle.result(0.2)
    assert time.monotonic() - began >= 0.2
    assert isinstance(over.value, TimeoutError)
    assert over.value.status in ("pending", "running")
    assert handle.result(20) == {"slept": 1.5}
    assert handle.status().attempt == 1


def test_a_cancel_reaches_what_waits_and_what_runs(client: Client) -> None:
    waits = client.submit("nap", delay=3_600)
    assert waits.cancel("enough").status == "cancelled"
    assert waits.cancel().error == "enough"
    runs = client.submit("nap", {"seconds": 30})
    while runs.status().status == "pending":
        time.sleep(0.02)
    client.cancel(runs.task_id, "too long")
    with pytest.raises(TaskCancelled, match="too long"):
        runs.result(20)


def test_logs_and_events_end_by_themselves(client: Client) -> None:
    handle = client.submit("talk")
    assert [(line.message, line.fields["number"]) for line in handle.logs(follow=True)] == [
        ("line 0", 0),
        ("line 1", 1),
        ("line 2", 2),
    ]
    assert len(list(handle.logs())) == 3
    states = [state.status for state in client.submit("nap", {"seconds": 0.7}).events()]
    assert states[-1] == "completed"
    assert "running" in states
    assert [state.status for state in handle.events()] == ["completed"]


def test_many_each_for_itself(client: Client) -> None:
    wanted = [
        Request("total", {"numbers": [1]}),
        Request("total", {"numbers": "none"}),
        Request("total", {"numbers": [2]}, {"task_id": "two", "priority": 1}),
        Request("total", {"numbers": [3]}, {"task_id": "two"}),
        Request("nothing"),
        Request("total", {"numbers": [1]}, {"prio": 3}),  # type: ignore[typeddict-unknown-key]
        Request("total", {"numbers": [4]}, {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}),
    ]
    told = client.submit_many(wanted)
    kinds = [type(one) if isinstance(one, Handle) else type(one).__mro__ for one in told]
    assert [kind is Handle for kind in kinds] == [True, False, True, False, False, False, True]
    for place, kind in [(1, InvalidInput), (3, TaskExists), (4, UnknownTaskType), (5, InvalidInput)]:
        assert isinstance(told[place], kind)
    assert "/prio: unknown field; did you mean 'priority'?" in str(told[5])
    assert [one.result(20) for one in told if isinstance(one, Handle)] == [{"value": 1}, {"value": 2}, {"value": 4}]
    hundred = client.submit_many(Request("total", {"numbers": [n]}) for n in range(100))
    assert [one.result(20) for one in hundred if isinstance(one, Handle)] == [{"value": n} for n in range(100)]


def test_map(client: Client) -> None:
    assert list(client.map("nap", [{"seconds": 0.2}, {}])) == [{"slept": 0.2}, {"slept": 0.0}]
    sums = client.map("total", range(5), argument="numbers", chunk=2, data={"plus": 10}, priority=2)
    assert list(sums) == [{"value": 11}, {"value": 15}, {"value": 14}]
    ends = client.map("fall", [{}, {}])
    with pytest.raises(TaskFailed):
        next(ends)
    with pytest.raises(StopIteration):
        next(ends)  # the first exception ends it
    with pytest.raises(WaitTimeout):
        list(client.map("nap", [{"seconds": 0.0}, {"seconds": 3.0}], within=1.5))
    told = list(client.map("nap", [{"seconds": 3.0}, {}, {"secs": 1}], within=1.5, return_exceptions=True))
    assert (type(told[0]), told[1], isinstance(told[2], InvalidInput)) == (WaitTimeout, {"slept": 0.0}, True)
    with pytest.raises(ValueError, match="chunk"):
        client.map("total", [1], chunk=2)


def test_a_key(sqlite_url: str, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start(sqlite_url, "up", free_port(), JOBRUNNER_API_KEY="a-long-and-random-key")
    monkeypatch.setenv("JOBRUNNER_API_KEY", "a-long-and-random-key")  # of the environment's server, and of no other
    for key, told in [
        (None, "a call without a key: give its key as api_key"),
        ("another-long-and-random-key", "this key"),
    ]:
        with Client(server.url, api_key=key) as client, pytest.raises(Refused, match=told) as refused:
            client.submit("nap")
        assert refused.value.status == 401
    monkeypatch.setenv("JOBRUNNER_URL", server.url)
    with Client.from_env() as client:
        assert client.submit("nap").result(20) == {"slept": 0.0}
    monkeypatch.setenv("JOBRUNNER_API_KEY", "another-long-and-random-key")
    with Client.from_env() as client, pytest.raises(Refused, match="set its key as JOBRUNNER_API_KEY"):
        client.submit("nap")


def test_refusals_are_those_of_the_database(server: Process, client: Client) -> None:
    with Client(server.url, patience=0) as impatient:
        with pytest.raises(TaskNotFound) as missing:
            impatient.task("nobody")
        assert missing.value.task_id == "nobody"
        impatient.submit("nap", task_id="taken").wait(20)
        with pytest.raises(TaskExists):
            impatient.submit("nap", {"seconds": 1}, task_id="taken")
        with pytest.raises(StateConflict):
            impatient.retry("taken")
        with pytest.raises(InvalidInput) as wrong:
            impatient.submit("nap", {"secs": 1})
        assert [problem.pointer for problem in wrong.value.problems] == ["/task_data/secs"]
        with pytest.raises(InvalidInput, match="/task_data/seconds: nan is not a number"):
            impatient.submit("nap", {"seconds": float("nan")})
