"""Randomised chaos: workers, tasks of every kind, the faults of a seed, and the checker at the end.

``python -m tests.faults.chaos --seed 7 --runs 3`` tells the figures of each run, and ends with 1 where a promise was
broken; the same seed plans the same run.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, redirect_stdout, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import psycopg
from sqlalchemy import delete

from jobrunner.db import migrate
from jobrunner.db.engine import open_database
from jobrunner.db.tables import nodes
from jobrunner.errors import DatabaseUnavailable, StateConflict
from jobrunner.queue import store
from jobrunner.queue.request import new_task
from tests.faults.check import Violation, check
from tests.faults.figures import Happened, figures
from tests.faults.fleet import LEASE, READY, Fleet, events
from tests.faults.history import Call, History, Stop, lines
from tests.faults.plan import Fault, Plan, Request, plan
from tests.faults.wire import Wire
from tests.postgres import PrivateServer
from tests.processes import Process, Processes

TASKS = 500
GRACE = 2.0
DEAD = 37.0  # seconds more behind a dead link: 15 to write outcomes, 6 and 5 to say goodbye, 10 to give back, and 1
BUSY = 8.0  # seconds more that an end may take here, where six processes and their children share two cores
DRAIN = 60.0  # seconds after the last fault in which every task has to end
PAUSE = 0.05  # seconds between two tries of a client


class Client(threading.Thread):
    """Hands in what the plan says, under its own ids, until it is told how each call went; and cancels some."""

    def __init__(self, url: str, requests: list[Request], ledger: Path) -> None:
        super().__init__(name="client")
        self._database = open_database(url)
        self._ledger = ledger
        told = [(one.at, "submit", one) for one in requests]
        told += [(one.cancel_at, "cancel", one) for one in requests if one.cancel_at is not None]
        self._plan = sorted(told, key=lambda each: each[0])
        self.calls: list[Call] = []
        self.accepted: list[str] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        start = time.monotonic()
        try:
            for at, what, request in self._plan:
                time.sleep(max(0.0, start + at - time.monotonic()))
                (self._submit if what == "submit" else self._cancel)(request)
        except BaseException as error:
            self.error = error
        finally:
            self._database.dispose()

    def _submit(self, request: Request) -> None:
        data = {"ledger": str(self._ledger), **request.data}
        new = new_task(request.task_type, data, task_id=request.task_id, **request.options)
        while True:
            try:
                with self._database.begin() as conn:
                    told = store.enqueue(conn, new)
            except DatabaseUnavailable:
                self._told("submit", new.task_id, "unknown", new.request_hash)
                time.sleep(PAUSE)
                continue
            if told.task_id == new.task_id:
                self.accepted.append(new.task_id)
                self._told("submit", new.task_id, "ok", new.request_hash)
            return  # else an open task has its key: that one was accepted before

    def _cancel(self, request: Request) -> None:
        if request.task_id not in self.accepted:
            return
        try:
            with self._database.begin() as conn:
                store.cancel(conn, request.task_id)
        except StateConflict:
            self._told("cancel", request.task_id, "fail")
        except DatabaseUnavailable:
            self._told("cancel", request.task_id, "unknown")
        else:
            self._told("cancel", request.task_id, "ok")

    def _told(self, what: str, task_id: str, result: str, request_hash: str | None = None) -> None:
        self.calls.append(Call(what, task_id, result, time.time(), request_hash))


class Chaos:
    """One run on a server of its own. ``happened`` keeps when what was done, for the figures."""

    def __init__(self, made: Plan, server: PrivateServer, url: str, home: Path) -> None:
        self.plan = made
        self.happened: list[Happened] = []
        self._server = server
        self._url = url
        self._processes = Processes(home)
        self._fleet = Fleet(self._processes, url, home)
        self._workers: list[Process] = []
        self._all: list[Process] = []
        self._stops: list[Stop] = []
        self._timers: list[threading.Timer] = []
        self._wires: dict[str, Wire] = {}
        self._silenced = False

    def run(self) -> tuple[History, dict[str, Any]]:
        """Everything; returns what happened, and the figures."""
        fleet = self._fleet
        with ExitStack() as opened:
            opened.callback(self._end)
            for name in ("worker", "client"):
                self._wires[name] = opened.enter_context(Wire(self._url))
            fleet.make_ledger_table()
            fleet.keep_a_journal()
            for number in range(self.plan.workers):
                self._start(self._wires["worker"].url if number == 0 else self._url)
            for worker in self._workers:
                worker.wait_for_line(READY)
            client = Client(self._wires["client"].url, self.plan.requests, fleet.ledger)
            client.start()
            start = time.monotonic()
            for fault in self.plan.faults:
                time.sleep(max(0.0, start + fault.at - time.monotonic()))
                self._do(fault)
            client.join()
            if client.error is not None:
                raise client.error
            return self._settled(client)

    def _settled(self, client: Client) -> tuple[History, dict[str, Any]]:
        """What faults are still under way end; then every task does, and every worker."""
        fleet = self._fleet
        for timer in self._timers:
            timer.join()
        fleet.close()
        drained = fleet.wait_until_ended(DRAIN)
        for worker in [*self._workers]:
            self._drain(worker)
        fleet.accepted = client.accepted
        found = replace(fleet.history(effects=True), calls=client.calls, stops=self._stops, lease_seconds=LEASE)
        told = figures(found, self.happened, drained)
        late = sum(len(events(one, "late outcome refused")) for one in self._all)
        return found, {**told, "late writes refused": late}

    # -- what is done to it ---------------------------------------------------------------------------------------

    def _do(self, fault: Fault) -> None:
        getattr(self, f"_{fault.what}")(fault)

    def _start(self, url: str) -> Process:
        worker = self._fleet.worker(database_url=url, max_workers=str(self.plan.slots), grace=str(GRACE))
        self._workers.append(worker)
        self._all.append(worker)
        return worker

    def _victim(self, fault: Fault) -> Process:
        """One that works; one that only just starts would teach nothing."""
        ready = [worker for worker in self._workers if READY in worker.errors or _node(worker)]
        return (ready or self._workers)[fault.who % len(ready or self._workers)]

    def _kill(self, fault: Fault) -> None:
        victim = self._victim(fault)
        self._workers.remove(victim)
        self._note("kill", _node(victim))
        victim.kill()
        self._start(self._url)

    def _freeze(self, fault: Fault) -> None:
        victim = self._victim(fault)
        self._note("freeze", _node(victim))
        victim.signal(signal.SIGSTOP)
        self._later(fault.lasts, lambda: victim.signal(signal.SIGCONT))

    def _drain(self, told: Fault | Process) -> None:
        victim = told if isinstance(told, Process) else self._victim(told)
        if isinstance(told, Fault):
            self._start(self._url)
        self._workers.remove(victim)
        victim.signal(signal.SIGCONT)
        node, at, begun = _node(victim), time.time(), time.monotonic()
        code = victim.stop(GRACE + BUSY + DEAD)
        if code != 0:
            raise AssertionError(f"a drained worker ended with {code}: {victim.tail()}")
        if node:
            dead = DEAD if victim is self._all[0] and self._silenced else 0.0
            self._stops.append(Stop(node, at, time.monotonic() - begun, GRACE + BUSY + dead))

    def _child(self, fault: Fault) -> None:
        """One in which something runs, where there is one."""
        victim = self._victim(fault)
        running: dict[int, str] = {}
        for line in lines(self._fleet.ledger):
            if line.what == "begin":
                running[line.pid] = line.task_id
            elif line.what == "end":
                running.pop(line.pid, None)
        with suppress(psutil.NoSuchProcess):
            children = sorted(psutil.Process(victim.pid).children(), key=lambda child: child.pid not in running)
            if children:
                if children[0].pid in running:
                    self._note("child", _node(victim), running[children[0].pid])
                children[0].kill()

    def _backends(self, _fault: Fault) -> None:
        with psycopg.connect(self._url.replace("+psycopg", ""), autocommit=True) as conn:
            conn.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        self._fleet.close()

    def _restart(self, _fault: Fault) -> None:
        self._server.restart("immediate")
        self._fleet.close()
        self._note("restart", None)

    def _cut(self, _fault: Fault) -> None:
        self._wires["worker"].cut()

    def _silence(self, fault: Fault) -> None:
        self._silenced = True
        self._wires["worker"].silence()
        self._later(fault.lasts, self._wires["worker"].heal)

    def _answers(self, _fault: Fault) -> None:
        self._wires["client"].cut()

    def _forget(self, _fault: Fault) -> None:
        with suppress(DatabaseUnavailable), self._fleet.database.begin() as conn:
            conn.execute(delete(nodes))

    def _note(self, what: str, node: str | None, task_id: str | None = None) -> None:
        self.happened.append(Happened(what, time.time(), node, task_id))

    def _later(self, seconds: float, act: Any) -> None:
        timer = threading.Timer(seconds, act)
        self._timers.append(timer)
        timer.start()

    def _end(self) -> None:
        for timer in self._timers:
            timer.join()
        for worker in self._workers:
            worker.signal(signal.SIGCONT)
        self._fleet.close()
        complaints = self._processes.close()
        if complaints and sys.exception() is None:
            raise AssertionError("\n".join(complaints))


def _node(worker: Process) -> str | None:
    """The node's id, where it is ready."""
    for line in events(worker, "ready"):
        return str(json.loads(line)["node"])
    return None


def run(seed: int, tasks: int, home: Path, server: PrivateServer) -> tuple[list[Violation], dict[str, Any]]:
    """One seed, in a database of its own on this server: which promises were broken, and the figures."""
    name = f"chaos_{seed}_{random.randrange(10**6)}"
    with psycopg.connect(server.url.replace("+psycopg", ""), autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}")
    url = server.url.rpartition("/")[0] + f"/{name}"
    migrate.upgrade(url)
    found, told = Chaos(plan(seed, tasks, LEASE), server, url, home).run()
    return check(found), told


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the first run")
    parser.add_argument("--runs", type=int, default=1, help="how many, each with the next seed")
    parser.add_argument("--tasks", type=int, default=TASKS, help=f"in each run (default: {TASKS})")
    given = parser.parse_args()
    broken = 0
    with PrivateServer() as server:
        for seed in range(given.seed, given.seed + given.runs):
            with tempfile.TemporaryDirectory(prefix="chaos-") as home:
                with redirect_stdout(sys.stderr):  # what the processes said
                    violations, told = run(seed, given.tasks, Path(home), server)
            print(json.dumps({"seed": seed, "violations": [str(one) for one in violations], **told}), flush=True)
            broken += bool(violations)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
