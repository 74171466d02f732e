"""Clients without a server: the same calls at the database, and tasks run by this process where nobody else does."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from importlib import reload
from pathlib import Path

import pytest
import sqlalchemy

import jobrunner
from jobrunner.client import AsyncClient, Client, ClientClosed, Handle, Request, TaskFailed, WaitTimeout, waiter
from jobrunner.client.local import Local
from jobrunner.db.lock import owner
from jobrunner.errors import DatabaseUnavailable, HandlerError, TaskExists, TaskNotFound, UnknownTaskType
from jobrunner.handlers import registry, task
from jobrunner.runtime.work import Work
from tests.client import here_tasks
from tests.client.conftest import ROOT, Start
from tests.processes import Processes, free_port

pytestmark = pytest.mark.ci


@pytest.fixture(autouse=True)
def _only_these(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A clean environment, and no handlers but those of the module."""
    for name in [*os.environ]:
        if name.startswith("JOBRUNNER_") and not name.startswith("JOBRUNNER_TEST"):
            monkeypatch.delenv(name)
    with registry.isolated():
        reload(here_tasks)
        yield


def test_results_are_made_here_and_recorded(database_url: str) -> None:
    signals = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    threshold, threads = gc.get_threshold(), set(threading.enumerate())
    with Client(database_url=database_url) as client:
        assert client.submit("here.nap").result(30) == {"slept": 0.0, "pid": os.getpid()}
        added = client.submit("here.add", {"x": 2}, task_id="added").result(30)
        assert added is not None
        assert (added["sum"], added["pid"] != os.getpid()) == (3, True)
        with pytest.raises(TaskFailed, match="fell here") as failed:
            client.submit("here.fall").result(30)
        assert "here_tasks.py" in str(failed.value.traceback)
        assert [line.message for line in client.submit("here.talk").logs(follow=True)] == ["line 0", "line 1", "line 2"]
        sums = [told["sum"] for told in client.map("here.add", range(3), argument="x") if told]
        assert sums == [1, 2, 3]
        cancelled = client.submit("here.nap", {"seconds": 60})
        for state in cancelled.events():
            if state.status == "running":
                began = time.monotonic()
                cancelled.cancel("enough")
        assert time.monotonic() - began < 5
        snapshot = next(client.events())
        assert snapshot.tasks["added"] == "completed"
    with Local(database_url) as desk:
        task, nodes = desk.task("added"), desk.nodes()["nodes"]
    assert [(node["pid"], node["state"], node["alive"]) for node in nodes] == [(os.getpid(), "stopped", False)]
    assert (task["status"], task["node_id"], task["attempt"]) == ("completed", nodes[0]["id"], 1)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == signals
    assert gc.get_threshold() == threshold
    assert [thread.name for thread in set(threading.enumerate()) - threads if not thread.daemon] == []


def test_who_does_not_wait_runs_nothing(database_url: str) -> None:
    with Client(database_url=database_url, run_here=False) as client:
        handle = client.submit("here.nap", task_id="waits")
        with pytest.raises(WaitTimeout):
            handle.result(0.3)
        assert handle.status().status == "pending"
    with Client(database_url=database_url) as client:
        assert client.task("waits").attempt == 0
        assert client.handle("waits").wait(30).status == "completed"


def test_many_and_refusals(database_url: str) -> None:
    with Client(database_url=database_url) as client:
        told = client.submit_many(
            [
                Request("here.add", {"x": 1}),
                Request("here.nothing"),
                Request("here.add", {"x": 2}, {"task_id": "two"}),
                Request("here.add", {"x": 3}, {"task_id": "two"}),
            ]
        )
        assert [type(one) for one in told] == [Handle, UnknownTaskType, Handle, TaskExists]
        assert [len(client.submit_many([])), len(client.submit_many(Request("here.nap") for _ in range(50)))] == [0, 50]
        with pytest.raises(TaskNotFound):
            client.task("nobody")


def test_what_nobody_can_run_is_said(sqlite_url: str) -> None:
    with Client(database_url=sqlite_url) as client:
        handle = client.submit("here.nap")
        with registry.isolated(), pytest.raises(HandlerError, match=r"no handler 'here\.nap'"):
            handle.result(30)
        assert handle.result(30) is not None


def test_a_handler_that_was_declared_too_late_is_said(sqlite_url: str) -> None:
    with Client(database_url=sqlite_url) as client, registry.isolated():
        reload(here_tasks)
        assert client.submit("here.nap").result(30)

        @task("here.late")
        async def late() -> None: ...

        with pytest.raises(HandlerError, match=r"'here\.late' was declared after this program had begun to run tasks"):
            client.submit("here.late").result(30)
        assert client.submit("here.nap").result(30), "the others go on"


def test_a_worker_elsewhere_is_left_to_it(postgres_url: str, start: Start) -> None:
    worker = start(postgres_url, "worker", JOBRUNNER_HANDLERS="chores,tests.client.here_tasks")
    with Client(database_url=postgres_url) as client:
        assert client.submit("here.nap", {"seconds": 0.2}).result(30) == {"slept": 0.2, "pid": worker.pid}
        assert [line.message for line in client.submit("talk").logs(follow=True)] == ["line 0", "line 1", "line 2"]
    with Local(postgres_url) as desk:
        assert [node["pid"] for node in desk.nodes()["nodes"]] == [worker.pid]


def test_who_works_on_other_queues_only_is_nobody(postgres_url: str, start: Start) -> None:
    handlers = "chores,tests.client.here_tasks"
    worker = start(postgres_url, "worker", JOBRUNNER_HANDLERS=handlers, JOBRUNNER_QUEUES="other")
    with Client(database_url=postgres_url) as client:
        told = client.submit("here.nap", queue="other").result(30)
        assert told is not None
        assert told["pid"] == worker.pid
        told = client.submit("here.nap").result(30)
        assert told is not None
        assert told["pid"] == os.getpid()


def test_a_worker_that_could_not_begin_or_ended_is_begun_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, begun = Work.start, []

    def start(self: Work) -> None:
        begun.append(self)
        if len(begun) == 1:
            raise DatabaseUnavailable("away for a moment")
        begin(self)

    monkeypatch.setattr(Work, "start", start)
    with Client(database_url=database_url) as client:
        assert client.submit("here.nap").result(15) is not None
        begun[-1].drain("all its slots are stuck, say")
        begun[-1].join(10)
        assert client.submit("here.nap").result(15) is not None
    assert len(begun) == 3


def test_a_file_that_a_server_has_is_asked_for_over_rest(
    sqlite_url: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(sqlite_url, "up", free_port())
    with Client(database_url=sqlite_url) as client:
        handle = client.submit("nap", {"seconds": 0.2})
        assert handle.result(20) == {"slept": 0.2}
        assert [one.result(20) for one in client.submit_many([Request("nap")] * 2) if isinstance(one, Handle)] == [
            {"slept": 0.0}
        ] * 2
    monkeypatch.setenv("JOBRUNNER_URL", server.url)
    with Client.from_env() as client:
        assert client.task(handle.task_id).result == {"slept": 0.2}


def test_a_task_of_the_callers_own_transaction(postgres_url: str) -> None:
    engine = sqlalchemy.create_engine(postgres_url)
    with Client(database_url=postgres_url) as client:
        with engine.begin() as conn:
            jobrunner.enqueue(conn, "here.nap", {"seconds": 0.1}, task_id="with-an-order")
            with pytest.raises(TaskNotFound):
                client.handle("with-an-order").status()
        told = client.handle("with-an-order").result(30)
        assert told is not None
        assert told["slept"] == 0.1
        with engine.connect() as conn:
            lost = jobrunner.enqueue(conn, "here.nap")
            conn.rollback()
        with pytest.raises(TaskNotFound):
            client.handle(lost.task_id).wait(1)
    engine.dispose()


def test_in_a_loop(database_url: str) -> None:
    async def work() -> None:
        async with AsyncClient(database_url=database_url) as client:
            handles = [await client.submit("here.nap", {"seconds": 1.0}) for _ in range(10)]
            first = await handles[0].result(30)  # the worker is there now
            began = time.monotonic()
            told = await asyncio.gather(*(handle.result(30) for handle in handles))
            assert told == [first] * 10
            assert time.monotonic() - began < 6
            assert [told and told["sum"] async for told in client.map("here.add", [1, 2], argument="x")] == [2, 3]
            long = await client.submit("here.nap", {"seconds": 1.0})
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await long.result()
            assert not (await long.status()).ended
            assert (await long.wait(10)).status == "completed"
        with pytest.raises(ClientClosed):
            await long.status()

    asyncio.run(work())


def test_many_waits_leave_the_programs_threads_alone(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiter, "SLICE", 60.0)  # whatever ends in time was told
    before = threading.active_count()

    async def work() -> None:
        async with AsyncClient(database_url=postgres_url, run_here=False) as client:
            handles = [await client.submit("here.nap") for _ in range(50)]
            waits = [asyncio.create_task(handle.wait(20)) for handle in handles]
            await asyncio.sleep(0.5)
            began = time.monotonic()
            await asyncio.to_thread(time.monotonic)
            assert time.monotonic() - began < 5
            assert threading.active_count() - before <= 10
            with Local(postgres_url) as other:
                for handle in handles[1:]:
                    other.cancel(handle.task_id)
            assert {task.status for task in await asyncio.wait_for(asyncio.gather(*waits[1:]), 15)} == {"cancelled"}
            assert not waits[0].done()
            await client.close()
            with pytest.raises(ClientClosed):
                await asyncio.wait_for(waits[0], 15)

    asyncio.run(work())


def test_who_leaves_in_the_middle_of_a_wait_leaves_nothing_open(postgres_url: str) -> None:
    async def work() -> None:
        async with AsyncClient(database_url=postgres_url, run_here=False) as client:
            handle = await client.submit("here.nap")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await handle.result()

    asyncio.run(work())
    gc.collect()  # a connection that was forgotten open would say so
    engine = sqlalchemy.create_engine(postgres_url)
    with engine.connect() as conn:
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        until = time.monotonic() + 20
        while conn.execute(sqlalchemy.text(others)).scalar_one() and time.monotonic() < until:
            time.sleep(0.05)  # the server's processes end a moment after their connections
        assert conn.execute(sqlalchemy.text(others)).scalar_one() == 0
    engine.dispose()


def test_a_program_in_an_empty_folder(processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It closes nothing, and ends all the same; the file is free, and what it left is there.

    At its end the interpreter waits for threads of pools, and refuses all that are asked for meanwhile.
    """
    (tmp_path / "program.py").write_text(
        "from tests.client import here_tasks\n"
        "from jobrunner.client import Client\n"
        "client = Client()\n"
        "print(client.submit('here.add', {'x': 2}).result(30)['sum'])\n"
        "client.submit('here.nap', {'seconds': 30}, task_id='left')\n"
        "import time\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "import logging\n"
        "logging.getLogger('mine').warning('not set up')\n"
        "logging.basicConfig()\n"
        "logging.warning('set up')\n"
        "time.sleep(1.4)\n"  # so that the memory is looked at before the next look for work, which is after 2.5 s
        "ThreadPoolExecutor(1).submit(time.sleep, 2.5)\n"
    )
    env = {"PYTHONPATH": str(ROOT), "JOBRUNNER_POLL_INTERVAL": "30"}
    program = processes.start_command([sys.executable, "-W", "error", "program.py"], env=env)
    assert program.wait() == 0, program.tail()
    assert program.output == "3\n"
    assert program.errors == "not set up\nWARNING:root:set up\n", "its logging is its own"
    assert owner(tmp_path / ".jobrunner" / "jobrunner.db") is None
    monkeypatch.setenv("JOBRUNNER_DATA_DIR", str(tmp_path / ".jobrunner"))
    with Client.from_env() as client:
        assert not client.task("left").ended
    with Local(f"sqlite:///{tmp_path / '.jobrunner' / 'jobrunner.db'}") as desk:
        assert [(node["state"], node["reason"]) for node in desk.nodes()["nodes"]] == [("stopped", "its program ended")]
