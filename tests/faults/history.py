"""What happened: what callers were told, what the rows say at the end, and what handlers wrote down themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select, text

from jobrunner.db.engine import Database
from jobrunner.db.tables import attempts, firings, schedules, tasks
from jobrunner.queue import views
from tests.faults import journal
from tests.faults.journal import Move


@dataclass(frozen=True)
class Row:
    """A task as it stands at the end. Its result says whose it is: the task and the attempt."""

    task_id: str
    status: str
    attempt: int
    request_hash: str | None = None
    notes: bool = False  # its handler begins with a line in the ledger
    finishes: bool = False  # ... and ends with one
    dies: bool = False  # ... or kills its own process
    result: tuple[str, int] | None = None


@dataclass(frozen=True)
class Call:
    """One call of a client. ``what`` is submit, cancel or retry, ``at`` when it was told what came of it.

    ``result`` is ok, fail or unknown; or joined, where a submission met the open task ``joined`` that has its key.
    """

    what: str
    task_id: str
    result: str
    at: float = 0.0
    request_hash: str | None = None
    unique_key: str | None = None
    joined: str | None = None
    since: float = 0.0  # when it was asked


@dataclass(frozen=True)
class Stop:
    """A worker that was told to end at ``at``, and took so many seconds; ``reaches`` tells of its link, ``hurt``
    whether a child of it was killed, ``heard`` whether every answer of the lease before came through.
    """

    node_id: str
    at: float
    took: float
    grace: float
    reaches: bool = True
    hurt: bool = False
    heard: bool = True


@dataclass(frozen=True)
class Exit:
    """A worker that ended though nobody told it to, or not as it should have."""

    node_id: str
    code: int


@dataclass(frozen=True)
class Firing:
    """A schedule's instant ``at`` in Unix time, its task, and how many instants before it were skipped.

    ``manual`` ones were asked for by somebody, and stand outside of its rhythm.
    """

    schedule: str
    at: float
    task_id: str
    skipped: int = 0
    manual: bool = False


@dataclass(frozen=True)
class Ended:
    """An attempt that left a row."""

    task_id: str
    attempt: int
    outcome: str


@dataclass(frozen=True)
class Line:
    """One line of the ledger, written by a handler itself. ``at`` is Unix time."""

    task_id: str
    attempt: int
    what: str
    at: float
    pid: int


@dataclass(frozen=True)
class History:
    """Everything known of a run. What a test does not look at stays empty, or None.

    ``effects`` are (task_id, attempt) of each committed effect, ``every`` the moment from which a schedule counts and
    the seconds between two instants, ``paused`` when it was paused, while a worker had been ready for a while, and
    ``counts`` the numbers that people are shown. ``alone`` where one process has a
    file to itself: at its start it takes back at once what a dead one held.
    """

    accepted: Sequence[str]
    rows: Sequence[Row]
    ended: Sequence[Ended]
    lines: Sequence[Line]
    effects: Sequence[tuple[str, int]] | None = None
    calls: Sequence[Call] = ()
    moves: Sequence[Move] = ()
    firings: Sequence[Firing] = ()
    every: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    paused: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, int] | None = None
    stops: Sequence[Stop] = ()
    exits: Sequence[Exit] = ()
    lease_seconds: float | None = None
    alone: bool = False

    @property
    def lost(self) -> int:
        """How many attempts a dead or silent node cost."""
        return sum(one.outcome == "lost" for one in self.ended)

    @property
    def runs(self) -> int:
        """How often a handler began."""
        return sum(line.what == "begin" for line in self.lines)


FINISHING = frozenset(f"fault.{name}" for name in ("work", "async", "inline", "talk", "fail", "eat", "eat_freely"))
"""Types whose handlers write a line into the ledger first of all, and one last of all."""

DYING = frozenset({"fault.die"})

NOTING = FINISHING | DYING | {"fault.transaction"}
"""Those that write the first one. The last word of a transaction's handler comes after its task was settled."""

_FIRED = select(firings.c.schedule, firings.c.fire_at, firings.c.task_id, firings.c.skipped, firings.c.manual).order_by(
    firings.c.fire_at
)


def read(
    database: Database, ledger: Path, accepted: Sequence[str], *, effects: bool = False, kept: bool = False
) -> History:
    """Gather it from the database and the ledger; ``kept`` tells that the database keeps a journal."""
    left = select(tasks.c.task_id, attempts.c.attempt, attempts.c.outcome).join(tasks, tasks.c.id == attempts.c.task)
    row = select(
        *(tasks.c.task_id, tasks.c.status, tasks.c.attempt, tasks.c.request_hash, tasks.c.task_type, tasks.c.result)
    )
    written = None
    with database.read() as conn:
        rows = [_row(one) for one in conn.execute(row)]
        ended = [Ended(*one) for one in conn.execute(left)]
        fired = conn.execute(_FIRED).all()
        intervals = conn.execute(select(schedules.c.name, schedules.c.anchor, schedules.c.every)).all()
        counts = {str(status): count for status, count in views.counts(conn).items()}
        moves = journal.read(conn) if kept else ()
        if effects:
            written = [(one[0], one[1]) for one in conn.execute(text("SELECT task_id, attempt FROM ledger"))]
    told = [Firing(one.schedule, one.fire_at.timestamp(), one.task_id, one.skipped, one.manual) for one in fired]
    found = History(accepted, rows, ended, lines(ledger), written, moves=moves, firings=told)
    every = {one.name: (one.anchor.timestamp(), one.every) for one in intervals if one.every}
    return replace(found, every=every, counts=counts, alone=database.is_sqlite)


def _row(one: Any) -> Row:
    kind, told = one.task_type, json.loads(one.result or "null")
    whose = (told["task_id"], told["attempt"]) if isinstance(told, dict) and "task_id" in told else None
    row = Row(one.task_id, one.status, one.attempt, one.request_hash, result=whose)
    return replace(row, notes=kind in NOTING, finishes=kind in FINISHING, dies=kind in DYING)


def lines(ledger: Path) -> list[Line]:
    """The ledger's whole lines so far: not what is being written just now, nor what a kill left half written."""
    written = ledger.read_text().split("\n") if ledger.exists() else []
    return [Line(**json.loads(line)) for line in written if line.endswith("}")]
