"""Keys and the audit straight at the database: how the first key of a server comes about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobrunner.client.asking import AtDatabase
from jobrunner.client.desk import Answer
from jobrunner.errors import InvalidInput, Problem
from jobrunner.queue import store, views
from jobrunner.queue.views import shapes
from jobrunner.queue.views.cursors import row_of


class LocalKeys:
    """What can be asked about keys, at the database."""

    def keys(self: AtDatabase) -> Answer:
        with self.looking() as conn:
            return shapes.keys_dict(views.all_keys(conn))

    def create_key(self: AtDatabase, wish: Mapping[str, Any]) -> Answer:
        limits = {"queues": wish.get("queues"), "lasts": wish.get("expires_in"), "rate": wish.get("rate")}
        with self.changing("POST /api/v1/keys") as change:
            issued = store.issue_key(change.conn, wish["name"], wish["scopes"], **limits)
            told = shapes.key_dict(views.one_key(change.conn, issued.id))
            change.target = issued.id
            change.tell(**shapes.key_limits(told))
        return {**told, "key": issued.text}

    def rotate_key(self: AtDatabase, key_id: str, overlap: float) -> Answer:
        with self.changing("POST /api/v1/keys/{key_id}/rotate", key_id, overlap=overlap) as change:
            issued = store.rotate_key(change.conn, key_id, overlap)
            told = shapes.key_dict(views.one_key(change.conn, issued.id))
            change.tell(successor=issued.id, expires_at=told["expires_at"], ended=issued.ended)
        return {**told, "key": issued.text}

    def revoke_key(self: AtDatabase, key_id: str) -> None:
        with self.changing("DELETE /api/v1/keys/{key_id}", key_id) as change:
            store.revoke_key(change.conn, key_id)

    def audit(self: AtDatabase, *, limit: int = 50, cursor: str | None = None) -> Answer:
        with self.looking() as conn:
            return shapes.audit_dict(views.audit_page(conn, before=row_id("audit", cursor), limit=limit), limit)


def row_id(kind: str, cursor: str | None) -> int | None:
    """The row that a ``next_cursor`` of this kind of list stands for; raises InvalidInput for what no page gave."""
    if cursor is None:
        return None
    try:
        return row_of(kind, cursor)
    except ValueError as error:
        raise InvalidInput("the request is refused", [Problem("/cursor", str(error))]) from None
