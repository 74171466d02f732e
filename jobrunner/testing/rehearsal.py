"""One run of a task from its submission to its end, in as many processes as it takes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobrunner.db.engine import Database, open_database
from jobrunner.queue import views
from jobrunner.queue.task import Status, Task
from jobrunner.testing.attempt import AGAIN, ENDED, LATE
from jobrunner.testing.calls import read_calls
from jobrunner.testing.compare import Left
from jobrunner.testing.databases import Fresh
from jobrunner.testing.errors import RehearsalError
from jobrunner.testing.forks import forks
from jobrunner.testing.rows import other_tasks, told_rows, users_rows, without
from jobrunner.testing.steps import KILLED

if TYPE_CHECKING:
    from sqlalchemy import Connection

TASK_ID = "rehearsed"
MOST = 100  # attempts of one run
TOLD = 3_000  # characters of a broken process's output


@dataclass(frozen=True)
class Rehearsal:
    """What all runs have in common; see :func:`jobrunner.testing.survive` for the meaning of each."""

    task: Task  # as the prepared database has claimed it
    fresh: Fresh
    folder: Path
    modules: list[str]
    preload: list[str]
    fakes: Callable[[], object] | None
    environ: Callable[[str], Mapping[str, str]] | None
    state: Callable[[Connection], Mapping[str, Any]] | None
    ignore: frozenset[str]
    timeout: float

    def run(self, kill_at: int) -> tuple[Left, list[str]]:
        """Run it once, killed at this step, at none for 0; what is left in the end, and the steps that were passed."""
        url = self.fresh()
        for name in ("steps", "calls", "output"):
            (self.folder / name).unlink(missing_ok=True)
        for number in range(MOST):
            passed = len(self._lines("steps"))
            code = forks().carry_out(self._order(url, max(0, kill_at - passed), first=number == 0))
            names = self._lines("steps")
            if code == ENDED:
                left = self._left(url, number + 1)
                if left.status is not Status.RUNNING:
                    return left, names
            elif (code == AGAIN and self._waits(url)) or (code == KILLED and passed < kill_at <= len(names)):
                continue
            raise RehearsalError(self._broken(code))  # also where the handler ended its process with a code of ours
        raise RehearsalError(f"the task has not ended after {MOST} attempts")

    def _order(self, url: str, kill_at: int, *, first: bool) -> dict[str, Any]:
        theirs = {} if self.environ is None else dict(self.environ(url))
        return {
            "url": url,
            "task_id": TASK_ID,
            "task_type": self.task.task_type,
            "task": list(astuple(self.task)) if first else None,
            "kill_at": kill_at,
            "modules": self.modules,
            "preload": self.preload,
            "fakes": None if self.fakes is None else [self.fakes.__module__, self.fakes.__qualname__],
            "environ": {**os.environ, **theirs},
            "path": sys.path,
            "folder": str(Path.cwd()),
            "timeout": self.timeout,
            **{name: str(self.folder / name) for name in ("steps", "calls", "output")},
        }

    def _waits(self, url: str) -> bool:
        database = open_database(url)
        try:
            with database.read() as conn:
                return views.task(conn, TASK_ID).status is Status.PENDING
        finally:
            database.close()

    def _left(self, url: str, attempts: int) -> Left:
        database = open_database(url)
        try:
            return self._read(database, attempts)
        finally:
            database.close()

    def _read(self, database: Database, attempts: int) -> Left:
        with database.begin(free=True) as conn:  # one moment of all tables, and what the test's own function needs
            task = views.task(conn, TASK_ID)
            found = users_rows(conn, self.ignore) if self.state is None else told_rows(self.state(conn), self.ignore)
            found["tasks added"] = other_tasks(conn, TASK_ID, self.ignore)
        calls = read_calls(self.folder / "calls")
        return Left(task.status, without(task.result, self.ignore), task.error, found, calls, attempts)

    def _lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text("utf-8", errors="replace").splitlines() if path.exists() else []

    def _broken(self, code: int) -> str:
        if code == LATE:
            how = f"did not end within {self.timeout:g} s"
        else:
            how = f"died: {f'exit code {code}' if code >= 0 else f'signal {-code}'}"
        last = self._lines("steps")[-1:] or ["none"]
        output = "\n".join(self._lines("output"))[-TOLD:]
        return f"a process of the rehearsal {how}; its last step: {last[0]}\n{output}"
