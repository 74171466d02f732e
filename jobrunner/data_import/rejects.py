"""The records that a load kept out of the bars, each with its place and reason."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, Integer, Text, bindparam, cast, delete, insert, select

from jobrunner.db.market import import_rejects
from jobrunner.db.types import JsonText, rowset

_rows = rowset("rejects", position=Integer(), reason=Text(), row=Text())
_insert = insert(import_rejects).from_select(
    ["load_id", "symbol", "position", "reason", "row"],
    select(
        bindparam("of_load", type_=Text()),
        bindparam("of_symbol", type_=Text()),
        _rows.c.position,
        _rows.c.reason,
        cast(_rows.c.row, JsonText()),
    ),
)


def write_rejects(conn: Connection, load_id: str, symbol: str, rejects: list[dict[str, Any]]) -> None:
    """Replace the rejects of a symbol in a load; an earlier attempt may have left some.

    Each holds ``position`` (record or line from 1), ``reason`` and ``row`` (an object).
    """
    earlier = (import_rejects.c.load_id == load_id) & (import_rejects.c.symbol == symbol)
    conn.execute(delete(import_rejects).where(earlier))
    if rejects:
        rows = [{**reject, "row": json.dumps(reject["row"])} for reject in rejects]
        conn.execute(_insert, {"of_load": load_id, "of_symbol": symbol, "rejects": rows})
