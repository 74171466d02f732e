"""Randomised chaos: workers, tasks of every kind, the faults of a seed, and the checker at the end.

``python -m tests.faults.chaos --seed 7 --runs 3`` tells the figures of each run and of all, and ends with 1 where a
promise was broken; the same seed plans the same run.
"""

from __future__ import annotations

import argparse
import json
import pickle
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, redirect_stdout, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import psutil
import psycopg
from sqlalchemy import delete

from jobrunner.background import schedules
from jobrunner.db import migrate
from jobrunner.db.tables import nodes
from jobrunner.errors import DatabaseUnavailable
from jobrunner.runtime.run import END_AFTER
from tests.faults.check import check
from tests.faults.client import Caller, Client
from tests.faults.figures import Happened, figures, summary
from tests.faults.fleet import LEASE, READY, Fleet, events
from tests.faults.history import Exit, History, Stop, lines
from tests.faults.plan import Fault, Plan, plan
from tests.faults.spoken import CLAIM, RENEW, SETTLE, Act, Asked, Trap
from tests.faults.violation import Violation
from tests.faults.wire import Wire
from tests.postgres import PrivateServer
from tests.postgres.ending import end_connections
from tests.processes import Process, Processes

TASKS = 500
GRACE = 2.0
BUSY = 8.0  # seconds more that an end may take here, where six processes and their children share two cores
DRAIN = 60.0  # seconds after the last fault in which every task has to end


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
        self._exits: list[Exit] = []
        self._timers: list[threading.Timer] = []
        self._wires: dict[str, Wire] = {}
        self._trap: Asked = lambda _statement: "pass"
        self._silenced = False

    def run(self) -> tuple[History, dict[str, Any]]:
        """Everything; returns what happened, and the figures."""
        fleet = self._fleet
        with ExitStack() as opened:
            opened.callback(self._end)
            self._wires["client"] = opened.enter_context(Wire(self._url))
            asked = Wire(self._url, asked=lambda statement: self._trap(statement))
            self._wires["worker"] = opened.enter_context(asked)
            fleet.make_ledger_table()
            with fleet.database.begin() as conn:
                told = {"ledger": str(fleet.ledger)}
                schedules.save(conn, "tick", every=1.0, task_type="fault.async", payload=told, allow_unknown=True)
            for number in range(self.plan.workers):
                self._start(self._wires["worker"].url if number == 0 else self._url)
            for worker in self._workers:
                worker.wait_for_line(READY)
            caller = Caller(self._wires["client"].url, self.plan.requests, fleet.ledger)
            caller.start()
            start = time.monotonic()
            for fault in self.plan.faults:
                time.sleep(max(0.0, start + fault.at - time.monotonic()))
                self._do(fault)
            caller.join()
            if caller.error is not None:
                raise caller.error
            return self._settled(caller.client)

    def _settled(self, client: Client) -> tuple[History, dict[str, Any]]:
        """What faults are still under way end; then every task does, and every worker."""
        fleet = self._fleet
        for timer in self._timers:
            timer.join()
        fleet.close()
        with fleet.database.begin() as conn:
            schedules.pause(conn, "tick")
        self._start(self._url)  # each of the others may have a failpoint before it
        drained = DRAIN
        with suppress(TimeoutError):  # the checker says which did not end
            drained = fleet.wait_until_ended(DRAIN)
        for worker in self._living():
            self._drain(worker)
        fleet.accepted = client.accepted
        found = replace(fleet.history(effects=True), calls=client.calls, stops=self._stops, exits=self._exits)
        found = replace(found, lease_seconds=LEASE)
        told = figures(found, self.happened, drained)
        late = sum(len(events(one, "late outcome refused")) for one in self._all)
        done = Counter([fault.what for fault in self.plan.faults])
        done["failpoint"] = sum(one.what == "failpoint" for one in self.happened)
        return found, {**told, "faults": dict(done), "late writes refused": late}

    # -- what is done to it ---------------------------------------------------------------------------------------

    def _do(self, fault: Fault) -> None:
        getattr(self, f"_{fault.what}")(fault)

    def _start(self, url: str, failpoint: str = "") -> None:
        slots = str(self.plan.slots)
        worker = self._fleet.worker(database_url=url, max_workers=slots, grace=str(GRACE), failpoint=failpoint)
        self._workers.append(worker)
        self._all.append(worker)

    def _living(self) -> list[Process]:
        """Those who did not come to a failpoint; whoever ended otherwise is a fault of its own."""
        for worker in [*self._workers]:
            if worker.exit_code is not None:
                self._workers.remove(worker)
                if worker.exit_code == -signal.SIGKILL:
                    self._note("failpoint", _node(worker))
                else:
                    self._exits.append(Exit(_node(worker) or "", worker.exit_code))
        if not self._workers:
            self._start(self._url)
        return [*self._workers]

    def _victim(self, fault: Fault) -> Process:
        """One that works; one that only just starts would teach nothing."""
        living = self._living()
        ready = [worker for worker in living if _node(worker)] or living
        return ready[fault.who % len(ready)]

    def _kill(self, fault: Fault) -> None:
        victim = self._victim(fault)
        self._workers.remove(victim)
        self._note("kill", _node(victim))
        victim.kill()
        self._start(self._url, fault.how)

    def _freeze(self, fault: Fault) -> None:
        victim = self._victim(fault)
        self._note("freeze", _node(victim))
        victim.signal(signal.SIGSTOP)
        self._later(fault.lasts, lambda: victim.signal(signal.SIGCONT))

    def _drain(self, told: Fault | Process) -> None:
        victim = told if isinstance(told, Process) else self._victim(told)
        if isinstance(told, Fault):
            self._start(self._url, told.how)
        self._workers.remove(victim)
        victim.signal(signal.SIGCONT)
        node, at, begun = _node(victim), time.time(), time.monotonic()
        code = victim.stop(GRACE + BUSY + END_AFTER)
        if code == -signal.SIGKILL:
            self._note("failpoint", node)
            return
        if code == -signal.SIGTERM and node is None:
            return  # before it had so much as read its settings
        if code != 0:
            self._exits.append(Exit(node or "", code))
        elif node:
            reaches = not (victim is self._all[0] and self._silenced)
            took, within = time.monotonic() - begun, GRACE + BUSY + (0.0 if reaches else END_AFTER)
            self._stops.append(Stop(node, at, took, within, reaches))

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
        end_connections(self._url)
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

    def _commit(self, fault: Fault) -> None:
        act, _, what = fault.how.partition(" ")
        trap = Trap(cast(Act, act), "COMMIT", {"claim": CLAIM, "renewal": RENEW, "end": SETTLE}[what])
        trap.set()
        self._trap = trap

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


def run(made: Plan, home: Path, server: PrivateServer) -> tuple[list[Violation], dict[str, Any]]:
    """One plan, in a database of its own on this server: which promises were broken, and the figures.

    A history that breaks one is kept, for `check` to look at again.
    """
    name = f"chaos_{made.seed}_{random.randrange(10**6)}"
    with psycopg.connect(server.url.replace("+psycopg", ""), autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}")
    url = server.url.rpartition("/")[0] + f"/{name}"
    migrate.upgrade(url)
    found, told = Chaos(made, server, url, home).run()
    if violations := check(found):
        kept = Path(tempfile.gettempdir(), f"{name}.pickle")
        kept.write_bytes(pickle.dumps(found))
        print(f"the history of seed {made.seed}: {kept}")
    return violations, told


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the first run")
    parser.add_argument("--runs", type=int, default=1, help="how many, each with the next seed")
    parser.add_argument("--tasks", type=int, default=TASKS, help=f"in each run (default: {TASKS})")
    given = parser.parse_args()
    all_told: list[dict[str, Any]] = []
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # nothing that it started is left behind
    with PrivateServer() as server:
        for seed in range(given.seed, given.seed + given.runs):
            with tempfile.TemporaryDirectory(prefix="chaos-") as home:
                with redirect_stdout(sys.stderr):  # what the processes said
                    violations, told = run(plan(seed, given.tasks, LEASE), Path(home), server)
            told = {"seed": seed, "violations": [str(one) for one in violations], "violated": len(violations), **told}
            print(json.dumps(told), flush=True)
            all_told.append(told)
    print(json.dumps(summary(all_told)))
    return 1 if any(told["violated"] for told in all_told) else 0


if __name__ == "__main__":
    sys.exit(main())
