"""The effects of a load: what is written, each in one transaction that proves the task's lease.

Nothing here loads numpy or pandas: on SQLite these functions run in the worker itself.
"""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects.postgresql import insert  # renders the same ON CONFLICT on SQLite

from jobrunner.data_import.bars import upsert_bars
from jobrunner.data_import.outcome import SymbolOutcome
from jobrunner.data_import.rejects import write_rejects
from jobrunner.db.market import import_loads, import_outcomes
from jobrunner.db.tables import tasks
from jobrunner.db.types import db_now
from jobrunner.handlers import effect

BEGIN = "import_begin"
SYMBOL = "import_symbol"
FINISH = "import_finish"

_COUNTED = ("rows_read", "inserted", "updated", "unchanged", "rejected")


@effect(BEGIN)
def begin(conn: Connection, rows: list[Any]) -> list[dict[str, Any]]:
    """Open the load ``rows[0]`` (load_id, task_id, source, freq, request, symbols), or find it open.

    Returns the outcomes that an earlier attempt of the same task already committed, failures left out: those are
    tried again.
    """
    (load,) = rows
    load_id = load["load_id"]
    # A task_id is free again once its task is pruned; its load then tells of another task.
    born = select(tasks.c.created_at).where(tasks.c.task_id == load["task_id"]).scalar_subquery()
    stale = (import_loads.c.load_id == load_id) & (import_loads.c.started_at < born)
    conn.execute(delete(import_loads).where(stale))
    opened = insert(import_loads).values(
        load_id=load_id,
        task_id=load["task_id"],
        source=load["source"],
        freq=load["freq"],
        request=json.dumps(load["request"]),
        symbols=load["symbols"],
        started_at=db_now(),
    )
    conn.execute(
        opened.on_conflict_do_update(
            index_elements=[import_loads.c.load_id], set_={"symbols": load["symbols"], "finished_at": None}
        )
    )
    done = select(import_outcomes).where(import_outcomes.c.load_id == load_id, import_outcomes.c.status != "failed")
    return [_outcome(row._mapping).as_json() for row in conn.execute(done.order_by(import_outcomes.c.symbol))]


@effect(SYMBOL)
def write_symbol(conn: Connection, rows: list[Any]) -> dict[str, Any]:
    """Write one symbol: its bars, its rejects and its outcome. Returns the outcome with its counts.

    ``rows[0]`` holds ``load_id``, ``source``, ``freq``, ``outcome`` (of :class:`SymbolOutcome`), ``bars`` (lists as
    :mod:`normalize` makes them) and ``rejects`` (position, reason, row).
    """
    (given,) = rows
    outcome = SymbolOutcome(**given["outcome"])
    if given["bars"]:
        outcome.inserted, outcome.updated = upsert_bars(
            conn, given["source"], outcome.symbol, given["freq"], given["load_id"], given["bars"]
        )
        outcome.unchanged = len(given["bars"]) - outcome.inserted - outcome.updated
    if outcome.error is not None:
        outcome.status = "failed"
    elif not given["bars"]:
        outcome.status = "empty"
    else:
        outcome.status = "imported" if outcome.inserted or outcome.updated else "unchanged"
    write_rejects(conn, given["load_id"], outcome.symbol, given["rejects"])
    _write_outcome(conn, given["load_id"], outcome)
    return outcome.as_json()


@effect(FINISH)
def finish(conn: Connection, rows: list[Any]) -> None:
    """Mark the load ``rows[0]`` (load_id) as finished."""
    (load,) = rows
    conn.execute(update(import_loads).where(import_loads.c.load_id == load["load_id"]).values(finished_at=db_now()))


def _write_outcome(conn: Connection, load_id: str, outcome: SymbolOutcome) -> None:
    values: dict[str, Any] = {
        "status": outcome.status,
        **{name: getattr(outcome, name) for name in _COUNTED},
        "first_session": outcome.first and date.fromisoformat(outcome.first),
        "last_session": outcome.last and date.fromisoformat(outcome.last),
        "error_class": outcome.error_class,
        "error": outcome.error,
        "warnings": json.dumps(outcome.warnings),
        "seconds": outcome.seconds,
        "attempt": outcome.attempt,
    }
    written = insert(import_outcomes).values(load_id=load_id, symbol=outcome.symbol, at=db_now(), **values)
    changed = {name: written.excluded[name] for name in (*values, "at")}
    conn.execute(
        written.on_conflict_do_update(
            index_elements=[import_outcomes.c.load_id, import_outcomes.c.symbol], set_=changed
        )
    )


def _outcome(row: Any) -> SymbolOutcome:
    return SymbolOutcome(
        symbol=row["symbol"],
        status=row["status"],
        **{name: row[name] for name in _COUNTED},
        first=row["first_session"] and row["first_session"].isoformat(),
        last=row["last_session"] and row["last_session"].isoformat(),
        error_class=row["error_class"],
        error=row["error"],
        warnings=json.loads(row["warnings"] or "[]"),
        seconds=row["seconds"],
        attempt=row["attempt"],
    )
