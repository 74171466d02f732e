"""Keys: told once when they are made, listed, followed by another, revoked; and the audit of all changes."""

from __future__ import annotations

from starlette.responses import Response

from jobrunner.api import answers
from jobrunner.api.keyring import Keyring
from jobrunner.api.route import Answer, Call, Content, Route
from jobrunner.api.schemas import AuditQuery
from jobrunner.api.schemas_keys import KeyRequest, RotateRequest
from jobrunner.errors import KeyNotFound
from jobrunner.queue import store, views
from jobrunner.queue.key import Scope
from jobrunner.queue.views import shapes


def listed(call: Call) -> Content:
    """Every key that was ever made, without its text."""
    with call.service.database.read() as conn:
        return shapes.keys_dict(views.all_keys(conn))


def add(call: Call) -> Content:
    """Make a key. ``key`` in the answer is its text, which nobody can tell again."""
    wish: KeyRequest = call.body
    with call.change() as change:
        issued = store.issue_key(
            change.conn, wish.name, wish.scopes, queues=wish.queues, lasts=wish.expires_in, rate=wish.rate
        )
        told = shapes.key_dict(views.one_key(change.conn, issued.id))
        change.target = issued.id
        change.tell(**shapes.key_limits(told))
    _look_again(call)
    return Answer({**told, "key": issued.text}, 201)


def rotate(call: Call) -> Content:
    """Make a key that may do the same; the old one goes on for ``overlap`` seconds. Again, in place of a lost answer: a
    successor that was never used ends, and the new one takes its place. 409 where it was."""
    wish: RotateRequest = call.body
    with call.change(_id(call), overlap=wish.overlap) as change:
        issued = store.rotate_key(change.conn, _id(call), wish.overlap)
        told = shapes.key_dict(views.one_key(change.conn, issued.id))
        change.tell(successor=issued.id, expires_at=told["expires_at"], ended=issued.ended)
    _look_again(call)
    return Answer({**told, "key": issued.text}, 201)


def revoke(call: Call) -> Content:
    """End a key. It opens nothing any more, on any node, within five seconds."""
    with call.change(_id(call)) as change:
        store.revoke_key(change.conn, _id(call))
    _look_again(call)
    return Response(status_code=204)


def audited(call: Call) -> Content:
    """Who changed what, the newest first."""
    wish: AuditQuery = call.query
    with call.service.database.read() as conn:
        return shapes.audit_dict(views.audit_page(conn, before=wish.cursor, limit=wish.limit), wish.limit)


def _look_again(call: Call) -> None:
    ring: Keyring = call.request.app.state.keyring
    ring.forget()  # here a key opens, or opens nothing any more, with the next request


def _id(call: Call) -> str:
    return call.name("key_id", KeyNotFound)


_ALL, _ONE = "/api/v1/keys", "/api/v1/keys/{key_id}"
ROUTES = (
    Route(_ALL, listed, scope=Scope.ADMIN, summary="List keys", response=answers.Keys),
    Route(
        _ALL,
        add,
        ("POST",),
        Scope.ADMIN,
        "Make a key",
        request=KeyRequest,
        response=answers.IssuedKey,
        statuses=(201,),
    ),
    Route(
        f"{_ONE}/rotate",
        rotate,
        ("POST",),
        Scope.ADMIN,
        "Replace a key",
        request=RotateRequest,
        response=answers.IssuedKey,
        statuses=(201,),
        refuses=(409,),
    ),
    Route(_ONE, revoke, ("DELETE",), Scope.ADMIN, "End a key", statuses=(204,)),
    Route(
        "/api/v1/audit",
        audited,
        scope=Scope.ADMIN,
        summary="Who changed what",
        query=AuditQuery,
        response=answers.Changes,
    ),
)
