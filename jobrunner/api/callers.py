"""Whom the door let in, and what that caller may do and see."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from jobrunner.queue.key import Scope
from jobrunner.queue.views import KeyView


class Way(StrEnum):
    """How a caller showed who it is."""

    HEADER = "header"  # a key, which no browser sends by itself
    COOKIE = "cookie"  # a session of our page
    ADDRESS = "address"  # nothing but where it comes from


@dataclass(frozen=True)
class Caller:
    """One caller. ``queues`` are the only ones whose tasks it sees, None means all; ``who`` stands in the audit."""

    who: str
    scopes: frozenset[Scope]
    way: Way
    queues: frozenset[str] | None = None

    def sees(self, queue: str) -> bool:
        """Whether tasks of this queue are there for this caller."""
        return self.queues is None or queue in self.queues


_ALL = frozenset(Scope)

ANYBODY = Caller("anybody", frozenset({Scope.OPEN}), Way.ADDRESS)
LOOPBACK = Caller("this machine", _ALL, Way.ADDRESS)


def of_network(address: str) -> Caller:
    """A client of ``allow_from``."""
    return Caller(f"the address {address}", frozenset({Scope.OPEN, Scope.READ, Scope.SUBMIT}), Way.ADDRESS)


def of_owner(owner: KeyView | None, way: Way) -> Caller:
    """The bearer of a key; None stands for the configured one."""
    where = " in a browser" if way is Way.COOKIE else ""
    if owner is None:
        return Caller(f"the configured key{where}", _ALL, way)
    scopes = _ALL if Scope.ADMIN in owner.scopes else frozenset({Scope.OPEN, *map(Scope, owner.scopes)})
    queues = None if owner.queues is None else frozenset(owner.queues)
    return Caller(f"key {owner.id} ({owner.name}){where}", scopes, way, queues)
