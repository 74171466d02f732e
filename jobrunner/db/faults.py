"""What an error of the database means: a mistake of ours, somebody else's lock, or a database that is away."""

from __future__ import annotations

import sqlite3

# 25006: a demoted primary that still answers; 57P0x: shutting down, crashed, starting. None of them heals by itself.
DEMOTED = "25006"
DEAD_STATES = frozenset({DEMOTED, "57P01", "57P02", "57P03"})

_SHORT = frozenset({"53000", "53100"})  # the server is out of disk; what one statement alone may be short of counts not
_SHORT_FILE = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN})
_LOCKED_STATES = frozenset({"55P03", "40P01"})  # lock_timeout, deadlock


def is_mistake(error: BaseException) -> bool:
    """A wrong statement, which sqlite3 calls an OperationalError too: no second try would help."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    return code is not None and code & 0xFF == sqlite3.SQLITE_ERROR


def is_no_database(error: BaseException) -> bool:
    """Whether a file was opened that SQLite did not write."""
    return getattr(getattr(error, "orig", None), "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB


def is_busy(error: BaseException) -> bool:
    """Whether somebody else's lock was in the way: waited for too long, or for each other."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) in _LOCKED_STATES


def is_demoted(error: BaseException) -> bool:
    """Whether the server takes no writes any more, and may answer those who only read for ever."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) == DEMOTED


def refuses_all(error: BaseException) -> bool:
    """Whether the server answers, and takes nobody's writes: its disk is full, or it was demoted.

    Where the disk was full for longer than a lease, nobody could renew: who took their silence for death at the moment
    there was room again had every running task run twice.
    """
    found = getattr(error, "orig", None)
    state, code = getattr(found, "sqlstate", None), getattr(found, "sqlite_errorcode", None) or 0
    return state in _SHORT or state == DEMOTED or code & 0xFF in _SHORT_FILE


def reason(error: BaseException) -> str:
    """One line that tells it."""
    first_line = str(getattr(error, "orig", None) or error).strip().splitlines()[:1]
    return first_line[0] if first_line else type(error).__name__
