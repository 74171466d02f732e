"""What a run costs besides time: CPU of the server and of the workers, and bytes of WAL."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import psutil

from jobrunner.bench.processes import Started, cpu_seconds
from jobrunner.bench.scratch import Scratch

SAME_START = 2.0  # seconds by which the server's and the system's word on a process's start may differ


@dataclass(frozen=True)
class Costs:
    """Totals so far: seconds of CPU and bytes; None for what cannot be seen from here."""

    worker: float
    server: float | None
    wal: int | None

    def since(self, before: Costs, count: int) -> dict[str, float]:
        """Microseconds and bytes for each of ``count`` tasks."""
        told = {"worker_cpu": 1e6 * (self.worker - before.worker) / count}
        if self.server is not None and before.server is not None:
            told["server_cpu"] = 1e6 * (self.server - before.server) / count
        if self.wal is not None and before.wal is not None:
            told["wal"] = (self.wal - before.wal) / count
        return told


UNITS = {"worker_cpu": "µs/task", "server_cpu": "µs/task", "wal": "bytes/task"}


def costs(scratch: Scratch, started: list[Started]) -> Costs:
    """What these processes and the database's server took so far."""
    wal = None
    if not scratch.is_sqlite:
        wal = int(scratch.query("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')")[0])
    return Costs(cpu_seconds(started), _server_cpu(scratch), wal)


def _server_cpu(scratch: Scratch) -> float | None:
    """CPU of the whole server, ended backends included; None where its processes cannot be seen."""
    root = postmaster(scratch)
    if root is None:
        return None
    own = root.cpu_times()
    total = own.user + own.system + own.children_user + own.children_system
    for backend in root.children():
        try:
            used = backend.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += used.user + used.system
    return float(total)


def postmaster(scratch: Scratch) -> psutil.Process | None:
    """The server's first process, where it runs on this machine and may be looked at."""
    if scratch.is_sqlite:
        return None
    pid, began = scratch.query("SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()")
    try:
        backend = psutil.Process(pid)
        seen = datetime.fromtimestamp(backend.create_time(), UTC)
        if abs((seen - began).total_seconds()) > SAME_START:  # a stranger with the pid that it has elsewhere
            return None
        parent = backend.parent()
        if parent is not None:
            parent.cpu_times()
    except psutil.Error:
        return None
    return parent
