"""Effects: named functions that write to the database in the transaction that proves or settles a task."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from jobrunner.errors import HandlerError
from jobrunner.handlers import registry

if TYPE_CHECKING:
    from sqlalchemy import Connection

EFFECT_DEADLINE = 60.0  # seconds of its transaction: a dead link must not hold a handler for as long as that may take

Effect = Callable[["Connection", list[Any]], Any]
_E = TypeVar("_E", bound=Effect)


def effect(name: str) -> Callable[[_E], _E]:
    """Register ``fn(conn, rows)`` under a name, for ``ctx.apply(name, rows)`` and ``ctx.on_complete(name, rows)``.

    ``rows`` is a list of JSON values; what the function returns must be JSON too. It runs in a transaction that
    somebody else opened and will commit, maybe in another process than the handler: it writes, and does nothing else.
    One that commits or rolls back itself fails its attempt.
    """

    def register(function: _E) -> _E:
        registry.add_effect(name, function)
        return function

    return register


def run_effect(conn: Connection, name: str, rows: list[Any]) -> Any:
    """Run the effect of this name in the caller's transaction and return what it returned.

    Raises HandlerError when no effect has this name, and where it ends that transaction, which is refused or found;
    what the effect raises goes through.
    """
    from jobrunner.db.held import held  # most handlers never need a database

    function = registry.get_effect(name)
    with held(conn, f"effect {name!r}"):
        return function(conn, rows)


def effect_name(effect: str | Effect) -> str:
    """The registered name of an effect given by name or as the function; raises HandlerError if there is none."""
    if isinstance(effect, str):
        registry.get_effect(effect)
        return effect
    for name, function in registry.effects().items():
        if function is effect:
            return name
    raise HandlerError(f"{effect!r} is no effect: register it with @effect(name)")
