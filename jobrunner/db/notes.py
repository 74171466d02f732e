"""What processes tell each other: topics, the task_ids that they name, and how PostgreSQL carries them (NOTIFY)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Text, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate

CHANNEL = "jobrunner"
ENDS = "jobrunner_ends"  # a channel of its own: who works does not hear what was worked off, who waits hears no more
WORK, CANCEL, WATCH, ENDED = "work", "cancel", "watch", "ended"
LONGEST = 7_900  # bytes of one payload; the server takes fewer than 8,000

Notes = Mapping[str, Collection[str]]
"""Topics, each with the task_ids that it names."""

_NOTIFY = "SELECT pg_notify(channel, told) FROM unnest(%s::text[], %s::text[]) AS hint (channel, told)"


def notify(conn: Connection, notes: Notes) -> None:
    """Tell these on this connection, in a transaction after the one that matters. SQLite has nobody to tell."""
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql(_NOTIFY, columns(notes))


def beside(statement: ReturningInsert[Any] | ReturningUpdate[Any]) -> Any:
    """What a statement does and returns, and notes told beside it as soon as that is committed (PostgreSQL).

    One commit and one round trip for both; bind :func:`bound` notes. Nothing is told where it returns no row; else each
    row has one value more. A commit that tells something waits for all others of the server that do: not to be used for
    each of many.
    """
    channels, payloads = (bindparam(name, type_=ARRAY(Text())) for name in ("channels", "payloads"))
    hint = func.unnest(channels, payloads).table_valued("channel", "told", name="hint").render_derived()
    told = select(func.count(func.pg_notify(hint.c.channel, hint.c.told))).select_from(hint)
    return statement.returning(told.scalar_subquery())


def bound(notes: Notes) -> dict[str, list[str]]:
    """Notes as a statement of :func:`beside` takes them."""
    channels, payloads = columns(notes)
    return {"channels": channels, "payloads": payloads}


def columns(notes: Notes) -> tuple[list[str], list[str]]:
    """Channels and payloads."""
    pairs = [
        (ENDS if topic == ENDED else CHANNEL, payload)
        for topic, task_ids in notes.items()
        for payload in _payloads(topic, task_ids)
    ]
    return [channel for channel, _ in pairs], [payload for _, payload in pairs]


def ids_of(told: str) -> tuple[str, list[str]]:
    """A payload, as its topic and the task_ids that it names."""
    topic, *task_ids = told.split("\n")
    return topic, task_ids


def _payloads(topic: str, task_ids: Collection[str]) -> Iterator[str]:
    parts, size = [topic], len(topic)
    for task_id in task_ids:
        more = len(task_id.encode()) + 1
        if more > LONGEST - len(topic):  # no task has such a name, and the server would refuse all that is told with it
            continue
        if size + more > LONGEST:
            yield "\n".join(parts)
            parts, size = [topic], len(topic)
        parts.append(task_id)
        size += more
    yield "\n".join(parts)
