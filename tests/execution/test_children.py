"""The pool of children: warm, replaced, walled off from the worker, and honest when none can be had."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobrunner.execution import process
from jobrunner.execution.children import ChildPool
from jobrunner.handlers import get, registry
from jobrunner.handlers.declare import Handler
from jobrunner.queue.task import Ending, Outcome
from tests.execution.harness import (
    QUICK,
    Told,
    begin,
    children_of_this_process,
    go,
    in_child,
    make_task,
    opened,
    stopped_after,
    until,
)


async def _pids(pool: ChildPool, count: int) -> list[str | None]:
    return [(await pool.run(make_task("pid"), get("pid"), Told())).result for _ in range(count)]


def test_slots_run_side_by_side_and_are_counted() -> None:
    async def run() -> tuple[list[int], float]:
        free = []
        async with opened(ChildPool(3, grace=QUICK)) as pool:
            free.append(pool.free())
            rows = range(1, 4)
            running = [await begin(pool, make_task("sleep", {"seconds": 1.0}, row=row)) for row in rows]
            await asyncio.sleep(0)
            free.append(pool.free())
            await asyncio.gather(*running)
            free.append(pool.free())
            begun = time.monotonic()
            await asyncio.gather(
                *(pool.run(make_task("sleep", {"seconds": 1.5}, row=row), get("sleep"), Told()) for row in rows)
            )
            return free, time.monotonic() - begun

    free, took = go(run())
    assert free == [3, 0, 3]
    assert took < 4.0  # one after the other they would take 4.5


def test_a_warm_child_is_used_again() -> None:
    async def run() -> list[str | None]:
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            return await _pids(pool, 5)

    assert len(set(go(run()))) == 1


def test_all_children_are_started_before_anything_is_to_do() -> None:
    async def run() -> None:
        async with opened(ChildPool(2, grace=QUICK)) as pool:
            pool.warm()
            await until(lambda: len(pool._idle) == 2)
            assert len(psutil.Process().children()) >= 2

    go(run())


def test_children_are_replaced_after_so_many_tasks() -> None:
    async def run() -> list[str | None]:
        async with opened(ChildPool(1, child_max_tasks=2, grace=QUICK)) as pool:
            return await _pids(pool, 6)

    pids = go(run())
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4] == pids[5]


def test_nothing_of_the_worker_leaks_into_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in process.SECRETS:
        monkeypatch.setenv(name, "postgresql://user:canary@host/db")
    monkeypatch.setenv("PLAIN", "kept")
    secret = (tmp_path / "open-in-the-worker").open("w")
    os.set_inheritable(secret.fileno(), True)
    outcome = in_child("environment", told=Told("postgresql://user:canary@host/db"))
    secret.close()
    found = json.loads(outcome.result or "")
    assert not set(process.SECRETS) & set(found["names"])
    assert "PLAIN" in found["names"]
    assert "canary" not in (outcome.result or "")
    assert found["stdin"] == ""
    assert not any("open-in-the-worker" in name for name in found["files"])
    assert sum(name.startswith("socket:") for name in found["files"]) == 1


def test_an_environment_can_be_given() -> None:
    async def run() -> Outcome:
        async with opened(ChildPool(1, grace=QUICK, environ={"PATH": os.environ["PATH"], "ONLY": "this"})) as pool:
            return await pool.run(make_task("environment"), get("environment"), Told())

    names = set(json.loads(go(run()).result or "")["names"])
    assert names - {"LC_CTYPE"} == {"PATH", "ONLY", "JOBRUNNER_CHILD"}


def test_a_child_that_cannot_be_started_gives_the_task_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> tuple[Outcome, int, Outcome]:
        real = sys.executable
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            monkeypatch.setattr(sys, "executable", "/no/such/python")
            refused = await _until_refused(pool)
            monkeypatch.setattr(sys, "executable", real)
            free = pool.free()
            pool._paused_until = 0.0
            return refused, free, await pool.run(make_task("add", {"a": 1}), get("add"), Told())

    refused, free, after = go(run())
    assert refused.ending is Ending.RELEASED
    assert "/no/such/python" in (refused.error or "")
    assert refused.delay >= 1.0
    assert free == 0
    assert after.ending is Ending.COMPLETED


def test_children_that_fail_together_are_one_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> list[Outcome]:
        async with opened(ChildPool(6, grace=QUICK)) as pool:
            asked = [pool.run(make_task("noop", row=row), get("noop"), Told()) for row in range(6)]
            return await asyncio.wait_for(asyncio.gather(*asked), 10)

    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert [(one.ending, one.delay) for one in go(run())] == [(Ending.RELEASED, 1.0)] * 6


async def _until_refused(pool: ChildPool) -> Outcome:
    """Use up what was started before there was no python any more."""
    while True:
        outcome = await pool.run(make_task("die", {"how": "kill"}), get("die"), Told())
        if outcome.ending is not Ending.CRASHED:
            return outcome


@pytest.fixture
def handlers_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    with registry.isolated():
        yield tmp_path


_IN_CHILD = "import os\nfrom jobrunner.handlers import task\n{first}\n@task('made')\ndef made():\n    return 'made'\n"


def _run_made(name: str, **facts: Any) -> Outcome:
    async def run() -> Outcome:
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            return await pool.run(make_task(name, **facts), get(name), Told())

    outcome: Outcome = go(run())
    return outcome


def test_a_module_that_dies_in_children_gives_the_task_back_with_its_last_words(handlers_of: Path) -> None:
    module = handlers_of / "dying_in_children.py"
    module.write_text(_IN_CHILD.format(first=""))
    registry.load(["dying_in_children"])
    module.write_text(_IN_CHILD.format(first="os.write(2, b'no licence'); os._exit(9)"))
    outcome = _run_made("made")
    assert outcome.ending is Ending.RELEASED
    assert outcome.error == "a child process ended at its start by exit code 9: no licence"


def test_a_module_that_cannot_be_imported_by_children_is_named(handlers_of: Path) -> None:
    module = handlers_of / "failing_in_children.py"
    module.write_text(_IN_CHILD.format(first=""))
    registry.load(["failing_in_children"])
    module.write_text(_IN_CHILD.format(first="raise OSError('no disk')"))
    outcome = _run_made("made")
    assert outcome.ending is Ending.ERROR
    assert outcome.error_class == "jobrunner.errors.HandlerError"
    assert outcome.error == "module 'failing_in_children' cannot be imported: OSError: no disk"


def test_a_handler_that_children_cannot_find_is_named_with_its_module(handlers_of: Path) -> None:
    module = handlers_of / "missing_in_children.py"
    module.write_text(_IN_CHILD.format(first=""))
    registry.load(["missing_in_children"])
    module.write_text("")
    outcome = _run_made("made")
    assert outcome.ending is Ending.ERROR
    assert outcome.error == "importing 'missing_in_children' in a child process registers no handler 'made'"


def test_a_handler_of_the_main_program_is_refused_with_advice() -> None:
    def here() -> None: ...

    here.__module__ = "__main__"
    handler = Handler("here", here, "child")

    async def run() -> Outcome:
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            return await pool.run(make_task("here"), handler, Told())

    outcome = go(run())
    assert outcome.ending is Ending.ERROR
    assert "move it into a module" in (outcome.error or "")


def test_a_module_that_was_not_loaded_beforehand_is_found_when_needed(handlers_of: Path) -> None:
    async def run() -> Outcome:
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            module = handlers_of / "late_for_children.py"
            module.write_text(_IN_CHILD.format(first="import time; time.sleep(1.2)"))
            registry.load(["late_for_children"])
            pool.warm()  # children are told of the modules that were known at the pool's start
            await until(lambda: len(pool._idle) == 1)
            return await pool.run(make_task("made", timeout=1.0), get("made"), Told())

    assert go(run()) == Outcome(Ending.COMPLETED, result='"made"')


def test_the_start_of_a_child_is_not_the_handlers_time(handlers_of: Path) -> None:
    module = handlers_of / "slow_for_children.py"
    module.write_text(_IN_CHILD.format(first=""))
    registry.load(["slow_for_children"])
    module.write_text(_IN_CHILD.format(first="import time; time.sleep(1.2)"))
    assert _run_made("made", timeout=1.0) == Outcome(Ending.COMPLETED, result='"made"')


def test_a_run_that_nobody_awaits_any_more_ends_its_child() -> None:
    async def run() -> None:
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            await pool.run(make_task("noop"), get("noop"), Told())
            running = await begin(pool, make_task("ignore_term"))
            await asyncio.sleep(0.2)
            [child] = pool._alive
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await until(child.gone.done)
            assert pool.free() == 1

    go(run())


def test_a_frozen_child_is_ended_too() -> None:
    async def run() -> Outcome:
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            await pool.run(make_task("noop"), get("noop"), Told())
            [child] = pool._alive
            os.kill(child.pid, signal.SIGSTOP)
            outcome, _ = await stopped_after(pool, make_task("noop"), 0.1, Ending.LOST)
            return outcome

    assert go(run()).ending is Ending.LOST


def test_a_closed_pool_leaves_no_process() -> None:
    async def run() -> None:
        async with opened(ChildPool(2, child_max_tasks=1, grace=QUICK)) as pool:
            await _pids(pool, 3)

    before = set(children_of_this_process())
    go(run())
    assert set(children_of_this_process()) <= before


def test_a_large_payload_and_a_large_result_pass() -> None:
    text = "x" * 900_000
    outcome = in_child("echo", {"text": text})
    assert outcome.result == json.dumps(text)


_SHORT_OF_FILES = """
import asyncio, os, resource
from jobrunner.execution.children import ChildPool
from jobrunner.handlers import get
from tests.execution.harness import QUICK, Told, make_task, opened

def numbers():
    return len(os.listdir("/proc/self/fd")) - 1

async def main():
    endings = set()
    async with opened(ChildPool(1, child_max_tasks=1, grace=QUICK)) as pool:
        assert (await pool.run(make_task("noop"), get("noop"), Told())).ending == "completed"
        for spare in range(14):
            while pool._alive:
                await asyncio.gather(*(child.kill() for child in tuple(pool._alive)))
                await asyncio.sleep(0)
            await asyncio.sleep(0.05)
            before = numbers()
            resource.setrlimit(resource.RLIMIT_NOFILE, (before + spare, 4096))
            pool._pause = 0.0
            outcome = await asyncio.wait_for(pool.run(make_task("noop"), get("noop"), Told()), 20)
            resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
            endings.add(str(outcome.ending))
            print(spare, outcome.ending, outcome.error)
    print(*sorted(endings))
    print("left", numbers())

before = numbers() + 1  # and the empty file that forked copies get in place of what they may not hold
asyncio.run(main())
assert numbers() == before, (numbers(), before)
"""


@pytest.mark.ci
def test_short_of_file_descriptors_tasks_are_given_back_and_nothing_leaks() -> None:
    ended = subprocess.run([sys.executable, "-c", _SHORT_OF_FILES], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "completed released" in ended.stdout


def test_a_child_that_dies_the_moment_it_is_ready_keeps_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after its first word and before anybody took notice of that: its task was renewed for ever."""
    started = process.Child.start

    async def start_and_die(self: process.Child) -> None:
        await started(self)
        monkeypatch.setattr(process.Child, "start", started)
        os.kill(self.pid, signal.SIGKILL)
        await self.gone

    async def run() -> tuple[Outcome, Outcome]:
        monkeypatch.setattr(process.Child, "start", start_and_die)
        async with opened(ChildPool(1, grace=QUICK)) as pool:
            first = await asyncio.wait_for(pool.run(make_task("pid"), get("pid"), Told()), 20)
            await asyncio.sleep(first.delay)
            return first, await asyncio.wait_for(pool.run(make_task("pid"), get("pid"), Told()), 20)

    first, second = go(run())
    assert (first.ending, second.ending) == (Ending.RELEASED, Ending.COMPLETED)
    assert "ended as soon as it was ready" in str(first.error)
