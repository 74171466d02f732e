"""An effect that is run now, whose value a handler waits for: the same wherever it is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobrunner.errors import HandlerError, InvalidInput
from jobrunner.handlers.effects import run_effect
from jobrunner.queue import codec

if TYPE_CHECKING:
    from sqlalchemy import Connection

VALUE_MAX_BYTES = 16 * 1024 * 1024  # as UTF-8; even with every character escaped it fits one message to a child


def applied(conn: Connection, effect: str, rows: list[Any]) -> Any:
    """Run an effect in the caller's transaction and return its value.

    Raises HandlerError where the value is no JSON: before the COMMIT, since what cannot be told to the handler
    afterwards would stand although its ``ctx.apply`` failed.
    """
    return checked(effect, run_effect(conn, effect, rows))


def checked(effect: str, value: Any) -> Any:
    """The value that an effect of this name returned; raises HandlerError where it is no JSON."""
    try:
        codec.check(value, max_bytes=VALUE_MAX_BYTES)
    except InvalidInput as error:
        raise HandlerError(f"what effect {effect!r} returned cannot be told to its handler: {error}") from error
    return value
