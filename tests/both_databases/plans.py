"""Plans of statements as they were really sent: caught at the driver, and run again in a transaction that is undone."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Connection

from jobrunner.db.engine import Database
from jobrunner.db.postgresql import open_server

USES = 12  # after ten, five as they came and five prepared ones, a plan may be kept
_NAMED = re.compile(r"%\((\w+)\)s|%%|%s")


@dataclass(frozen=True)
class Sent:
    """A statement and what was bound to it, by name or in order."""

    text: str
    values: Any


@dataclass(frozen=True)
class Plan:
    """What EXPLAIN (ANALYZE, BUFFERS) told of one statement."""

    root: Mapping[str, Any]

    @property
    def touched(self) -> int:
        """Pages looked at, found in memory or not."""
        return int(self.root["Shared Hit Blocks"] + self.root["Shared Read Blocks"])

    @property
    def nodes(self) -> list[Mapping[str, Any]]:
        """Every node of the plan."""
        return _walk(self.root)

    @property
    def indexes(self) -> set[str]:
        """Names of the indexes that were used."""
        return {node["Index Name"] for node in self.nodes if "Index Name" in node}

    @property
    def removed(self) -> int:
        """The most rows that one node read in vain."""
        return max(int(node.get("Rows Removed by Filter", 0) * node.get("Actual Loops", 1)) for node in self.nodes)

    @property
    def compared(self) -> int:
        """The most pairs of rows that one join looked at in vain: each with each."""
        return max(int(node.get("Rows Removed by Join Filter", 0) * node.get("Actual Loops", 1)) for node in self.nodes)

    def walked(self, *tables: str) -> set[str]:
        """Those of these tables that were read from one end to the other, though an index could have served."""
        return {
            str(node["Relation Name"])
            for node in self.nodes
            if node["Node Type"] == "Seq Scan" and node["Relation Name"] in tables
        }


def _walk(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [node, *(inner for child in node.get("Plans", []) for inner in _walk(child))]


def sent(database: Database, act: Callable[[Connection], Any]) -> list[Sent]:
    """The statements that ``act`` sends; nothing of what they do stays."""
    with database.begin(deadline=60.0) as conn:
        with _caught() as found:
            act(conn)
        conn.rollback()
    assert found, "nothing was sent"
    return [one for one in found if one.text.lstrip().startswith(("SELECT", "WITH", "UPDATE", "INSERT", "DELETE"))]


@contextmanager
def _caught() -> Iterator[list[Sent]]:
    # At the driver, and not by an event of SQLAlchemy: the hottest statements go past it.
    found: list[Sent] = []
    real = psycopg.Cursor.execute

    def execute(self: Any, query: Any, params: Any = None, **options: Any) -> Any:
        found.append(Sent(query if isinstance(query, str) else query.decode(), params))
        return real(self, query, params, **options)

    psycopg.Cursor.execute = execute  # type: ignore[method-assign]
    try:
        yield found
    finally:
        psycopg.Cursor.execute = real  # type: ignore[method-assign]


@contextmanager
def planner(database: Database, *, pinned: bool = True) -> Iterator[Planner]:
    """A connection like those of the queue's own statements, or of all others; nothing that is done on it stays."""
    pooled = open_server(database.url, pinned=pinned).raw_connection()
    link: Any = pooled.dbapi_connection
    pooled.detach()
    with closing(link):
        link.autocommit = False
        yield Planner(link)


class Planner:
    """Prepares statements and tells their plans: where the server kept one, as it was made then."""

    def __init__(self, link: psycopg.Connection[Any]) -> None:
        self._link = link
        self._names: dict[str, str] = {}

    def plans(self, sent: Sequence[Sent]) -> list[Plan]:
        """Run them one after the other, each on what those before it left, and then undo it all."""
        found = [self._explain(one) for one in sent]
        self._link.rollback()
        return found

    def use(self, sent: Sequence[Sent]) -> None:
        """Run them so often that a plan may be kept, and undo it all."""
        for _ in range(USES):
            self.plans(sent)

    def _prepare(self, one: Sent) -> str:
        """Under a name of its own, as the driver does at the fifth use."""
        if one.text not in self._names:
            order, numbers = _order(one), itertools.count(1)

            def mark(match: re.Match[str]) -> str:
                if match[0] == "%%":
                    return "%"
                return f"${order.index(match[1]) + 1}" if match[1] else f"${next(numbers)}"

            self._names[one.text] = name = f"caught_{len(self._names)}"
            self._link.execute(f"PREPARE {name} AS {_NAMED.sub(mark, one.text)}".encode())
        return self._names[one.text]

    def _explain(self, one: Sent) -> Plan:
        values = one.values or {}
        bound = [values[name] for name in _order(one)] if isinstance(values, Mapping) else list(values)
        call = sql.SQL("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE {}").format(sql.Identifier(self._prepare(one)))
        if bound:
            call += sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, bound)))
        row = self._link.execute(call).fetchone()
        assert row is not None
        return Plan((json.loads(row[0]) if isinstance(row[0], str) else row[0])[0]["Plan"])


def _order(statement: Sent) -> list[str]:
    """The names that are bound, in the order in which they first stand."""
    return list(dict.fromkeys(match[1] for match in _NAMED.finditer(statement.text) if match[1]))
