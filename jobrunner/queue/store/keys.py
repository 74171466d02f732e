"""Keys: made, followed by another, revoked; and when they were used last."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, exists, func, insert, null, or_, select, update

from jobrunner.db.tables import api_keys
from jobrunner.db.types import db_now
from jobrunner.errors import InvalidInput, KeyNotFound, KeyReplaced, Problem
from jobrunner.queue import key
from jobrunner.queue.key import GRANTED, Scope
from jobrunner.queue.request import SECONDS_MAX
from jobrunner.queue.views.keys import USABLE
from jobrunner.text import NAME_MAX, has_controls

_k = api_keys.c
LASTS_MOST = 10 * SECONDS_MAX
RATES = (0.01, 1_000_000)  # requests a second
USED_WITHIN = 50.0  # seconds: the time of the last use is right to a minute, and costs one write in each


class Issued(NamedTuple):
    """A new key. ``text`` is the key itself, which nobody can tell again; ``ended`` are keys whose place it takes,
    since nobody has them."""

    id: str
    text: str
    ended: Sequence[str] = ()


def issue_key(
    conn: Connection,
    name: str,
    scopes: Sequence[str],
    *,
    queues: Sequence[str] | None = None,
    lasts: float | None = None,
    rate: float | None = None,
    replaces: str | None = None,
) -> Issued:
    """Make a key; ``queues`` None means all, ``lasts`` is in seconds, ``rate`` in requests a second.

    Raises InvalidInput with every problem.
    """
    problems = [*_problems(name, scopes, queues), *_limits(lasts, rate)]
    if problems:
        raise InvalidInput("the request is refused", problems)
    key_id, text = key.make()
    conn.execute(
        insert(api_keys).values(
            id=key_id,
            name=name,
            digest=str(key.kept(text, int(time.time() // key.WEEK))),
            scopes=json.dumps([str(scope) for scope in GRANTED if scope in scopes]),
            queues=None if queues is None else json.dumps(sorted(set(queues))),
            rate=rate,
            replaces=replaces,
            created_at=db_now(),
            expires_at=null() if lasts is None else db_now(lasts),
        )
    )
    return Issued(key_id, text)


def rotate_key(conn: Connection, key_id: str, overlap: float) -> Issued:
    """Make a key that may do the same, and let the old one end after ``overlap`` seconds, if it does not sooner.

    Successors that were never used, as where an answer was lost, end now, and the old one is as if it had none. Raises
    KeyReplaced where one was used, and KeyNotFound where there is no such key, or it has ended.
    """
    if not 0 <= overlap <= SECONDS_MAX:
        raise InvalidInput("the request is refused", [Problem("/overlap", f"must be 0 to {SECONDS_MAX:.0f} seconds")])
    found = conn.execute(select(api_keys).where(_k.id == key_id, USABLE).with_for_update()).one_or_none()
    if found is None:
        raise KeyNotFound(key_id)
    ends, unused = _end_unused_successors(conn, key_id, found.expires_at)
    queues = None if found.queues is None else json.loads(found.queues)
    issued = issue_key(conn, found.name, json.loads(found.scopes), queues=queues, rate=found.rate, replaces=key_id)
    # The new one lives as long as the old one would have: a rotation prolongs nothing.
    conn.execute(update(api_keys).where(_k.id.in_([issued.id, key_id])).values(expires_at=ends))
    sooner = or_(_k.expires_at.is_(None), _k.expires_at > db_now(overlap))
    conn.execute(update(api_keys).where(_k.id == key_id, sooner).values(expires_at=db_now(overlap)))
    return issued._replace(ended=unused)


def _end_unused_successors(conn: Connection, key_id: str, ends: datetime | None) -> tuple[datetime | None, list[str]]:
    """When the key would have ended without any, which is ``ends`` until that was cut short for the first; and those
    that were still usable."""
    again = api_keys.alias()
    taken = or_(_k.used_at.is_not(None), exists().where(again.c.replaces == _k.id))
    known = select(_k.id, _k.expires_at, taken.label("taken"), USABLE.label("usable")).where(_k.replaces == key_id)
    unused = []
    for one in conn.execute(known.order_by(_k.created_at).with_for_update(of=api_keys)).all():
        if one.taken:
            raise KeyReplaced(key_id, one.id)
        if one.usable:
            revoke_key(conn, one.id)
            unused.append(one.id)
        ends = one.expires_at
    return ends, unused


def revoke_key(conn: Connection, key_id: str) -> None:
    """End a key now; again changes nothing. Raises KeyNotFound."""
    now = func.coalesce(_k.revoked_at, db_now())
    if not conn.execute(update(api_keys).where(_k.id == key_id).values(revoked_at=now)).rowcount:
        raise KeyNotFound(key_id)


def note_used(conn: Connection, key_ids: Collection[str]) -> None:
    """These were used just now; written where that was not known, and nobody is changing the key."""
    stale = or_(_k.used_at.is_(None), _k.used_at < db_now(-USED_WITHIN))
    chosen = select(_k.id).where(_k.id.in_(sorted(key_ids)), stale).with_for_update(skip_locked=True).cte("chosen")
    conn.execute(update(api_keys).where(_k.id.in_(select(chosen.c.id))).values(used_at=db_now()))


def _problems(name: str, scopes: Sequence[str], queues: Sequence[str] | None) -> list[Problem]:
    problems = [] if _is_name(name) else [Problem("/name", f"must have 1 to {NAME_MAX} characters, none of control")]
    known = ", ".join(GRANTED)
    problems += [Problem("/scopes", f"{one!r} is none of {known}") for one in scopes if one not in GRANTED]
    if not scopes:
        problems.append(Problem("/scopes", f"name at least one of {known}"))
    if queues is not None:
        problems += [Problem(f"/queues/{n}", "is no queue's name") for n, one in enumerate(queues) if not _is_name(one)]
        if not queues:
            problems.append(Problem("/queues", "name at least one, or leave it out for all queues"))
        if Scope.ADMIN in scopes:
            problems.append(Problem("/queues", "a key with the scope 'admin' is one of all queues"))
    return problems


def _limits(lasts: float | None, rate: float | None) -> list[Problem]:
    problems = []
    if lasts is not None and not 0 < lasts <= LASTS_MOST:
        problems.append(Problem("/expires_in", f"must be more than 0 and at most {LASTS_MOST:.0f} seconds"))
    if rate is not None and not RATES[0] <= rate <= RATES[1]:
        problems.append(Problem("/rate", f"must be {RATES[0]} to {RATES[1]} requests a second"))
    return problems


def _is_name(text: str) -> bool:
    return 1 <= len(text) <= NAME_MAX and not has_controls(text)
