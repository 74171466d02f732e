"""What happened, and whether it was allowed to: one pure function over the rows and the ledger."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from sqlalchemy import select, text

from jobrunner.db.engine import Database
from jobrunner.db.tables import attempts, tasks

ENDED = ("completed", "failed", "cancelled")


@dataclass(frozen=True)
class Row:
    """A task as it stands at the end."""

    task_id: str
    status: str
    attempt: int


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
    """Everything known of a run; ``effects`` are (task_id, attempt) of each committed effect, None where none ran."""

    accepted: Sequence[str]
    rows: Sequence[Row]
    ended: Sequence[Ended]
    lines: Sequence[Line]
    effects: Sequence[tuple[str, int]] | None = None

    @property
    def lost(self) -> int:
        """How many attempts a dead or silent node cost."""
        return sum(one.outcome == "lost" for one in self.ended)

    @property
    def runs(self) -> int:
        """How often a handler began."""
        return sum(line.what == "begin" for line in self.lines)


def violations(history: History) -> list[str]:
    """Every promise that was broken: nothing lost, nothing completed twice, every further run explained by a row."""
    found = []
    rows = {row.task_id: row for row in history.rows}
    told: dict[str, dict[int, str]] = defaultdict(dict)
    for one in history.ended:
        told[one.task_id][one.attempt] = one.outcome
    begun = Counter((line.task_id, line.attempt) for line in history.lines if line.what == "begin")
    for task_id in history.accepted:
        if task_id not in rows:
            found.append(f"{task_id}: lost")
        elif rows[task_id].status not in ENDED:
            found.append(f"{task_id}: still {rows[task_id].status}")
    found += [f"{task_id}: nobody asked for it" for task_id in rows.keys() - set(history.accepted)]
    for row in history.rows:
        explained = told[row.task_id]
        silent = [n for n in range(1, row.attempt + 1) if n not in explained]
        # One that went well leaves none, also where a cancel overtook its end.
        lawful = {"completed": [[row.attempt]], "cancelled": [[], [row.attempt]]}.get(row.status, [[]])
        if silent not in lawful:
            found.append(f"{row.task_id} ({row.status}): of {row.attempt} attempts, {silent} have no row")
    for (task_id, attempt), times in begun.items():
        if times > 1:
            found.append(f"{task_id}: attempt {attempt} began {times} times")
        if task_id not in rows or attempt > rows[task_id].attempt:
            found.append(f"{task_id}: attempt {attempt} began, and nobody counted it")
    return found + _overlaps(history, told) + _effects(history, rows)


def _overlaps(history: History, told: dict[str, dict[int, str]]) -> list[str]:
    """Two attempts of one task at once are allowed only where the earlier one's lease had run out."""
    spans: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in history.lines:
        spans[line.task_id][line.attempt].append(line.at)
    found = []
    for task_id, by_attempt in spans.items():
        numbers = sorted(by_attempt)
        for earlier, later in pairwise(numbers):
            overlap = max(by_attempt[earlier]) - min(by_attempt[later])
            if overlap > 0 and told[task_id].get(earlier) != "lost":
                found.append(f"{task_id}: attempts {earlier} and {later} ran at once for {overlap:.2f} s")
    return found


def _effects(history: History, rows: dict[str, Row]) -> list[str]:
    if history.effects is None:
        return []
    asked = {(line.task_id, line.attempt) for line in history.lines if line.what == "asks for its effect"}
    wanted = {(row.task_id, row.attempt) for row in rows.values() if row.status == "completed"} & asked
    counted = Counter(history.effects)
    found = [f"{task_id}: completed without its effect" for task_id, _ in wanted - counted.keys()]
    found += [f"{task_id}: an effect of attempt {n} stands" for task_id, n in counted.keys() - wanted]
    return found + [f"{one[0]}: its effect stands {times} times" for one, times in counted.items() if times > 1]


def read(database: Database, ledger: Path, accepted: Sequence[str], *, effects: bool = False) -> History:
    """Gather it from the database and the ledger."""
    left = select(tasks.c.task_id, attempts.c.attempt, attempts.c.outcome).join(tasks, tasks.c.id == attempts.c.task)
    written = None
    with database.read() as conn:
        rows = [Row(*one) for one in conn.execute(select(tasks.c.task_id, tasks.c.status, tasks.c.attempt))]
        ended = [Ended(*one) for one in conn.execute(left)]
        if effects:
            written = [(one[0], one[1]) for one in conn.execute(text("SELECT task_id, attempt FROM ledger"))]
    return History(accepted, rows, ended, lines(ledger), written)


def lines(ledger: Path) -> list[Line]:
    """The ledger's lines so far."""
    return [Line(**json.loads(line)) for line in ledger.read_text().splitlines()] if ledger.exists() else []
