"""Every change of a task's status, token, lease or end, as triggers in the test's own database saw it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from jobrunner.db.engine import Database

_KEPT = (
    "status",
    "token",
    "attempt",
    "generation",
    "failures",
    "crashes",
    "losses",
    "releases",
    "snoozes",
    "node_id",
)
_COLUMNS = ("task_id", "unique_key", "max_attempts", *(f"{when}_{name}" for when in ("old", "new") for name in _KEPT))
_TIMES = tuple(f"{when}_{name}" for name in ("lease_until", "cancel_requested_at", "run_at") for when in ("old", "new"))

_TABLE = f"""
CREATE TABLE journal (
    seq {{serial}}, at {{time}} NOT NULL, task_id text NOT NULL, unique_key text, max_attempts integer,
    {", ".join(f"{one} text" for one in _COLUMNS[3:])}, {", ".join(f"{one} {{time}}" for one in _TIMES)}
)"""

_CHANGED = (
    "(status, token, lease_until, cancel_requested_at, run_at, finished_at)"  # the last: an end that is written again
)

_FUNCTION = """
CREATE FUNCTION note_move() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE was tasks;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        was := OLD;
        IF {old} IS NOT DISTINCT FROM {new} THEN RETURN NULL; END IF;
    END IF;
    INSERT INTO journal (at, {columns}) VALUES (clock_timestamp(), {values});
    RETURN NULL;
END $$"""


def _row(when: str) -> str:
    return "(" + ", ".join(f"{when}.{name}" for name in _CHANGED.strip("()").split(", ")) + ")"


def _values(old: str, new: str) -> str:
    plain = [f"{new}.task_id", f"{new}.unique_key", f"{new}.max_attempts"]
    plain += [f"{old}.{name}" for name in _KEPT] + [f"{new}.{name}" for name in _KEPT]
    return ", ".join([*plain, *(one.replace("old_", f"{old}.").replace("new_", f"{new}.") for one in _TIMES)])


def keep(database: Database) -> None:
    """Write all that happens to tasks from now on into a table beside them, in the transactions in which it happens."""
    columns = ", ".join((*_COLUMNS, *_TIMES))
    with database.begin() as conn:
        if database.is_sqlite:
            conn.execute(text(_TABLE.format(serial="integer PRIMARY KEY AUTOINCREMENT", time="integer")))
            for event, old in (("INSERT", "NULL"), ("UPDATE", "OLD")):
                values = _values("OLD", "NEW") if old == "OLD" else _without_old(_values("OLD", "NEW"))
                when = f"WHEN {_row('OLD')} IS NOT {_row('NEW')}" if old == "OLD" else ""
                conn.execute(
                    text(
                        f"CREATE TRIGGER note_{event.lower()} AFTER {event} ON tasks {when} BEGIN "
                        f"INSERT INTO journal (at, {columns}) VALUES (jobrunner_now_ns() / 1000, {values}); END"
                    )
                )
            return
        conn.execute(text(_TABLE.format(serial="bigserial PRIMARY KEY", time="timestamptz")))
        function = _FUNCTION.format(old=_row("OLD"), new=_row("NEW"), columns=columns, values=_values("was", "NEW"))
        conn.exec_driver_sql(function)
        conn.execute(
            text("CREATE TRIGGER note_move AFTER INSERT OR UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION note_move()")
        )


def _without_old(values: str) -> str:
    return ", ".join("NULL" if one.startswith("OLD.") else one for one in values.split(", "))


@dataclass(frozen=True)
class State:
    """A task's row at one moment; times are Unix time by the database's clock."""

    status: str
    attempt: int = 0
    generation: int = 0
    token: str | None = None
    lease_until: float | None = None
    cancel_asked: bool = False
    run_at: float | None = None
    node_id: str | None = None
    failures: int = 0
    crashes: int = 0
    losses: int = 0
    releases: int = 0
    snoozes: int = 0


@dataclass(frozen=True)
class Move:
    """One change; ``before`` is None where the row was made."""

    task_id: str
    at: float
    before: State | None
    after: State
    unique_key: str | None = None
    max_attempts: int = 3


def read(conn: Connection) -> list[Move]:
    """All of them, in the order in which they were written."""
    times = ("at", *_TIMES)
    sqlite = conn.dialect.name == "sqlite"
    told = [f"{one} / 1e6 AS {one}" if sqlite else f"extract(epoch FROM {one})::float AS {one}" for one in times]
    names = ", ".join((*_COLUMNS, *told))
    rows: Sequence[Any] = conn.execute(text(f"SELECT {names} FROM journal ORDER BY seq")).all()
    return [_move(row._mapping) for row in rows]


def _move(row: Any) -> Move:
    before = None if row["old_status"] is None else _state(row, "old")
    return Move(row["task_id"], row["at"], before, _state(row, "new"), row["unique_key"], row["max_attempts"])


def _state(row: Any, when: str) -> State:
    told: dict[str, Any] = {name: row[f"{when}_{name}"] for name in _KEPT}
    counted = {name: int(value) for name, value in told.items() if name not in ("status", "token", "node_id")}
    asked = row[f"{when}_cancel_requested_at"] is not None
    times = {"lease_until": row[f"{when}_lease_until"], "run_at": row[f"{when}_run_at"]}
    return State(**(told | counted), **times, cancel_asked=asked)
