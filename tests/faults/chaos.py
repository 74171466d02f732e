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
FIRES = 1.5  # seconds in which a schedule that fires each second has fired
DRAIN = 90.0  # seconds after the last fault in which every task has to end: effects on a dead link may take 60 of them


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
        self._doomed: set[Process] = set()  # those that have a failpoint
        self._behind: set[Process] = set()  # those that reach the server by the wire
        self._hurt: set[str | None] = set()  # nodes that had a child killed
        self._ended_at = self._cut_at = float("-inf")  # when links of all, and behind the wire, were ended
        self._did: Counter[str] = Counter()
        self._traps: list[Trap] = []
        self._stops: list[Stop] = []
        self._exits: list[Exit] = []
        self._timers: list[threading.Timer] = []
        self._wires: dict[str, Wire] = {}
        self._trap: Asked = lambda _statement: "pass"
        self._dead_until = 0.0  # links behind the wire may be dead until then, by the monotonic clock

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
                self._start(behind=number == 0)
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
        self._start().wait_for_line(READY)  # each of the others may have a failpoint before it
        time.sleep(FIRES)
        with fleet.database.begin() as conn:
            schedules.pause(conn, "tick")
        paused = time.time()
        drained = DRAIN
        with suppress(TimeoutError):  # the checker says which did not end
            drained = fleet.wait_until_ended(DRAIN)
        for worker in self._living():
            self._end_well(worker)
        fleet.accepted = client.accepted
        found = replace(fleet.history(effects=True), calls=client.calls, stops=self._stops, exits=self._exits)
        found = replace(found, lease_seconds=LEASE, paused={"tick": paused})
        assert found.moves, "nobody kept a journal: the run means nothing"
        told = figures(found, self.happened, drained)
        late = sum(len(events(one, "late outcome refused")) for one in self._all)
        self._did["commit"] = sum(trap.sprung_at is not None for trap in self._traps)
        self._did["failpoint"] = sum(one.what == "failpoint" for one in self.happened)
        told |= {"faults planned": len(self.plan.faults), "faults": self._did, "late outcomes refused": late}
        return found, told

    # -- what is done to it ---------------------------------------------------------------------------------------

    def _do(self, fault: Fault) -> None:
        """One that hit nobody is not counted; a trap counts when it has sprung."""
        self._did[fault.what] += getattr(self, f"_{fault.what}")(fault)

    def _start(self, *, behind: bool = False, failpoint: str = "") -> Process:
        slots, url = str(self.plan.slots), self._wires["worker"].url if behind else self._url
        worker = self._fleet.worker(database_url=url, max_workers=slots, grace=str(GRACE), failpoint=failpoint)
        self._workers.append(worker)
        self._all.append(worker)
        if behind:
            self._behind.add(worker)
        if failpoint:
            self._doomed.add(worker)
        return worker

    def _dead(self, worker: Process, code: int | None) -> bool:
        """Whether it came to its failpoint."""
        return code == -signal.SIGKILL and worker in self._doomed

    def _living(self) -> list[Process]:
        """Those who did not come to a failpoint; whoever ended otherwise is a fault of its own."""
        for worker in [*self._workers]:
            if worker.exit_code is not None:
                self._workers.remove(worker)
                if self._dead(worker, worker.exit_code):
                    self._note("failpoint", _node(worker))
                else:
                    self._exits.append(Exit(_node(worker) or "", worker.exit_code))
        if not any(worker in self._behind for worker in self._workers):
            self._start(behind=True)
        return [*self._workers]

    def _victim(self, fault: Fault) -> Process:
        """One that works; one that only just starts would teach nothing."""
        living = self._living()
        ready = [worker for worker in living if _node(worker)] or living
        return ready[fault.who % len(ready)]

    def _kill(self, fault: Fault) -> int:
        victim = self._victim(fault)
        self._workers.remove(victim)
        self._note("kill", _node(victim))
        victim.kill()
        self._start(behind=victim in self._behind, failpoint=fault.how)
        return 1

    def _freeze(self, fault: Fault) -> int:
        victim = self._victim(fault)
        self._note("freeze", _node(victim))
        victim.signal(signal.SIGSTOP)
        self._later(fault.lasts, lambda: victim.signal(signal.SIGCONT))
        return 1

    def _drain(self, fault: Fault) -> int:
        victim = self._victim(fault)
        self._start(behind=victim in self._behind, failpoint=fault.how)
        self._end_well(victim)
        return 1

    def _end_well(self, victim: Process) -> None:
        self._workers.remove(victim)
        victim.signal(signal.SIGCONT)
        node, at, begun = _node(victim), time.time(), time.monotonic()
        code = victim.stop(GRACE + BUSY + END_AFTER)
        if self._dead(victim, code):
            self._note("failpoint", node)
            return
        if code == -signal.SIGTERM and node is None:
            return  # before it had so much as read its settings
        if code != 0:
            self._exits.append(Exit(node or "", code))
        elif node:
            reaches = victim not in self._behind or begun > self._dead_until
            took, within = time.monotonic() - begun, GRACE + BUSY + (0.0 if reaches else END_AFTER)
            heard = begun > LEASE + self._unheard_at(victim)
            self._stops.append(Stop(node, at, took, within, reaches, node in self._hurt, heard))

    def _unheard_at(self, worker: Process) -> float:
        """When an answer to it may last have been lost, such as that of a claim: it never knew what it had then."""
        if worker not in self._behind:
            return self._ended_at
        return max(self._ended_at, self._cut_at, *(trap.sprung_at or 0.0 for trap in self._traps))

    def _child(self, fault: Fault) -> int:
        """One in which something runs, where there is one."""
        victim = self._victim(fault)
        running: dict[int, str] = {}
        for line in lines(self._fleet.ledger):
            if line.what == "begin":
                running[line.pid] = line.task_id
            elif line.what == "end":
                running.pop(line.pid, None)
        self._hurt.add(_node(victim))
        with suppress(psutil.NoSuchProcess):
            children = sorted(psutil.Process(victim.pid).children(), key=lambda child: child.pid not in running)
            if children:
                if children[0].pid in running:
                    self._note("child", _node(victim), running[children[0].pid])
                children[0].kill()
                return 1
        return 0

    def _backends(self, _fault: Fault) -> int:
        end_connections(self._url)
        self._ended_at = time.monotonic()
        self._fleet.close()
        return 1

    def _restart(self, _fault: Fault) -> int:
        self._server.restart("immediate")
        self._ended_at = time.monotonic()
        self._fleet.close()
        self._note("restart", None)
        return 1

    def _cut(self, _fault: Fault) -> int:
        self._living()  # one of them is behind the wire
        self._cut_at = time.monotonic()
        return self._wires["worker"].cut() > 0

    def _silence(self, fault: Fault) -> int:
        self._living()
        self._dead_until = time.monotonic() + fault.lasts + END_AFTER
        self._later(fault.lasts, self._wires["worker"].heal)
        return self._wires["worker"].silence() > 0

    def _answers(self, _fault: Fault) -> int:
        return self._wires["client"].cut() > 0

    def _commit(self, fault: Fault) -> int:
        self._living()
        act, _, what = fault.how.partition(" ")
        trap = Trap(cast(Act, act), *{"claim": [CLAIM], "renewal": ["COMMIT", RENEW], "end": [SETTLE]}[what])
        trap.set()
        self._trap = trap
        self._traps.append(trap)
        return 0

    def _forget(self, _fault: Fault) -> int:
        with suppress(DatabaseUnavailable), self._fleet.database.begin() as conn:
            return conn.execute(delete(nodes)).rowcount > 0
        return 0

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
