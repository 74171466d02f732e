"""The rows of attempts that ended badly. One that went well is told by its task, so that it costs no extra write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Integer, Text, insert, select

from jobrunner.db.tables import attempts, tasks
from jobrunner.db.types import Id, db_now, keyed, rowtable

_ENDED = rowtable(
    "ended",
    id=Id,
    outcome=Text(),
    error_class=Text(),
    error=Text(),
    traceback=Text(),
    exit_signal=Integer(),
    exit_code=Integer(),
    peak_rss=Id,
)
_TOLD = ("outcome", "error_class", "error", "traceback", "exit_signal", "exit_code", "peak_rss")
_t = tasks.c


def ended(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep how these tasks' latest attempts ended; ``id`` is the task's row, the rest as in ``attempts``.

    Call it in the transaction of the move, after it: the move holds the row, so attempt and node are the attempt's own.
    """
    if not rows:
        return
    found = (
        select(
            _t.id, _t.attempt, _t.generation, _t.node_id, _t.started_at, db_now(), *(_ENDED.c[name] for name in _TOLD)
        )
        .join_from(tasks, _ENDED, _t.id == _ENDED.c.id)
        .where(keyed(_t.id, select(_ENDED.c.id)))
    )
    columns = ["task", "attempt", "generation", "node_id", "started_at", "ended_at", *_TOLD]
    full = [{name: row.get(name) for name in ("id", *_TOLD)} for row in rows]
    conn.execute(insert(attempts).from_select(columns, found), {"ended": full})
